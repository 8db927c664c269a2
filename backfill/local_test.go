package backfill_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/backfill"
	"github.com/aurora-migrate/aurora/localdsql"
)

// localNumbers makes a cluster with a table of n rows, 3,000 in a transaction.
func localNumbers(t *testing.T, n int) *localdsql.Cluster {
	t.Helper()
	cluster := localdsql.StartCluster(t, localdsql.Config{Throwaway: true})
	localExec(t, cluster, "CREATE TABLE numbers (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), number int, count int NOT NULL DEFAULT 0)")
	for from := 0; from < n; from += 3000 {
		localExec(t, cluster, fmt.Sprintf("INSERT INTO numbers (number) SELECT i FROM generate_series(%d, %d) i", from, min(from+3000, n)-1))
	}
	return cluster
}

func localExec(t *testing.T, cluster *localdsql.Cluster, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for try := 0; ; try++ {
		var value string
		rows, err := conn.Query(t.Context(), sql)
		if err == nil {
			for rows.Next() {
				err = rows.Scan(&value)
			}
			rows.Close()
			if rows.Err() != nil {
				err = rows.Err()
			}
		}
		if err == nil {
			return value
		}
		if !strings.Contains(err.Error(), "40001") || try > 20 {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func TestLocalDSQL(t *testing.T) {
	cluster := localNumbers(t, 10_000)
	rows := backfill.Rows{Connect: connector(cluster.URL()), Table: "numbers", SQL: addOne, Options: backfill.Options{Batch: 3500}}
	if count, err := rows.DryRun(t.Context()); err != nil || count.Rows != 10_000 || count.Changed != 1000 {
		t.Errorf("dry run: %+v, %v", count, err)
	}
	// What is too large for a transaction is split, whether it is by rows or by
	// bytes.
	if _, err := step(t.Context(), new(auroratest.Memory), rows.Run); err != nil {
		t.Fatal(err)
	}
	if got := localExec(t, cluster, "SELECT min(count) || ' ' || max(count) FROM numbers"); got != "1 1" {
		t.Errorf("counts are %s, want 1 1", got)
	}
}

// With a fifth of all transactions and statements failing for conflicts, and
// connections lost before and after statements, every row is changed once.
func TestLocalDSQLWithFaults(t *testing.T) {
	n := size("AURORA_TEST_BACKFILL_LOCAL", 4_000)
	for _, tt := range []struct {
		name string
		rows backfill.Rows
	}{
		{"exactly once", backfill.Rows{SQL: addOne}},
		{"idempotent", backfill.Rows{SQL: addOne + " AND count = 0", Idempotent: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cluster := localNumbers(t, n)
			connect := connector(cluster.URL())
			tt.rows.Connect, tt.rows.Table, tt.rows.Batch = connect, "numbers", 300
			faults := cluster.Faults()
			if err := faults.Set("oc000=20%,oc001=20%,drop=1%,drop@20,drop-after=1%,drop-after@40"); err != nil {
				t.Fatal(err)
			}
			_, err := step(t.Context(), new(auroratest.Memory), tt.rows.Run)
			for _, kind := range []localdsql.FaultKind{localdsql.FaultConflict, localdsql.FaultSchema, localdsql.FaultDrop, localdsql.FaultDropAfter} {
				events, injected := faults.Count(kind)
				t.Logf("%s: %d of %d", kind, injected, events)
				if injected == 0 {
					t.Errorf("no fault %s happened", kind)
				}
			}
			if err := faults.Set(""); err != nil {
				t.Fatal(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, want := localExec(t, cluster, "SELECT count(*) || ' ' || min(count) || ' ' || max(count) FROM numbers"), fmt.Sprintf("%d 1 1", n); got != want {
				t.Errorf("rows, least and most: %s, want %s", got, want)
			}
		})
	}
}

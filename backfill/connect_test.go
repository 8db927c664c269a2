package backfill_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/backfill"
	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/postgres"
)

// Without a way to connect, a backfill and its throttle use the environment's
// database: PostgreSQL or Aurora DSQL, with its history there or elsewhere.
func TestEnvironmentsDatabase(t *testing.T) {
	cluster := localNumbers(t, 2000)
	open := map[string]func(t *testing.T) (aurora.Database, func(sql string) string){
		"postgres": func(t *testing.T) (aurora.Database, func(string) string) {
			url := pgtest.URL(t)
			numbers(t, url, 2000)
			db, err := postgres.Open(t.Context(), postgres.Config{URL: url})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close(context.Background()) })
			return db, func(sql string) string { return pgtest.One(t, url, sql) }
		},
		"dsql": func(t *testing.T) (aurora.Database, func(string) string) {
			db, err := dsql.Open(t.Context(), dsql.Config{URL: cluster.URL()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close(context.Background()) })
			return db, func(sql string) string { return localExec(t, cluster, sql) }
		},
	}
	for name, connect := range open {
		for _, elsewhere := range []bool{false, true} {
			db, one := connect(t)
			store, _ := db.(aurora.Store)
			version, before := "1", one("SELECT sum(count)::text FROM numbers")
			if elsewhere {
				store = new(auroratest.Memory)
			}
			rows := backfill.Rows{Table: "numbers", SQL: addOne, Options: backfill.Options{
				Throttle: backfill.Query(nil, "SELECT count(*) > 0 FROM numbers"),
			}}
			r := &aurora.Runner{Store: store, Database: db, Migrations: []aurora.Migration{{Version: version, Name: "a", Up: []aurora.Step{
				aurora.Func{Name: "add one", Do: rows.Run},
				aurora.Func{Name: "look", Do: func(ctx context.Context, env *aurora.Env) error {
					conn, err := postgres.Connect(ctx, env)
					if err != nil {
						return err
					}
					defer conn.Close(ctx)
					var n int
					if err := conn.QueryRow(ctx, "SELECT count(*) FROM numbers").Scan(&n); err != nil || n != 2000 {
						t.Errorf("%s: %d rows, %v", name, n, err)
					}
					return nil
				}},
			}}}}
			if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
				t.Fatalf("%s, history elsewhere %v: %v", name, elsewhere, err)
			}
			if after := one("SELECT sum(count)::text FROM numbers"); before == after {
				t.Errorf("%s, history elsewhere %v: nothing was changed: %s", name, elsewhere, after)
			}
			if got := one("SELECT min(token)::text FROM aurora_backfills"); got == "0" {
				t.Errorf("%s: the progress has no token", name)
			}
		}
	}
}

// Without any database, each says what is missing.
func TestNoDatabase(t *testing.T) {
	rows := backfill.Rows{Table: "numbers", SQL: addOne}
	if _, err := step(t.Context(), new(auroratest.Memory), rows.Run); err == nil || !strings.Contains(err.Error(), "give it a url, or set Connect") {
		t.Errorf("Run: %v", err)
	}
	if _, err := rows.DryRun(t.Context()); err == nil || !strings.Contains(err.Error(), "set Connect") {
		t.Errorf("DryRun: %v", err)
	}
	if _, err := backfill.Query(nil, "SELECT 1")(t.Context()); err == nil || !strings.Contains(err.Error(), "no database to ask") {
		t.Errorf("Query: %v", err)
	}
	refusing := func(context.Context) (*pgx.Conn, error) { return nil, context.DeadlineExceeded }
	rows.Connect = refusing
	if _, err := rows.DryRun(t.Context()); err == nil {
		t.Error("DryRun over nothing says nothing")
	}
}

// A statement that was cancelled because the run was interrupted says nothing
// about its rows.
func TestInterruptIsNoFailedRow(t *testing.T) {
	url := pgtest.URL(t)
	numbers(t, url, 40)
	db, err := postgres.Open(t.Context(), postgres.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	var result backfill.Result
	rows := backfill.Rows{Table: "numbers", SQL: "UPDATE numbers SET count = count + 1 WHERE {range} AND pg_sleep(60) IS NOT NULL", Options: backfill.Options{
		Batch: 1, SkipFailed: 30, Report: func(r backfill.Result) { result = r },
	}}
	ctx, cancel := context.WithCancel(t.Context())
	r := &aurora.Runner{Store: db, Database: db, Migrations: []aurora.Migration{{Version: "1", Name: "a", Up: []aurora.Step{aurora.Func{Name: "slow", Do: func(ctx context.Context, env *aurora.Env) error {
		time.AfterFunc(300*time.Millisecond, cancel)
		return rows.Run(ctx, env)
	}}}}}}
	if _, err := r.Run(ctx, aurora.Request{}); !errors.Is(err, aurora.ErrInterrupted) {
		t.Errorf("Run: %v, want an interrupt", err)
	}
	if result.Failures != 0 || result.Changed != 0 {
		t.Errorf("%+v", result)
	}
	// On a busy machine it may have been interrupted before it saved anything.
	if got := pgtest.One(t, url, "SELECT count(*) FROM aurora.aurora_revisions WHERE checkpoint LIKE '%failed%' OR checkpoint LIKE '%failures%'"); got != "0" {
		t.Errorf("%s checkpoints have failures", got)
	}
	rows.SQL = addOne
	if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
		t.Fatal(err)
	}
	if got := pgtest.One(t, url, "SELECT min(count) || ' ' || max(count) FROM numbers"); got != "1 1" {
		t.Errorf("counts are %s", got)
	}
}

// A callback that overlooks an error is told so at once, with the row.
func TestCallbackOverlooksAnError(t *testing.T) {
	url := pgtest.URL(t)
	numbers(t, url, 300)
	rows := backfill.Rows{Connect: connector(url), Table: "numbers", Do: func(ctx context.Context, tx pgx.Tx, b backfill.Batch) (int64, error) {
		_, _ = tx.Exec(ctx, "UPDATE numbers SET count = 1/(id - 7) WHERE "+b.Range, b.Args...)
		return b.Rows, nil
	}}
	_, err := step(t.Context(), new(auroratest.Memory), rows.Run)
	var failed *backfill.FailedError
	if !errors.As(err, &failed) || failed.Key != "id=7" || !strings.Contains(err.Error(), "returned no error although a statement failed") {
		t.Errorf("Run: %v", err)
	}
}

package dsql_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/localdsql"
)

// A role that may only read the history can look at all of it, and is told
// what it lacks when it wants to run something.
func TestReadersOnly(t *testing.T) {
	t.Parallel()
	cluster := localdsql.StartCluster(t, localdsql.Config{Throwaway: true})
	migrations := pgtest.Tables(2, 1)
	pgtest.MustRun(t, openLocal(t, cluster.URL()), migrations[:1], aurora.Request{})
	for _, s := range []string{
		"CREATE ROLE reader WITH LOGIN",
		"AWS IAM GRANT reader TO 'arn:aws:iam::111122223333:role/reader'",
		"GRANT USAGE ON SCHEMA " + historySchema(t, cluster.URL()) + " TO reader",
		"GRANT SELECT ON ALL TABLES IN SCHEMA " + historySchema(t, cluster.URL()) + " TO reader",
	} {
		pgtest.Exec(t, cluster.URL(), s)
	}
	db := openLocal(t, cluster.URLFor("reader"))
	ctx := t.Context()
	latest, err := db.Latest(ctx)
	if err != nil || len(latest) != 1 {
		t.Fatalf("Latest: %d, %v", len(latest), err)
	}
	if found, _, err := db.Revisions(ctx, latest[0].Version, "", 10); err != nil || len(found) != 1 {
		t.Errorf("Revisions: %d, %v", len(found), err)
	}
	if _, err := db.Revision(ctx, latest[0].ExecutionID, latest[0].Version); err != nil {
		t.Errorf("Revision: %v", err)
	}
	if e, err := db.Execution(ctx, latest[0].ExecutionID); err != nil || len(e.Revisions) != 1 {
		t.Errorf("Execution: %d, %v", len(e.Revisions), err)
	}
	if _, _, err := db.Executions(ctx, "", 10); err != nil {
		t.Errorf("Executions: %v", err)
	}
	if l, err := db.Locked(ctx); l != nil || err != nil {
		t.Errorf("Locked: %v, %v", l, err)
	}
	if _, err := pgtest.Run(t, db, migrations, aurora.Request{}); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("running with the rights of a reader: %v", err)
	}
	if n := pgtest.One(t, cluster.URL(), "SELECT count(*) FROM pg_class WHERE relname LIKE 't2\\_%'"); n != "0" {
		t.Errorf("%s tables of a migration that may not run", n)
	}
}

// historySchema returns the schema of the history's tables.
func historySchema(t *testing.T, url string) string {
	t.Helper()
	return pgtest.One(t, url, "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'aurora_revisions'")
}

// A role without any right on a history that exists is not taken for a new
// database.
func TestNoRights(t *testing.T) {
	t.Parallel()
	cluster := localdsql.StartCluster(t, localdsql.Config{Throwaway: true})
	pgtest.MustRun(t, openLocal(t, cluster.URL()), pgtest.Tables(1, 1), aurora.Request{})
	pgtest.Exec(t, cluster.URL(), "CREATE ROLE stranger WITH LOGIN")
	pgtest.Exec(t, cluster.URL(), "AWS IAM GRANT stranger TO 'arn:aws:iam::111122223333:role/stranger'")
	_, err := openLocal(t, cluster.URLFor("stranger")).Latest(t.Context())
	if err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("Latest: %v, want that the history may not be read", err)
	}
}

// An index takes longer than the lease lives: it is renewed meanwhile.
func TestJobLongerThanLease(t *testing.T) {
	t.Parallel()
	cluster := localdsql.StartCluster(t, localdsql.Config{})
	cluster.Faults().JobDelay(8 * time.Second)
	r := aurora.Runner{
		Store: openLocal(t, cluster.URL()), TTL: 6 * time.Second, Holder: aurora.CurrentHolder("test"),
		Migrations: []aurora.Migration{pgtest.Migration("1", "slow", "CREATE TABLE a (id int)", "CREATE INDEX ASYNC i ON a (id)", "INSERT INTO a VALUES (1)")},
	}
	e, err := r.Run(t.Context(), aurora.Request{})
	if err != nil || len(e.Revisions) != 1 || e.Revisions[0].State != aurora.Completed {
		t.Fatalf("%+v, %v", e.Revisions, err)
	}
	next, err := r.Store.Acquire(t.Context(), aurora.Holder{}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if token := e.Revisions[0].Token; next.Token() != token+1 {
		t.Errorf("the lease was taken %d times, want once", next.Token()-token)
	}
}

// The table of an index goes away while it is built: the run ends with an
// error that says so, and the next one goes on with a file that was put right.
func TestTableDroppedWhileBuilding(t *testing.T) {
	t.Parallel()
	cluster := localdsql.StartCluster(t, localdsql.Config{})
	m := pgtest.Migration("1", "gone", "CREATE TABLE a (id int)", "CREATE INDEX ASYNC i ON a (id)", "CREATE TABLE b (id int)")
	cluster.Faults().JobDelay(patience) // it ends when the table is gone
	conn, err := pgx.Connect(t.Context(), cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	dropped := make(chan error, 1)
	go func() {
		for {
			_, err := conn.Exec(t.Context(), "SELECT 'i'::regclass")
			if err == nil {
				_, err = conn.Exec(t.Context(), "DROP TABLE a")
			}
			var conflict *pgconn.PgError
			if err == nil || t.Context().Err() != nil || errors.As(err, &conflict) && conflict.Code != "40001" && conflict.Code != "42P01" {
				dropped <- err
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	_, err = pgtest.Run(t, openLocal(t, cluster.URL()), []aurora.Migration{m}, aurora.Request{})
	if derr := <-dropped; derr != nil {
		t.Fatalf("DROP TABLE: %v", derr)
	}
	if err == nil || !strings.Contains(err.Error(), "1_gone.sql:2") {
		t.Fatalf("Run: %v, want an error of the statement that builds the index", err)
	}
	t.Log(err)
	cluster.Faults().JobDelay(0)
	pgtest.Exec(t, cluster.URL(), "CREATE TABLE a (id int)")
	pgtest.MustRun(t, openLocal(t, cluster.URL()), []aurora.Migration{m}, aurora.Request{})
	if got := pgtest.One(t, cluster.URL(), "SELECT indisvalid::text FROM pg_index WHERE indexrelid = 'i'::regclass"); got != "true" {
		t.Errorf("the index is valid: %s", got)
	}
}

// Somebody else builds the index already: IF NOT EXISTS passes over it, and
// what comes next may count on it only when it is valid.
func TestBuildOfSomebodyElse(t *testing.T) {
	t.Parallel()
	cluster := localdsql.StartCluster(t, localdsql.Config{})
	pgtest.Exec(t, cluster.URL(), "CREATE TABLE a (id int NOT NULL)")
	cluster.Faults().JobDelay(time.Second)
	pgtest.Exec(t, cluster.URL(), "CREATE UNIQUE INDEX ASYNC i ON a (id)")
	cluster.Faults().JobDelay(0)
	migrations := []aurora.Migration{
		pgtest.Migration("1", "index", "CREATE UNIQUE INDEX ASYNC IF NOT EXISTS i ON a (id)"),
		pgtest.Migration("2", "constraint", "ALTER TABLE a ADD CONSTRAINT k UNIQUE USING INDEX i"),
	}
	pgtest.MustRun(t, openLocal(t, cluster.URL()), migrations, aurora.Request{})
	if got := pgtest.One(t, cluster.URL(), "SELECT convalidated::text FROM pg_constraint WHERE conname = 'k'"); got != "true" {
		t.Errorf("the constraint is valid: %s", got)
	}
}

// What an earlier file built is there for the next one.
func TestConstraintInTheNextFile(t *testing.T) {
	t.Parallel()
	cluster := localdsql.StartCluster(t, localdsql.Config{})
	cluster.Faults().JobDelay(300 * time.Millisecond)
	pgtest.MustRun(t, openLocal(t, cluster.URL()), []aurora.Migration{
		pgtest.Migration("1", "table", "CREATE TABLE a (id int NOT NULL)", "CREATE UNIQUE INDEX ASYNC i ON a (id)"),
		pgtest.Migration("2", "constraint", "ALTER TABLE a ADD CONSTRAINT k UNIQUE USING INDEX i"),
	}, aurora.Request{})
}

// One transaction for all files is more than DSQL has, and is refused before
// anything runs, also in a dry run.
func TestTxModeAll(t *testing.T) {
	t.Parallel()
	url := localdsql.Start(t)
	db := openLocal(t, url)
	_, err := pgtest.Run(t, db, pgtest.Tables(2, 1), aurora.Request{TxMode: aurora.TxAll})
	if err == nil {
		t.Fatal("tx-mode all ran on DSQL")
	}
	if n := pgtest.One(t, url, "SELECT count(*) FROM pg_class WHERE relname LIKE 't1\\_%'"); n != "0" {
		t.Errorf("%s tables, want nothing to have run: %v", n, err)
	}
	t.Log(err)
}

// A server that takes the connection and then says nothing is given up when
// the time is over.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	db, err := dsql.Open(ctx, dsql.Config{
		URL:   fmt.Sprintf("dsql://admin@localhost:%d/postgres", listener.Addr().(*net.TCPAddr).Port),
		Token: func(context.Context, string, string, string) (string, error) { return "token", nil },
	})
	if err == nil {
		defer db.Close(context.Background())
		_, err = db.Latest(ctx)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that time ran out", err)
	}
}

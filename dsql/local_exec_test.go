package dsql_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/localdsql"
)

// A history elsewhere: statements run one by one, rewritten, their jobs awaited.
func TestExec(t *testing.T) {
	t.Parallel()
	url := localdsql.Start(t)
	r := aurora.Runner{
		Store: new(auroratest.Memory), Database: openLocal(t, url), Holder: aurora.CurrentHolder("test"),
		Migrations: []aurora.Migration{pgtest.Migration("1", "a", "CREATE TABLE a (id int, b int)", "INSERT INTO a VALUES (1, 1), (2, 1)",
			"CREATE INDEX CONCURRENTLY a_id ON a (id)", "CREATE UNIQUE INDEX CONCURRENTLY a_b ON a (b)")},
	}
	_, err := r.Run(t.Context(), aurora.Request{})
	var step *aurora.StepError
	var job *dsql.JobError
	if !errors.As(err, &step) || step.Index != 3 || !errors.As(err, &job) {
		t.Fatalf("%v, want the failure of statement 4's job", err)
	}
	if step.Hint == "" || !strings.HasPrefix(step.Pos, "1_a.sql:4") {
		t.Errorf("at %s, hint %q", step.Pos, step.Hint)
	}
	pgtest.Exec(t, url, "DELETE FROM a WHERE id = 2")
	if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.One(t, url, "SELECT count(*) FROM pg_index WHERE indrelid = 'a'::regclass AND indisvalid"); n != "2" {
		t.Errorf("%s valid indexes, want 2", n)
	}
}

// Somebody's failed attempt at an index is not in the way of ours.
func TestInvalidIndexInTheWay(t *testing.T) {
	t.Parallel()
	url := localdsql.Start(t)
	pgtest.Exec(t, url, "CREATE TABLE a (b int)")
	pgtest.Exec(t, url, "INSERT INTO a VALUES (1), (1)")
	id := pgtest.One(t, url, "CREATE UNIQUE INDEX ASYNC a_b ON a (b)")
	pgtest.Query(t, url, "CALL sys.wait_for_job('"+id+"')")
	pgtest.Exec(t, url, "DELETE FROM a")
	pgtest.MustRun(t, openLocal(t, url), []aurora.Migration{pgtest.Migration("1", "a", "CREATE UNIQUE INDEX ASYNC a_b ON a (b)")}, aurora.Request{})
	if v := pgtest.One(t, url, "SELECT indisvalid::text FROM pg_index WHERE indexrelid = 'a_b'::regclass"); v != "true" {
		t.Errorf("a_b is valid: %s", v)
	}
}

// Who lost the lease sends nothing more than what it already had.
func TestLostLeaseStops(t *testing.T) {
	t.Parallel()
	url := localdsql.Start(t)
	var statements []string
	for i := range 40 {
		statements = append(statements, fmt.Sprintf("CREATE TABLE t%d (id int)", i))
	}
	db, other := openLocal(t, url), openLocal(t, url)
	atBreak := -1
	r := aurora.Runner{Store: db, Migrations: []aurora.Migration{pgtest.Migration("1", "many", statements...)}, Holder: aurora.CurrentHolder("test"), Report: func(e aurora.Event) {
		if e.Revision == nil || e.Revision.Done < 3 || atBreak >= 0 {
			return
		}
		locked, err := other.Locked(context.Background())
		if err == nil && locked != nil {
			err = other.Break(context.Background(), locked.Token)
		}
		if err != nil {
			t.Errorf("break the lease: %v", err)
		}
		atBreak = e.Revision.Done
	}}
	if _, err := r.Run(t.Context(), aurora.Request{}); !errors.Is(err, aurora.ErrLeaseLost) {
		t.Fatalf("%v, want ErrLeaseLost", err)
	}
	n, err := strconv.Atoi(pgtest.One(t, url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))
	if err != nil || n > atBreak+1 {
		t.Errorf("%d tables, %v; the lease was lost after %d", n, err, atBreak)
	}
}

// With the history elsewhere, settings stay with their migration too, one that
// goes on has those of its first part, and a step's own connection has those of
// the URL.
func TestSettingsWithTheHistoryElsewhere(t *testing.T) {
	t.Parallel()
	url := localdsql.Start(t)
	pgtest.Exec(t, url, "CREATE SCHEMA app")
	store := new(auroratest.Memory)
	migrations := []aurora.Migration{
		pgtest.Migration("1", "a", "SET search_path = app", "CREATE TABLE a (id int)"),
		pgtest.Migration("2", "b", "CREATE TABLE b (id int)"),
		pgtest.Migration("3", "c", "SET search_path = app", "CREATE TABLE c (id int)", "SELECT broken", "CREATE TABLE d (id int)"),
	}
	if _, err := (&aurora.Runner{Store: store, Database: openLocal(t, url), Migrations: migrations}).Run(t.Context(), aurora.Request{}); err == nil {
		t.Fatal("the broken statement should have failed")
	}
	migrations[2] = pgtest.Migration("3", "c", "SET search_path = app", "CREATE TABLE c (id int)", "SELECT 1", "CREATE TABLE d (id int)")
	db := openLocal(t, url+"&search_path=app,public")
	if _, err := (&aurora.Runner{Store: store, Database: openLocal(t, url), Migrations: migrations}).Run(t.Context(), aurora.Request{}); err != nil {
		t.Fatal(err)
	}
	want := "app.a, public.b, app.c, app.d"
	if got := pgtest.One(t, url, "SELECT string_agg(schemaname || '.' || tablename, ', ' ORDER BY tablename) FROM pg_tables WHERE schemaname IN ('public', 'app')"); got != want {
		t.Errorf("tables %s, want %s", got, want)
	}
	conn, err := db.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var path string
	if err := conn.QueryRow(t.Context(), "SELECT current_setting('search_path')").Scan(&path); err != nil || path != "app,public" {
		t.Errorf("a step's connection has the path %q, %v", path, err)
	}
	var login *dsql.LoginError
	if db, err := dsql.Open(t.Context(), dsql.Config{URL: url}); err != nil {
		t.Error(err)
	} else {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := db.Connect(ended); err == nil || !errors.As(err, &login) {
			t.Errorf("with a context that has ended: %v", err)
		}
		db.Close(t.Context())
	}
}

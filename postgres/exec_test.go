package postgres_test

import (
	"testing"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// With the history elsewhere, settings stay with their migration too, and one
// that goes on has those of its first part.
func TestSettingsWithTheHistoryElsewhere(t *testing.T) {
	url := pgtest.URL(t)
	pgtest.Exec(t, url, "CREATE SCHEMA app; CREATE ROLE app_owner_"+suffix(t, url))
	owner := "app_owner_" + suffix(t, url)
	pgtest.Exec(t, url, "GRANT ALL ON SCHEMA public, app TO "+owner)
	t.Cleanup(func() { pgtest.Exec(t, url, "DROP OWNED BY "+owner+"; DROP ROLE "+owner) })
	store := new(auroratest.Memory)
	migrations := []aurora.Migration{
		pgtest.Migration("1", "a", "SET search_path = app", "SET ROLE "+owner, "CREATE TABLE a (id int)", "CREATE TEMP TABLE hidden (id int)"),
		pgtest.Migration("2", "b", "CREATE TABLE b (id int)", "CREATE TABLE hidden (id int)"),
		pgtest.Migration("3", "c", "SET search_path = app", "CREATE TABLE c (id int)", "SELECT broken", "CREATE TABLE d (id int)"),
	}
	if _, err := (&aurora.Runner{Store: store, Database: open(t, url), Migrations: migrations}).Run(t.Context(), aurora.Request{}); err == nil {
		t.Fatal("the broken statement should have failed")
	}
	migrations[2] = pgtest.Migration("3", "c", "SET search_path = app", "CREATE TABLE c (id int)", "SELECT 1", "CREATE TABLE d (id int)")
	// Another process goes on with it, and streams migrations of its own behind.
	db := open(t, url)
	if _, err := (&aurora.Runner{Store: store, Database: db, Migrations: migrations}).Run(t.Context(), aurora.Request{}); err != nil {
		t.Fatal(err)
	}
	if err := db.Exec(t.Context(), aurora.Statement{SQL: "SET search_path = app"}); err != nil {
		t.Fatal(err)
	}
	if _, err := (&aurora.Runner{Store: db, Database: db, Migrations: []aurora.Migration{pgtest.Migration("4", "e", "CREATE TABLE e (id int)")}}).Run(t.Context(), aurora.Request{}); err != nil {
		t.Fatal(err)
	}
	got := pgtest.One(t, url, `SELECT string_agg(n.nspname || '.' || relname || ' of ' || CASE WHEN r.rolname = '`+owner+`' THEN 'owner' ELSE 'us' END, ', ' ORDER BY relname)
		FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_roles r ON r.oid = relowner WHERE n.nspname IN ('public', 'app') AND relkind = 'r'`)
	if want := "app.a of owner, public.b of us, app.c of us, app.d of us, public.e of us, public.hidden of us"; got != want {
		t.Errorf("tables\n%s, want\n%s", got, want)
	}
}

func suffix(t *testing.T, url string) string {
	return pgtest.One(t, url, "SELECT current_database()")
}

// Transactions over several statements cannot be followed there.
func TestExecRefusesTransactions(t *testing.T) {
	db := open(t, pgtest.URL(t))
	for _, sql := range []string{"BEGIN", "start transaction", "COMMIT", "END", "ROLLBACK", "abort"} {
		if err := db.Exec(t.Context(), aurora.Statement{SQL: sql}); !errorsContain(err, "each in a transaction of its own; remove it") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

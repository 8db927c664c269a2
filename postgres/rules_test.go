package postgres_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// The tests of this file are named after the rules in docs/rules.md that have
// no better place.

// Contention for the lease is always a wait, never another error.
func TestA5ContentionIsAWait(t *testing.T) {
	url := pgtest.URL(t)
	pgtest.MustRun(t, open(t, url), pgtest.Tables(1, 1), aurora.Request{})
	var wg sync.WaitGroup
	for range 8 {
		db := open(t, url)
		wg.Go(func() {
			for range 20 {
				l, err := db.Acquire(context.Background(), aurora.Holder{}, time.Minute)
				var locked *aurora.LockedError
				switch {
				case err == nil:
					if err := l.Release(context.Background()); err != nil {
						t.Error(err)
					}
				case !errors.As(err, &locked):
					t.Errorf("contention shows as %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// A complete migration is never opened again: not even its steps are looked at.
func TestA8CompleteMigrationsStayClosed(t *testing.T) {
	url := pgtest.URL(t)
	migrations := []aurora.Migration{pgtest.Migration("1", "a", "CREATE TABLE a (id int)")}
	pgtest.MustRun(t, open(t, url), migrations, aurora.Request{})
	// Same checksum, other statements: nothing of them may run.
	migrations[0].Up = append(migrations[0].Up, aurora.Statement{SQL: "CREATE TABLE appended (id int)"})
	migrations = append(migrations, pgtest.Migration("2", "b", "CREATE TABLE b (id int)"))
	pgtest.MustRun(t, open(t, url), migrations, aurora.Request{})
	if got := tables(t, url); got != "a b" {
		t.Errorf("tables %s", got)
	}
}

// A statement reaches PostgreSQL as it stands in the file: nothing is
// rewritten there, least of all inside strings (A21), and what plain PostgreSQL
// understands runs (A22).
func TestA21A22NothingIsRewritten(t *testing.T) {
	url := pgtest.URL(t)
	pgtest.MustRun(t, open(t, url), []aurora.Migration{pgtest.Migration("1", "a",
		"CREATE TABLE notes (body text)",
		"INSERT INTO notes VALUES ('how to CREATE INDEX foo; and DROP INDEX CONCURRENTLY bar -- really')",
		"CREATE INDEX notes_body ON notes USING btree (body)",
	)}, aurora.Request{})
	want := "how to CREATE INDEX foo; and DROP INDEX CONCURRENTLY bar -- really"
	if got := pgtest.One(t, url, "SELECT body FROM notes"); got != want {
		t.Errorf("stored %q", got)
	}
}

// Rows that a statement returns mean nothing to the runner: one, many, none,
// of any type, in either way of running.
func TestA24ReturnedRows(t *testing.T) {
	for _, mode := range []aurora.TxMode{aurora.TxFile, aurora.TxNone} {
		url := pgtest.URL(t)
		m := pgtest.Migration("1", "a",
			"CREATE TABLE a (id int, note text)",
			"INSERT INTO a SELECT g FROM generate_series(1, 5000) g RETURNING id, note",
			"SELECT NULL, 'x', 1, now() FROM a", "SELECT 1 WHERE false", "SELECT", "VALUES (1), (2)", "SHOW search_path", "EXPLAIN SELECT 1",
			"UPDATE a SET note = 'y' WHERE id = 1 RETURNING 'job_id' AS job_id")
		m.TxMode = mode
		pgtest.MustRun(t, open(t, url), []aurora.Migration{m}, aurora.Request{})
		if got := pgtest.One(t, url, "SELECT count(*) FROM a"); got != "5000" {
			t.Errorf("%s: %s rows", mode, got)
		}
	}
}

// Attempts are added, not overwritten: the failure stays to be read after the
// success, with its own times.
func TestA40AttemptsAreAppended(t *testing.T) {
	url := pgtest.URL(t)
	if _, err := pgtest.Run(t, open(t, url), []aurora.Migration{pgtest.Migration("1", "a", "oops")}, aurora.Request{}); err == nil {
		t.Fatal("no error")
	}
	pgtest.MustRun(t, open(t, url), []aurora.Migration{pgtest.Migration("1", "a", "CREATE TABLE a (id int)")}, aurora.Request{})
	revisions := attempts(t, open(t, url), "1")
	if len(revisions) != 2 {
		t.Fatalf("%d revisions", len(revisions))
	}
	newest, oldest := revisions[0], revisions[1]
	if newest.State != aurora.Completed || newest.Error != "" || oldest.State != aurora.Failed || oldest.Error == "" {
		t.Errorf("newest %s %q, oldest %s %q", newest.State, newest.Error, oldest.State, oldest.Error)
	}
	for _, r := range revisions {
		if r.StartedAt.IsZero() || r.FinishedAt.Before(r.StartedAt) || time.Since(r.StartedAt) > time.Hour {
			t.Errorf("%s from %s to %s", r.State, r.StartedAt, r.FinishedAt)
		}
	}
}

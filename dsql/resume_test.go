package dsql

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgstore"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// leave makes the history and the database what a process left that died.
func leave(t *testing.T, url string, statements []string, revisions ...aurora.Revision) {
	t.Helper()
	db := openPlain(t, url)
	lease, err := db.Acquire(t.Context(), aurora.Holder{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for i := range revisions {
		revisions[i].ExecutionID, revisions[i].Seq, revisions[i].StartedAt = "dead", i+1, time.Now()
		revisions[i].Direction, revisions[i].Kind = aurora.Up, aurora.Applied
	}
	if err := lease.Save(t.Context(), revisions...); err != nil {
		t.Fatal(err)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		pgtest.Exec(t, url, s)
	}
}

func half(m aurora.Migration, state aurora.State, done, begun int, checkpoint string) aurora.Revision {
	r := aurora.Revision{Version: m.Version, Name: m.Name, Checksum: m.Checksum, State: state, Steps: len(m.Up), Done: done, Begun: begun}
	for i := range done {
		r.Hashes = append(r.Hashes, aurora.StepHash(m.Up[i]))
	}
	if checkpoint != "" {
		r.Checkpoint = json.RawMessage(checkpoint)
	}
	return r
}

// What died between a statement and its checkpoint is found in the catalog,
// also when the announcement was lost with it; what ended in good order has
// nothing to look for.
func TestResume(t *testing.T) {
	one := pgtest.Migration("1", "one", "CREATE TABLE a (id int)", "CREATE TABLE b (id int)", "CREATE TABLE c (id int)")
	two := pgtest.Migration("2", "two", "CREATE TABLE d (id int)", "CREATE TABLE e (id int)")
	rows := pgtest.Migration("1", "rows", "CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)")
	odd := pgtest.Migration("1", "odd", "CREATE SEQUENCE s CACHE 1", "ALTER SEQUENCE s RESTART WITH 5")
	for _, tt := range []struct {
		name       string
		migrations []aurora.Migration
		ran        []string // in the database
		left       []aurora.Revision
		unsure     aurora.Unsure
		want       string // part of the error
	}{
		{"announced and not done", []aurora.Migration{one}, []string{"CREATE TABLE a (id int)"}, []aurora.Revision{half(one, aurora.Running, 1, 2, "{}")}, "", ""},
		{"announced and done", []aurora.Migration{one}, []string{"CREATE TABLE a (id int)", "CREATE TABLE b (id int)"}, []aurora.Revision{half(one, aurora.Running, 1, 2, "{}")}, "", ""},
		{"the announcement was lost", []aurora.Migration{one}, []string{"CREATE TABLE a (id int)", "CREATE TABLE b (id int)", "CREATE TABLE c (id int)"}, []aurora.Revision{half(one, aurora.Running, 1, 2, "{}")}, "", ""},
		{"the next one's announcement was lost", []aurora.Migration{one, two}, []string{"CREATE TABLE a (id int)", "CREATE TABLE b (id int)", "CREATE TABLE c (id int)", "CREATE TABLE d (id int)"},
			[]aurora.Revision{half(one, aurora.Running, 2, 3, "{}")}, "", ""},
		{"the next one's announcement was lost, this one is saved", []aurora.Migration{one, two}, []string{"CREATE TABLE a (id int)", "CREATE TABLE b (id int)", "CREATE TABLE c (id int)", "CREATE TABLE d (id int)"},
			[]aurora.Revision{half(one, aurora.Running, 3, 3, "{}")}, "", ""},
		{"the next one did not begin", []aurora.Migration{one, two}, []string{"CREATE TABLE a (id int)", "CREATE TABLE b (id int)", "CREATE TABLE e (id int)"},
			[]aurora.Revision{half(one, aurora.Running, 2, 3, "{}")}, "", `relation "e" already exists`},
		{"failed in good order", []aurora.Migration{one}, []string{"CREATE TABLE a (id int)", "CREATE TABLE b (id int)"}, []aurora.Revision{half(one, aurora.Failed, 1, 1, "")}, "", `relation "b" already exists`},
		{"paused in good order", []aurora.Migration{one}, []string{"CREATE TABLE a (id int)", "CREATE TABLE b (id int)"}, []aurora.Revision{half(one, aurora.Paused, 1, 1, `{"ended":true}`)}, "", `relation "b" already exists`},
		{"rows are saved with their place", []aurora.Migration{rows}, []string{"CREATE TABLE a (id int)"}, []aurora.Revision{half(rows, aurora.Running, 1, 1, "{}")}, "", ""},
		{"rows that were announced", []aurora.Migration{rows}, []string{"CREATE TABLE a (id int)"}, []aurora.Revision{half(rows, aurora.Running, 1, 2, "{}")}, "", "--unsure"},
		{"rows that were announced, and did not happen", []aurora.Migration{rows}, []string{"CREATE TABLE a (id int)"}, []aurora.Revision{half(rows, aurora.Running, 1, 2, "{}")}, aurora.UnsureRerun, ""},
		{"rows that were announced, and happened", []aurora.Migration{rows}, []string{"CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)"}, []aurora.Revision{half(rows, aurora.Running, 1, 2, "{}")}, aurora.UnsureSkip, ""},
		{"the catalog does not tell", []aurora.Migration{odd}, []string{"CREATE SEQUENCE s CACHE 1", "SELECT setval('s', 10)"}, []aurora.Revision{half(odd, aurora.Running, 1, 2, "{}")}, "", "--unsure"},
		{"by an older process, without its own checkpoint", []aurora.Migration{one}, []string{"CREATE TABLE a (id int)", "CREATE TABLE b (id int)"}, []aurora.Revision{half(one, aurora.Running, 1, 2, "")}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.URL(t)
			leave(t, url, tt.ran, tt.left...)
			_, err := pgtest.Run(t, openPlain(t, url), tt.migrations, aurora.Request{Unsure: tt.unsure})
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("%v, want it to say %s", err, tt.want)
			case tt.want != "":
				return
			}
			want := 0
			for _, m := range tt.migrations {
				for _, s := range m.Up {
					if strings.HasPrefix(s.String(), "CREATE TABLE") {
						want++
					}
				}
			}
			if got := pgtest.One(t, url, "SELECT count(*)::int = "+string(rune('0'+want))+" FROM pg_tables WHERE schemaname = 'public'"); got != "t" {
				t.Errorf("not all %d tables are there", want)
			}
			if tt.migrations[0].Name == "rows" && pgtest.One(t, url, "SELECT count(*) FROM a") != "1" {
				t.Error("the row is not there once")
			}
		})
	}
}

// A transaction that arrives late finds that its place is saved, and changes
// nothing.
func TestPlaceIsSavedOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	m := pgtest.Migration("1", "rows", "CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)")
	db := openPlain(t, url)
	lease, err := db.Acquire(t.Context(), aurora.Holder{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	u, err := db.newUnit(aurora.Item{Migration: m, Direction: aurora.Up, Revision: aurora.Revision{
		ExecutionID: "e", Version: "1", Direction: aurora.Up, State: aurora.Running, Kind: aurora.Applied, Steps: 2}})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Stream(t.Context(), lease, []aurora.Item{u.item}, func(aurora.Revision) {}); err != nil {
		t.Fatal(err)
	}
	r := newTestStream(t, db, lease, u)
	r.rev.Done, r.rev.Begun = 1, 1
	r.rev.Hashes = []string{aurora.StepHash(m.Up[0])}
	r.at = 1
	if err := r.within(t.Context(), u.steps[1]); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.One(t, url, "SELECT count(*) FROM a"); n != "1" {
		t.Errorf("the row is there %s times", n)
	}
}

func newTestStream(t *testing.T, db *DB, l aurora.Lease, u *unit) *stream {
	t.Helper()
	r := &stream{db: db, lease: l.(*pgstore.Lease), report: func(aurora.Revision) {}}
	if _, err := db.store.Main.Lend(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.store.Main.GiveBack(true) })
	r.begin(u)
	return r
}

// A connection that gets old is replaced between two statements, and the new
// one has what the migration set in the old.
func TestConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	proxy := pgtest.NewProxy(t, url)
	db, err := tryOpenPlain(t.Context(), proxy.URL, "", time.Nanosecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close(context.Background()) })
	m := pgtest.Migration("1", "old", "CREATE SCHEMA shop", "SET search_path TO shop", "CREATE TABLE here (id int)",
		"BEGIN", "INSERT INTO here VALUES (1)", "INSERT INTO here VALUES (2)", "COMMIT")
	pgtest.MustRun(t, db, []aurora.Migration{m, pgtest.Migration("2", "next", "CREATE TABLE there (id int)")}, aurora.Request{})
	if n := pgtest.One(t, url, "SELECT count(*) FROM shop.here"); n != "2" {
		t.Errorf("%s rows", n)
	}
	if s := pgtest.One(t, url, "SELECT schemaname FROM pg_tables WHERE tablename = 'there'"); s != "public" {
		t.Errorf("the second migration still has the settings of the first: %s.there", s)
	}
	if proxy.Conns() < len(m.Up) {
		t.Errorf("%d connections", proxy.Conns())
	}
}

// Names in a transaction that sets its own search_path are not looked up
// outside of it, where they mean something else.
func TestSettingsOfATransaction(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	m := pgtest.Migration("1", "shop", "CREATE SCHEMA shop", "BEGIN", "SET LOCAL search_path = shop", "CREATE TABLE a (id int)", "COMMIT")
	leave(t, url, []string{"CREATE SCHEMA shop", "CREATE TABLE a (id int)"}, half(m, aurora.Running, 1, 5, "{}"))
	_, err := pgtest.Run(t, openPlain(t, url), []aurora.Migration{m}, aurora.Request{})
	var asked *aurora.UnsureError
	if !errors.As(err, &asked) {
		t.Fatalf("%v, want a question: public.a is no evidence of shop.a", err)
	}
	pgtest.MustRun(t, openPlain(t, url), []aurora.Migration{m}, aurora.Request{Unsure: aurora.UnsureRerun})
	if s := pgtest.One(t, url, "SELECT to_regclass('shop.a')"); s != "shop.a" {
		t.Errorf("shop.a is %s", s)
	}
}

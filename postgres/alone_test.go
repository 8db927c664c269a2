package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

func none(m aurora.Migration) aurora.Migration {
	m.TxMode = aurora.TxNone
	return m
}

// CREATE INDEX CONCURRENTLY needs no directive: the migration leaves the
// transaction by itself, and the others stay in theirs.
func TestConcurrentIndexWithoutDirective(t *testing.T) {
	url := pgtest.URL(t)
	migrations := []aurora.Migration{
		pgtest.Migration("1", "users", "CREATE TABLE users (id int PRIMARY KEY, email text)", "INSERT INTO users VALUES (1, 'a')"),
		pgtest.Migration("2", "index", "ALTER TABLE users ADD COLUMN name text", "CREATE INDEX CONCURRENTLY IF NOT EXISTS users_email ON users (email)"),
		pgtest.Migration("3", "more", "CREATE TABLE more (id int)"),
	}
	pgtest.MustRun(t, open(t, url), migrations, aurora.Request{})
	if got := pgtest.One(t, url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'users_email'::regclass"); got != "t" {
		t.Errorf("index valid: %s", got)
	}
	// Asked for a transaction in so many words, it is refused before it runs.
	asked := pgtest.Migration("4", "asked", "CREATE TABLE asked (id int)", "CREATE INDEX CONCURRENTLY asked_id ON asked (id)")
	asked.TxMode = aurora.TxFile
	_, err := pgtest.Run(t, open(t, url), append(migrations, asked), aurora.Request{})
	var step *aurora.StepError
	if !errors.As(err, &step) || step.Index != 1 || step.Hint == "" || tables(t, url) != "more users" {
		t.Errorf("error %v, tables %s", err, tables(t, url))
	}
}

// A failed unique build says why, leaves no invalid index behind (A10), and
// can be run again once the data is right.
func TestA10FailedConcurrentBuild(t *testing.T) {
	url := pgtest.URL(t)
	migrations := []aurora.Migration{
		pgtest.Migration("1", "users", "CREATE TABLE users (id int PRIMARY KEY, email text)", "INSERT INTO users VALUES (1, 'a'), (2, 'a')"),
		pgtest.Migration("2", "unique", "ALTER TABLE users ADD COLUMN name text", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS users_email ON users (email)", "ALTER TABLE users ADD COLUMN after text"),
	}
	_, err := pgtest.Run(t, open(t, url), migrations, aurora.Request{})
	if err == nil || !strings.Contains(err.Error(), "could not create unique index") {
		t.Fatalf("error %v", err)
	}
	if got := pgtest.One(t, url, "SELECT count(*) FROM pg_class WHERE relname = 'users_email'"); got != "0" {
		t.Error("an invalid index stayed behind")
	}
	latest := mustLatest(t, url)
	if last := latest[1]; last.State != aurora.Failed || last.Done != 1 || last.Begun != 1 || len(last.Hashes) != 1 {
		t.Errorf("revision %+v", last)
	}
	pgtest.Exec(t, url, "UPDATE users SET email = 'b' WHERE id = 2")
	pgtest.MustRun(t, open(t, url), migrations, aurora.Request{})
	if got := pgtest.One(t, url, "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0"); got != "id email name after" {
		t.Errorf("columns %s", got)
	}
	if last := mustLatest(t, url)[1]; last.State != aurora.Completed || last.Error != "" {
		t.Errorf("revision %+v", last)
	}
}

// An invalid index that somebody else's kill left behind is not accepted by
// IF NOT EXISTS.
func TestInvalidLeftoverIsRebuilt(t *testing.T) {
	url := pgtest.URL(t)
	pgtest.Exec(t, url, `CREATE SCHEMA app; CREATE TABLE app.users (email text);
		CREATE INDEX users_email ON app.users (email);
		UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'app.users_email'::regclass`)
	pgtest.MustRun(t, open(t, url), []aurora.Migration{pgtest.Migration("1", "i", "CREATE INDEX CONCURRENTLY IF NOT EXISTS users_email ON app.users (email)")}, aurora.Request{})
	if got := pgtest.One(t, url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'app.users_email'::regclass"); got != "t" {
		t.Errorf("index valid: %s", got)
	}
}

// died puts a revision into the history as a process leaves it that is killed
// around a statement: announced, and not known to be done.
func died(t *testing.T, url string, m aurora.Migration, done, begun int) {
	t.Helper()
	db := open(t, url)
	l, err := db.Acquire(context.Background(), aurora.Holder{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	r := aurora.Revision{ExecutionID: "dead", Version: m.Version, Name: m.Name, Checksum: m.Checksum, Direction: aurora.Up,
		Kind: aurora.Applied, State: aurora.Running, Steps: len(m.Up), Done: done, Begun: begun}
	for _, s := range m.Up[:done] {
		r.Hashes = append(r.Hashes, aurora.StepHash(s))
	}
	if err := l.Save(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	if err := l.Release(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// After a crash between a statement and its checkpoint the catalog decides.
func TestResumeByEvidence(t *testing.T) {
	tests := []struct {
		name      string
		before    string // what the dead process had done
		statement string
		probe     string // must be 1 afterwards
		asks      bool
	}{
		{"index built", "CREATE INDEX i ON t (a)", "CREATE INDEX CONCURRENTLY i ON t (a)", "SELECT count(*) FROM pg_class WHERE relname = 'i'", false},
		{"index not begun", "", "CREATE INDEX CONCURRENTLY i ON t (a)", "SELECT count(*) FROM pg_class WHERE relname = 'i'", false},
		{"index half built", "CREATE INDEX i ON t (a); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass", "CREATE INDEX CONCURRENTLY i ON t (a)",
			"SELECT count(*) FROM pg_index WHERE indexrelid = 'i'::regclass AND indisvalid", false},
		{"index dropped", "", "DROP INDEX CONCURRENTLY i", "SELECT 1", false},
		{"index not dropped", "CREATE INDEX i ON t (a)", "DROP INDEX CONCURRENTLY i", "SELECT 1 - count(*) FROM pg_class WHERE relname = 'i'", false},
		{"vacuum", "", "VACUUM t", "SELECT 1", false},
		{"reindex", "CREATE INDEX i ON t (a)", "REINDEX TABLE CONCURRENTLY t", "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass AND indisvalid", false},
		{"call", "INSERT INTO t VALUES (1)", "CALL p()", "SELECT count(*) FROM t", true},
		{"do", "INSERT INTO t VALUES (1)", "DO $$ BEGIN INSERT INTO t VALUES (1); END $$", "SELECT count(*) FROM t", true},
		{"index without a name", "CREATE INDEX ON t (a)", "CREATE INDEX CONCURRENTLY ON t (a)", "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.URL(t)
			m := none(pgtest.Migration("1", "m", "CREATE TABLE t (a int)", tt.statement, "CREATE TABLE last (a int)"))
			open(t, url) // the tables of the history come with the first lease
			pgtest.Exec(t, url, "CREATE TABLE t (a int); CREATE PROCEDURE p() LANGUAGE sql AS 'INSERT INTO t VALUES (1)';"+tt.before)
			died(t, url, m, 1, 2)
			_, err := pgtest.Run(t, open(t, url), []aurora.Migration{m}, aurora.Request{})
			var asked *aurora.UnsureError
			if got := errors.As(err, &asked); got != tt.asks || !tt.asks && err != nil {
				t.Fatalf("error %v, want a question: %v", err, tt.asks)
			}
			if tt.asks {
				if asked.Index != 1 || tables(t, url) != "t" {
					t.Errorf("asked about %d, tables %s", asked.Index, tables(t, url))
				}
				pgtest.MustRun(t, open(t, url), []aurora.Migration{m}, aurora.Request{Unsure: aurora.UnsureSkip})
			}
			if got := pgtest.One(t, url, tt.probe); got != "1" {
				t.Errorf("%s is %s", tt.probe, got)
			}
			if got := tables(t, url); got != "last t" {
				t.Errorf("tables %s", got)
			}
		})
	}
}

func TestUnsureRerun(t *testing.T) {
	url := pgtest.URL(t)
	m := none(pgtest.Migration("1", "m", "CREATE TABLE t (a int)", "DO $$ BEGIN INSERT INTO t VALUES (1); END $$"))
	pgtest.Exec(t, url, "CREATE TABLE t (a int)")
	died(t, url, m, 1, 2)
	pgtest.MustRun(t, open(t, url), []aurora.Migration{m}, aurora.Request{Unsure: aurora.UnsureRerun})
	if got := pgtest.One(t, url, "SELECT count(*) FROM t"); got != "1" {
		t.Errorf("%s rows", got)
	}
}

// Statement by statement: what ran stays, what failed can be edited, what ran
// and was edited is refused by name, what is added later runs too (A7).
func TestA7ResumeInsideAFile(t *testing.T) {
	url := pgtest.URL(t)
	m := none(pgtest.Migration("1", "m", "CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)", "oops", "CREATE TABLE z (id int)"))
	if _, err := pgtest.Run(t, open(t, url), []aurora.Migration{m}, aurora.Request{}); err == nil {
		t.Fatal("no error")
	}
	edited := none(pgtest.Migration("1", "m", "CREATE TABLE a (id int)", "INSERT INTO a VALUES (2)", "CREATE TABLE b (id int)"))
	_, err := pgtest.Run(t, open(t, url), []aurora.Migration{edited}, aurora.Request{})
	var changed *aurora.ChangedError
	if !errors.As(err, &changed) || changed.Statement != 2 {
		t.Fatalf("error %v, want statement 2 changed", err)
	}
	shorter := none(pgtest.Migration("1", "m", "CREATE TABLE a (id int)"))
	if _, err := pgtest.Run(t, open(t, url), []aurora.Migration{shorter}, aurora.Request{}); !errors.As(err, &changed) {
		t.Fatalf("error %v, want a changed statement", err)
	}
	fixed := none(pgtest.Migration("1", "m", "CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)", "CREATE TABLE b (id int)", "CREATE TABLE z (id int)", "CREATE TABLE zz (id int)"))
	pgtest.MustRun(t, open(t, url), []aurora.Migration{fixed}, aurora.Request{})
	if got := tables(t, url); got != "a b z zz" {
		t.Errorf("tables %s", got)
	}
	if got := pgtest.One(t, url, "SELECT count(*) FROM a"); got != "1" {
		t.Errorf("%s rows", got)
	}
}

// A migration's own transactions stay whole: a failure inside falls back to
// before its BEGIN.
func TestOwnTransactions(t *testing.T) {
	url := pgtest.URL(t)
	m := func(third string) aurora.Migration {
		return none(pgtest.Migration("1", "m", "CREATE TABLE a (id int)", "BEGIN ISOLATION LEVEL SERIALIZABLE", "INSERT INTO a VALUES (1)", third, "COMMIT", "INSERT INTO a VALUES (3)"))
	}
	if _, err := pgtest.Run(t, open(t, url), []aurora.Migration{m("oops")}, aurora.Request{}); err == nil {
		t.Fatal("no error")
	}
	if got := pgtest.One(t, url, "SELECT count(*) FROM a"); got != "0" {
		t.Errorf("%s rows survived", got)
	}
	if last := mustLatest(t, url)[0]; last.Done != 1 || last.State != aurora.Failed {
		t.Errorf("revision %+v", last)
	}
	pgtest.MustRun(t, open(t, url), []aurora.Migration{m("INSERT INTO a VALUES (2)")}, aurora.Request{})
	if got := pgtest.One(t, url, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM a"); got != "1 2 3" {
		t.Errorf("rows %s", got)
	}
	open := none(pgtest.Migration("2", "open", "BEGIN", "INSERT INTO a VALUES (4)"))
	_, err := pgtest.Run(t, openProject(t, url, ""), []aurora.Migration{m("INSERT INTO a VALUES (2)"), open}, aurora.Request{})
	if err == nil || !strings.Contains(err.Error(), "add COMMIT") {
		t.Errorf("error %v", err)
	}
	if got := pgtest.One(t, url, "SELECT count(*) FROM a WHERE id = 4"); got != "0" {
		t.Error("an open transaction was kept")
	}
}

func TestDown(t *testing.T) {
	url := pgtest.URL(t)
	migrations := pgtest.Tables(4, 1)
	for i := range migrations {
		migrations[i].Down = []aurora.Step{aurora.Statement{SQL: "DROP TABLE " + strings.Fields(migrations[i].Up[0].String())[2]}}
	}
	pgtest.MustRun(t, open(t, url), migrations, aurora.Request{})
	pgtest.MustRun(t, open(t, url), migrations, aurora.Request{Direction: aurora.Down})
	if got := tables(t, url); got != "t1_1 t2_1 t3_1" {
		t.Errorf("down without a number left %s", got)
	}
	pgtest.MustRun(t, open(t, url), migrations, aurora.Request{Direction: aurora.Down, To: "00001"})
	if got := tables(t, url); got != "t1_1" {
		t.Errorf("down to 1 left %s", got)
	}
	pgtest.MustRun(t, open(t, url), migrations, aurora.Request{})
	if got := tables(t, url); got != "t1_1 t2_1 t3_1 t4_1" {
		t.Errorf("up again made %s", got)
	}
	migrations[3].Down = []aurora.Step{aurora.Statement{SQL: "DROP TABLE nowhere"}}
	if _, err := pgtest.Run(t, open(t, url), migrations, aurora.Request{Direction: aurora.Down}); err == nil {
		t.Fatal("no error")
	}
	// A rollback that undid nothing leaves the migration applied.
	if e := pgtest.MustRun(t, open(t, url), migrations, aurora.Request{}); len(e.Revisions) != 0 {
		t.Errorf("up after a failed down ran %d", len(e.Revisions))
	}
}

// What ran statement by statement is not run again when its file, once fixed,
// could be one transaction (A7, A29).
func TestA7ResumeAsATransaction(t *testing.T) {
	for _, mode := range []aurora.TxMode{"", aurora.TxNone} {
		url := pgtest.URL(t)
		first := pgtest.Migration("1", "m", "CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)", "CREATE INDEX CONCURRENTLY i ON a (nope)")
		if mode == aurora.TxNone {
			first = pgtest.Migration("1", "m", "CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)", "oops")
		}
		if _, err := pgtest.Run(t, open(t, url), []aurora.Migration{first}, aurora.Request{TxMode: mode}); err == nil {
			t.Fatal("no error")
		}
		fixed := []aurora.Migration{pgtest.Migration("1", "m", "CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)", "CREATE INDEX i ON a (id)")}
		if _, err := pgtest.Run(t, open(t, url), fixed, aurora.Request{TxMode: aurora.TxAll}); err == nil {
			t.Error("one transaction for all was promised for a migration that is half applied")
		}
		pgtest.MustRun(t, open(t, url), fixed, aurora.Request{})
		if got := pgtest.One(t, url, "SELECT count(*) FROM a"); got != "1" {
			t.Errorf("mode %q: the INSERT ran %s times", mode, got)
		}
	}
}

// A BEGIN that fails is not done, and can be mended.
func TestFailedBegin(t *testing.T) {
	url := pgtest.URL(t)
	m := func(begin string) []aurora.Migration {
		return []aurora.Migration{none(pgtest.Migration("1", "m", begin, "CREATE TABLE a (id int)", "COMMIT"))}
	}
	if _, err := pgtest.Run(t, open(t, url), m("BEGIN ISOLATION LEVEL READ COMMITED"), aurora.Request{}); err == nil {
		t.Fatal("no error")
	}
	pgtest.MustRun(t, open(t, url), m("BEGIN ISOLATION LEVEL READ COMMITTED"), aurora.Request{})
}

// A constraint that is deferred to the commit is blamed on its statement.
func TestDeferredConstraintStatementByStatement(t *testing.T) {
	url := pgtest.URL(t)
	m := none(pgtest.Migration("1", "m", "CREATE TABLE a (id int PRIMARY KEY, b int REFERENCES a DEFERRABLE INITIALLY DEFERRED)", "INSERT INTO a VALUES (1, 2)"))
	_, err := pgtest.Run(t, open(t, url), []aurora.Migration{m}, aurora.Request{})
	var step *aurora.StepError
	if !errors.As(err, &step) || step.Index != 1 {
		t.Errorf("error %v", err)
	}
}

// What succeeded although somebody pressed Ctrl-C is recorded as done.
func TestInterruptThatComesTooLate(t *testing.T) {
	url := pgtest.URL(t)
	m := none(pgtest.Migration("1", "m", "CREATE TABLE a (id int)",
		`DO $$ BEGIN BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN INSERT INTO a VALUES (1); END; END $$`))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := aurora.Runner{Store: open(t, url), Migrations: []aurora.Migration{m}}
	whenAsleep(t, url, cancel)
	_, _ = r.Run(ctx, aurora.Request{})
	if got := pgtest.One(t, url, "SELECT count(*) FROM a"); got != "1" {
		t.Fatalf("%s rows", got)
	}
	pgtest.MustRun(t, open(t, url), []aurora.Migration{m}, aurora.Request{})
	if got := pgtest.One(t, url, "SELECT count(*) FROM a"); got != "1" {
		t.Errorf("it ran %s times", got)
	}
}

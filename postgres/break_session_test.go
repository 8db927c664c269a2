package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/postgres"
)

// A resumed file must run in the session its first half made (resume by
// evidence): otherwise the rest lands in another schema, or under another role.
func TestBreakResumeKeepsTheSessionSettings(t *testing.T) {
	url := pgtest.URL(t)
	m := func(fourth string) aurora.Migration {
		return none(pgtest.Migration("1", "m", "CREATE SCHEMA app", "SET search_path = app", "CREATE TABLE a (id int)", fourth, "CREATE TABLE c (id int)"))
	}
	if _, err := pgtest.Run(t, open(t, url), []aurora.Migration{m("oops")}, aurora.Request{}); err == nil {
		t.Fatal("no error")
	}
	pgtest.MustRun(t, open(t, url), []aurora.Migration{m("CREATE TABLE b (id int)")}, aurora.Request{})
	if got := pgtest.One(t, url, `SELECT string_agg(schemaname || '.' || tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname IN ('app', 'public')`); got != "app.a app.b app.c" {
		t.Errorf("tables %s", got)
	}
}

// SET SESSION CHARACTERISTICS is a setting of the session too (A28).
func TestBreakSessionCharacteristicsDoNotLeak(t *testing.T) {
	url := pgtest.URL(t)
	pgtest.MustRun(t, open(t, url), []aurora.Migration{
		pgtest.Migration("1", "a", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"),
		pgtest.Migration("2", "b", "CREATE TABLE b (id int)"),
	}, aurora.Request{})
}

// A temporary table of one migration must not stand in front of a real table
// in the next: its rows would be lost (A28).
func TestBreakTemporaryTablesDoNotLeak(t *testing.T) {
	for _, mode := range []aurora.TxMode{"", aurora.TxNone} {
		url := pgtest.URL(t)
		ms := []aurora.Migration{
			pgtest.Migration("1", "a", "CREATE TABLE users (id int)"),
			pgtest.Migration("2", "b", "CREATE TEMP TABLE users (id int)"),
			pgtest.Migration("3", "c", "INSERT INTO users VALUES (1)"),
		}
		ms[1].TxMode = mode
		pgtest.MustRun(t, open(t, url), ms, aurora.Request{})
		if got := pgtest.One(t, url, "SELECT count(*) FROM users"); got != "1" {
			t.Errorf("mode %q: %s rows in the real table", mode, got)
		}
	}
}

// What a function sets that an INSERT calls leaks as well (A28).
func TestBreakSettingsOfFunctionsDoNotLeak(t *testing.T) {
	url := pgtest.URL(t)
	pgtest.MustRun(t, open(t, url), []aurora.Migration{
		pgtest.Migration("1", "a", "CREATE SCHEMA other", "CREATE TABLE t (id text)",
			"CREATE FUNCTION go() RETURNS text LANGUAGE plpgsql AS $$ BEGIN SET search_path = other; RETURN 'x'; END $$"),
		pgtest.Migration("2", "b", "INSERT INTO t VALUES (go())"),
		pgtest.Migration("3", "c", "CREATE TABLE c (id int)"),
	}, aurora.Request{})
	if got := tables(t, url); got != "c t" {
		t.Errorf("tables in public: %q", got)
	}
}

// The role that the server gives a login (ALTER ROLE … SET role) is where
// every migration starts, also behind one that reset the session.
func TestBreakResetKeepsTheLoginsRole(t *testing.T) {
	url := pgtest.URL(t)
	name := roleName(url)
	pgtest.Exec(t, url, fmt.Sprintf(`CREATE ROLE %[1]s_owner; CREATE ROLE %[1]s LOGIN IN ROLE %[1]s_owner; ALTER ROLE %[1]s SET role = '%[1]s_owner';
		GRANT ALL ON SCHEMA public TO %[1]s_owner; DO $$ BEGIN EXECUTE 'GRANT ALL ON DATABASE ' || current_database() || ' TO %[1]s_owner'; END $$`, name))
	t.Cleanup(func() {
		pgtest.Exec(t, url, fmt.Sprintf(`DROP OWNED BY %[1]s, %[1]s_owner CASCADE; DROP ROLE %[1]s; DROP ROLE %[1]s_owner`, name))
	})
	as := strings.Replace(url, "postgres@", name+"@", 1)
	pgtest.MustRun(t, open(t, as), []aurora.Migration{
		pgtest.Migration("1", "a", "CREATE TABLE a (id int)", "SELECT 1"),
		pgtest.Migration("2", "b", "CREATE TABLE b (id int)"),
	}, aurora.Request{})
	if got := pgtest.One(t, url, `SELECT string_agg(tableowner, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'`); got != name+"_owner "+name+"_owner" {
		t.Errorf("owners %s", got)
	}
}

// A file that changes its session and fails must not keep the lock nor its
// failure from being recorded.
func TestBreakFailureIsRecordedWhateverTheSessionSays(t *testing.T) {
	for _, set := range []string{"SET default_transaction_read_only = on", "DO $$ BEGIN SET default_transaction_read_only = on; END $$"} {
		url := pgtest.URL(t)
		_, err := pgtest.Run(t, open(t, url), []aurora.Migration{none(pgtest.Migration("1", "m", set, "CREATE TABLE a (id int)"))}, aurora.Request{})
		if err == nil {
			t.Fatal("no error")
		}
		if locked, err := open(t, url).Locked(context.Background()); err != nil || locked != nil {
			t.Errorf("%s: the lease is still held: %v, %v", set, locked, err)
		}
		if last := mustLatest(t, url); len(last) != 1 || last[0].State != aurora.Failed {
			t.Errorf("%s: history %+v", set, last)
		}
	}
}

// SET ROLE works in a file without a transaction as it does in one with.
func TestBreakSetRoleWithoutTransaction(t *testing.T) {
	url := pgtest.URL(t)
	name := roleName(url)
	pgtest.Exec(t, url, fmt.Sprintf("CREATE ROLE %[1]s; CREATE TABLE t (id int); ALTER TABLE t OWNER TO %[1]s; GRANT ALL ON SCHEMA public TO %[1]s", name))
	t.Cleanup(func() { pgtest.Exec(t, url, "DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name) })
	for i, mode := range []aurora.TxMode{aurora.TxFile, aurora.TxNone} {
		m := pgtest.Migration(fmt.Sprint(i), "m", "SET ROLE "+name, "ALTER TABLE t ADD COLUMN c"+fmt.Sprint(i)+" int", "RESET ROLE")
		m.TxMode = mode
		db := openProject(t, url, fmt.Sprint(i))
		if _, err := pgtest.Run(t, db, []aurora.Migration{m}, aurora.Request{}); err != nil {
			t.Errorf("mode %q: %v", mode, err)
		}
		if locked, err := db.Locked(context.Background()); err != nil || locked != nil {
			t.Errorf("mode %q: the lease is still held: %v, %v", mode, locked, err)
		}
	}
}

// Statements that drop some prepared statements, or none, must not make the
// stream's own appear twice.
func TestBreakDeallocateOneThenStream(t *testing.T) {
	for _, s := range []string{"DISCARD PLANS", "DISCARD TEMP", "DEALLOCATE mine"} {
		for _, mode := range []aurora.TxMode{aurora.TxNone, ""} {
			url := pgtest.URL(t)
			ms := []aurora.Migration{
				pgtest.Migration("1", "a", "CREATE TABLE a (id int)"), none(pgtest.Migration("2", "b", "CREATE TABLE b (id int)")),
				pgtest.Migration("3", "c", "PREPARE mine AS SELECT 1", s), none(pgtest.Migration("4", "d", "CREATE TABLE d (id int)")),
				pgtest.Migration("5", "e", "CREATE TABLE e (id int)"),
			}
			ms[2].TxMode = mode
			if _, err := pgtest.Run(t, open(t, url), ms, aurora.Request{}); err != nil {
				t.Errorf("%s in mode %q: %v", s, mode, err)
			}
		}
	}
}

// killed ends the runner's connections from the server's side, as a failover
// or a proxy's idle limit does.
func killed(t testing.TB, url string) {
	pgtest.Exec(t, url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'aurora%'")
}

// A Go step may last long enough for the server to end the idle connection:
// recording that it is done takes another.
func TestBreakIdleConnectionEnds(t *testing.T) {
	url := pgtest.URL(t)
	step := aurora.Func{Name: "long", Do: func(context.Context, *aurora.Env) error { killed(t, url); return nil }}
	ms := []aurora.Migration{{Version: "1", Name: "go", Up: []aurora.Step{step}, Irreversible: "x"}, pgtest.Migration("2", "a", "CREATE TABLE a (id int)")}
	if _, err := pgtest.Run(t, open(t, url), ms, aurora.Request{}); err != nil {
		t.Error(err)
	}
}

// The session's settings are those of the run after a reconnect too.
func TestBreakSettingsAfterReconnect(t *testing.T) {
	url := pgtest.URL(t)
	name := pgtest.One(t, url, "SELECT current_database()")
	pgtest.Exec(t, url, "ALTER DATABASE "+name+" SET statement_timeout = '50ms'")
	step := aurora.Func{Name: "long", Do: func(ctx context.Context, env *aurora.Env) error {
		killed(t, url+"&statement_timeout=0")
		_ = env.Checkpoint(ctx, 1) // notices the loss, or not; either way it goes on
		return nil
	}}
	ms := []aurora.Migration{{Version: "1", Name: "go", Up: []aurora.Step{step}, Irreversible: "x"}, pgtest.Migration("2", "slow", "SELECT pg_sleep(0.2)")}
	if _, err := pgtest.Run(t, open(t, url), ms, aurora.Request{}); err != nil {
		t.Error(err)
	}
}

// The server's own encoding is no excuse: files are UTF-8.
func TestBreakLatin1Database(t *testing.T) {
	url := pgtest.URL(t)
	name := pgtest.One(t, url, "SELECT current_database()") + "_latin1"
	pgtest.Exec(t, url, "CREATE DATABASE "+name+" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
	latin := pgtest.WithDatabase(t, url, name)
	pgtest.MustRun(t, open(t, latin), []aurora.Migration{
		pgtest.Migration("1", "a", "CREATE TABLE a (b text)", "INSERT INTO a VALUES ('Müller')"),
	}, aurora.Request{})
	if got := pgtest.One(t, latin, "SELECT octet_length(b) || ' ' || length(b) FROM a"); got != "6 6" {
		t.Errorf("the text has %s bytes and characters, want 6", got)
	}
	m := pgtest.Migration("2", "b", "CREATE TABLE b (b text)")
	m.Description = "a → b"
	if _, err := pgtest.Run(t, open(t, latin), []aurora.Migration{pgtest.Migration("1", "a", "CREATE TABLE a (b text)", "INSERT INTO a VALUES ('Müller')"), m}, aurora.Request{}); err != nil {
		t.Errorf("a description that the encoding does not have: %v", err)
	}
}

// Statements that PostgreSQL allows in a transaction block are allowed in a
// file that is one transaction.
func TestBreakBlockStatementsInAFile(t *testing.T) {
	tests := []struct {
		name string
		sql  []string
	}{
		{"lock", []string{"CREATE TABLE a (id int)", "LOCK TABLE a IN EXCLUSIVE MODE"}},
		{"lock first", []string{"LOCK TABLE pg_class IN ACCESS SHARE MODE", "CREATE TABLE a (id int)"}},
		{"savepoint", []string{"SAVEPOINT s", "CREATE TABLE a (id int)", "ROLLBACK TO s", "CREATE TABLE b (id int)", "RELEASE s"}},
		{"cursor", []string{"DECLARE c CURSOR FOR SELECT 1", "FETCH c", "CLOSE c"}},
		{"set local", []string{"SET LOCAL lock_timeout = '5s'", "CREATE TABLE a (id int)"}},
		{"set constraints", []string{"SET CONSTRAINTS ALL DEFERRED", "CREATE TABLE a (id int)"}},
		{"isolation first", []string{"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "CREATE TABLE a (id int)"}},
		{"empty", []string{"", "CREATE TABLE a (id int)", "-- nothing", "/* nothing */"}},
		{"listen", []string{"LISTEN x", "NOTIFY x", "NOTIFY x, 'payload'"}},
		{"nothing", nil},
		{"scs off", []string{"SET standard_conforming_strings = off", "CREATE TABLE a (id int)"}},
		{"encoding", []string{"SET client_encoding = 'LATIN1'", "CREATE TABLE a (id int)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.URL(t)
			m := pgtest.Migration("1", "a", tt.sql...)
			m.Description = "Müller"
			if _, err := pgtest.Run(t, open(t, url), []aurora.Migration{m, pgtest.Migration("2", "b", `CREATE TABLE z AS SELECT 'a\' || 'ü' AS x`)}, aurora.Request{}); err != nil {
				t.Fatal(err)
			}
			if got := pgtest.One(t, url, "SELECT x FROM z"); got != `a\ü` {
				t.Errorf("the next migration stored %q", got)
			}
			rs := attempts(t, open(t, url), "1")
			if len(rs) != 1 || rs[0].State != aurora.Completed || rs[0].Description != "Müller" {
				t.Errorf("revisions %+v", rs)
			}
			if len(rs) == 1 && rs[0].Output != "" {
				t.Errorf("output %q", rs[0].Output)
			}
		})
	}
}

// A migration in one transaction is atomic even when a block of it commits:
// either it is refused, or nothing stays.
func TestBreakCommitInsideABlock(t *testing.T) {
	for _, s := range []string{"DO $$ BEGIN INSERT INTO a VALUES (1); COMMIT; INSERT INTO a VALUES (2); END $$", "CALL p()"} {
		url := pgtest.URL(t)
		pgtest.Exec(t, url, "CREATE TABLE a (id int); CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO a VALUES (1); COMMIT; INSERT INTO a VALUES (2); END $$")
		_, err := pgtest.Run(t, open(t, url), []aurora.Migration{pgtest.Migration("1", "a", "CREATE TABLE b (id int)", s, "oops")}, aurora.Request{})
		if err == nil {
			t.Fatal("no error")
		}
		t.Log(err)
		if got := pgtest.One(t, url, "SELECT count(*) FROM a"); got != "0" || tables(t, url) != "a" {
			t.Errorf("%s: %s rows, tables %s stayed behind a failed migration", s, got, tables(t, url))
		}
		// Without a transaction it works, and happens once.
		pgtest.MustRun(t, open(t, url), []aurora.Migration{none(pgtest.Migration("1", "a", s))}, aurora.Request{})
		if got := pgtest.One(t, url, "SELECT count(*) FROM a"); got != "2" {
			t.Errorf("%s: %s rows", s, got)
		}
	}
}

// COPY from the client has no data to read; it must say so, and what follows
// must not be swallowed.
func TestBreakCopy(t *testing.T) {
	for _, mode := range []aurora.TxMode{"", aurora.TxNone} {
		for _, s := range []string{"COPY a FROM STDIN", "COPY a TO STDOUT"} {
			url := pgtest.URL(t)
			pgtest.Exec(t, url, "CREATE TABLE a (id int); INSERT INTO a SELECT generate_series(1, 1000)")
			m := pgtest.Migration("1", "m", "CREATE TABLE b (id int)", s, "CREATE TABLE c (id int)")
			m.TxMode = mode
			done := make(chan error, 1)
			go func() { _, err := pgtest.Run(t, open(t, url), []aurora.Migration{m}, aurora.Request{}); done <- err }()
			select {
			case err := <-done:
				var step *aurora.StepError
				if !errors.As(err, &step) || step.Index != 1 {
					t.Errorf("mode %q, %s: error %v, want a StepError at statement 1", mode, s, err)
				}
			case <-time.After(patience):
				t.Fatalf("mode %q, %s: hangs", mode, s)
			}
		}
	}
}

// A parameter sign in a file is an error of that statement.
func TestBreakParameterSign(t *testing.T) {
	for _, mode := range []aurora.TxMode{"", aurora.TxNone} {
		url := pgtest.URL(t)
		m := pgtest.Migration("1", "m", "CREATE TABLE b (id int)", "INSERT INTO b VALUES ($1)")
		m.TxMode = mode
		_, err := pgtest.Run(t, open(t, url), []aurora.Migration{m}, aurora.Request{})
		var step *aurora.StepError
		if !errors.As(err, &step) || step.Index != 1 {
			t.Errorf("mode %q: %v", mode, err)
		}
	}
}

// Schema names are names, not identifiers to be parsed.
func TestBreakSchemaNames(t *testing.T) {
	for _, schema := range []string{"Aurora", "my.schema", `qu"ote`, "with space", "select", "größe", strings.Repeat("x", 63)} {
		for _, before := range []string{"", "same", "lower"} {
			t.Run(fmt.Sprintf("%.12s %s", schema, before), func(t *testing.T) {
				t.Parallel()
				url := pgtest.URL(t)
				pgtest.Exec(t, url, atlasTable+`INSERT INTO atlas_schema_revisions.atlas_schema_revisions VALUES
					('00001', 't', 2, 1, 1, '2025-01-02 03:04:05Z', 1500000, '', '', 'x=', 'null', 'Atlas CLI v1.2.0')`)
				switch before {
				case "same":
					pgtest.Exec(t, url, `CREATE SCHEMA "`+strings.ReplaceAll(schema, `"`, `""`)+`"`)
				case "lower":
					pgtest.Exec(t, url, `CREATE SCHEMA IF NOT EXISTS "`+strings.ToLower(strings.ReplaceAll(schema, `"`, `""`))+`"`)
				}
				db, err := postgres.Open(context.Background(), postgres.Config{URL: url, Schema: schema, Project: `it's "x"`})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { db.Close(context.Background()) })
				ms := pgtest.Tables(2, 1)
				e, err := pgtest.Run(t, db, ms, aurora.Request{})
				if err != nil {
					t.Fatal(err)
				}
				if got := tables(t, url); got != "t2_1" {
					t.Errorf("tables %q: the history that was there is not imported (%d revisions)", got, len(e.Revisions))
				}
			})
		}
	}
}

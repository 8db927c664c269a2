package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/postgres"
)

// tables lists the tables of the public schema.
func tables(t testing.TB, url string) string {
	t.Helper()
	return pgtest.One(t, url, `SELECT coalesce(string_agg(tablename, ' ' ORDER BY tablename), '') FROM pg_tables WHERE schemaname = 'public'`)
}

// A broken file in the middle of the stream stops exactly there, whatever
// breaks it, and the rest goes on from there once it is fixed (A1).
func TestStreamStopsAtTheFailure(t *testing.T) {
	constraint := []string{
		"CREATE TABLE pairs (id int PRIMARY KEY, other int REFERENCES pairs DEFERRABLE INITIALLY DEFERRED)",
		"INSERT INTO pairs VALUES (1, 2)",
	}
	tests := []struct {
		name   string
		broken []string
		index  int // of the statement blamed
		want   string
	}{
		{"syntax", []string{"CREATE TABLE broken (id int)", "CREATE TABEL x (id int)"}, 1, "syntax error"},
		{"constraint", []string{"CREATE TABLE broken (id int PRIMARY KEY)", "INSERT INTO broken VALUES (1), (1)"}, 1, "duplicate key"},
		{"deferred constraint at commit", constraint, -1, "violates foreign key"},
		{"already there", []string{"CREATE TABLE t1_1 (id int)"}, 0, "already exists"},
		{"division by zero is not taken for the guard", []string{"SELECT 1/0"}, 0, "division by zero"},
		{"a null token is not taken for the lease", []string{"CREATE TABLE n (token bigint NOT NULL)", "INSERT INTO n VALUES (NULL)"}, 1, "null value"},
		{"statement outside a transaction block", []string{"CREATE TABLE broken (id int)", "DO $$ BEGIN RAISE EXCEPTION 'no: %', 42; END $$"}, 1, "no: 42"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.URL(t)
			migrations := pgtest.Tables(20, 1)
			good := migrations[9]
			migrations[9] = pgtest.Migration(good.Version, good.Name, tt.broken...)
			e, err := pgtest.Run(t, open(t, url), migrations, aurora.Request{})
			var step *aurora.StepError
			if !errors.As(err, &step) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want a StepError with %q", err, tt.want)
			}
			if step.Index != tt.index || step.Version != good.Version {
				t.Errorf("blamed statement %d of %s, want %d of %s", step.Index, step.Version, tt.index, good.Version)
			}
			if got, want := tables(t, url), "t1_1 t2_1 t3_1 t4_1 t5_1 t6_1 t7_1 t8_1 t9_1"; got != want {
				t.Errorf("tables %q, want %q", got, want)
			}
			if e.State != aurora.Failed || len(e.Revisions) != 10 || e.Revisions[9].State != aurora.Failed {
				t.Errorf("execution is %s with %d revisions", e.State, len(e.Revisions))
			}
			latest, err := open(t, url).Latest(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			last := latest[len(latest)-1]
			if len(latest) != 10 || last.State != aurora.Failed || !strings.Contains(last.Error, tt.want) || last.Done != 0 {
				t.Errorf("history has %d revisions, the last %+v", len(latest), last)
			}

			migrations[9] = good
			if e := pgtest.MustRun(t, open(t, url), migrations, aurora.Request{}); len(e.Revisions) != 11 {
				t.Errorf("going on ran %d migrations, want 11", len(e.Revisions))
			}
			status, err := aurora.NewStatus(migrations, mustLatest(t, url), "")
			if err != nil || !status.Ready() {
				t.Errorf("not ready after the fix: %v, pending %v", err, status.Pending)
			}
		})
	}
}

func mustLatest(t testing.TB, url string) []aurora.Revision {
	t.Helper()
	latest, err := open(t, url).Latest(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return latest
}

// Whoever lost the lease stops at the next guard, on the server, and cannot
// write history.
func TestStreamStopsWhenTheLeaseIsLost(t *testing.T) {
	url := pgtest.URL(t)
	migrations := pgtest.Tables(20, 1)
	// The migration itself plays the thief, so that it happens in mid-stream.
	migrations[7] = pgtest.Migration("00008", "thief", `UPDATE aurora.aurora_leases SET token = token + 1, expires_at = now() + interval '1 hour'`)
	_, err := pgtest.Run(t, open(t, url), migrations, aurora.Request{})
	if !errors.Is(err, aurora.ErrLeaseLost) {
		t.Fatalf("error %v, want ErrLeaseLost", err)
	}
	if got, want := tables(t, url), "t1_1 t2_1 t3_1 t4_1 t5_1 t6_1 t7_1"; got != want {
		t.Errorf("tables %q, want %q", got, want)
	}
}

// A takeover ends the old holder's session, and waits until a transaction that
// had already proved its lease is over, one way or the other: no two holders
// are ever at work, and what the new one sees stays true.
func TestTakeoverEndsTheOldHolder(t *testing.T) {
	ctx := context.Background()
	url := pgtest.URL(t)
	old, young := open(t, url), open(t, url)
	// After its save the transaction stays open until a deferred trigger has
	// slept, well over the end of the lease.
	pgtest.Exec(t, url, `CREATE TABLE slow (id int);
		CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3); RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER doze AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION doze()`)
	l, err := old.Acquire(ctx, aurora.Holder{User: "old"}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		m := pgtest.Migration("1", "slow", "INSERT INTO slow VALUES (1)")
		item := aurora.Item{Migration: m, Direction: aurora.Up, Revision: aurora.Revision{
			ExecutionID: "a", Version: "1", Direction: aurora.Up, Kind: aurora.Applied, Steps: 1}}
		done <- old.Stream(ctx, l, []aurora.Item{item}, func(aurora.Revision) {})
	}()
	const state = "SELECT (SELECT count(*) FROM slow) || ' ' || (SELECT count(*) FROM aurora.aurora_revisions WHERE state = 'completed')"
	for {
		thief, err := young.Acquire(ctx, aurora.Holder{User: "young"}, time.Minute)
		var locked *aurora.LockedError
		if errors.As(err, &locked) {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		seen := pgtest.One(t, url, state)
		if thief.Token() <= l.Token() {
			t.Errorf("token %d is not above %d", thief.Token(), l.Token())
		}
		err = <-done
		if after := pgtest.One(t, url, state); after != seen || seen == "1 1" != (err == nil) || seen != "1 1" && seen != "0 0" {
			t.Errorf("at the takeover %s, in the end %s, and the old holder heard %v", seen, after, err)
		}
		break
	}
	if err := l.Save(ctx, aurora.Revision{ExecutionID: "b", Version: "2", Direction: aurora.Up, Kind: aurora.Applied}); !errors.Is(err, aurora.ErrLeaseLost) {
		t.Errorf("the old holder still writes: %v", err)
	}
}

// Ctrl-C in mid-stream cancels on the server, keeps what is complete, and
// gives the lease back at once.
func TestInterruptCancelsOnTheServer(t *testing.T) {
	url := pgtest.URL(t)
	migrations := pgtest.Tables(20, 1)
	migrations[5] = pgtest.Migration("00006", "sleeps", "CREATE TABLE slept (id int)", "SELECT pg_sleep(600)")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := aurora.Runner{Store: open(t, url), Migrations: migrations}
	whenAsleep(t, url, cancel)
	e, err := r.Run(ctx, aurora.Request{})
	if !errors.Is(err, aurora.ErrInterrupted) {
		t.Fatalf("error %v, want ErrInterrupted", err)
	}
	if e.State != aurora.Interrupted || len(e.Revisions) != 6 {
		t.Errorf("execution is %s with %d revisions", e.State, len(e.Revisions))
	}
	if got, want := tables(t, url), "t1_1 t2_1 t3_1 t4_1 t5_1"; got != want {
		t.Errorf("tables %q, want %q", got, want)
	}
	if locked, err := open(t, url).Locked(context.Background()); err != nil || locked != nil {
		t.Errorf("the lease is still held: %v, %v", locked, err)
	}
	latest := mustLatest(t, url)
	if last := latest[len(latest)-1]; last.State != aurora.Interrupted || last.Version != "00006" {
		t.Errorf("last revision %+v", last)
	}
}

// A server that goes away in mid-stream leaves nothing half done, and the
// result tells what was committed.
func TestConnectionLostInMidStream(t *testing.T) {
	url := pgtest.URL(t)
	migrations := pgtest.Tables(20, 1)
	migrations[5] = pgtest.Migration("00006", "gone", "CREATE TABLE gone (id int)", "SELECT pg_terminate_backend(pg_backend_pid())")
	e, err := pgtest.Run(t, open(t, url), migrations, aurora.Request{})
	if err == nil || !strings.Contains(err.Error(), "connection") {
		t.Fatalf("error %v, want a lost connection", err)
	}
	var done []string
	for _, r := range e.Revisions {
		if r.State == aurora.Completed {
			done = append(done, r.Version)
		}
	}
	if diff := cmp.Diff([]string{"00001", "00002", "00003", "00004", "00005"}, done); diff != "" {
		t.Errorf("completed (-want +got):\n%s", diff)
	}
	migrations[5] = pgtest.Migration("00006", "back", "CREATE TABLE back (id int)")
	pgtest.MustRun(t, open(t, url), migrations, aurora.Request{})
}

// A cut line is resolved by looking: what the server committed is reported.
func TestCutLine(t *testing.T) {
	url := pgtest.URL(t)
	proxy := pgtest.NewProxy(t, url)
	migrations := pgtest.Tables(10, 1)
	migrations[8] = pgtest.Migration("00009", "slow", "CREATE TABLE slow (id int)", "SELECT pg_sleep(600)")
	db := open(t, proxy.URL)
	whenAsleep(t, url, proxy.Cut)
	e, err := pgtest.Run(t, db, migrations, aurora.Request{})
	if err == nil {
		t.Fatal("no error")
	}
	completed := 0
	for _, r := range e.Revisions {
		if r.State == aurora.Completed {
			completed++
		}
	}
	if completed != 8 {
		t.Errorf("%d migrations reported as completed, want 8: %v", completed, err)
	}
	if n := len(mustLatest(t, url)); n != 8 {
		t.Errorf("history has %d revisions, want 8", n)
	}
}

// One transaction for all files: all of them or none.
func TestTxModeAll(t *testing.T) {
	url := pgtest.URL(t)
	migrations := pgtest.Tables(5, 2)
	migrations[4] = pgtest.Migration("00005", "broken", "CREATE TABLE x (id int)", "oops")
	_, err := pgtest.Run(t, open(t, url), migrations, aurora.Request{TxMode: aurora.TxAll})
	if err == nil || tables(t, url) != "" {
		t.Fatalf("error %v, tables %q", err, tables(t, url))
	}
	migrations[4] = pgtest.Tables(5, 2)[4]
	if e := pgtest.MustRun(t, open(t, url), migrations, aurora.Request{TxMode: aurora.TxAll}); len(e.Revisions) != 5 {
		t.Errorf("%d revisions", len(e.Revisions))
	}
	if n := pgtest.One(t, url, "SELECT count(DISTINCT xmin::text) FROM aurora.aurora_revisions WHERE state = 'completed'"); n != "1" {
		t.Errorf("%s transactions, want 1", n)
	}
}

// What one migration sets must not reach the next, nor the history (A28).
func TestA28SettingsDoNotLeak(t *testing.T) {
	url := pgtest.URL(t)
	migrations := []aurora.Migration{
		pgtest.Migration("1", "role", "CREATE SCHEMA other", "CREATE ROLE "+roleName(url), "SET ROLE "+roleName(url)),
		pgtest.Migration("2", "path", "SET search_path = other", "SELECT set_config('statement_timeout', '1', false)"),
		pgtest.Migration("3", "plain", "CREATE TABLE plain (id int)", "SELECT pg_sleep(0.05)"),
		pgtest.Migration("4", "dumped", "SELECT pg_catalog.set_config('search_path', '', false)"),
		pgtest.Migration("5", "again", "CREATE TABLE again (id int)", "DEALLOCATE ALL"),
		pgtest.Migration("6", "last", "CREATE TABLE last (id int)"),
	}
	pgtest.MustRun(t, open(t, url), migrations, aurora.Request{})
	pgtest.Exec(t, url, "DROP ROLE "+roleName(url))
	if got, want := tables(t, url), "again last plain"; got != want {
		t.Errorf("tables in public %q, want %q", got, want)
	}
}

func roleName(url string) string {
	_, name, _ := strings.Cut(url, "/test_")
	name, _, _ = strings.Cut(name, "?")
	return "role_" + name
}

// The server's own limits must not cut a migration short.
func TestServerTimeoutsDoNotCut(t *testing.T) {
	url := pgtest.URL(t)
	name := pgtest.One(t, url, "SELECT current_database()")
	pgtest.Exec(t, url, "ALTER DATABASE "+name+" SET statement_timeout = '50ms'")
	pgtest.Exec(t, url, "ALTER DATABASE "+name+" SET default_transaction_isolation = 'serializable'")
	pgtest.MustRun(t, open(t, url), []aurora.Migration{pgtest.Migration("1", "slow", "SELECT pg_sleep(0.2)")}, aurora.Request{})
	limited := strings.Replace(url, "?", "?statement_timeout=50&", 1)
	_, err := pgtest.Run(t, open(t, limited), []aurora.Migration{pgtest.Migration("1", "slow", "SELECT pg_sleep(0.2)"), pgtest.Migration("2", "slower", "SELECT pg_sleep(5)")}, aurora.Request{})
	if err == nil || !strings.Contains(err.Error(), "statement timeout") {
		t.Errorf("error %v: a limit in the url is the user's wish", err)
	}
}

func TestNoticesBecomeOutput(t *testing.T) {
	url := pgtest.URL(t)
	migrations := []aurora.Migration{
		pgtest.Migration("1", "says", "DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$"),
		pgtest.Migration("2", "silent", "CREATE TABLE a (id int)"),
		pgtest.Migration("3", "fails", "DO $$ BEGIN RAISE NOTICE 'three'; END $$", "oops"),
	}
	if _, err := pgtest.Run(t, open(t, url), migrations, aurora.Request{}); err == nil {
		t.Fatal("no error")
	}
	db := open(t, url)
	for version, want := range map[string]string{"1": "NOTICE: one\nWARNING: two\n", "2": "", "3": "NOTICE: three\n"} {
		rs := attempts(t, db, version)
		if len(rs) != 1 {
			t.Fatalf("version %s: %v", version, rs)
		}
		if rs[0].Output != want {
			t.Errorf("version %s: output %q, want %q", version, rs[0].Output, want)
		}
	}
}

// Statements of one transaction are refused before anything runs.
func TestTransactionControlIsRefused(t *testing.T) {
	for _, s := range []string{"BEGIN", "COMMIT", "START TRANSACTION", "ROLLBACK", "END", "PREPARE TRANSACTION 'x'"} {
		url := pgtest.URL(t)
		_, err := pgtest.Run(t, open(t, url), []aurora.Migration{pgtest.Migration("1", "a", "CREATE TABLE a (id int)"), pgtest.Migration("2", "b", "CREATE TABLE b (id int)", s)}, aurora.Request{})
		var step *aurora.StepError
		if !errors.As(err, &step) || step.Hint == "" || step.Index != 1 {
			t.Errorf("%s: error %v", s, err)
		}
		if tables(t, url) != "" {
			t.Errorf("%s: something ran before the refusal", s)
		}
	}
}

func TestErrorPosition(t *testing.T) {
	url := pgtest.URL(t)
	m := pgtest.Migration("1", "a", "CREATE TABLE a (\n\tid int,\n\tname txet\n)")
	m.Up[0] = aurora.Statement{SQL: m.Up[0].String(), File: "migrations/1_a.sql", Line: 7}
	_, err := pgtest.Run(t, open(t, url), []aurora.Migration{m}, aurora.Request{})
	if err == nil || !strings.HasPrefix(err.Error(), "migrations/1_a.sql:9:7: ") {
		t.Errorf("error %q", fmt.Sprint(err))
	}
}

func TestChecksGate(t *testing.T) {
	check := func(oneOf bool, queries ...string) []aurora.Check {
		c := aurora.Check{Name: "checks.sql", OneOf: oneOf}
		for i, q := range queries {
			c.Statements = append(c.Statements, aurora.Statement{SQL: q, File: "2_b.sql", Line: i + 3})
		}
		return []aurora.Check{c}
	}
	tests := []struct {
		name   string
		checks []aurora.Check
		pos    string // of the failing check, empty when it passes
	}{
		{"true", check(false, "SELECT true", "SELECT NOT EXISTS (SELECT FROM t1_1) -- none yet"), ""},
		{"second is false", check(false, "SELECT true", "SELECT false"), "2_b.sql:4"},
		{"null", check(false, "SELECT NULL::boolean"), "2_b.sql:3"},
		{"no row", check(false, "SELECT true WHERE false"), "2_b.sql:3"},
		{"two rows", check(false, "VALUES (true), (true)"), "2_b.sql:3"},
		{"not a boolean", check(false, "SELECT 'maybe'"), "2_b.sql:3"},
		{"one of", check(true, "SELECT false", "SELECT true"), ""},
		{"none of", check(true, "SELECT false", "SELECT false"), "2_b.sql:3"},
	}
	for _, tt := range tests {
		for _, mode := range []aurora.TxMode{"", aurora.TxNone} {
			t.Run(tt.name+" "+string(mode), func(t *testing.T) {
				t.Parallel()
				url := pgtest.URL(t)
				migrations := append(pgtest.Tables(1, 1), pgtest.Migration("00002", "gated", "CREATE TABLE gated (id int)"))
				migrations[1].Checks, migrations[1].TxMode = tt.checks, mode
				_, err := pgtest.Run(t, open(t, url), migrations, aurora.Request{})
				var step *aurora.StepError
				switch {
				case tt.pos == "" && err != nil:
					t.Error(err)
				case tt.pos != "" && (!errors.Is(err, aurora.ErrCheckFailed) || !errors.As(err, &step) || step.Pos != tt.pos):
					t.Errorf("error %v, want a failed check at %s", err, tt.pos)
				case tt.pos != "" && tables(t, url) != "t1_1":
					t.Errorf("tables %q", tables(t, url))
				}
			})
		}
	}
}

// Twenty first runs at once, all of which succeed (A33).
func TestA33TwentyFirstRuns(t *testing.T) {
	url := pgtest.URL(t)
	migrations := pgtest.Tables(30, 1)
	errs := make(chan error, 20)
	applied := make(chan int, 20)
	for range 20 {
		go func() {
			db, err := postgres.Open(context.Background(), postgres.Config{URL: url})
			if err != nil {
				errs <- err
				applied <- 0
				return
			}
			defer db.Close(context.Background())
			e, err := (&aurora.Runner{Store: db, Migrations: migrations}).Run(context.Background(), aurora.Request{})
			errs <- err
			applied <- len(e.Revisions)
		}()
	}
	total := 0
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
		total += <-applied
	}
	if total != 30 {
		t.Errorf("%d migrations ran in all, want 30", total)
	}
}

// A run with nothing to do neither writes nor locks; reading needs SELECT only.
func TestA32A34ReadOnly(t *testing.T) {
	url := pgtest.URL(t)
	migrations := pgtest.Tables(50, 1)
	// Looking at a database without history creates nothing.
	if latest := mustLatest(t, url); latest != nil {
		t.Errorf("history of an empty database: %v", latest)
	}
	if n := pgtest.One(t, url, "SELECT count(*) FROM pg_namespace WHERE nspname = 'aurora'"); n != "0" {
		t.Error("looking created the schema")
	}
	pgtest.MustRun(t, open(t, url), migrations, aurora.Request{})
	role := roleName(url)
	pgtest.Exec(t, url, "CREATE ROLE "+role+" LOGIN; GRANT USAGE ON SCHEMA aurora TO "+role+"; GRANT SELECT ON ALL TABLES IN SCHEMA aurora TO "+role)
	t.Cleanup(func() { pgtest.Exec(t, url, "DROP OWNED BY "+role+"; DROP ROLE "+role) })
	reader := strings.Replace(url, "//postgres@", "//"+role+"@", 1)
	if reader == url {
		t.Fatalf("no user in the test url %s", url)
	}
	const written = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_all_tables WHERE schemaname = 'aurora'"
	db := open(t, reader)
	if e := pgtest.MustRun(t, db, migrations, aurora.Request{}); len(e.Revisions) != 0 {
		t.Errorf("%d revisions", len(e.Revisions))
	}
	if _, err := db.Locked(context.Background()); err != nil {
		t.Error(err)
	}
	if rs := attempts(t, db, "00001"); len(rs) != 1 {
		t.Errorf("%d attempts", len(rs))
	}
	if _, _, err := db.Executions(context.Background(), "", 10); err != nil {
		t.Error(err)
	}
	// The same rights are too few to run: one clear error.
	_, err := pgtest.Run(t, db, pgtest.Tables(51, 1), aurora.Request{})
	if err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("error %v", err)
	}
	before := pgtest.One(t, url, written)
	pgtest.MustRun(t, open(t, url), migrations, aurora.Request{})
	if after := pgtest.One(t, url, written); after != before {
		t.Errorf("a run with nothing to do wrote: %s rows before, %s after", before, after)
	}
}

// Two services share a database (A17).
func TestA17Projects(t *testing.T) {
	url := pgtest.URL(t)
	a, b := openProject(t, url, "billing"), openProject(t, url, "shop")
	pgtest.MustRun(t, a, []aurora.Migration{pgtest.Migration("001", "init", "CREATE TABLE billing (id int)")}, aurora.Request{})
	if e := pgtest.MustRun(t, b, []aurora.Migration{pgtest.Migration("001", "init", "CREATE TABLE shop (id int)")}, aurora.Request{}); len(e.Revisions) != 1 {
		t.Error("the other project's migration counted as done")
	}
	l, err := a.Acquire(context.Background(), aurora.Holder{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release(context.Background())
	pgtest.MustRun(t, b, []aurora.Migration{pgtest.Migration("001", "init", "CREATE TABLE shop (id int)"), pgtest.Migration("002", "more", "CREATE TABLE more (id int)")}, aurora.Request{})
}

// A migration may choose its isolation, also for longer than a lease lives.
func TestIsolationOutlivesTheLease(t *testing.T) {
	for _, level := range []string{"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			url := pgtest.URL(t)
			m := pgtest.Migration("1", "m", "SET TRANSACTION ISOLATION LEVEL "+level, "CREATE TABLE a (id int)", "SELECT pg_sleep(8)")
			r := aurora.Runner{Store: open(t, url), Migrations: []aurora.Migration{m}, TTL: renewedTTL}
			if _, err := r.Run(context.Background(), aurora.Request{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// Looking at the history while a run is at work disturbs neither.
func TestReadingWhileRunning(t *testing.T) {
	url := pgtest.URL(t)
	db := open(t, url)
	migrations := pgtest.Tables(200, 1)
	for i := range migrations {
		if i%20 == 10 {
			migrations[i] = none(pgtest.Migration(migrations[i].Version, "n", "BEGIN", "CREATE TABLE n"+migrations[i].Version+" (id int)", "COMMIT"))
		}
	}
	done := make(chan struct{})
	read := make(chan error, 1)
	go func() {
		defer close(read)
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := db.Latest(context.Background()); err != nil {
				read <- err
				return
			}
		}
	}()
	pgtest.MustRun(t, db, migrations, aurora.Request{})
	close(done)
	if err := <-read; err != nil {
		t.Error(err)
	}
}

// When the commit of all files together fails, the record is of the file that
// is blamed.
func TestTxModeAllCommitFails(t *testing.T) {
	url := pgtest.URL(t)
	migrations := []aurora.Migration{
		pgtest.Migration("1", "a", "CREATE TABLE a (id int PRIMARY KEY, b int REFERENCES a DEFERRABLE INITIALLY DEFERRED)", "INSERT INTO a VALUES (1, 2)"),
		pgtest.Migration("2", "b", "CREATE TABLE b (id int)"),
	}
	_, err := pgtest.Run(t, open(t, url), migrations, aurora.Request{TxMode: aurora.TxAll})
	var step *aurora.StepError
	latest := mustLatest(t, url)
	if !errors.As(err, &step) || len(latest) != 1 || latest[0].Version != step.Version || tables(t, url) != "" {
		t.Errorf("error %v, history %+v", err, latest)
	}
}

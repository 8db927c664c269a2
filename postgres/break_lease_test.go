package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// breakTTL is short where a lease is to end, and renewedTTL where it is to be
// renewed: that one must outlive what a busy machine does to a renewal.
const (
	breakTTL   = 3 * time.Second
	renewedTTL = 6 * time.Second
)

func runTTL(ctx context.Context, t testing.TB, url string, ms []aurora.Migration, req aurora.Request) (aurora.Execution, error) {
	t.Helper()
	r := aurora.Runner{Store: open(t, url), Migrations: ms, TTL: renewedTTL, LockTimeout: -1}
	return r.Run(ctx, req)
}

// A run that lasts longer than the lease's time to live renews it, whatever
// sort of transaction it is in.
func TestBreakRenewalDuringLongTransactions(t *testing.T) {
	sleep := "SELECT pg_sleep(8)"
	all := []aurora.Migration{pgtest.Migration("1", "a", "CREATE TABLE a (id int)"), pgtest.Migration("2", "b", sleep), pgtest.Migration("3", "c", "CREATE TABLE c (id int)")}
	deferred := []aurora.Migration{
		pgtest.Migration("1", "a", "CREATE TABLE a (id int)", "CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(8); RETURN NULL; END $$",
			"CREATE CONSTRAINT TRIGGER doze AFTER INSERT ON a DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION doze()"),
		pgtest.Migration("2", "b", "INSERT INTO a VALUES (1)"),
	}
	tests := []struct {
		name string
		ms   []aurora.Migration
		req  aurora.Request
	}{
		{"one statement", []aurora.Migration{pgtest.Migration("1", "a", sleep)}, aurora.Request{}},
		{"all in one", all, aurora.Request{TxMode: aurora.TxAll}},
		{"own", []aurora.Migration{none(pgtest.Migration("1", "a", "BEGIN", "CREATE TABLE a (id int)", sleep, "CREATE TABLE b (id int)", "COMMIT"))}, aurora.Request{}},
		{"own repeatable read", []aurora.Migration{none(pgtest.Migration("1", "a", "BEGIN ISOLATION LEVEL REPEATABLE READ", sleep, "CREATE TABLE b (id int)", "COMMIT"))}, aurora.Request{}},
		{"deferred trigger", deferred, aurora.Request{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := runTTL(context.Background(), t, pgtest.URL(t), tt.ms, tt.req); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every lease has a token greater than all before it, also when somebody
// deleted the row or the table of leases by hand: tokens order the history.
func TestBreakTokensGoOnWithoutTheirRow(t *testing.T) {
	for _, lose := range []string{"DELETE FROM aurora.aurora_leases", "DROP TABLE aurora.aurora_leases", "TRUNCATE aurora.aurora_leases"} {
		url := pgtest.URL(t)
		ms := pgtest.Tables(2, 1)
		ms[1].Down = []aurora.Step{aurora.Statement{SQL: "DROP TABLE t2_1"}}
		pgtest.MustRun(t, open(t, url), ms, aurora.Request{})
		pgtest.Exec(t, url, lose)
		pgtest.MustRun(t, open(t, url), ms, aurora.Request{Direction: aurora.Down})
		pgtest.MustRun(t, open(t, url), ms, aurora.Request{})
		if got := tables(t, url); got != "t1_1 t2_1" {
			t.Errorf("%s: after up, down, up there are %s", lose, got)
		}
	}
}

// A row deleted by hand under a running migration ends it, and the next holder
// of a fresh row is not taken for the old one.
func TestBreakLeaseRowDeletedInMidStream(t *testing.T) {
	url := pgtest.URL(t)
	ms := []aurora.Migration{
		pgtest.Migration("1", "a", "CREATE TABLE a (id int)"),
		pgtest.Migration("2", "b", "DELETE FROM aurora.aurora_leases"),
		pgtest.Migration("3", "c", "CREATE TABLE c (id int)"),
	}
	if _, err := pgtest.Run(t, open(t, url), ms, aurora.Request{}); !errors.Is(err, aurora.ErrLeaseLost) {
		t.Errorf("error %v", err)
	}
	if got := tables(t, url); got != "a" {
		t.Errorf("tables %s", got)
	}
	ctx := context.Background()
	url2 := pgtest.URL(t)
	old, young := open(t, url2), open(t, url2)
	l1, err := old.Acquire(ctx, aurora.Holder{User: "old"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url2, "DELETE FROM aurora.aurora_leases")
	l2, err := young.Acquire(ctx, aurora.Holder{User: "young"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := l1.Renew(ctx); !errors.Is(err, aurora.ErrLeaseLost) {
		t.Errorf("the old holder renews the young one's lease (tokens %d and %d): %v", l1.Token(), l2.Token(), err)
	}
}

// The leases' table dropped in mid-run is an error, and nothing after it runs.
func TestBreakDroppedTables(t *testing.T) {
	for _, drop := range []string{"DROP TABLE aurora.aurora_leases", "DROP SCHEMA aurora CASCADE", "ALTER TABLE aurora.aurora_revisions RENAME version TO v",
		"ALTER TABLE aurora.aurora_revisions ADD COLUMN x int NOT NULL DEFAULT 1", "ALTER TABLE aurora.aurora_revisions ADD CHECK (version < '2') NOT VALID"} {
		for _, mode := range []aurora.TxMode{"", aurora.TxNone} {
			url := pgtest.URL(t)
			ms := []aurora.Migration{pgtest.Migration("1", "a", "CREATE TABLE a (id int)"), pgtest.Migration("2", "b", "CREATE TABLE b (id int)", drop), pgtest.Migration("3", "c", "CREATE TABLE c (id int)")}
			ms[1].TxMode = mode
			_, err := pgtest.Run(t, open(t, url), ms, aurora.Request{})
			if got := tables(t, url); (err == nil) != (got == "a b c") || err != nil && mode == "" && got != "a" {
				t.Errorf("%s in mode %q: error %v, tables %s", drop, mode, err, got)
			}
		}
	}
}

// PREPARE TRANSACTION would keep the row locks of the history and of the lease
// beyond the session, and nobody could ever take the lease again: it is refused
// before anything runs, in every mode.
func TestBreakPrepareTransaction(t *testing.T) {
	url := pgtest.URL(t)
	name := roleName(url)
	t.Cleanup(func() {
		for _, row := range pgtest.Query(t, url, "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()") {
			pgtest.Exec(t, url, "ROLLBACK PREPARED '"+row[0]+"'")
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := runTTL(ctx, t, url, []aurora.Migration{none(pgtest.Migration("1", "a", "CREATE TABLE a (id int)", "BEGIN", "INSERT INTO a VALUES (1)",
		"PREPARE TRANSACTION '"+name+"'", "COMMIT PREPARED '"+name+"'"))}, aurora.Request{})
	var step *aurora.StepError
	if !errors.As(err, &step) || step.Index != 3 || tables(t, url) != "" {
		t.Errorf("error %v, tables %q", err, tables(t, url))
	}
	// It was given back, and nothing holds its row.
	if _, err := open(t, url).Acquire(ctx, aurora.Holder{}, time.Minute); err != nil {
		t.Errorf("the lease is stuck: %v", err)
	}
}

// Cancelling while the lease is being taken must not leave it taken.
func TestBreakCancelDuringAcquire(t *testing.T) {
	url := pgtest.URL(t)
	pgtest.MustRun(t, open(t, url), pgtest.Tables(1, 1), aurora.Request{})
	proxy := newStall(t, url)
	db := open(t, proxy.url)
	ctx, cancel := context.WithCancel(context.Background())
	// The server has answered, the answer is still on its way, and Ctrl-C comes.
	proxy.holdAnswers(cancel)
	time.AfterFunc(200*time.Millisecond, proxy.release)
	l, err := db.Acquire(ctx, aurora.Holder{User: "interrupted"}, 24*time.Hour)
	if l != nil && err == nil {
		return // the caller has it, and gives it back
	}
	looks := open(t, url)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		locked, lerr := looks.Locked(context.Background())
		if lerr == nil && locked == nil {
			return
		}
		if lerr != nil || time.Now().After(deadline) {
			t.Fatalf("Acquire returned %v, and yet the lease is taken: %v, %v", err, locked, lerr)
		}
	}
}

// A line that has gone dead without a word must not make Ctrl-C wait for ever.
func TestBreakInterruptOnADeadLine(t *testing.T) {
	for _, mode := range []aurora.TxMode{"", aurora.TxNone} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			url := pgtest.URL(t)
			proxy := newStall(t, url)
			ctx, cancel := context.WithCancel(context.Background())
			m := pgtest.Migration("1", "a", "CREATE TABLE a (id int)", "SELECT pg_sleep(600)")
			m.TxMode = mode
			r := aurora.Runner{Store: open(t, proxy.url), Migrations: []aurora.Migration{m}, TTL: breakTTL}
			done := make(chan error, 1)
			go func() { _, err := r.Run(ctx, aurora.Request{}); done <- err }()
			time.Sleep(500 * time.Millisecond)
			proxy.stall()
			cancel()
			select {
			case err := <-done:
				t.Log(err)
			case <-time.After(patience):
				proxy.cut()
				t.Errorf("still hangs long after the interrupt; ended by closing the line: %v", <-done)
			}
		})
	}
}

// A step that was cancelled because the lease is lost must not touch what the
// next holder may be building.
func TestBreakLostLeaseDropsNothing(t *testing.T) {
	url := pgtest.URL(t)
	pgtest.Exec(t, url, "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 10)")
	release := holdTransaction(t, url, "INSERT INTO t VALUES (11)")
	done := make(chan error, 1)
	go func() {
		_, err := runTTL(context.Background(), t, url, []aurora.Migration{pgtest.Migration("1", "i", "CREATE INDEX CONCURRENTLY i ON t (a)")}, aurora.Request{})
		done <- err
	}()
	waitFor(t, url, "SELECT count(*) FROM pg_class WHERE relname = 'i'", "1")
	pgtest.Exec(t, url, "UPDATE aurora.aurora_leases SET token = token + 1, expires_at = now() + interval '1 hour'")
	time.AfterFunc(renewedTTL, release) // well after it has heard of it
	if err := <-done; !errors.Is(err, aurora.ErrLeaseLost) {
		t.Errorf("error %v", err)
	}
	if got := pgtest.One(t, url, "SELECT count(*) FROM pg_class WHERE relname = 'i'"); got != "1" {
		t.Error("a runner without the lease dropped an index, which may be the next holder's")
	}
}

func waitFor(t testing.TB, url, query, want string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if pgtest.One(t, url, query) == want {
			return
		}
	}
	t.Fatalf("%s never became %s", query, want)
}

// A block without a transaction whose process was killed must not go on when
// the next runner has the lease.
func TestBreakDeadClientsBlockGoesOn(t *testing.T) {
	url := pgtest.URL(t)
	pgtest.Exec(t, url, "CREATE TABLE t (at timestamptz)")
	proxy := newStall(t, url)
	m := none(pgtest.Migration("1", "m", "DO $$ BEGIN FOR i IN 1..200 LOOP INSERT INTO t VALUES (clock_timestamp()); COMMIT; PERFORM pg_sleep(0.1); END LOOP; END $$"))
	r := aurora.Runner{Store: open(t, proxy.url), Migrations: []aurora.Migration{m}, TTL: breakTTL}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go r.Run(ctx, aurora.Request{})
	waitFor(t, url, "SELECT (count(*) > 2)::text FROM t", "true")
	proxy.stall() // the process is stopped: neither renewals nor requests to cancel
	var l aurora.Lease
	db := open(t, url)
	for l == nil {
		var err error
		var locked *aurora.LockedError
		if l, err = db.Acquire(context.Background(), aurora.Holder{}, time.Minute); err != nil && !errors.As(err, &locked) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	before := pgtest.One(t, url, "SELECT count(*) FROM t")
	time.Sleep(1500 * time.Millisecond)
	if after := pgtest.One(t, url, "SELECT count(*) FROM t"); after != before {
		t.Errorf("the old holder's block wrote %s rows, then %s after the takeover", before, after)
	}
	proxy.cut()
}

// A run whose renewal connection cannot be opened says so.
func TestBreakNoRoomForTheRenewal(t *testing.T) {
	url := pgtest.URL(t)
	name := roleName(url)
	pgtest.Exec(t, url, fmt.Sprintf(`CREATE ROLE %[1]s LOGIN CONNECTION LIMIT 1; GRANT ALL ON SCHEMA public TO %[1]s; DO $$ BEGIN EXECUTE 'GRANT ALL ON DATABASE ' || current_database() || ' TO %[1]s'; END $$`, name))
	t.Cleanup(func() { pgtest.Exec(t, url, fmt.Sprintf(`DROP OWNED BY %[1]s CASCADE; DROP ROLE %[1]s`, name)) })
	db := open(t, as(t, url, name))
	r := aurora.Runner{Store: db, Migrations: []aurora.Migration{pgtest.Migration("1", "a", "SELECT pg_sleep(4.5)")}, TTL: breakTTL}
	_, err := r.Run(context.Background(), aurora.Request{})
	if err == nil {
		return
	}
	if !errorsContain(err, "too many connections") {
		t.Errorf("error %v does not say why the lock could not be renewed", err)
	}
	db.Close(context.Background())
}

// A process that stands still in a transaction of the migration's own must not
// keep the lease for longer than it lives.
func TestBreakStoppedInItsOwnTransaction(t *testing.T) {
	url := pgtest.URL(t)
	proxy := newStall(t, url)
	m := none(pgtest.Migration("1", "m", "CREATE TABLE a (id int)", "BEGIN", "INSERT INTO a VALUES (1)", "INSERT INTO a VALUES (2)", "COMMIT"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stalled := make(chan struct{})
	r := aurora.Runner{Store: openNoClose(t, proxy.url), Migrations: []aurora.Migration{m}, TTL: breakTTL, Report: func(e aurora.Event) {
		if e.Revision != nil && e.Revision.Done == 3 {
			proxy.stall()
			close(stalled)
		}
	}}
	go r.Run(ctx, aurora.Request{})
	<-stalled
	db := open(t, url)
	started := time.Now()
	for {
		_, err := db.Acquire(context.Background(), aurora.Holder{}, time.Minute)
		if err == nil {
			return
		}
		if time.Since(started) > patience {
			t.Errorf("the lease is still not to be had: %v", err)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

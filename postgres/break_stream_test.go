package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// A line that breaks behind the last commit is no failure of the run, and no
// panic: everything is recorded.
func TestBreakConnectionLostBehindTheLastCommit(t *testing.T) {
	url := pgtest.URL(t)
	proxy := newStall(t, url)
	ms := []aurora.Migration{
		pgtest.Migration("1", "a", "CREATE TABLE a (id int)", "DO $$ BEGIN RAISE NOTICE 'hello'; END $$"),
		pgtest.Migration("2", "b", "CREATE TABLE b (id int)"),
	}
	r := aurora.Runner{Store: open(t, proxy.url), Migrations: ms, Report: func(e aurora.Event) {
		if e.Revision != nil && e.Revision.Version == "2" && e.Revision.State == aurora.Completed {
			proxy.cut()
		}
	}}
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("panic: %v", v)
		}
	}()
	if _, err := r.Run(context.Background(), aurora.Request{}); err != nil {
		t.Errorf("everything was committed, and yet: %v", err)
	}
}

// Notices that cannot be stored behind the last commit are no failure either.
func TestBreakOutputThatCannotBeSaved(t *testing.T) {
	url := pgtest.URL(t)
	pgtest.MustRun(t, open(t, url), pgtest.Tables(1, 1), aurora.Request{})
	pgtest.Exec(t, url, `CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'history is append only'; END $$;
		CREATE TRIGGER no BEFORE UPDATE ON aurora.aurora_revisions FOR EACH ROW EXECUTE FUNCTION no()`)
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("panic: %v", v)
		}
	}()
	if _, err := pgtest.Run(t, open(t, url), append(pgtest.Tables(1, 1), pgtest.Migration("00002", "says", "DO $$ BEGIN RAISE NOTICE 'hello'; END $$")), aurora.Request{}); err != nil {
		t.Errorf("everything was committed, and yet: %v", err)
	}
}

// A report that ends the goroutine gives the lease back, as runLocked says.
func TestBreakReportThatPanics(t *testing.T) {
	for _, mode := range []aurora.TxMode{"", aurora.TxNone} {
		url := pgtest.URL(t)
		db := openNoClose(t, url)
		ms := pgtest.Tables(3, 1)
		ms[1].TxMode = mode
		r := aurora.Runner{Store: db, Migrations: ms, Report: func(e aurora.Event) {
			if e.Revision != nil && e.Revision.Version == "00002" {
				panic("report")
			}
		}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { _ = recover() }()
			r.Run(context.Background(), aurora.Request{})
		}()
		select {
		case <-done:
		case <-time.After(patience):
			t.Errorf("mode %q: hangs", mode)
			continue
		}
		if locked, err := open(t, url).Locked(context.Background()); err != nil || locked != nil {
			t.Errorf("mode %q: the lease is still held: %v, %v", mode, locked, err)
		}
	}
}

// A report may look at the database it is told about.
func TestBreakReportThatReads(t *testing.T) {
	url := pgtest.URL(t)
	db := openNoClose(t, url)
	r := aurora.Runner{Store: db, Migrations: pgtest.Tables(3, 1), Report: func(e aurora.Event) {
		if e.Revision != nil {
			_, _ = db.Locked(context.Background())
		}
	}}
	done := make(chan struct{})
	go func() { defer close(done); r.Run(context.Background(), aurora.Request{}) }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("hangs")
	}
}

// A stretch of SQL pauses before the deadline too, so that a function that is
// frozen at its end has given the lease back and is continued.
func TestBreakPauseWithinAStretch(t *testing.T) {
	for _, mode := range []aurora.TxMode{"", aurora.TxNone} {
		url := pgtest.URL(t)
		var ms []aurora.Migration
		for i := range 6 {
			m := pgtest.Migration(fmt.Sprint(i), "s", "SELECT pg_sleep(0.3)")
			m.TxMode = mode
			ms = append(ms, m)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		r := aurora.Runner{Store: open(t, url), Migrations: ms, PauseBefore: 2*time.Minute - 800*time.Millisecond}
		_, err := r.Run(ctx, aurora.Request{})
		if !errors.Is(err, aurora.ErrPaused) {
			t.Errorf("mode %q: error %v, want ErrPaused", mode, err)
		}
		if ctx.Err() != nil {
			t.Errorf("mode %q: it ran into the deadline", mode)
		}
	}
}

// heap runs f and returns how much the live heap grew at its highest.
func heap(f func()) uint64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}} // of the last collection, whatever was allocated since
	measure := func() uint64 {
		runtime.GC()
		metrics.Read(live)
		return live[0].Value.Uint64()
	}
	before := measure()
	most := before
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			most = max(most, measure())
		}
	}()
	f()
	close(stop)
	<-stopped
	return most - before
}

// What a statement returns is not kept.
func TestBreakMemoryOfResults(t *testing.T) {
	for _, mode := range []aurora.TxMode{"", aurora.TxNone, aurora.TxAll} {
		url := pgtest.URL(t)
		m := pgtest.Migration("1", "big", "SELECT i, repeat('x', 100) FROM generate_series(1, 300000) i")
		m.TxMode = mode
		used := heap(func() { pgtest.MustRun(t, open(t, url), []aurora.Migration{m}, aurora.Request{}) })
		if t.Logf("mode %q: %d MB", mode, used>>20); used > 10<<20 {
			t.Errorf("mode %q: 30 MB of rows made the heap grow by %d MB", mode, used>>20)
		}
	}
}

// What the server says while a stream is being sent waits in memory, at most
// about twice, and is gone afterwards.
func TestBreakMemoryOfNotices(t *testing.T) {
	url := pgtest.URL(t)
	var ms []aurora.Migration
	for i := range 600 {
		ms = append(ms, pgtest.Migration(fmt.Sprintf("%04d", i), "n", "DO $$ BEGIN RAISE NOTICE '%', repeat('x', 100000); END $$"))
	}
	used := heap(func() { pgtest.MustRun(t, open(t, url), ms, aurora.Request{}) })
	if t.Logf("%d MB", used>>20); used > 150<<20 {
		t.Errorf("60 MB of notices made the heap grow by %d MB", used>>20)
	}
	if n := pgtest.One(t, url, "SELECT count(*) FROM aurora.aurora_revisions WHERE length(output) > 100000"); n != "600" {
		t.Errorf("%s outputs stored", n)
	}
}

func TestBreakSizes(t *testing.T) {
	t.Run("20 MB", func(t *testing.T) {
		for _, mode := range []aurora.TxMode{"", aurora.TxNone} {
			url := pgtest.URL(t)
			m := pgtest.Migration("1", "big", "CREATE TABLE a (b text)", "INSERT INTO a VALUES ('"+strings.Repeat("x", 20<<20)+"')")
			m.TxMode = mode
			pgtest.MustRun(t, open(t, url), []aurora.Migration{m, pgtest.Migration("2", "b", "CREATE TABLE b (id int)")}, aurora.Request{})
		}
	})
	t.Run("20 MB that fail", func(t *testing.T) {
		url := pgtest.URL(t)
		m := pgtest.Migration("1", "big", "CREATE TABLE a (b int)", "INSERT INTO a VALUES ('"+strings.Repeat("x", 20<<20)+"')")
		_, err := pgtest.Run(t, open(t, url), []aurora.Migration{m}, aurora.Request{})
		if err == nil {
			t.Fatal("no error")
		}
		if n := len(err.Error()); n > 10000 {
			t.Errorf("an error of %d bytes", n)
		}
		r := mustLatest(t, url)[0]
		if n := len(r.ErrorStep) + len(r.Error); n > 100000 {
			t.Errorf("status reads %d bytes of the failed statement", n)
		}
	})
	t.Run("2000 statements", func(t *testing.T) {
		for _, mode := range []aurora.TxMode{"", aurora.TxNone} {
			url := pgtest.URL(t)
			s := []string{"CREATE TABLE a (b int)"}
			n := 2000
			if mode == aurora.TxNone {
				n = 200 // each waits for its answer
			}
			for i := range n {
				s = append(s, fmt.Sprintf("INSERT INTO a VALUES (%d)", i))
			}
			m := pgtest.Migration("1", "many", s...)
			m.TxMode = mode
			pgtest.MustRun(t, open(t, url), []aurora.Migration{m}, aurora.Request{})
			if got := pgtest.One(t, url, "SELECT count(*) FROM a"); got != fmt.Sprint(n) {
				t.Errorf("mode %q: %s rows", mode, got)
			}
		}
	})
	t.Run("5000 migrations", func(t *testing.T) {
		url := pgtest.URL(t)
		ms := []aurora.Migration{pgtest.Migration("0000", "a", "CREATE TABLE a (b int)")}
		for i := range 5000 {
			ms = append(ms, pgtest.Migration(fmt.Sprintf("%04d", i+1), "n", fmt.Sprintf("INSERT INTO a VALUES (%d)", i), "SELECT repeat('x', 2000) FROM generate_series(1, 5)"))
		}
		pgtest.MustRun(t, open(t, url), ms, aurora.Request{})
		if n := pgtest.One(t, url, "SELECT count(*) FROM a"); n != "5000" {
			t.Errorf("%s rows", n)
		}
	})
}

// Interrupting at any moment leaves no lease, no connection, no lock, no
// goroutine, and no half of anything.
func TestBreakCancelledAtAnyMoment(t *testing.T) {
	url := pgtest.URL(t)
	ms := crashMigrations()[:20]
	runtime.GC()
	before := runtime.NumGoroutine()
	finished := 0
	started := time.Now()
	for n := 0; n < 60 && time.Since(started) < 40*time.Second; n++ {
		ctx, cancel := context.WithCancel(context.Background())
		if n%2 == 1 {
			ctx, cancel = context.WithTimeout(context.Background(), rand.N(150*time.Millisecond))
		} else {
			time.AfterFunc(rand.N(150*time.Millisecond), cancel)
		}
		db, err := openCtx(ctx, url)
		if err == nil {
			r := aurora.Runner{Store: db, Migrations: ms, LockTimeout: -1}
			_, err = r.Run(ctx, aurora.Request{})
			closing, done := context.WithTimeout(context.Background(), patience)
			_ = db.Close(closing)
			done()
			var unsure *aurora.UnsureError
			var locked *aurora.LockedError
			switch {
			case err == nil:
				finished++
				pgtest.Exec(t, url, "DROP SCHEMA IF EXISTS aurora CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
			case errors.As(err, &locked):
				t.Errorf("run %d: the lease of an interrupted run is still held: %v", n, err)
				pgtest.Exec(t, url, "DELETE FROM aurora.aurora_leases")
			case errors.As(err, &unsure), !errors.Is(err, aurora.ErrInterrupted):
				t.Errorf("run %d: %v", n, err)
			}
		}
		cancel()
		if locked, err := open(t, url).Locked(context.Background()); err != nil || locked != nil {
			t.Errorf("run %d: lease after an interrupt: %v, %v", n, locked, err)
			pgtest.Exec(t, url, "DELETE FROM aurora.aurora_leases")
		}
	}
	t.Logf("%d finished", finished)
	waitFor(t, url, "SELECT (count(*) <= 61)::text FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'aurora%'", "true")
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if runtime.NumGoroutine() <= before+5 {
			return
		}
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

// COMMIT AND CHAIN cannot be followed, and is refused before anything runs.
func TestBreakCommitAndChain(t *testing.T) {
	for _, last := range []string{"COMMIT AND CHAIN", "END AND CHAIN", "ROLLBACK WORK AND CHAIN"} {
		url := pgtest.URL(t)
		m := none(pgtest.Migration("1", "m", "CREATE TABLE a (id int)", "BEGIN", "INSERT INTO a VALUES (1)", last))
		if _, err := pgtest.Run(t, open(t, url), []aurora.Migration{m}, aurora.Request{}); err == nil || tables(t, url) != "" {
			t.Errorf("%s: error %v, tables %s", last, err, tables(t, url))
		}
	}
	url := pgtest.URL(t)
	pgtest.MustRun(t, open(t, url), []aurora.Migration{none(pgtest.Migration("1", "m", "BEGIN", "CREATE TABLE a (id int)", "COMMIT AND NO CHAIN"))}, aurora.Request{})
}

// Forty runners at once, in two projects with the same names.
func TestBreakFortyRunners(t *testing.T) {
	url := pgtest.URL(t)
	errs := make(chan error, 40)
	for i := range 40 {
		go func() {
			project := []string{"default", "other"}[i%2]
			db, err := openProjectCtx(context.Background(), url, project)
			if err != nil {
				errs <- err
				return
			}
			defer db.Close(context.Background())
			var ms []aurora.Migration
			for n := range 10 {
				ms = append(ms, pgtest.Migration(fmt.Sprintf("%03d", n), "same", fmt.Sprintf("CREATE TABLE %s_%d (id int)", project, n)))
			}
			_, err = (&aurora.Runner{Store: db, Migrations: ms}).Run(context.Background(), aurora.Request{})
			errs <- err
		}()
	}
	for range 40 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// What the server says at the commit belongs to the migration that committed.
func TestBreakNoticeAtTheCommit(t *testing.T) {
	url := pgtest.URL(t)
	pgtest.MustRun(t, open(t, url), []aurora.Migration{
		pgtest.Migration("1", "a", "CREATE TABLE a (id int)", "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'late'; RETURN NULL; END $$",
			"CREATE CONSTRAINT TRIGGER t AFTER INSERT ON a DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f()"),
		pgtest.Migration("2", "b", "INSERT INTO a VALUES (1)"),
		pgtest.Migration("3", "c", "DO $$ BEGIN RAISE NOTICE 'three'; END $$"),
	}, aurora.Request{})
	for version, want := range map[string]string{"2": "WARNING: late\n", "3": "NOTICE: three\n"} {
		if rs := attempts(t, open(t, url), version); len(rs) != 1 || rs[0].Output != want {
			t.Errorf("version %s: %+v, want the output %q", version, rs, want)
		}
	}
}

// One transaction for all, whose commit's answer is lost, reports all of them.
func TestBreakTxAllAnswerLost(t *testing.T) {
	url := pgtest.URL(t)
	ms := pgtest.Tables(5, 1)
	ms[4] = pgtest.Migration("00005", "gone", "CREATE TABLE gone (id int)", "SELECT pg_terminate_backend(pg_backend_pid())")
	e, err := pgtest.Run(t, open(t, url), ms, aurora.Request{TxMode: aurora.TxAll})
	if err == nil {
		t.Fatal("no error")
	}
	for _, r := range e.Revisions {
		if r.State == aurora.Completed {
			t.Errorf("%s is reported as completed", r.ID())
		}
	}
	if got := tables(t, url); got != "" {
		t.Errorf("tables %s", got)
	}
	ms[4] = pgtest.Tables(5, 1)[4]
	e = pgtest.MustRun(t, open(t, url), ms, aurora.Request{TxMode: aurora.TxAll})
	if len(e.Revisions) != 5 {
		t.Errorf("%d revisions", len(e.Revisions))
	}
}

// Text that no PostgreSQL can store does not lose the failure.
func TestBreakUnstorableText(t *testing.T) {
	url := pgtest.URL(t)
	bad := "a\x00b\xff\xfe"
	m := aurora.Migration{Version: "1", Name: "go" + bad, Description: bad, Source: bad, Irreversible: "x", Up: []aurora.Step{
		aurora.Func{Name: bad, Do: func(_ context.Context, env *aurora.Env) error {
			env.Log.Info(bad)
			return fmt.Errorf("it is %s", bad)
		}}}}
	if _, err := pgtest.Run(t, open(t, url), []aurora.Migration{m}, aurora.Request{}); err == nil || strings.Contains(err.Error(), "SQLSTATE") {
		t.Errorf("error %v", err)
	}
	if last := mustLatest(t, url)[0]; last.State != aurora.Failed || !strings.Contains(last.Error, "it is a") {
		t.Errorf("revision %+v", last)
	}
	for _, mode := range []aurora.TxMode{"", aurora.TxNone} {
		s := pgtest.Migration("2", "s", "CREATE TABLE x (id int)", "SELECT '"+bad+"'")
		s.TxMode = mode
		_, err := pgtest.Run(t, openProject(t, url, "s"+string(mode)), []aurora.Migration{s}, aurora.Request{})
		var step *aurora.StepError
		if !errors.As(err, &step) || step.Index != 1 {
			t.Errorf("mode %q: a file with NUL: %v", mode, err)
		}
	}
}

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/postgres"
)

// childVariable makes the test binary apply the crash migrations to the URL in
// it instead of running tests.
const childVariable = "AURORA_TEST_CRASH_CHILD"

// ttlVariable is the time to live of a child's lease, if not the usual one.
const ttlVariable = "AURORA_TEST_CRASH_TTL"

// crashTTL is short so that a kill costs the next run little. A child that is to
// end by itself must not have it: a busy machine loses so short a lease.
const crashTTL = 600 * time.Millisecond

// patience bounds what a test waits for. It is only there so that nothing hangs,
// and so long that a slow machine never reaches it.
const patience = 5 * time.Minute

// childTTL is what ttlVariable says, zero for the usual one.
func childTTL() time.Duration {
	ttl, _ := time.ParseDuration(os.Getenv(ttlVariable))
	return ttl
}

// shortLived gives a child's lease a time to live.
func shortLived(cmd *exec.Cmd, ttl time.Duration) *exec.Cmd {
	cmd.Env = append(cmd.Env, ttlVariable+"="+ttl.String())
	return cmd
}

func TestMain(m *testing.M) {
	url := os.Getenv(childVariable)
	switch {
	case os.Getenv(txVariable) != "":
		if err := txChild(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	case url == "":
		pgtest.Main(m)
		return
	}
	db, err := postgres.Open(context.Background(), postgres.Config{URL: url})
	if err == nil {
		r := aurora.Runner{Store: db, Migrations: crashMigrations(), TTL: childTTL(), Holder: aurora.CurrentHolder("test")}
		_, err = r.Run(context.Background(), aurora.Request{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// crashMigrations are 50 files of all sorts; each leaves exactly one row per
// statement that must happen once.
func crashMigrations() []aurora.Migration {
	out := []aurora.Migration{pgtest.Migration("001", "log", "CREATE TABLE log (version text NOT NULL)", "CREATE TABLE data (a int, b text)")}
	for i := 2; i <= 50; i++ {
		v := fmt.Sprintf("%03d", i)
		log := func(part string) string { return "INSERT INTO log VALUES ('" + v + part + "')" }
		switch i % 5 {
		case 0: // concurrently, with statements around it
			out = append(out, pgtest.Migration(v, "index", log("a"), fmt.Sprintf("CREATE INDEX CONCURRENTLY i%d ON data (a, b)", i), log("b")))
		case 1:
			out = append(out, none(pgtest.Migration(v, "none", log("a"), "BEGIN", log("b"), log("c"), "COMMIT", log("d"))))
		case 2:
			out = append(out, pgtest.Migration(v, "function", log("a"), fmt.Sprintf("CREATE FUNCTION f%d() RETURNS int LANGUAGE sql AS $$ SELECT 1; $$", i)))
		default:
			out = append(out, pgtest.Migration(v, "table", fmt.Sprintf("CREATE TABLE t%d (id int)", i), log("a"), log("b")))
		}
	}
	return out
}

// fingerprint describes the schema and the log, so that two databases can be
// compared.
func fingerprint(t testing.TB, url string) string {
	t.Helper()
	return pgtest.One(t, url, `SELECT string_agg(x, E'\n' ORDER BY x COLLATE "C") FROM (
		SELECT 'log ' || version || ' ' || count(*) FROM log GROUP BY version
		UNION ALL SELECT c.relkind::text || ' ' || c.relname || coalesce(' valid ' || i.indisvalid, '') FROM pg_class c
			LEFT JOIN pg_index i ON i.indexrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace
		UNION ALL SELECT 'f ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace) s(x)`)
}

func child(url string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childVariable+"="+url)
	return cmd
}

func undisturbed(t *testing.T) (want string, took time.Duration) {
	t.Helper()
	url := pgtest.URL(t)
	started := time.Now()
	if out, err := child(url).CombinedOutput(); err != nil {
		t.Fatalf("undisturbed run: %v\n%s", err, out)
	}
	return fingerprint(t, url), time.Since(started)
}

// Killing the process at any moment, 100 times, then running again: every file
// is applied exactly once.
func TestKilledAtAnyMoment(t *testing.T) {
	want, took := undisturbed(t)
	const kills = 100
	killed, finished, databases, ttl := 0, 0, 0, crashTTL
	for killed < kills {
		url := pgtest.URL(t)
		databases++
		for done := false; !done; {
			cmd := shortLived(child(url), ttl)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			exited := make(chan error, 1)
			go func() { exited <- cmd.Wait() }()
			// Enough kills happen early, then the run is left alone now and then
			// so that databases are finished from every sort of ruin.
			delay := rand.N(took)
			if rand.N(6) == 0 {
				delay = time.Minute
			}
			select {
			case err := <-exited:
				// A machine that is too busy for so short a lease kills in its
				// own way.
				if err != nil && strings.Contains(stderr.String(), aurora.ErrLeaseLost.Error()) {
					ttl = min(2*ttl, 5*time.Second)
					continue
				}
				if err != nil {
					t.Fatalf("a run after %d kills: %v\n%s", killed, err, stderr.String())
				}
				done = true
				finished++
			case <-time.After(delay):
				// It may have ended by itself in this instant.
				if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Fatal(err)
				}
				<-exited
				killed++
			}
		}
		if got := fingerprint(t, url); got != want {
			t.Fatalf("after %d kills the database differs from an undisturbed one.\ngot:\n%s\nwant:\n%s", killed, got, want)
		}
		// A kill after the last write leaves the lease to its end, which comes.
		db := open(t, url)
		for {
			locked, err := db.Locked(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if locked == nil {
				break
			}
			time.Sleep(crashTTL / 10)
		}
	}
	t.Logf("%d kills over %d databases, an undisturbed run takes %s", killed, databases, took.Round(time.Millisecond))
}

// Eight runners at once: the same, and all of them succeed.
func TestEightRunners(t *testing.T) {
	want, _ := undisturbed(t)
	url := pgtest.URL(t)
	cmds := make([]*exec.Cmd, 8)
	outs := make([]strings.Builder, 8)
	for i := range cmds {
		cmds[i] = child(url)
		cmds[i].Stderr = &outs[i]
		if err := cmds[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Errorf("runner %d: %v\n%s", i, err, outs[i].String())
		}
	}
	if got := fingerprint(t, url); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

package dsql_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/localdsql"
)

// childVariable makes the test binary apply crashMigrations to the URL in it
// instead of running tests.
const childVariable = "AURORA_TEST_CRASH_CHILD"

// longVariable asks for tests that go on for long.
const longVariable = "AURORA_TEST_LONG"

// ttlVariable is the time to live of a child's lease, if not the usual one.
const ttlVariable = "AURORA_TEST_CRASH_TTL"

// crashTTL is short so that a kill costs the next run little. A child that is to
// end by itself must not have it: a busy machine loses so short a lease.
const crashTTL = 800 * time.Millisecond

// patience bounds what a test waits for. It is only there so that nothing hangs,
// and so long that a slow machine never reaches it.
const patience = 5 * time.Minute

// crashMigrations are files of all sorts, most of them with a definition that
// a kill can come behind.
func crashMigrations() []aurora.Migration { return manySorts(24) }

func TestMain(m *testing.M) {
	url := os.Getenv(childVariable)
	if url == "" {
		waitTogether()
		pgtest.Main(m)
		return
	}
	ctx := context.Background()
	db, err := dsql.Open(ctx, dsql.Config{URL: url})
	if err == nil {
		ttl, _ := time.ParseDuration(os.Getenv(ttlVariable))
		r := aurora.Runner{Store: db, Migrations: crashMigrations(), TTL: ttl, Holder: aurora.CurrentHolder("test")}
		_, err = r.Run(ctx, aurora.Request{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// waitTogether lets more tests run at once than there are processors, unless
// -parallel says how many: most of their time they wait.
func waitTogether() {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if !asked {
		_ = flag.Set("test.parallel", strconv.Itoa(max(6, runtime.GOMAXPROCS(0))))
	}
}

func child(url string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childVariable+"="+url)
	return cmd
}

// Killing the process at any moment, then running again: everything is applied,
// each once. The jobs take long enough to be hit.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	undisturbed := localdsql.StartCluster(t, localdsql.Config{JobDelay: 100 * time.Millisecond}).URL()
	started := time.Now()
	if out, err := child(undisturbed).CombinedOutput(); err != nil {
		t.Fatalf("undisturbed run: %v\n%s", err, out)
	}
	took := time.Since(started)
	want := strings.Split(fingerprint(t, undisturbed), "\n")
	kills := 12
	if os.Getenv(longVariable) != "" {
		kills = 100
	}
	killed, databases, ttl := 0, 0, crashTTL
	for killed < kills {
		c := localdsql.StartCluster(t, localdsql.Config{JobDelay: 100 * time.Millisecond})
		url := c.URL()
		if databases++; databases%2 == 0 {
			// An announcement that conflicts is lost with the process.
			if err := c.Faults().Set("oc000=20%,oc001=5%"); err != nil {
				t.Fatal(err)
			}
		}
		for done := false; !done; {
			delay := rand.N(took)
			if rand.N(8) == 0 {
				delay = time.Minute
			}
			done = killAfter(t, url, delay, &killed, &ttl)
		}
		c.Faults().Clear()
		if diff := cmp.Diff(want, strings.Split(fingerprint(t, url), "\n")); diff != "" {
			t.Fatalf("after %d kills the database differs from an undisturbed one (-want +got):\n%s", killed, diff)
		}
	}
	t.Logf("%d kills over %d databases, an undisturbed run takes %s", killed, databases, took.Round(time.Millisecond))
}

// killAfter runs a child and kills it after some time. It returns true when the
// child was faster. The time to live of its lease grows when it was too short.
func killAfter(t *testing.T, url string, delay time.Duration, killed *int, ttl *time.Duration) (done bool) {
	t.Helper()
	cmd := child(url)
	cmd.Env = append(cmd.Env, ttlVariable+"="+ttl.String())
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case err := <-exited:
		// A machine that is too busy for so short a lease kills in its own way.
		if err != nil && !strings.Contains(stderr.String(), aurora.ErrLeaseLost.Error()) {
			t.Fatalf("a run after %d kills: %v\n%s", *killed, err, stderr.String())
		}
		if err != nil {
			*ttl = min(2**ttl, 5*time.Second)
		}
		return err == nil
	case <-time.After(delay):
		// It may have ended by itself in this instant.
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		<-exited
		*killed++
		return false
	}
}

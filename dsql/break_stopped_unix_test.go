//go:build unix

package dsql_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/localdsql"
)

// A process that is stopped in the middle of a statement, for so long that
// somebody else takes over, does nothing more when it wakes up.
func TestStoppedAndWoken(t *testing.T) {
	for range 3 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for !stopAndWake(t) {
				t.Log("it was done before it could be stopped: once more")
			}
		})
	}
}

// stopAndWake returns false when the process was too fast.
func stopAndWake(t *testing.T) (stopped bool) {
	t.Helper()
	c := localdsql.StartCluster(t, localdsql.Config{})
	c.Faults().Delay(30 * time.Millisecond)
	url := c.URL()
	cmd := child(url)
	cmd.Env = append(cmd.Env, ttlVariable+"=5s")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	await(t, "the first rows", func() bool {
		return len(exited) > 0 || pgtest.One(t, url, "SELECT count(*) FROM pg_class WHERE relname = 'log'") == "1" && pgtest.One(t, url, "SELECT count(*) FROM log") > "1"
	})
	time.Sleep(rand.N(300 * time.Millisecond)) // any moment is as good as another
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	other := openLocal(t, url)
	await(t, "the takeover", func() bool {
		_, err := other.Acquire(t.Context(), aurora.CurrentHolder("other"), time.Hour)
		var locked *aurora.LockedError
		if err != nil && !errors.As(err, &locked) {
			t.Fatal(err)
		}
		return err == nil
	})
	select {
	case err := <-exited: // as no process does that is stopped
		if err != nil && !strings.Contains(stderr.String(), aurora.ErrLeaseLost.Error()) {
			t.Errorf("it ended with %v: %s", err, stderr.String())
		}
		return t.Failed()
	default:
	}
	before := fingerprint(t, url)
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := <-exited; err == nil || !strings.Contains(stderr.String(), aurora.ErrLeaseLost.Error()) {
		t.Errorf("it ended with %v: %s", err, stderr.String())
	}
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(fingerprint(t, url), "\n")); diff != "" {
		t.Errorf("it went on (-before +after):\n%s", diff)
	}
	if locked, err := other.Locked(context.Background()); err != nil || locked == nil {
		t.Errorf("the lease of the other is %v, %v", locked, err)
	}
	return true
}

// await polls until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
	}
}

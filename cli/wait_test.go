package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
)

// A scene is what a waiter meets: the database comes up, and the history
// changes, at given times after it began.
type scene struct {
	store   *auroratest.Memory
	down    time.Duration // nobody listens before
	begin   time.Time
	refused error
}

func (s *scene) open() (aurora.Store, error) {
	if time.Since(s.begin) < s.down {
		if s.refused != nil {
			return nil, s.refused
		}
		return nil, fmt.Errorf("connect: %w", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED})
	}
	return s.store, nil
}

func write(t *testing.T, store aurora.Store, revisions ...aurora.Revision) {
	t.Helper()
	lease, err := store.Acquire(context.Background(), aurora.Holder{Host: "runner"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for i := range revisions {
		revisions[i].ExecutionID, revisions[i].Seq = aurora.NewExecutionID(), i+1
	}
	if err := errors.Join(lease.Save(context.Background(), revisions...), lease.Release(context.Background())); err != nil {
		t.Fatal(err)
	}
}

func up(version string, state aurora.State) aurora.Revision {
	return aurora.Revision{Version: version, Direction: aurora.Up, Kind: aurora.Applied, State: state, Steps: 1}
}

// A11, A12, A13: the exit code is that of the last look, whatever the order of
// runner and waiter.
func TestA11A12A13Wait(t *testing.T) {
	type event struct {
		at        time.Duration
		revisions []aurora.Revision
	}
	done := []aurora.Revision{up("1", aurora.Completed), up("2", aurora.Completed)}
	tests := []struct {
		name    string
		down    time.Duration
		refused error
		events  []event
		code    int
		took    time.Duration // at most
		stderr  string
	}{
		{name: "all there", events: []event{{0, done}}, code: ExitDone},
		{name: "the runner comes later", events: []event{{10 * time.Second, done}}, code: ExitDone, took: 12 * time.Second, stderr: "2 pending"},
		{name: "one after the other", events: []event{{3 * time.Second, done[:1]}, {20 * time.Second, done[1:]}}, code: ExitDone, took: 22 * time.Second},
		{name: "the newer one first", events: []event{{0, done[1:]}, {20 * time.Second, done[:1]}}, code: ExitDone, took: 22 * time.Second},
		{name: "never", code: ExitPending, took: time.Minute},
		{name: "half", events: []event{{0, done[:1]}}, code: ExitPending, took: time.Minute, stderr: "1 pending"},
		{
			name: "failed, then fixed", code: ExitDone, took: 22 * time.Second, stderr: "2 is failed",
			events: []event{{time.Second, []aurora.Revision{done[0], up("2", aurora.Failed)}}, {20 * time.Second, done[1:]}},
		},
		{name: "failed", events: []event{{0, []aurora.Revision{done[0], up("2", aurora.Failed)}}}, code: ExitPending, took: time.Minute},
		{name: "running", events: []event{{0, []aurora.Revision{done[0], up("2", aurora.Running)}}}, code: ExitPending, took: time.Minute},
		{name: "the database comes up later", down: 30 * time.Second, events: []event{{40 * time.Second, done}}, code: ExitDone, took: 42 * time.Second, stderr: "not reachable yet"},
		{name: "the database never comes up", down: time.Hour, code: ExitPending, took: time.Minute, stderr: "gave up after waiting 1m0s for the database"},
		{name: "starting up", down: 30 * time.Second, refused: &pgconn.PgError{Code: "57P03"}, events: []event{{0, done}}, code: ExitDone, took: 32 * time.Second},
		{name: "wrong password", down: time.Hour, refused: &pgconn.PgError{Code: "28P01"}, code: ExitFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := migrationDir(t, map[string]string{"1_a.sql": "SELECT 1;", "2_b.sql": "SELECT 2;"})
			synctest.Test(t, func(t *testing.T) {
				s := &scene{store: &auroratest.Memory{}, down: tt.down, begin: time.Now(), refused: tt.refused}
				a, stdout, stderr := testApp(t, s.open)
				for _, e := range tt.events {
					if e.at == 0 {
						write(t, s.store, e.revisions...)
						continue
					}
					go func() {
						time.Sleep(e.at)
						write(t, s.store, e.revisions...)
					}()
				}
				code := a.run(t.Context(), []string{"migrate", "status", "--wait", "--wait-timeout", "1m", "--url", "postgres://h/db", "--dir", dir})
				if code != tt.code {
					t.Errorf("exit code %d, want %d\n%s%s", code, tt.code, stdout, stderr)
				}
				if took := time.Since(s.begin); took > tt.took {
					t.Errorf("took %s, want at most %s", took, tt.took)
				}
				if !strings.Contains(stderr.String(), tt.stderr) {
					t.Errorf("no %q in %s", tt.stderr, stderr)
				}
				synctest.Wait()
				time.Sleep(time.Hour) // the writers end
			})
		})
	}
}

// A look is one query, and looks get rarer.
func TestWaitAsksRarely(t *testing.T) {
	dir := migrationDir(t, map[string]string{"1_a.sql": "SELECT 1;"})
	synctest.Test(t, func(t *testing.T) {
		var store auroratest.Memory
		a, stdout, _ := testApp(t, func() (aurora.Store, error) { return &store, nil })
		lease, err := store.Acquire(t.Context(), aurora.Holder{Host: "build-7"}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if code := a.run(t.Context(), []string{"migrate", "status", "--wait", "--wait-timeout", "1m", "--url", "postgres://h/db", "--dir", dir}); code != ExitPending {
			t.Errorf("exit code %d", code)
		}
		if n := store.Calls(auroratest.OpLatest); n < 30 || n > 34 {
			t.Errorf("%d looks in a minute", n)
		}
		if n := store.Calls(auroratest.OpRead); n != 1 {
			t.Errorf("asked %d times who holds the lock, want once, at the end", n)
		}
		if !strings.Contains(stdout.String(), "The lock is held by build-7, until ") {
			t.Errorf("does not say who holds the lock: %s", stdout)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWaitInterrupted(t *testing.T) {
	dir := migrationDir(t, map[string]string{"1_a.sql": "SELECT 1;"})
	synctest.Test(t, func(t *testing.T) {
		var store auroratest.Memory
		a, stdout, stderr := testApp(t, func() (aurora.Store, error) { return &store, nil })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		begin := time.Now()
		code := a.run(ctx, []string{"migrate", "status", "--wait", "--url", "postgres://h/db", "--dir", dir})
		if code != ExitInterrupted || time.Since(begin) != 10*time.Second || stdout.Len() > 0 {
			t.Errorf("exit code %d after %s: %s%s", code, time.Since(begin), stdout, stderr)
		}
	})
}

// A slowStore takes its time for every look.
type slowStore struct {
	*auroratest.Memory
	takes time.Duration
}

func (s slowStore) Latest(ctx context.Context) ([]aurora.Revision, error) {
	select {
	case <-time.After(s.takes):
		return s.Memory.Latest(ctx)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// The timeout is for waiting: whoever looks slowly looks all the same, and says
// what there is.
func TestWaitLooksSlowly(t *testing.T) {
	dir := migrationDir(t, map[string]string{"1_a.sql": "SELECT 1;"})
	for name, tt := range map[string]struct {
		takes, timeout time.Duration
		looks          int
		stdout, stderr string
	}{
		"the first look":   {10 * time.Second, time.Second, 1, "The lock is held by build-7", "waiting: 1 pending"},
		"the second look":  {10 * time.Second, 15 * time.Second, 2, "The lock is held by build-7", "waiting: 1 pending"},
		"no look ends":     {time.Hour, time.Second, 0, "", "gave up after waiting 1s for the database: it did not answer"},
		"waits in between": {time.Second, 15 * time.Second, 7, "The lock is held by build-7", "waiting: 1 pending"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := slowStore{&auroratest.Memory{}, tt.takes}
				a, stdout, stderr := testApp(t, func() (aurora.Store, error) { return store, nil })
				lease, err := store.Acquire(t.Context(), aurora.Holder{Host: "build-7"}, 2*time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				code := a.run(t.Context(), []string{"migrate", "status", "--wait", "--wait-timeout", tt.timeout.String(), "--url", "postgres://h/db", "--dir", dir})
				if n := store.Calls(auroratest.OpLatest); code != ExitPending || n != tt.looks || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) {
					t.Errorf("exit code %d after %d looks: %s%s", code, n, stdout, stderr)
				}
				if err := lease.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

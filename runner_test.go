package aurora_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
)

var (
	alice = aurora.Holder{Host: "laptop", User: "alice", PID: 1, Runtime: "cli"}
	bob   = aurora.Holder{Host: "ci", User: "bob", PID: 2, Runtime: "cli"}
)

// A database plays the one that statements run on.
type database struct {
	mu   sync.Mutex
	ran  []string
	on   map[string]func(ctx context.Context) error // what else a statement does
	fail map[string]error                           // checks, by name
}

func (d *database) Exec(ctx context.Context, s aurora.Statement) error {
	d.mu.Lock()
	do := d.on[s.SQL]
	d.mu.Unlock()
	if do != nil {
		if err := do(ctx); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ran = append(d.ran, s.SQL)
	return nil
}

func (d *database) Check(_ context.Context, c aurora.Check) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ran = append(d.ran, "check "+c.Name)
	return d.fail[c.Name]
}

func (d *database) wantRan(t *testing.T, want ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if diff := cmp.Diff(want, d.ran); diff != "" {
		t.Errorf("statements that ran (-want +got):\n%s", diff)
	}
}

// sleep returns what a slow statement does.
func sleep(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return nil
		}
	}
}

// goStep returns a migration with one Go step up.
func goStep(id string, do func(ctx context.Context, env *aurora.Env) error) aurora.Migration {
	return mig(id, func(m *aurora.Migration) {
		m.Up, m.Checksum = []aurora.Step{aurora.Func{Name: "step of " + id, Do: do}}, ""
	})
}

func slowStep(id string, d time.Duration) aurora.Migration {
	return goStep(id, func(ctx context.Context, _ *aurora.Env) error { return sleep(d)(ctx) })
}

func wantFree(t *testing.T, store *auroratest.Memory) {
	t.Helper()
	if locked, err := store.Locked(context.Background()); locked != nil || err != nil {
		t.Errorf("the lease is still held: %v, %v", locked, err)
	}
}

// states returns "id direction state done" of all revisions in the store.
func states(store *auroratest.Memory) []string {
	var out []string
	for _, r := range store.All() {
		out = append(out, fmt.Sprintf("%s %s %s %d/%d", r.ID(), r.Direction, r.State, r.Done, r.Steps))
	}
	return out
}

func wantStates(t *testing.T, store *auroratest.Memory, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, states(store)); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

// TestA34NothingToDo: a deploy that changes nothing costs one read.
func TestA34NothingToDo(t *testing.T) {
	store := new(auroratest.Memory)
	store.Put(done("1_a"), done("2_b"))
	r := &aurora.Runner{Store: store, Migrations: migs("1_a", "2_b"), Report: func(e aurora.Event) { t.Errorf("event %+v", e) }}
	e, err := r.Run(t.Context(), aurora.Request{})
	if err != nil || e.State != aurora.Completed || len(e.Revisions) != 0 {
		t.Errorf("Run: %+v, %v", e, err)
	}
	for op, want := range map[auroratest.Op]int{
		auroratest.OpLatest: 1, auroratest.OpAcquire: 0, auroratest.OpSave: 0, auroratest.OpRenew: 0, auroratest.OpRelease: 0,
	} {
		if got := store.Calls(op); got != want {
			t.Errorf("%d times %s, want %d", got, op, want)
		}
	}
}

// TestRefusedPlanTakesNoLease: neither does a request that cannot be met.
func TestRefusedPlanTakesNoLease(t *testing.T) {
	store := new(auroratest.Memory)
	r := &aurora.Runner{Store: store, Migrations: migs("1_a")}
	e, err := r.Run(t.Context(), aurora.Request{To: "nowhere"})
	var request *aurora.RequestError
	if !errors.As(err, &request) || e.State != aurora.Failed || store.Calls(auroratest.OpAcquire) != 0 {
		t.Errorf("Run: %+v, %v, %d acquires", e, err, store.Calls(auroratest.OpAcquire))
	}
}

// TestSecondRunEndsAsTheFirst: it waits, and then finds everything done.
func TestSecondRunEndsAsTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := new(auroratest.Memory), &database{on: map[string]func(context.Context) error{"up 1 1_a": sleep(10 * time.Second)}}
		var waited []string
		var wg sync.WaitGroup
		for i, holder := range []aurora.Holder{alice, bob, bob} {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				r := &aurora.Runner{Store: store, Database: db, Migrations: migs("1_a", "2_b"), Holder: holder, Report: func(e aurora.Event) {
					if e.Waiting != nil {
						waited = append(waited, fmt.Sprintf("%d for %s", i, e.Waiting.Holder.User))
					}
				}}
				e, err := r.Run(t.Context(), aurora.Request{})
				if err != nil || e.State != aurora.Completed {
					t.Errorf("run %d: %s, %v", i, e.State, err)
				}
				if want := 2; i > 0 && len(e.Revisions) != 0 || i == 0 && len(e.Revisions) != want {
					t.Errorf("run %d made %d revisions", i, len(e.Revisions))
				}
			})
		}
		wg.Wait()
		db.wantRan(t, "up 1 1_a", "up 2 1_a", "up 1 2_b", "up 2 2_b")
		wantStates(t, store, "1_a up completed 2/2", "2_b up completed 2/2")
		wantFree(t, store)
		if len(waited) < 2 || waited[0] != "1 for alice" || waited[1] != "2 for alice" {
			t.Errorf("waited %v, want both for alice", waited)
		}
	})
}

// TestWaitingTellsOfEachHolderOnce: not at every look.
func TestWaitingTellsOfEachHolderOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(auroratest.Memory)
		hold := func(h aurora.Holder) {
			if _, err := store.Acquire(t.Context(), h, time.Minute); err != nil {
				t.Error(err)
			}
		}
		hold(alice)
		time.AfterFunc(time.Minute, func() { hold(bob) })
		var waited []string
		r := &aurora.Runner{Store: store, Migrations: migs("1_a"), LockTimeout: 90 * time.Second, Report: func(e aurora.Event) {
			waited = append(waited, e.Waiting.Holder.User)
		}}
		// The lease is free for a moment after a minute; bob's timer was first.
		_, err := r.Run(t.Context(), aurora.Request{})
		var locked *aurora.LockedError
		if !errors.As(err, &locked) || locked.Holder != bob {
			t.Errorf("Run: %v, want a LockedError with bob", err)
		}
		if diff := cmp.Diff([]string{"alice", "bob"}, waited); diff != "" {
			t.Errorf("told of (-want +got):\n%s", diff)
		}
	})
}

func TestA2LockTimeout(t *testing.T) {
	for _, tt := range []struct {
		name          string
		timeout, want time.Duration
		pauseBefore   time.Duration // of a deadline in 10 minutes
	}{
		{"3s", 3 * time.Second, 3 * time.Second, 0},
		{"default", 0, aurora.DefaultLockTimeout, 0},
		{"not at all", -1, 0, 0},
		{"until the deadline is near", 0, 9 * time.Minute, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, ctx := new(auroratest.Memory), t.Context()
				if _, err := store.Acquire(ctx, alice, time.Hour); err != nil {
					t.Fatal(err)
				}
				if tt.pauseBefore > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, 10*time.Minute)
					defer cancel()
				}
				r := &aurora.Runner{Store: store, Migrations: migs("1_a"), LockTimeout: tt.timeout, PauseBefore: tt.pauseBefore}
				started := time.Now()
				_, err := r.Run(ctx, aurora.Request{})
				var locked *aurora.LockedError
				if !errors.As(err, &locked) || locked.Holder != alice || locked.ExpiresAt.IsZero() {
					t.Fatalf("Run: %v, want a LockedError with alice", err)
				}
				if took := time.Since(started); took != tt.want || locked.Waited != took {
					t.Errorf("gave up after %v (says %v), want %v", took, locked.Waited, tt.want)
				}
				if !strings.Contains(err.Error(), "alice@laptop") {
					t.Errorf("the error does not name the holder: %v", err)
				}
			})
		})
	}
}

// TestA2RealErrorIsNotMasked: waiting is only for a lease that is held.
func TestA2RealErrorIsNotMasked(t *testing.T) {
	store := new(auroratest.Memory)
	denied := errors.New("permission denied")
	store.Fail(auroratest.OpAcquire, 1, denied)
	_, err := (&aurora.Runner{Store: store, Migrations: migs("1_a")}).Run(t.Context(), aurora.Request{})
	if !errors.Is(err, denied) || store.Calls(auroratest.OpAcquire) != 1 {
		t.Errorf("Run: %v after %d acquires", err, store.Calls(auroratest.OpAcquire))
	}
}

func TestA39InterruptedWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(auroratest.Memory)
		if _, err := store.Acquire(t.Context(), alice, time.Hour); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		started := time.Now()
		e, err := (&aurora.Runner{Store: store, Migrations: migs("1_a")}).Run(ctx, aurora.Request{})
		if !errors.Is(err, aurora.ErrInterrupted) || e.State != aurora.Interrupted || time.Since(started) != 5*time.Second {
			t.Errorf("after %v: %s, %v", time.Since(started), e.State, err)
		}
	})
}

func TestA3DeadHolderCostsOneTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(auroratest.Memory)
		if _, err := store.Acquire(t.Context(), alice, aurora.DefaultTTL); err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		r := &aurora.Runner{Store: store, Database: new(database), Migrations: migs("1_a")}
		if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(started); took < aurora.DefaultTTL || took > aurora.DefaultTTL+time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestRenewsEveryThirdOfTheTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(auroratest.Memory)
		m := goStep("1_a", func(context.Context, *aurora.Env) error {
			for i := range 60 {
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if got, want := store.Calls(auroratest.OpRenew), (i+1)/2; got != want {
					t.Errorf("%d renewals after %d s, want %d", got, (i+1)*5, want)
				}
			}
			return nil
		})
		if _, err := (&aurora.Runner{Store: store, Migrations: mlist{m}}).Run(t.Context(), aurora.Request{}); err != nil {
			t.Fatal(err)
		}
		renewed := store.Calls(auroratest.OpRenew)
		time.Sleep(time.Hour)
		if got := store.Calls(auroratest.OpRenew); got != renewed {
			t.Errorf("%d renewals after the end", got-renewed)
		}
	})
}

// TestA4LostLeaseStopsTheStep: the next holder has taken over, and what the
// late one still does must not be seen.
func TestA4LostLeaseStopsTheStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(auroratest.Memory)
		taken := make(chan aurora.Lease, 1)
		time.AfterFunc(15*time.Second, func() {
			locked, err := store.Locked(t.Context())
			if err != nil || locked == nil {
				t.Errorf("Locked: %v, %v", locked, err)
				return
			}
			if err := store.Break(t.Context(), locked.Token); err != nil {
				t.Error(err)
			}
			next, err := store.Acquire(t.Context(), bob, time.Hour)
			if err != nil {
				t.Error(err)
			}
			taken <- next
		})
		started := time.Now()
		m := goStep("1_a", func(ctx context.Context, env *aurora.Env) error {
			<-ctx.Done()
			if took := time.Since(started); took != 20*time.Second || !errors.Is(context.Cause(ctx), aurora.ErrLeaseLost) {
				t.Errorf("stopped after %v because of %v", took, context.Cause(ctx))
			}
			env.Log.Info("too late")
			if err := env.Checkpoint(context.WithoutCancel(ctx), 1); !errors.Is(err, aurora.ErrLeaseLost) {
				t.Errorf("Checkpoint: %v, want ErrLeaseLost", err)
			}
			return nil // a step that pretends that all is well
		})
		e, err := (&aurora.Runner{Store: store, Migrations: mlist{m, mig("2_b")}}).Run(t.Context(), aurora.Request{})
		if !errors.Is(err, aurora.ErrLeaseLost) || e.State != aurora.Interrupted {
			t.Errorf("Run: %s, %v", e.State, err)
		}
		wantStates(t, store, "1_a up running 0/1")
		if err := (<-taken).Renew(t.Context()); err != nil {
			t.Errorf("the next holder's lease: %v", err)
		}
	})
}

func TestRenewFailuresAreTolerated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(auroratest.Memory)
		store.Fail(auroratest.OpRenew, 4, errors.New("the network is away"))
		r := &aurora.Runner{Store: store, Migrations: mlist{slowStep("1_a", 5*time.Minute)}}
		if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
			t.Fatal(err)
		}
		wantStates(t, store, "1_a up completed 1/1")
	})
}

// stuckStore is one whose renewals get no answer.
type stuckStore struct{ *auroratest.Memory }

type stuckLease struct{ aurora.Lease }

func (s stuckStore) Acquire(ctx context.Context, h aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	// The answer takes its time too, and counts against the holder.
	time.Sleep(3 * time.Second)
	lease, err := s.Memory.Acquire(ctx, h, ttl)
	return stuckLease{lease}, err
}

func (l stuckLease) Renew(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestLeaseThatCannotBeRenewedIsGivenUpInTime: before the store could hand it
// to the next.
func TestLeaseThatCannotBeRenewedIsGivenUpInTime(t *testing.T) {
	failing := new(auroratest.Memory)
	failing.Fail(auroratest.OpRenew, 1000, errors.New("the network is away"))
	later := new(auroratest.Memory)
	later.Fail(auroratest.OpRenew, 1, nil)
	later.Fail(auroratest.OpRenew, 1000, errors.New("the network is away"))
	for name, tt := range map[string]struct {
		store aurora.Store
		want  time.Duration
	}{
		"errors":                 {failing, 30 * time.Second},
		"errors after a renewal": {later, 40 * time.Second},
		"no answer":              {stuckStore{new(auroratest.Memory)}, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				r := &aurora.Runner{Store: tt.store, Migrations: mlist{slowStep("1_a", time.Hour)}}
				e, err := r.Run(t.Context(), aurora.Request{})
				if !errors.Is(err, aurora.ErrLeaseLost) || e.State != aurora.Interrupted || time.Since(started) != tt.want {
					t.Errorf("after %v: %s, %v; want ErrLeaseLost after %v", time.Since(started), e.State, err, tt.want)
				}
			})
		})
	}
}

func TestInterrupt(t *testing.T) {
	signal := errors.New("terminated signal received")
	for name, stop := range map[string]func(context.Context) (context.Context, func()){
		"cancel": func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancel(ctx)
			return ctx, cancel
		},
		"cause": func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(ctx)
			return ctx, func() { cancel(signal) }
		},
		"deadline": func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			context.AfterFunc(ctx, cancel)
			return ctx, func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := new(auroratest.Memory)
				ctx, cancel := stop(t.Context())
				time.AfterFunc(5*time.Second, cancel)
				m := goStep("2_b", func(ctx context.Context, env *aurora.Env) error {
					env.Log.Info("on my way")
					<-ctx.Done()
					// A step's last words, with a context that is over.
					if err := env.Checkpoint(ctx, "here"); err == nil {
						t.Error("Checkpoint with a context that is over says nothing")
					}
					return fmt.Errorf("stopped: %w", ctx.Err())
				})
				r := &aurora.Runner{Store: store, Database: new(database), Migrations: mlist{mig("1_a"), m, mig("3_c")}}
				e, err := r.Run(ctx, aurora.Request{})
				if !errors.Is(err, aurora.ErrInterrupted) || e.State != aurora.Interrupted {
					t.Errorf("Run: %s, %v", e.State, err)
				}
				wantStates(t, store, "1_a up completed 2/2", "2_b up interrupted 0/1")
				wantFree(t, store)
				last := store.All()[1]
				if string(last.Checkpoint) != `"here"` || !strings.Contains(last.Output, "on my way") || last.FinishedAt.IsZero() {
					t.Errorf("the interrupted revision: %+v", last)
				}
				m.Up[0] = aurora.Func{Name: "step of 2_b", Do: func(_ context.Context, env *aurora.Env) error {
					var where string
					if ok, err := env.Resume(&where); !ok || err != nil || where != "here" {
						t.Errorf("Resume: %q, %v, %v", where, ok, err)
					}
					return nil
				}}
				if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
					t.Fatal(err)
				}
				wantStates(t, store, "1_a up completed 2/2", "2_b up interrupted 0/1", "2_b up completed 1/1", "3_c up completed 2/2")
			})
		})
	}
}

// TestInnerCancelIsAFailure: only the run's own context makes an interrupt.
func TestInnerCancelIsAFailure(t *testing.T) {
	for _, inner := range []error{context.Canceled, context.DeadlineExceeded} {
		store := new(auroratest.Memory)
		m := goStep("1_a", func(context.Context, *aurora.Env) error { return inner })
		e, err := (&aurora.Runner{Store: store, Migrations: mlist{m}}).Run(t.Context(), aurora.Request{})
		if !errors.Is(err, inner) || errors.Is(err, aurora.ErrInterrupted) || e.State != aurora.Failed {
			t.Errorf("Run: %s, %v", e.State, err)
		}
		wantStates(t, store, "1_a up failed 0/1")
	}
}

func TestPanicIsAnErrorOfTheStep(t *testing.T) {
	store := new(auroratest.Memory)
	m := goStep("1_a", func(context.Context, *aurora.Env) error {
		var users []string
		_ = users[7]
		return nil
	})
	_, err := (&aurora.Runner{Store: store, Migrations: mlist{m}}).Run(t.Context(), aurora.Request{})
	var step *aurora.StepError
	if !errors.As(err, &step) || !strings.Contains(err.Error(), "index out of range") || step.Step != "step of 1_a" {
		t.Errorf("Run: %v", err)
	}
	wantFree(t, store)
	wantStates(t, store, "1_a up failed 0/1")
	if r := store.All()[0]; !strings.Contains(r.Output, "runner_test.go") || !strings.Contains(r.Error, "index out of range") {
		t.Errorf("the revision does not say where: %q, %s", r.Error, r.Output)
	}
}

// TestNilStep: it is refused before anything runs, in whatever migration and
// direction it is.
func TestNilStep(t *testing.T) {
	well := goStep("1_a", func(context.Context, *aurora.Env) error { t.Error("a step ran"); return nil })
	up, down := well, well
	up.Version, up.Up = "2", append(slices.Clone(well.Up), nil)
	down.Version, down.Down = "2", []aurora.Step{nil}
	for want, m := range map[string]aurora.Migration{"step 2 of 2_a on the way up is nil": up, "step 1 of 2_a on the way down is nil": down} {
		store := new(auroratest.Memory)
		_, err := (&aurora.Runner{Store: store, Migrations: mlist{well, m}}).Run(t.Context(), aurora.Request{})
		var request *aurora.RequestError
		if !errors.As(err, &request) || err.Error() != want {
			t.Errorf("Run: %v, want %s", err, want)
		}
		if n := store.Calls(auroratest.OpAcquire); n != 0 {
			t.Errorf("%d acquires", n)
		}
	}
}

// TestStepThatEndsItsGoroutine: as t.FailNow does in a user's own test.
func TestStepThatEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(auroratest.Memory)
		m := goStep("1_a", func(context.Context, *aurora.Env) error { runtime.Goexit(); return nil })
		go func() {
			_, _ = (&aurora.Runner{Store: store, Migrations: mlist{m}}).Run(t.Context(), aurora.Request{})
		}()
		synctest.Wait()
		wantFree(t, store)
	})
}

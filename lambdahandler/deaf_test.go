package lambdahandler_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/lambdahandler"
)

// A process is the store as one process has it: a dead one renews no lease.
type process struct {
	*auroratest.Memory
	dead atomic.Bool
}

func (p *process) Acquire(ctx context.Context, holder aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	lease, err := p.Memory.Acquire(ctx, holder, ttl)
	if err != nil {
		return nil, err
	}
	return processLease{lease, p}, nil
}

type processLease struct {
	aurora.Lease
	process *process
}

func (l processLease) Renew(ctx context.Context) error {
	if l.process.dead.Load() {
		return aurora.ErrLeaseLost
	}
	return l.Lease.Renew(ctx)
}

// A deafProcess is one whose statements heed nothing.
type deafProcess struct{ *process }

func (deafProcess) Stream(context.Context, aurora.Lease, []aurora.Item, func(aurora.Revision)) error {
	time.Sleep(time.Hour)
	return nil
}

func deaf(context.Context, *aurora.Env) error { time.Sleep(time.Hour); return nil }

// deliverDeaf delivers an event to a new process, which ends with what it
// panics with.
func (f *fake) deliverDeaf(request string, event lambdahandler.Event, store func(*process) aurora.Store) (reason any) {
	f.t.Helper()
	p := &process{Memory: f.store}
	f.h, f.runner.Store = nil, store(p)
	began := time.Now()
	defer func() {
		reason = recover()
		p.dead.Store(true)
		if took := time.Since(began); took >= f.limit {
			f.t.Errorf("the handler took %s, and would have been killed", took)
		}
	}()
	_, err := f.deliver(request, event)
	return err
}

func itself(p *process) aurora.Store { return p }

// A step that does not even stop when its context ends.
func TestDeafStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, steps("1", deaf))
		next := f.cfg.Continue
		f.cfg.Continue = func(ctx context.Context, e lambdahandler.Event) error {
			// The step is at work until the process ends.
			if locked, err := f.store.Locked(ctx); err != nil || locked == nil || locked.Token != e.After {
				t.Errorf("at the hand-over the lease is %v (%v), want it held with the token %d", locked, err, e.After)
			}
			return next(ctx, e)
		}
		event := lambdahandler.Event{Request: aurora.Request{ExecutionID: "x"}}
		var reason any
		n := 0
		for ; n < 5; n++ {
			reason = f.deliverDeaf(fmt.Sprint("r", n), event, itself)
			if len(f.sent) == 0 {
				break
			}
			event = f.takeSent()
		}
		stuck, ok := reason.(*lambdahandler.StuckError)
		if !ok || !stuck.Deaf || stuck.Step != "up0" || n != 1 {
			t.Errorf("after %d invocations: %v", n+1, reason)
		}
		if r := f.store.All()[0]; r.State != aurora.Failed || !strings.Contains(r.Error, "nor stops when its context ends") || !strings.Contains(r.Error, "Fargate") {
			t.Errorf("the revision is %s: %s", r.State, r.Error)
		}
		time.Sleep(time.Hour) // until the step ends, which a new process would not see
	})
}

// A deaf step that saves checkpoints is not told that it never will.
func TestDeafStepThatMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, steps("1", func(ctx context.Context, env *aurora.Env) error {
			env.Log.Info("read this")
			if err := env.Checkpoint(ctx, 1); err != nil {
				return err
			}
			return deaf(ctx, env)
		}))
		reason := f.deliverDeaf("r0", lambdahandler.Event{Request: aurora.Request{ExecutionID: "x"}}, itself)
		stuck, ok := reason.(*lambdahandler.StuckError)
		if !ok || !stuck.Deaf || !stuck.Moved || len(f.sent) != 1 {
			t.Errorf("%v, and %d continuations", reason, len(f.sent))
		}
		if r := f.store.All()[0]; r.State != aurora.Interrupted || !strings.Contains(r.Error, "resumes from what was saved") || !strings.Contains(r.Output, "read this") {
			t.Errorf("the revision is %s: %s, with the output %q", r.State, r.Error, r.Output)
		}
		time.Sleep(time.Hour)
	})
}

// The limit of invocations is the end here too.
func TestDeafStepAtTheHopLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, steps("1", deaf))
		f.cfg.MaxHops = 1
		reason := f.deliverDeaf("r0", lambdahandler.Event{Request: aurora.Request{ExecutionID: "x"}}, itself)
		if _, ok := reason.(*lambdahandler.LimitError); !ok || len(f.sent) > 0 {
			t.Errorf("%v, and %d continuations", reason, len(f.sent))
		}
		want := (&lambdahandler.LimitError{ExecutionID: "x", Hops: 1}).Error()
		if r := f.store.All()[0]; r.State != aurora.Failed || r.Error != want {
			t.Errorf("the revision is %s: %s", r.State, r.Error)
		}
		time.Sleep(time.Hour)
	})
}

// Nothing of the second migration was written before it was left behind: what
// is handed over names the lease under which that was recorded.
func TestDeafStreamGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t,
			steps("1", func(context.Context, *aurora.Env) error { time.Sleep(14*time.Minute + 20*time.Second); return nil }),
			aurora.Migration{Version: "2", Name: "m2", Irreversible: "a test", Up: []aurora.Step{aurora.Statement{SQL: "SELECT 1"}}})
		store := func(p *process) aurora.Store { return deafProcess{p} }
		if reason := f.deliverDeaf("r0", lambdahandler.Event{Request: aurora.Request{ExecutionID: "x"}}, store); reason != nil {
			t.Fatal(reason)
		}
		if reason := f.deliverDeaf("r1", f.takeSent(), store); reason == nil {
			t.Fatal("it did not panic")
		}
		all := f.store.All()
		if last := all[len(all)-1]; last.Version != "2" || last.State != aurora.Interrupted {
			t.Errorf("the last revision is %+v", last)
		} else if e := f.takeSent(); e.After != last.Token {
			t.Errorf("the continuation is after %d, want %d", e.After, last.Token)
		}
		time.Sleep(time.Hour)
	})
}

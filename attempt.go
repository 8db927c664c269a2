package aurora

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// flushEvery is how often the output of a running step is saved, and so about
// how much of it a kill can lose. Every save writes all of it, so output of some
// size is saved less often: at flushRate, in bytes a second, on average.
const (
	flushEvery = 2 * time.Second
	flushRate  = 20 << 10
)

// An attempt runs one item step by step and keeps its revision. Stores that
// are streamers run statements in a better way of their own.
type attempt struct {
	lease  Lease
	item   Item
	output Output
	report func(Revision)

	mu      sync.Mutex
	rev     Revision
	flushAt time.Time // when the output may be saved anew
	// unknown says that a transaction with the revision may have committed.
	// Nothing is written then: the next run sees what is stored.
	unknown bool
}

// runItem runs one item and saves its checkpoint before and after each step.
func (r *Runner) runItem(ctx context.Context, lease Lease, item Item, e *Execution) error {
	// A step may report progress from several goroutines.
	var reporting sync.Mutex
	a := &attempt{lease: lease, item: item, rev: item.Revision}
	a.report = func(rev Revision) {
		reporting.Lock()
		defer reporting.Unlock()
		r.record(e, rev)
	}
	var next slog.Handler
	if r.Logger != nil {
		next = shown(r.Logger.Handler())
	}
	env := &Env{
		Log: slog.New(a.output.Handler(next)), Database: r.Database, token: lease.Token(), pauseAt: r.pauseAt(ctx),
		save: func(ctx context.Context, checkpoint json.RawMessage) error {
			return a.save(ctx, func(rev *Revision) { rev.Checkpoint = checkpoint })
		},
		progress: func(done, total int64) {
			reporting.Lock()
			defer reporting.Unlock()
			r.report(Event{Progress: &Progress{item.Migration.Version, done, total}})
		},
		atomically: a.atomically,
	}
	if err := a.start(ctx, r.Store); err != nil {
		return err
	}
	return a.finish(ctx, a.watched(ctx, func(ctx context.Context) error { return a.run(ctx, env, r.checkClock) }))
}

// watched runs the steps while their output is captured and saved.
func (a *attempt) watched(ctx context.Context, run func(context.Context) error) error {
	defer a.flush(ctx)()
	ctx, end := captureDefaults(ctx, &a.output)
	defer end()
	return run(ctx)
}

// start sets when the attempt began. One that goes on with its own record
// keeps the beginning and the output, which would be replaced otherwise.
func (a *attempt) start(ctx context.Context, store Store) error {
	history, ok := store.(History)
	if a.rev.StartedAt.IsZero() || !ok {
		a.rev.StartedAt = cmp.Or(a.rev.StartedAt, time.Now())
		return nil
	}
	old, err := history.Revision(ctx, a.rev.ExecutionID, a.rev.Version)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the earlier output of %s: %w", a.item.Migration.ID(), err)
	}
	a.output.resume(old.Output, old.OutputDropped)
	return nil
}

func (a *attempt) run(ctx context.Context, env *Env, checkClock func(context.Context) error) error {
	m := a.item.Migration
	steps := m.Steps(a.item.Direction)
	if db, ok := env.Database.(SessionDatabase); ok {
		var finished []Statement
		for _, step := range steps[:a.rev.Done] {
			if s, ok := step.(Statement); ok {
				finished = append(finished, s)
			}
		}
		if err := db.BeginMigration(ctx, finished); err != nil {
			return fmt.Errorf("begin %s: %w", m.ID(), err)
		}
	}
	if !a.item.Resumes && a.item.Direction == Up && len(m.Checks) > 0 {
		if env.Database == nil {
			return fmt.Errorf("%s: no database to run the checks on", m.ID())
		}
		for _, c := range m.Checks {
			if err := env.Database.Check(ctx, c); err != nil {
				return err
			}
		}
	}
	for i := a.rev.Done; i < len(steps); i++ {
		if err := checkClock(ctx); err != nil {
			return err
		}
		skip, err := a.unsure(i, steps[i])
		if err != nil {
			return err
		}
		if err := a.save(ctx, func(rev *Revision) { rev.Begun = i + 1 }); err != nil {
			return err
		}
		if !skip {
			env.mu.Lock()
			env.checkpoint = a.rev.Checkpoint
			env.mu.Unlock()
			if err := a.runStep(ctx, env, steps[i]); err != nil {
				return a.stepError(i, steps[i], err)
			}
		}
		a.mu.Lock()
		a.rev.advance(i, steps[i])
		a.mu.Unlock()
	}
	return nil
}

// advance moves the place behind step i.
func (r *Revision) advance(i int, step Step) {
	r.Done, r.Checkpoint = i+1, nil
	r.Hashes = append(r.Hashes[:i:i], StepHash(step))
}

// atomically is [Env.Atomically] of the step at which the attempt is.
func (a *attempt) atomically(env *Env, do func(*Env) error, commit func(Revision) error) error {
	a.mu.Lock()
	i := a.rev.Begun - 1
	a.mu.Unlock()
	var saved json.RawMessage
	inner := &Env{
		Log: env.Log, Database: env.Database, token: env.token, checkpoint: env.checkpoint, pauseAt: env.pauseAt,
		progress: env.progress,
		save:     func(_ context.Context, checkpoint json.RawMessage) error { saved = checkpoint; return nil },
	}
	err := do(inner)
	pauses := errors.Is(err, ErrPaused) && saved != nil
	if err != nil && !pauses {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	rev := a.rev
	if pauses {
		rev.Checkpoint = saved
	} else {
		rev.advance(i, a.item.Migration.Steps(a.item.Direction)[i])
	}
	rev.Output, rev.OutputDropped = a.output.Text()
	if cerr := commit(rev); cerr != nil {
		a.unknown = errors.Is(cerr, ErrOutcomeUnknown)
		return cerr
	}
	a.rev = rev
	a.report(rev)
	return err
}

// runStep turns a panic into an error: the lease and the revision outlive it.
func (a *attempt) runStep(ctx context.Context, env *Env, step Step) (err error) {
	defer func() {
		if v := recover(); v != nil {
			a.output.Add(fmt.Sprintf("panic: %v\n\n%s", v, debug.Stack()))
			err = fmt.Errorf("panic: %v (the output of %s has the stack)", v, a.item.Migration.ID())
		}
	}()
	return step.Run(ctx, env)
}

// unsure decides about a statement that may have run before an earlier process
// died. Functions are idempotent by contract and simply run again.
func (a *attempt) unsure(i int, step Step) (skip bool, err error) {
	if !a.item.Resumes || a.rev.Begun <= i {
		return false, nil
	}
	s, ok := step.(Statement)
	if !ok {
		return false, nil
	}
	switch a.item.Unsure {
	case UnsureSkip:
		return true, nil
	case UnsureRerun:
		return false, nil
	}
	return false, &UnsureError{Migration: a.item.Migration.ID(), Index: i, Step: s.SQL, Pos: s.Pos()}
}

// stepError wraps a step's failure in its place. A statement that certainly
// did not happen is no longer unsure.
func (a *attempt) stepError(i int, step Step, err error) error {
	if errors.Is(err, ErrPaused) || errors.Is(err, ErrLeaseLost) {
		return err
	}
	e := &StepError{Migration: a.item.Migration.ID(), Version: a.item.Migration.Version, Index: i, Step: step.String(), Err: err}
	if s, ok := step.(Statement); ok {
		e.Pos = s.Pos()
	}
	var told *StepError // a database may know the place better, and what to do
	if errors.As(err, &told) && told.Err != nil {
		e.Pos, e.Hint, e.Err = cmp.Or(told.Pos, e.Pos), told.Hint, told.Err
	}
	if !errors.Is(err, ErrOutcomeUnknown) {
		a.mu.Lock()
		a.rev.Begun = i
		a.mu.Unlock()
	}
	return e
}

// finish saves how the attempt ended.
func (a *attempt) finish(ctx context.Context, err error) error {
	var asked *UnsureError
	if errors.Is(err, ErrLeaseLost) || errors.As(err, &asked) || a.unknown {
		return err
	}
	err = interrupted(ctx, err)
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	serr := a.save(clean, func(rev *Revision) {
		a.flushAt = time.Time{} // now or never
		rev.End(stateOf(err), err, time.Now())
	})
	if serr != nil {
		return errors.Join(err, fmt.Errorf("save the revision of %s: %w", a.item.Migration.ID(), serr))
	}
	return err
}

// End sets how a revision ended: its state, the time, and what went wrong. A
// completed one no longer needs what resuming needs.
func (r *Revision) End(state State, err error, at time.Time) {
	r.State, r.FinishedAt = state, at
	r.Error, r.ErrorStep, r.ErrorPos = "", "", ""
	if state == Completed {
		r.Done, r.Begun, r.Hashes, r.Checkpoint = r.Steps, 0, nil, nil
		return
	}
	if err != nil && state != Paused {
		text := err.Error()
		var step *StepError
		if errors.As(err, &step) {
			text, r.ErrorStep, r.ErrorPos = step.Err.Error(), short(step.Step), step.Pos
		}
		r.Error = short(text)
	}
}

// textLimit bounds the error and its step in a revision, in bytes: a statement
// may be megabytes of data, and every look at the history reads them.
const textLimit = 16 << 10

func short(s string) string {
	if len(s) > textLimit {
		s = fmt.Sprintf("%s … (%d bytes)", s[:textLimit], len(s))
	}
	return storable(s)
}

// save changes the revision, writes it with the output so far and reports it.
func (a *attempt) save(ctx context.Context, change func(*Revision)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.rev)
	if err := a.write(ctx); err != nil {
		return err
	}
	a.report(a.rev)
	return nil
}

// write saves the revision, with the output as it is now if enough time has
// gone by, and as it was saved last otherwise.
func (a *attempt) write(ctx context.Context) error {
	if a.unknown {
		return fmt.Errorf("leave the history as it is: %w", ErrOutcomeUnknown)
	}
	if now := time.Now(); !now.Before(a.flushAt) && a.output.takeChanged() {
		a.rev.Output, a.rev.OutputDropped = a.output.Text()
		a.flushAt = now.Add(max(flushEvery, time.Duration(len(a.rev.Output))*time.Second/flushRate))
	}
	return a.lease.Save(ctx, a.rev)
}

// flush saves the output now and then while a step runs.
func (a *attempt) flush(ctx context.Context) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(flushEvery / 4)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			a.mu.Lock()
			if !time.Now().Before(a.flushAt) && a.output.hasChanged() {
				// A failure here shows at the next checkpoint.
				_ = a.write(ctx)
			}
			a.mu.Unlock()
		}
	})
	return func() { close(done); wg.Wait() }
}

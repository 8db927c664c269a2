package aurora

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Defaults of a [Runner].
const (
	// DefaultTTL is how long a lease lives without being renewed, and so the
	// most that a killed process costs the next.
	DefaultTTL = 30 * time.Second
	// DefaultLockTimeout is how long a run waits for the lease.
	DefaultLockTimeout = 25 * time.Minute
)

// cleanupTimeout bounds what still has to be written after a run was
// interrupted: the last revision and the release of the lease.
const cleanupTimeout = 5 * time.Second

// A Runner runs plans. Its zero fields mean the defaults; only Store must be
// set.
type Runner struct {
	Store      Store
	Migrations []Migration
	// Database runs the statements when Store is not a [Streamer].
	Database Database
	// Holder is who runs, for the history and for those who wait.
	Holder Holder
	// Operator is the program's name and version, for the history.
	Operator string
	// TTL is the lease's time to live. Defaults to [DefaultTTL].
	TTL time.Duration
	// LockTimeout is how long to wait for the lease. Defaults to
	// [DefaultLockTimeout]; negative means not at all.
	LockTimeout time.Duration
	// PauseBefore is how long before the context's deadline a run pauses. Zero
	// means that it never does.
	PauseBefore time.Duration
	// Logger hears of waiting and of trouble with the lease. Defaults to none.
	Logger *slog.Logger
	// Report is told what happens, one event at a time and in order. It must
	// not block for long.
	Report func(Event)
}

// An Event tells what a run is doing. One of its fields is set.
type Event struct {
	Waiting  *LockedError // the lease is held; said again when the holder changes
	Plan     *Plan        // the lease is ours and this is to be done
	Revision *Revision    // a revision began, got on or ended
	Progress *Progress    // a step reported progress of its own
}

// A Progress is what a step says of itself.
type Progress struct {
	Version     string
	Done, Total int64 // Total is 0 when unknown
}

// Plan reads the history and returns what Run would do, without doing any of
// it. A migration with a step that is nil is a [*RequestError].
func (r *Runner) Plan(ctx context.Context, req Request) (Plan, error) {
	latest, err := r.Store.Latest(ctx)
	if err != nil {
		return Plan{}, fmt.Errorf("read the history: %w", err)
	}
	return NewPlan(r.Migrations, latest, req)
}

// Run does what the request asks and returns what was done, also together with
// an error. A run that has nothing to do takes no lease and writes nothing.
func (r *Runner) Run(ctx context.Context, req Request) (Execution, error) {
	asked := *r
	asked.Holder.By, asked.Holder.Reason = cmp.Or(req.By, r.Holder.By), cmp.Or(req.Reason, r.Holder.Reason)
	return asked.run(ctx, req)
}

func (r *Runner) run(ctx context.Context, req Request) (Execution, error) {
	e := Execution{
		ID: cmp.Or(req.ExecutionID, NewExecutionID()), Direction: cmp.Or(req.Direction, Up),
		State: Completed, Holder: r.Holder, StartedAt: time.Now(),
	}
	end := func(err error) (Execution, error) {
		e.EndedAt = time.Now()
		err = interrupted(ctx, err)
		e.State = stateOf(err)
		return e, err
	}
	plan, err := r.Plan(ctx, req)
	e.Plan = plan
	if err != nil || plan.IsEmpty() {
		return end(err)
	}
	e.Plan, err = r.runLocked(ctx, req, &e)
	return end(err)
}

// runLocked takes the lease, makes the plan anew and runs it. The lease is
// given back even when a step or a report ends the goroutine.
func (r *Runner) runLocked(ctx context.Context, req Request, e *Execution) (plan Plan, err error) {
	asked := time.Now()
	lease, err := r.acquire(ctx, &asked)
	if err != nil {
		return e.Plan, err
	}
	kept, stop := r.keep(ctx, lease, asked.Add(r.ttl()))
	defer func() {
		cause := context.Cause(kept)
		stop()
		if err != nil && errors.Is(cause, ErrLeaseLost) && !errors.Is(err, ErrLeaseLost) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		if rerr := lease.Release(clean); rerr != nil {
			r.logger().Warn("could not release the lock; it ends by itself", "within", r.ttl(), "err", rerr)
		}
	}()
	// Whoever held the lease until now may have done it all.
	if plan, err = r.Plan(kept, req); err != nil {
		return plan, err
	}
	e.Plan = plan
	r.report(Event{Plan: &plan})
	return plan, r.runPlan(kept, lease, e)
}

// stateOf says how a run or a revision ended that returned err.
func stateOf(err error) State {
	switch {
	case err == nil:
		return Completed
	case errors.Is(err, ErrPaused):
		return Paused
	case errors.Is(err, ErrLeaseLost), errors.Is(err, ErrInterrupted):
		return Interrupted
	}
	return Failed
}

// runPlan runs a plan under the lease and adds what it does to e.
func (r *Runner) runPlan(ctx context.Context, lease Lease, e *Execution) error {
	var records []Revision
	for _, rev := range append(slices.Clone(e.Plan.Import), e.Plan.Baseline...) {
		if rev.Foreign == "" {
			rev.StartedAt, rev.FinishedAt = e.StartedAt, e.StartedAt
		}
		rev.Foreign = ""
		records = append(records, r.begin(e, lease, rev, len(records)))
	}
	if len(records) > 0 {
		if err := lease.Save(ctx, records...); err != nil {
			return fmt.Errorf("record the start of the history: %w", err)
		}
		e.Revisions = append(e.Revisions, records...)
		if n := len(e.Plan.Import); n > 0 {
			r.logger().Info("took over the finished migrations of another tool's history, which stays as it is",
				"migrations", n, "from", e.Plan.Import[0].Foreign)
		}
	}
	items := make([]Item, len(e.Plan.Items))
	for i, it := range e.Plan.Items {
		it.Revision = r.begin(e, lease, it.Revision, len(records)+i)
		items[i] = it
	}
	for len(items) > 0 {
		if err := r.checkClock(ctx); err != nil {
			return err
		}
		stretch, streamer := r.stretch(items)
		var err error
		if streamer != nil {
			err = r.runStretch(ctx, streamer, lease, items[:stretch], e)
		} else {
			err = r.runItem(ctx, lease, items[0], e)
		}
		if err != nil {
			return interrupted(ctx, err)
		}
		items = items[stretch:]
	}
	return nil
}

// runStretch streams items until the time to pause has come.
func (r *Runner) runStretch(ctx context.Context, streamer Streamer, lease Lease, items []Item, e *Execution) error {
	pausing, stop := ctx, func() {}
	if at := r.pauseAt(ctx); !at.IsZero() {
		pausing, stop = context.WithDeadlineCause(ctx, at, ErrPaused)
	}
	defer stop()
	err := streamer.Stream(pausing, lease, items, func(rev Revision) { r.record(e, rev) })
	if err != nil && context.Cause(ctx) == nil && errors.Is(context.Cause(pausing), ErrPaused) && !errors.Is(err, ErrPaused) {
		return fmt.Errorf("%w: %w", ErrPaused, err)
	}
	return err
}

// begin fills in what every revision of a run has in common, and its place.
func (r *Runner) begin(e *Execution, lease Lease, rev Revision, before int) Revision {
	holder := r.Holder // what goes on was asked for when it began
	holder.By, holder.Reason = cmp.Or(holder.By, rev.Holder.By), cmp.Or(holder.Reason, rev.Holder.Reason)
	rev.ExecutionID, rev.Holder = e.ID, holder
	rev.Token, rev.Seq = lease.Token(), before+1
	rev.Operator = cmp.Or(rev.Operator, r.Operator)
	return rev
}

// record keeps the newest state of a revision in the execution and reports it.
func (r *Runner) record(e *Execution, rev Revision) {
	if n := len(e.Revisions); n > 0 && e.Revisions[n-1].Version == rev.Version {
		e.Revisions[n-1] = rev
	} else {
		e.Revisions = append(e.Revisions, rev)
	}
	r.report(Event{Revision: &rev})
}

// stretch returns how many items from the first on run together, and the
// streamer that runs them; one item and nil when there is none for it.
func (r *Runner) stretch(items []Item) (int, Streamer) {
	streamer, ok := r.Store.(Streamer)
	if !ok {
		return 1, nil
	}
	n := 0
	for n < len(items) {
		if _, ok := items[n].Migration.Statements(items[n].Direction); !ok {
			break
		}
		n++
	}
	if n == 0 {
		return 1, nil
	}
	return n, streamer
}

// interrupted adds to the error of what a context ended the reason for which
// it ended.
func interrupted(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case err == nil || cause == nil:
		return err
	case errors.Is(err, ErrPaused) || errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrInterrupted):
		return err
	case errors.Is(cause, ErrLeaseLost):
		return fmt.Errorf("%w: %w", cause, err)
	}
	// A deadline and a signal are both somebody's wish that the run should stop.
	return fmt.Errorf("%w: %w", ErrInterrupted, err)
}

// checkClock returns ErrPaused when the deadline is near.
func (r *Runner) checkClock(ctx context.Context) error {
	if at := r.pauseAt(ctx); !at.IsZero() && !time.Now().Before(at) {
		return ErrPaused
	}
	return context.Cause(ctx)
}

func (r *Runner) pauseAt(ctx context.Context) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok || r.PauseBefore <= 0 {
		return time.Time{}
	}
	return deadline.Add(-r.PauseBefore)
}

// acquire takes the lease, waiting for whoever holds it without holding
// anything open meanwhile. It sets asked to when it asked for what it got.
func (r *Runner) acquire(ctx context.Context, asked *time.Time) (Lease, error) {
	limit := cmp.Or(r.LockTimeout, DefaultLockTimeout)
	started := time.Now()
	if at := r.pauseAt(ctx); !at.IsZero() {
		// Who is killed while waiting cannot say for whom it waited.
		limit = min(limit, at.Sub(started))
	}
	pause := 50 * time.Millisecond
	told := int64(-1) // no token yet
	for {
		*asked = time.Now()
		lease, err := r.Store.Acquire(ctx, r.Holder, r.ttl())
		var locked *LockedError
		if !errors.As(err, &locked) {
			if err != nil {
				err = fmt.Errorf("take the lock: %w", err)
			}
			return lease, err
		}
		waited := time.Since(started)
		if waited >= limit {
			locked.Waited = waited
			return nil, locked
		}
		if locked.Token != told {
			told = locked.Token
			r.report(Event{Waiting: locked})
			r.logger().Debug("waiting for the lock", "holder", locked.Holder.String(), "until", locked.ExpiresAt)
		}
		pause = min(pause*2, time.Second)
		// Jitter, so that a fleet that starts together does not ask together.
		sleep := pause/2 + rand.N(pause/2)
		select {
		case <-ctx.Done():
			return nil, locked
		case <-time.After(min(sleep, limit-waited)):
		}
	}
}

// keep renews the lease every third of its time to live, and cancels the
// returned context with [ErrLeaseLost] when it is lost or could not be renewed
// in time. This process's clock is only ever used to stop sooner: trusted is
// the end of the lease as counted from before it was asked for.
func (r *Runner) keep(ctx context.Context, lease Lease, trusted time.Time) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	// Renewing goes on after an interrupt, until the step has stopped.
	asking, stopAsking := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		wait := r.ttl() / 3
		var reason error // why renewing failed, before time ran out
		for {
			select {
			case <-asking.Done():
				return
			case <-time.After(min(wait, time.Until(trusted))):
			}
			asked := time.Now()
			rctx, stop := context.WithDeadline(asking, trusted)
			err := lease.Renew(rctx)
			stop()
			switch {
			case asking.Err() != nil:
				return
			case err == nil:
				trusted, wait, reason = asked.Add(r.ttl()), r.ttl()/3, nil
			case errors.Is(err, ErrLeaseLost) || !time.Now().Before(trusted):
				if !errors.Is(err, ErrLeaseLost) {
					err = fmt.Errorf("%w: %w", ErrLeaseLost, cmp.Or(reason, err))
				}
				cancel(err)
				return
			default:
				reason = err
				wait = r.ttl() / 10
				r.logger().Warn("could not renew the lock, will try again", "err", err)
			}
		}
	})
	return ctx, func() {
		stopAsking()
		wg.Wait()
		cancel(nil)
	}
}

func (r *Runner) ttl() time.Duration { return cmp.Or(r.TTL, DefaultTTL) }

func (r *Runner) logger() *slog.Logger {
	if r.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return r.Logger
}

func (r *Runner) report(e Event) {
	if r.Report != nil {
		r.Report(e)
	}
}

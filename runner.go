package aurora

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
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
const cleanupTimeout = 10 * time.Second

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
	// Report is told what happens, in order, on the goroutine that runs. It
	// must not block for long.
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
// it.
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
	e := Execution{
		ID: cmp.Or(req.ExecutionID, NewExecutionID()), Direction: cmp.Or(req.Direction, Up),
		State: Completed, Holder: r.Holder, StartedAt: time.Now(),
	}
	end := func(err error) (Execution, error) {
		e.EndedAt = time.Now()
		if err != nil {
			e.State = stateOf(err)
		}
		return e, err
	}
	plan, err := r.Plan(ctx, req)
	e.Plan = plan
	if err != nil || plan.IsEmpty() {
		return end(err)
	}
	lease, err := r.acquire(ctx)
	if err != nil {
		return end(err)
	}
	kept, stop := r.keep(ctx, lease)
	err = func() error {
		// Whoever held the lease until now may have done it all.
		if e.Plan, err = r.Plan(kept, req); err != nil {
			return err
		}
		r.report(Event{Plan: &e.Plan})
		return r.runPlan(kept, lease, &e)
	}()
	cause := context.Cause(kept)
	stop()
	if err != nil && errors.Is(cause, ErrLeaseLost) && !errors.Is(err, ErrLeaseLost) {
		err = fmt.Errorf("%w: %w", ErrLeaseLost, err)
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if rerr := lease.Release(clean); rerr != nil {
		r.logger().Warn("could not release the lock; it ends by itself", "within", r.ttl(), "err", rerr)
	}
	return end(err)
}

// stateOf says how a run or a revision ended that returned err.
func stateOf(err error) State {
	switch {
	case err == nil:
		return Completed
	case errors.Is(err, ErrPaused):
		return Paused
	case errors.Is(err, ErrLeaseLost), errors.Is(err, ErrInterrupted), errors.Is(err, context.Canceled):
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
		rev.Seq = len(records) + 1
		records = append(records, r.begin(e, rev))
	}
	if len(records) > 0 {
		if err := lease.Save(ctx, records...); err != nil {
			return fmt.Errorf("record the start of the history: %w", err)
		}
	}
	items := make([]Item, len(e.Plan.Items))
	for i, it := range e.Plan.Items {
		it.Revision = r.begin(e, it.Revision)
		it.Revision.Seq = len(records) + i + 1
		items[i] = it
	}
	for len(items) > 0 {
		if err := r.checkClock(ctx); err != nil {
			return err
		}
		stretch, streamer := r.stretch(items)
		var err error
		report := func(rev Revision) { r.record(e, rev) }
		if streamer != nil {
			err = streamer.Stream(ctx, lease, items[:stretch], report)
		} else {
			err = r.runItem(ctx, lease, items[0], report)
		}
		if err != nil {
			return interrupted(ctx, err)
		}
		items = items[stretch:]
	}
	return nil
}

// begin fills in what every revision of a run has in common.
func (r *Runner) begin(e *Execution, rev Revision) Revision {
	rev.ExecutionID, rev.Holder = e.ID, r.Holder
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

// interrupted turns the error of a step whose context ended into the reason
// for which it ended.
func interrupted(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case cause == nil || errors.Is(err, ErrPaused) || errors.Is(err, ErrLeaseLost):
		return err
	case errors.Is(cause, context.Canceled):
		return fmt.Errorf("%w: %w", ErrInterrupted, err)
	}
	return fmt.Errorf("%w: %w", cause, err)
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
// anything open meanwhile.
func (r *Runner) acquire(ctx context.Context) (Lease, error) {
	limit := cmp.Or(r.LockTimeout, DefaultLockTimeout)
	started := time.Now()
	pause := 50 * time.Millisecond
	var told Holder
	for {
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
		if locked.Holder != told {
			told = locked.Holder
			r.report(Event{Waiting: locked})
			r.logger().Info("waiting for the lock", "holder", locked.Holder.String(), "until", locked.ExpiresAt)
		}
		pause = min(pause*2, time.Second)
		// Jitter, so that a fleet that starts together does not ask together.
		sleep := pause/2 + rand.N(pause/2)
		select {
		case <-ctx.Done():
			return nil, interrupted(ctx, locked)
		case <-time.After(min(sleep, limit-waited)):
		}
	}
}

// keep renews the lease every third of its time to live, and cancels the
// returned context with [ErrLeaseLost] when it is lost or could not be renewed
// in time. This process's clock is only ever used to stop sooner.
func (r *Runner) keep(ctx context.Context, lease Lease) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	stopped := make(chan struct{})
	trusted := time.Now().Add(r.ttl())
	go func() {
		defer close(stopped)
		tick := time.NewTicker(r.ttl() / 3)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			asked := time.Now()
			// Renewing goes on after an interrupt, until the step has stopped.
			rctx, stop := context.WithDeadline(context.WithoutCancel(ctx), trusted)
			err := lease.Renew(rctx)
			stop()
			switch {
			case err == nil:
				trusted = asked.Add(r.ttl())
			case errors.Is(err, ErrLeaseLost) || !time.Now().Before(trusted):
				cancel(ErrLeaseLost)
				return
			default:
				r.logger().Warn("could not renew the lock, will try again", "err", err)
			}
		}
	}()
	return ctx, func() {
		close(done)
		<-stopped
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

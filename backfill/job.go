package backfill

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/aurora-migrate/aurora"
)

const (
	// saveEvery is how often the checkpoint is saved.
	saveEvery = time.Second
	// tellEvery is how often a line about the progress is logged.
	tellEvery = 10 * time.Second
	// grace is how long what is in flight may still take after an interrupt.
	grace = 3 * time.Second
	// patience is how long to try again while nothing succeeds.
	patience = 3 * time.Minute
)

// A job is a backfill at work: what its workers share.
type job struct {
	opts    Options
	subject string // what is changed, for messages
	env     *aurora.Env
	log     *slog.Logger
	pace    *pacer
	connect connectFunc // for the throttle, may be nil

	halt     chan struct{} // closed when workers are to stop after their batch
	haltOnce sync.Once

	saving sync.Mutex // one checkpoint after the other

	mu    sync.Mutex
	all   checkpoint
	st    *state
	queue []*part

	began  time.Time     // of this run
	before time.Duration // the time that earlier runs took
	told   time.Time
	seen   int64 // visited when the rate was last looked at
	asked  time.Time
	rate   float64 // rows a second, smoothed
}

// newJob reads the checkpoint. fresh makes the state of a backfill that has
// not begun.
func newJob(env *aurora.Env, opts Options, subject, source, change string) (*job, error) {
	j := &job{
		opts: opts, subject: subject, env: env, halt: make(chan struct{}), began: time.Now(),
		log:  newLogger(env).With("backfill", opts.Name),
		pace: newPacer(opts.PerSecond, opts.Throttle != nil), connect: connectOf(env),
	}
	j.told, j.asked = j.began, j.began
	if _, err := env.Resume(&j.all); err != nil {
		return nil, err
	}
	if j.all.Backfills == nil {
		j.all.Backfills = make(map[string]*state)
	}
	change = fingerprint(change)
	st := j.all.Backfills[opts.Name]
	switch {
	case st == nil:
		st = &state{Source: source, Change: change, Run: aurora.NewExecutionID()}
		j.all.Backfills[opts.Name] = st
	case st.Source != source:
		return nil, fmt.Errorf("backfill %s: the checkpoint is about %s, not about %s: put it back, or give two backfills of one step different names", opts.Name, st.Source, source)
	case st.Complete && st.Change != change:
		return nil, fmt.Errorf("backfill %s: another change under this name is complete already: give two backfills of one step different names", opts.Name)
	case st.Complete && st.Token != 0 && st.Token == env.Token():
		return nil, fmt.Errorf("backfill %s: this run came to the end of one under this name already: give two backfills of one step different names", opts.Name)
	case st.Change != change:
		j.log.Warn("the change is another one than that of the run before; what was done stays as it is", "visited", visited(st))
		st.Change = change
	}
	for i, p := range st.Parts {
		p.number = i
	}
	j.st, j.before, j.seen = st, st.Took, visited(st)
	return j, nil
}

// fingerprint is short: it is saved every second.
func fingerprint(s string) string {
	if s == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

func visited(st *state) int64 {
	var n int64
	for _, p := range st.Parts {
		n += p.Visited
	}
	return n
}

// stop lets workers end after the batch they are at.
func (j *job) stop() { j.haltOnce.Do(func() { close(j.halt) }) }

func (j *job) stopped() bool {
	select {
	case <-j.halt:
		return true
	default:
		return false
	}
}

// run lets n workers work and saves the checkpoint meanwhile. It returns when
// all have stopped and what they did is saved. A worker that stops because it
// is told to returns nil.
func (j *job) run(ctx context.Context, n int, work func(context.Context) error) error {
	working, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	ended, trouble := make(chan error, n), make(chan error, 1)
	for range n {
		go func() { ended <- guarded(func() error { return work(working) }) }()
	}
	if j.opts.Throttle != nil {
		asking, stop := context.WithCancel(working)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := guarded(func() error { return j.throttle(asking) }); err != nil {
				trouble <- err
			}
		})
		defer wg.Wait()
		defer stop()
	}
	first := j.attend(ctx, cancel, ended, trouble, n)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(first, aurora.ErrLeaseLost) {
		first = cause
	}
	if first == nil || errors.Is(first, aurora.ErrLeaseLost) {
		return first
	}
	clean, done := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer done()
	if err := j.save(clean); err != nil && !errors.Is(err, aurora.ErrPaused) {
		return errors.Join(first, err)
	}
	return first
}

// attend waits for the workers to end and returns the first error.
func (j *job) attend(ctx context.Context, cancel context.CancelCauseFunc, ended, trouble <-chan error, left int) (first error) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	fail := func(err error) {
		if err == nil {
			return
		}
		if first == nil {
			first = err
		}
		j.stop()
		if errors.Is(err, aurora.ErrLeaseLost) {
			first = err
			cancel(err) // another process may be at work: nothing more may be sent
		}
	}
	done := ctx.Done()
	for left > 0 {
		select {
		case err := <-ended:
			left--
			fail(err)
		case err := <-trouble:
			fail(err)
		case <-tick.C:
			if !j.stopped() {
				fail(j.save(ctx))
			}
			j.tell()
		case <-done:
			done = nil
			j.stop()
			cause := context.Cause(ctx)
			if errors.Is(cause, aurora.ErrLeaseLost) {
				fail(cause)
			} else {
				timer := time.AfterFunc(grace, func() { cancel(cause) })
				defer timer.Stop()
			}
		}
	}
	return first
}

// save saves the checkpoint. It returns ErrPaused when it is time to stop.
func (j *job) save(ctx context.Context) error {
	j.saving.Lock()
	defer j.saving.Unlock()
	j.mu.Lock()
	j.st.Took = j.before + time.Since(j.began)
	// Encoded under the lock, since workers go on changing it.
	snapshot, err := encode(j.all)
	j.mu.Unlock()
	if err != nil {
		return err
	}
	return j.env.Checkpoint(ctx, snapshot)
}

// advance notes that rows were visited and changed, and that a part has come to
// a new place.
func (j *job) advance(p *part, visited, changed int64, move func()) {
	j.mu.Lock()
	move()
	p.Visited += visited
	j.st.Changed += changed
	j.mu.Unlock()
}

// take gives a worker a part to work on, nil when there is none left.
func (j *job) take() *part {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.queue) == 0 || j.stopped() {
		return nil
	}
	p := j.queue[0]
	j.queue = j.queue[1:]
	return p
}

// enqueue puts the unfinished parts into the queue and returns how many.
func (j *job) enqueue() int {
	j.queue = slices.Clone(j.st.Parts)
	j.queue = slices.DeleteFunc(j.queue, func(p *part) bool { return p.Done })
	return len(j.queue)
}

// failed notes a row that cannot be changed, saves that, and returns a
// FailedError when there are too many. A row that an earlier process noted
// before it was killed is known already.
func (j *job) failed(ctx context.Context, at string, reason error) error {
	j.mu.Lock()
	known := slices.ContainsFunc(j.st.Failed, func(f Failed) bool { return f.Key == at })
	if !known && j.st.Failures >= int64(j.opts.SkipFailed) {
		skipped := j.st.Failures
		j.mu.Unlock()
		return &FailedError{Table: j.subject, Key: at, Skipped: skipped, Err: reason}
	}
	if !known {
		j.st.Failures++
		if len(j.st.Failed) < MaxFailed {
			text := reason.Error()
			j.st.Failed = append(j.st.Failed, Failed{Key: at, Error: text[:min(len(text), 300)]})
		}
	}
	j.mu.Unlock()
	if !known {
		j.log.Warn("skipped what failed", "key", at, "err", reason)
	}
	return j.save(ctx)
}

// throttle asks how fast to go, until ctx ends.
func (j *job) throttle(ctx context.Context) error {
	ctx = context.WithValue(ctx, connectKey{}, j.connect)
	last := 1.0
	for ctx.Err() == nil {
		share, err := j.opts.Throttle(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return fmt.Errorf("ask how fast to go: %w", err)
		}
		if (share > 0) != (last > 0) {
			j.log.Info(map[bool]string{true: "goes on", false: "waits: the throttle says so"}[share > 0])
		}
		last = share
		j.pace.setShare(share)
		sleep(ctx, nil, time.Second)
	}
	return nil
}

// tell reports the progress, and logs it now and then.
func (j *job) tell() {
	j.mu.Lock()
	done, total := visited(j.st), j.st.Total
	if p := j.st.Plan; p != nil {
		done, total = 0, 0
	}
	now := time.Now()
	if d := now.Sub(j.asked).Seconds(); d > 0 {
		rate := float64(done-j.seen) / d
		if j.rate > 0 {
			rate = 0.7*j.rate + 0.3*rate
		}
		j.rate, j.seen, j.asked = max(rate, 0), done, now
	}
	rate := j.rate
	tellNow := now.Sub(j.told) >= tellEvery
	if tellNow {
		j.told = now
	}
	j.mu.Unlock()
	j.env.Progress(done, max(total, done))
	if tellNow {
		attrs := []any{"done", done, "of", total, "rate", fmt.Sprintf("%.0f/s", rate)}
		if eta, ok := etaOf(done, total, rate); ok {
			attrs = append(attrs, "eta", eta)
		}
		j.log.Info("at work", attrs...)
	}
}

// etaOf is how long the rest takes at a rate.
func etaOf(done, total int64, rate float64) (time.Duration, bool) {
	if total <= done || rate <= 0 {
		return 0, false
	}
	return time.Duration(float64(total-done) / rate * float64(time.Second)).Round(time.Second), true
}

// again is all that is left of a backfill that an earlier run came to the end of.
// That this run was here is saved, as it tells the next under the same name that
// it is another one.
func (j *job) again(ctx context.Context) error {
	if err := j.complete(ctx); err != nil {
		return fmt.Errorf("backfill %s: %w", j.opts.Name, err)
	}
	j.report()
	return nil
}

// complete notes that nothing is left.
func (j *job) complete(ctx context.Context) error {
	j.mu.Lock()
	j.st.Complete, j.st.Plan, j.st.Token = true, nil, j.env.Token()
	j.mu.Unlock()
	err := j.save(ctx)
	if errors.Is(err, aurora.ErrPaused) {
		err = nil // there is nothing to pause
	}
	return err
}

func (j *job) result() Result {
	j.mu.Lock()
	defer j.mu.Unlock()
	return Result{
		Visited: visited(j.st), Total: j.st.Total, Changed: j.st.Changed, Failures: j.st.Failures,
		Failed: slices.Clone(j.st.Failed), Took: j.before + time.Since(j.began), Complete: j.st.Complete,
	}
}

// end logs and reports how it ended.
func (j *job) end(err error) {
	r := j.result()
	attrs := []any{"visited", r.Visited, "changed", r.Changed, "took", r.Took.Round(time.Millisecond)}
	if r.Failures > 0 {
		attrs = append(attrs, "skipped", r.Failures)
	}
	if err == nil {
		j.env.Progress(r.Visited, r.Visited)
		j.log.Info("done", attrs...)
	} else {
		j.log.Info("stopped", append(attrs, "of", r.Total)...)
	}
	j.report()
}

func (j *job) report() {
	if j.opts.Report != nil {
		j.opts.Report(j.result())
	}
}

package dashboard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/aurora-migrate/aurora"
)

// ErrBusy says that a [Local] is running something already.
var ErrBusy = errors.New("a run is still going on")

// A Local runs what is asked of it in this process, one run at a time. Its
// runs go on when the request that asked for them has ended. Open must be set.
type Local struct {
	// Open returns the runner of one run, and what closes it; or why the request
	// is refused. It is called in the background, with the context of the run.
	Open func(context.Context, aurora.Request) (*aurora.Runner, func(context.Context) error, error)

	mu      sync.Mutex
	current *localRun // the last one
	closed  bool
	changed func() // guarded by mu
}

type localRun struct {
	request  aurora.Request
	at       time.Time
	stop     context.CancelCauseFunc
	done     chan struct{}
	state    string
	err      error
	end      time.Time
	waiting  *aurora.LockedError
	planned  int
	finished map[string]bool // versions
	now      aurora.Revision // the newest report
	progress map[string]*sample
	steps    map[string]*stepTimes
}

// A sample is what a step said of itself.
type sample struct {
	first, at   time.Time
	began       int64 // done when it was first heard of
	done, total int64
}

// A stepTime is when a step began and ended.
type stepTime struct{ start, end time.Time }

type stepTimes struct {
	done  int
	begun int
	since time.Time
	times map[int]stepTime
}

// Start begins a run and returns at once. It returns [ErrBusy] while another
// goes on.
func (l *Local) Start(_ context.Context, req aurora.Request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.New("the dashboard is about to end")
	}
	if l.current != nil && l.current.end.IsZero() {
		return ErrBusy
	}
	ctx, stop := context.WithCancelCause(context.Background())
	run := &localRun{
		request: req, at: time.Now(), stop: stop, done: make(chan struct{}), state: runRequested,
		finished: make(map[string]bool), progress: make(map[string]*sample), steps: make(map[string]*stepTimes),
	}
	l.current = run
	go l.run(ctx, run)
	return nil
}

// Close interrupts the run that goes on, in good order, and waits for it.
func (l *Local) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	run := l.current
	l.mu.Unlock()
	if run == nil {
		return nil
	}
	run.stop(aurora.ErrInterrupted)
	select {
	case <-run.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the run to stop: %w", context.Cause(ctx))
	}
}

// Running reports whether a run goes on.
func (l *Local) Running() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current != nil && l.current.end.IsZero()
}

// watch sets what is called when something about a run changes.
func (l *Local) watch(changed func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed = changed
}

func (l *Local) run(ctx context.Context, run *localRun) {
	defer close(run.done)
	defer run.stop(nil)
	e, err := l.do(ctx, run)
	l.update(func() {
		run.end, run.err, run.waiting = time.Now(), err, nil
		run.state = string(e.State)
		if err != nil && (e.State == "" || e.State == aurora.Completed) {
			run.state = string(aurora.Failed)
		}
	})
}

// do runs, and turns a panic into an error: the dashboard outlives it.
func (l *Local) do(ctx context.Context, run *localRun) (e aurora.Execution, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the run panicked: %v", v)
		}
	}()
	runner, closeRunner, err := l.Open(ctx, run.request)
	if err != nil {
		return e, err
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, closeRunner(clean))
	}()
	own := *runner
	own.Report = func(ev aurora.Event) {
		if runner.Report != nil {
			runner.Report(ev)
		}
		l.update(func() { run.hear(ev, time.Now()) })
	}
	return own.Run(ctx, run.request)
}

// update changes the run under the lock, and tells those who watch.
func (l *Local) update(change func()) {
	if changed := l.changeLocked(change); changed != nil {
		changed()
	}
}

// changeLocked returns what those who watch want to be called with. A change
// that panics must not keep the lock.
func (l *Local) changeLocked(change func()) (changed func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	return l.changed
}

// hear takes in an event of the runner.
func (run *localRun) hear(ev aurora.Event, now time.Time) {
	switch {
	case ev.Waiting != nil:
		run.state, run.waiting = runWaiting, ev.Waiting
	case ev.Plan != nil:
		run.state, run.waiting, run.planned = string(aurora.Running), nil, len(ev.Plan.Items)
	case ev.Revision != nil:
		r := *ev.Revision
		r.Output = "" // the store has it
		run.now = r
		if r.State == aurora.Completed {
			run.finished[r.Version] = true
		}
		run.time(r, now)
	case ev.Progress != nil:
		p := ev.Progress
		s := run.progress[p.Version]
		if s == nil || p.Done < s.done {
			s = &sample{first: now, began: p.Done}
			run.progress[p.Version] = s
		}
		s.at, s.done, s.total = now, p.Done, p.Total
	}
}

// time notes when steps end, as far as the reports tell them apart: those of a
// transaction are sent together, and announced by nothing.
func (run *localRun) time(r aurora.Revision, now time.Time) {
	t := run.steps[r.Version]
	if t == nil {
		run.steps[r.Version] = &stepTimes{done: r.Done, begun: r.Begun, since: now, times: make(map[int]stepTime)}
		return
	}
	switch {
	case r.Done == t.done+1:
		t.times[t.done] = stepTime{t.since, now}
	case r.Done == t.done && r.State == aurora.Running:
		if r.Begun > t.begun {
			t.begun, t.since = r.Begun, now
		}
		return
	case r.Done == t.done && t.begun > t.done: // it ended the run
		t.times[t.done] = stepTime{t.since, now}
	}
	t.done, t.begun, t.since = r.Done, r.Begun, now
}

func (sm *sample) json(activity string) *progressJSON {
	p := &progressJSON{Done: sm.done, Total: sm.total, Activity: activity}
	p.estimate(sm.began, sm.at.Sub(sm.first))
	return p
}

// estimate tells how fast it goes, and how long it still takes, from what was
// done in a span of time.
func (p *progressJSON) estimate(began int64, span time.Duration) {
	if span < time.Second || p.Done <= began {
		return
	}
	p.RatePerSecond = float64(p.Done-began) / span.Seconds()
	if p.Total > p.Done {
		p.EtaSeconds = float64(p.Total-p.Done) / p.RatePerSecond
	}
}

// progress returns what a running migration says of itself, or nil.
func (l *Local) progress(execution, version string) *progressJSON {
	l.mu.Lock()
	defer l.mu.Unlock()
	run := l.current
	if run == nil || run.request.ExecutionID != execution {
		return nil
	}
	activity := ""
	if run.now.Version == version {
		activity = run.now.Activity
	}
	if sm := run.progress[version]; sm != nil {
		return sm.json(activity)
	}
	if activity != "" {
		return &progressJSON{Done: int64(run.now.Done), Total: int64(run.now.Steps), Activity: activity}
	}
	return nil
}

// timings returns when the steps of a migration ran.
func (l *Local) timings(execution, version string) map[int]stepTime {
	l.mu.Lock()
	defer l.mu.Unlock()
	if run := l.current; run != nil && run.request.ExecutionID == execution && run.steps[version] != nil {
		return maps.Clone(run.steps[version].times)
	}
	return nil
}

// localRun describes the run in this process.
func (s *server) localRun() *runJSON {
	l := s.cfg.Local
	l.mu.Lock()
	defer l.mu.Unlock()
	run := l.current
	if run == nil {
		return nil
	}
	out := s.runOf(run.request, run.at)
	out.State, out.Planned, out.Completed = run.state, run.planned, len(run.finished)
	out.EndedAt = run.end.UTC()
	if run.end.IsZero() {
		out.EndedAt = time.Time{}
	}
	if run.waiting != nil {
		lock := s.lockOf(run.waiting)
		out.WaitingFor = &lock
	}
	if run.err != nil {
		out.Error, out.Problem = s.hide(run.err.Error()), s.planProblem(run.err)
	}
	if run.end.IsZero() && run.now.State == aurora.Running {
		out.Migration = run.now.ID()
		if sm := run.progress[run.now.Version]; sm != nil {
			out.Progress = sm.json(run.now.Activity)
		} else {
			out.Progress = &progressJSON{Done: int64(run.now.Done), Total: int64(run.now.Steps), Activity: run.now.Activity}
		}
	}
	return &out
}

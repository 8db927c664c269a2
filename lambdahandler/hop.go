package lambdahandler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aurora-migrate/aurora"
)

// maxIdle is how many invocations in a row may get no further. One may have
// had bad luck: a slow database, or a lease that it had to wait for.
const maxIdle = 2

// A hop is one invocation's part of an execution.
type hop struct {
	handler *Handler
	event   Event
	project *Project
	history aurora.History
	me      aurora.Holder
	maxHops int
	clock   clock
	log     *slog.Logger

	mu      sync.Mutex
	waiting bool             // a job of the database was waited for
	last    *aurora.Revision // that was reported and is not completed
}

// A Response is what an event that runs migrations is answered with.
type Response struct {
	// Execution has all revisions of the execution so far, without their texts.
	// It is paused when it goes on in another invocation.
	aurora.Execution
	Hop int `json:"hop"`
	// Continued says that another invocation was asked for.
	Continued bool `json:"continued,omitempty"`
	// Skipped says why this event did nothing: another delivery of it, or what
	// came of it, does the work.
	Skipped string `json:"skipped,omitempty"`
}

// run does as much of the execution as fits. It starts over when the history
// moved between the look at it and the lease.
func (h *hop) run(ctx context.Context) (Response, error) {
	for try := 0; ; try++ {
		before, err := look(ctx, h.history, h.event.ExecutionID)
		if err != nil {
			return Response{}, err
		}
		skip, err := h.turn(before)
		if err != nil {
			return Response{}, err
		}
		if skip != "" {
			return h.skipped(before, skip), nil
		}
		req, rest := h.request(before)
		if !rest {
			return h.skipped(before, "all that was asked for is done"), nil
		}
		if h.project.Check != nil {
			if err := h.project.Check(ctx, req); err != nil {
				return Response{}, err
			}
		}
		res, err := h.runOnce(ctx, req, before)
		switch {
		case errors.Is(err, errMoved) && try < 5:
			continue
		case errors.Is(err, errBusy):
			return h.skipped(before, errBusy.Error()), nil
		}
		return res, err
	}
}

// turn decides whether the event may run. skip says why not.
func (h *hop) turn(s sight) (skip string, err error) {
	switch {
	case !s.found && h.event.After == 0:
		return "", nil
	case !s.found:
		return "", &EventError{fmt.Sprintf("the history knows nothing of execution %s, which this would continue", h.event.ExecutionID)}
	case s.newest.State == aurora.Failed:
		return "", &FailedError{h.event.ExecutionID, s.newest.ID(), s.newest.Error}
	case s.newest.Token == h.event.After:
		return "", nil
	case sameInvocation(s.newest.Holder, h.me):
		// This very event wrote last. It is delivered again, and may have died
		// before it could hand over. If it did hand over, what it sent no longer
		// counts once this one has written.
		return "", nil
	case s.newest.State == aurora.Running:
		// Nobody who died at work has handed over. Whether it died shows when
		// the lease can be had.
		return "", nil
	}
	return "another delivery of this event has done its part already", nil
}

func sameInvocation(a, b aurora.Holder) bool {
	// The host names the version that runs, which is another one once an alias
	// has moved.
	return a.Link != "" && a.Link == b.Link && a.Runtime == b.Runtime
}

// request returns what is left of the request, and false when nothing is. A
// number of migrations shrinks by those that the execution has finished.
func (h *hop) request(before sight) (req aurora.Request, rest bool) {
	req = h.event.Request
	if !before.found || !isRelative(req) {
		return req, true
	}
	req.Steps = max(req.Steps, 1) - before.ran(cmp.Or(req.Direction, aurora.Up))
	return req, req.Steps > 0
}

// foreign refuses to go on behind another execution that changed what the
// request means: any one for a number of migrations, and for all else one in
// the other direction, whose work would be undone.
func (h *hop) foreign(before sight, latest []aurora.Revision) error {
	req := h.event.Request
	for _, r := range latest {
		if r.Token <= before.newest.Token || r.ExecutionID == req.ExecutionID {
			continue
		}
		if isRelative(req) || r.Direction != cmp.Or(req.Direction, aurora.Up) {
			return fmt.Errorf("execution %s has run others since this one was last at work: look where things stand, and start a new execution", r.ExecutionID)
		}
	}
	return nil
}

// ttl is how long the lease lives without being renewed. It follows the time
// of a short invocation: within one, whoever waits has to see a renewal, or
// outlast a lease that nobody renews any more.
func (h *hop) ttl() time.Duration {
	ttl := cmp.Or(h.project.Runner.TTL, aurora.DefaultTTL)
	if h.clock.limit > 0 {
		ttl = min(ttl, max(h.clock.limit/3, time.Second))
	}
	return ttl
}

// An outcome is what a run returned.
type outcome struct {
	execution aurora.Execution
	err       error
}

func (h *hop) runOnce(ctx context.Context, req aurora.Request, before sight) (Response, error) {
	f := &flight{Store: h.project.Runner.Store, History: h.history, id: req.ExecutionID, seen: before}
	if before.found {
		f.foreign = func(latest []aurora.Revision) error { return h.foreign(before, latest) }
	}
	r := h.project.Runner
	r.TTL = h.ttl()
	r.Store, r.Holder, r.PauseBefore = f.store(), h.me, h.clock.pause
	r.LockTimeout = cmp.Or(r.LockTimeout, defaultLockTimeout)
	r.Report = func(e aurora.Event) { h.report(e, h.project.Runner.Report) }
	running, cancel := ctx, context.CancelFunc(func() {})
	if !h.clock.cancel.IsZero() {
		running, cancel = context.WithDeadline(ctx, h.clock.cancel)
	}
	defer cancel()
	done := make(chan outcome, 1)
	go func() {
		o := outcome{err: errors.New("a step ended its goroutine (runtime.Goexit)")}
		defer func() { done <- o }()
		o.execution, o.err = r.Run(running, req)
	}()
	late, stop := after(h.clock.abandon)
	defer stop()
	select {
	case o := <-done:
		return h.finish(ctx, before, o, req)
	case <-late:
		return h.abandon(ctx, before, f, req)
	}
}

// report passes an event on and notes what matters here.
func (h *hop) report(e aurora.Event, next func(aurora.Event)) {
	h.mu.Lock()
	switch {
	case e.Revision != nil:
		h.waiting = h.waiting || e.Revision.Activity != ""
		if h.last = nil; e.Revision.State != aurora.Completed {
			h.last = e.Revision
		}
		h.log.Debug("revision", "migration", e.Revision.ID(), "state", e.Revision.State, "done", e.Revision.Done, "activity", e.Revision.Activity)
	case e.Waiting != nil:
		h.log.Info("waiting for the lock", "holder", e.Waiting.Holder.String())
	case e.Plan != nil:
		h.log.Info("running", "migrations", len(e.Plan.Items), "direction", e.Plan.Direction)
	}
	h.mu.Unlock()
	if next != nil {
		next(e)
	}
}

// finish turns how a run ended into the answer.
func (h *hop) finish(ctx context.Context, before sight, o outcome, req aurora.Request) (Response, error) {
	err := o.err
	switch {
	case err == nil:
		res := h.response(merge(before.execution, o.execution))
		h.log.Info("done", "migrations", len(res.Revisions))
		return res, nil
	case errors.Is(err, errMoved), errors.Is(err, errBusy):
		return Response{}, err
	case errors.Is(err, aurora.ErrPaused), errors.Is(err, aurora.ErrInterrupted) && h.isLate(ctx):
	default:
		h.log.Error("failed", "err", err)
		return Response{}, fmt.Errorf("execution %s: %w", req.ExecutionID, err)
	}
	now, err := h.lookAgain(ctx)
	if err != nil {
		return Response{}, err
	}
	idle := h.idle(before, now)
	switch {
	case idle >= maxIdle:
		err = h.end(ctx, now, req, h.stuck(now, false))
	case h.isLast():
		err = h.end(ctx, now, req, &LimitError{req.ExecutionID, h.event.Hop + 1})
	default:
		err = h.handOver(ctx, now, idle)
	}
	if err != nil {
		return Response{}, err
	}
	res := h.response(merge(now.execution, o.execution))
	res.State, res.Continued = aurora.Paused, true
	return res, nil
}

// isLast reports whether no other invocation may follow.
func (h *hop) isLast() bool { return h.event.Hop >= h.maxHops-1 }

// isLate reports whether it was this handler that ended the steps' context.
func (h *hop) isLate(ctx context.Context) bool {
	return !h.clock.cancel.IsZero() && !h.handler.now().Before(h.clock.cancel) && ctx.Err() == nil
}

// lookAgain reads what the history has after a run. Much hangs on it.
func (h *hop) lookAgain(ctx context.Context) (s sight, err error) {
	for range 3 {
		if s, err = look(ctx, h.history, h.event.ExecutionID); err == nil {
			break
		}
	}
	return s, err
}

// idle returns how many invocations in a row got no further, with this one.
// Waiting for the database to build an index is not idleness, nor is having had
// no time to begin anything.
func (h *hop) idle(before, now sight) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.waiting, before.reached() != now.reached():
		return 0
	case h.last == nil:
		return h.event.Idle
	}
	return h.event.Idle + 1
}

// handOver asks for the next invocation. It counts only while nobody writes
// after what this one has written.
func (h *hop) handOver(ctx context.Context, now sight, idle int) error {
	next := h.event
	next.Hop, next.After, next.Idle = h.event.Hop+1, now.newest.Token, idle
	if !h.clock.last.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, h.clock.last)
		defer cancel()
	}
	if err := h.handler.next(ctx, next); err != nil {
		h.log.Error("cannot go on in another invocation", "err", err)
		return &ContinueError{next.ExecutionID, err}
	}
	h.log.Info("goes on in another invocation", "after", next.After, "idle", idle)
	return nil
}

// stuck describes the step that gets no further.
func (h *hop) stuck(s sight, deaf bool) *StuckError {
	at := s.newest
	h.mu.Lock()
	if h.last != nil {
		at = *h.last
	}
	h.mu.Unlock()
	e := &StuckError{ExecutionID: h.event.ExecutionID, Migration: at.ID(), Limit: h.clock.limit, Deaf: deaf}
	for _, m := range h.project.Runner.Migrations {
		if steps := m.Steps(at.Direction); m.Version == at.Version && at.Done < len(steps) {
			e.Step = steps[at.Done].String()
		}
	}
	const most = 200
	if len(e.Step) > most {
		e.Step = e.Step[:most] + "…"
	}
	return e
}

// end writes into the history that the execution is over, and returns why.
func (h *hop) end(ctx context.Context, now sight, req aurora.Request, reason error) error {
	h.log.Error("the execution ends here", "err", reason)
	f := &flight{Store: h.project.Runner.Store, History: h.history, id: req.ExecutionID, seen: now}
	lease, err := f.Acquire(ctx, h.me, h.ttl())
	if err != nil {
		return errors.Join(reason, fmt.Errorf("record that the execution is over: %w", err))
	}
	_, err = h.record(ctx, lease, now, req, aurora.Failed, reason)
	return errors.Join(reason, err, lease.Release(ctx))
}

// record writes how the execution ended into its unfinished revision, or into
// one of the migration that would have been next, and returns the newest one.
func (h *hop) record(ctx context.Context, lease aurora.Lease, now sight, req aurora.Request, state aurora.State, reason error) (aurora.Revision, error) {
	rev := now.newest
	if now.found && rev.State != aurora.Completed {
		// What it printed is saved with it, and lists leave that out.
		whole, err := h.history.Revision(ctx, rev.ExecutionID, rev.Version)
		if err != nil {
			return now.newest, fmt.Errorf("record that the execution is over: %w", err)
		}
		rev.Description, rev.Output, rev.OutputDropped = whole.Description, whole.Output, whole.OutputDropped
	} else {
		plan, err := h.project.Runner.Plan(ctx, req)
		if err != nil || len(plan.Items) == 0 {
			return now.newest, err
		}
		rev = plan.Items[0].Revision
		rev.ExecutionID, rev.Seq, rev.StartedAt = req.ExecutionID, 1, time.Now()
		rev.Operator = cmp.Or(rev.Operator, h.project.Runner.Operator)
	}
	rev.Holder, rev.Token = h.me, lease.Token()
	rev.State, rev.Error, rev.ErrorStep, rev.FinishedAt = state, reason.Error(), "", time.Now()
	if err := lease.Save(ctx, rev); err != nil {
		return now.newest, fmt.Errorf("record that the execution is over: %w", err)
	}
	return rev, nil
}

// abandon leaves a step behind that heeds nothing: it records where things
// stand, hands over if the execution gets on, and panics, so that the process
// and with it the step ends before Lambda kills both without a word. The lease
// stays: the step is at work until the process has ended, and only then does
// nobody renew it any more.
func (h *hop) abandon(ctx context.Context, before sight, f *flight, req aurora.Request) (Response, error) {
	now, err := h.lookAgain(ctx)
	if err != nil {
		panic(fmt.Errorf("a step does not stop, and the history cannot be read: %w", err))
	}
	idle, stuck := h.idle(before, now), h.stuck(now, true)
	stuck.Moved = before.reached() != now.reached()
	lease := f.held()
	if lease == nil || !now.found {
		panic(stuck)
	}
	state, reason := aurora.Interrupted, error(stuck)
	switch {
	case idle >= maxIdle:
		state = aurora.Failed
	case h.isLast():
		state, reason = aurora.Failed, &LimitError{req.ExecutionID, h.event.Hop + 1}
	}
	now.newest, err = h.record(ctx, lease, now, req, state, reason)
	h.log.Error("a step does not stop, so the process ends", "err", errors.Join(reason, err))
	if err == nil && state != aurora.Failed {
		// A failure shows in the log; Lambda delivers this event again anyway.
		_ = h.handOver(ctx, now, idle)
	}
	panic(reason)
}

// skipped is the answer of an event that did nothing.
func (h *hop) skipped(s sight, why string) Response {
	h.log.Info("nothing to do", "why", why)
	e := s.execution
	if !s.found {
		e = aurora.Execution{ID: h.event.ExecutionID, Direction: cmp.Or(h.event.Direction, aurora.Up), State: aurora.Running, Holder: h.me, StartedAt: time.Now()}
	}
	res := h.response(e)
	res.Skipped = why
	return res
}

// response leaves out what makes an execution too long for an answer.
func (h *hop) response(e aurora.Execution) Response {
	slim := make([]aurora.Revision, len(e.Revisions))
	for i, r := range e.Revisions {
		r.Description, r.Output, r.Checkpoint, r.Hashes = "", "", nil, nil
		slim[i] = r
	}
	e.Revisions = slim
	return Response{Execution: e, Hop: h.event.Hop}
}

// merge adds to what the history had what a run did.
func merge(before, now aurora.Execution) aurora.Execution {
	out := now
	out.Revisions = nil
	fresh := make(map[string]bool, len(now.Revisions))
	for _, r := range now.Revisions {
		fresh[r.Version] = true
	}
	for _, r := range before.Revisions {
		if !fresh[r.Version] {
			out.Revisions = append(out.Revisions, r)
		}
	}
	if len(before.Revisions) > 0 {
		out.StartedAt = before.StartedAt
	}
	out.Revisions = append(out.Revisions, now.Revisions...)
	return out
}

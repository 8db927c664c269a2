package dashboard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aurora-migrate/aurora"
)

// maxReason is how long a reason may be, in bytes.
const maxReason = 4000

// pendingStart is how long a run that was asked for elsewhere may take to show
// in the history before another can be asked for.
const pendingStart = time.Minute

type startRequest struct {
	Target       string        `json:"target"`
	Steps        int           `json:"steps"`
	ExpectedHead string        `json:"expectedHead"`
	Reason       string        `json:"reason"`
	Confirm      string        `json:"confirm"`
	Unsure       aurora.Unsure `json:"unsure"`
}

// A started is the last run that this handler asked for.
type started struct {
	request aurora.Request
	at      time.Time
}

func (s *server) postRollback(w http.ResponseWriter, r *http.Request) error {
	return s.post(w, r, aurora.Down)
}

func (s *server) postUp(w http.ResponseWriter, r *http.Request) error {
	return s.post(w, r, aurora.Up)
}

// post checks what was asked for against the history as it is now, and hands
// it to the starter. One request at a time does so.
func (s *server) post(w http.ResponseWriter, r *http.Request, d aurora.Direction) error {
	if why := s.readOnly(); why != "" {
		return problemf(http.StatusConflict, "read_only", "%s", why)
	}
	var in startRequest
	if err := decode(w, r, &in); err != nil {
		return err
	}
	who, err := s.caller(r)
	if err != nil {
		return err
	}
	if len(in.Reason) > maxReason {
		return problemf(http.StatusUnprocessableEntity, "reason_too_long", "The reason is longer than %d bytes.", maxReason)
	}
	select {
	case s.starting <- struct{}{}:
		defer func() { <-s.starting }()
	case <-r.Context().Done():
		return context.Cause(r.Context())
	}
	snap, err := s.snapshot(r.Context(), 0)
	if err != nil {
		return err
	}
	p, err := s.checkStart(snap, d, in)
	if err != nil {
		return err
	}
	req := p.request
	req.ExecutionID = aurora.NewExecutionID()
	req.By, req.Reason = cmp.Or(who.name, s.cfg.User), strings.TrimSpace(in.Reason)
	// Who gets the lease before this run does must not have run anything.
	req.ExpectedHead = snap.head
	s.log.Info("starting a run", "direction", string(d), "target", req.To, "execution", req.ExecutionID, "by", s.hide(req.By), "reason", s.hide(req.Reason))
	if err := s.cfg.Start(r.Context(), req); err != nil {
		if errors.Is(err, ErrBusy) {
			return s.busy(snap)
		}
		s.log.Warn("the run could not be started", "err", s.hide(err.Error()))
		return problemf(http.StatusBadGateway, "start_failed", "The run could not be started: %s", s.hide(err.Error()))
	}
	s.mu.Lock()
	s.started = &started{request: req, at: time.Now()}
	s.stale = true
	s.mu.Unlock()
	s.hub.wake()
	return reply(w, http.StatusAccepted, map[string]any{"executionId": req.ExecutionID, "direction": d, "run": s.run(snap)})
}

// checkStart refuses what must not run now.
func (s *server) checkStart(snap *snapshot, d aurora.Direction, in startRequest) (planned, error) {
	if run := s.run(snap); run != nil && run.isGoing() {
		return planned{}, s.busy(snap)
	}
	if in.ExpectedHead == "" && d == aurora.Down && s.cfg.Protected {
		return planned{}, problemf(http.StatusBadRequest, "bad_request", "expectedHead is missing: ask for the plan first.")
	}
	if in.ExpectedHead != "" && in.ExpectedHead != snap.head {
		return planned{}, moved(snap)
	}
	if snap.lock != nil {
		return planned{}, snap.lock
	}
	req := s.request(d)
	req.To, req.Steps, req.Unsure = in.Target, in.Steps, in.Unsure
	p := s.planned(snap, req)
	if p.err != nil {
		return p, p.err
	}
	if d == aurora.Up || !s.cfg.Protected {
		return p, nil
	}
	oldest := p.items[len(p.items)-1]
	if in.Confirm == "" || in.Confirm != oldest.id && in.Confirm != oldest.name() {
		return p, problemf(http.StatusUnprocessableEntity, "confirmation_required",
			"%s is protected. Type %s to roll back %s.", s.name(), oldest.id, plural(len(p.items), "migration")).with("confirm", oldest.id)
	}
	if strings.TrimSpace(in.Reason) == "" {
		return p, problemf(http.StatusUnprocessableEntity, "reason_required", "%s is protected: a rollback needs a reason.", s.name())
	}
	return p, nil
}

func (s *server) name() string {
	if s.cfg.Env != "" {
		return fmt.Sprintf("The environment %q", s.cfg.Env)
	}
	return "This environment"
}

func moved(snap *snapshot) *problem {
	p := problemf(http.StatusConflict, "head_moved", "Somebody else ran migrations since this was shown. Look at the plan again.")
	return p.with("head", snap.head)
}

func (s *server) busy(snap *snapshot) *problem {
	p := problemf(http.StatusConflict, "busy", "A run that was started here is still going on.")
	if run := s.run(snap); run != nil {
		p = p.with("run", run)
	}
	return p
}

func (r *runJSON) isGoing() bool {
	return r.State == runRequested || r.State == runWaiting || r.State == string(aurora.Running)
}

// The states of a run besides those of a revision.
const (
	runRequested = "requested" // accepted; nothing is in the history yet
	runWaiting   = "waiting"   // for the lock
)

// run describes what this handler started last, or nothing.
func (s *server) run(snap *snapshot) *runJSON {
	s.mu.Lock()
	last := s.started
	s.mu.Unlock()
	if s.cfg.Local != nil {
		return s.localRun()
	}
	if last == nil {
		return nil
	}
	out := s.runOf(last.request, last.at)
	first, token := true, int64(0)
	for _, e := range snap.entries {
		r := e.revision
		if r == nil || r.ExecutionID != out.ExecutionID {
			continue
		}
		if first || r.State != aurora.Completed {
			out.State = string(r.State)
		}
		if e.died {
			out.State = string(aurora.Interrupted)
		}
		first, token = false, max(token, r.Token)
		switch r.State {
		case aurora.Completed:
			out.Completed++
		case aurora.Running:
			out.Migration, out.Progress = e.id, s.progressOf(*r)
		default:
			out.Error = clip(s.hide(r.Error), maxListError)
		}
		if r.FinishedAt.After(out.EndedAt) {
			out.EndedAt = r.FinishedAt.UTC()
		}
	}
	switch {
	case first && time.Since(last.at) > pendingStart:
		out.State = string(aurora.Interrupted)
		out.Error = "Nothing of it is in the history. It may have had nothing to do, or it could not begin: look at the log of the function."
	case out.State == string(aurora.Completed) && last.holds(snap.lock, token):
		// Its next migration is about to begin.
		out.State, out.EndedAt = string(aurora.Running), time.Time{}
	case out.State == string(aurora.Running):
		out.EndedAt = time.Time{}
	}
	return &out
}

// holds reports whether the lock is that of the run, which has written with a
// token. A run that goes on in another process has another one, but says the
// same of who asked for it, and why.
func (st *started) holds(lock *aurora.LockedError, token int64) bool {
	if lock == nil || lock.Token == token {
		return lock != nil
	}
	h, req := lock.Holder, st.request
	return req.By+req.Reason != "" && h.By == req.By && h.Reason == req.Reason
}

func (s *server) runOf(req aurora.Request, at time.Time) runJSON {
	return runJSON{
		ExecutionID: req.ExecutionID, Direction: req.Direction, Target: req.To, Reason: s.hide(req.Reason), By: s.hide(req.By),
		State: runRequested, StartedAt: at.UTC(),
	}
}

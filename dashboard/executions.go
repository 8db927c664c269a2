package dashboard

import (
	"net/http"
	"strings"

	"github.com/aurora-migrate/aurora"
)

// Limits of one answer.
const (
	defaultExecutions = 20
	maxExecutions     = 100
	maxTimeline       = 500 // migrations of one execution
)

func (s *server) needHistory() error {
	if s.history == nil {
		return problemf(http.StatusNotFound, "not_found", "This store keeps no executions to look back on.")
	}
	return nil
}

func (s *server) getExecutions(w http.ResponseWriter, r *http.Request) error {
	if err := s.needHistory(); err != nil {
		return err
	}
	q := r.URL.Query()
	limit, err := limitOf(q, defaultExecutions, maxExecutions)
	if err != nil {
		return err
	}
	// It takes no snapshot: that is of all migrations, and tells nothing more.
	lock, err := s.locked(r.Context())
	if err != nil {
		return err
	}
	cursor := q.Get("cursor")
	page, next, err := s.history.Executions(r.Context(), cursor, limit)
	if err != nil {
		return cursorError(err, cursor)
	}
	for _, e := range page {
		if hasDied(e.Revisions, lock) {
			// It may have begun in between.
			if lock, err = s.locked(r.Context()); err != nil {
				return err
			}
			break
		}
	}
	out := struct {
		Executions []executionJSON `json:"executions"`
		Next       string          `json:"next"`
	}{Executions: make([]executionJSON, len(page)), Next: next}
	for i, e := range page {
		out.Executions[i] = s.executionOf(lock, e)
	}
	return reply(w, http.StatusOK, out)
}

// cursorError tells a cursor that the store did not make from other errors.
func cursorError(err error, cursor string) error {
	if cursor != "" && strings.Contains(err.Error(), "not a cursor") {
		return badCursor(cursor)
	}
	return err
}

func badCursor(cursor string) error {
	return problemf(http.StatusBadRequest, "bad_cursor", "Not a cursor: %q.", clip(cursor, 100))
}

func (s *server) getExecution(w http.ResponseWriter, r *http.Request) error {
	if err := s.needHistory(); err != nil {
		return err
	}
	snap, err := s.snapshot(r.Context(), historyAge)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	e, err := s.history.Execution(r.Context(), id)
	if err != nil {
		return err
	}
	lock, err := s.lockOver(r.Context(), snap.lock, e.Revisions)
	if err != nil {
		return err
	}
	out := struct {
		Execution  executionJSON `json:"execution"`
		Migrations []attemptJSON `json:"migrations"`
		Next       string        `json:"next"`
		Run        *runJSON      `json:"run,omitempty"`
	}{Execution: s.executionOf(lock, e), Migrations: []attemptJSON{}}
	revisions, next, err := pageOf(e.Revisions, r.URL.Query().Get("cursor"), maxTimeline)
	if err != nil {
		return err
	}
	out.Next = next
	for _, rev := range revisions {
		a := s.bareAttempt(lock, rev)
		a.Error = clip(a.Error, maxListError)
		a.ErrorStep = clip(a.ErrorStep, maxListError)
		a.OutputDropped, a.OutputTruncated = rev.OutputDropped, rev.OutputDropped > 0
		out.Migrations = append(out.Migrations, a)
	}
	if run := s.run(snap); run != nil && run.ExecutionID == id {
		out.Run = run
	}
	return reply(w, http.StatusOK, out)
}

// executionOf describes an execution without its migrations.
func (s *server) executionOf(lock *aurora.LockedError, e aurora.Execution) executionJSON {
	out := executionJSON{
		ID: e.ID, Direction: e.Direction, State: e.State, StartedAt: e.StartedAt.UTC(), EndedAt: e.EndedAt.UTC(),
		Holder: s.holderOf(e.Holder), Reason: s.hide(e.Holder.Reason),
	}
	if !e.EndedAt.IsZero() {
		out.DurationMs = between(e.StartedAt, e.EndedAt)
	}
	for i, r := range e.Revisions {
		if i == 0 {
			out.First, out.Operator = r.ID(), s.hide(r.Operator)
		}
		out.Last = r.ID()
		out.Counts.Total++
		died := s.locker != nil && isDead(r, lock)
		switch {
		case died:
			out.Counts.Interrupted++
			out.Died = true
		case r.State == aurora.Completed:
			out.Counts.Completed++
		case r.State == aurora.Failed:
			out.Counts.Failed++
		case r.State == aurora.Running:
			out.Counts.Running++
		case r.State == aurora.Paused:
			out.Counts.Paused++
		case r.State == aurora.Interrupted:
			out.Counts.Interrupted++
		}
		if r.Error != "" && out.Error == "" {
			out.Error, out.ErrorID = clip(s.hide(r.Error), maxListError), r.ID()
		}
	}
	return out
}

package dashboard

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/aurora-migrate/aurora"
)

// attemptOf describes a revision, whole, with as much of its statements as the
// budget has.
func (s *server) attemptOf(lock *aurora.LockedError, e entry, r aurora.Revision, budget *int) attemptJSON {
	a := s.bareAttempt(lock, r)
	a.ID, a.Version = e.id, e.version()
	a.Description = clip(s.hideInSource(r.Description), maxDescription)
	a.Checkpoint = s.checkpointOf(r.Checkpoint)
	a.Output, a.OutputDropped, a.OutputTruncated = s.hide(r.Output), r.OutputDropped, r.OutputDropped > 0
	m := e.migration
	if m == nil || r.Kind != aurora.Applied {
		return a
	}
	steps := m.Steps(r.Direction)
	a.StatementsFrom = "file"
	if r.Checksum != "" && m.Checksum != "" && r.Checksum != m.Checksum {
		a.StatementsFrom = "edited"
	}
	a.Statements = s.statementsOf(*m, r.Direction, textLimits{maxStatements, maxStatement, budget})
	failed := failedStep(r, steps)
	if failed >= 0 {
		a.ErrorIndex = &failed
	}
	for i := range a.Statements {
		st := &a.Statements[i]
		st.State = stateOfStep(i, failed, a.Died, r)
		if t, ok := s.timing(r.ExecutionID, r.Version, i); ok {
			st.StartedAt = t.start.UTC()
			if !t.end.IsZero() {
				st.DurationMs = between(t.start, t.end)
			}
		}
	}
	return a
}

// bareAttempt describes a revision without its long texts.
func (s *server) bareAttempt(lock *aurora.LockedError, r aurora.Revision) attemptJSON {
	a := attemptJSON{
		ID: r.ID(), Version: r.Version, Name: r.Name, ExecutionID: r.ExecutionID, Direction: r.Direction, State: r.State,
		Died: s.locker != nil && isDead(r, lock), Kind: r.Kind, Foreign: r.Foreign,
		StartedAt: r.StartedAt.UTC(), FinishedAt: r.FinishedAt.UTC(), Checksum: r.Checksum,
		Steps: r.Steps, Done: r.Done, Begun: r.Begun,
		Error: s.hide(r.Error), ErrorStep: s.hideInSource(r.ErrorStep), ErrorPos: r.ErrorPos,
		Holder: s.holderOf(r.Holder), Operator: s.hide(r.Operator), Reason: s.hide(r.Holder.Reason),
	}
	if !r.FinishedAt.IsZero() {
		a.DurationMs = between(r.StartedAt, r.FinishedAt)
	}
	if r.State == aurora.Running && !a.Died {
		a.Progress = s.progressOf(r)
	}
	return a
}

// checkpointOf hides secrets in a checkpoint. What is no longer JSON after that
// becomes a string.
func (s *server) checkpointOf(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return nil
	}
	text := s.hide(string(raw))
	if len(text) <= maxDescription && json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	quoted, err := json.Marshal(clip(text, maxDescription))
	if err != nil {
		return nil
	}
	return quoted
}

// failedStep returns the index of the step that failed, or -1. Where a
// transaction took back what was done, only the text and the place tell.
func failedStep(r aurora.Revision, steps []aurora.Step) int {
	if r.ErrorStep == "" && r.ErrorPos == "" {
		return -1
	}
	text, _, cut := strings.Cut(r.ErrorStep, " … (")
	fits := func(step aurora.Step) bool {
		t := step.String()
		return t == r.ErrorStep || cut && strings.HasPrefix(t, text)
	}
	if r.Done < len(steps) && fits(steps[r.Done]) {
		return r.Done
	}
	if r.ErrorPos != "" {
		if i := slices.IndexFunc(steps, func(step aurora.Step) bool {
			st, ok := step.(aurora.Statement)
			return ok && st.Pos() == r.ErrorPos
		}); i >= 0 {
			return i
		}
	}
	if r.ErrorStep == "" {
		return -1
	}
	return slices.IndexFunc(steps, fits)
}

func stateOfStep(i, failed int, died bool, r aurora.Revision) string {
	switch {
	case r.State == aurora.Completed || i < r.Done:
		return stepDone
	case i == failed:
		return stepFailed
	case i < failed:
		return stepUndone
	case i == r.Done && r.State == aurora.Running && !died:
		return stepRunning
	case i < r.Begun:
		return stepUnsure
	}
	return stepPending
}

// briefStatement is how many bytes of a statement are left when the budget of
// an answer is used up.
const briefStatement = 200

// textLimits bound the statements of one migration in an answer.
type textLimits struct {
	statements int
	text       int  // bytes of one
	budget     *int // bytes that the answer has left; shared, and never nil
}

// cut takes a text off the budget. Past that there are only beginnings, and
// when those are as much again, nothing.
func (l textLimits) cut(text string) (part string, isCut bool) {
	limit := l.text
	switch {
	case *l.budget <= -maxTexts:
		limit = 0
	case *l.budget <= 0:
		limit = min(limit, briefStatement)
	}
	if len(text) <= limit {
		*l.budget -= len(text)
		return text, false
	}
	*l.budget -= limit
	return clip(text, limit), true
}

// statementsOf describes the steps of one direction, as they are written and,
// where that differs, as they are sent.
func (s *server) statementsOf(m aurora.Migration, d aurora.Direction, l textLimits) []statementJSON {
	steps := m.Steps(d)
	out := make([]statementJSON, min(len(steps), l.statements))
	for i := range out {
		sql, cut := l.cut(s.hideInSource(steps[i].String()))
		st, isSQL := steps[i].(aurora.Statement)
		out[i] = statementJSON{Index: i, SQL: sql, Go: !isSQL, Truncated: cut}
		if isSQL {
			out[i].Pos = st.Pos()
		}
	}
	if _, ok := m.Statements(d); !ok || s.review == nil {
		return out
	}
	for _, rv := range s.review.Review(m, d) {
		if rv.Statement < 0 || rv.Statement >= len(out) {
			continue
		}
		st := &out[rv.Statement]
		if rv.SQL != "" {
			sent, cut := l.cut(s.hideInSource(rv.SQL))
			st.Sent, st.Changes, st.Truncated = sent, rv.Changes, st.Truncated || cut
		}
		if rv.Err != nil && st.Refused == "" {
			st.Refused = clip(s.hide(rv.Err.Error()), maxPlanText)
		}
	}
	return out
}

// progressOf is how far a running revision has come, as far as is known: what
// the run in this process reported, or what a backfill saved.
func (s *server) progressOf(r aurora.Revision) *progressJSON {
	if s.cfg.Local != nil {
		if p := s.cfg.Local.progress(r.ExecutionID, r.Version); p != nil {
			return p
		}
	}
	var saved struct {
		Backfills map[string]struct {
			Total int64 `json:"total"`
			Parts []struct {
				Visited int64 `json:"visited"`
			} `json:"parts"`
		} `json:"backfills"`
	}
	if !bytes.Contains(r.Checkpoint, []byte(`"backfills"`)) || json.Unmarshal(r.Checkpoint, &saved) != nil {
		return nil
	}
	var p progressJSON
	for _, b := range saved.Backfills {
		p.Total += b.Total
		for _, part := range b.Parts {
			p.Done += part.Visited
		}
	}
	if p.Done == 0 {
		return nil
	}
	s.hub.rate(r.ExecutionID+" "+r.Version, &p)
	return &p
}

package dsql

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aurora-migrate/aurora"
)

// waitFor waits for the jobs that a step needs.
func (r *stream) waitFor(ctx context.Context, st step) error {
	if len(r.jobs) == 0 {
		return nil
	}
	return r.wait(ctx, func(jb job) bool {
		for j := st.first; j < st.end; j++ {
			if jb.neededBy(r.unit.sent[j], r.unit.infos[j]) {
				return true
			}
		}
		return false
	})
}

// wait waits until the jobs in question have ended and the catalog says that
// their objects are valid. They are stored before that, so that a later run
// can go on waiting.
func (r *stream) wait(ctx context.Context, needed func(job) bool) error {
	defer func() { r.rev.Activity = "" }()
	for n := 0; slices.ContainsFunc(r.jobs, needed); n++ {
		if ctx.Err() != nil {
			return r.stopped(ctx, r.jobs[slices.IndexFunc(r.jobs, needed)])
		}
		if r.lease != nil && (r.dirty || r.before != nil) {
			if err := r.save(ctx); err != nil {
				return err
			}
		}
		states, err := pollJobs(ctx, r.ask, r.jobs)
		if ctx.Err() != nil {
			continue // it ended while the question was on its way
		}
		if err != nil {
			return err
		}
		running, err := r.settle(ctx, states, needed)
		if err != nil {
			return err
		}
		if len(running) == 0 {
			continue
		}
		r.rev.Activity = "waiting: " + strings.Join(running, "; ")
		r.tell()
		select {
		case <-ctx.Done():
			return r.stopped(ctx, r.jobs[slices.IndexFunc(r.jobs, needed)])
		case <-time.After(pollDelay(n)):
		}
	}
	return nil
}

// stopped puts the end of a wait beside the statement whose job goes on.
func (r *stream) stopped(ctx context.Context, j job) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, aurora.ErrLeaseLost) {
		return cause
	}
	return r.jobError(j.Step, cause, "the build goes on in the database; run the same command again to wait for it")
}

// settle takes note of the jobs that have ended, and returns what is to be
// said of those that are needed and have not. The error is that of the first
// statement whose job failed; it will run again.
func (r *stream) settle(ctx context.Context, states []jobState, needed func(job) bool) (running []string, err error) {
	var failed error
	at := len(r.unit.statements)
	var left []job
	for _, s := range states {
		if s.running() {
			left = append(left, s.job)
			if needed(s.job) {
				running = append(running, s.String())
			}
			continue
		}
		var bad *JobError
		switch err := settle(ctx, r.ask, s); {
		case err == nil:
			r.db.log.Debug("a job has ended", "job", s.String())
		case errors.As(err, &bad):
			r.undo(s.Step)
			if s.Step < at {
				at, failed = s.Step, r.jobError(s.Step, err, bad.Hint())
			}
		default:
			return nil, err
		}
	}
	if len(left) < len(r.jobs) {
		r.dirty = r.lease != nil
	}
	r.jobs = left
	return running, failed
}

func (r *stream) jobError(j int, err error, hint string) error {
	e := &aurora.StepError{Migration: r.unit.item.Migration.ID(), Version: r.unit.item.Migration.Version, Index: j, Hint: hint, Err: err}
	if j < len(r.unit.statements) {
		e.Step, e.Pos = r.unit.statements[j].SQL, r.unit.statements[j].Pos()
	}
	return e
}

// undo makes the next attempt run a statement again.
func (r *stream) undo(j int) {
	for _, st := range r.unit.steps {
		if j < st.first || j >= st.end || st.end > r.rev.Done {
			continue
		}
		if st.end == r.rev.Done {
			r.rev.Done, r.rev.Begun, r.rev.Hashes = st.first, st.first, r.rev.Hashes[:st.first:st.first]
			r.at = st.first
		} else {
			r.rev.Hashes = slices.Clone(r.rev.Hashes)
			r.rev.Hashes[st.end-1] = ""
		}
		r.dirty = r.lease != nil
	}
}

package dsql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgstore"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// apart runs a step in a transaction without its checkpoint. When the
// connection is lost meanwhile, the catalog tells what happened.
func (r *stream) apart(ctx context.Context, st step) error {
	r.announce(st)
	body := r.unit.queries(st)
	made, behind := r.jobsOf(st)
	s := r.db.newSeries()
	for {
		answers, err := r.fly(ctx, body, behind...)
		lost := errors.Is(err, pgstore.ErrConnection)
		if err != nil && !lost {
			return err
		}
		failed := err
		if !lost {
			failed = pgstore.First(answers[:len(body)], nil)
		}
		if again, err := r.clear(ctx, st, failed); err != nil {
			return err
		} else if again {
			continue
		}
		if failed == nil {
			r.jobs = append(r.jobs, made.answered(st, answers)...)
			r.advance(st)
			return nil
		}
		// What was in flight when the connection broke may have been done by now.
		if (lost || s.lost) && st.kind != harmlessStep && !isConflict(failed) {
			switch done, lerr := r.look(ctx, st, true); {
			case lerr != nil:
				return lerr
			case done:
				r.advance(st)
				return nil
			}
		}
		if s.again(ctx, failed) {
			continue
		}
		if lost {
			return err
		}
		r.rev.Begun = r.rev.Done
		return r.blame(st, answers[:len(body)], 0)
	}
}

// jobsMade are the jobs that a step makes, by the index of their statement
// within it.
type jobsMade map[int]*job

// jobsOf returns the jobs of a step and the queries that find out what they are
// about, which travel behind it.
func (r *stream) jobsOf(st step) (jobsMade, []pgstore.Query) {
	made := jobsMade{}
	var behind []pgstore.Query
	for j := st.first; j < st.end; j++ {
		if !makesJob(r.unit.infos[j]) {
			continue
		}
		jb := newJob(j, r.unit.sent[j], r.unit.infos[j], "")
		made[j-st.first] = &jb
		if r.unit.hasSettings(st) {
			continue // behind it, names may mean something else
		}
		sql, args := jb.locate()
		values := make([]any, len(args))
		for i, a := range args {
			values[i] = a
		}
		behind = append(behind, pgstore.NewQuery(sql, values...))
	}
	return made, behind
}

// answered fills in what the server said. Where looking for the job's object
// failed, the first poll does it.
func (made jobsMade) answered(st step, answers []pgstore.Answer) []job {
	var jobs []job
	located := st.end - st.first
	for i := range st.end - st.first {
		jb := made[i]
		if jb == nil {
			continue
		}
		if rows := answers[i].Rows; len(rows) == 1 && len(rows[0]) == 1 {
			jb.ID = string(rows[0][0])
		}
		jb.StartedAt = time.Now()
		if located < len(answers) && answers[located].Err == nil {
			jb.located(answers[located].Rows)
		}
		located++
		jobs = append(jobs, *jb)
	}
	return jobs
}

// within runs a step and saves the place in one transaction, so that both
// happen or neither. The save is also the guard: without the lease it fails,
// and the step with it.
func (r *stream) within(ctx context.Context, st step) error {
	before := r.rev
	s := r.db.newSeries()
	for {
		body, offset := r.transaction(st)
		answers, err := r.fly(ctx, body)
		r.rev = before
		lost := errors.Is(err, pgstore.ErrConnection)
		if err != nil && !lost {
			return err
		}
		failed := err
		if !lost {
			failed = pgstore.First(answers, nil)
		}
		save := len(body) - 2
		switch {
		case failed == nil:
			r.advance(st)
			r.dirty, r.stored = false, r.rev.Done
			return nil
		case isConflict(failed) && !s.lost:
		case lost, pgstore.IsLeaseLost(failed), s.lost:
			switch done, lerr := r.isSaved(ctx, st); {
			case lerr != nil:
				return lerr
			case done:
				r.advance(st)
				r.dirty, r.stored = false, r.rev.Done
				return nil
			case pgstore.IsLeaseLost(failed):
				return aurora.ErrLeaseLost
			}
		case isLimit(failed) && (answers[save].Err != nil || answers[save+1].Err != nil):
			r.db.log.Info("changes as much as a transaction may, so that its place is saved apart", "at", r.unit.statements[st.first].Pos())
			r.announce(st)
			if err := r.save(ctx); err != nil {
				return err
			}
			return r.apart(ctx, st)
		}
		if s.again(ctx, failed) {
			continue
		}
		if lost {
			return err
		}
		if answers[save].Err != nil {
			return fmt.Errorf("save the place in %s: %w", r.unit.item.Migration.ID(), answers[save].Err)
		}
		return r.blame(st, answers, offset)
	}
}

// transaction is a changing step with the save of the place behind it. offset
// is where its first statement stands.
func (r *stream) transaction(st step) (qs []pgstore.Query, offset int) {
	pending := r.dirty
	before := r.rev
	r.advance(st)
	save := r.db.store.SaveQuery(r.lease.Token(), r.current(false), false)
	save.SQL = r.db.store.SQL.SaveOnce
	r.rev, r.dirty = before, pending
	qs = r.unit.queries(st)
	if r.unit.infos[st.first].Kind == sqllex.Begin {
		last := len(qs) - 1
		return append(append(append([]pgstore.Query(nil), qs[:last]...), save), qs[last]), 0
	}
	qs = append([]pgstore.Query{pgstore.NewQuery("BEGIN")}, qs...)
	return append(qs, save, pgstore.NewQuery("COMMIT")), 1
}

// isSaved reads back whether the place behind a step is stored.
func (r *stream) isSaved(ctx context.Context, st step) (bool, error) {
	rows, err := r.ask(ctx, r.db.store.SQL.Place, r.db.store.Project, r.rev.ExecutionID, r.rev.Version)
	if err != nil {
		return false, fmt.Errorf("read back the place in %s: %w", r.unit.item.Migration.ID(), err)
	}
	if len(rows) == 0 {
		return false, nil
	}
	if aurora.State(rows[0][2]) == aurora.Completed {
		return true, nil
	}
	done, err := strconv.Atoi(string(rows[0][0]))
	if err != nil {
		return false, fmt.Errorf("read back the place in %s: %w", r.unit.item.Migration.ID(), err)
	}
	var hashes []string
	if err := json.Unmarshal(rows[0][1], &hashes); err != nil {
		return false, fmt.Errorf("read back the place in %s: %w", r.unit.item.Migration.ID(), err)
	}
	return done >= st.end && len(hashes) >= st.end && hashes[st.end-1] != "", nil
}

// happened decides about a step that may have run before an earlier process
// died. Nothing is looked up otherwise.
func (r *stream) happened(ctx context.Context, st step) (bool, error) {
	if st.first >= r.reach || st.kind == harmlessStep {
		return false, nil
	}
	if st.kind == changing && r.rev.Begun <= st.first {
		return false, nil // its place would be saved with it
	}
	done, err := r.look(ctx, st, st.kind != changing)
	if done {
		r.db.log.Info("already done by an earlier run, as the catalog shows", "at", r.unit.statements[st.first].Pos())
	}
	return done, err
}

// look asks the catalog whether a step has happened. A job that it made and
// that is still running is taken up.
func (r *stream) look(ctx context.Context, st step, catalog bool) (bool, error) {
	catalog = catalog && !r.unit.hasSettings(st)
	found, at := unknown, st.first
	for j := st.first; j < st.end && catalog; j++ {
		if st.end-st.first > 1 && kindOf(r.unit.infos[j]) != defining || r.unit.infos[j].Kind == sqllex.Begin {
			continue
		}
		var err error
		if found, err = look(ctx, r.ask, r.unit.sent[j], r.unit.infos[j]); err != nil {
			return false, err
		}
		at = j
	}
	switch {
	case found == building:
		jb, err := findJob(ctx, r.ask, at, r.unit.sent[at], r.unit.infos[at])
		if err != nil {
			return false, err
		}
		r.db.log.Info("goes on with the job of an earlier run", "at", r.unit.statements[at].Pos(), "job", jb.ID)
		r.jobs = append(r.jobs, jb)
		return true, nil
	case found == happened:
		return true, nil
	case found == missing, r.unit.item.Unsure == aurora.UnsureRerun:
		return false, nil
	case r.unit.item.Unsure == aurora.UnsureSkip:
		return true, nil
	}
	s := r.unit.statements[at]
	return false, &aurora.UnsureError{Migration: r.unit.item.Migration.ID(), Index: at, Step: s.SQL, Pos: s.Pos()}
}

// dropLeftover drops the invalid index that an earlier attempt at a step may
// have left.
func (r *stream) dropLeftover(ctx context.Context, st step) error {
	for j := st.first; j < st.end && !r.unit.hasSettings(st); j++ {
		if r.unit.item.Resumes || r.crashed || r.unit.infos[j].IfNotExists {
			if _, err := r.dropInvalid(ctx, j); err != nil {
				return err
			}
		}
	}
	return nil
}

// clear drops an invalid index in whose way the build of a step came, and
// reports whether it did.
func (r *stream) clear(ctx context.Context, st step, err error) (dropped bool, _ error) {
	if !pgstore.HasCode(err, "42P07") || r.unit.hasSettings(st) {
		return false, nil
	}
	for j := st.first; j < st.end; j++ {
		if dropped, err := r.dropInvalid(ctx, j); err != nil || dropped {
			return dropped, err
		}
	}
	return false, nil
}

// dropInvalid drops the invalid index in the place of the one that statement j
// makes, if it makes one.
func (r *stream) dropInvalid(ctx context.Context, j int) (dropped bool, err error) {
	if r.unit.infos[j].Kind != sqllex.CreateIndex || r.lease == nil {
		return false, nil
	}
	// Without the lease the index may be the next holder's.
	if err := r.lease.Renew(ctx); err != nil {
		return false, err
	}
	name, err := dropLeftover(ctx, r.ask, r.unit.sent[j], r.unit.infos[j])
	if err != nil || name == "" {
		return false, err
	}
	r.db.log.Warn("dropped the invalid index that a build which did not finish left behind", "index", name)
	return true, nil
}

// redo runs again what others behind it are done without: a job that failed.
func (r *stream) redo(ctx context.Context) error {
	for _, st := range r.unit.steps {
		if st.end > r.at || st.end > len(r.rev.Hashes) || r.rev.Hashes[st.end-1] != "" {
			continue
		}
		if err := r.dropLeftover(ctx, st); err != nil {
			return err
		}
		if st.kind == defining {
			switch done, err := r.look(ctx, st, true); {
			case err != nil:
				var asked *aurora.UnsureError
				if !errors.As(err, &asked) {
					return err
				}
				// It is known to have failed, and may be another statement now.
			case done:
				r.advance(st)
				continue
			}
		}
		if err := r.waitFor(ctx, st); err != nil {
			return err
		}
		if err := r.save(ctx); err != nil {
			return err
		}
		run := r.apart
		if st.kind == changing {
			run = r.within
		}
		if err := run(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

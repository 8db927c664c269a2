package dsql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgstore"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A stream runs migrations one step at a time, each in a round trip. The place
// is saved on the way: in the transaction of what changes rows, so that it
// happens exactly once, and in a transaction of its own in front of everything
// else, in the same flush.
//
// So a step may run although saving its announcement failed, if the process
// dies at that moment. What is stored then ends one step earlier than it
// should, which is why resuming looks at one step more than was announced. The
// first step of a migration is announced in the transaction that completes the
// migration before, or in a round trip of its own where there is none: if it
// may have run unannounced, there is an unfinished migration that says so.
type stream struct {
	db     *DB
	lease  *pgstore.Lease // nil where the history is elsewhere
	report func(aurora.Revision)

	unit *unit
	at   int // the first statement that is not done
	rev  aurora.Revision
	jobs []job
	// before is a migration that is done, and not yet saved as completed.
	before *aurora.Revision
	// dirty says that rev is not stored as it is. stored is the place that
	// certainly is.
	dirty  bool
	stored int
	// reach is how far an earlier process may have come: the statements below
	// it may have happened.
	reach int
	// crashed says that an earlier process died, and nothing has run since.
	crashed bool
}

// Stream runs items as the package comment describes.
func (db *DB) Stream(ctx context.Context, l aurora.Lease, items []aurora.Item, report func(aurora.Revision)) error {
	own, ok := l.(*pgstore.Lease)
	if !ok || !own.Of(db.store) {
		return errors.New("stream: the lease is not this database's")
	}
	units, err := db.newUnits(items)
	if err != nil {
		return db.store.Refuse(ctx, own, items, err, report)
	}
	r := &stream{db: db, lease: own, report: report}
	db.freshen()
	if _, err := db.store.Main.Lend(ctx); err != nil {
		return err
	}
	asItWas := false
	defer func() { db.store.Main.GiveBack(asItWas) }()
	for _, u := range units {
		r.begin(u)
		err := r.run(ctx)
		if err != nil {
			return r.fail(ctx, err)
		}
		r.complete()
		if u.settles {
			// The next migration begins with settings of its own.
			db.store.Main.Drop()
		}
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), pgstore.Grace)
	defer cancel()
	r.unit = nil
	if err := r.save(clean); err != nil {
		return err
	}
	asItWas = true
	return nil
}

// stored is what a revision's checkpoint holds.
type stored struct {
	Jobs []job `json:"jobs,omitempty"`
	// Ended says that the attempt ended in good order, so that nothing can have
	// run that the revision does not tell.
	Ended bool `json:"ended,omitempty"`
}

// begin takes up a unit where its revision says.
func (r *stream) begin(u *unit) {
	carried := r.crashed
	r.unit, r.rev, r.at, r.jobs, r.dirty, r.reach, r.crashed = u, u.item.Revision, 0, nil, false, 0, false
	r.stored = r.rev.Done
	if r.rev.StartedAt.IsZero() {
		r.rev.StartedAt = time.Now()
	}
	r.db.store.TakeOutput()
	for j, changes := range u.changes {
		if len(changes) > 0 {
			r.db.log.Debug("rewrote for Aurora DSQL", "at", u.statements[j].Pos(), "from", u.statements[j].SQL, "to", u.sent[j])
		}
	}
	switch {
	case u.item.Resumes:
		var p stored
		if r.rev.Checkpoint != nil && json.Unmarshal(r.rev.Checkpoint, &p) == nil && !p.Ended {
			r.crashed = true
		}
		r.jobs, r.reach = p.Jobs, r.rev.Begun
	case carried:
		r.crashed = true
	}
	if r.crashed {
		r.reach++
	}
	r.at = r.rev.Done
	for _, st := range u.steps {
		if st.first < r.at && r.at < st.end {
			r.at = st.first // another database does not take such blocks as a whole
		}
	}
}

// run does all steps of the unit, and waits for the jobs that they made.
func (r *stream) run(ctx context.Context) error {
	r.tell()
	u := r.unit
	if u.item.Resumes {
		r.db.store.Main.Drop() // the settings of its first part are brought back with the connection
	}
	if !u.item.Resumes {
		if err := r.check(ctx, u.item.Migration, u.checks); err != nil {
			return err
		}
	}
	if err := r.redo(ctx); err != nil {
		return err
	}
	announced := r.before != nil && !u.item.Resumes // with the completion of that one
	for _, st := range u.steps {
		if st.end <= r.at {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		done, err := r.happened(ctx, st)
		if err != nil {
			return err
		}
		if done {
			r.advance(st)
			continue
		}
		if err := r.waitFor(ctx, st); err != nil {
			return err
		}
		if err := r.dropLeftover(ctx, st); err != nil {
			return err
		}
		if !announced && st.kind == defining {
			r.announce(st)
			if err := r.save(ctx); err != nil {
				return err
			}
		}
		announced = true
		if err := r.step(ctx, st); err != nil {
			return err
		}
		r.tell()
	}
	return r.wait(ctx, func(job) bool { return true })
}

func (r *stream) step(ctx context.Context, st step) error {
	if st.kind != harmlessStep {
		r.crashed, r.reach = false, 0 // it had not happened, so nothing behind it has
	}
	if st.kind == changing && r.lease != nil {
		return r.within(ctx, st)
	}
	return r.apart(ctx, st)
}

// check makes sure that a migration's checks hold.
func (r *stream) check(ctx context.Context, m aurora.Migration, checks []pgstore.Query) error {
	if len(checks) == 0 {
		return nil
	}
	s := r.db.newSeries()
	for {
		answers, err := r.exchange(ctx, pgstore.Apart(checks...))
		failed := pgstore.First(answers, err)
		switch {
		case failed == nil:
			return nil
		case s.again(ctx, failed):
			continue
		case err != nil:
			return err
		}
		for i, a := range answers {
			if a.Err != nil {
				return pgstore.CheckError(m, i, a.Err)
			}
		}
	}
}

// announce says that a step is about to run.
func (r *stream) announce(st step) {
	if r.rev.Begun < st.end {
		r.rev.Begun, r.dirty = st.end, r.lease != nil
	}
}

// advance moves the place behind a step.
func (r *stream) advance(st step) {
	if st.end <= r.rev.Done { // done again
		r.rev.Hashes = slices.Clone(r.rev.Hashes)
	} else {
		r.rev.Done, r.rev.Begun = st.end, st.end
		r.rev.Hashes = r.rev.Hashes[:st.first:st.first]
		for len(r.rev.Hashes) < st.end {
			r.rev.Hashes = append(r.rev.Hashes, "")
		}
		r.at = st.end
	}
	for j := st.first; j < st.end; j++ {
		r.rev.Hashes[j] = aurora.StepHash(r.unit.statements[j])
	}
	r.dirty = r.lease != nil
}

// complete makes the unit's revision the one that is saved with what follows.
func (r *stream) complete() {
	done := r.rev
	done.End(aurora.Completed, nil, time.Now())
	done.Output, done.OutputDropped = r.db.store.TakeOutput()
	r.before, r.dirty = &done, false
	// Nothing of it had to run: the one behind may have begun, unannounced.
	r.crashed = r.crashed && r.reach > len(r.unit.statements)
}

// saves are what has to be stored, in one transaction: the end of the migration
// before and the place in this one.
func (r *stream) saves() []pgstore.Query {
	var qs []pgstore.Query
	add := func(rev aurora.Revision) {
		q := r.db.store.SaveQuery(r.lease.Token(), rev, false)
		q.SQL = r.db.store.SQL.SaveForward
		qs = append(qs, q)
	}
	if r.before != nil {
		add(*r.before)
	}
	if r.dirty {
		add(r.current(false))
	}
	return qs
}

// current is the revision as it is to be stored.
func (r *stream) current(ended bool) aurora.Revision {
	rev := r.rev
	rev.Checkpoint = nil
	if !ended || len(r.jobs) > 0 {
		// Names and numbers only.
		rev.Checkpoint, _ = json.Marshal(stored{Jobs: r.jobs, Ended: ended})
	}
	return rev
}

// saved takes the answers to saves. It returns an error that is a conflict or
// the connection's where the same again may help.
func (r *stream) saved(answers []pgstore.Answer) error {
	if err := pgstore.First(answers, nil); pgstore.IsLeaseLost(err) {
		return aurora.ErrLeaseLost
	} else if err != nil {
		return fmt.Errorf("save the place: %w", err)
	}
	if r.before != nil {
		done := *r.before
		done.Output = "" // in the history; here it would only pile up
		r.report(done)
		r.before = nil
		r.tell()
	}
	if r.dirty {
		r.dirty, r.stored = false, r.rev.Done
	}
	return nil
}

// tell reports the unit's revision, once the one before has been.
func (r *stream) tell() {
	if r.unit != nil && r.before == nil {
		r.report(r.rev)
	}
}

// save stores what has to be, in a round trip of its own.
func (r *stream) save(ctx context.Context) error {
	qs := r.saves()
	if len(qs) == 0 {
		return nil
	}
	s := r.db.newSeries()
	for {
		answers, err := r.exchange(ctx, pgstore.Together(qs...))
		if err == nil {
			err = r.saved(answers)
		}
		if err == nil || !s.again(ctx, err) {
			return err
		}
	}
}

// fly sends a step in one flush with what has to be saved before. Where saving
// lost against another transaction, it is stored before fly returns.
func (r *stream) fly(ctx context.Context, body []pgstore.Query, behind ...pgstore.Query) ([]pgstore.Answer, error) {
	// A step runs whatever becomes of the save in front of it, so nothing is
	// sent unless the lease is ours by our own clock, which is asked last: a new
	// connection takes its time.
	if err := r.refresh(ctx); err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if r.lease != nil && r.lease.IsOver() {
		return nil, aurora.ErrLeaseLost
	}
	groups := pgstore.Apart(behind...)
	groups = append([][]pgstore.Query{body}, groups...)
	saves := r.saves()
	if len(saves) > 0 {
		groups = append([][]pgstore.Query{saves}, groups...)
	}
	answers, err := r.exchange(ctx, groups)
	if err != nil {
		return nil, err
	}
	if len(saves) > 0 {
		if err = r.saved(answers[:len(saves)]); isConflict(err) {
			r.db.log.Debug("saving the place lost against another transaction", "err", err)
			clean, cancel := pgstore.Outlive(ctx, pgstore.Grace)
			defer cancel()
			err = r.save(clean)
		}
	}
	return answers[len(saves):], err
}

// fail stores how far the unit came, unless nothing more can be said of it.
func (r *stream) fail(ctx context.Context, err error) error {
	var asked *aurora.UnsureError
	if errors.As(err, &asked) || errors.Is(err, aurora.ErrLeaseLost) {
		return err
	}
	if r.before != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), pgstore.Grace)
		defer cancel()
		r.dirty = false
		if serr := r.save(clean); serr != nil {
			return errors.Join(err, serr)
		}
	}
	r.rev.Activity = ""
	rev := r.current(true)
	return r.db.store.Fail(ctx, r.lease, rev, r.stored, err, r.report)
}

// blame says which statement of a step failed. offset is where its first one
// stands among the answers.
func (r *stream) blame(st step, answers []pgstore.Answer, offset int) error {
	for i, a := range answers {
		if a.Err != nil {
			j := min(st.first+max(i-offset, 0), st.end-1)
			if r.unit.infos[j].Kind == sqllex.Commit && j > st.first {
				j-- // what the block deferred to its end
			}
			return r.unit.stepError(j, a.Err)
		}
	}
	return nil
}

package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgstore"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A loner runs one unit statement by statement and saves the place after
// each. Where PostgreSQL lets it, the place is saved in the statement's own
// transaction; where not, the statement is announced before it runs, and a
// later run looks whether it happened. A transaction of the migration's own is
// one such step: its place is saved right before its COMMIT.
type loner struct {
	db     *DB
	lease  *pgstore.Lease
	unit   *unit
	rev    aurora.Revision
	report func(aurora.Revision)
	// open says that the migration has a transaction open, before is the place
	// it began at.
	open   bool
	before aurora.Revision
}

func (db *DB) runAlone(ctx context.Context, l *pgstore.Lease, u unit, report func(aurora.Revision)) error {
	a := &loner{db: db, lease: l, unit: &u, rev: u.item.Revision, report: report}
	if a.rev.StartedAt.IsZero() {
		a.rev.StartedAt = time.Now()
	}
	db.store.TakeOutput()
	if u.deallocates {
		db.store.Main.SetPrepared(false)
	}
	if _, err := db.store.Main.Lend(ctx); err != nil {
		return err
	}
	asItWas := false
	defer func() { db.store.Main.GiveBack(asItWas) }()
	err := a.run(ctx)
	done := a.rev
	if err == nil {
		done.End(aurora.Completed, nil, time.Now())
		done.Output, done.OutputDropped = db.store.TakeOutput()
		err = a.saveAnyway(ctx, done)
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), pgstore.Grace)
	defer cancel()
	if err == nil {
		done.Output = "" // in the history; here it would only pile up
		report(done)
		asItWas = a.restore(clean) == nil
		return nil
	}
	if a.open {
		_, _ = db.store.Main.Run(clean, pgstore.Apart(pgstore.NewQuery("ROLLBACK")))
		a.rev = a.before
	}
	asItWas = a.restore(clean) == nil
	var asked *aurora.UnsureError
	if errors.As(err, &asked) {
		return err
	}
	return db.store.Fail(ctx, l, a.rev, pgstore.AnyPlace, err, report)
}

// saveAnyway saves what has certainly happened, also after an interrupt.
func (a *loner) saveAnyway(ctx context.Context, rev aurora.Revision) error {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), pgstore.Grace)
	defer cancel()
	return a.lease.Save(clean, rev)
}

// restore brings the session back to where every migration starts. Where that
// fails, the connection is given up.
func (a *loner) restore(ctx context.Context) error {
	qs := a.db.resetQueries(a.unit)
	if len(qs) == 0 {
		return nil
	}
	return pgstore.First(a.db.store.Main.Run(ctx, pgstore.Apart(qs...)))
}

func (a *loner) run(ctx context.Context) error {
	if err := a.start(ctx); err != nil {
		return err
	}
	for i := a.rev.Done; i < len(a.unit.statements); i++ {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		done, err := a.happened(ctx, i)
		switch kind := a.unit.infos[i].Kind; {
		case err != nil:
		case done:
			a.advance(i)
		case a.open || kind == sqllex.Begin:
			err = a.inOwnTransaction(ctx, i)
		case a.unit.infos[i].CannotRunInTransaction() || kind == sqllex.Call || kind == sqllex.Do ||
			kind == sqllex.Commit || kind == sqllex.Rollback || kind == sqllex.SetTransaction || kind == sqllex.SetLocal:
			err = a.apart(ctx, i)
		default:
			err = a.within(ctx, i)
		}
		if err != nil {
			return err
		}
		a.report(a.rev)
	}
	if a.open {
		last := len(a.unit.statements) - 1
		return a.unit.stepError(last, errors.New("the migration ends inside a transaction that it began; add COMMIT"))
	}
	return nil
}

// start says that the migration runs, and that its checks hold. One that goes
// on needs the settings that its first part made.
func (a *loner) start(ctx context.Context) error {
	a.report(a.rev)
	if a.unit.item.Resumes {
		return a.replaySettings(ctx)
	}
	if len(a.unit.checks) == 0 {
		return nil
	}
	answers, err := a.db.store.Main.Run(ctx, pgstore.Apart(a.unit.checks...))
	if err != nil {
		return err
	}
	for i, answer := range answers {
		if answer.Err != nil {
			return a.unit.checkError(i, answer.Err)
		}
	}
	return nil
}

// replaySettings runs again what earlier statements set for the session: they
// are done, but their session is gone.
func (a *loner) replaySettings(ctx context.Context) error {
	for _, i := range settingsAmong(a.unit.statements[:a.rev.Done], a.unit.infos) {
		if err := pgstore.First(a.db.store.Main.Run(ctx, pgstore.Apart(a.unit.query(i)))); err != nil {
			return a.unit.stepError(i, err)
		}
	}
	return nil
}

// settingsAmong returns which statements set something for the session.
func settingsAmong(statements []aurora.Statement, infos []sqllex.Info) []int {
	var out []int
	inTransaction := false
	for i, s := range statements {
		info := infos[i]
		switch info.Kind {
		case sqllex.Begin:
			inTransaction = true
		case sqllex.Commit, sqllex.Rollback:
			inTransaction = false
		}
		characteristics := info.Kind == sqllex.SetTransaction && sqllex.ContainsWord(s.SQL, "characteristics")
		isSetting := info.Kind == sqllex.Set || info.Kind == sqllex.Reset || info.Kind == sqllex.Load || characteristics ||
			info.Kind == sqllex.Select && sqllex.ContainsWord(s.SQL, "set_config")
		if isSetting && (!inTransaction || info.Kind != sqllex.Reset) {
			out = append(out, i)
		}
	}
	return out
}

// advance moves the place behind statement i.
func (a *loner) advance(i int) {
	a.rev.Done, a.rev.Begun = i+1, i+1
	a.rev.Hashes = append(a.rev.Hashes[:i:i], aurora.StepHash(a.unit.statements[i]))
}

// within runs statement i and saves the place in one transaction. The save is
// also the guard: without the lease it fails, and the statement with it.
func (a *loner) within(ctx context.Context, i int) error {
	before := a.rev
	a.advance(i)
	answers, err := a.exchange(ctx, pgstore.Together(
		pgstore.NewQuery("BEGIN"),
		a.unit.query(i),
		// Whatever role the migration has taken on, history is ours to write.
		pgstore.NewQuery("SET LOCAL SESSION AUTHORIZATION DEFAULT"),
		a.db.store.SaveQuery(a.lease.Token(), a.rev, false),
		pgstore.NewQuery("COMMIT")))
	if err == nil {
		err = a.blame(i, answers)
	}
	if err == nil {
		return nil
	}
	a.rev = before
	if a.db.store.Main.InTransaction() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), pgstore.Grace)
		defer cancel()
		_, _ = a.db.store.Main.Run(clean, pgstore.Apart(pgstore.NewQuery("ROLLBACK")))
	}
	return err
}

func (a *loner) blame(i int, answers []pgstore.Answer) error {
	for k, answer := range answers {
		switch {
		case answer.Err == nil:
			continue
		case pgstore.IsLeaseLost(answer.Err):
			return aurora.ErrLeaseLost
		case k == 1, k == len(answers)-1: // the statement, or what it deferred to the COMMIT
			return a.unit.stepError(i, answer.Err)
		}
		return fmt.Errorf("record %s: %w", a.unit.item.Migration.ID(), answer.Err)
	}
	return nil
}

// inOwnTransaction runs a statement of a transaction that the migration itself
// began. The place is saved in it, right before its COMMIT.
func (a *loner) inOwnTransaction(ctx context.Context, i int) (err error) {
	kind := a.unit.infos[i].Kind
	qs := []pgstore.Query{a.unit.query(i)}
	if !a.open {
		a.before = a.rev
		defer func() {
			if err != nil && !a.open {
				a.rev = a.before // BEGIN itself failed
			}
		}()
	}
	a.advance(i)
	if kind == sqllex.Commit {
		q := a.db.store.SaveQuery(a.lease.Token(), a.rev, false)
		q.SQL = a.db.store.SQL.SaveBare // it may be a snapshot that sees the lease as it was
		qs = []pgstore.Query{pgstore.NewQuery("SET LOCAL SESSION AUTHORIZATION DEFAULT"), q, qs[0]}
	}
	answers, err := a.exchange(ctx, pgstore.Together(qs...))
	if err != nil {
		return err
	}
	for _, answer := range answers {
		switch {
		case pgstore.IsLeaseLost(answer.Err):
			return aurora.ErrLeaseLost
		case answer.Err != nil:
			return a.unit.stepError(i, answer.Err)
		}
	}
	a.open = a.db.store.Main.InTransaction()
	if kind == sqllex.Rollback {
		return a.saveAnyway(ctx, a.rev)
	}
	return nil
}

// apart announces statement i, then runs it by itself.
func (a *loner) apart(ctx context.Context, i int) error {
	a.rev.Begun = i + 1
	if err := a.lease.Save(ctx, a.rev); err != nil {
		return err
	}
	if err := a.dropLeftover(ctx, a.unit.infos[i]); err != nil {
		return err
	}
	answers, err := a.exchange(ctx, pgstore.Apart(a.unit.query(i)))
	if err != nil {
		return err
	}
	if err := answers[0].Err; err != nil {
		a.rev.Begun = i
		// A failed concurrent build leaves an invalid index, which the next
		// attempt must not take for a finished one.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), pgstore.Grace)
		defer cancel()
		return errors.Join(a.unit.stepError(i, err), a.dropLeftover(clean, a.unit.infos[i]))
	}
	a.advance(i)
	return a.saveAnyway(ctx, a.rev)
}

// exchange sends queries on the statements' connection, and asks the server to
// cancel when ctx ends.
func (a *loner) exchange(ctx context.Context, groups [][]pgstore.Query) ([]pgstore.Answer, error) {
	conn := a.db.store.Main.Conn()
	if conn == nil {
		return nil, pgstore.ErrConnection
	}
	stop := pgstore.CancelOnDone(ctx, conn)
	defer stop()
	longer, cancel := pgstore.Outlive(ctx, pgstore.Grace)
	defer cancel()
	return a.db.store.Main.Run(longer, groups)
}

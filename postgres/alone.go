package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A loner runs one unit statement by statement and saves the place after
// each. Where PostgreSQL lets it, the place is saved in the statement's own
// transaction; where not, the statement is announced before it runs, and a
// later run looks whether it happened. A transaction of the migration's own is
// one such step: its place is saved right before its COMMIT.
type loner struct {
	db     *DB
	lease  *lease
	unit   *unit
	rev    aurora.Revision
	report func(aurora.Revision)
	// open says that the migration has a transaction open, before is the place
	// it began at.
	open   bool
	before aurora.Revision
}

func (db *DB) runAlone(ctx context.Context, l *lease, u unit, report func(aurora.Revision)) error {
	a := &loner{db: db, lease: l, unit: &u, rev: u.item.Revision, report: report}
	if a.rev.StartedAt.IsZero() {
		a.rev.StartedAt = time.Now()
	}
	db.takeOutput()
	if u.deallocates {
		db.main.forget()
	}
	if _, err := db.main.lend(ctx); err != nil {
		return err
	}
	asItWas := false
	defer func() { db.main.giveBack(asItWas) }()
	err := a.run(ctx)
	done := a.rev
	if err == nil {
		done.End(aurora.Completed, nil, time.Now())
		done.Output, done.OutputDropped = db.takeOutput()
		err = a.saveAnyway(ctx, done)
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err == nil {
		done.Output = "" // in the history; here it would only pile up
		report(done)
		asItWas = a.restore(clean) == nil
		return nil
	}
	if a.open {
		_, _ = db.main.run(clean, newQuery("ROLLBACK"))
		a.rev = a.before
	}
	asItWas = a.restore(clean) == nil
	var asked *aurora.UnsureError
	if errors.As(err, &asked) {
		return err
	}
	return db.fail(ctx, l, a.rev, err, report)
}

// saveAnyway saves what has certainly happened, also after an interrupt.
func (a *loner) saveAnyway(ctx context.Context, rev aurora.Revision) error {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
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
	return first(a.db.main.run(ctx, qs...))
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
	answers, err := a.db.main.run(ctx, a.unit.checks...)
	if err != nil {
		return err
	}
	for i, answer := range answers {
		if answer.err != nil {
			return a.unit.checkError(i, answer.err)
		}
	}
	return nil
}

// replaySettings runs again what earlier statements set for the session: they
// are done, but their session is gone.
func (a *loner) replaySettings(ctx context.Context) error {
	inTransaction := false
	for i := range a.rev.Done {
		s, info := a.unit.statements[i], a.unit.infos[i]
		switch info.Kind {
		case sqllex.Begin:
			inTransaction = true
		case sqllex.Commit, sqllex.Rollback:
			inTransaction = false
		}
		characteristics := info.Kind == sqllex.SetTransaction && sqllex.ContainsWord(s.SQL, "characteristics")
		isSetting := info.Kind == sqllex.Set || info.Kind == sqllex.Reset || info.Kind == sqllex.Load || characteristics ||
			info.Kind == sqllex.Select && sqllex.ContainsWord(s.SQL, "set_config")
		if !isSetting || inTransaction && info.Kind == sqllex.Reset {
			continue
		}
		if err := first(a.db.main.run(ctx, statementQuery(s))); err != nil {
			return a.unit.stepError(i, err)
		}
	}
	return nil
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
	answers, err := a.exchange(ctx, true,
		newQuery("BEGIN"),
		statementQuery(a.unit.statements[i]),
		// Whatever role the migration has taken on, history is ours to write.
		newQuery("SET LOCAL SESSION AUTHORIZATION DEFAULT"),
		a.db.saveQuery(a.lease.token, a.rev, false),
		newQuery("COMMIT"))
	if err == nil {
		err = a.blame(i, answers)
	}
	if err == nil {
		return nil
	}
	a.rev = before
	if a.db.main.inTransaction() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		_, _ = a.db.main.run(clean, newQuery("ROLLBACK"))
	}
	return err
}

func (a *loner) blame(i int, answers []answer) error {
	for k, answer := range answers {
		switch {
		case answer.err == nil:
			continue
		case isLeaseLost(answer.err):
			return aurora.ErrLeaseLost
		case k == 1, k == len(answers)-1: // the statement, or what it deferred to the COMMIT
			return a.unit.stepError(i, answer.err)
		}
		return fmt.Errorf("record %s: %w", a.unit.item.Migration.ID(), answer.err)
	}
	return nil
}

// inOwnTransaction runs a statement of a transaction that the migration itself
// began. The place is saved in it, right before its COMMIT.
func (a *loner) inOwnTransaction(ctx context.Context, i int) (err error) {
	s, kind := a.unit.statements[i], a.unit.infos[i].Kind
	qs := []query{statementQuery(s)}
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
		q := a.db.saveQuery(a.lease.token, a.rev, false)
		q.sql = a.db.sql.saveBare // it may be a snapshot that sees the lease as it was
		qs = []query{newQuery("SET LOCAL SESSION AUTHORIZATION DEFAULT"), q, qs[0]}
	}
	answers, err := a.exchange(ctx, true, qs...)
	if err != nil {
		return err
	}
	for _, answer := range answers {
		switch {
		case isLeaseLost(answer.err):
			return aurora.ErrLeaseLost
		case answer.err != nil:
			return a.unit.stepError(i, answer.err)
		}
	}
	a.open = a.db.main.inTransaction()
	if kind == sqllex.Rollback {
		return a.saveAnyway(ctx, a.rev)
	}
	return nil
}

// forget says that the prepared statements may be gone.
func (s *session) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepared = false
}

func (s *session) inTransaction() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn != nil && !s.conn.IsClosed() && s.conn.TxStatus() != 'I'
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
	answers, err := a.exchange(ctx, false, statementQuery(a.unit.statements[i]))
	if err != nil {
		return err
	}
	if err := answers[0].err; err != nil {
		a.rev.Begun = i
		// A failed concurrent build leaves an invalid index, which the next
		// attempt must not take for a finished one.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		return errors.Join(a.unit.stepError(i, err), a.dropLeftover(clean, a.unit.infos[i]))
	}
	a.advance(i)
	return a.saveAnyway(ctx, a.rev)
}

// exchange sends queries on the statements' connection, and asks the server to
// cancel when ctx ends.
func (a *loner) exchange(ctx context.Context, together bool, qs ...query) ([]answer, error) {
	a.db.main.mu.Lock()
	conn := a.db.main.conn
	a.db.main.mu.Unlock()
	if conn == nil || conn.IsClosed() {
		return nil, errConnection
	}
	stop := cancelOnDone(ctx, conn)
	defer stop()
	longer, cancel := outlive(ctx, grace)
	defer cancel()
	return a.db.main.send(longer, !together, true, qs)
}

// Exec runs one statement by itself, for runners whose history is elsewhere.
func (db *DB) Exec(ctx context.Context, s aurora.Statement) error {
	answers, err := db.main.run(ctx, statementQuery(s))
	if err != nil {
		return fmt.Errorf("%w: %w", aurora.ErrOutcomeUnknown, err)
	}
	var pgErr *pgconn.PgError
	if err := answers[0].err; errors.As(err, &pgErr) {
		return err
	}
	return nil
}

// Check returns an error unless the check holds.
func (db *DB) Check(ctx context.Context, c aurora.Check) error {
	u := unit{item: aurora.Item{Migration: aurora.Migration{Checks: []aurora.Check{c}}}}
	answers, err := db.main.run(ctx, checkQueries(c)...)
	if err != nil {
		return err
	}
	for i, a := range answers {
		if a.err != nil {
			return u.checkError(i, a.err)
		}
	}
	return nil
}

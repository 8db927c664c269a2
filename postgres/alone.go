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
// later run looks whether it happened.
type loner struct {
	db     *DB
	lease  *lease
	unit   *unit
	rev    aurora.Revision
	report func(aurora.Revision)
	// saved is the place before a transaction that the migration itself has
	// open: what a rollback falls back to.
	saved aurora.Revision
	open  bool
}

func (db *DB) runAlone(ctx context.Context, l *lease, u unit, report func(aurora.Revision)) error {
	a := &loner{db: db, lease: l, unit: &u, rev: u.item.Revision, report: report}
	if a.rev.StartedAt.IsZero() {
		a.rev.StartedAt = time.Now()
	}
	a.db.takeOutput()
	if u.deallocates {
		db.main.forget()
	}
	err := a.run(ctx)
	if err == nil {
		a.rev.End(aurora.Completed, nil, time.Now())
		a.rev.Output, a.rev.OutputDropped = db.takeOutput()
		if err = l.Save(ctx, a.rev); err == nil {
			report(a.rev)
			return nil
		}
	}
	if a.open {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_, _ = db.main.run(clean, newQuery("ROLLBACK"))
		a.rev = a.saved
	}
	var asked *aurora.UnsureError
	if errors.As(err, &asked) {
		return err
	}
	return db.fail(ctx, l, a.rev, err, report)
}

func (a *loner) run(ctx context.Context) error {
	if err := a.start(ctx); err != nil {
		return err
	}
	for i := a.rev.Done; i < len(a.unit.statements); i++ {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		info := a.unit.infos[i]
		done, err := a.happened(ctx, i)
		switch {
		case err != nil:
		case done:
			a.advance(i)
		case info.Kind == sqllex.Begin:
			err = a.begin(ctx, i)
		case info.CannotRunInTransaction() || info.Kind == sqllex.Call || info.Kind == sqllex.Do:
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
	if a.unit.resets {
		return first(a.db.main.run(ctx, a.db.resetQueries()...))
	}
	return nil
}

// start says that the migration runs, and that its checks hold.
func (a *loner) start(ctx context.Context) error {
	a.report(a.rev)
	if a.unit.item.Resumes || len(a.unit.checks) == 0 {
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

// advance moves the place behind statement i.
func (a *loner) advance(i int) {
	a.rev.Done, a.rev.Begun = i+1, i+1
	a.rev.Hashes = append(a.rev.Hashes[:i:i], aurora.StepHash(a.unit.statements[i]))
}

// within runs statement i and saves the place in one transaction.
func (a *loner) within(ctx context.Context, i int) error {
	before := a.rev
	a.advance(i)
	answers, err := a.exchange(ctx, true,
		newQuery(a.db.sql.guard, a.db.project, a.lease.token),
		query{sql: a.unit.statements[i].SQL},
		a.db.saveQuery(a.lease.token, a.rev, false))
	if err == nil {
		err = a.blame(i, answers)
	}
	if err != nil {
		a.rev = before
		return err
	}
	return a.follow(before)
}

// begin runs a BEGIN by itself: it changes nothing, and its isolation level
// wants it to be first.
func (a *loner) begin(ctx context.Context, i int) error {
	answers, err := a.exchange(ctx, false, query{sql: a.unit.statements[i].SQL})
	if err != nil {
		return err
	}
	if err := answers[0].err; err != nil {
		return a.unit.stepError(i, err)
	}
	before := a.rev
	a.advance(i)
	return a.follow(before)
}

// follow notices where the migration's own transactions begin and end.
func (a *loner) follow(before aurora.Revision) error {
	open := a.db.main.inTransaction()
	if open && !a.open {
		a.saved = before
	}
	a.open = open
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
	return s.conn != nil && s.conn.TxStatus() != 'I'
}

func (a *loner) blame(i int, answers []answer) error {
	for k, answer := range answers {
		switch {
		case answer.err == nil:
			continue
		case k == 0 && hasCode(answer.err, "22012"), isLeaseLost(answer.err):
			return aurora.ErrLeaseLost
		case k == 1:
			return a.unit.stepError(i, answer.err)
		}
		return fmt.Errorf("record %s: %w", a.unit.item.Migration.ID(), answer.err)
	}
	return nil
}

// apart announces statement i, then runs it by itself.
func (a *loner) apart(ctx context.Context, i int) error {
	if err := a.dropLeftover(ctx, a.unit.infos[i]); err != nil {
		return err
	}
	a.rev.Begun = i + 1
	if err := a.lease.Save(ctx, a.rev); err != nil {
		return err
	}
	answers, err := a.exchange(ctx, false, query{sql: a.unit.statements[i].SQL})
	if err != nil {
		return err
	}
	if err := answers[0].err; err != nil {
		a.rev.Begun = i
		// A failed concurrent build leaves an invalid index, which the next
		// attempt must not take for a finished one.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return errors.Join(a.unit.stepError(i, err), a.dropLeftover(clean, a.unit.infos[i]))
	}
	a.advance(i)
	return a.lease.Save(ctx, a.rev)
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
	return a.db.main.send(context.WithoutCancel(ctx), !together, qs)
}

// Exec runs one statement by itself, for runners whose history is elsewhere.
func (db *DB) Exec(ctx context.Context, s aurora.Statement) error {
	answers, err := db.main.run(ctx, query{sql: s.SQL})
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

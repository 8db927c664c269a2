package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
)

// Refuse records that a migration failed before anything ran.
func (s *Store) Refuse(ctx context.Context, l *Lease, items []aurora.Item, err error, report func(aurora.Revision)) error {
	var step *aurora.StepError
	if !errors.As(err, &step) {
		return err
	}
	for _, item := range items {
		if item.Migration.Version == step.Version {
			return s.Fail(ctx, l, item.Revision, AnyPlace, err, report)
		}
	}
	return err
}

// AnyPlace is for [Store.Fail] where nothing can be in flight.
const AnyPlace = math.MaxInt32

// Fail stores the revision of a migration that did not complete, unless it
// was the lease or the connection that failed. It returns err, with what else
// went wrong. stored is the place that is known to be in the history: a
// revision that has got further, through what was in flight when a connection
// broke, is left as it is.
func (s *Store) Fail(ctx context.Context, l *Lease, rev aurora.Revision, stored int, err error, report func(aurora.Revision)) error {
	state := aurora.Failed
	switch {
	case errors.Is(err, aurora.ErrLeaseLost), errors.Is(context.Cause(ctx), aurora.ErrLeaseLost):
		return err
	case errors.Is(context.Cause(ctx), aurora.ErrPaused):
		state = aurora.Paused
	case ctx.Err() != nil:
		state = aurora.Interrupted
	}
	now := time.Now()
	if rev.StartedAt.IsZero() {
		rev.StartedAt = now
	}
	rev.End(state, err, now)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		if pgErr.Detail != "" {
			rev.Error += "\nDETAIL: " + pgErr.Detail
		}
		if pgErr.Hint != "" {
			rev.Error += "\nHINT: " + pgErr.Hint
		}
	}
	rev.Output, rev.OutputDropped = s.TakeOutput()
	report(rev)
	if errors.Is(err, ErrConnection) {
		return err
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), Grace)
	defer cancel()
	// A completed revision is never overwritten: what the database says it did,
	// it did.
	q := s.SaveQuery(l.token, rev, false)
	q.SQL = s.SQL.saveFailure(stored)
	serr := First(s.History(clean, Together(q)))
	if IsLeaseLost(serr) {
		serr = aurora.ErrLeaseLost
	}
	if serr != nil {
		return errors.Join(err, fmt.Errorf("record the failure of %s: %w", rev.ID(), serr))
	}
	return err
}

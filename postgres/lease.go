package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
)

type lease struct {
	db    *DB
	token int64
	ttl   time.Duration
}

// Acquire takes the project's lease, creating the tables on first use.
func (db *DB) Acquire(ctx context.Context, holder aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	who, err := json.Marshal(holder)
	if err != nil {
		return nil, fmt.Errorf("encode the holder: %w", err)
	}
	// An interrupt in the middle must not leave the lease taken.
	asking, cancel := outlive(ctx, grace)
	defer cancel()
	for try := 0; ; try++ {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var qs []query
		if try == 0 {
			qs = db.bootstrapQueries()
		}
		created := len(qs)
		qs = append(qs,
			// A row lock is only ever held for the instant of a commit; if it
			// lasts, its holder is stuck, and waiting for it would be too.
			newQuery(`SET lock_timeout = '500ms'`),
			newQuery(db.sql.evict, db.project),
			newQuery(db.sql.acquire, db.project, string(who), ttl.Microseconds(), db.mark),
			newQuery(db.sql.lease, db.project),
			newQuery(`RESET lock_timeout`),
			db.settings(),
			newQuery(db.sql.evict, db.project))
		answers, err := db.main.send(asking, true, false, qs)
		if err != nil {
			return nil, err
		}
		took, holds := answers[created+2], answers[created+3]
		switch {
		case isMissing(took.err) && try == 0:
			if err := db.bootstrap(asking); err != nil {
				return nil, err
			}
		case took.err == nil && len(took.rows) == 1:
			token, err := strconv.ParseInt(string(took.rows[0][0]), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("read the lease's token: %w", err)
			}
			if set := answers[created+5]; set.err != nil {
				db.log.Warn("could not set up the session", "err", set.err)
			}
			l := &lease{db, token, ttl}
			db.main.whole()
			if ctx.Err() != nil {
				return nil, errors.Join(context.Cause(ctx), l.Release(asking))
			}
			db.main.prepare(db.settings())
			db.side.prepare(db.settings())
			return l, nil
		case took.err != nil && !hasCode(took.err, "55P03", "40001"):
			return nil, fmt.Errorf("take the lease in schema %s: %w", db.schema, took.err)
		case holds.err != nil:
			return nil, fmt.Errorf("read the lease in schema %s: %w", db.schema, holds.err)
		case len(holds.rows) == 1:
			return nil, locked(holds.rows[0])
		case try >= 10:
			return nil, &aurora.LockedError{}
		}
	}
}

func locked(row [][]byte) *aurora.LockedError {
	e := &aurora.LockedError{ExpiresAt: micros(row[2])}
	e.Token, _ = strconv.ParseInt(string(row[0]), 10, 64)
	_ = json.Unmarshal(row[1], &e.Holder) // an unreadable holder is an unknown one
	return e
}

// Locked returns who holds the lease, or nil.
func (db *DB) Locked(ctx context.Context) (*aurora.LockedError, error) {
	rows, err := db.read(ctx, newQuery(db.sql.lease, db.project))
	if err != nil {
		return nil, fmt.Errorf("read the lease in schema %s: %w", db.schema, err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return locked(rows[0]), nil
}

// Break ends the lease with that token.
func (db *DB) Break(ctx context.Context, token int64) error {
	rows, err := db.read(ctx, newQuery(db.sql.breakLease, db.project, token))
	if err != nil {
		return fmt.Errorf("break the lease in schema %s: %w", db.schema, err)
	}
	if len(rows) == 0 {
		return fmt.Errorf("lease %d: %w", token, aurora.ErrNotFound)
	}
	return nil
}

func (l *lease) Token() int64 { return l.token }

// Save writes revisions in one transaction and one round trip.
func (l *lease) Save(ctx context.Context, revisions ...aurora.Revision) error {
	if len(revisions) == 0 {
		return nil
	}
	qs := make([]query, len(revisions))
	for i, r := range revisions {
		qs[i] = l.db.saveQuery(l.token, r, false)
	}
	err := first(l.db.history(ctx, false, qs...))
	if isLeaseLost(err) {
		return aurora.ErrLeaseLost
	}
	return err
}

// isLeaseLost reports that a save found no token.
func isLeaseLost(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "23502" && pgErr.ColumnName == "token" && pgErr.TableName == "aurora_revisions"
}

// Renew uses a connection of its own, because statements may keep the other
// one busy for hours.
func (l *lease) Renew(ctx context.Context) error {
	answers, err := l.db.side.again(ctx, true, []query{newQuery(l.db.sql.renew, l.db.project, l.token, l.ttl.Microseconds())})
	if err := first(answers, err); err != nil {
		return fmt.Errorf("renew the lease: %w", err)
	}
	if len(answers[0].rows) == 0 {
		return aurora.ErrLeaseLost
	}
	return nil
}

// Release ends the lease if it is still ours.
func (l *lease) Release(ctx context.Context) error {
	// The server may still be at work on what a broken connection had in
	// flight: then the next holder has to end that session first.
	q := newQuery(l.db.sql.release, l.db.project, l.token, l.db.main.isWhole())
	if err := first(l.db.history(ctx, true, q)); err != nil {
		return fmt.Errorf("release the lease: %w", err)
	}
	return nil
}

// whole forgets that the connection ever broke.
func (s *session) whole() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broke = false
}

// isWhole reports whether nothing of this lease can still be in flight.
func (s *session) isWhole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.broke
}

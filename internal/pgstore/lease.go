package pgstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/aurora-migrate/aurora"
)

// A Lease is the right to run on a store, with its token.
type Lease struct {
	store *Store
	token int64
	ttl   time.Duration

	mu sync.Mutex
	// trusted is when it ends by this process's clock, if it is not renewed:
	// counted from before it was asked for, and so too soon rather than too late.
	trusted time.Time
	// kept is the revision that was saved last, if it was one alone.
	kept aurora.Revision
}

// IsOver reports that the lease has ended by this process's clock. It is for
// who was stopped for long and woke up before anybody could say so.
func (l *Lease) IsOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	// A process may also have slept together with the clock that counts, when
	// only the time of day goes on.
	return now.After(l.trusted) || now.Round(0).After(l.trusted.Round(0))
}

func (l *Lease) trust(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trusted = until
}

// Of reports whether the lease is one of that store.
func (l *Lease) Of(s *Store) bool { return l.store == s }

// lockTries bounds how often Acquire looks again after it lost against
// somebody who does not hold the lease either.
const lockTries = 10

// Acquire takes the project's lease, creating the tables on first use.
func (s *Store) Acquire(ctx context.Context, holder aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	nonce := ""
	if s.Dialect.Conflicts.Tries > 0 {
		nonce = rand.Text() // when the connection is lost, it tells whether the lease is ours
	}
	who, err := json.Marshal(struct {
		aurora.Holder
		Nonce string `json:"nonce,omitempty"`
	}{holder, nonce})
	if err != nil {
		return nil, fmt.Errorf("encode the holder: %w", err)
	}
	// An interrupt in the middle must not leave the lease taken.
	asking, cancel := Outlive(ctx, Grace)
	defer cancel()
	started, created := time.Now(), false
	for try := 0; ; try++ {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		asked := time.Now()
		a, err := s.askForLease(asking, string(who), ttl, try == 0)
		if errors.Is(err, ErrConnection) && s.Dialect.Conflicts.Wait(ctx, try, started) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if a.took.Err == nil {
			s.haveTables()
		}
		switch {
		case nonce != "" && len(a.holds.Rows) == 1 && bytes.Equal(a.holds.Rows[0][1], who) && len(a.took.Rows) == 0:
			a.took.Rows = a.holds.Rows // an earlier try took it after all
			return s.leaseTaken(ctx, asking, a, ttl, started)
		case (IsMissing(a.took.Err) || IsMissing(a.holds.Err)) && !created:
			created = true
			if err := s.bootstrap(asking); err != nil {
				return nil, err
			}
		case a.took.Err == nil && len(a.took.Rows) == 1:
			return s.leaseTaken(ctx, asking, a, ttl, asked)
		case a.took.Err != nil && !HasCode(a.took.Err, "55P03") && !IsConflict(a.took.Err):
			return nil, fmt.Errorf("take the lease in schema %s: %w", s.Schema, a.took.Err)
		case a.holds.Err != nil && !IsConflict(a.holds.Err):
			return nil, fmt.Errorf("read the lease in schema %s: %w", s.Schema, a.holds.Err)
		case len(a.holds.Rows) == 1:
			return nil, locked(a.holds.Rows[0])
		case s.Dialect.Conflicts.Tries > 0:
			if !s.Dialect.Conflicts.Wait(ctx, try, started) {
				return nil, &aurora.LockedError{}
			}
		case try >= lockTries:
			return nil, &aurora.LockedError{}
		}
	}
}

// What came of asking for the lease: the row taken, who else holds it, and
// whether the session could be set up.
type asked struct{ took, holds, setUp Answer }

func (s *Store) askForLease(ctx context.Context, who string, ttl time.Duration, create bool) (asked, error) {
	var qs []Query
	if create {
		qs = s.bootstrapQueries()
	}
	if !s.Dialect.Sessions {
		took := len(qs)
		qs = append(qs, NewQuery(s.SQL.acquire, s.Project, who, ttl.Microseconds()), NewQuery(s.SQL.lease, s.Project))
		answers, err := s.Main.Once(ctx, Apart(qs...))
		if err != nil {
			return asked{}, err
		}
		return asked{took: answers[took], holds: answers[took+1]}, nil
	}
	took := len(qs) + 2
	qs = append(qs,
		// A row lock is only ever held for the instant of a commit; if it
		// lasts, its holder is stuck, and waiting for it would be too.
		NewQuery(`SET lock_timeout = '500ms'`),
		NewQuery(s.SQL.evict, s.Project),
		NewQuery(s.SQL.acquire, s.Project, who, ttl.Microseconds(), s.mark),
		NewQuery(s.SQL.lease, s.Project),
		NewQuery(`RESET lock_timeout`),
		s.Settings(),
		NewQuery(s.SQL.evict, s.Project))
	answers, err := s.Main.Once(ctx, Apart(qs...))
	if err != nil {
		return asked{}, err
	}
	return asked{answers[took], answers[took+1], answers[took+3]}, nil
}

func (s *Store) leaseTaken(ctx, asking context.Context, a asked, ttl time.Duration, since time.Time) (aurora.Lease, error) {
	token, err := strconv.ParseInt(string(a.took.Rows[0][0]), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("read the lease's token: %w", err)
	}
	if a.setUp.Err != nil {
		s.Log.Warn("could not set up the session", "err", a.setUp.Err)
	}
	l := &Lease{store: s, token: token, ttl: ttl, trusted: since.Add(ttl)}
	s.Main.SetWhole()
	s.mu.Lock()
	s.lease = l
	s.mu.Unlock()
	if ctx.Err() != nil {
		return nil, errors.Join(context.Cause(ctx), l.Release(asking))
	}
	if s.Dialect.Settings {
		s.Main.SetUp(s.Settings())
		s.Side.SetUp(s.Settings())
	}
	return l, nil
}

func locked(row [][]byte) *aurora.LockedError {
	e := &aurora.LockedError{ExpiresAt: Micros(row[2])}
	e.Token, _ = strconv.ParseInt(string(row[0]), 10, 64)
	_ = json.Unmarshal(row[1], &e.Holder) // an unreadable holder is an unknown one
	return e
}

// Locked returns who holds the lease, or nil.
func (s *Store) Locked(ctx context.Context) (*aurora.LockedError, error) {
	rows, err := s.Read(ctx, NewQuery(s.SQL.lease, s.Project))
	if err != nil {
		return nil, fmt.Errorf("read the lease in schema %s: %w", s.Schema, err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return locked(rows[0]), nil
}

// Break ends the lease with that token.
func (s *Store) Break(ctx context.Context, token int64) error {
	rows, err := s.Read(ctx, NewQuery(s.SQL.breakLease, s.Project, token))
	if err != nil {
		return fmt.Errorf("break the lease in schema %s: %w", s.Schema, err)
	}
	if len(rows) == 0 {
		return fmt.Errorf("lease %d: %w", token, aurora.ErrNotFound)
	}
	return nil
}

// Token returns the fencing token.
func (l *Lease) Token() int64 { return l.token }

// Save writes revisions in one transaction and one round trip. Of one whose
// output and description are those that were saved last, as with a checkpoint,
// only the rest is sent and written.
func (l *Lease) Save(ctx context.Context, revisions ...aurora.Revision) error {
	if len(revisions) == 0 {
		return nil
	}
	qs := make([]Query, len(revisions))
	for i, r := range revisions {
		qs[i] = l.store.SaveQuery(l.token, r, false)
	}
	l.mu.Lock()
	kept := l.kept
	l.kept = aurora.Revision{}
	l.mu.Unlock()
	if r := revisions[0]; len(revisions) == 1 && kept.ExecutionID == r.ExecutionID && kept.Version == r.Version &&
		kept.Output == r.Output && kept.Description == r.Description && len(r.Output)+len(r.Description) > 0 {
		r.Output, r.Description = "", ""
		qs[0] = l.store.SaveQuery(l.token, r, false)
		qs[0].SQL = l.store.SQL.saveKeeping
	}
	err := First(l.store.History(ctx, Together(qs...)))
	if IsLeaseLost(err) {
		return aurora.ErrLeaseLost
	}
	if err == nil && len(revisions) == 1 {
		l.mu.Lock()
		l.kept = revisions[0]
		l.mu.Unlock()
	}
	return err
}

// Renew uses a connection of its own, because statements may keep the other
// one busy for hours.
func (l *Lease) Renew(ctx context.Context) error {
	s := l.store
	asked := time.Now()
	answers, err := s.retry(ctx, func() ([]Answer, error) {
		return s.Side.Again(ctx, Apart(NewQuery(s.SQL.renew, s.Project, l.token, l.ttl.Microseconds())))
	})
	if err := First(answers, err); err != nil {
		return fmt.Errorf("renew the lease: %w", err)
	}
	if len(answers[0].Rows) == 0 {
		return aurora.ErrLeaseLost
	}
	l.trust(asked.Add(l.ttl))
	return nil
}

// Release ends the lease if it is still ours.
func (l *Lease) Release(ctx context.Context) error {
	s := l.store
	args := []any{s.Project, l.token}
	if s.Dialect.Sessions {
		// The server may still be at work on what a broken connection had in
		// flight: then the next holder has to end that session first.
		args = append(args, s.Main.IsWhole())
	}
	if err := First(s.History(ctx, Apart(NewQuery(s.SQL.release, args...)))); err != nil {
		return fmt.Errorf("release the lease: %w", err)
	}
	return nil
}

package filestore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aurora-migrate/aurora"
)

// A lease is the right to write, until its time is over.
type lease struct {
	store *Store
	token int64
	ttl   time.Duration
}

// now is the machine's clock as the file has it.
func now() time.Time { return time.Now().Round(0).UTC() }

// Locked returns who holds the lease, or nil.
func (s *Store) Locked(ctx context.Context) (*aurora.LockedError, error) {
	var locked *aurora.LockedError
	err := s.read(ctx, func(_ *loader, p *project) error {
		if !p.lease.isOver(now()) {
			locked = p.lease.locked()
		}
		return nil
	})
	return locked, err
}

// Acquire takes the project's lease, creating the file on first use.
func (s *Store) Acquire(ctx context.Context, holder aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	// Who waits need not keep writers waiting.
	if locked, err := s.Locked(ctx); err != nil {
		return nil, err
	} else if locked != nil {
		return nil, locked
	}
	l := &lease{store: s, ttl: ttl}
	err := s.write(ctx, false, func(p *project) (*record, error) {
		if !p.lease.isOver(now()) {
			return nil, p.lease.locked()
		}
		l.token = p.lease.Token + 1
		return s.leaseRecord(leaseRecord{Token: l.token, Held: true, Holder: holder, At: now(), TTLMillis: max(ttl.Milliseconds(), 1)}), nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (s *Store) leaseRecord(l leaseRecord) *record { return &record{Project: s.project, Lease: &l} }

// Break ends the lease with that token.
func (s *Store) Break(ctx context.Context, token int64) error {
	notFound := fmt.Errorf("lease %d: %w", token, aurora.ErrNotFound)
	if locked, err := s.Locked(ctx); err != nil {
		return err
	} else if locked == nil || locked.Token != token {
		return notFound
	}
	return s.write(ctx, false, func(p *project) (*record, error) {
		if p.lease.isOver(now()) || p.lease.Token != token {
			return nil, notFound
		}
		ended := p.lease
		ended.Held = false
		return s.leaseRecord(ended), nil
	})
}

// Token returns the fencing token.
func (l *lease) Token() int64 { return l.token }

// write is the store's, provided that the lease is still ours.
func (l *lease) write(ctx context.Context, durable bool, change func(p *project) (*record, error)) error {
	return l.store.write(ctx, durable, func(p *project) (*record, error) {
		if p.lease.Token != l.token || p.lease.isOver(now()) {
			return nil, aurora.ErrLeaseLost
		}
		return change(p)
	})
}

// Save writes revisions as one record.
func (l *lease) Save(ctx context.Context, revisions ...aurora.Revision) error {
	if len(revisions) == 0 {
		return nil
	}
	r := &record{Project: l.store.project}
	for _, rev := range revisions {
		rev.Token = l.token
		raw, err := json.Marshal(rev)
		if err != nil {
			return fmt.Errorf("encode the revision of %s: %w", rev.ID(), err)
		}
		r.Save = append(r.Save, raw)
	}
	return l.write(ctx, true, func(*project) (*record, error) { return r, nil })
}

// Renew moves the end of the lease.
func (l *lease) Renew(ctx context.Context) error {
	return l.write(ctx, false, func(p *project) (*record, error) {
		renewed := p.lease
		renewed.At = now()
		return l.store.leaseRecord(renewed), nil
	})
}

// Release ends the lease if it is still ours.
func (l *lease) Release(ctx context.Context) error {
	err := l.write(ctx, false, func(p *project) (*record, error) {
		ended := p.lease
		ended.Held = false
		return l.store.leaseRecord(ended), nil
	})
	if errors.Is(err, aurora.ErrLeaseLost) {
		return nil
	}
	return err
}

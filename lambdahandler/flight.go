package lambdahandler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aurora-migrate/aurora"
)

var (
	// errMoved says that somebody has written since the history was looked at.
	errMoved = errors.New("the history of the execution moved")
	// errBusy says that another invocation is at work on the same execution.
	errBusy = errors.New("another invocation is at work on the execution")
)

// A sight is what the history tells of an execution at one moment.
type sight struct {
	execution aurora.Execution
	newest    aurora.Revision // of the execution, by the lease it was written under
	found     bool            // the execution has revisions
}

// look reads the history of an execution.
func look(ctx context.Context, h aurora.History, id string) (sight, error) {
	e, err := h.Execution(ctx, id)
	if errors.Is(err, aurora.ErrNotFound) || err == nil && len(e.Revisions) == 0 {
		return sight{}, nil
	}
	if err != nil {
		return sight{}, fmt.Errorf("read what the execution has done: %w", err)
	}
	return sight{e, slices.MaxFunc(e.Revisions, aurora.Revision.Compare), true}, nil
}

// is reports whether nobody has written for the execution between two sights,
// provided that the later one was had under the lease.
func (s sight) is(other sight) bool {
	return s.found == other.found && s.newest.Token == other.newest.Token && s.newest.State == other.newest.State &&
		len(s.execution.Revisions) == len(other.execution.Revisions)
}

// ran returns how many migrations the execution has finished.
func (s sight) ran(d aurora.Direction) int {
	n := 0
	for _, r := range s.execution.Revisions {
		if r.Direction == d && r.Kind == aurora.Applied && r.State == aurora.Completed {
			n++
		}
	}
	return n
}

// reached describes how far the execution has come, for comparing.
func (s sight) reached() string {
	text := ""
	for _, r := range s.execution.Revisions {
		if r.State != aurora.Completed && r.Done == 0 && r.Checkpoint == nil {
			continue // begun is not got further
		}
		text += fmt.Sprintf("%s %t %d %s\n", r.Version, r.State == aurora.Completed, r.Done, r.Checkpoint)
	}
	return text
}

// A flight is a store through which only one invocation at a time runs an
// execution, and only as long as nobody else did since it looked.
type flight struct {
	aurora.Store
	aurora.History
	id   string // the execution's
	seen sight
	// foreign may refuse for what others have done. It may be nil.
	foreign func(latest []aurora.Revision) error

	mu    sync.Mutex
	lease aurora.Lease // once it is ours

	// Of whoever else holds the lease.
	token   int64
	expires time.Time // when it was first seen
	same    bool      // it runs this execution
}

// A streamingFlight is a flight whose store runs statements by itself.
type streamingFlight struct {
	*flight
	aurora.Streamer
}

// store returns the flight as a runner takes it.
func (f *flight) store() aurora.Store {
	if s, ok := f.Store.(aurora.Streamer); ok {
		return streamingFlight{f, s}
	}
	return f
}

// Acquire takes the lease, and gives it back when the execution has moved on
// meanwhile.
func (f *flight) Acquire(ctx context.Context, holder aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	lease, err := f.Store.Acquire(ctx, holder, ttl)
	var locked *aurora.LockedError
	if errors.As(err, &locked) {
		busy, berr := f.isBusy(ctx, locked)
		if berr != nil {
			return nil, berr
		}
		if busy {
			return nil, errBusy
		}
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	if err := f.check(ctx); err != nil {
		return nil, errors.Join(err, lease.Release(ctx))
	}
	f.mu.Lock()
	f.lease = lease
	f.mu.Unlock()
	return lease, nil
}

// check compares, under the lease, with what was seen before it.
func (f *flight) check(ctx context.Context) error {
	now, err := look(ctx, f.History, f.id)
	if err != nil {
		return err
	}
	if !now.is(f.seen) {
		return errMoved
	}
	if f.foreign == nil {
		return nil
	}
	latest, err := f.Latest(ctx)
	if err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	return f.foreign(latest)
}

// held returns the lease that a run has, or nil.
func (f *flight) held() aurora.Lease {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lease
}

// isBusy reports whether the holder of the lease runs this execution and lives:
// one that was killed never renews its lease.
func (f *flight) isBusy(ctx context.Context, locked *aurora.LockedError) (bool, error) {
	if locked.Token != f.token {
		f.token, f.expires, f.same = locked.Token, locked.ExpiresAt, false
	}
	if !f.same {
		now, err := look(ctx, f.History, f.id)
		if err != nil {
			return false, err
		}
		f.same = now.newest.Token == locked.Token
	}
	return f.same && !locked.ExpiresAt.Equal(f.expires), nil
}

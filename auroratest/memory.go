package auroratest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aurora-migrate/aurora"
)

// An Op names an operation of a store or a lease.
type Op string

// The operations that [Memory] counts and can be told to fail.
const (
	OpLatest  Op = "latest"
	OpAcquire Op = "acquire"
	OpSave    Op = "save"
	OpRenew   Op = "renew"
	OpRelease Op = "release"
	OpRead    Op = "read" // the methods of [aurora.History] and [aurora.Locker.Locked]
	OpBreak   Op = "break"
)

var (
	_ aurora.Store   = (*Memory)(nil)
	_ aurora.History = (*Memory)(nil)
	_ aurora.Locker  = (*Memory)(nil)
	_ aurora.Lease   = (*memoryLease)(nil)
)

// A Memory keeps the history and the lease of one project in memory. The zero
// value is an empty store. Runners that share one play several processes; it
// is safe for concurrent use and must not be copied.
type Memory struct {
	// Clock is the store's clock. Defaults to [time.Now]. Set it before use.
	Clock func() time.Time

	mu        sync.Mutex
	token     int64 // the newest lease's
	held      bool  // nobody released it
	holder    aurora.Holder
	expires   time.Time
	revisions map[revisionKey]aurora.Revision
	calls     map[Op]int
	faults    map[Op][]error
}

type revisionKey struct{ execution, version string }

// Fail makes the next n operations of one kind return err and do nothing
// else. It adds to what was asked for before; a nil error lets n operations
// through, so that a later one fails.
func (m *Memory) Fail(op Op, n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.faults == nil {
		m.faults = make(map[Op][]error)
	}
	for range n {
		m.faults[op] = append(m.faults[op], err)
	}
}

// Calls returns how often an operation was called, failed ones included.
func (m *Memory) Calls(op Op) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[op]
}

// All returns every revision, whole, in the order of [aurora.Revision.Compare].
func (m *Memory) All() []aurora.Revision {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all(func(aurora.Revision) bool { return true })
}

// Put stores revisions as they are, without a lease: the history that a test
// starts from. Tokens must not be greater than that of the newest lease, which
// Put therefore raises where needed.
func (m *Memory) Put(revisions ...aurora.Revision) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range revisions {
		m.token = max(m.token, r.Token)
		m.store(r)
	}
}

// Latest returns the newest revision of every migration, without descriptions
// and output.
func (m *Memory) Latest(ctx context.Context) ([]aurora.Revision, error) {
	unlock, err := m.begin(ctx, OpLatest)
	defer unlock()
	if err != nil {
		return nil, err
	}
	latest := aurora.Newest(m.all(func(aurora.Revision) bool { return true }))
	for i := range latest {
		latest[i] = bare(latest[i])
		latest[i].OutputDropped = 0
	}
	return latest, nil
}

// Acquire takes the lease for ttl, or returns an [*aurora.LockedError].
func (m *Memory) Acquire(ctx context.Context, holder aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	unlock, err := m.begin(ctx, OpAcquire)
	defer unlock()
	if err != nil {
		return nil, err
	}
	if locked := m.locked(); locked != nil {
		return nil, locked
	}
	m.token++
	m.held, m.holder, m.expires = true, holder, m.now().Add(ttl)
	return &memoryLease{store: m, token: m.token, ttl: ttl}, nil
}

// Locked returns the holder of the lease, or nil when it is free.
func (m *Memory) Locked(ctx context.Context) (*aurora.LockedError, error) {
	unlock, err := m.begin(ctx, OpRead)
	defer unlock()
	if err != nil {
		return nil, err
	}
	return m.locked(), nil
}

// Break ends the lease with that token, or returns [aurora.ErrNotFound].
func (m *Memory) Break(ctx context.Context, token int64) error {
	unlock, err := m.begin(ctx, OpBreak)
	defer unlock()
	if err != nil {
		return err
	}
	if locked := m.locked(); locked == nil || locked.Token != token {
		return fmt.Errorf("break the lock with token %d: %w", token, aurora.ErrNotFound)
	}
	m.held = false
	return nil
}

// Revision returns one attempt at a migration, whole, or [aurora.ErrNotFound].
func (m *Memory) Revision(ctx context.Context, execution, version string) (aurora.Revision, error) {
	unlock, err := m.begin(ctx, OpRead)
	defer unlock()
	if err != nil {
		return aurora.Revision{}, err
	}
	r, ok := m.revisions[revisionKey{execution, version}]
	if !ok {
		return aurora.Revision{}, fmt.Errorf("version %q of execution %q: %w", version, execution, aurora.ErrNotFound)
	}
	return clone(r), nil
}

// Revisions returns a page of the attempts at one migration, newest first, and
// the cursor of the next page.
func (m *Memory) Revisions(ctx context.Context, version, cursor string, limit int) ([]aurora.Revision, string, error) {
	unlock, err := m.begin(ctx, OpRead)
	defer unlock()
	if err != nil {
		return nil, "", err
	}
	if limit < 1 {
		return nil, "", fmt.Errorf("a page of %d revisions: want at least 1", limit)
	}
	found := m.all(func(r aurora.Revision) bool { return r.Version == version })
	slices.SortFunc(found, newestFirst)
	if cursor != "" {
		var before aurora.Revision
		parts := strings.SplitN(cursor, ".", 3)
		if n, _ := fmt.Sscanf(cursor, "%d.%d.", &before.Token, &before.Seq); n != 2 || len(parts) != 3 {
			return nil, "", fmt.Errorf("read revisions: not a cursor: %q", cursor)
		}
		before.ExecutionID = parts[2]
		found = slices.DeleteFunc(found, func(r aurora.Revision) bool { return newestFirst(before, r) >= 0 })
	}
	next := ""
	if len(found) > limit {
		found = found[:limit]
		next = cursorOf(found[limit-1]) + "." + found[limit-1].ExecutionID
	}
	for i := range found {
		found[i] = bare(found[i])
	}
	return found, next, nil
}

// newestFirst orders the attempts at one migration.
func newestFirst(a, b aurora.Revision) int {
	return cmp.Or(b.Compare(a), strings.Compare(b.ExecutionID, a.ExecutionID))
}

// bare is a revision as those are that come in numbers: without what may be
// large.
func bare(r aurora.Revision) aurora.Revision {
	r.Description, r.Output = "", ""
	return r
}

// Execution returns one run, or [aurora.ErrNotFound].
func (m *Memory) Execution(ctx context.Context, id string) (aurora.Execution, error) {
	unlock, err := m.begin(ctx, OpRead)
	defer unlock()
	if err != nil {
		return aurora.Execution{}, err
	}
	found := m.all(func(r aurora.Revision) bool { return r.ExecutionID == id })
	if len(found) == 0 {
		return aurora.Execution{}, fmt.Errorf("execution %q: %w", id, aurora.ErrNotFound)
	}
	for i := range found {
		found[i] = bare(found[i])
	}
	return aurora.ExecutionOf(found), nil
}

// Executions returns runs, newest first, and the cursor of the next page.
func (m *Memory) Executions(ctx context.Context, cursor string, limit int) ([]aurora.Execution, string, error) {
	unlock, err := m.begin(ctx, OpRead)
	defer unlock()
	if err != nil {
		return nil, "", err
	}
	if limit < 1 {
		return nil, "", fmt.Errorf("a page of %d executions: want at least 1", limit)
	}
	// The cursor is the place of the page's last execution in the order of
	// revisions, so that later ones do not move the next page.
	var before aurora.Revision
	if cursor != "" {
		if _, err := fmt.Sscanf(cursor, "%d.%d", &before.Token, &before.Seq); err != nil {
			return nil, "", fmt.Errorf("read executions: not a cursor: %q", cursor)
		}
	}
	groups := make(map[string][]aurora.Revision)
	var order []aurora.Revision // the newest of each execution
	all := m.all(func(aurora.Revision) bool { return true })
	for _, r := range slices.Backward(all) {
		if groups[r.ExecutionID] == nil {
			order = append(order, r)
		}
		groups[r.ExecutionID] = append(groups[r.ExecutionID], bare(r))
	}
	var page []aurora.Execution
	for _, r := range order {
		if cursor != "" && r.Compare(before) >= 0 {
			continue
		}
		if len(page) == limit {
			return page, cursorOf(groups[page[limit-1].ID][0]), nil
		}
		page = append(page, aurora.ExecutionOf(groups[r.ExecutionID]))
	}
	return page, "", nil
}

func cursorOf(r aurora.Revision) string { return fmt.Sprintf("%d.%d", r.Token, r.Seq) }

// begin locks the store for an operation and counts it. The error is that of
// the context or one that [Memory.Fail] ordered.
func (m *Memory) begin(ctx context.Context, op Op) (unlock func(), err error) {
	m.mu.Lock()
	if m.calls == nil {
		m.calls = make(map[Op]int)
	}
	m.calls[op]++
	if err := ctx.Err(); err != nil {
		return m.mu.Unlock, err
	}
	if faults := m.faults[op]; len(faults) > 0 {
		m.faults[op] = faults[1:]
		return m.mu.Unlock, faults[0]
	}
	return m.mu.Unlock, nil
}

func (m *Memory) now() time.Time {
	if m.Clock == nil {
		return time.Now()
	}
	return m.Clock()
}

func (m *Memory) locked() *aurora.LockedError {
	if !m.held || !m.now().Before(m.expires) {
		return nil
	}
	return &aurora.LockedError{Holder: m.holder, Token: m.token, ExpiresAt: m.expires}
}

// all returns copies of the revisions that want accepts, oldest first.
func (m *Memory) all(want func(aurora.Revision) bool) []aurora.Revision {
	var found []aurora.Revision
	for _, r := range m.revisions {
		if want(r) {
			found = append(found, clone(r))
		}
	}
	slices.SortFunc(found, func(a, b aurora.Revision) int {
		if c := a.Compare(b); c != 0 {
			return c
		}
		return strings.Compare(a.Version, b.Version)
	})
	return found
}

func (m *Memory) store(r aurora.Revision) {
	if m.revisions == nil {
		m.revisions = make(map[revisionKey]aurora.Revision)
	}
	m.revisions[revisionKey{r.ExecutionID, r.Version}] = clone(r)
}

func clone(r aurora.Revision) aurora.Revision {
	r.Hashes, r.Checkpoint = slices.Clone(r.Hashes), slices.Clone(r.Checkpoint)
	return r
}

type memoryLease struct {
	store *Memory
	token int64
	ttl   time.Duration
}

func (l *memoryLease) Token() int64 { return l.token }

func (l *memoryLease) Save(ctx context.Context, revisions ...aurora.Revision) error {
	unlock, err := l.begin(ctx, OpSave)
	defer unlock()
	if err != nil {
		return err
	}
	for _, r := range revisions {
		r.Token = l.token
		l.store.store(r)
	}
	return nil
}

func (l *memoryLease) Renew(ctx context.Context) error {
	unlock, err := l.begin(ctx, OpRenew)
	defer unlock()
	if err != nil {
		return err
	}
	l.store.expires = l.store.now().Add(l.ttl)
	return nil
}

func (l *memoryLease) Release(ctx context.Context) error {
	unlock, err := l.begin(ctx, OpRelease)
	defer unlock()
	if errors.Is(err, aurora.ErrLeaseLost) {
		return nil
	}
	if err != nil {
		return err
	}
	l.store.held = false
	return nil
}

// begin is Memory.begin for what only the holder may do.
func (l *memoryLease) begin(ctx context.Context, op Op) (unlock func(), err error) {
	unlock, err = l.store.begin(ctx, op)
	if err != nil {
		return unlock, err
	}
	if locked := l.store.locked(); locked == nil || locked.Token != l.token {
		return unlock, aurora.ErrLeaseLost
	}
	return unlock, nil
}

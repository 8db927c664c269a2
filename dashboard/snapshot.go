package dashboard

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aurora-migrate/aurora"
)

// How old what was read may be: of the history, and of the directory.
const (
	historyAge = time.Second
	filesAge   = 3 * time.Second
)

// A snapshot is where all migrations stood at one moment. Nobody changes it.
type snapshot struct {
	at     time.Time
	latest []aurora.Revision // as the store has them
	lock   *aurora.LockedError
	// files are the directory's, nil when they are not known; filesErr says why
	// they are not although they should be.
	files    []aurora.Migration
	filesAt  time.Time
	filesErr error
	entries  []entry // by version
	index    map[string]int
	summary  summaryJSON
	head     string
	etag     string
	// prints are fingerprints of the newest revisions, by version.
	prints map[string]uint64
}

// An entry is one migration.
type entry struct {
	id        string
	migration *aurora.Migration // nil when the file is not known
	revision  *aurora.Revision  // nil when it never ran
	status    string
	edited    bool
	died      bool
	// spellings are the newest revision under each way in which the history
	// writes the version, newest first.
	spellings []*aurora.Revision
}

// snapshot returns one that is at most so old. One request reads for all.
func (s *server) snapshot(ctx context.Context, age time.Duration) (*snapshot, error) {
	if snap := s.fresh(age); snap != nil {
		return snap, nil
	}
	asked := time.Now()
	select {
	case s.loading <- struct{}{}:
		defer func() { <-s.loading }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	// Another request may have read while this one waited.
	if snap := s.fresh(max(age, time.Since(asked))); snap != nil {
		return snap, nil
	}
	s.mu.Lock()
	old := s.cached
	if s.stale || age == 0 {
		old = nil // the files, too
	}
	s.stale = false
	s.mu.Unlock()
	snap, err := s.read(ctx, old)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.cached = snap
	s.mu.Unlock()
	return snap, nil
}

func (s *server) fresh(age time.Duration) *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cached == nil || s.stale || time.Since(s.cached.at) >= age {
		return nil
	}
	return s.cached
}

func (s *server) read(ctx context.Context, old *snapshot) (*snapshot, error) {
	snap := &snapshot{at: time.Now()}
	var err error
	if snap.lock, err = s.locked(ctx); err != nil {
		return nil, err
	}
	if snap.latest, err = s.cfg.Store.Latest(ctx); err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	if snap.lock, err = s.lockOver(ctx, snap.lock, snap.latest); err != nil {
		return nil, err
	}
	switch {
	case s.cfg.Migrations == nil:
	case old != nil && time.Since(old.filesAt) < filesAge:
		snap.files, snap.filesAt, snap.filesErr = old.files, old.filesAt, old.filesErr
	default:
		snap.files, snap.filesErr = s.cfg.Migrations(ctx)
		snap.filesAt = time.Now()
	}
	snap.build(s)
	return snap, nil
}

// locked returns nil also where the store cannot tell.
func (s *server) locked(ctx context.Context) (*aurora.LockedError, error) {
	if s.locker == nil {
		return nil, nil
	}
	lock, err := s.locker.Locked(ctx)
	if err != nil {
		return nil, fmt.Errorf("look who holds the lock: %w", err)
	}
	return lock, nil
}

// isDead reports that a revision says running, and nobody holds the lease under
// which it ran.
func isDead(r aurora.Revision, lock *aurora.LockedError) bool {
	return r.State == aurora.Running && r.Foreign == "" && (lock == nil || lock.Token != r.Token)
}

// lockOver returns the lock as it was when revisions were read that look dead
// with an older one: they may have begun in between.
func (s *server) lockOver(ctx context.Context, lock *aurora.LockedError, revisions []aurora.Revision) (*aurora.LockedError, error) {
	if !hasDied(revisions, lock) {
		return lock, nil
	}
	return s.locked(ctx)
}

func hasDied(revisions []aurora.Revision, lock *aurora.LockedError) bool {
	return slices.ContainsFunc(revisions, func(r aurora.Revision) bool { return isDead(r, lock) })
}

func (snap *snapshot) build(s *server) {
	snap.entries = make([]entry, 0, max(len(snap.latest), len(snap.files)))
	if s.cfg.Migrations != nil && snap.filesErr == nil {
		st, err := aurora.NewStatus(snap.files, snap.latest, s.cfg.Defaults.ExecOrder)
		if err != nil {
			snap.filesErr = err
		} else {
			snap.fromStatus(st)
		}
	}
	if snap.filesErr != nil {
		snap.files = nil
	}
	snap.fromHistory()
	slices.SortStableFunc(snap.entries, func(a, b entry) int { return aurora.CompareVersions(a.version(), b.version()) })
	snap.index = make(map[string]int, 2*len(snap.entries))
	for i := range snap.entries {
		e := &snap.entries[i]
		e.died = e.revision != nil && s.locker != nil && isDead(*e.revision, snap.lock)
		if e.died && e.status == string(aurora.Running) {
			e.status = string(aurora.Interrupted)
		}
		snap.index[e.version()] = i
	}
	for i := range snap.entries { // an ID goes before a version of the same text
		snap.index[snap.entries[i].id] = i
	}
	snap.head = aurora.Head(snap.latest)
	snap.fingerprint()
	snap.summarize(s)
}

func (e entry) version() string {
	if e.migration != nil {
		return e.migration.Version
	}
	return e.revision.Version
}

func (e entry) name() string {
	if e.migration != nil {
		return e.migration.Name
	}
	return e.revision.Name
}

func (snap *snapshot) fromStatus(st aurora.Status) {
	for i := range st.Migrations {
		ms := &st.Migrations[i]
		e := entry{id: ms.Migration.ID(), revision: ms.Revision, status: ms.Status, edited: ms.Edited}
		if ms.Status != aurora.StatusMissing && ms.Status != aurora.StatusAhead {
			e.migration = &ms.Migration
		}
		snap.entries = append(snap.entries, e)
	}
}

// fromHistory adds what the directory does not have, and how the history
// spells the versions that it has.
func (snap *snapshot) fromHistory() {
	known := make(map[string]int, len(snap.entries))
	for i, e := range snap.entries {
		known[e.version()] = i
	}
	sorted := len(snap.entries) // those of the status are in order
	for i := range snap.latest {
		r := &snap.latest[i]
		at, ok := known[r.Version]
		if !ok {
			at, ok = slices.BinarySearchFunc(snap.entries[:sorted], r.Version, func(e entry, v string) int {
				return aurora.CompareVersions(e.version(), v)
			})
		}
		if ok {
			e := &snap.entries[at]
			e.spellings = append(e.spellings, r)
			slices.SortStableFunc(e.spellings, func(a, b *aurora.Revision) int { return b.Compare(*a) })
			continue
		}
		if r.Foreign != "" && snap.files != nil {
			continue // another project's
		}
		snap.entries = append(snap.entries, entry{id: r.ID(), revision: r, status: statusOf(*r), spellings: []*aurora.Revision{r}})
	}
}

// statusOf is the status as far as a revision alone tells.
func statusOf(r aurora.Revision) string {
	switch {
	case r.IsApplied():
		return aurora.StatusApplied
	case r.State == aurora.Completed:
		return aurora.StatusRolledBack
	}
	return string(r.State)
}

func (snap *snapshot) fingerprint() {
	all := fnv.New64a()
	add := func(parts ...string) {
		for _, p := range parts {
			_, _ = all.Write([]byte(p)) // a hash never fails
			_, _ = all.Write([]byte{0})
		}
	}
	snap.prints = make(map[string]uint64, len(snap.latest))
	var buf []byte
	for _, r := range snap.latest {
		h := fnv.New64a()
		buf = binary.AppendVarint(buf[:0], r.Token)
		for _, n := range []int{r.Seq, r.Steps, r.Done, r.Begun} {
			buf = binary.AppendVarint(buf, int64(n))
		}
		buf = append(buf, r.ExecutionID...)
		buf = append(buf, r.State...)
		buf = append(buf, r.Error...)
		buf = append(buf, r.Checkpoint...)
		_, _ = h.Write(buf)
		snap.prints[r.Version] = h.Sum64()
		add(r.Version, strconv.FormatUint(h.Sum64(), 36))
	}
	for _, m := range snap.files {
		add(m.Version, m.Name, m.Checksum)
	}
	if snap.filesErr != nil {
		add(snap.filesErr.Error())
	}
	if snap.lock != nil {
		// Pages show when it ends; a renewal makes that another time.
		add("locked", strconv.FormatInt(snap.lock.Token, 10), strconv.FormatInt(snap.lock.ExpiresAt.UnixNano(), 36))
	}
	snap.etag = strconv.FormatUint(all.Sum64(), 36)
}

// maxActive is how many unfinished migrations a summary names.
const maxActive = 5

func (snap *snapshot) summarize(s *server) {
	sum := summaryJSON{Total: len(snap.entries), Head: snap.head, KnowsFiles: snap.files != nil, Lock: s.lockOf(snap.lock), Active: []migrationJSON{}}
	if snap.filesErr != nil {
		sum.FilesError = s.hide(snap.filesErr.Error())
	}
	counts := []struct {
		group string
		n     *int
	}{
		{"completed", &sum.Completed},
		{"pending", &sum.Pending},
		{"failed", &sum.Failed},
		{string(aurora.Running), &sum.Running},
		{string(aurora.Paused), &sum.Paused},
		{string(aurora.Interrupted), &sum.Interrupted},
		{aurora.StatusRolledBack, &sum.RolledBack},
		{aurora.StatusOutOfOrder, &sum.OutOfOrder},
		{aurora.StatusCovered, &sum.Covered},
		{"edited", &sum.Edited},
		{aurora.StatusMissing, &sum.Missing},
		{aurora.StatusAhead, &sum.Ahead},
	}
	var active []int
	for i, e := range snap.entries {
		for _, c := range counts {
			if e.is(c.group) {
				*c.n++
			}
		}
		if e.revision != nil && e.revision.IsApplied() {
			sum.Current = e.id
		}
		if e.is("unfinished") || e.is("failed") {
			active = append(active, i)
		}
	}
	sum.Ready = snap.files != nil && sum.Completed+sum.Covered == sum.Total && sum.Edited+sum.Missing == 0
	slices.SortStableFunc(active, func(a, b int) int { return snap.entries[b].revision.Compare(*snap.entries[a].revision) })
	for _, i := range active[:min(len(active), maxActive)] {
		sum.Active = append(sum.Active, s.migrationOf(snap, snap.entries[i]))
	}
	snap.summary = sum
}

// is reports whether a migration belongs to a status or a group of them.
func (e entry) is(group string) bool {
	switch group {
	case "completed":
		return e.status == aurora.StatusApplied || e.status == aurora.StatusMissing || e.status == aurora.StatusAhead
	case "pending":
		return e.status == aurora.StatusPending || e.status == aurora.StatusRolledBack || e.status == aurora.StatusOutOfOrder
	case "failed":
		// One whose rollback failed counts as applied, and somebody must look.
		return e.status == string(aurora.Failed) || e.status == aurora.StatusApplied && e.revision.State == aurora.Failed
	case "unfinished":
		return slices.Contains([]string{string(aurora.Running), string(aurora.Paused), string(aurora.Failed), string(aurora.Interrupted)}, e.status)
	case "edited":
		return e.edited
	}
	return e.status == group
}

func (e entry) language() string {
	if e.migration == nil {
		return ""
	}
	isFunc := func(step aurora.Step) bool { _, ok := step.(aurora.Statement); return !ok }
	if slices.ContainsFunc(e.migration.Up, isFunc) || slices.ContainsFunc(e.migration.Down, isFunc) || strings.HasSuffix(e.migration.Source, ".go") {
		return "go"
	}
	return "sql"
}

// changes returns what is different from an older snapshot: the IDs of
// migrations and of executions.
func (snap *snapshot) changes(old *snapshot) (migrations, executions []string) {
	for _, e := range snap.entries {
		for _, r := range e.spellings {
			if snap.prints[r.Version] != old.prints[r.Version] {
				migrations = append(migrations, e.id)
				if e.revision != nil && e.revision.ExecutionID != "" {
					executions = append(executions, e.revision.ExecutionID)
				}
			}
		}
	}
	slices.Sort(executions)
	return migrations, slices.Compact(executions)
}

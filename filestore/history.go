package filestore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aurora-migrate/aurora"
)

// Latest returns the newest revision of every migration. It reads what others
// have appended since the last look.
func (s *Store) Latest(ctx context.Context) ([]aurora.Revision, error) {
	var latest []aurora.Revision
	err := s.read(ctx, func(_ *loader, p *project) error {
		latest = make([]aurora.Revision, 0, len(p.versions))
		for _, attempts := range p.versions {
			r := clone(attempts.newest.bare)
			r.OutputDropped = 0
			latest = append(latest, r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(latest, func(a, b aurora.Revision) int { return aurora.CompareVersions(a.Version, b.Version) })
	return latest, nil
}

// clone keeps callers from changing what the store remembers.
func clone(r aurora.Revision) aurora.Revision {
	r.Hashes, r.Checkpoint = slices.Clone(r.Hashes), slices.Clone(r.Checkpoint)
	return r
}

// Revision returns one attempt at a migration, whole.
func (s *Store) Revision(ctx context.Context, execution, version string) (aurora.Revision, error) {
	var found aurora.Revision
	err := s.read(ctx, func(f *loader, p *project) (err error) {
		e := p.revisions[revisionKey{execution, version}]
		if e == nil {
			return fmt.Errorf("version %s of execution %s: %w", version, execution, aurora.ErrNotFound)
		}
		_, found, err = f.load(e)
		return err
	})
	return found, err
}

// Revisions returns a page of the attempts at one migration, newest first,
// without descriptions and output. The cursor is the place of the page's last.
func (s *Store) Revisions(ctx context.Context, version, cursor string, limit int) ([]aurora.Revision, string, error) {
	if limit < 1 {
		return nil, "", fmt.Errorf("a page of %d attempts: want at least 1", limit)
	}
	before, err := placeOf(cursor)
	if err != nil {
		return nil, "", fmt.Errorf("read the history of version %s: %w", version, err)
	}
	var page []aurora.Revision
	next := ""
	err = s.read(ctx, func(_ *loader, p *project) error {
		page, next = nil, ""
		g := p.versions[version]
		if g == nil {
			return nil
		}
		entries := make([]*entry, 0, len(g.entries))
		for _, e := range g.entries {
			if cursor == "" || compare(e.bare, before) < 0 {
				entries = append(entries, e)
			}
		}
		slices.SortFunc(entries, func(a, b *entry) int { return inOrder(b, a) })
		if len(entries) > limit {
			entries = entries[:limit]
			next = cursorOf(entries[limit-1].bare)
		}
		for _, e := range entries {
			page = append(page, clone(e.bare))
		}
		return nil
	})
	return page, next, err
}

// Execution returns one run with its revisions, without descriptions and output.
func (s *Store) Execution(ctx context.Context, id string) (aurora.Execution, error) {
	var found []aurora.Revision
	err := s.read(ctx, func(_ *loader, p *project) error {
		found = nil
		if g := p.executions[id]; g != nil {
			for _, e := range g.entries {
				found = append(found, clone(e.bare))
			}
		}
		return nil
	})
	if err != nil {
		return aurora.Execution{}, err
	}
	if len(found) == 0 {
		return aurora.Execution{}, fmt.Errorf("execution %s: %w", id, aurora.ErrNotFound)
	}
	return aurora.ExecutionOf(found), nil
}

// Executions returns a page of runs, newest first, without descriptions and
// output. The cursor is the place of the newest revision of the page's last run.
func (s *Store) Executions(ctx context.Context, cursor string, limit int) ([]aurora.Execution, string, error) {
	if limit < 1 {
		return nil, "", fmt.Errorf("a page of %d executions: want at least 1", limit)
	}
	before, err := placeOf(cursor)
	if err != nil {
		return nil, "", fmt.Errorf("read executions: %w", err)
	}
	var page []aurora.Execution
	next := ""
	err = s.read(ctx, func(_ *loader, p *project) error {
		page, next = nil, ""
		var newest []*entry // of each execution
		for _, g := range p.executions {
			if cursor == "" || compare(g.newest.bare, before) < 0 {
				newest = append(newest, g.newest)
			}
		}
		slices.SortFunc(newest, func(a, b *entry) int { return inOrder(b, a) })
		if len(newest) > limit {
			newest = newest[:limit]
			next = cursorOf(newest[limit-1].bare)
		}
		for _, e := range newest {
			var revisions []aurora.Revision
			for _, e := range p.executions[e.bare.ExecutionID].entries {
				revisions = append(revisions, clone(e.bare))
			}
			page = append(page, aurora.ExecutionOf(revisions))
		}
		return nil
	})
	return page, next, err
}

// cursorOf writes the place of a revision among those that compare orders:
// its token, its place within the lease, and its execution.
func cursorOf(r aurora.Revision) string {
	return fmt.Sprintf("%d.%d.%s", r.Token, r.Seq, r.ExecutionID)
}

// placeOf is the inverse of cursorOf; that of no cursor is empty.
func placeOf(cursor string) (r aurora.Revision, err error) {
	if cursor == "" {
		return r, nil
	}
	parts := strings.SplitN(cursor, ".", 3)
	if len(parts) == 3 {
		var err1, err2 error
		r.Token, err1 = strconv.ParseInt(parts[0], 10, 64)
		r.Seq, err2 = strconv.Atoi(parts[1])
		r.ExecutionID = parts[2]
		if err1 == nil && err2 == nil {
			return r, nil
		}
	}
	return r, fmt.Errorf("not a cursor: %q", cursor)
}

// compare orders the attempts at a migration, and the newest revisions of
// executions, as inOrder does.
func compare(a, b aurora.Revision) int {
	if c := a.Compare(b); c != 0 {
		return c
	}
	return strings.Compare(a.ExecutionID, b.ExecutionID)
}

package filestore

import (
	"context"
	"fmt"
	"slices"
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

// find returns the revisions that pick chooses, whole, oldest first.
func (s *Store) find(ctx context.Context, pick func(*project) *group) ([]aurora.Revision, error) {
	var found []aurora.Revision
	err := s.read(ctx, func(f *loader, p *project) error {
		found = nil
		g := pick(p)
		if g == nil {
			return nil
		}
		for _, e := range slices.SortedFunc(slices.Values(g.entries), inOrder) {
			_, r, err := f.load(e)
			if err != nil {
				return err
			}
			found = append(found, r)
		}
		return nil
	})
	return found, err
}

// Revisions returns all attempts at one migration, newest first.
func (s *Store) Revisions(ctx context.Context, version string) ([]aurora.Revision, error) {
	found, err := s.find(ctx, func(p *project) *group { return p.versions[version] })
	slices.Reverse(found)
	return found, err
}

// Execution returns one run with its revisions.
func (s *Store) Execution(ctx context.Context, id string) (aurora.Execution, error) {
	found, err := s.find(ctx, func(p *project) *group { return p.executions[id] })
	if err != nil {
		return aurora.Execution{}, err
	}
	if len(found) == 0 {
		return aurora.Execution{}, fmt.Errorf("execution %s: %w", id, aurora.ErrNotFound)
	}
	return aurora.ExecutionOf(found), nil
}

// Executions returns runs, newest first, without their output. The cursor is
// the place of the page's last run: the token and the place within the lease of
// its newest revision, and the run's identifier.
func (s *Store) Executions(ctx context.Context, cursor string, limit int) ([]aurora.Execution, string, error) {
	if limit < 1 {
		return nil, "", fmt.Errorf("a page of %d executions: want at least 1", limit)
	}
	var before aurora.Revision
	if cursor != "" {
		parts := strings.SplitN(cursor, ".", 3)
		if len(parts) != 3 {
			return nil, "", fmt.Errorf("read executions: not a cursor: %q", cursor)
		}
		if n, err := fmt.Sscanf(parts[0]+" "+parts[1], "%d %d", &before.Token, &before.Seq); n != 2 || err != nil {
			return nil, "", fmt.Errorf("read executions: not a cursor: %q", cursor)
		}
		before.ExecutionID = parts[2]
	}
	var page []aurora.Execution
	next := ""
	err := s.read(ctx, func(_ *loader, p *project) error {
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
			end := newest[limit-1].bare
			next = fmt.Sprintf("%d.%d.%s", end.Token, end.Seq, end.ExecutionID)
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

// compare orders the newest revisions of executions as entries does.
func compare(a, b aurora.Revision) int {
	if c := a.Compare(b); c != 0 {
		return c
	}
	return strings.Compare(a.ExecutionID, b.ExecutionID)
}

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
		all := make([]aurora.Revision, 0, len(p.revisions))
		for _, e := range p.entries(nil) {
			r := e.bare
			r.OutputDropped = 0
			all = append(all, r)
		}
		latest = aurora.Newest(all)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range latest {
		latest[i] = clone(latest[i])
	}
	return latest, nil
}

// clone keeps callers from changing what the store remembers.
func clone(r aurora.Revision) aurora.Revision {
	r.Hashes, r.Checkpoint = slices.Clone(r.Hashes), slices.Clone(r.Checkpoint)
	return r
}

// find returns the revisions that want accepts, whole, oldest first.
func (s *Store) find(ctx context.Context, want func(aurora.Revision) bool) ([]aurora.Revision, error) {
	var found []aurora.Revision
	err := s.read(ctx, func(f *loader, p *project) error {
		found = nil
		for _, e := range p.entries(want) {
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
	found, err := s.find(ctx, func(r aurora.Revision) bool { return r.Version == version })
	slices.Reverse(found)
	return found, err
}

// Execution returns one run with its revisions.
func (s *Store) Execution(ctx context.Context, id string) (aurora.Execution, error) {
	found, err := s.find(ctx, func(r aurora.Revision) bool { return r.ExecutionID == id })
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
	groups := make(map[string][]aurora.Revision)
	var order []aurora.Revision // the newest of each execution
	err := s.read(ctx, func(_ *loader, p *project) error {
		clear(groups)
		order = nil
		for _, e := range slices.Backward(p.entries(nil)) {
			if groups[e.bare.ExecutionID] == nil {
				order = append(order, e.bare)
			}
			groups[e.bare.ExecutionID] = append(groups[e.bare.ExecutionID], clone(e.bare))
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	var page []aurora.Execution
	for i, r := range order {
		if cursor != "" && compare(r, before) >= 0 {
			continue
		}
		if len(page) == limit {
			end := order[i-1]
			return page, fmt.Sprintf("%d.%d.%s", end.Token, end.Seq, end.ExecutionID), nil
		}
		page = append(page, aurora.ExecutionOf(groups[r.ExecutionID]))
	}
	return page, "", nil
}

// compare orders the newest revisions of executions as entries does.
func compare(a, b aurora.Revision) int {
	if c := a.Compare(b); c != 0 {
		return c
	}
	return strings.Compare(a.ExecutionID, b.ExecutionID)
}

package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aurora-migrate/aurora"
)

// Latest returns the newest revision of every migration.
func (s *Store) Latest(ctx context.Context) ([]aurora.Revision, error) {
	for try := 0; ; try++ {
		latest, err := s.readLatest(ctx)
		if errors.Is(err, errTorn) && try < 5 {
			continue
		}
		if err != nil {
			return nil, err // which names the table
		}
		return latest, nil
	}
}

// Revision returns one attempt at a migration, whole.
func (s *Store) Revision(ctx context.Context, execution, version string) (aurora.Revision, error) {
	var found []aurora.Revision
	err := s.look(ctx, func(v *view) (err error) {
		found, err = v.revision(ctx, execution, version)
		return err
	})
	if err != nil {
		return aurora.Revision{}, fmt.Errorf("read version %s of execution %s: %w", version, execution, err)
	}
	if len(found) == 0 {
		return aurora.Revision{}, fmt.Errorf("version %s of execution %s: %w", version, execution, aurora.ErrNotFound)
	}
	return found[0], nil
}

// Revisions returns a page of the attempts at one migration, newest first,
// without descriptions and output. Those that were made moments ago may be
// missing, but for the newest: their index follows the table.
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
	err = s.look(ctx, func(v *view) error {
		page, next = nil, ""
		// One more tells whether there is a next page.
		places, err := v.attempts(ctx, version, before, limit+1)
		if err != nil {
			return err
		}
		if len(places) > limit {
			places = places[:limit]
			next = cursorOf(places[limit-1])
		}
		found := make([]*aurora.Revision, len(places))
		err = each(ctx, len(places), func(ctx context.Context, i int) error {
			r, _, ok, err := v.head(ctx, executionAt(places[i]), version)
			// One that went on meanwhile was on an earlier page.
			if ok && (before == "" || placeIn(r) < before) {
				found[i] = &r
			}
			return err
		})
		for _, r := range found {
			if r != nil {
				page = append(page, *r)
			}
		}
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("read the history of version %s: %w", version, err)
	}
	slices.SortFunc(page, func(a, b aurora.Revision) int { return strings.Compare(placeIn(b), placeIn(a)) })
	return page, next, nil
}

// Execution returns one run with its revisions, without descriptions and output.
func (s *Store) Execution(ctx context.Context, id string) (aurora.Execution, error) {
	var found []aurora.Revision
	err := s.look(ctx, func(v *view) (err error) {
		found, err = v.heads(ctx, id)
		return err
	})
	if err != nil {
		return aurora.Execution{}, fmt.Errorf("read execution %s: %w", id, err)
	}
	if len(found) == 0 {
		return aurora.Execution{}, fmt.Errorf("execution %s: %w", id, aurora.ErrNotFound)
	}
	return aurora.ExecutionOf(found), nil
}

// Executions returns a page of runs, newest first, without descriptions and
// output. A run that has just written may be missing for a moment: its index
// follows the table.
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
	err = s.look(ctx, func(v *view) error {
		// One more tells whether there is a next page.
		places, err := v.runs(ctx, before, limit+1)
		if err != nil {
			return err
		}
		next = ""
		if len(places) > limit {
			places = places[:limit]
			next = cursorOf(places[limit-1])
		}
		page = make([]aurora.Execution, len(places))
		return each(ctx, len(places), func(ctx context.Context, i int) error {
			revisions, err := v.heads(ctx, executionAt(places[i]))
			page[i] = aurora.ExecutionOf(revisions)
			return err
		})
	})
	if err != nil {
		return nil, "", fmt.Errorf("read executions: %w", err)
	}
	return page, next, nil
}

// cursorOf writes a place in an index as a cursor: "token.seq.execution".
func cursorOf(place string) string {
	token, rest, _ := strings.Cut(place, "#")
	seq, execution, _ := strings.Cut(rest, "#")
	trim := func(s string) string { return strings.TrimLeft(s[:len(s)-1], "0") + s[len(s)-1:] }
	return trim(token) + "." + trim(seq) + "." + execution
}

// placeOf is the inverse of cursorOf; that of no cursor is empty.
func placeOf(cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	token, rest, ok1 := strings.Cut(cursor, ".")
	seq, execution, ok2 := strings.Cut(rest, ".")
	t, err1 := strconv.ParseInt(token, 10, 64)
	n, err2 := strconv.Atoi(seq)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || t < 1 || n < 0 || strings.Contains(execution, "#") {
		return "", fmt.Errorf("not a cursor: %q", cursor)
	}
	return place(aurora.Revision{Token: t, Seq: n}) + "#" + execution, nil
}

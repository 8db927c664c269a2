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

// Revisions returns all attempts at one migration, newest first.
func (s *Store) Revisions(ctx context.Context, version string) ([]aurora.Revision, error) {
	var out []aurora.Revision
	err := s.look(ctx, func(v *view) error {
		executions, err := v.attempts(ctx, version)
		if err != nil {
			return err
		}
		found := make([]*aurora.Revision, len(executions))
		err = each(ctx, len(executions), func(ctx context.Context, i int) error {
			r, ok, err := v.revision(ctx, executions[i], version)
			if ok {
				found[i] = &r
			}
			return err
		})
		out = nil
		for _, r := range found {
			if r != nil {
				out = append(out, *r)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the history of version %s: %w", version, err)
	}
	slices.SortFunc(out, func(a, b aurora.Revision) int { return b.Compare(a) })
	return out, nil
}

// Execution returns one run with its revisions.
func (s *Store) Execution(ctx context.Context, id string) (aurora.Execution, error) {
	var found []aurora.Revision
	err := s.look(ctx, func(v *view) (err error) {
		found, err = v.execution(ctx, id)
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

// Executions returns runs, newest first, without their output. A run that has
// just written may be missing for a moment: its index follows the table.
func (s *Store) Executions(ctx context.Context, cursor string, limit int) ([]aurora.Execution, string, error) {
	if limit < 1 {
		return nil, "", fmt.Errorf("a page of %d executions: want at least 1", limit)
	}
	before, err := placeOf(cursor)
	if err != nil {
		return nil, "", err
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
			revisions, _, err := v.heads(ctx, unescape(places[i][strings.LastIndexByte(places[i], '#')+1:]))
			page[i] = aurora.ExecutionOf(revisions)
			return err
		})
	})
	if err != nil {
		return nil, "", fmt.Errorf("read executions: %w", err)
	}
	return page, next, nil
}

// cursorOf writes a place in the index of executions as a cursor:
// "token.seq.execution".
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
		return "", fmt.Errorf("read executions: not a cursor: %q", cursor)
	}
	return place(aurora.Revision{Token: t, Seq: n}) + "#" + execution, nil
}

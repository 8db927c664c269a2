package pgstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aurora-migrate/aurora"
)

var (
	_ aurora.Store   = (*Store)(nil)
	_ aurora.History = (*Store)(nil)
	_ aurora.Locker  = (*Store)(nil)
)

// Latest returns the newest revision of every migration in one round trip. On
// a database that has no history of this project, it looks for one that Atlas
// or the earlier aurora left; those revisions have Foreign set.
func (s *Store) Latest(ctx context.Context) ([]aurora.Revision, error) {
	answers, err := s.History(ctx, Apart(NewQuery(s.SQL.latest, s.Project), NewQuery(s.SQL.foreign, s.Schema)))
	if err != nil {
		return nil, err
	}
	latest, foreign := answers[0], answers[1]
	if latest.Err != nil && !IsMissing(latest.Err) {
		return nil, fmt.Errorf("read the history in schema %s: %w", s.Schema, latest.Err)
	}
	if foreign.Err != nil {
		return nil, fmt.Errorf("look for another tool's history: %w", foreign.Err)
	}
	if len(foreign.Rows) > 0 {
		s.mu.Lock()
		s.hasSchema = string(foreign.Rows[0][0]) == "true"
		s.hasTables = latest.Err == nil
		s.mu.Unlock()
	}
	if len(latest.Rows) > 0 {
		return Scan(latest.Rows)
	}
	return s.readForeign(ctx, foreign.Rows)
}

// Revisions returns all attempts at one migration, newest first.
func (s *Store) Revisions(ctx context.Context, version string) ([]aurora.Revision, error) {
	rows, err := s.Read(ctx, NewQuery(s.SQL.revisions, s.Project, version))
	if err != nil {
		return nil, fmt.Errorf("read the history of version %s: %w", version, err)
	}
	return Scan(rows)
}

// Execution returns one run with its revisions.
func (s *Store) Execution(ctx context.Context, id string) (aurora.Execution, error) {
	rows, err := s.Read(ctx, NewQuery(s.SQL.execution, s.Project, id))
	if err != nil {
		return aurora.Execution{}, fmt.Errorf("read execution %s: %w", id, err)
	}
	if len(rows) == 0 {
		return aurora.Execution{}, fmt.Errorf("execution %s: %w", id, aurora.ErrNotFound)
	}
	revisions, err := Scan(rows)
	return aurora.ExecutionOf(revisions), err
}

// Executions returns runs, newest first. The cursor is the newest token of the
// last one: a lease serves one execution, so tokens tell them apart.
func (s *Store) Executions(ctx context.Context, cursor string, limit int) ([]aurora.Execution, string, error) {
	if limit < 1 {
		return nil, "", fmt.Errorf("read executions: a page of %d: want at least 1", limit)
	}
	var after int64
	if cursor != "" {
		var err error
		if after, err = strconv.ParseInt(cursor, 10, 64); err != nil || after <= 0 {
			return nil, "", fmt.Errorf("read executions: not a cursor: %q", cursor)
		}
	}
	// One more tells whether there is a next page.
	rows, err := s.Read(ctx, NewQuery(s.SQL.executions, s.Project, after, limit+1))
	if err != nil {
		return nil, "", fmt.Errorf("read executions: %w", err)
	}
	var groups [][]aurora.Revision
	var tokens []string
	for _, row := range rows {
		r, err := scan(row)
		if err != nil {
			return nil, "", err
		}
		if n := len(groups); n == 0 || groups[n-1][0].ExecutionID != r.ExecutionID {
			groups = append(groups, nil)
			tokens = append(tokens, string(row[len(row)-1]))
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], r)
	}
	next := ""
	if len(groups) > limit {
		groups, next = groups[:limit], tokens[limit-1]
	}
	out := make([]aurora.Execution, len(groups))
	for i, g := range groups {
		out[i] = aurora.ExecutionOf(g)
	}
	return out, next, nil
}

// ASCII replaces what a database of another encoding than UTF-8 may not have: a
// description must not keep a migration from being recorded.
func ASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r > 127 {
			return '?'
		}
		return r
	}, s)
}

// Scan reads the rows of a query that returns revisions.
func Scan(rows [][][]byte) ([]aurora.Revision, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	out := make([]aurora.Revision, len(rows))
	for i, row := range rows {
		var err error
		if out[i], err = scan(row); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// scan reads a row of columns, with description and output if it has them.
func scan(row [][]byte) (aurora.Revision, error) {
	var bad error
	integer := func(i int) int64 {
		n, err := strconv.ParseInt(string(row[i]), 10, 64)
		if err != nil {
			bad = fmt.Errorf("read a revision: column %d: %w", i+1, err)
		}
		return n
	}
	r := aurora.Revision{
		ExecutionID: string(row[0]), Version: string(row[1]), Name: string(row[2]), Checksum: string(row[3]),
		Direction: aurora.Direction(row[4]), State: aurora.State(row[5]), Kind: aurora.Kind(row[6]),
		Token: integer(7), Seq: int(integer(8)), Steps: int(integer(9)), Done: int(integer(10)), Begun: int(integer(11)),
		Checkpoint: bytes.Clone(row[13]),
		Error:      string(row[14]), ErrorStep: string(row[15]), ErrorPos: string(row[16]),
		StartedAt: Micros(row[17]), FinishedAt: Micros(row[18]),
		Operator: string(row[20]), OutputDropped: int(integer(21)),
	}
	if err := json.Unmarshal(row[12], &r.Hashes); err != nil {
		bad = fmt.Errorf("read a revision's hashes: %w", err)
	}
	if err := json.Unmarshal(row[19], &r.Holder); err != nil {
		bad = fmt.Errorf("read a revision's holder: %w", err)
	}
	if len(row) == 24 {
		r.Description, r.Output = string(row[22]), string(row[23])
	}
	return r, bad
}

// Micros reads a time in microseconds since the epoch; NULL is the zero time.
func Micros(b []byte) time.Time {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func timestamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.999999Z07:00")
}

// SaveQuery writes r under the lease with that token; now takes the times that
// r leaves open from the server.
func (s *Store) SaveQuery(token int64, r aurora.Revision, now bool) Query {
	sql := s.SQL.save
	if now {
		sql = s.SQL.SaveNow
	}
	holder, _ := json.Marshal(r.Holder) // strings and a number
	hashes, _ := json.Marshal(r.Hashes)
	var checkpoint any
	if r.Checkpoint != nil {
		checkpoint = string(r.Checkpoint)
	}
	if s.Main.ForeignEncoding() {
		for _, text := range []*string{&r.Description, &r.Error, &r.ErrorStep, &r.Output} {
			*text = ASCII(*text)
		}
	}
	return NewQuery(sql, s.Project, token, r.ExecutionID, r.Version, r.Name, r.Description, r.Checksum,
		string(r.Direction), string(r.State), string(r.Kind), r.Seq, r.Steps, r.Done, r.Begun, string(hashes),
		checkpoint, r.Error, r.ErrorStep, timestamp(r.StartedAt), timestamp(r.FinishedAt), string(holder), r.Operator,
		r.Output, r.OutputDropped, r.ErrorPos)
}

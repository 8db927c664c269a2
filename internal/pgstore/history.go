package pgstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
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

// Revision returns one attempt at a migration, whole.
func (s *Store) Revision(ctx context.Context, execution, version string) (aurora.Revision, error) {
	rows, err := s.Read(ctx, NewQuery(s.SQL.revision, s.Project, execution, version))
	if err != nil {
		return aurora.Revision{}, fmt.Errorf("read version %s of execution %s: %w", version, execution, err)
	}
	if len(rows) == 0 {
		return aurora.Revision{}, fmt.Errorf("version %s of execution %s: %w", version, execution, aurora.ErrNotFound)
	}
	revisions, err := Scan(rows)
	if err != nil {
		return aurora.Revision{}, err
	}
	return revisions[0], nil
}

// Revisions returns a page of the attempts at one migration, newest first. The
// cursor is the place of the page's last: "token.seq.execution".
func (s *Store) Revisions(ctx context.Context, version, cursor string, limit int) ([]aurora.Revision, string, error) {
	if limit < 1 {
		return nil, "", fmt.Errorf("read the history of version %s: a page of %d: want at least 1", version, limit)
	}
	token, seq, execution := int64(math.MaxInt64), 0, ""
	if cursor != "" {
		parts := strings.SplitN(cursor, ".", 3)
		var err1, err2 error
		if len(parts) == 3 {
			token, err1 = strconv.ParseInt(parts[0], 10, 64)
			seq, err2 = strconv.Atoi(parts[1])
			execution = parts[2]
		}
		if len(parts) != 3 || err1 != nil || err2 != nil || int(int32(seq)) != seq {
			return nil, "", fmt.Errorf("read the history of version %s: not a cursor: %q", version, cursor)
		}
	}
	// One more tells whether there is a next page.
	rows, err := s.Read(ctx, NewQuery(s.SQL.revisions, s.Project, version, token, seq, execution, int64(limit)+1))
	if err != nil {
		return nil, "", fmt.Errorf("read the history of version %s: %w", version, err)
	}
	found, err := Scan(rows)
	if err != nil || len(found) <= limit {
		return found, "", err
	}
	last := found[limit-1]
	return found[:limit], fmt.Sprintf("%d.%d.%s", last.Token, last.Seq, last.ExecutionID), nil
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
	rows, err := s.Read(ctx, NewQuery(s.SQL.executions, s.Project, after, int64(limit)+1))
	if err != nil {
		return nil, "", fmt.Errorf("read executions: %w", err)
	}
	found, err := Scan(rows)
	if err != nil {
		return nil, "", err
	}
	slices.SortFunc(found, func(a, b aurora.Revision) int {
		return cmp.Or(strings.Compare(a.ExecutionID, b.ExecutionID), a.Compare(b))
	})
	var groups [][]aurora.Revision
	for start, i := 0, 1; i <= len(found); i++ {
		if i == len(found) || found[i].ExecutionID != found[start].ExecutionID {
			groups = append(groups, found[start:i])
			start = i
		}
	}
	last := func(group []aurora.Revision) aurora.Revision { return group[len(group)-1] }
	slices.SortStableFunc(groups, func(a, b []aurora.Revision) int { return cmp.Compare(last(b).Token, last(a).Token) })
	next := ""
	if len(groups) > limit {
		groups = groups[:limit]
		next = strconv.FormatInt(last(groups[limit-1]).Token, 10)
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
	var sc scanner
	for i, row := range rows {
		var err error
		if out[i], err = sc.scan(row); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// A scanner reads rows of which many texts are those of the row before: it makes
// and decodes them once.
type scanner struct {
	before [23]string
	holder aurora.Holder
}

// text returns a column of the row.
func (sc *scanner) text(row [][]byte, i int) string {
	if sc.before[i] != string(row[i]) {
		sc.before[i] = string(row[i])
	}
	return sc.before[i]
}

// scan reads a row of columns, with description and output if it has them.
func (sc *scanner) scan(row [][]byte) (aurora.Revision, error) {
	var bad error
	text := func(i int) string { return sc.text(row, i) }
	integer := func(i int) int64 {
		n, err := strconv.ParseInt(string(row[i]), 10, 64)
		if err != nil {
			bad = fmt.Errorf("read a revision: column %d: %w", i+1, err)
		}
		return n
	}
	r := aurora.Revision{
		ExecutionID: text(0), Version: text(1), Name: text(2), Checksum: text(3),
		Direction: aurora.Direction(text(4)), State: aurora.State(text(5)), Kind: aurora.Kind(text(6)),
		Token: integer(7), Seq: int(integer(8)), Steps: int(integer(9)), Done: int(integer(10)), Begun: int(integer(11)),
		Checkpoint: bytes.Clone(row[13]),
		Error:      text(14), ErrorStep: text(15), ErrorPos: text(16),
		StartedAt: Micros(row[17]), FinishedAt: Micros(row[18]),
		Operator: text(20), OutputDropped: int(integer(21)),
	}
	if string(row[12]) != "null" { // nothing, of one that is completed
		if err := json.Unmarshal(row[12], &r.Hashes); err != nil {
			bad = fmt.Errorf("read a revision's hashes: %w", err)
		}
	}
	if sc.before[19] != string(row[19]) {
		sc.holder = aurora.Holder{}
		if err := json.Unmarshal(row[19], &sc.holder); err != nil {
			return r, fmt.Errorf("read a revision's holder: %w", err)
		}
		sc.before[19] = string(row[19])
	}
	r.Holder = sc.holder
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

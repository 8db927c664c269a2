package pgstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aurora-migrate/aurora"
)

// The revision tables of other tools. Only the columns that every version of
// them had are read, as text: layouts differ.
const (
	readAtlas = `SELECT version::text, description::text, type::text, applied::text, total::text,
	(extract(epoch from executed_at) * 1000000)::bigint::text, execution_time::text, coalesce(error::text, ''), operator_version::text
	FROM %s WHERE version NOT LIKE '.%%'`
	// The earlier aurora counted in nanoseconds too, and left executed_at open
	// until the first attempt.
	readSeed = `SELECT id::text, description::text, '2', count::text, total::text,
	(extract(epoch from executed_at) * 1000000)::bigint::text, execution_time::text, coalesce(error::text, ''), 'aurora before 1.0'
	FROM %s WHERE executed_at IS NOT NULL`
)

// atlasResolved is the bit of Atlas's revision type for "set by hand", and
// atlasBaseline the one for a baseline.
const (
	atlasBaseline = 1
	atlasResolved = 4
)

// readForeign reads the history that another tool left. The rows come from the
// foreign query: whether our schema exists, then schema, table, whether it is
// where such a table belongs, and whether we may read it. One that belongs there
// and cannot be read is an error: taking it for none would run everything again.
func (s *Store) readForeign(ctx context.Context, rows [][][]byte) ([]aurora.Revision, error) {
	table, template := "", ""
	likely := false
	for _, row := range rows {
		isLikely := string(row[3]) == "true"
		if row[1] == nil || table != "" && (likely || !isLikely) || !isLikely && string(row[4]) != "true" {
			continue
		}
		likely = isLikely
		table = quoteName(string(row[1])) + "." + quoteName(string(row[2]))
		template = readAtlas
		if string(row[2]) == "aurora_schema_revisions" {
			template = readSeed
		}
	}
	if table == "" {
		return nil, nil
	}
	answers, err := s.History(ctx, Apart(NewQuery(fmt.Sprintf(template, table))))
	if err := First(answers, err); err != nil {
		return nil, fmt.Errorf("read the history that is already in %s: %w", table, err)
	}
	var out []aurora.Revision
	for i, row := range answers[0].Rows {
		r := foreignRevision(row)
		r.Foreign, r.Seq = table, i+1
		r.ExecutionID = "import-" + strings.ReplaceAll(table, `"`, "")
		out = append(out, r)
	}
	return out, nil
}

func foreignRevision(row [][]byte) aurora.Revision {
	number := func(i int) int64 {
		n, _ := strconv.ParseInt(string(row[i]), 10, 64) // absent means 0
		return n
	}
	kind, done, total := number(2), int(number(3)), int(number(4))
	r := aurora.Revision{
		Version: string(row[0]), Name: string(row[1]), Direction: aurora.Up, State: aurora.Completed, Kind: aurora.Imported,
		Steps: total, Done: done, StartedAt: Micros(row[5]), Error: string(row[7]), Operator: string(row[8]),
	}
	if !r.StartedAt.IsZero() {
		r.FinishedAt = r.StartedAt.Add(time.Duration(number(6)))
	}
	switch {
	case kind&atlasResolved != 0:
		r.Kind = aurora.Resolved
		r.Done, r.Error = total, ""
	case kind == atlasBaseline:
		r.Kind = aurora.Baseline
	case r.Error != "" || done < total:
		r.State = aurora.Failed
	}
	return r
}

func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

package pgstore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
)

// CheckQueries turns a check into queries that fail on the server unless it
// holds, so that nobody has to look at the answer before going on.
func CheckQueries(c aurora.Check) []Query {
	holds := make([]string, len(c.Statements))
	for i, s := range c.Statements {
		// The line end closes a comment at the end of the statement.
		holds[i] = "(" + s.SQL + "\n) IS TRUE"
	}
	if c.OneOf && len(holds) > 0 {
		holds = []string{strings.Join(holds, " OR ")}
	}
	qs := make([]Query, len(holds))
	for i, h := range holds {
		qs[i] = NewQuery("SELECT 1 / (CASE WHEN " + h + " THEN 1 ELSE 0 END)")
	}
	return qs
}

// CheckError says of the i-th query of a migration's checks which check
// it was, and how it failed.
func CheckError(m aurora.Migration, i int, err error) error {
	for _, c := range m.Checks {
		n := len(c.Statements)
		if c.OneOf {
			n = min(n, 1)
		}
		if i >= n {
			i -= n
			continue
		}
		s := c.Statements[i]
		e := &aurora.StepError{
			Migration: m.ID(), Version: m.Version, Step: s.SQL, Pos: s.Pos(),
			Hint: "nothing of the migration ran",
			Err:  aurora.ErrCheckFailed,
		}
		if !HasCode(err, "22012") {
			e.Err = fmt.Errorf("%w: %w", aurora.ErrCheckFailed, err)
		}
		return e
	}
	return err
}

// StepError puts the server's answer beside the statement it is about, the one
// at index j. With j < 0 it is about the commit of the migration.
func StepError(m aurora.Migration, j int, s aurora.Statement, err error) *aurora.StepError {
	e := &aurora.StepError{Migration: m.ID(), Version: m.Version, Index: j, Err: err}
	if j < 0 {
		e.Pos = m.Source
		return e
	}
	e.Step, e.Pos = s.SQL, s.Pos()
	pgErr, ok := err.(*pgconn.PgError)
	if !ok {
		return e
	}
	// The server quotes values, which may be megabytes.
	brief := *pgErr
	brief.Message, brief.Detail = cut(pgErr.Message), cut(pgErr.Detail)
	e.Err = &brief
	if pgErr.Position > 0 && s.File != "" {
		line, col := position(s.SQL, int(pgErr.Position))
		e.Pos = s.File + ":" + strconv.Itoa(s.Line+line) + ":" + strconv.Itoa(col)
	}
	switch pgErr.Code {
	case "42P07", "42701", "42710", "42723", "42P06":
		e.Hint = "if the database had this before its first apply, that apply has to say where it stood: --baseline VERSION (later it has no effect)"
	case "55P04":
		e.Hint = "a new enum value cannot be used in the transaction that adds it: use it in the next migration"
	}
	return e
}

// cut shortens what is too long to be read.
func cut(s string) string {
	const limit = 4 << 10
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + fmt.Sprintf(" … (%d bytes)", len(s))
}

// position turns PostgreSQL's position, in characters from 1, into lines
// below the first and a column from 1.
func position(sql string, pos int) (line, col int) {
	col = 1
	for _, r := range sql {
		if pos--; pos <= 0 {
			break
		}
		if r == '\n' {
			line, col = line+1, 1
		} else {
			col++
		}
	}
	return line, col
}

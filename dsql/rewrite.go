package dsql

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A Change is one replacement in a statement's text.
type Change struct {
	Rule       string // the rule that asks for it; empty for [ForPostgreSQL]
	Start, End int    // the bytes of the original text that are replaced
	Old, New   string
}

// String says what is replaced by what.
func (c Change) String() string {
	switch {
	case c.Old == "":
		return fmt.Sprintf("insert %q", c.New)
	case c.New == "":
		return fmt.Sprintf("remove %q", c.Old)
	}
	return fmt.Sprintf("replace %q with %q", c.Old, c.New)
}

// Rewrite returns a statement in the words that Aurora DSQL takes, where that
// changes nothing about what it means: an index is built with ASYNC, USING
// btree and a plain ASC go, and a constraint is validated with ASYNC. What the
// profile does not refuse stays. Rewriting the result again changes nothing.
//
// The error says that two changes are about the same text; it is a defect.
func Rewrite(stmt string, p Profile) (text string, changes []Change, err error) {
	var edits []ruledEdit
	for _, f := range features(stmt) {
		if rule, ok := p.refuses(f); ok {
			for _, e := range f.fix {
				edits = append(edits, ruledEdit{rule.ID, e})
			}
		}
	}
	return apply(stmt, edits)
}

// ForPostgreSQL returns a statement written for Aurora DSQL in the words that
// PostgreSQL takes: CREATE INDEX ASYNC becomes CREATE INDEX CONCURRENTLY, and
// ALTER TABLE ASYNC becomes ALTER TABLE. PostgreSQL itself would read "CREATE
// INDEX async ON t (a)" as an index of that name; here it has none.
func ForPostgreSQL(stmt string) (text string, changes []Change, err error) {
	info := sqllex.Classify(stmt)
	if !info.Async {
		return stmt, nil, nil
	}
	e := removal(stmt, info.Mode)
	if info.Kind == sqllex.CreateIndex {
		e = sqllex.Edit{Span: info.Mode, Text: "CONCURRENTLY"}
	}
	return apply(stmt, []ruledEdit{{"", e}})
}

type ruledEdit struct {
	rule string
	edit sqllex.Edit
}

func apply(stmt string, edits []ruledEdit) (string, []Change, error) {
	if len(edits) == 0 {
		return stmt, nil, nil
	}
	slices.SortStableFunc(edits, func(a, b ruledEdit) int { return cmp.Compare(a.edit.Span.Start, b.edit.Span.Start) })
	plain := make([]sqllex.Edit, len(edits))
	for i, e := range edits {
		plain[i] = e.edit
	}
	text, err := sqllex.Apply(stmt, plain...)
	if err != nil {
		return "", nil, fmt.Errorf("rewrite for Aurora DSQL: %w", err)
	}
	changes := make([]Change, len(edits))
	for i, e := range edits {
		span := e.edit.Span
		changes[i] = Change{Rule: e.rule, Start: span.Start, End: span.End, Old: stmt[span.Start:span.End], New: e.edit.Text}
	}
	return text, changes, nil
}

// SourceOffset gives the byte of the original text that stands for a byte of
// the rewritten one, for the positions in a server's errors. A byte of text
// that was put in stands for where it was.
func SourceOffset(changes []Change, offset int) int {
	shift := 0
	for _, c := range changes {
		start := c.Start + shift
		switch {
		case offset < start:
			return offset - shift
		case offset < start+len(c.New):
			return c.Start
		}
		shift += len(c.New) - len(c.Old)
	}
	return offset - shift
}

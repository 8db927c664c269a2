package dsql

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A Change is one replacement in a statement's text.
type Change struct {
	Rule       string // the rule that asks for it
	Start, End int    // the bytes of the original text that are replaced
	Old, New   string
}

// String says what is different, as it reads behind "sent": with "ASYNC"
// instead of "CONCURRENTLY", without "USING btree".
func (c Change) String() string {
	was, is := strings.TrimSpace(c.Old), strings.TrimSpace(c.New)
	switch {
	case was == "":
		return `with "` + is + `"`
	case is == "":
		return `without "` + was + `"`
	}
	return `with "` + is + `" instead of "` + was + `"`
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

// NumericDefaults returns the edits that write out what Aurora DSQL makes of a
// column of type numeric without precision, numeric(18,6), for a server to which
// it means any number. They are in order.
func NumericDefaults(stmt string) []sqllex.Edit {
	var edits []sqllex.Edit
	for _, f := range features(stmt) {
		if f.name == numericFeature {
			edits = append(edits, sqllex.Edit{Span: sqllex.Span{Start: f.span.End, End: f.span.End}, Text: "(18,6)"})
		}
	}
	slices.SortFunc(edits, func(a, b sqllex.Edit) int { return cmp.Compare(a.Span.Start, b.Span.Start) })
	return edits
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

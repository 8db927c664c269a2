package policy

import (
	"strings"
	"testing"

	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/localdsql/internal/policy/cases"
)

func latest(t testing.TB) *Policy {
	t.Helper()
	rules, err := dsql.Latest()
	if err != nil {
		t.Fatal(err)
	}
	return New(rules)
}

// TestCases: what the text of a statement decides, Decide decides; and it lets
// pass all else.
func TestCases(t *testing.T) {
	all, err := cases.All()
	if err != nil {
		t.Fatal(err)
	}
	p := latest(t)
	for _, c := range all {
		before := append(append([]string{}, c.Setup...), c.Cleanup...)
		last := c.SQL[len(c.SQL)-1]
		if c.By == cases.ByMessage {
			before = append(before, p.Split(last)...)
			last = ""
		} else {
			before = append(before, c.SQL[:len(c.SQL)-1]...)
		}
		for _, sql := range before {
			if r := p.Decide(sql).Refusal; r != nil {
				t.Errorf("%s: %s is refused: %s", c, sql, r)
			}
		}
		d := p.Decide(last)
		switch {
		case c.By == cases.ByText && d.Refusal == nil:
			t.Errorf("%s: is not refused, want %s %s", c, c.Code, c.Message)
		case c.By == cases.ByText && (d.Refusal.Code != c.Code || d.Refusal.Message != c.Message):
			t.Errorf("%s:\n got %s %s\nwant %s %s", c, d.Refusal.Code, d.Refusal.Message, c.Code, c.Message)
		case c.By != cases.ByText && d.Refusal != nil && c.Code != "25P02":
			t.Errorf("%s: is refused: %s", c, d.Refusal)
		}
		if c.Tag != "" && d.Tag != "" && d.Tag != c.Tag {
			t.Errorf("%s: tag %s, want %s", c, d.Tag, c.Tag)
		}
		if (c.Code == "") != (c.Message == "") || c.Code == "" && c.By != cases.ByNone && c.By != cases.ByMessage && c.By != cases.BySession {
			t.Errorf("%s: code %q, message %q, by %q", c, c.Code, c.Message, c.By)
		}
		// Space, comments and semicolons around a statement change nothing.
		around := p.Decide("\n -- x\n" + last + " /* TRUNCATE */ ;  ")
		if (around.Refusal == nil) != (d.Refusal == nil) || d.Refusal != nil && around.Refusal.Message != d.Refusal.Message || around.Class != d.Class {
			t.Errorf("%s: with space around it %v, %v", c, around.Refusal, around.Class)
		}
		if !strings.Contains(last, "--") && strings.Contains(d.SQL, "--") {
			t.Errorf("%s: a comment in what is sent: %s", c, d.SQL)
		}
	}
}

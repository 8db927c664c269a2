package dsql

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const (
	docsPage  = "../docs/dsql.md"
	docsBegin = "<!-- generated from dsql/rules by UPDATE_DOCS=1 go test ./dsql -->\n"
	docsEnd   = "<!-- end of what is generated -->\n"
)

// TestDocs keeps the tables of docs/dsql.md as the rules are.
func TestDocs(t *testing.T) {
	rules, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(docsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), docsBegin)
	old, after, ok2 := strings.Cut(rest, docsEnd)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the lines around what is generated", docsPage)
	}
	want := tables(rules)
	if old == want {
		return
	}
	if os.Getenv("UPDATE_DOCS") == "" {
		t.Fatalf("%s is not what the rules say: run UPDATE_DOCS=1 go test ./dsql", docsPage)
	}
	if err := os.WriteFile(docsPage, []byte(before+docsBegin+want+docsEnd+after), 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestDocsNameTheSources: the page explains every tag.
func TestDocsNameTheSources(t *testing.T) {
	rules, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(docsPage)
	if err != nil {
		t.Fatal(err)
	}
	for rule := range rules.all {
		for _, s := range rule.Sources {
			tag, _, _ := strings.Cut(s, ":")
			tag, _, _ = strings.Cut(tag, " #")
			if !strings.Contains(string(page), "`"+tag+"`") {
				t.Errorf("%s does not explain the source %q of %s", docsPage, tag, rule.ID)
			}
		}
	}
}

func tables(rules Rules) string {
	var b strings.Builder
	for _, s := range rules.Sections {
		fmt.Fprintf(&b, "\n### %s\n\n", s.Title)
		fmt.Fprintf(&b, "Checked %s.\n\n| rule | refused or limited | write instead | server says | sources |\n|---|---|---|---|---|\n", s.Checked)
		for _, r := range s.Rules {
			if r.State == Allowed {
				continue
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.ID, cell(what(r)), cell(r.Advice), cell(says(r)), cell(strings.Join(r.Sources, ", ")))
		}
	}
	b.WriteString("\n")
	return b.String()
}

// what is refused, and when.
func what(r Rule) string {
	s := r.What
	switch {
	case len(r.Match) > 0:
	case r.Max != 0:
		s += fmt.Sprintf(": at most %d %s", r.Max, r.Unit)
	default:
		s += fmt.Sprintf(": at least %d %s", r.Min, r.Unit)
	}
	if r.Since != "" {
		s += ", since " + r.Since
	}
	if r.Until != "" {
		s += ", **before " + r.Until + " only**"
	}
	return s
}

func says(r Rule) string {
	message := "`" + r.Message + "`"
	switch {
	case r.Message == "":
		message = "not known"
	case !r.Verbatim:
		message += " (by pattern)"
	}
	if r.SQLState == "" {
		return message
	}
	return r.SQLState + " " + message
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Pos is a place in the project file.
type Pos struct {
	// File is the path as the user gave it.
	File string
	// Line and Column count from 1. Both are 0 when only the file is known.
	Line, Column int
}

// String returns file:line:column, or the file alone when that is all there is.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Warning is a remark about the file that does not stop a run.
type Warning struct {
	Pos  Pos
	Text string
}

// String returns the place and the text.
func (w Warning) String() string { return w.Pos.String() + ": " + w.Text }

// Diagnostic is one thing that is wrong with the file.
type Diagnostic struct {
	// Pos is where it is.
	Pos Pos
	// Text says what is wrong.
	Text string
	// Advice says what to do about it; it may be empty.
	Advice string

	cause error
}

// String returns place, text and advice in one line.
func (d Diagnostic) String() string {
	s := d.Pos.String() + ": " + d.Text
	if d.Advice != "" {
		s += "; " + d.Advice
	}
	return s
}

// Error is everything that is wrong with the file, as far as it was seen.
type Error struct {
	Diagnostics []Diagnostic
}

// maxShown bounds an error message: a file that is not HCL at all has hundreds.
const maxShown = 10

// Error returns one line per diagnostic, and at most ten.
func (e *Error) Error() string {
	var lines []string
	for i, d := range e.Diagnostics {
		if i == maxShown {
			lines = append(lines, fmt.Sprintf("and %d more", len(e.Diagnostics)-i))
			break
		}
		lines = append(lines, d.String())
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the causes, for errors.Is and errors.As. Their texts may hold
// secrets; the text of Error does not.
func (e *Error) Unwrap() []error {
	var causes []error
	for _, d := range e.Diagnostics {
		if d.cause != nil {
			causes = append(causes, d.cause)
		}
	}
	return causes
}

// posOf returns the start of an HCL range.
func posOf(r hcl.Range) Pos {
	return Pos{File: r.Filename, Line: r.Start.Line, Column: r.Start.Column}
}

// errAt returns an *Error with one diagnostic.
func errAt(r hcl.Range, advice, format string, args ...any) *Error {
	return &Error{Diagnostics: []Diagnostic{{
		Pos: posOf(r), Text: fmt.Sprintf(format, args...), Advice: advice,
	}}}
}

// because adds the error behind the diagnostics, and returns e.
func (e *Error) because(cause error) *Error {
	for i := range e.Diagnostics {
		e.Diagnostics[i].cause = cause
	}
	return e
}

// fromHCL turns the errors among HCL's diagnostics into ours.
func fromHCL(diags hcl.Diagnostics, hide func(string) string) *Error {
	out := &Error{}
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		var pos Pos
		if d.Subject != nil {
			pos = posOf(*d.Subject)
		}
		text := lowerFirst(d.Summary)
		if d.Detail != "" {
			text += ": " + oneLine(d.Detail)
		}
		out.Diagnostics = append(out.Diagnostics, Diagnostic{Pos: pos, Text: hide(text)})
	}
	return out
}

// oneLine cuts what follows a recovered panic (a stack trace with paths of the
// build machine) and joins the other lines.
func oneLine(s string) string {
	if head, _, ok := strings.Cut(s, "\ngoroutine "); ok {
		s = head
	}
	s = strings.Join(strings.Fields(s), " ")
	return strings.TrimSuffix(s, ".")
}

func lowerFirst(s string) string {
	if len(s) > 1 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'a' && s[1] <= 'z' {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}

// join puts errors of this package into one *Error, without repetitions: the
// same broken local may be reached from several attributes.
func join(errs []*Error) error {
	out := &Error{}
	seen := make(map[string]bool)
	for _, err := range errs {
		for _, d := range err.Diagnostics {
			if s := d.String(); !seen[s] {
				seen[s] = true
				out.Diagnostics = append(out.Diagnostics, d)
			}
		}
	}
	if len(out.Diagnostics) == 0 {
		return nil
	}
	slices.SortStableFunc(out.Diagnostics, func(a, b Diagnostic) int { return comparePos(a.Pos, b.Pos) })
	return out
}

func comparePos(a, b Pos) int {
	return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

// didYouMean returns `did you mean "x"?` for the nearest of the known names,
// or "" when none is near.
func didYouMean(name string, known []string) string {
	if best := nearest(name, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return ""
}

// nearest returns the known name that differs least from name, when it differs
// by no more than a typing error or two.
func nearest(name string, known []string) string {
	limit := 1 + len(name)/5
	best := ""
	for _, k := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k)); d <= limit && k != name {
			best, limit = k, d-1
		}
	}
	return best
}

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b (optimal string alignment).
func editDistance(a, b string) int {
	s, t := []rune(a), []rune(b)
	const far = 1 << 20
	if len(s) > 100 || len(t) > 100 {
		return far
	}
	prev2, prev, cur := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(s); i++ {
		cur[0] = i
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(t)]
}

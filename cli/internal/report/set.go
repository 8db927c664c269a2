package report

import (
	"fmt"
	"strings"
)

// A SetOp is one change that "migrate set" made to the history.
type SetOp struct {
	Version     string `json:"Version"`
	Description string `json:"Description,omitempty"`
	Op          string `json:"Op"` // set or remove
}

// A Set is what "migrate set" did.
type Set struct {
	Paint     Paint   `json:"-"`
	Current   string  `json:"Current,omitempty"`
	Revisions []SetOp `json:"Revisions,omitempty"`
}

// Summary counts the changes: "2 set, 1 removed".
func (s *Set) Summary() string {
	var set, removed int
	for _, r := range s.Revisions {
		if r.Op == "set" {
			set++
		} else {
			removed++
		}
	}
	var parts []string
	if set > 0 {
		parts = append(parts, fmt.Sprintf("%d set", set))
	}
	if removed > 0 {
		parts = append(parts, fmt.Sprintf("%d removed", removed))
	}
	return strings.Join(parts, ", ")
}

// Text returns the default text.
func (s *Set) Text() string {
	p := s.Paint
	if len(s.Revisions) == 0 {
		return fmt.Sprintf("Current version is %s (nothing to set)\n", p.Cyan(s.Current))
	}
	var b strings.Builder
	if s.Current == "" {
		fmt.Fprintf(&b, "All revisions deleted (%d in total):\n\n", len(s.Revisions))
	} else {
		fmt.Fprintf(&b, "Current version is %s (%s):\n\n", p.Cyan(s.Current), s.Summary())
	}
	for _, r := range s.Revisions {
		sign := p.Green("+")
		if r.Op != "set" {
			sign = p.Red("-")
		}
		b.WriteString("  " + sign + " " + r.Version)
		if r.Description != "" {
			b.WriteString(" (" + r.Description + ")")
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return b.String()
}

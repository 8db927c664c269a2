package report

import (
	"fmt"
	"io"
	"strings"
)

// The default text of apply and down is written in pieces, so that each can be
// shown when it happens: WriteHeader, WriteFile for each migration, WriteFooter.

// WriteHeader writes what comes before the first migration.
func (p Paint) WriteHeader(w io.Writer, header string) error {
	_, err := fmt.Fprintln(w, header)
	return err
}

// WriteFile writes one migration. The verb is "migrating" or "reverting".
func (p Paint) WriteFile(w io.Writer, f *AppliedFile, verb string, dryRun bool) error {
	var b strings.Builder
	b.WriteByte('\n')
	for _, c := range f.Checks {
		fmt.Fprintf(&b, "  %s checks before %s version %s\n", p.Yellow("--"), verb, p.Cyan(f.Version))
		for _, s := range c.Stmts {
			arrow := p.Cyan("->")
			if s.Error != nil {
				arrow = p.Red("->")
			}
			fmt.Fprintf(&b, "    %s %s\n", arrow, indentLn(s.Stmt, 7))
		}
		if c.Error != nil {
			fmt.Fprintf(&b, "    %s\n", p.RedBgWhiteFg(c.Error.Text))
		} else {
			fmt.Fprintf(&b, "  %s ok\n\n", p.Yellow("--"))
		}
	}
	if !f.checksFailed() {
		refused := false
		fmt.Fprintf(&b, "  %s %s version %s\n", p.Yellow("--"), verb, p.Cyan(f.Version))
		for i, s := range f.Applied {
			fmt.Fprintf(&b, "    %s %s\n", p.Cyan("->"), indentLn(s, 7))
			for _, w := range f.Rewrites {
				if w.Index == i {
					fmt.Fprintf(&b, "       %s sent %s\n", p.Yellow("--"), strings.Join(w.Changes, ", "))
				}
			}
			for _, r := range f.Refused {
				if r.Index == i {
					refused = true
					fmt.Fprintf(&b, "       %s\n", p.RedBgWhiteFg(r.Text))
				}
			}
		}
		switch {
		case refused:
			fmt.Fprintf(&b, "  %s %s\n", p.Yellow("--"), p.Red("refused"))
		case f.Error != nil:
			fmt.Fprintf(&b, "    %s\n", p.RedBgWhiteFg(f.Error.Text))
		case dryRun:
			fmt.Fprintf(&b, "  %s ok (dry run)\n", p.Yellow("--"))
		default:
			fmt.Fprintf(&b, "  %s ok (%s)\n", p.Yellow("--"), p.Yellow(f.End.Sub(f.Start).String()))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteFooter writes what comes after the last migration. The error is one
// that no migration has shown already, or empty.
func (p Paint) WriteFooter(w io.Writer, summary, failure string) error {
	var b strings.Builder
	if failure != "" {
		fmt.Fprintf(&b, "\n    %s\n", p.RedBgWhiteFg(failure))
	}
	fmt.Fprintf(&b, "\n  %s\n  %s\n", p.Cyan(strings.Repeat("-", 25)), summary)
	_, err := io.WriteString(w, b.String())
	return err
}

// Text returns the default text of status.
func (s *Status) Text() string {
	p, dashes := s.Paint, s.Paint.Yellow("--")
	var b strings.Builder
	b.WriteString("Migration Status:")
	switch s.Status {
	case OK:
		b.WriteString(" " + p.Green(s.Status))
	case Changed:
		b.WriteString(" " + p.Red(s.Status))
	default:
		b.WriteString(" " + p.Yellow(s.Status))
	}
	partly, steps, sql := s.Total > 0, "statements", "SQL:  "
	if s.Code {
		steps, sql = "steps", "STEP: "
	}
	fmt.Fprintf(&b, "\n  %s Current Version: %s", dashes, p.Cyan(s.Current))
	if partly {
		fmt.Fprintf(&b, " (%s %s applied)", p.Yellow("%d", s.Count), steps)
	}
	next := "UNKNOWN"
	if s.Next != "" {
		next = p.Cyan(s.Next)
		if s.FromCheckpoint() {
			next += " (checkpoint)"
		}
	}
	fmt.Fprintf(&b, "\n  %s Next Version:    %s", dashes, next)
	if partly {
		fmt.Fprintf(&b, " (%s %s left)", p.Yellow("%d", s.Left()), steps)
	}
	if s.About != "" {
		fmt.Fprintf(&b, "\n  %s Next Migration:  %s", dashes, s.About)
	}
	fmt.Fprintf(&b, "\n  %s Executed Files:  %d", dashes, len(s.Applied))
	if partly {
		b.WriteString(" (last one partially)")
	}
	fmt.Fprintf(&b, "\n  %s Pending Files:   %d", dashes, len(s.Pending)+len(s.OutOfOrder))
	switch {
	case len(s.OutOfOrder) > 0 && len(s.Pending) > 0:
		fmt.Fprintf(&b, " (%d out of order)", len(s.OutOfOrder))
	case len(s.OutOfOrder) > 0:
		b.WriteString(" (out of order)")
	}
	if s.History != "" {
		fmt.Fprintf(&b, "\n  %s History:         %s", dashes, s.History)
	}
	b.WriteByte('\n')
	s.writeTrouble(&b, sql)
	return b.String()
}

func (s *Status) writeTrouble(b *strings.Builder, sql string) {
	p, dashes := s.Paint, s.Paint.Yellow("--")
	if s.LastState != "" && s.LastState != "failed" {
		state := p.Yellow(s.LastState)
		if s.LastState == "running" {
			state += " (or its process died: aurora migrate lock tells)"
		}
		fmt.Fprintf(b, "\nLast migration attempt: %s, by %s\n", state, s.LastHolder)
		if s.Activity != "" {
			fmt.Fprintf(b, "  %s In the database: %s\n", dashes, s.Activity)
		}
	}
	if len(s.Ahead) > 0 {
		fmt.Fprintf(b, "\nThe database is ahead of the directory: %s\n", strings.Join(s.Ahead, ", "))
	}
	switch {
	case s.LastState == "interrupted" && s.SQL != "":
		fmt.Fprintf(b, "  %s %s %s\n", dashes, sql, s.SQL)
	case s.SQL != "":
		fmt.Fprintf(b, "\nLast migration attempt had errors:\n  %s %s %s\n  %s %s %s\n", dashes, sql, s.SQL, dashes, p.Red("ERROR:"), s.Error)
	case s.Error != "":
		fmt.Fprintf(b, "\n  %s %s\n", p.Red("ERROR:"), s.Error)
	}
	if s.LockedBy != "" {
		fmt.Fprintf(b, "\nThe lock is held by %s\n", s.LockedBy)
	}
}

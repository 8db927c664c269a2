package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli/internal/report"
)

// text is what show writes: the migration's description, the attempts, and what
// comes next.
func (s *biography) text(paint report.Paint) string {
	var b strings.Builder
	about := paint.Markdown(s.Description)
	if about != "" || len(s.Attempts) == 0 {
		fmt.Fprintf(&b, "%s  %s\n", aurora.Migration{Version: s.Version, Name: s.Name}.ID(), strings.ReplaceAll(s.Status, "_", " "))
	}
	if about != "" {
		b.WriteString("  " + strings.ReplaceAll(about, "\n", "\n  ") + "\n")
	}
	if len(s.Attempts) == 0 {
		b.WriteString("  (it has not run yet)\n")
	}
	for i, r := range s.Attempts {
		if r.OutputOmitted {
			fmt.Fprintf(&b, "\nolder attempts, %d (whole with --attempts 0)\n", len(s.Attempts)-i)
			for _, r := range s.Attempts[i:] {
				writeShort(&b, r.Revision)
			}
			break
		}
		if i > 0 || about != "" {
			b.WriteByte('\n')
		}
		writeAttempt(&b, paint, r.Revision, s.Description)
	}
	if s.History != "" || s.Next != "" {
		b.WriteByte('\n')
	}
	for _, l := range [][2]string{{"next", s.Next}, {"history", s.History}} {
		if l[1] != "" {
			fmt.Fprintf(&b, "%-12s %s\n", l[0], l[1])
		}
	}
	// Lines of a description that are empty get no blanks.
	return strings.TrimSuffix(strings.ReplaceAll(b.String(), "\n  \n", "\n\n"), "\n")
}

// writeAttempt writes one attempt at a migration that is described so.
func writeAttempt(b *strings.Builder, paint report.Paint, r aurora.Revision, description string) {
	fmt.Fprintf(b, "%s  %s %s", r.ID(), r.Direction, r.State)
	if r.Kind != aurora.Applied {
		fmt.Fprintf(b, " (%s)", r.Kind)
	}
	b.WriteString("\n")
	line := func(name, value string) {
		if value = strings.TrimRight(report.Plain(value), "\n"); value != "" {
			fmt.Fprintf(b, "  %-10s %s\n", name, strings.ReplaceAll(value, "\n", "\n             "))
		}
	}
	line("started", r.StartedAt.UTC().Format(time.RFC3339))
	if !r.FinishedAt.IsZero() {
		line("took", r.FinishedAt.Sub(r.StartedAt).String())
	}
	line("by", r.Holder.String())
	line("reason", r.Holder.Reason)
	line("with", r.Operator)
	line("execution", r.ExecutionID)
	line("steps", fmt.Sprintf("%d of %d", finished(r), r.Steps))
	line("checkpoint", pretty(r.Checkpoint))
	line("at", r.ErrorPos)
	if r.ErrorPos == "" {
		line("step", r.ErrorStep) // a function
	} else {
		line("statement", r.ErrorStep)
	}
	line("error", r.Error)
	if r.Description != "" && r.Description != description {
		fmt.Fprintf(b, "  %-10s %s\n", "about", strings.ReplaceAll(paint.Markdown(r.Description), "\n", "\n             "))
	}
	output := r.Output
	if r.OutputDropped > 0 {
		output = fmt.Sprintf("(%d older lines are gone: the last %d KB are kept)\n", r.OutputDropped, aurora.OutputLimit/1024) + output
	}
	line("output", output)
}

// writeShort writes an attempt as one line.
func writeShort(b *strings.Builder, r aurora.Revision) {
	fmt.Fprintf(b, "  %s  %s %s", r.StartedAt.UTC().Format(time.RFC3339), r.Direction, r.State)
	if r.Kind != aurora.Applied {
		fmt.Fprintf(b, " (%s)", r.Kind)
	}
	fmt.Fprintf(b, ", %d of %d steps, by %s", finished(r), r.Steps, firstLine(r.Holder.String()))
	if text := firstLine(r.Error); text != "" {
		b.WriteString(": " + text)
	}
	b.WriteByte('\n')
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(report.Plain(text), "\n")
	return line
}

// pretty indents JSON, and leaves what is none as it is.
func pretty(raw json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return string(raw)
	}
	return b.String()
}

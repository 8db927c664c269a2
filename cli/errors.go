package cli

// How errors are said: one message on standard error that begins with
// "Error: ", what and where, then what the database adds, then a line that
// begins with "hint: " when there is something to do. No full stop at the end,
// nothing twice, no secrets.

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli/internal/report"
)

// printError writes an error that the output has not shown yet.
func (a *app) printError(ctx context.Context, err error) {
	var shown *reportedError
	if errors.As(err, &shown) {
		return
	}
	paint := a.term.paint && report.Paint(a.term.errIsTerminal)
	var b strings.Builder
	prefix := paint.Red("Error:")
	var (
		step    *aurora.StepError
		refused *refusedError
	)
	switch {
	case exitCode(ctx, err) == ExitInterrupted:
		fmt.Fprintf(&b, "%s %s\n", prefix, interruptedText(err))
	case errors.As(err, &refused):
		refused.write(&b, prefix)
	case errors.As(err, &step):
		b.WriteString(prefix + " ")
		writeFailure(&b, describe(step))
	default:
		fmt.Fprintf(&b, "%s %s\n", prefix, a.errorText(err))
	}
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(&b, "hint: %s\n", a.asTyped(hint))
	}
	_, _ = a.err.Write([]byte(b.String()))
}

func writeFailure(b *strings.Builder, f failure) {
	fmt.Fprintf(b, "%s: %s\n", f.where, f.message)
	if f.excerpt != "" {
		b.WriteString("\n" + f.excerpt + "\n")
	}
	if f.detail != "" {
		fmt.Fprintf(b, "detail: %s\n", f.detail)
	}
	if f.hint != "" {
		fmt.Fprintf(b, "hint: %s\n", f.hint)
	}
}

// A refusedError has all the reasons for which nothing ran, where there are
// several.
type refusedError struct {
	err   error // the first
	steps []*aurora.StepError
}

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// refusalsShown bounds how many reasons are written.
const refusalsShown = 20

func (e *refusedError) write(b *strings.Builder, prefix string) {
	fmt.Fprintf(b, "%s nothing ran, for %d reasons\n", prefix, len(e.steps))
	for i, step := range e.steps {
		if i == refusalsShown {
			fmt.Fprintf(b, "\n… and %d more, which --dry-run shows\n", len(e.steps)-i)
			return
		}
		f := describe(step)
		f.message = strings.TrimPrefix(f.message, "nothing ran: ")
		b.WriteByte('\n')
		writeFailure(b, f)
	}
}

// interruptedText says where a run was when it was interrupted.
func interruptedText(err error) string {
	var step *aurora.StepError
	if errors.As(err, &step) {
		where := step.Pos
		if where == "" {
			where = step.Migration
		}
		return "interrupted while running " + where
	}
	return "interrupted"
}

// A hinter is an error of a package below that says what to do about it, and
// not in its text.
type hinter interface {
	error
	Hint() string
}

// hintOf says what to do about an error, where its text does not.
func hintOf(err error) string {
	var (
		usage  *usageError
		hint   *hintError
		step   *aurora.StepError
		locked *aurora.LockedError
		below  hinter
	)
	switch {
	case errors.Is(err, aurora.ErrInterrupted) && !errors.As(err, &step):
		return ""
	case errors.As(err, &usage):
		return usage.Hint
	case errors.As(err, &hint):
		return hint.Hint
	case errors.As(err, &step) && errors.Is(err, aurora.ErrInterrupted) && step.Hint != "":
		return "the lock is released; " + step.Hint
	case errors.As(err, &step) && errors.Is(err, aurora.ErrInterrupted):
		return "the lock is released; run the same command again to go on"
	case errors.As(err, &step):
		return "" // writeFailure shows the step's own
	case errors.As(err, &locked):
		return "see who holds it: aurora migrate lock; apply and down wait as long as --lock-timeout says"
	case errors.As(err, &below):
		return below.Hint()
	case isNoTable(err):
		return "for development: aurora migrate history create; elsewhere the table belongs to the code of the infrastructure"
	case isDiskFull(err):
		return "free some space, or put the project on another disk"
	}
	return ""
}

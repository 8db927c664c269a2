// Package cli is the command line of aurora. [Main] is the whole program; a
// project with Go migrations builds its own binary from the same function:
//
//	func main() { os.Exit(cli.Main(migrations.Migrations)) }
//
// Each command is one file with three parts: the constructor, which only tells
// cobra about it, its options, and the run function, which does the work and
// knows nothing of cobra. wire.go and wire_history.go are the only places that
// know which package opens a database or a history, or reads a directory.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/config"
)

// The exit codes, which are a promise to scripts.
const (
	ExitDone        = 0   // done, or nothing to do
	ExitFailed      = 1   // a migration, the database or the system failed
	ExitUsage       = 2   // the command line, the configuration or the directory is wrong
	ExitPending     = 3   // status: not everything is applied
	ExitLocked      = 4   // somebody else holds the lock
	ExitChanged     = 5   // what was applied is no longer what the directory holds
	ExitInterrupted = 130 // stopped by a signal
)

// Streams are what a run of the program talks to.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// LookupEnv reads environment variables. Defaults to [os.LookupEnv].
	LookupEnv func(string) (string, bool)
}

// Main runs the program for this process and returns its exit code. Go
// migrations join the .sql files of the directory in one timeline. Without any
// argument, which is what the program aurora does, it builds a program that has
// the directory's Go migrations when it needs one, and becomes it; with one,
// even an empty slice, it never builds anything.
//
// The first SIGINT, SIGTERM or SIGHUP stops the run in good order and releases
// the lock, the second ends the process at once. A closed standard output does
// not stop a run.
func Main(migrations ...[]aurora.Migration) int {
	a := newApp(Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, migrations...)
	a.become = becomeProgram
	return a.main(os.Args[1:])
}

// Run runs the program with the given arguments, without its name, and returns
// the exit code. Canceling the context stops it as a signal does. Where Main
// becomes another program, Run runs that program and waits for it.
func Run(ctx context.Context, args []string, streams Streams, migrations ...[]aurora.Migration) int {
	return newApp(streams, migrations...).run(ctx, args)
}

// An app is one run of the program.
type app struct {
	in         io.Reader
	out, err   io.Writer
	lookupEnv  func(string) (string, bool)
	migrations []aurora.Migration // Go migrations
	hasGo      bool               // Main was given a slice of them
	program    Program            // with the project inside, if any
	warnings   []config.Warning   // about the project file, not said yet
	term       *terminal
	secrets    *secrets
	log        *slog.Logger

	open opener
	now  func() time.Time

	// What another program needs that is to take over, and how it does.
	args    []string
	streams Streams
	become  func(ctx context.Context, a *app, path string) error

	// given are the flags that say what to work on, for commands in advice.
	given []givenFlag

	// started is set when a command's run function was reached: errors before
	// that are mistakes on the command line.
	started bool
}

func newApp(s Streams, migrations ...[]aurora.Migration) *app {
	a := &app{
		in: s.In, lookupEnv: s.LookupEnv, secrets: &secrets{}, now: time.Now, open: openTarget,
		migrations: slices.Concat(migrations...), hasGo: len(migrations) > 0, streams: s, become: runProgram,
	}
	if a.lookupEnv == nil {
		a.lookupEnv = os.LookupEnv
	}
	a.term = newTerminal(s.Out, s.Err, a.lookupEnv)
	a.out = &pipeWriter{w: a.term.out()}
	a.err = &secretWriter{w: a.term.err(), secrets: a.secrets}
	a.log = slog.New(slog.NewTextHandler(a.err, nil))
	return a
}

func (a *app) run(ctx context.Context, args []string) int {
	a.args = args
	root := a.newRootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	a.term.stopLine()
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	a.warn()
	if err != nil && !a.started {
		err = &usageError{Err: err, Hint: "see: aurora --help"}
	}
	if pw, ok := a.out.(*pipeWriter); ok && err == nil && pw.failed != nil {
		err = fmt.Errorf("write the output: %w", pw.failed)
	}
	code := exitCode(ctx, err)
	if code != ExitDone {
		a.printError(ctx, err)
	}
	return code
}

// say writes a line to standard output.
func (a *app) say(format string, args ...any) {
	// Whoever closed standard output does not want it; see pipeWriter.
	_, _ = fmt.Fprintf(a.out, format+"\n", args...)
}

// A reportedError is one that the output has shown already.
type reportedError struct{ err error }

func (e *reportedError) Error() string { return e.err.Error() }
func (e *reportedError) Unwrap() error { return e.err }

// errPending is how status says that not everything is applied.
var errPending = errors.New("not everything is applied")

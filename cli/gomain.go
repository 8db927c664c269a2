package cli

// Migrations in Go are compiled, so a program must have them. One that called
// Main with a slice does. The stock program, which has none, builds one around
// the directory's package when a command needs to run code, and becomes it:
// from then on everything is as if the project had a program of its own.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/gobuild"
	"github.com/aurora-migrate/aurora/sqlfile"
)

// goDir returns the path of an environment's directory when it is a Go package
// with migrations.
func (s settings) goDir() (string, bool) {
	if _, ok := s.rendered(); ok || s.files != nil {
		return "", false
	}
	dir, err := sqlfile.Path(s.dir)
	if err != nil {
		return "", false
	}
	return dir, gobuild.IsPackage(dir)
}

// sameCode refuses instances of an environment of which some have a directory
// with migrations in Go and others another directory: one program has the code
// of one.
func (a *app) sameCode(all []settings) error {
	for _, s := range all {
		dir, ok := s.goDir()
		if !ok {
			continue
		}
		for _, other := range all {
			if path, err := sqlfile.Path(other.dir); err == nil && path == dir {
				continue
			}
			return &usageError{
				Err: fmt.Errorf("env %q: the migrations of instance %q are in %s, some in Go, and those of instance %q in %s; one run has the Go code of one directory",
					s.env.Name, s.env.Instance, dir, other.env.Instance, other.dir),
				Hint: "use one directory for all instances, or an environment for each",
			}
		}
	}
	return nil
}

// goMigrations are this program's migrations in Go, checked against the files
// of the directory where it has them.
func (a *app) goMigrations(s settings) ([]aurora.Migration, error) {
	migrations := slices.Clone(a.migrations)
	if err := gobuild.CheckValues(migrations); err != nil {
		return nil, err
	}
	dir, ok := s.goDir()
	if !ok {
		return migrations, nil
	}
	p, err := gobuild.Read(dir)
	if err != nil {
		return nil, err
	}
	return migrations, p.Check(migrations)
}

// listGo are the migrations in Go as the files tell of them: without steps.
func listGo(dir string) ([]aurora.Migration, error) {
	p, err := gobuild.Read(dir)
	if err != nil {
		return nil, err
	}
	if err := p.CheckSource(); err != nil {
		return nil, err
	}
	var migrations []aurora.Migration
	for _, f := range p.Files {
		migrations = append(migrations, aurora.Migration{Version: f.Version, Name: f.Name, Source: f.Path})
	}
	return migrations, nil
}

// An exitError is the exit code of the program that took over. That program
// has said everything.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// runProgram runs the program in place of this one and passes on signals and
// the exit code, where a process cannot become another one.
func runProgram(ctx context.Context, a *app, path string) error {
	cmd := exec.Command(path, a.args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.streams.In, a.streams.Out, a.streams.Err
	cmd.WaitDelay = time.Second // for an input that never ends
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the program with the Go migrations: %w", err)
	}
	stop := context.AfterFunc(ctx, func() {
		// A console tells its programs itself; see os.Process.Signal.
		_ = cmd.Process.Signal(os.Interrupt)
	})
	defer stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() < 0:
		return fmt.Errorf("the program with the Go migrations ended: %w", err)
	case errors.As(err, &exit):
		return &exitError{exit.ExitCode()}
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return fmt.Errorf("run the program with the Go migrations: %w", err)
	}
	return &exitError{ExitDone}
}

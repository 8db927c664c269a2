package cli

// Migrations in Go are compiled, so a program must have them. One that called
// Main with a slice does. The stock program, which has none, builds one around
// the directory's package when a command needs to run code, and becomes it:
// from then on everything is as if the project had a program of its own.

import (
	"context"
	"errors"
	"fmt"
	"go/scanner"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/gobuild"
	"github.com/aurora-migrate/aurora/localdsql/engine"
	"github.com/aurora-migrate/aurora/sqlfile"
)

// goDir returns the path of an environment's directory when it is a Go package
// with migrations.
func (s settings) goDir() (string, bool) {
	if _, ok := s.rendered(); ok {
		return "", false
	}
	dir, err := sqlfile.Path(s.dir)
	if err != nil {
		return "", false
	}
	return dir, gobuild.IsPackage(dir)
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

// becomeGo continues this run in a program that has the directory's Go code.
// It returns only an error, be it how that program ended.
func (a *app) becomeGo(ctx context.Context, s settings, dir string) error {
	if a.loaded {
		return &usageError{
			Err:  fmt.Errorf("%s has migrations in Go, and an earlier instance of the environment used another directory", dir),
			Hint: "use one directory for all instances, or an environment for each",
		}
	}
	cache, err := engine.CacheDir()
	if err != nil {
		return fmt.Errorf("find a place for programs: %w", err)
	}
	path, err := gobuild.Build(ctx, gobuild.Config{
		Dir: dir, CacheDir: cache, Version: buildVersion(), Stderr: a.err,
		Building: func() error { return a.beforeBuild(s, dir) },
	})
	a.term.stopLine()
	var setup *gobuild.SetupError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("build the Go migrations: %w", aurora.ErrInterrupted)
	case errors.As(err, &setup):
		return &usageError{Err: setup, Hint: setup.Hint}
	case errors.Is(err, gobuild.ErrBuild):
		return &usageError{Err: fmt.Errorf("the Go migrations in %s do not build: see above", dir)}
	case err != nil:
		return directoryError(err)
	}
	a.log.Debug("becoming the program with the Go migrations", "path", path)
	if err := a.become(ctx, a, path); err != nil {
		return err
	}
	return nil
}

// beforeBuild finds the mistakes that need no compiler, since building may take
// a while, and says that it does.
func (a *app) beforeBuild(s settings, dir string) error {
	// The go command explains syntax errors itself.
	var syntax scanner.ErrorList
	if _, err := a.loadFiles(s); err != nil && !errors.As(err, &syntax) {
		return err
	}
	if !a.term.live {
		a.log.Info("building the Go migrations", "dir", dir)
		return nil
	}
	began := a.now()
	a.term.showLine(func(now time.Time) string {
		return fmt.Sprintf("building the Go migrations in %s (%s)", dir, now.Sub(began).Round(time.Second))
	})
	return nil
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

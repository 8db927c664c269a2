//go:build !aurora_bundle

package cli

import (
	"context"
	"errors"
	"fmt"
	"go/scanner"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/gobuild"
	"github.com/aurora-migrate/aurora/localdsql/engine"
)

// becomeGo continues this run in a program that has the directory's Go code.
// It returns only an error, be it how that program ended.
func (a *app) becomeGo(ctx context.Context, s settings, dir string) error {
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
	a.sayBuilding("the Go migrations", dir)
	return nil
}

// sayBuilding says that something takes a while, until stopLine.
func (a *app) sayBuilding(what, dir string) {
	if !a.term.live {
		a.log.Info("building "+what, "dir", dir)
		return
	}
	began := a.now()
	a.term.showLine(func(now time.Time) string {
		return fmt.Sprintf("building %s in %s (%s)", what, dir, now.Sub(began).Round(time.Second))
	})
}

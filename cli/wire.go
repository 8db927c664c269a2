package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing/fstest"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli/internal/report"
	"github.com/aurora-migrate/aurora/internal/config"
	"github.com/aurora-migrate/aurora/localdsql/engine"
	"github.com/aurora-migrate/aurora/postgres"
	"github.com/aurora-migrate/aurora/sqlfile"
)

// A target is an opened database with one project's history.
type target struct {
	store aurora.Store
	// close ends the connections and what was started for them. It is called
	// with a context that outlives an interrupt.
	close func(context.Context) error
}

// An opener opens the database of an environment.
type opener func(context.Context, *app, settings) (*target, error)

// openTarget opens what a URL names.
func openTarget(ctx context.Context, a *app, s settings) (*target, error) {
	if !strings.HasPrefix(s.url, "local://") {
		return openPostgres(ctx, a, s, s.url)
	}
	server, database, err := startLocal(ctx, a, s)
	if err != nil {
		return nil, err
	}
	t, err := func() (*target, error) {
		if err := server.CreateDatabase(ctx, database); err != nil {
			return nil, err
		}
		return openPostgres(ctx, a, s, server.URL(database))
	}()
	if err != nil {
		stop, cancel := cleanup(ctx)
		defer cancel()
		return nil, errors.Join(err, server.Stop(stop))
	}
	closeDB := t.close
	t.close = func(ctx context.Context) error { return errors.Join(closeDB(ctx), server.Stop(ctx)) }
	return t, nil
}

func openPostgres(ctx context.Context, a *app, s settings, url string) (*target, error) {
	db, err := postgres.Open(ctx, postgres.Config{URL: url, Schema: s.schema, Project: s.name, Logger: a.log})
	if err != nil {
		return nil, err
	}
	return &target{store: db, close: db.Close}, nil
}

// startLocal starts the PostgreSQL of local://NAME, whose data lie in .aurora
// beside the project file, and returns the database's name.
func startLocal(ctx context.Context, a *app, s settings) (*engine.Server, string, error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return nil, "", &usageError{Err: fmt.Errorf("the database url: %w", errors.Unwrap(err))}
	}
	if e := u.Query().Get("engine"); e != "" && e != "postgres" {
		return nil, "", &usageError{Err: fmt.Errorf("local:// has no engine %q", e), Hint: "leave it out, or say engine=postgres"}
	}
	dir := "."
	if s.project != nil {
		dir = s.project.ConfigDir
	}
	database := u.Host
	if database == "" {
		database = s.name
	}
	if database == "" {
		database = "aurora"
	}
	server, err := engine.Start(ctx, engine.Config{Dir: filepath.Join(dir, ".aurora"), Logger: a.log})
	if err != nil {
		return nil, "", err
	}
	return server, database, nil
}

// cleanup returns a context for what must be done also after an interrupt.
func cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
}

// closeTarget closes a target after a run; trouble with it changes nothing
// about what was done.
func (a *app) closeTarget(ctx context.Context, t *target) {
	ctx, cancel := cleanup(ctx)
	defer cancel()
	if err := t.close(ctx); err != nil {
		a.log.Debug("closing the database", "err", err)
	}
}

// runner returns the runner for a target.
func (a *app) runner(t *target, migrations []aurora.Migration, lockTimeout time.Duration, report func(aurora.Event)) *aurora.Runner {
	r := &aurora.Runner{
		Store: t.store, Migrations: migrations, Holder: aurora.CurrentHolder("cli"), Operator: operator(),
		LockTimeout: lockTimeout, Logger: a.log, Report: report,
	}
	if db, ok := t.store.(aurora.Database); ok {
		r.Database = db
	}
	return r
}

// reportEnv describes a target for the output, without secrets.
func reportEnv(s settings) report.Env {
	dir := s.dir
	if !strings.Contains(dir, "://") {
		dir = "file://" + dir
	}
	return report.Env{Driver: "postgres", URL: report.NewURL(config.Redact(s.url)), Dir: dir}
}

// load reads the migrations of an environment's directory and adds the Go
// migrations of this binary.
func (a *app) load(s settings) ([]aurora.Migration, error) {
	opts := sqlfile.Options{AllowEmpty: s.empty || len(a.migrations) > 0}
	var migrations []aurora.Migration
	var err error
	if files, ok := s.rendered(); ok {
		fsys := fstest.MapFS{}
		for name, data := range files {
			fsys[name] = &fstest.MapFile{Data: data, Mode: 0o444}
		}
		migrations, err = sqlfile.Load(fsys, opts)
	} else {
		migrations, err = sqlfile.LoadDir(s.dir, opts)
	}
	if err != nil {
		return nil, directoryError(err)
	}
	return aurora.Sort(append(migrations, a.migrations...))
}

// rendered returns the files of a directory that data "template_dir" made.
func (s settings) rendered() (map[string][]byte, bool) {
	if s.project == nil {
		return nil, false
	}
	files, ok := s.project.MemDirs[s.dir]
	return files, ok
}

// directoryError makes whatever is wrong with a directory a usage error, but
// for an atlas.sum that does not fit, which has an exit code of its own.
func directoryError(err error) error {
	if err == nil || isSumError(err) {
		return err
	}
	var empty *sqlfile.EmptyError
	if errors.As(err, &empty) {
		return &usageError{Err: err, Hint: "if that is as it should be, say --allow-empty"}
	}
	return &usageError{Err: err}
}

func isSumError(err error) bool {
	var sum *sqlfile.SumError
	return errors.As(err, &sum)
}

func isDir(dir string) bool {
	_, err := sqlfile.Path(dir)
	return err == nil
}

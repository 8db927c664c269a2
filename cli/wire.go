package cli

import (
	"cmp"
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
	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/internal/config"
	"github.com/aurora-migrate/aurora/localdsql"
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
		return openDatabase(ctx, a, s, s.url)
	}
	local, err := parseLocal(s)
	if err != nil {
		return nil, err
	}
	server, err := local.start(ctx, a)
	if err != nil {
		return nil, err
	}
	t, err := openDatabase(ctx, a, s, server.url)
	if err != nil {
		stop, cancel := cleanup(ctx)
		defer cancel()
		return nil, errors.Join(err, server.stop(stop))
	}
	closeDB := t.close
	t.close = func(ctx context.Context) error { return errors.Join(closeDB(ctx), server.stop(ctx)) }
	return t, nil
}

// isDSQL reports whether an environment's database is an Aurora DSQL, real or
// local.
func (s settings) isDSQL() bool {
	if !strings.HasPrefix(s.url, "local://") {
		return dsql.IsTarget(s.url)
	}
	local, err := parseLocal(s)
	return err == nil && !local.postgres
}

func openDatabase(ctx context.Context, a *app, s settings, url string) (*target, error) {
	if !s.isDSQL() {
		db, err := postgres.Open(ctx, postgres.Config{URL: url, Schema: s.schema, Project: s.name, Logger: a.log})
		if err != nil {
			return nil, err
		}
		return &target{store: db, close: db.Close}, nil
	}
	cfg := dsql.Config{URL: url, Schema: s.schema, Project: s.name, Logger: a.log}
	if s.env != nil && s.env.DSQLToken != nil && url == s.env.URL.Value {
		// The token in the URL was made when the file was read, and ends after
		// minutes.
		source := s.env.DSQLToken
		cfg.Token = func(ctx context.Context, _, _, _ string) (string, error) { return source.Token(ctx) }
	}
	db, err := dsql.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &target{store: db, close: db.Close}, nil
}

// A localTarget is a database on this machine, as local://NAME?engine=… names
// it. Its data lie in .aurora beside the project file.
type localTarget struct {
	dir      string
	name     string
	postgres bool // plain PostgreSQL instead of DSQL
}

func parseLocal(s settings) (localTarget, error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return localTarget{}, &usageError{Err: fmt.Errorf("the database url: %w", errors.Unwrap(err))}
	}
	l := localTarget{name: u.Host}
	for name := range u.Query() {
		if name != "engine" {
			return l, &usageError{Err: fmt.Errorf("local:// has no parameter %q", name), Hint: "there is only engine, as in local://?engine=postgres"}
		}
	}
	switch e := u.Query().Get("engine"); e {
	case "", "dsql":
		l.name = cmp.Or(l.name, localdsql.DefaultCluster)
		if err := localdsql.CheckName(l.name); err != nil {
			return l, &usageError{Err: fmt.Errorf("the database url: %w", err)}
		}
	case "postgres":
		l.name = cmp.Or(l.name, s.name, "aurora")
		l.postgres = true
	default:
		return l, &usageError{Err: fmt.Errorf("local:// has no engine %q", e), Hint: "leave it out for Aurora DSQL, or say engine=postgres"}
	}
	l.dir = "."
	if s.project != nil {
		l.dir = s.project.ConfigDir
	}
	l.dir = filepath.Join(l.dir, ".aurora")
	return l, nil
}

// A localServer is a local database that runs, at least until stop.
type localServer struct {
	url  string
	stop func(context.Context) error
}

func (l localTarget) start(ctx context.Context, a *app) (localServer, error) {
	if !l.postgres {
		c, err := localdsql.Connect(ctx, localdsql.Config{Dir: l.dir, Logger: a.log}, l.name)
		if err != nil {
			return localServer{}, err
		}
		return localServer{c.URL, c.Close}, nil
	}
	server, err := engine.Start(ctx, engine.Config{Dir: l.dir, Logger: a.log})
	if err != nil {
		return localServer{}, err
	}
	if err := server.CreateDatabase(ctx, l.name); err != nil {
		stop, cancel := cleanup(ctx)
		defer cancel()
		return localServer{}, errors.Join(err, server.Stop(stop))
	}
	return localServer{server.URL(l.name), server.Stop}, nil
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
	driver := "postgres"
	if s.isDSQL() {
		driver = "dsql"
	}
	return report.Env{Driver: driver, URL: report.NewURL(config.Redact(s.url)), Dir: dir}
}

// load reads the migrations of an environment's directory, with the Go
// migrations between them. A program without the Go migrations that the
// directory has does not return from here; see becomeGo.
func (a *app) load(ctx context.Context, s settings) ([]aurora.Migration, error) {
	dir, ok := s.goDir()
	if ok && !a.hasGo {
		return nil, a.becomeGo(ctx, s, dir)
	}
	a.loaded = true
	return a.loadFiles(s)
}

// loadFiles is load for commands that run nothing: a program without the Go
// migrations knows of them what their files say.
func (a *app) loadFiles(s settings) ([]aurora.Migration, error) {
	dir, ok := s.goDir()
	migrations, err := a.loadSQL(s, ok || len(a.migrations) > 0)
	if err != nil {
		return nil, err
	}
	var code []aurora.Migration
	if ok && !a.hasGo {
		code, err = listGo(dir)
	} else {
		code, err = a.goMigrations(s)
	}
	if err != nil {
		return nil, directoryError(err)
	}
	return aurora.Sort(append(migrations, code...))
}

// loadSQL reads the .sql files of an environment's directory.
func (a *app) loadSQL(s settings, allowEmpty bool) ([]aurora.Migration, error) {
	opts := sqlfile.Options{AllowEmpty: s.empty || allowEmpty}
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
	return migrations, directoryError(err)
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

package cli

import (
	"context"
	"errors"
	"strings"
	"testing/fstest"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli/internal/report"
	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/internal/config"
	"github.com/aurora-migrate/aurora/postgres"
	"github.com/aurora-migrate/aurora/sqlfile"
)

// A target is what an environment's migrations run on, opened.
type target struct {
	store aurora.Store
	// database runs the statements. It is the store itself where the history is
	// in the database, and nil where there is none.
	database aurora.Database
	// kind is what keeps the history: postgres, dsql, dynamodb or file; and place
	// names it for people where it is not the database.
	kind, place string
	// close ends the connections and what was started for them. It is called
	// with a context that outlives an interrupt.
	close func(context.Context) error
}

// An opener opens the history and the database of an environment.
type opener func(context.Context, *app, settings) (*target, error)

// openTarget opens what the URLs name.
func openTarget(ctx context.Context, a *app, s settings) (*target, error) {
	restore := exportAWS(s)
	t, err := openPlaces(ctx, a, s)
	if err != nil {
		restore()
		return nil, err
	}
	closePlaces := t.close
	t.close = func(ctx context.Context) error { defer restore(); return closePlaces(ctx) }
	return t, nil
}

func openPlaces(ctx context.Context, a *app, s settings) (*target, error) {
	if s.history == "" {
		return openServer(ctx, a, s)
	}
	t, err := openHistory(ctx, a, s)
	if err != nil || s.url == "" {
		return t, err
	}
	db, err := openServer(ctx, a, s)
	if err != nil {
		return nil, err
	}
	t.database, t.close = db.database, db.close
	return t, nil
}

// withoutDatabase are the settings for commands that only need the history,
// which may be reachable where the database is not.
func (s settings) withoutDatabase() settings {
	if s.history != "" {
		s.url = ""
	}
	return s
}

// openServer opens a database, starting it first if it is of this machine.
func openServer(ctx context.Context, a *app, s settings) (*target, error) {
	if !strings.HasPrefix(s.url, "local://") {
		return openDatabase(ctx, a, s, s.url)
	}
	server, err := startLocal(ctx, a, s)
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
	return isLocalDSQL(s)
}

// A localServer is a local database that runs, at least until stop.
type localServer struct {
	url  string
	stop func(context.Context) error
}

func openDatabase(ctx context.Context, a *app, s settings, url string) (*target, error) {
	if !s.isDSQL() {
		db, err := postgres.Open(ctx, postgres.Config{URL: url, Schema: s.schema, Project: s.name, Logger: a.log})
		if err != nil {
			return nil, err
		}
		return &target{store: db, database: db, kind: "postgres", close: db.Close}, nil
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
	return &target{store: db, database: db, kind: "dsql", close: db.Close}, nil
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

// holder describes this process. In a container of ECS its number says nothing
// about whether it lives: each container counts for itself. The variable is that
// of the task metadata endpoint, version 4, in every one of them
// (docs.aws.amazon.com/AmazonECS, "Task metadata endpoint").
func (a *app) holder() aurora.Holder {
	if uri, _ := a.lookupEnv("ECS_CONTAINER_METADATA_URI_V4"); uri != "" {
		return aurora.CurrentHolder("fargate")
	}
	return aurora.CurrentHolder("cli")
}

// runner returns the runner for a target.
func (a *app) runner(t *target, migrations []aurora.Migration, lockTimeout time.Duration, report func(aurora.Event)) *aurora.Runner {
	r := &aurora.Runner{
		Store: t.store, Migrations: migrations, Holder: a.holder(), Operator: operator(),
		LockTimeout: lockTimeout, Logger: a.log, Report: report, Database: t.database,
	}
	return r
}

// reportEnv describes a target for the output, without secrets.
func reportEnv(s settings) report.Env {
	dir := s.dir
	if !strings.Contains(dir, "://") {
		dir = "file://" + dir
	}
	env := report.Env{Dir: dir}
	if s.url == "" {
		return env
	}
	env.Driver, env.URL = "postgres", report.NewURL(config.Redact(s.url))
	if s.isDSQL() {
		env.Driver = "dsql"
	}
	return env
}

// load reads the migrations of an environment's directory, with the Go
// migrations between them. A program without the Go migrations that the
// directory has does not return from here; see becomeGo.
func (a *app) load(ctx context.Context, s settings) ([]aurora.Migration, error) {
	dir, ok := s.goDir()
	if ok && !a.hasGo {
		return nil, a.becomeGo(ctx, s, dir)
	}
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
	migrations = append(migrations, code...)
	if err := checkPlace(s, migrations); err != nil {
		return nil, err
	}
	return aurora.Sort(migrations)
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
	} else if s.files != nil {
		migrations, err = sqlfile.LoadFS(s.files, s.dir, opts)
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
// for an atlas.sum that does not fit, which has an exit code of its own. What is
// a usage error already keeps its hint.
func directoryError(err error) error {
	var usage *usageError
	if err == nil || isSumError(err) || errors.As(err, &usage) {
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

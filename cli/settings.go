package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/config"
)

// projectOptions select the project file and the environment in it. They
// belong to all migrate commands.
type projectOptions struct {
	config string
	env    string
	vars   []string
}

func (o *projectOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVarP(&o.config, "config", "c", "", "project `file`, as a path or file:// URL (default aurora.hcl, then atlas.hcl)")
	fs.StringVar(&o.env, "env", "", "environment of the project file to use")
	fs.StringArrayVar(&o.vars, "var", nil, "input variable of the project file, as `name=value`; repeatable")
}

// directoryOptions say where the migrations are.
type directoryOptions struct {
	dir        string
	dirFormat  string
	allowEmpty bool
}

func (o *directoryOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.dir, "dir", "", "migration `directory`, as a path or file:// URL (default file://migrations)")
	fs.StringVar(&o.dirFormat, "dir-format", "", "`format` of the migration directory (default atlas)")
	fs.BoolVar(&o.allowEmpty, "allow-empty", false, "accept a directory without migrations")
}

// databaseOptions say which database, and where whose history is.
type databaseOptions struct {
	url             string
	history         string
	revisionsSchema string
	project         string
}

// isGiven reports whether the command line alone says what to work on.
func (o *databaseOptions) isGiven() bool { return o.url != "" || o.history != "" }

// evaluates reports whether a flag leaves a value to the project file.
func evaluates(flag string) bool { return flag == "" || strings.HasPrefix(flag, "env://") }

func (o *databaseOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVarP(&o.url, "url", "u", "", "database `URL`; local:// starts an Aurora DSQL of your own")
	fs.StringVar(&o.history, "history", "", "`URL` of the history, where it is not in the database: dynamodb://TABLE or file://PATH")
	fs.StringVar(&o.revisionsSchema, "revisions-schema", "", "`schema` of the history tables")
	fs.StringVar(&o.project, "project", "", "`name` that separates several histories in one place")
}

// A durationFlag is a duration that knows whether the user gave it.
type durationFlag struct {
	value time.Duration
	set   bool
}

func (d *durationFlag) String() string { return d.value.String() }
func (d *durationFlag) Type() string   { return "duration" }

func (d *durationFlag) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil {
		return errors.New("want a duration such as 90s or 25m")
	}
	if v < 0 {
		return errors.New("must not be negative")
	}
	d.value, d.set = v, true
	return nil
}

// settings are what flags, environment and defaults come to, for one
// environment: a flag counts more than the file, the file more than the
// default.
type settings struct {
	env       *config.Env     // nil without a project file
	project   *config.Project // nil without a project file
	url       string          // empty where there is no database
	history   string          // empty where it is in the database
	schema    string
	name      string // the history's project
	dir       string // as given
	files     fs.FS  // what dir is read from; nil for the disk
	dirFormat string
	empty     bool // a directory without migrations is accepted
	// historyInFile says that history is what the project file says, not a flag.
	historyInFile bool
}

// errNoEnv is why a command cannot tell what it is to work on.
var errNoEnv = errors.New("which environment?")

// settings evaluates the environments that a command is to work on: one, or
// several for an environment with for_each. A nil databaseOptions is for
// commands that need no database, and so no credentials.
func (a *app) settings(ctx context.Context, p projectOptions, d directoryOptions, db *databaseOptions) ([]settings, error) {
	if p.env == "" && p.config == "" {
		p.env = a.program.Env
	}
	a.remember(p, d, db)
	if p.env == "" && p.config == "" && (db != nil && db.isGiven() || db == nil && a.directoryWithoutConfig(d)) {
		s := newSettings(d, db)
		s.dir, s.files = cmp.Or(s.dir, config.DefaultDir), a.directoryFiles(p, d)
		return a.checked([]settings{s}, db != nil)
	}
	vars, err := config.ParseVars(p.vars)
	if err != nil {
		return nil, &usageError{Err: err}
	}
	files, path := a.projectFiles(p)
	project, err := config.Load(ctx, config.Options{
		Files: files, Path: path, Env: p.env, Vars: vars,
		Offline: db == nil, NoURL: db != nil && !evaluates(db.url), NoHistory: db != nil && !evaluates(db.history),
		Logger: a.log, Stderr: a.err, LookupEnv: a.lookupEnv,
	})
	if errors.Is(err, config.ErrNotFound) && p.env == "" && p.config == "" {
		return nil, &usageError{Err: errors.New("which database?"), Hint: "give --url and --dir, or --env and a project file aurora.hcl; " + noDatabaseHint}
	}
	if err != nil {
		return nil, &usageError{Err: err}
	}
	a.warnings = project.Warnings
	if p.env == "" && (db == nil || !db.isGiven()) && d.dir == "" {
		return nil, noEnv(project)
	}
	envs := project.Envs
	if len(envs) == 0 {
		envs = []*config.Env{nil}
	}
	var out []settings
	for _, env := range envs {
		s, err := a.environment(ctx, project, env, d, db)
		if err != nil {
			return nil, err
		}
		s.files = a.directoryFiles(p, d)
		out = append(out, s)
	}
	if a.hasGo || !slices.ContainsFunc(out, func(s settings) bool { _, ok := s.goDir(); return ok }) {
		a.warn()
	}
	return a.checked(out, db != nil)
}

// warn says what is to be said about the project file. It waits where another
// program may take over, which says the same.
func (a *app) warn() {
	for _, w := range a.warnings {
		a.log.Warn(a.secrets.hide(w.Text), "at", w.Pos.String())
	}
	a.warnings = nil
}

func noEnv(p *config.Project) error {
	hint := "add an env block to " + p.Path
	if names := p.EnvNames; len(names) > 0 {
		hint = "say one of: --env " + strings.Join(names, ", --env ")
	} else if p.DynamicEnv {
		hint = "say --env and the name"
	}
	return &usageError{Err: errNoEnv, Hint: hint}
}

// directoryWithoutConfig reports whether a command that needs only a directory
// can do without a project file: it was given one, or the default is there.
func (a *app) directoryWithoutConfig(d directoryOptions) bool {
	return d.dir != "" && !strings.HasPrefix(d.dir, "env://") || a.hasDefaultDir() && !a.hasProjectFile()
}

// newSettings are what the command line says.
func newSettings(d directoryOptions, db *databaseOptions) settings {
	s := settings{dir: d.dir, dirFormat: d.dirFormat, empty: d.allowEmpty}
	if db != nil {
		s.url, s.history, s.schema, s.name = db.url, db.history, db.revisionsSchema, db.project
	}
	return s
}

func (a *app) environment(ctx context.Context, project *config.Project, env *config.Env, d directoryOptions, db *databaseOptions) (settings, error) {
	s := newSettings(d, db)
	s.env, s.project = env, project
	if env == nil {
		s.dir = cmp.Or(s.dir, config.DefaultDir)
		return s, nil
	}
	// What the project file says is relative to it, and what a flag says is not.
	s.historyInFile = evaluates(s.history)
	for _, ref := range []*string{&s.url, &s.history, &s.dir} {
		v, err := env.Resolve(ctx, *ref)
		if err != nil {
			return s, &usageError{Err: err}
		}
		*ref = v
	}
	if db != nil {
		s.url = cmp.Or(s.url, env.URL.Value)
		s.history = cmp.Or(s.history, env.History.URL.Value)
	}
	s.dir = cmp.Or(s.dir, env.Migration.Dir.Value, config.DefaultDir)
	s.dirFormat = cmp.Or(s.dirFormat, env.Migration.Format.Value)
	s.schema = cmp.Or(s.schema, env.Migration.RevisionsSchema.Value)
	s.name = cmp.Or(s.name, env.Migration.Project.Value)
	return s, nil
}

// checked refuses what can be seen to be wrong without connecting.
func (a *app) checked(all []settings, database bool) ([]settings, error) {
	for i := range all {
		s := &all[i]
		if slices.ContainsFunc([]string{s.url, s.history, s.dir}, func(ref string) bool { return strings.HasPrefix(ref, "env://") }) {
			return nil, &usageError{Err: errors.New("env:// refers to an environment, and none was chosen"), Hint: "add --env"}
		}
		if format := cmp.Or(s.dirFormat, "atlas"); format != "atlas" {
			return nil, &usageError{Err: fmt.Errorf("directory format %q is not supported", format), Hint: "convert the directory to Atlas's format: plain <version>_<name>.sql files"}
		}
		if !database {
			continue
		}
		a.secrets.add(s.url)
		a.secrets.add(s.history)
		if s.history != "" {
			if err := checkHistory(s); err != nil {
				return nil, err
			}
		}
		if s.url != "" || s.history == "" {
			if err := checkURL(s.url); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// noDatabaseHint is for those who have none.
const noDatabaseHint = "migrations in Go that need no database need a place for their history: --history file://.aurora/history.db"

// schemes are the databases that aurora runs on.
var schemes = []string{"postgres", "postgresql", "dsql", "local"}

func checkURL(raw string) error {
	if raw == "" {
		return &usageError{
			Err:  errors.New("no database url"),
			Hint: "set url in the env block, or give --url; " + noDatabaseHint + ", or history { url = … } in the env block",
		}
	}
	scheme, _, ok := strings.Cut(raw, "://")
	if !ok {
		if strings.Contains(raw, "=") { // libpq's keywords
			return nil
		}
		return &usageError{Err: errors.New("the database url has no scheme"), Hint: "write dsql://admin@host, postgres://user@host:5432/database, or local://"}
	}
	for _, s := range schemes {
		if scheme == s {
			return nil
		}
	}
	if scheme == "dynamodb" || scheme == "file" {
		return &usageError{
			Err:  fmt.Errorf("a history can be kept at %s://, and migrations cannot run there", scheme),
			Hint: "say so as history { url = … } in the env block, or with --history",
		}
	}
	return &usageError{
		Err:  fmt.Errorf("the scheme %q of the database url is not supported", scheme),
		Hint: "supported are " + strings.Join(schemes, "://, ") + "://",
	}
}

// one refuses an environment with several instances, for the commands that
// work on one database.
func one(all []settings, err error) (settings, error) {
	if err != nil {
		return settings{}, err
	}
	if len(all) != 1 {
		return settings{}, &usageError{
			Err:  fmt.Errorf("multiple envs found: %q has %d instances, and only apply runs on several", all[0].env.Name, len(all)),
			Hint: "make an env without for_each for this one",
		}
	}
	return all[0], nil
}

// confirmName is what a person types to agree to something that cannot be
// taken back: the project's name, or else the environment's or the database's.
func (s settings) confirmName() string {
	if s.name != "" {
		return s.name
	}
	if s.env != nil {
		return s.env.Name
	}
	if u, err := url.Parse(s.url); err == nil {
		if name := strings.Trim(u.Path, "/"); name != "" {
			return name
		}
	}
	return "all"
}

// runOptions are what apply and down have in common.
type runOptions struct {
	lockTimeout durationFlag
	unsure      string
	dryRun      bool
	asked       askedOptions
	output      outputOptions
}

// askedOptions are what a program that starts this one hands on of a request.
type askedOptions struct {
	executionID  string
	by, reason   string
	expectedHead string
}

func (o *askedOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.reason, "reason", "", "`text` for the history: why this run")
	fs.StringVar(&o.by, "by", "", "`name` for the history: who asked for this run")
	fs.StringVar(&o.executionID, "execution-id", "", "`ID` of the execution that this run begins or goes on with")
	fs.StringVar(&o.expectedHead, "expected-head", "", "`place` at which the history must be")
	for _, name := range []string{"by", "execution-id", "expected-head"} {
		must(fs.MarkHidden(name))
	}
}

// add completes a request.
func (o *askedOptions) add(req *aurora.Request) {
	req.ExecutionID, req.By, req.Reason, req.ExpectedHead = o.executionID, o.by, o.reason, o.expectedHead
}

func (o *runOptions) addFlags(fs *pflag.FlagSet) {
	o.lockTimeout.value = aurora.DefaultLockTimeout
	fs.Var(&o.lockTimeout, "lock-timeout", "how long to wait for the lock; 0 does not wait")
	fs.StringVar(&o.unsure, "unsure", "", "`answer` for a statement that may have run before an earlier process died: rerun or skip")
	fs.BoolVar(&o.dryRun, "dry-run", false, "show what would run, and change nothing")
	o.asked.addFlags(fs)
	o.output.addFlags(fs)
}

// timeout returns the lock timeout as a Runner takes it.
func (o runOptions) timeout(env *config.Env) time.Duration {
	d := o.lockTimeout.value
	if env != nil && env.Migration.LockTimeout.Set && !o.lockTimeout.set {
		d = env.Migration.LockTimeout.Value
	}
	if d == 0 {
		return -1
	}
	return d
}

// outputOptions say how a report is written.
type outputOptions struct {
	format string
	json   bool
}

func (o *outputOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.format, "format", "", "Go `template` for the output")
	fs.BoolVar(&o.json, "json", false, "the same as --format '{{ json . }}'")
}

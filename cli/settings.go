package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
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

// databaseOptions say which database and whose history in it.
type databaseOptions struct {
	url             string
	revisionsSchema string
	project         string
}

func (o *databaseOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVarP(&o.url, "url", "u", "", "database `URL`; local:// starts an Aurora DSQL of your own")
	fs.StringVar(&o.revisionsSchema, "revisions-schema", "", "`schema` of the history tables")
	fs.StringVar(&o.project, "project", "", "`name` that separates several histories in one database")
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
	url       string
	schema    string
	name      string // the history's project
	dir       string // as given
	dirFormat string
	empty     bool // a directory without migrations is accepted
}

// errNoEnv is why a command cannot tell what it is to work on.
var errNoEnv = errors.New("which environment?")

// settings evaluates the environments that a command is to work on: one, or
// several for an environment with for_each. A nil databaseOptions is for
// commands that need no database, and so no credentials.
func (a *app) settings(ctx context.Context, p projectOptions, d directoryOptions, db *databaseOptions) ([]settings, error) {
	for _, f := range [][2]string{{"--config ", p.config}, {"--env ", p.env}} {
		if f[1] != "" && !strings.Contains(a.flags, f[0]) {
			a.flags += f[0] + f[1] + " "
		}
	}
	if p.env == "" && p.config == "" && (db != nil && db.url != "" || db == nil && a.directoryWithoutConfig(d)) {
		s := settings{dir: cmp.Or(d.dir, config.DefaultDir), dirFormat: d.dirFormat, empty: d.allowEmpty}
		if db != nil {
			s.url, s.schema, s.name = db.url, db.revisionsSchema, db.project
		}
		return a.checked([]settings{s}, db != nil)
	}
	vars, err := config.ParseVars(p.vars)
	if err != nil {
		return nil, &usageError{Err: err}
	}
	project, err := config.Load(ctx, config.Options{
		Path: p.config, Env: p.env, Vars: vars, Offline: db == nil || db.url != "" && !strings.HasPrefix(db.url, "env://"),
		Logger: a.log, Stderr: a.err, LookupEnv: a.lookupEnv,
	})
	if errors.Is(err, config.ErrNotFound) && p.env == "" && p.config == "" {
		return nil, &usageError{Err: errors.New("which database?"), Hint: "give --url and --dir, or --env and a project file aurora.hcl"}
	}
	if err != nil {
		return nil, &usageError{Err: err}
	}
	for _, w := range project.Warnings {
		a.log.Warn(a.secrets.hide(w.Text), "at", w.Pos.String())
	}
	if p.env == "" && (db == nil || db.url == "") && d.dir == "" {
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
		out = append(out, s)
	}
	return a.checked(out, db != nil)
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
	return d.dir != "" && !strings.HasPrefix(d.dir, "env://") || isDir(config.DefaultDir) && !hasProjectFile()
}

// hasProjectFile reports whether the working directory has a project file, in
// which case its environments say where things are.
func hasProjectFile() bool {
	return slices.ContainsFunc(config.FileNames, func(name string) bool {
		_, err := os.Stat(name)
		return err == nil
	})
}

func (a *app) environment(ctx context.Context, project *config.Project, env *config.Env, d directoryOptions, db *databaseOptions) (settings, error) {
	s := settings{env: env, project: project, empty: d.allowEmpty, dir: d.dir, dirFormat: d.dirFormat}
	if db != nil {
		s.url, s.schema, s.name = db.url, db.revisionsSchema, db.project
	}
	if env == nil {
		s.dir = cmp.Or(s.dir, config.DefaultDir)
		return s, nil
	}
	for _, ref := range []*string{&s.url, &s.dir} {
		v, err := env.Resolve(ctx, *ref)
		if err != nil {
			return s, &usageError{Err: err}
		}
		*ref = v
	}
	if db != nil {
		s.url = cmp.Or(s.url, env.URL.Value)
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
		if strings.HasPrefix(s.url, "env://") || strings.HasPrefix(s.dir, "env://") {
			return nil, &usageError{Err: errors.New("env:// refers to an environment, and none was chosen"), Hint: "add --env"}
		}
		if format := cmp.Or(s.dirFormat, "atlas"); format != "atlas" {
			return nil, &usageError{Err: fmt.Errorf("directory format %q is not supported", format), Hint: "convert the directory to Atlas's format: plain <version>_<name>.sql files"}
		}
		if !database {
			continue
		}
		if s.url == "" {
			return nil, &usageError{Err: errors.New("no database url"), Hint: "set url in the env block, or give --url"}
		}
		if s.env != nil && s.env.History.URL.Value != "" {
			// Passing over it would put the history where nobody looks for it.
			return nil, &usageError{Err: errors.New("the history block is not supported yet: the history is kept in the database itself"), Hint: "leave the block out"}
		}
		a.secrets.add(s.url)
		if err := checkURL(s.url); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// schemes are the databases that aurora runs on.
var schemes = []string{"postgres", "postgresql", "dsql", "local"}

func checkURL(raw string) error {
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
	output      outputOptions
}

func (o *runOptions) addFlags(fs *pflag.FlagSet) {
	o.lockTimeout.value = aurora.DefaultLockTimeout
	fs.Var(&o.lockTimeout, "lock-timeout", "how long to wait for the lock; 0 does not wait")
	fs.StringVar(&o.unsure, "unsure", "", "`answer` for a statement that may have run before an earlier process died: rerun or skip")
	fs.BoolVar(&o.dryRun, "dry-run", false, "show what would run, and change nothing")
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

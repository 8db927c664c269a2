// Package config loads a project file: aurora.hcl, or an Atlas project file
// (atlas.hcl) with the same meaning.
//
// Expressions, functions and variable types are those of
// ariga.io/atlas/schemahcl, so a file means the same to both tools. What is
// evaluated differs: Load evaluates only what the chosen environment needs to
// run, where Atlas evaluates every local and demands every variable. Names
// that nobody knows are warnings, and blocks that would change what a
// migration does, but which aurora does not implement, are errors.
//
// docs/config.md is the reference of the file.
package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// ErrNotFound is returned by Load, wrapped, when there is no project file.
var ErrNotFound = errors.New("project file not found")

// ErrNoEnv is returned by Load, wrapped, when the file does not define the
// environment that was asked for.
var ErrNoEnv = errors.New("environment not defined")

// Options says which file and which environment Load reads.
type Options struct {
	// Path is the project file: a plain path or a file: URL. Empty means
	// aurora.hcl, then atlas.hcl, in the working directory.
	Path string
	// Files are what a bundle has inside, in place of the disk: Path and all
	// relative paths in the file are read there, as if it was the working
	// directory. Nil means the disk.
	Files fs.FS
	// Env names the environment. When empty no environment is evaluated, and
	// Project.Envs is empty.
	Env string
	// Vars are the input variables, as ParseVars returns them. A variable that
	// is not here is taken from the environment variable AURORA_VAR_<name>.
	Vars map[string][]string
	// Offline leaves url and history.url unevaluated and unset, for commands
	// that only look at the migration directory and should need no credentials.
	Offline bool
	// NoURL and NoHistory leave url or history.url alone unevaluated, for
	// commands that were told another.
	NoURL, NoHistory bool
	// Logger receives debug messages about evaluated data sources. Nil
	// discards them.
	Logger *slog.Logger
	// Stderr is where the function print() writes. Nil means os.Stderr.
	Stderr io.Writer
	// LookupEnv reads environment variables for getenv() and AURORA_VAR_<name>.
	// Nil means os.LookupEnv. The AWS SDK always reads the real environment.
	LookupEnv func(string) (string, bool)

	sources map[string]dataSource
}

// Project is a loaded project file.
type Project struct {
	// Path is the absolute path of the file.
	Path string
	// ConfigDir is the absolute directory of the file. Relative migration.dir
	// paths are not relative to it, but to the working directory, as in Atlas.
	ConfigDir string
	// Envs are the selected environments: none when Options.Env was empty, one
	// as a rule, and one for every element with for_each, in its order.
	Envs []*Env
	// EnvNames are the labels of all env blocks, in the order of the file.
	EnvNames []string
	// DynamicEnv reports whether the file has a block env { name = atlas.env },
	// which serves every name that no label has.
	DynamicEnv bool
	// Format holds the output templates of the top-level format block.
	Format Format
	// MemDirs are the directories that data "template_dir" rendered: URL
	// (mem://…) to file name to content. They hold no atlas.sum.
	MemDirs map[string]map[string][]byte
	// Warnings are remarks about the file, in its order.
	Warnings []Warning
}

// Setting is one value of the project file, which may be absent. An attribute
// that evaluates to null is absent.
type Setting[T any] struct {
	// Value is what the file says, or the zero value (or documented default).
	Value T
	// Set reports whether the file says anything.
	Set bool
	// Pos is where it says so.
	Pos Pos
}

// Or returns the value when it is set, and otherwise def. With it a command
// puts flags, file and defaults in order: flag, then Or(default of the flag).
func (s Setting[T]) Or(def T) T {
	if s.Set {
		return s.Value
	}
	return def
}

// Env is one evaluated environment. Its attributes src, dev and the ones
// aurora does not know are evaluated when they are asked for, by Src, Dev and
// Resolve, because running migrations does not need them. These methods must
// not be called concurrently on environments of one Project.
type Env struct {
	// Name is the environment's name.
	Name string
	// Instance is the key of the for_each element this Env was made for, or
	// empty.
	Instance string
	// Pos is where the env block begins.
	Pos Pos
	// URL is the target database. It is passed on as it was written, whatever
	// its scheme; it holds a secret as a rule, so print Redact of it.
	URL Setting[string]
	// Schemas, Exclude and Include filter database objects.
	Schemas, Exclude, Include Setting[[]string]
	// Migration is the migration block; a missing block is an empty one.
	Migration Migration
	// History is the history block: where to keep history, when not in the
	// target database.
	History History
	// AWS is the aws block: what the AWS SDK is told for a run.
	AWS AWS
	// Protected asks for a confirmation before something is undone.
	Protected Setting[bool]
	// Format holds the output templates, those of the env block over the
	// top-level ones.
	Format Format
	// DSQLToken is set when the password of URL came from
	// data "aws_dsql_token". The token in URL ends after minutes; DSQLToken
	// makes a fresh one for every new connection.
	DSQLToken *TokenSource

	lazy lazyEnv
}

// Migration is the migration block of an environment.
type Migration struct {
	// Dir is the migration directory: a URL or a plain path, relative to the
	// working directory. The value is DefaultDir when unset.
	Dir Setting[string]
	// Format is the layout of the directory, such as "atlas" or "goose".
	Format Setting[string]
	// Baseline is the version a database starts from.
	Baseline Setting[string]
	// ExecOrder says what happens to files that appear late.
	ExecOrder Setting[ExecOrder]
	// LockTimeout is how long to wait for the lock.
	LockTimeout Setting[time.Duration]
	// RevisionsSchema is the schema of the history tables.
	RevisionsSchema Setting[string]
	// TxMode is the transaction mode. Atlas's open-source release ignores it.
	TxMode Setting[TxMode]
	// Project separates several histories in one database.
	Project Setting[string]
	// Exclude lists patterns of objects that planning leaves alone.
	Exclude Setting[[]string]
	// Repo is the name in the block repo { name = … }. Aurora has no registry
	// and only keeps it.
	Repo Setting[string]
}

// DefaultDir is the migration directory of an environment that names none.
const DefaultDir = "file://migrations"

// ExecOrder is a value of migration.exec_order, in the spelling of the flag.
type ExecOrder string

// The execution orders.
const (
	ExecLinear     ExecOrder = "linear"
	ExecLinearSkip ExecOrder = "linear-skip"
	ExecNonLinear  ExecOrder = "non-linear"
)

// TxMode is a value of migration.tx_mode, in the spelling of the flag.
type TxMode string

// The transaction modes.
const (
	TxNone TxMode = "none"
	TxFile TxMode = "file"
	TxAll  TxMode = "all"
)

// AWS is the aws block of an environment. What is unset the AWS SDK finds where
// it always looks.
type AWS struct {
	Region, Profile Setting[string]
	// Endpoint is an http or https URL that is asked instead of AWS, such as
	// that of a stand-in.
	Endpoint Setting[string]
}

// History is the history block of an environment.
type History struct {
	// URL is the store that keeps history, never empty when it is set. A
	// relative path in it starts at Project.ConfigDir.
	URL Setting[string]
}

// Format holds Go templates for the output of commands.
type Format struct {
	// Migrate are the templates of the migrate commands.
	Migrate MigrateFormat
}

// MigrateFormat holds one Go template per migrate command.
type MigrateFormat struct {
	Apply, Down, Status, Lint, Diff Setting[string]
}

// Load reads and evaluates the project file. It runs programs, queries
// databases and asks AWS for credentials only when a data source that does so
// is reached from the chosen environment.
//
// Errors about the content are of type *Error, with places; a missing file
// wraps ErrNotFound and a missing environment ErrNoEnv. No error holds a
// password or a token. The Project is nil when there is an error.
func Load(ctx context.Context, opts Options) (*Project, error) {
	doc, err := open(opts)
	if err != nil {
		return nil, err
	}
	return load(ctx, opts, doc)
}

// load evaluates a parsed file.
func load(ctx context.Context, opts Options, doc *document) (*Project, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Stderr == nil {
		opts.Stderr = os.Stderr
	}
	if opts.LookupEnv == nil {
		opts.LookupEnv = os.LookupEnv
	}
	if opts.sources == nil {
		opts.sources = dataSources()
	}
	selected, err := doc.selectEnvs(opts.Env)
	if err != nil {
		return nil, err
	}
	if err := doc.check(selected); err != nil {
		return nil, err
	}
	ev, err := newEvaluator(ctx, opts, doc)
	if err != nil {
		return nil, fmt.Errorf("preparing to evaluate %s: %w", doc.name, err)
	}
	ev.warnUnknownVars()
	p := &Project{
		Path:       doc.path,
		ConfigDir:  doc.dir,
		EnvNames:   doc.envNames(),
		DynamicEnv: doc.dynamicEnv() != nil,
		MemDirs:    ev.memDirs,
	}
	d := &decoder{ev: ev}
	p.Format = d.format(doc.body)
	for i, block := range selected {
		envs := d.envs(block, p.Format)
		if i > 0 && len(envs) > 0 && len(p.Envs) > 0 {
			d.fail(errAt(block.DefRange(), "remove or rename one of them",
				"env %q is defined twice, first at %s", opts.Env, p.Envs[0].Pos))
		}
		p.Envs = append(p.Envs, envs...)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	if opts.Env != "" && len(p.Envs) == 0 {
		return nil, doc.noEnv(opts.Env)
	}
	p.Warnings = doc.sortedWarnings()
	return p, nil
}

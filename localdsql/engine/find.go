package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Environment variables that Find reads when the option is not set.
const (
	EnvBinDir = "AURORA_PG_BIN"   // directory of postgres and initdb
	EnvFetch  = "AURORA_PG_FETCH" // 1 or true: fetch PostgreSQL when none is found
)

// MinMajor is the oldest major version of PostgreSQL that is used unless
// FindOptions says otherwise.
const MinMajor = 14

// preferred lists major versions, best first. Aurora DSQL is based on
// PostgreSQL 16; the rest is nearness to it.
var preferred = []int{16, 17, 15, 18, 14}

// Source says how an installation was found.
type Source string

// The places Find looks at, in this order.
const (
	SourceExplicit  Source = "explicit"  // FindOptions.BinDir or AURORA_PG_BIN
	SourcePath      Source = "path"      // a directory on PATH
	SourceDirectory Source = "directory" // where this system's packages install
	SourceCache     Source = "cache"     // fetched earlier
	SourceFetched   Source = "fetched"   // fetched now
)

// Install is one installation of PostgreSQL's server programs.
type Install struct {
	BinDir  string // directory of postgres and initdb, symbolic links resolved
	Major   int    // 16
	Version string // "16.14", or what follows "(PostgreSQL)" in postgres -V
	Source  Source
}

// FindOptions narrows what Find looks for. The zero value looks everywhere,
// takes any version from MinMajor and fetches nothing unless AURORA_PG_FETCH
// is set.
type FindOptions struct {
	BinDir   string // the only directory to look at; default AURORA_PG_BIN
	Major    int    // the only major version to take; 0 takes any
	MinMajor int    // the oldest version to take; 0 means the constant MinMajor
	CacheDir string // default CacheDir()
	Fetch    bool   // fetch when nothing is found; default AURORA_PG_FETCH
	Logger   *slog.Logger

	// Set by tests only: the world that is looked at.
	goos  string
	globs []string
	path  *string
}

// Find returns the PostgreSQL to use: the explicit directory, else the first
// on PATH, else the best version among the directories this system's packages
// use, else one fetched earlier, else, if asked for, one fetched now. An
// explicit directory that is not usable is an error and not skipped. Finding
// nothing is a *NotFoundError.
func Find(ctx context.Context, opts FindOptions) (Install, error) {
	f, err := newFinder(opts)
	if err != nil {
		return Install{}, err
	}
	if f.opts.BinDir != "" {
		install, err := inspect(ctx, f.opts.BinDir, f.exe)
		if err != nil {
			return Install{}, fmt.Errorf("use PostgreSQL in %s (%s): %w", f.opts.BinDir, EnvBinDir, err)
		}
		install.Source = SourceExplicit
		if install.Major < f.opts.MinMajor {
			return Install{}, fmt.Errorf("use PostgreSQL in %s (%s): version %s is older than %d", f.opts.BinDir, EnvBinDir, install.Version, f.opts.MinMajor)
		}
		return install, nil
	}
	for _, look := range []func(context.Context) (Install, bool){f.onPath, f.inDirectories, f.inCache} {
		if install, ok := look(ctx); ok {
			return install, nil
		}
		if err := ctx.Err(); err != nil {
			return Install{}, fmt.Errorf("find PostgreSQL: %w", err)
		}
	}
	if f.opts.Fetch && (f.opts.Major == 0 || f.opts.Major == fetchMajor) {
		install, err := Fetch(ctx, FetchOptions{CacheDir: f.opts.CacheDir, Logger: f.opts.Logger})
		if err != nil {
			return Install{}, fmt.Errorf("find PostgreSQL: %w", err)
		}
		return install, nil
	}
	return Install{}, f.notFound()
}

type finder struct {
	opts   FindOptions
	exe    string // ".exe" on Windows
	looked []Place
	others []Install // usable, but not the version asked for
}

func newFinder(opts FindOptions) (*finder, error) {
	if opts.BinDir == "" {
		opts.BinDir = os.Getenv(EnvBinDir)
	}
	if !opts.Fetch {
		opts.Fetch, _ = strconv.ParseBool(os.Getenv(EnvFetch))
	}
	if opts.MinMajor == 0 {
		opts.MinMajor = MinMajor
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.goos == "" {
		opts.goos = runtime.GOOS
	}
	if opts.globs == nil {
		opts.globs = standardGlobs(opts.goos)
	}
	if opts.path == nil {
		path := os.Getenv("PATH")
		opts.path = &path
	}
	var err error
	opts.CacheDir, err = cacheDirOr(opts.CacheDir)
	if err != nil {
		return nil, err
	}
	f := &finder{opts: opts}
	if opts.goos == "windows" {
		f.exe = ".exe"
	}
	return f, nil
}

// standardGlobs are the directories in which the packages of each system put
// postgres and initdb; Debian's, for one, is never on PATH.
func standardGlobs(goos string) []string {
	switch goos {
	case "darwin":
		return []string{
			"/opt/homebrew/opt/postgresql@*/bin", "/opt/homebrew/opt/postgresql/bin",
			"/usr/local/opt/postgresql@*/bin", "/usr/local/opt/postgresql/bin",
			"/Applications/Postgres.app/Contents/Versions/*/bin",
			"/Library/PostgreSQL/*/bin", "/opt/local/lib/postgresql*/bin",
		}
	case "windows":
		return []string{`C:\Program Files\PostgreSQL\*\bin`}
	default:
		return []string{
			"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
			"/usr/pgsql-*/bin",          // PGDG's packages on RHEL and Fedora
			"/usr/libexec/postgresql*",  // Alpine
			"/usr/lib/postgresql*/bin",  // SUSE, Gentoo
			"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
			"/usr/local/pgsql/bin", // built from source
			"/usr/local/bin", "/usr/bin",
		}
	}
}

func (f *finder) onPath(ctx context.Context) (Install, bool) {
	seen := 0
	for _, dir := range filepath.SplitList(*f.opts.path) {
		// A relative entry would run programs from the current directory.
		if !filepath.IsAbs(dir) || !f.hasPrograms(dir) {
			continue
		}
		seen++
		if install, ok := f.take(ctx, dir, SourcePath); ok {
			return install, true
		}
	}
	if seen == 0 {
		f.looked = append(f.looked, Place{"PATH", "no directory with postgres and initdb"})
	}
	return Install{}, false
}

func (f *finder) inDirectories(ctx context.Context) (Install, bool) {
	var found []Install
	for _, glob := range f.opts.globs {
		dirs, err := filepath.Glob(glob)
		if err != nil {
			f.looked = append(f.looked, Place{glob, err.Error()})
			continue
		}
		seen := 0
		for _, dir := range dirs {
			if !f.hasPrograms(dir) {
				continue
			}
			seen++
			if install, ok := f.take(ctx, dir, SourceDirectory); ok {
				found = append(found, install)
			}
		}
		if seen == 0 {
			f.looked = append(f.looked, Place{glob, "nothing there"})
		}
	}
	if len(found) == 0 {
		return Install{}, false
	}
	slices.SortStableFunc(found, func(a, b Install) int { return rank(a.Major) - rank(b.Major) })
	return found[0], true
}

func (f *finder) inCache(ctx context.Context) (Install, bool) {
	dir := fetchedBinDir(f.opts.CacheDir)
	if !f.hasPrograms(dir) {
		f.looked = append(f.looked, Place{dir, "nothing fetched"})
		return Install{}, false
	}
	return f.take(ctx, dir, SourceCache)
}

// rank orders major versions: the preferred ones first, then newer before
// older.
func rank(major int) int {
	if i := slices.Index(preferred, major); i >= 0 {
		return i
	}
	return 1000 - major
}

func (f *finder) hasPrograms(dir string) bool {
	for _, program := range []string{"postgres", "initdb"} {
		info, err := os.Stat(filepath.Join(dir, program+f.exe))
		if err != nil || info.IsDir() {
			return false
		}
		if f.exe == "" && info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

// take inspects a directory and says whether it is what is looked for; if not
// it notes why.
func (f *finder) take(ctx context.Context, dir string, source Source) (Install, bool) {
	install, err := inspect(ctx, dir, f.exe)
	if err != nil {
		f.looked = append(f.looked, Place{dir, err.Error()})
		return Install{}, false
	}
	install.Source = source
	switch {
	case install.Major < f.opts.MinMajor:
		f.looked = append(f.looked, Place{dir, fmt.Sprintf("PostgreSQL %s is older than %d", install.Version, f.opts.MinMajor)})
		return Install{}, false
	case f.opts.Major != 0 && install.Major != f.opts.Major:
		f.looked = append(f.looked, Place{dir, fmt.Sprintf("PostgreSQL %s is not %d", install.Version, f.opts.Major)})
		f.others = append(f.others, install)
		return Install{}, false
	}
	return install, true
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) ((\d+)[^\s]*)`)

// inspectTimeout bounds one run of postgres -V.
const inspectTimeout = 20 * time.Second

// inspect asks the postgres program in dir for its version, which also proves
// that it can run here. Symbolic links are resolved because PostgreSQL finds
// its libraries and share directory beside the real program.
func inspect(ctx context.Context, dir, exe string) (Install, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Install{}, err
	}
	program := filepath.Join(dir, "postgres"+exe)
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return Install{}, fmt.Errorf("no program postgres there: %w", fs.ErrNotExist)
		}
		return Install{}, err
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(real), "initdb"+exe)); err == nil {
		dir = filepath.Dir(real)
	} else if _, err := os.Stat(filepath.Join(dir, "initdb"+exe)); err != nil {
		return Install{}, fmt.Errorf("no program initdb there: %w", fs.ErrNotExist)
	}
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"+exe), "-V")
	cmd.Env = serverEnv()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return Install{}, fmt.Errorf("postgres -V: %w%s", err, indentTail(stderr.String()))
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return Install{}, fmt.Errorf("postgres -V: no version in %q", firstLine(string(out)))
	}
	major, err := strconv.Atoi(string(m[2]))
	if err != nil {
		return Install{}, fmt.Errorf("postgres -V: %w", err)
	}
	return Install{BinDir: dir, Major: major, Version: string(m[1])}, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	if len(line) > 200 {
		line = line[:200]
	}
	return line
}

// indentTail formats the end of a program's output for an error; it is empty
// when there is none.
func indentTail(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if len(lines) > 12 {
		lines = lines[len(lines)-12:]
	}
	if len(lines) == 1 && lines[0] == "" {
		return ""
	}
	return "\n  " + strings.Join(lines, "\n  ")
}

// serverEnv is the environment of PostgreSQL's programs: no PG* variables,
// which would change what they do, and no credentials of the user's, which a
// long-lived server has no business with.
func serverEnv() []string {
	env := []string{"LC_ALL=C", "TZ=UTC"}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

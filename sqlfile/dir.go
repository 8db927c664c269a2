package sqlfile

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/aurora-migrate/aurora"
)

// Options say how to load a directory.
type Options struct {
	// Name is the directory's, to stand before file names in messages and in
	// [aurora.Statement].File. Empty means that file names stand alone.
	Name string
	// AllowEmpty makes a directory without migrations no error.
	AllowEmpty bool
}

// A Dir is a directory that was read.
type Dir struct {
	Migrations []aurora.Migration // in order
	// HasSum says that there is an atlas.sum, which then fits the files.
	HasSum bool
}

// Load reads the migrations at the top level of a file system: os.DirFS of a
// directory, an embed.FS (by way of fs.Sub), a map. See [Read].
func Load(fsys fs.FS, opts Options) ([]aurora.Migration, error) {
	d, err := Read(fsys, opts)
	return d.Migrations, err
}

// LoadDir reads the migrations of the directory that a plain path or a file:
// URL names (see [Path]). The path is what messages say unless opts.Name is
// set.
func LoadDir(dir string, opts Options) ([]aurora.Migration, error) {
	path, err := Path(dir)
	if err != nil {
		return nil, err
	}
	if opts.Name == "" {
		opts.Name = path
	}
	return Load(os.DirFS(path), opts)
}

// LoadFS is LoadDir for a directory in a file system, such as that of a program
// that has its migrations inside. Paths begin at the file system's root; one
// that is absolute or leads out of it is an error.
func LoadFS(fsys fs.FS, dir string, opts Options) ([]aurora.Migration, error) {
	name, err := resolve(dir, func(name string) bool {
		_, err := fs.Stat(fsys, filepath.ToSlash(name))
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	path := filepath.ToSlash(name)
	if !fs.ValidPath(path) {
		return nil, fmt.Errorf("the migrations directory %s cannot be inside a program; only one below the directory where the program was built can", name)
	}
	info, err := fs.Stat(fsys, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the migrations directory %s is not inside this program: %w", name, fs.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("open the migrations directory: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("%s is a file, not a directory of migrations", name)
	}
	sub, err := fs.Sub(fsys, path)
	if err != nil {
		return nil, fmt.Errorf("open the migrations directory: %w", err)
	}
	if opts.Name == "" {
		opts.Name = name
	}
	return Load(sub, opts)
}

// Read reads a directory whole. An atlas.sum that does not fit is reported
// before anything else, as a [*SumError]; no migrations as an [*EmptyError]
// unless allowed; an order that depends on who sorts as an [*OrderError]; all
// that is wrong with single files as one or more joined [*FileError] values.
// With an error there are no migrations.
func Read(fsys fs.FS, opts Options) (Dir, error) {
	r := reader{opts: opts}
	files, err := r.list(fsys)
	if err != nil {
		return Dir{}, err
	}
	hasSum, err := r.verifySum(fsys, files)
	if err != nil {
		return Dir{}, err
	}
	pairs, err := r.pair(files)
	if err != nil {
		return Dir{}, err
	}
	if len(pairs) == 0 && !opts.AllowEmpty {
		return Dir{}, &EmptyError{Dir: r.dirName(), Below: below(fsys)}
	}
	d := Dir{HasSum: hasSum}
	var errs []error
	for _, p := range pairs {
		m, err := r.migration(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d.Migrations = append(d.Migrations, m)
	}
	if err := joinErrors(errs); err != nil {
		return Dir{}, err
	}
	return d, nil
}

// reader reads one directory.
type reader struct {
	opts   Options
	strays []string // names that end in .sql, but not in lower case
}

// path gives a file's name for messages.
func (r *reader) path(name string) string {
	if r.opts.Name == "" {
		return name
	}
	return filepath.Join(r.opts.Name, name)
}

func (r *reader) dirName() string {
	if r.opts.Name == "" {
		return "the directory"
	}
	return r.opts.Name
}

// Path resolves what a configuration or flag says of a directory to a path that
// exists: a plain path, or a file: URL as Atlas writes it (file://migrations is
// relative). Spaces need no escape, percent escapes are understood in URLs.
func Path(dir string) (string, error) {
	path, err := resolve(dir, onDisk)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	abs, aerr := filepath.Abs(path)
	if aerr != nil {
		abs = path
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("the migrations directory %s does not exist; correct the path, or create it with: aurora migrate new NAME: %w", abs, fs.ErrNotExist)
	case err != nil:
		return "", fmt.Errorf("open the migrations directory: %w", err)
	case !info.IsDir():
		return "", fmt.Errorf("%s is a file, not a directory of migrations", abs)
	}
	return path, nil
}

func onDisk(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// resolve is Path for a directory that need not exist.
func resolve(dir string, exists func(path string) bool) (string, error) {
	if dir == "" {
		return "", errors.New("no migrations directory given")
	}
	path, ok := strings.CutPrefix(dir, "file:")
	if !ok {
		if scheme, _, ok := strings.Cut(dir, "://"); ok {
			return "", fmt.Errorf("a migrations directory cannot be a %s:// URL; give a path or a file:// URL", scheme)
		}
		return filepath.Clean(dir), nil
	}
	path = strings.TrimPrefix(path, "//")
	path, query, _ := strings.Cut(path, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", fmt.Errorf("parse the parameters of %s: %w", dir, err)
	}
	if format := values.Get("format"); format != "" && format != "atlas" {
		return "", fmt.Errorf("the directory format %q is not supported, only atlas: files <version>_<name>.sql, with <version>_<name>.down.sql for the way down", format)
	}
	if path == "" {
		return "", fmt.Errorf("the URL %q names no directory", dir)
	}
	if plain, err := url.PathUnescape(path); err == nil && plain != path {
		// A name may hold a percent sign that is no escape.
		if !exists(path) {
			path = plain
		}
	}
	return filepath.Clean(path), nil
}

package filestore

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/aurora-migrate/aurora"
)

// DefaultProject is the project where none is given.
const DefaultProject = "default"

// Config says which file to use.
type Config struct {
	// Path is the file's. It and its directory are created by the first write.
	Path string
	// Project separates several histories in one file. Defaults to
	// [DefaultProject].
	Project string
	// Logger hears of trouble that was dealt with. Defaults to none.
	Logger *slog.Logger
}

// ParseURL reads a URL of the form
//
//	file://.aurora/history.db?project=shop
//
// in which all between file:// and the question mark is the path, relative to
// the working directory unless it begins with a slash. The project may be left
// out.
func ParseURL(raw string) (Config, error) {
	rest, ok := strings.CutPrefix(raw, "file://")
	if !ok {
		return Config{}, fmt.Errorf("the url %q must begin with file://", raw)
	}
	path, query, _ := strings.Cut(rest, "?")
	path, err := url.PathUnescape(path)
	if err != nil {
		return Config{}, fmt.Errorf("the url %q: %w", raw, err)
	}
	if path == "" || strings.HasSuffix(path, "/") {
		return Config{}, fmt.Errorf("the url %q names no file: want something like file://.aurora/history.db", raw)
	}
	if runtime.GOOS == "windows" && len(path) > 2 && path[0] == '/' && path[2] == ':' {
		path = path[1:]
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return Config{}, fmt.Errorf("the url %q: %w", raw, err)
	}
	cfg := Config{Path: filepath.FromSlash(path)}
	for name, value := range values {
		if name != "project" {
			return Config{}, fmt.Errorf("the url %q has a parameter %q; there is only project", raw, name)
		}
		if len(value) != 1 || value[0] == "" {
			return Config{}, fmt.Errorf("the url %q: project needs one value", raw)
		}
		cfg.Project = value[0]
	}
	return cfg, nil
}

// A Store is one project in one file. It is an [aurora.Store],
// [aurora.History] and [aurora.Locker], is safe for concurrent use, and holds
// nothing open between calls. It remembers what it has read, except for the
// texts of revisions.
type Store struct {
	path    string
	project string
	log     *slog.Logger

	mu    sync.Mutex
	state *state
}

var (
	_ aurora.Store   = (*Store)(nil)
	_ aurora.History = (*Store)(nil)
	_ aurora.Locker  = (*Store)(nil)
)

// String names the file, with its absolute path, and the project where that is
// not the default.
func (s *Store) String() string {
	text := "file " + s.path
	if s.project != DefaultProject {
		text += ", project " + s.project
	}
	return text
}

// Open prepares a store without touching the file.
func Open(cfg Config) (*Store, error) {
	if cfg.Path == "" {
		return nil, errors.New("the history's file has no path")
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("find the history's file: %w", err)
	}
	// Writing the file anew must replace the file, not a link to it.
	switch target, err := filepath.EvalSymlinks(path); {
	case err == nil:
		path = target
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("find the history's file %s: %w", path, err)
	}
	s := &Store{path: path, project: cmp.Or(cfg.Project, DefaultProject), log: cfg.Logger, state: newState("")}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

//go:build !aurora_bundle

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/aurora-migrate/aurora/internal/gobuild"
	"github.com/aurora-migrate/aurora/sqlfile"
)

// newGo creates a migration in Go and says what was done and what comes next.
func (a *app) newGo(s settings, name string) error {
	dir, err := newDir(s.dir)
	if err != nil {
		return directoryError(err)
	}
	created, err := gobuild.New(dir, name, gobuild.NewOptions{At: a.now()})
	if err != nil {
		var pathError *fs.PathError
		if errors.As(err, &pathError) {
			return err
		}
		return directoryError(err)
	}
	for _, path := range created.Written {
		a.say("%s", path)
	}
	if created.Edited != "" {
		a.say("%s: added %s", created.Edited, created.Ident)
	}
	if hint := gobuild.ModuleHint(dir, buildVersion()); hint != "" {
		_, _ = fmt.Fprintf(a.err, "its module needs aurora: %s\n", hint)
	}
	_, _ = fmt.Fprintf(a.err, "write it, test it with: go test %s\nthen: %s\n", goPath(dir), a.asTyped("aurora migrate list"))
	return nil
}

// goPath is a directory as the go command wants it, which takes a bare name
// for a package of the standard library.
func goPath(dir string) string {
	path := filepath.ToSlash(dir)
	if filepath.IsAbs(dir) || path == "." || strings.HasPrefix(path, "./") || strings.HasPrefix(path, "../") {
		return path
	}
	return "./" + path
}

// newDir is sqlfile.Path for a directory that need not exist yet.
func newDir(dir string) (string, error) {
	path, err := sqlfile.Path(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	path, ok := strings.CutPrefix(dir, "file:")
	if !ok {
		return filepath.Clean(dir), nil
	}
	path, _, _ = strings.Cut(strings.TrimPrefix(path, "//"), "?")
	if plain, err := url.PathUnescape(path); err == nil {
		path = plain
	}
	return filepath.Clean(path), nil
}

package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// FileNames are the project files Load looks for, in this order.
var FileNames = []string{"aurora.hcl", "atlas.hcl"}

// maxFile bounds the project file in bytes and maxNesting its expressions, so
// that no file can exhaust the stack of the recursive parser.
const (
	maxFile    = 256 << 10
	maxNesting = 200
)

// FilePath returns the path and the query of a reference to a file or
// directory: a plain path, or a file: URL such as file://migrations,
// file:///abs/dir or file://my%20dir?format=atlas. Unlike in net/url, what
// follows file:// is a path from its first byte, and a space needs no escape.
// A reference with another scheme is an error.
func FilePath(ref string) (path string, query url.Values, err error) {
	scheme, rest, ok := cutScheme(ref)
	if !ok {
		return ref, url.Values{}, nil
	}
	if scheme != "file" {
		return "", nil, fmt.Errorf("%q is not a file: the scheme %q is not supported here, use a path or file://", Redact(ref), scheme)
	}
	rest, rawQuery, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "?")
	if query, err = url.ParseQuery(rawQuery); err != nil {
		return "", nil, fmt.Errorf("reading the query of %q: %w", ref, err)
	}
	if p, err := url.PathUnescape(rest); err == nil {
		rest = p
	}
	if rest == "" {
		return "", nil, fmt.Errorf("%q names no path", ref)
	}
	return filepath.FromSlash(rest), query, nil
}

// cutScheme splits a URL after its scheme. One letter is no scheme but a drive.
func cutScheme(s string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(s, ":")
	if !ok || len(scheme) < 2 {
		return "", s, false
	}
	for i, c := range []byte(strings.ToLower(scheme)) {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(c))) {
			return "", s, false
		}
	}
	return strings.ToLower(scheme), rest, true
}

// open finds, reads and parses the project file.
func open(opts Options) (*document, error) {
	ref, names := opts.Path, FileNames
	if ref != "" {
		name, _, err := FilePath(ref)
		if err != nil {
			return nil, fmt.Errorf("finding the project file: %w", err)
		}
		names = []string{name}
	}
	for _, name := range names {
		src, err := readFile(opts, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the project file: %w", err)
		}
		path, err := filepath.Abs(name)
		if err != nil {
			return nil, fmt.Errorf("finding the directory of %s: %w", name, err)
		}
		return parse(name, path, src)
	}
	where := "in the working directory"
	if wd, err := os.Getwd(); err == nil {
		where = "in " + wd
	}
	if ref != "" && filepath.IsAbs(names[0]) {
		where = ""
	}
	return nil, fmt.Errorf("%w: looked for %s; create it, or name another file with --config",
		ErrNotFound, strings.TrimSpace(strings.Join(names, " and ")+" "+where))
}

// readFile reads at most maxFile bytes and drops a byte order mark.
func readFile(opts Options, name string) ([]byte, error) {
	f, err := opts.openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(src) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d KiB; a project file is not", name, maxFile>>10)
	}
	return []byte(strings.TrimPrefix(string(src), "\uFEFF")), nil
}

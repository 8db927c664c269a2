package sqlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ariga.io/atlas/sql/migrate"
)

// SumName is the name of the integrity file.
const SumName = migrate.HashFileName

// Sum computes the content of atlas.sum, byte for byte what Atlas writes. It
// covers every *.sql file at the top level, ways down too, and does not care
// what is in them.
func Sum(fsys fs.FS) ([]byte, error) {
	r := reader{}
	files, err := r.list(fsys)
	if err != nil {
		return nil, err
	}
	return sumOf(files)
}

// WriteSum writes atlas.sum of the directory that a path or file: URL names.
func WriteSum(dir string) error {
	path, err := Path(dir)
	if err != nil {
		return err
	}
	r := reader{opts: Options{Name: path}}
	files, err := r.list(os.DirFS(path))
	if err != nil {
		return err
	}
	sum, err := sumOf(files)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(path, SumName), sum, 0o644); err != nil {
		return fmt.Errorf("write the checksums: %w", err)
	}
	return nil
}

func sumOf(files []file) ([]byte, error) {
	hashes, err := hashesOf(files, nil)
	if err != nil {
		return nil, err
	}
	return hashes.MarshalText()
}

// hashesOf computes Atlas's checksums, of the files as convert makes them.
func hashesOf(files []file, convert func([]byte) []byte) (migrate.HashFile, error) {
	list := make([]migrate.File, len(files))
	for i, f := range files {
		data := f.data
		if convert != nil {
			data = convert(data)
		}
		list[i] = migrate.NewLocalFile(f.name, data)
	}
	hashes, err := migrate.NewHashFile(list)
	if err != nil {
		return nil, fmt.Errorf("compute the checksums: %w", err)
	}
	return hashes, nil
}

// A sumDir shows Atlas's validation what it wants to see of a directory.
type sumDir struct {
	fs.FS
	hashes migrate.HashFile
}

func (d sumDir) Checksum() (migrate.HashFile, error) { return d.hashes, nil }
func (d sumDir) Files() ([]migrate.File, error)      { return nil, nil }
func (d sumDir) WriteFile(name string, _ []byte) error {
	return fmt.Errorf("write %s: %w", name, fs.ErrPermission)
}

// verifySum compares the files with atlas.sum, if there is one.
func (r *reader) verifySum(fsys fs.FS, files []file) (exists bool, err error) {
	text, err := fs.ReadFile(fsys, SumName)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return true, &FileError{File: r.path(SumName), Message: "cannot be read: " + reason(err), Err: err}
	}
	var want migrate.HashFile
	if err := want.UnmarshalText(text); err != nil {
		return true, r.brokenSum(text, err)
	}
	// Atlas's validation indexes out of range where a name stands twice.
	seen := make(map[string]bool, len(want))
	for i, h := range want {
		if seen[h.N] {
			return true, &SumError{Path: r.path(SumName), Line: i + 2, Detail: h.N + " stands there twice", Err: migrate.ErrChecksumFormat}
		}
		seen[h.N] = true
	}
	hashes, err := hashesOf(files, nil)
	if err != nil {
		return true, err
	}
	if err := migrate.Validate(sumDir{fsys, hashes}); err != nil {
		return true, r.mismatch(want, files, err)
	}
	return true, nil
}

// brokenSum explains a sum file that does not even fit itself.
func (r *reader) brokenSum(text []byte, err error) error {
	e := &SumError{Path: r.path(SumName), Line: 1, Detail: "its first line does not fit the others", Err: err}
	for i, line := range bytes.Split(bytes.TrimRight(text, "\r\n"), []byte("\n")) {
		switch {
		case bytes.HasPrefix(line, []byte("<<<<<<<")), bytes.HasPrefix(line, []byte("=======")), bytes.HasPrefix(line, []byte(">>>>>>>")):
			e.Line, e.Detail = i+1, "it has git's conflict marks: check that the files are in the order that they should run in"
			return e
		case errors.Is(err, migrate.ErrChecksumFormat) && i > 0 && !bytes.Contains(line, []byte("h1:")):
			e.Line, e.Detail = i+1, "the line has no checksum"
			return e
		}
	}
	if len(bytes.TrimSpace(text)) == 0 {
		e.Detail = "it is empty"
	}
	return e
}

// mismatch explains where the files differ from the sum file.
func (r *reader) mismatch(want migrate.HashFile, files []file, err error) error {
	e := &SumError{Path: r.path(SumName), Line: 1, Err: err}
	var c *migrate.ChecksumError
	if errors.As(err, &c) {
		e.Line, e.File, e.Reason = c.Line, c.File, Reason(c.Reason.String())
	}
	if e.Reason != Edited {
		return e
	}
	toLF := func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) }
	toCRLF := func(b []byte) []byte { return bytes.ReplaceAll(toLF(b), []byte("\n"), []byte("\r\n")) }
	for _, convert := range []func([]byte) []byte{toLF, toCRLF} {
		if hashes, err := hashesOf(files, convert); err == nil && hashes.Sum() == want.Sum() {
			e.Detail = "but only its line ends: the checkout converted them, which a line \"*.sql text eol=lf\" in .gitattributes prevents"
			break
		}
	}
	return e
}

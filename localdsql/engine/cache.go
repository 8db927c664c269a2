package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// rootCacheDir is where root's cache is: root's home is closed to the users
// PostgreSQL can run as.
const rootCacheDir = "/var/cache/aurora"

// CacheDir returns the directory for what can be made again: fetched
// PostgreSQL, template clusters, and the clusters of projects whose own
// directory cannot hold one. It is "aurora" in the user's cache directory; for
// root without XDG_CACHE_HOME it is /var/cache/aurora; for a user without a
// home it is in the temporary directory. It need not exist yet.
func CacheDir() (string, error) {
	if runtime.GOOS != "windows" && os.Geteuid() == 0 && os.Getenv("XDG_CACHE_HOME") == "" {
		return rootCacheDir, nil
	}
	base, err := os.UserCacheDir()
	if err == nil {
		return filepath.Join(base, "aurora"), nil
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("aurora-cache-%d", os.Getuid()))
	// The temporary directory is everybody's: what lies there under our name
	// must be ours before anything in it is run.
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return "", fmt.Errorf("create cache directory: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("look at cache directory: %w", err)
	}
	if !info.IsDir() || !ownedBySelf(info) {
		return "", fmt.Errorf("cache directory %s belongs to somebody else: set HOME or XDG_CACHE_HOME", dir)
	}
	return dir, nil
}

func cacheDirOr(dir string) (string, error) {
	if dir != "" {
		return filepath.Abs(dir)
	}
	return CacheDir()
}

// mkdirAll creates a directory and what is missing above it. What root makes
// is open to the user PostgreSQL runs as, whatever the umask.
func mkdirAll(dir string, give func(string) error) error {
	info, err := os.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := mkdirAll(filepath.Dir(dir), give); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) { // another process was faster
			return nil
		}
		return err
	}
	if os.Geteuid() == 0 {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	return give(dir)
}

// ownFiles is what mkdirAll does with files that stay this process's user's.
func ownFiles(string) error { return nil }

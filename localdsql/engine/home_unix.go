//go:build linux || darwin

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The files of a home beside its clusters pg14, pg15, …
const (
	lockName  = "pg.lock"
	aliveName = "pg.alive"
	usersName = "pg.users"
	stateName = "pg.json"
	logName   = "pg.log"
)

// maxHomePath bounds a home's path in bytes: PostgreSQL's paths have 1,024
// (MAXPGPATH) and the longest below a data directory takes less than 100.
const maxHomePath = 900

// unusableError says that a directory cannot be a home, so that another may be
// tried.
type unusableError struct{ err error }

func (e *unusableError) Error() string { return e.err.Error() }
func (e *unusableError) Unwrap() error { return e.err }

// home is the directory that keeps clusters and what coordinates the
// processes using them.
type home struct {
	dir      string
	uid, gid int // whose directory it is; made files are given to them
}

// state is what the process that starts a server leaves for the others.
type state struct {
	RuntimeDir string    `json:"runtime_dir"` // socket and lease
	DataDir    string    `json:"data_dir"`
	Major      int       `json:"major"`
	Version    string    `json:"version"`
	BinDir     string    `json:"bin_dir"`
	Source     Source    `json:"source"`
	Host       string    `json:"host"`
	Started    time.Time `json:"started"`
}

// openHome creates the directory if needed. Every error but a full disk is an
// *unusableError.
func openHome(dir string) (*home, error) {
	h, err := makeHome(dir)
	switch {
	case err == nil:
		return h, nil
	case isDiskFull(err):
		return nil, fmt.Errorf("create %s: %w: %w", dir, ErrDiskFull, err)
	}
	return nil, &unusableError{err}
}

func makeHome(dir string) (*home, error) {
	if len(dir) > maxHomePath {
		return nil, fmt.Errorf("the path is longer than %d bytes", maxHomePath)
	}
	if strings.ContainsAny(dir, "\n\r") {
		return nil, errors.New("the path has a line break, which PostgreSQL cannot take")
	}
	h := &home{dir: dir}
	if err := h.findOwner(); err != nil {
		return nil, err
	}
	if err := h.mkdirAll(dir); err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	h.dir = real
	ignore := h.path(".gitignore")
	if _, err := os.Lstat(ignore); errors.Is(err, fs.ErrNotExist) {
		if err := h.writeFile(ignore, []byte("*\n")); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{lockName, aliveName, usersName} {
		if err := h.checkLock(h.path(name)); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

func (h *home) cluster(major int) string { return h.path("pg" + strconv.Itoa(major)) }

// findOwner looks whose the directory, or the nearest that exists above it,
// is. For root this decides who gets the files: a developer must be able to
// delete what sudo made in his project.
func (h *home) findOwner() error {
	for dir := h.dir; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil {
			h.uid, h.gid = owner(info)
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return err
		}
	}
}

// give gives a file this process made to the directory's owner.
func (h *home) give(name string) error {
	if os.Geteuid() != 0 || h.uid == 0 {
		return nil
	}
	return os.Lchown(name, h.uid, h.gid)
}

func (h *home) mkdirAll(dir string) error {
	return mkdirAll(dir, h.give)
}

// checkLock creates a lock file and makes sure that the file system has locks.
func (h *home) checkLock(name string) error {
	_, err := os.Lstat(name)
	made := errors.Is(err, fs.ErrNotExist)
	file, err := openLock(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if made {
		if err := h.give(name); err != nil {
			return err
		}
	}
	if filepath.Base(name) != lockName {
		return nil // locked or not means something there
	}
	if err := flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	return nil
}

// writeFile replaces a file as a whole.
func (h *home) writeFile(name string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(name), ".aurora-tmp-")
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = h.give(temp.Name())
	}
	if err == nil {
		err = os.Rename(temp.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}

func (h *home) readState() (state, error) {
	var st state
	data, err := os.ReadFile(h.path(stateName))
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(data, &st); err != nil {
		return st, fmt.Errorf("read %s: %w", h.path(stateName), err)
	}
	return st, nil
}

func (h *home) writeState(st state) error {
	data, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	return h.writeFile(h.path(stateName), append(data, '\n'))
}

// existing returns the major version of the cluster that is there, 0 if none.
// When there are several it is the best version's.
func (h *home) existing() (int, error) {
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		return 0, err
	}
	best := 0
	for _, entry := range entries {
		number, ok := strings.CutPrefix(entry.Name(), "pg")
		major, err := strconv.Atoi(number)
		if !ok || err != nil || major <= 0 {
			continue
		}
		data, err := os.ReadFile(filepath.Join(h.cluster(major), "PG_VERSION"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, &unusableError{err}
		}
		if version := strings.TrimSpace(string(data)); version != strconv.Itoa(major) {
			return 0, fmt.Errorf("the local database in %s was written by PostgreSQL %s: remove it, or rename it to pg%s", h.cluster(major), version, version)
		}
		if best == 0 || rank(major) < rank(best) {
			best = major
		}
	}
	return best, nil
}

// isDiskFull recognises a full disk or an exceeded quota.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// temporaryBase is where sockets and throw-away clusters go. It is /tmp and
// not TMPDIR where possible: all processes must agree, and a socket's path is
// short (107 bytes on Linux, 103 on macOS).
func temporaryBase() string {
	const base = "/tmp"
	if syscall.Access(base, 2 /* W_OK */) == nil {
		return base
	}
	return os.TempDir()
}

const (
	runtimePrefix   = "aurora-pg-"        // directories of socket and lease
	throwawayPrefix = "aurora-throwaway-" // whole homes
	leaseName       = "lease"
	homeName        = "home" // names the home a runtime directory belongs to
)

// sweepAge is how old something in the temporary directory must be to be taken
// for a dead process's.
const sweepAge = time.Minute

// sweep removes what servers that were killed together with their watcher left
// in the temporary directory. Errors are not reported: what is left is tried
// again next time.
func sweep(ctx context.Context, base string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if ctx.Err() != nil {
			return
		}
		dead := deadRuntime
		switch {
		case strings.HasPrefix(entry.Name(), runtimePrefix):
		case strings.HasPrefix(entry.Name(), throwawayPrefix):
			dead = deadThrowaway
		default:
			continue
		}
		info, err := entry.Info()
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < sweepAge {
			continue
		}
		if os.Geteuid() != 0 && !ownedBySelf(info) {
			continue
		}
		if dir := filepath.Join(base, entry.Name()); dead(dir) {
			_ = os.RemoveAll(dir)
		}
	}
}

func deadThrowaway(dir string) bool {
	file, err := os.OpenFile(filepath.Join(dir, aliveName), os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		return false
	}
	defer file.Close()
	free, err := tryLock(int(file.Fd()))
	return err == nil && free
}

// deadRuntime says whether nobody will come back to a runtime directory: there
// is no watcher, and its home is gone or has another.
func deadRuntime(dir string) bool {
	fd, err := openLease(dir)
	if err == nil {
		_ = syscall.Close(fd)
		return false
	}
	if !errors.Is(err, errLeaseDead) && !errors.Is(err, errLeaseGone) {
		return false
	}
	name, err := os.ReadFile(filepath.Join(dir, homeName))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	h := &home{dir: string(name)}
	st, err := h.readState()
	return errors.Is(err, fs.ErrNotExist) || (err == nil && st.RuntimeDir != dir)
}

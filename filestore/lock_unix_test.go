//go:build unix

package filestore

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
)

var networkErrors = []error{syscall.ENOLCK, syscall.EOPNOTSUPP, syscall.ESTALE}

// tryWrite saves a revision and returns the first error.
func tryWrite(t *testing.T, s *Store) error {
	t.Helper()
	lease, err := s.Acquire(t.Context(), aurora.Holder{}, time.Minute)
	if err != nil {
		return err
	}
	err = lease.Save(t.Context(), aurora.Revision{ExecutionID: "e", Version: "1"})
	return errors.Join(err, lease.Release(t.Context()))
}

// A disk that is full leaves the file as it was.
func TestDiskThatIsFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s, err := Open(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := tryWrite(t, s); err != nil {
		t.Fatal(err)
	}
	lease, err := s.Acquire(t.Context(), aurora.Holder{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A limit of the process's own ends a write in the middle, like a full disk.
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limited := old
	limited.Cur = uint64(len(before)) + 100
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limited); err != nil {
		t.Fatal(err)
	}
	err = lease.Save(t.Context(), aurora.Revision{ExecutionID: "e", Version: "2", Output: strings.Repeat("x", 10_000)})
	if rerr := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); rerr != nil {
		t.Fatal(rerr)
	}
	if !errors.Is(err, syscall.EFBIG) {
		t.Errorf("Save: %v, want the file system's error", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file has %d bytes instead of %d (%v)", len(after), len(before), err)
	}
	if err := lease.Save(t.Context(), aurora.Revision{ExecutionID: "e", Version: "3"}); err != nil {
		t.Errorf("Save with room: %v", err)
	}
	latest, err := s.Latest(t.Context())
	if err != nil || len(latest) != 2 {
		t.Errorf("Latest: %d, %v; want 2", len(latest), err)
	}
}

// Who may only read can read, also while somebody else writes, and is told
// what it may not.
func TestReadingWithoutRightsToWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "history.db")
	owner, err := Open(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := tryWrite(t, owner); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + ".lock"} {
		if err := os.Chmod(name, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o555); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(d, 0o755)
	}
	reader, err := Open(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		latest, err := reader.Latest(t.Context())
		if err != nil || len(latest) != 1 {
			t.Errorf("Latest: %d, %v", len(latest), err)
		}
		if _, err := reader.Locked(t.Context()); err != nil {
			t.Errorf("Locked: %v", err)
		}
		if _, err := reader.Execution(t.Context(), "e"); err != nil {
			t.Errorf("Execution: %v", err)
		}
		err = tryWrite(t, reader)
		if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), path) {
			t.Errorf("writing: %v, want that it is not permitted", err)
		}
	})
}

// asNobody calls f without the rights of root, if this process has them.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := setFSUser(65534); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := setFSUser(0); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestSweep(t *testing.T) {
	base, homes := t.TempDir(), t.TempDir()
	tests := []struct {
		name   string
		dir    string // in base
		age    time.Duration
		home   bool // the home exists and names this directory
		reader bool // the lease has a reader
		locked bool // pg.alive is locked
		kept   bool
	}{
		{name: "runtime of a deleted project", dir: runtimePrefix + "deleted", age: time.Hour},
		{name: "runtime of a home that may come back", dir: runtimePrefix + "named", age: time.Hour, home: true, kept: true},
		{name: "runtime with a watcher", dir: runtimePrefix + "watched", age: time.Hour, reader: true, kept: true},
		{name: "young runtime", dir: runtimePrefix + "young", kept: true},
		{name: "dead throw-away", dir: throwawayPrefix + "dead", age: time.Hour},
		{name: "live throw-away", dir: throwawayPrefix + "live", age: time.Hour, locked: true, kept: true},
		{name: "young throw-away", dir: throwawayPrefix + "young", kept: true},
		{name: "something else", dir: "aurora-else", age: time.Hour, kept: true},
	}
	for i, tt := range tests {
		dir, h := filepath.Join(base, tt.dir), &home{dir: filepath.Join(homes, fmt.Sprint(i))}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, homeName), []byte(h.dir), 0o600); err != nil {
			t.Fatal(err)
		}
		lease := filepath.Join(dir, leaseName)
		if err := syscall.Mkfifo(lease, 0o600); err != nil {
			t.Fatal(err)
		}
		if tt.home {
			if err := os.Mkdir(h.dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := h.writeState(state{RuntimeDir: dir}); err != nil {
				t.Fatal(err)
			}
		}
		if tt.reader {
			fd, err := syscall.Open(lease, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = syscall.Close(fd) })
		}
		alive, err := openLock(filepath.Join(dir, aliveName))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = alive.Close() })
		if tt.locked {
			if ok, err := tryLock(int(alive.Fd())); err != nil || !ok {
				t.Fatal(ok, err)
			}
		}
		old := time.Now().Add(-tt.age)
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	sweep(t.Context(), base)
	for _, tt := range tests {
		_, err := os.Lstat(filepath.Join(base, tt.dir))
		if kept := err == nil; kept != tt.kept {
			t.Errorf("%s: kept is %v, want %v", tt.name, kept, tt.kept)
		}
	}
}

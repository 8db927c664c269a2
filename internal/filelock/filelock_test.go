package filelock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestOpen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	first, err := Open(t.Context(), name, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancelCause(t.Context())
	why := errors.New("no more patience")
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	if _, err := Open(gone, name, 0o600); !errors.Is(err, why) {
		t.Errorf("Open of a locked file: %v, want the reason for which it gave up", err)
	}
	second, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if ok, err := Try(second); ok || err != nil {
		t.Errorf("Try of a locked file: %v, %v", ok, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if ok, err := Try(second); !ok || err != nil {
		t.Errorf("Try of a free file: %v, %v", ok, err)
	}
}

// Who waits for a file that is deleted meanwhile locks the one that took its
// place.
func TestOpenDeleted(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	first, err := Open(t.Context(), name, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	type opened struct {
		f   *os.File
		err error
	}
	got := make(chan opened)
	go func() {
		f, err := Open(t.Context(), name, 0o600)
		got <- opened{f, err}
	}()
	time.Sleep(5 * time.Millisecond) // so that it waits; the test holds without
	if err := errors.Join(os.Remove(name), first.Close()); err != nil {
		t.Fatal(err)
	}
	o := <-got
	if o.err != nil {
		t.Fatal(o.err)
	}
	defer o.f.Close()
	mine, err := o.f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	there, err := os.Stat(name)
	if err != nil || !os.SameFile(mine, there) {
		t.Errorf("the locked file is not the one with that name (%v)", err)
	}
}

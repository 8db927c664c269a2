// Package filelock locks files against other processes. A lock ends with the
// file or with the process that holds it, however that ends. It is advisory:
// only those who ask for it notice it.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Try takes the exclusive lock of an open file if it is free, and reports
// whether it was. A file that this process has locked already through the same
// descriptor counts as free.
func Try(f *os.File) (bool, error) { return TryFD(f.Fd()) }

// Open opens a file, made with perm if need be, and locks it, waiting until ctx
// ends; the error then wraps [context.Cause]. Closing the file unlocks it. A
// file that is deleted while it waits is made anew, so that everybody locks
// the same one.
func Open(ctx context.Context, name string, perm fs.FileMode) (*os.File, error) {
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, perm)
		if err != nil {
			return nil, err
		}
		ok, err := wait(ctx, f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
		}
		if ok {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// wait locks the file; false means that the file was deleted meanwhile, so
// that others lock another one. It asks again and again because waiting for a
// lock cannot be given up.
func wait(ctx context.Context, f *os.File) (bool, error) {
	for pause := time.Millisecond; ; pause = min(pause*2, 20*time.Millisecond) {
		ok, err := Try(f)
		if err != nil {
			return false, err
		}
		if ok {
			break
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(mine, there), err
}

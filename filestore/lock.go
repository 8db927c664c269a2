package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// lock locks a file for this process alone, creating it if need be, and waits
// for it until ctx ends. It asks again and again because waiting for a lock
// cannot be given up.
func lock(ctx context.Context, name string) (unlock func() error, err error) {
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		err = waitLock(ctx, f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
		}
		// Who deleted it meanwhile made others lock another file.
		mine, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		there, err := os.Stat(name)
		switch {
		case err == nil && os.SameFile(mine, there):
			return f.Close, nil // which unlocks it
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, errors.Join(err, f.Close())
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

func waitLock(ctx context.Context, f *os.File) error {
	for wait := time.Millisecond; ; wait = min(wait*2, 20*time.Millisecond) {
		ok, err := tryLock(f)
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

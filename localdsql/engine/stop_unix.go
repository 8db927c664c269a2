//go:build linux || darwin

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// share is one Server's part in a running server. The descriptors are numbers
// so that they stay open when a Server is dropped without Stop.
type share struct {
	mu     sync.Mutex
	closed bool
	home   *home
	state  state
	remove string // a throw-away server's home
	lease  int
	users  int             // pg.users, locked shared
	alive  int             // pg.alive, not locked
	exited <-chan struct{} // of the watcher, when it is this process's child
}

// server makes the Server for a lease.
func (l *launch) server(st state, lease int, exited <-chan struct{}) (*Server, error) {
	open := func(name string) (int, error) {
		fd, err := syscall.Open(l.home.path(name), syscall.O_RDWR|syscall.O_CLOEXEC, 0)
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: l.home.path(name), Err: err}
		}
		return fd, nil
	}
	users, err := open(usersName)
	if err != nil {
		return nil, err
	}
	// It waits for no longer than another's look at who is left.
	if err := flock(users, syscall.LOCK_SH); err != nil {
		return nil, errors.Join(err, syscall.Close(users))
	}
	alive, err := open(aliveName)
	if err != nil {
		return nil, errors.Join(err, syscall.Close(users))
	}
	sh := &share{home: l.home, state: st, remove: l.throwawayHome(), lease: lease, users: users, alive: alive, exited: exited}
	return &Server{
		install:   Install{BinDir: st.BinDir, Major: st.Major, Version: st.Version, Source: st.Source},
		dataDir:   st.DataDir,
		socketDir: st.RuntimeDir,
		stop:      sh.stop,
	}, nil
}

func (sh *share) stop(ctx context.Context) error {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.closed {
		return nil
	}
	sh.closed = true
	// The lease first: it is what must not be kept, whatever fails later.
	err := syscall.Close(sh.lease)
	err = errors.Join(err, sh.waitIfLast(ctx))
	err = errors.Join(err, syscall.Close(sh.users), syscall.Close(sh.alive))
	if err != nil {
		return fmt.Errorf("stop local database: %w", err)
	}
	return nil
}

// waitIfLast waits until the server is gone or somebody else uses it.
func (sh *share) waitIfLast(ctx context.Context) error {
	for wait := time.Millisecond; ; wait = min(wait*2, 10*time.Millisecond) {
		if last, err := tryLock(sh.users); err != nil || !last {
			return err
		}
		if err := flock(sh.users, syscall.LOCK_UN); err != nil {
			return err
		}
		gone, err := tryLock(sh.alive)
		if err != nil {
			return err
		}
		if gone {
			err := sh.reap(ctx)
			// A watcher has done this; one that was killed has not.
			sh.removeTemporary()
			return err
		}
		if !watched(sh.state.RuntimeDir) {
			sh.stopUnwatched()
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// reap waits for the watcher's end when it is a child of this process, so that
// no zombie is seen.
func (sh *share) reap(ctx context.Context) error {
	if sh.exited == nil {
		return nil
	}
	select {
	case <-sh.exited:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watched says whether a lease has a reader. Nothing is written to it, so that
// this look is nobody's share.
func watched(runtimeDir string) bool {
	for _, name := range []string{leaseName, closingName} {
		if fd, err := openWriteEnd(filepath.Join(runtimeDir, name)); err == nil {
			_ = syscall.Close(fd)
			return true
		}
	}
	return false
}

// stopUnwatched does the work of a watcher that was killed.
func (sh *share) stopUnwatched() {
	pid, _ := postmaster(sh.state.DataDir)
	// The state is written before a server is started: while it is still this
	// server's, so is the process id that was read before.
	st, err := sh.home.readState()
	if pid != 0 && err == nil && st.RuntimeDir == sh.state.RuntimeDir {
		_ = syscall.Kill(pid, syscall.SIGINT)
	}
}

// removeTemporary removes what is left of a server that is gone. What cannot
// be removed is found by a later start.
func (sh *share) removeTemporary() {
	if isRuntimeDir(sh.state.RuntimeDir) {
		_ = os.RemoveAll(sh.state.RuntimeDir)
	}
	if sh.remove != "" {
		_ = os.RemoveAll(sh.remove)
	}
}

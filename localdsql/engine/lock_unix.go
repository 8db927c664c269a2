//go:build linux || darwin

package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// flock applies a lock operation, again when a signal came in between.
func flock(fd, how int) error {
	for {
		err := syscall.Flock(fd, how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// tryLock takes the exclusive lock if it is free.
func tryLock(fd int) (bool, error) {
	err := flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// pause waits d or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// lockFile creates the file if needed and locks it exclusively, waiting until
// ctx ends. Closing the file unlocks it. The lock is asked for again and again
// because a blocking flock cannot be given up.
func lockFile(ctx context.Context, name string) (io.Closer, error) { return openLocked(ctx, name) }

func openLocked(ctx context.Context, name string) (*os.File, error) {
	for {
		file, err := openLock(name)
		if err != nil {
			return nil, err
		}
		ok, err := waitLock(ctx, file)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), file.Close())
		}
		if ok {
			return file, nil
		}
		if err := file.Close(); err != nil {
			return nil, err
		}
	}
}

// waitLock locks the file; false means that the file was deleted meanwhile, so
// that others lock another one.
func waitLock(ctx context.Context, file *os.File) (bool, error) {
	for wait := time.Millisecond; ; wait = min(wait*2, 20*time.Millisecond) {
		ok, err := tryLock(int(file.Fd()))
		if err != nil {
			return false, err
		}
		if ok {
			break
		}
		if err := pause(ctx, wait); err != nil {
			return false, err
		}
	}
	mine, err := file.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(file.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(mine, there), err
}

func openLock(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
}

func owner(info fs.FileInfo) (uid, gid int) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return -1, -1
}

func ownedBySelf(info fs.FileInfo) bool {
	uid, _ := owner(info)
	return uid == os.Geteuid()
}

// ownGroup puts a command that is bound to a context into a process group of
// its own, out of reach of the terminal's Ctrl-C, and kills the whole group
// when the context ends.
func ownGroup(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = !cmd.SysProcAttr.Setsid
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

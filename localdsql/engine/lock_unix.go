//go:build linux || darwin

package engine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/aurora-migrate/aurora/internal/filelock"
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
func tryLock(fd int) (bool, error) { return filelock.TryFD(uintptr(fd)) }

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
// ctx ends. Closing the file unlocks it.
func lockFile(ctx context.Context, name string) (io.Closer, error) { return openLocked(ctx, name) }

func openLocked(ctx context.Context, name string) (*os.File, error) {
	return filelock.Open(ctx, name, 0o600)
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

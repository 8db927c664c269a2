//go:build linux || darwin

package localdsql

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/aurora-migrate/aurora/internal/filelock"
)

// tryLock opens a file, made if need be, and locks it if it is free. The lock
// ends with the file or the process.
func tryLock(name string) (_ *os.File, ok bool, err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	ok, err = filelock.Try(f)
	switch {
	case ok:
		return f, true, nil
	case err == nil:
		return nil, false, f.Close()
	}
	return nil, false, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
}

// giveToOwner gives a file that root made to the owner of its directory, who
// must be able to remove what sudo made in his project.
func giveToOwner(name string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(filepath.Dir(name))
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("look at %s: %w", name, fs.ErrInvalid)
	}
	return os.Lchown(name, int(st.Uid), int(st.Gid))
}

// terminate asks a process to end in good order.
func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

package filestore

import (
	"errors"
	"os"
	"syscall"
	"unsafe"
)

var lockFileEx = syscall.NewLazyDLL("kernel32.dll").NewProc("LockFileEx")

// Flags and errors of LockFileEx (learn.microsoft.com, "LockFileEx function").
const (
	failImmediately = 1
	exclusiveLock   = 2

	errorInvalidFunction = syscall.Errno(1)
	errorLockViolation   = syscall.Errno(33)
	errorNotSupported    = syscall.Errno(50)
)

// tryLock locks the file if nobody else has it locked.
func tryLock(f *os.File) (bool, error) {
	var overlapped syscall.Overlapped
	ok, _, err := lockFileEx.Call(f.Fd(), exclusiveLock|failImmediately, 0, 1, 0, uintptr(unsafe.Pointer(&overlapped)))
	switch {
	case ok != 0:
		return true, nil
	case errors.Is(err, errorLockViolation), errors.Is(err, syscall.ERROR_IO_PENDING):
		return false, nil
	}
	return false, err
}

// isNoLock reports that the file system knows no locks.
func isNoLock(err error) bool {
	return errors.Is(err, errorNotSupported) || errors.Is(err, errorInvalidFunction)
}

// isStale reports that a server has lost the file.
func isStale(error) bool { return false }

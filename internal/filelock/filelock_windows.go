package filelock

import (
	"errors"
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

// TryFD is [Try] for a handle.
func TryFD(fd uintptr) (bool, error) {
	var overlapped syscall.Overlapped
	ok, _, err := lockFileEx.Call(fd, exclusiveLock|failImmediately, 0, 1, 0, uintptr(unsafe.Pointer(&overlapped)))
	switch {
	case ok != 0:
		return true, nil
	case errors.Is(err, errorLockViolation), errors.Is(err, syscall.ERROR_IO_PENDING):
		return false, nil
	}
	return false, err
}

// IsUnsupported reports whether a lock failed because the file system knows
// none.
func IsUnsupported(err error) bool {
	return errors.Is(err, errorNotSupported) || errors.Is(err, errorInvalidFunction)
}

// IsStale reports whether a server of files has lost the file.
func IsStale(error) bool { return false }

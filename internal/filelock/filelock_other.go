//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package filelock

import "errors"

var errNoLock = errors.New("this system has no locks of files")

// TryFD is [Try] for a descriptor.
func TryFD(uintptr) (bool, error) { return false, errNoLock }

// IsUnsupported reports whether a lock failed because the file system knows
// none.
func IsUnsupported(err error) bool { return errors.Is(err, errNoLock) }

// IsStale reports whether a server of files has lost the file.
func IsStale(error) bool { return false }

//go:build unix

package cli

import (
	"errors"
	"syscall"
)

// processExists reports whether a process of that number exists, whoever's it
// is.
func processExists(pid int) bool {
	return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

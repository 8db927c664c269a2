//go:build !unix

package cli

import "os"

// processExists reports whether a process of that number exists.
func processExists(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	_ = p.Release()
	return true
}

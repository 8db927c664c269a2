//go:build unix

package cli

import (
	"context"
	"fmt"
	"os"
	"syscall"
)

// becomeProgram replaces this process: the terminal, the signals and the exit
// code are the program's own.
func becomeProgram(_ context.Context, _ *app, path string) error {
	if err := syscall.Exec(path, os.Args, os.Environ()); err != nil {
		return fmt.Errorf("run the program with the Go migrations: %w", err)
	}
	return nil
}

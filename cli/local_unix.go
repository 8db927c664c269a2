//go:build unix && !aurora_bundle

package cli

import (
	"os"
	"os/exec"
	"syscall"
)

// become replaces this process by a program, which then has the terminal and
// its signals to itself.
func become(program string, args, env []string) error { return syscall.Exec(program, args, env) }

// detach gives a command a session of its own, so that neither Ctrl-C nor the
// end of the terminal ends it.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// keepFromChildren keeps a file that was inherited from being passed on.
func keepFromChildren(f *os.File) { syscall.CloseOnExec(int(f.Fd())) }

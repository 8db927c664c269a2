package dynamotest

import (
	"os/exec"
	"syscall"
)

// dieWithParent lets the kernel kill the command when the tests are killed.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

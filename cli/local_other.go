//go:build !unix && !aurora_bundle

package cli

import (
	"os"
	"os/exec"
)

// become runs a program in the place of this one.
func become(program string, args, env []string) error {
	cmd := exec.Command(program, args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdin, os.Stdout, os.Stderr, env
	return cmd.Run()
}

func detach(*exec.Cmd) {}

func keepFromChildren(*os.File) {}

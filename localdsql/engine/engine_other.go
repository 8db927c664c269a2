//go:build !linux && !darwin

package engine

import (
	"context"
	"io"
	"io/fs"
	"os/exec"
)

func start(context.Context, Config) (*Server, error) { return nil, ErrUnsupported }

func lockFile(context.Context, string) (io.Closer, error) { return nil, ErrUnsupported }

func ownGroup(*exec.Cmd) {}

// ownedBySelf cannot be told here; the temporary directory of Windows, the
// system this is for, is the user's own.
func ownedBySelf(fs.FileInfo) bool { return true }

//go:build aurora_bundle

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// This file is what a bundle has in place of what it leaves out; see tools.go.

func (a *app) toolCommands() []*cobra.Command { return nil }

func startLocal(context.Context, *app, settings) (localServer, error) {
	return localServer{}, &usageError{
		Err:  errors.New("a bundle has no local databases"),
		Hint: "set url in the env block to that of a server, or use the program aurora",
	}
}

func isLocalDSQL(settings) bool { return false }

func isDiskFull(error) bool { return false }

func (a *app) newGo(settings, string) error {
	return &usageError{Err: errors.New("a bundle does not write Go code"), Hint: "use the program aurora"}
}

// becomeGo is reached by a main package that gave Main no migrations.
func (a *app) becomeGo(_ context.Context, _ settings, dir string) error {
	return &usageError{
		Err:  fmt.Errorf("%s has migrations in Go, and this bundle was built without them", dir),
		Hint: "pass them to cli.Main in its main package",
	}
}

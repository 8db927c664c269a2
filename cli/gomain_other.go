//go:build !unix

package cli

import "context"

// becomeProgram runs the program and ends as it does.
func becomeProgram(ctx context.Context, a *app, path string) error {
	return runProgram(ctx, a, path)
}

//go:build !aurora_bundle

package cli

import "github.com/spf13/cobra"

// toolCommands are those for the machine of a developer and for what deploys.
// A bundle has none of them, nor what they need: its Lambda package would be
// twice as large.
func (a *app) toolCommands() []*cobra.Command {
	return []*cobra.Command{a.newBundleCommand(), a.newTaskCommand(), a.newLocalCommand(), a.newDashboardCommand(), a.newLambdaCommand()}
}

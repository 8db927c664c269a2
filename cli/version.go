package cli

import (
	"cmp"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora/internal/gobuild"
)

// version is set by release builds with -ldflags "-X …/cli.version=v1.2.3".
var version string

func (a *app) newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: a.runs(func(cmd *cobra.Command, _ []string) error {
			a.say("aurora %s %s %s/%s", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		}),
	}
}

// buildVersion returns what the linker was told, or else what the go command
// recorded, be it for a program of somebody else's module.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(devel)"
	}
	module := &info.Main
	for _, dep := range info.Deps {
		if dep.Path == gobuild.Module {
			module = dep
		}
	}
	if module.Replace != nil {
		module = module.Replace
	}
	return cmp.Or(module.Version, "(devel)")
}

// operator names this program in the history.
func operator() string { return "aurora " + buildVersion() }

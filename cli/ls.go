package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) newLsCommand(p *projectOptions) *cobra.Command {
	o := lsOptions{project: p}
	cmd := &cobra.Command{
		Use:   "ls [flags]",
		Short: "Print the names of the migration files, as Atlas does",
		Args:  noArgs,
		RunE: a.runs(func(cmd *cobra.Command, _ []string) error {
			return a.runLs(cmd.Context(), o)
		}),
	}
	o.directory.addFlags(cmd.Flags())
	cmd.Flags().BoolVarP(&o.short, "short", "s", false, "versions only")
	cmd.Flags().BoolVarP(&o.latest, "latest", "l", false, "only the newest")
	return cmd
}

type lsOptions struct {
	project   *projectOptions
	directory directoryOptions
	short     bool
	latest    bool
}

func (a *app) runLs(ctx context.Context, o lsOptions) error {
	s, err := one(a.settings(ctx, *o.project, o.directory, nil))
	if err != nil {
		return err
	}
	migrations, err := a.loadFiles(s)
	if err != nil {
		return err
	}
	if n := len(migrations); o.latest && n > 1 {
		migrations = migrations[n-1:]
	}
	for _, m := range migrations {
		if f := reportFile(m); o.short {
			a.say("%s", f.Version)
		} else {
			a.say("%s", f.Name)
		}
	}
	return nil
}

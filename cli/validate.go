package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) newValidateCommand(p *projectOptions) *cobra.Command {
	o := validateOptions{project: p}
	cmd := &cobra.Command{
		Use:   "validate [flags]",
		Short: "Check the migration directory without a database",
		Long: `Check that atlas.sum fits the files and that every file can be read: its name,
its directives and where its statements begin and end. Silent when all is well.`,
		Example: "  aurora migrate --env local validate",
		Args:    noArgs,
		RunE: a.runs(func(cmd *cobra.Command, _ []string) error {
			return a.runValidate(cmd.Context(), o)
		}),
	}
	o.directory.addFlags(cmd.Flags())
	return cmd
}

type validateOptions struct {
	project   *projectOptions
	directory directoryOptions
}

func (a *app) runValidate(ctx context.Context, o validateOptions) error {
	s, err := one(a.settings(ctx, *o.project, o.directory, nil))
	if err != nil {
		return err
	}
	_, err = a.loadFiles(s)
	return err
}

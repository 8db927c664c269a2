package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora/sqlfile"
)

func (a *app) newHashCommand(p *projectOptions) *cobra.Command {
	o := hashOptions{project: p}
	cmd := &cobra.Command{
		Use:   "hash [flags]",
		Short: "Write atlas.sum anew",
		Long: `Write atlas.sum, the checksums of the migration directory, byte for byte as Atlas
does. Use it after changing files by hand; it does not change what is applied.`,
		Example: "  aurora migrate --env local hash",
		Args:    noArgs,
		RunE: a.runs(func(cmd *cobra.Command, _ []string) error {
			return a.runHash(cmd.Context(), o)
		}),
	}
	o.directory.addFlags(cmd.Flags())
	must(cmd.Flags().MarkHidden("allow-empty"))
	cmd.Flags().Bool("force", false, "without effect")
	must(cmd.Flags().MarkHidden("force"))
	return cmd
}

type hashOptions struct {
	project   *projectOptions
	directory directoryOptions
}

func (a *app) runHash(ctx context.Context, o hashOptions) error {
	s, err := one(a.settings(ctx, *o.project, o.directory, nil))
	if err != nil {
		return err
	}
	if err := s.checkWritable(); err != nil {
		return err
	}
	if _, ok := s.rendered(); ok {
		return &usageError{Err: errors.New("the directory is made from templates and has no atlas.sum")}
	}
	return directoryError(sqlfile.WriteSum(s.dir))
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora/sqlfile"
)

func (a *app) newNewCommand(p *projectOptions) *cobra.Command {
	o := newOptions{project: p}
	cmd := &cobra.Command{
		Use:     "new [flags] [name]",
		Aliases: []string{"create"},
		Short:   "Create a migration file",
		Long: `Create <version>_<name>.sql in the migration directory, with the time in UTC as
version, and bring atlas.sum up to date. The directory is created if need be.

With --go it is <version>_<name>.go and its test, and a line in the slice
Migrations of the directory's package, which is created if need be.`,
		Example: `  aurora migrate --env local new add_users
  aurora migrate new add_users --dir file://migrations --down
  aurora migrate --env local new add-user-roles --go`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.runs(func(cmd *cobra.Command, args []string) error {
			return a.runNew(cmd.Context(), o, args)
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	o.directory.addFlags(fs)
	must(fs.MarkHidden("allow-empty"))
	fs.BoolVar(&o.sql, "sql", false, "a .sql file (the default)")
	fs.BoolVar(&o.goCode, "go", false, "a migration in Go, with its test")
	fs.BoolVar(&o.down, "down", false, "also the .down.sql file that rolls it back")
	cmd.MarkFlagsMutuallyExclusive("go", "sql")
	cmd.MarkFlagsMutuallyExclusive("go", "down")
	return cmd
}

type newOptions struct {
	project   *projectOptions
	directory directoryOptions
	sql       bool
	goCode    bool
	down      bool
}

func (a *app) runNew(ctx context.Context, o newOptions, args []string) error {
	if o.directory.dir == "" && o.project.env == "" && o.project.config == "" && !a.hasProjectFile() {
		// The first migration of a new project has no directory yet.
		o.directory.dir = "file://migrations"
	}
	s, err := one(a.settings(ctx, *o.project, o.directory, nil))
	if err != nil {
		return err
	}
	if err := s.checkWritable(); err != nil {
		return err
	}
	if _, ok := s.rendered(); ok {
		return &usageError{Err: errors.New("the directory is made from templates"), Hint: "create the template by hand"}
	}
	name := strings.Join(args, "_")
	if o.goCode {
		return a.newGo(s, name)
	}
	written, err := sqlfile.New(s.dir, name, sqlfile.NewOptions{Down: o.down, At: a.now()})
	summed := false
	for _, path := range written {
		if strings.HasSuffix(path, sqlfile.SumName) {
			summed = true
			continue
		}
		a.say("%s", path)
	}
	if err == nil && summed {
		_, _ = fmt.Fprintln(a.err, a.asTyped("write it, then: aurora migrate hash"))
	}
	return directoryError(err)
}

package cli

import "github.com/spf13/cobra"

const migrateHelp = `Run and inspect the migrations of a directory: .sql files, and functions in Go.

Commands take the database and the directory from an environment of the
project file, or from --url and --dir. A flag counts more than the project
file. References such as env://url and env://migration.dir stand for the
values of the environment. The history is in the database, or where the block
history of the environment or --history says.

Exit codes:
  0    done, or nothing to do
  1    a migration, the database or the system failed
  2    the command line, the configuration or the directory is wrong
  3    status: not everything is applied
  4    somebody else holds the lock
  5    applied migrations, or files under atlas.sum, were changed
  130  interrupted; the lock is released`

func (a *app) newMigrateCommand() *cobra.Command {
	var p projectOptions
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Run and inspect migrations",
		Long:  migrateHelp,
		Args:  noArgs,
		RunE:  a.group,
	}
	p.addFlags(cmd.PersistentFlags())
	must(cmd.RegisterFlagCompletionFunc("env", a.completeEnv(&p)))
	cmd.AddCommand(
		a.newApplyCommand(&p),
		a.newDownCommand(&p),
		a.newStatusCommand(&p),
		a.newListCommand(&p),
		a.newLsCommand(&p),
		a.newShowCommand(&p),
		a.newNewCommand(&p),
		a.newHashCommand(&p),
		a.newValidateCommand(&p),
		a.newSetCommand(&p),
		a.newLockCommand(&p),
		a.newHistoryCommand(&p),
	)
	return cmd
}

// must is for errors that only a mistake in this package can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

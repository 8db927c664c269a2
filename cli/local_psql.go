//go:build !aurora_bundle

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora/localdsql"
)

func (a *app) newLocalPsqlCommand(o *localOptions) *cobra.Command {
	var (
		user   string
		secret secretOption
	)
	cmd := &cobra.Command{
		Use:   "psql [flags] [-- PSQL-ARGUMENTS]",
		Short: "Run psql on the local DSQL",
		Long:  "Run psql, connected to the local DSQL. What follows -- is passed on to it.",
		Example: `  aurora local psql
  aurora local psql -- -c 'SELECT * FROM sys.jobs'`,
		RunE: a.runs(func(cmd *cobra.Command, args []string) error {
			return a.runLocalPsql(cmd.Context(), *o, user, secret, args)
		}),
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fmt.Errorf("%w; what is for psql follows --, as in: aurora local psql -- -c 'SELECT 1'", err)
	})
	cmd.Flags().StringVar(&user, "user", "admin", "`role` to connect as")
	secret.addFlags(cmd.Flags(), secretUsage)
	return cmd
}

func (a *app) runLocalPsql(ctx context.Context, o localOptions, user string, s secretOption, args []string) error {
	running, err := o.lookup(ctx, localdsql.Await)
	if err != nil {
		return err
	}
	secret, err := s.secret(a)
	if err != nil {
		return err
	}
	token, err := running.Token(ctx, user, secret, localdsql.MaxTokenLife)
	if err != nil {
		return tokenHint(err)
	}
	program, err := exec.LookPath("psql")
	if errors.Is(err, exec.ErrNotFound) {
		return withHint(errors.New("there is no psql on this machine"), "install it: "+psqlInstall())
	}
	if err != nil {
		return fmt.Errorf("find psql: %w", err)
	}
	env := append(psqlEnviron(os.Environ()),
		"PGHOST=localhost", "PGPORT="+strconv.Itoa(running.Port), "PGUSER="+user, "PGDATABASE=postgres",
		"PGPASSWORD="+token, "PGSSLMODE=verify-full", "PGSSLROOTCERT="+running.CAFile)
	if err := become(program, append([]string{"psql"}, args...), env); err != nil {
		return fmt.Errorf("run %s: %w", program, err)
	}
	return nil
}

// psqlEnviron is the environment without what says where to connect; what says
// how psql behaves stays, and so does PGOPTIONS, for aurora.faults.
func psqlEnviron(env []string) []string {
	keep := []string{"PGAPPNAME", "PGCLIENTENCODING", "PGCONNECT_TIMEOUT", "PGDATESTYLE", "PGOPTIONS", "PGTZ"}
	return slices.DeleteFunc(slices.Clone(env), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return strings.HasPrefix(name, "PG") && !slices.Contains(keep, name)
	})
}

// psqlInstall returns the command that installs psql here.
func psqlInstall() string {
	sudo := "sudo "
	if os.Geteuid() == 0 {
		sudo = ""
	}
	switch runtime.GOOS {
	case "darwin":
		return "brew install libpq && brew link --force libpq"
	case "windows":
		return "winget install PostgreSQL.PostgreSQL.16"
	}
	for _, manager := range [][2]string{
		{"apt-get", "apt-get install -y postgresql-client"},
		{"dnf", "dnf install -y postgresql"},
		{"apk", "apk add postgresql16-client"},
		{"pacman", "pacman -S postgresql-libs"},
		{"zypper", "zypper install -y postgresql"},
	} {
		if _, err := exec.LookPath(manager[0]); err == nil {
			return sudo + manager[1]
		}
	}
	return "the package is called postgresql-client or postgresql"
}

//go:build !aurora_bundle

package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/aurora-migrate/aurora/cli/internal/report"
	"github.com/aurora-migrate/aurora/internal/config"
	"github.com/aurora-migrate/aurora/localdsql"
)

const localHelp = `Run an Aurora DSQL on this machine: a real PostgreSQL that takes and refuses
what Aurora DSQL does, with its transactions, limits and background jobs. It
listens on this machine only, and its data are kept in .aurora beside the
project file until that directory is removed.

Migrations do not need it running: url = "local://" starts what is missing, and
uses the one that runs.`

// localOptions say which local cluster a command is about.
type localOptions struct {
	config string
	name   string
}

func (o *localOptions) addFlags(fs *pflag.FlagSet) {
	// Without a short form: -c is what psql calls a command.
	fs.StringVar(&o.config, "config", "", "project `file` beside which the data are (default: the current directory)")
	fs.StringVar(&o.name, "name", localdsql.DefaultCluster, "`name` of the cluster, as in url = \"local://NAME\"")
}

// dir returns the directory with the data.
func (o localOptions) dir() (string, error) {
	if err := localdsql.CheckName(o.name); err != nil {
		return "", &usageError{Err: err}
	}
	dir := "."
	if o.config != "" {
		path, _, err := config.FilePath(o.config)
		if err != nil {
			return "", &usageError{Err: err}
		}
		dir = filepath.Dir(path)
	}
	dir, err := filepath.Abs(filepath.Join(dir, ".aurora"))
	if err != nil {
		return "", fmt.Errorf("find the directory of the data: %w", err)
	}
	return dir, nil
}

// A finder is localdsql.Lookup or localdsql.Await.
type finder func(ctx context.Context, dir, name string) (*localdsql.Running, error)

// lookup returns what runs, or an error that says how to start it.
func (o localOptions) lookup(ctx context.Context, find finder) (*localdsql.Running, error) {
	dir, err := o.dir()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, localPatience)
	defer cancel()
	running, err := find(ctx, dir, o.name)
	if errors.Is(err, localdsql.ErrNotRunning) {
		return nil, withHint(err, "start it: "+o.command("up"))
	}
	return running, err
}

// command returns a command for the same cluster, to be copied.
func (o localOptions) command(name string) string {
	s := "aurora local " + name
	if o.config != "" {
		s += " --config " + shellQuote(o.config)
	}
	if o.name != localdsql.DefaultCluster {
		s += " --name " + o.name
	}
	return s
}

// shellQuote writes a word so that a shell reads it back.
func shellQuote(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+=,", r)
	}) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

func (a *app) newLocalCommand() *cobra.Command {
	var o localOptions
	cmd := &cobra.Command{
		Use:   "local",
		Short: "Run a local Aurora DSQL",
		Long:  localHelp,
		Example: `  aurora local up
  aurora local psql
  aurora migrate apply --url "$(aurora local url)"
  aurora local down`,
		Args: noArgs,
		RunE: a.group,
	}
	o.addFlags(cmd.PersistentFlags())
	cmd.AddCommand(a.newLocalUpCommand(&o), a.newLocalDownCommand(&o), a.newLocalStatusCommand(&o),
		a.newLocalURLCommand(&o), a.newLocalPsqlCommand(&o))
	return cmd
}

func (a *app) newLocalDownCommand(o *localOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "down [flags]",
		Short: "Stop the local DSQL",
		Long:  "Stop the local DSQL. Its data stay, for the next aurora local up.",
		Args:  noArgs,
		RunE: a.runs(func(cmd *cobra.Command, _ []string) error {
			return a.runLocalDown(cmd.Context(), *o)
		}),
	}
}

// localPatience bounds the wait for a process that was asked to end, which
// closes its connections, after which PostgreSQL writes a checkpoint; and the
// wait for one that is starting.
const localPatience = time.Minute

func (a *app) runLocalDown(ctx context.Context, o localOptions) error {
	ctx, cancel := context.WithTimeout(ctx, localPatience)
	defer cancel()
	running, err := o.lookup(ctx, localdsql.Lookup)
	if err == nil {
		err = running.Stop(ctx)
	}
	switch {
	case errors.Is(err, localdsql.ErrNotRunning):
		a.say("Local DSQL is not running")
		return nil
	case err != nil:
		return err
	}
	a.say("Stopped local DSQL; its data are kept")
	return nil
}

func (a *app) newLocalStatusCommand(o *localOptions) *cobra.Command {
	var json bool
	cmd := &cobra.Command{
		Use:   "status [flags]",
		Short: "Show whether the local DSQL runs",
		Long:  "Show whether the local DSQL runs, and how: exit code 0 when it does, 1 when it does not.",
		Args:  noArgs,
		RunE: a.runs(func(cmd *cobra.Command, _ []string) error {
			return a.runLocalStatus(cmd.Context(), *o, json)
		}),
	}
	cmd.Flags().BoolVar(&json, "json", false, "write JSON")
	return cmd
}

// localReport is the status as JSON.
type localReport struct {
	Up bool `json:"up"`
	*localdsql.Running
}

func (a *app) runLocalStatus(ctx context.Context, o localOptions, json bool) error {
	running, err := o.lookup(ctx, localdsql.Lookup)
	if err != nil && !errors.Is(err, localdsql.ErrNotRunning) {
		return err
	}
	switch {
	case json:
		format, err := report.ParseFormat(report.JSON, a.term.paint)
		if err != nil {
			return err
		}
		if err := format.Execute(a.out, localReport{running != nil, running}); err != nil {
			return err
		}
	case err != nil:
		a.say("Local DSQL is not running")
	case running.Stopping:
		a.say("Local DSQL is stopping (process %d)", running.PID)
	case running.Port == 0:
		a.say("Local DSQL is starting (process %d)", running.PID)
	default:
		a.sayRunning(*running)
	}
	return reported(err)
}

func (a *app) sayRunning(r localdsql.Running) {
	a.say("Local DSQL is running on localhost:%d", r.Port)
	a.say("  cluster     %s", r.Name)
	a.say("  PostgreSQL  %s", r.Postgres)
	a.say("  rules of    %s", r.Day)
	if r.Region != "" {
		a.say("  region      %s", r.Region)
	}
	if r.Faults != "" {
		a.say("  faults      %s", r.Faults)
	}
	if r.Signed {
		a.say("  tokens      signatures are checked")
	}
	a.say("  process     %d, since %s", r.PID, r.Started.Format(time.RFC3339))
}

// secretOption names the variable with the secret that tokens are signed with.
type secretOption struct{ variable string }

func (o *secretOption) addFlags(fs *pflag.FlagSet, usage string) {
	fs.StringVar(&o.variable, "secret-env", "", usage)
}

// secret returns the secret, and none if no variable was named.
func (o secretOption) secret(a *app) (string, error) {
	if o.variable == "" {
		return "", nil
	}
	secret, _ := a.lookupEnv(o.variable)
	if secret == "" {
		return "", &usageError{Err: fmt.Errorf("the environment variable %s, which is to hold the secret, is not set", o.variable)}
	}
	return secret, nil
}

const secretUsage = "environment `variable` with the secret that tokens are signed with, if up had one"

func (a *app) newLocalURLCommand(o *localOptions) *cobra.Command {
	var (
		user   string
		secret secretOption
	)
	cmd := &cobra.Command{
		Use:   "url [flags]",
		Short: "Print a connection URL",
		Long: `Print a connection URL with a fresh token, which is valid for a week. Roles other
than admin are let in once AWS IAM GRANT has mapped them.`,
		Example: `  psql "$(aurora local url)"
  aurora local url --user app`,
		Args: noArgs,
		RunE: a.runs(func(cmd *cobra.Command, _ []string) error {
			return a.runLocalURL(cmd.Context(), *o, user, secret)
		}),
	}
	cmd.Flags().StringVar(&user, "user", "admin", "`role` to connect as")
	secret.addFlags(cmd.Flags(), secretUsage)
	return cmd
}

func (a *app) runLocalURL(ctx context.Context, o localOptions, user string, s secretOption) error {
	running, err := o.lookup(ctx, localdsql.Await)
	if err != nil {
		return err
	}
	secret, err := s.secret(a)
	if err != nil {
		return err
	}
	url, err := running.URL(ctx, user, secret)
	if err != nil {
		return tokenHint(err)
	}
	a.say("%s", url)
	return nil
}

func tokenHint(err error) error {
	if errors.Is(err, localdsql.ErrSecretNeeded) {
		return withHint(err, "say which variable holds it: --secret-env VARIABLE")
	}
	return err
}

package cli

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// logOptions say what goes to standard error besides errors.
type logOptions struct {
	level  string
	format string
}

func (a *app) newRootCommand() *cobra.Command {
	var o logOptions
	var version bool
	root := &cobra.Command{
		Use:           "aurora",
		Short:         "Migrations for Aurora DSQL and PostgreSQL",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if version {
				a.started = true
				a.say("aurora %s", buildVersion())
				return nil
			}
			return a.group(cmd, args)
		},
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.setLogger(o) },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	// Cobra's own flag writes a template, and would link text/template into bundles.
	root.Flags().BoolVarP(&version, "version", "v", false, "print the version")
	root.PersistentFlags().StringVar(&o.level, "log-level", "info", "log `level`: debug, info, warn or error")
	root.PersistentFlags().StringVar(&o.format, "log-format", "text", "log `format`: text or json")
	root.AddCommand(a.newMigrateCommand(), a.newVersionCommand())
	root.AddCommand(a.toolCommands()...)
	root.CompletionOptions.HiddenDefaultCmd = false
	return root
}

func (a *app) setLogger(o logOptions) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.level)); err != nil {
		return fmt.Errorf("unknown log level %q: want debug, info, warn or error", o.level)
	}
	opts := &slog.HandlerOptions{Level: level}
	switch o.format {
	case "text":
		a.log = slog.New(slog.NewTextHandler(a.err, opts))
	case "json":
		a.log = slog.New(slog.NewJSONHandler(a.err, opts))
	default:
		return fmt.Errorf("unknown log format %q: want text or json", o.format)
	}
	return nil
}

// runs wraps a command's run function: from here on an error is no mistake on
// the command line.
func (a *app) runs(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.started = true
		return run(cmd, args)
	}
}

// group is what a command that only groups others does: help.
func (a *app) group(cmd *cobra.Command, _ []string) error {
	a.started = true
	return cmd.Help()
}

// noArgs refuses what is neither a subcommand nor expected, with the nearest
// command; cobra itself would show the help and succeed.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
	if !cmd.HasAvailableSubCommands() {
		err = fmt.Errorf("%q takes no arguments, and got %q", cmd.CommandPath(), args[0])
	}
	cmd.SuggestionsMinimumDistance = 1
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))
	}
	return err
}

// aliases makes old or longer names of flags mean the same as the new ones.
func aliases(names map[string]string) func(*pflag.FlagSet, string) pflag.NormalizedName {
	return func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if to, ok := names[name]; ok {
			name = to
		}
		return pflag.NormalizedName(name)
	}
}

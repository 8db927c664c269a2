package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora"
)

func (a *app) newShowCommand(p *projectOptions) *cobra.Command {
	o := showOptions{project: p}
	cmd := &cobra.Command{
		Use:     "show [flags] version",
		Short:   "Show every attempt at one migration, with its output",
		Example: "  aurora migrate --env prod show 20250601120000",
		Args:    cobra.ExactArgs(1),
		RunE: a.runs(func(cmd *cobra.Command, args []string) error {
			return a.runShow(cmd.Context(), o, args[0])
		}),
	}
	var d directoryOptions
	cmd.ValidArgsFunction = a.completeVersion(p, &d)
	o.database.addFlags(cmd.Flags())
	o.output.addFlags(cmd.Flags())
	return cmd
}

type showOptions struct {
	project  *projectOptions
	database databaseOptions
	output   outputOptions
}

func (a *app) runShow(ctx context.Context, o showOptions, version string) error {
	s, err := one(a.settings(ctx, *o.project, directoryOptions{}, &o.database))
	if err != nil {
		return err
	}
	format, err := o.output.parse(a, s, nil)
	if err != nil {
		return err
	}
	t, err := a.open(ctx, a, s)
	if err != nil {
		return err
	}
	defer a.closeTarget(ctx, t)
	history, ok := t.store.(aurora.History)
	if !ok {
		return errors.New("this database keeps no history to look back on")
	}
	revisions, err := history.Revisions(ctx, version)
	if err != nil {
		return err
	}
	if format != nil {
		return format.Execute(a.out, revisions)
	}
	if len(revisions) == 0 {
		return &usageError{Err: fmt.Errorf("version %q has no history", version), Hint: "see: aurora migrate status"}
	}
	for i, r := range revisions {
		if i > 0 {
			a.say("")
		}
		a.say("%s", a.secrets.hide(showText(r)))
	}
	return nil
}

func showText(r aurora.Revision) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s %s", r.ID(), r.Direction, r.State)
	if r.Kind != aurora.Applied {
		fmt.Fprintf(&b, " (%s)", r.Kind)
	}
	b.WriteString("\n")
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-10s %s\n", name, strings.ReplaceAll(strings.TrimSuffix(value, "\n"), "\n", "\n             "))
		}
	}
	line("started", r.StartedAt.UTC().Format(time.RFC3339))
	if !r.FinishedAt.IsZero() {
		line("took", r.FinishedAt.Sub(r.StartedAt).String())
	}
	line("by", r.Holder.String())
	line("with", r.Operator)
	line("execution", r.ExecutionID)
	line("steps", fmt.Sprintf("%d of %d", finished(r), r.Steps))
	line("at", r.ErrorPos)
	line("statement", r.ErrorStep)
	line("error", r.Error)
	line("about", r.Description)
	line("output", r.Output)
	if r.OutputDropped > 0 {
		line("", fmt.Sprintf("(%d older lines are gone)", r.OutputDropped))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

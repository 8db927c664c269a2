package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) newHistoryCommand(p *projectOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Prepare the place where the history is kept",
		Args:  noArgs,
		RunE:  a.group,
	}
	cmd.AddCommand(a.newHistoryCreateCommand(p))
	return cmd
}

func (a *app) newHistoryCreateCommand(p *projectOptions) *cobra.Command {
	o := historyOptions{project: p}
	cmd := &cobra.Command{
		Use:   "create [flags]",
		Short: "Create the DynamoDB table of the history",
		Long: `Create the DynamoDB table of the history, paid by request, for development and
tests. Elsewhere a table belongs to the code of the infrastructure, with backups
and protection against deletion.

A stand-in for DynamoDB on this machine needs no such command: there, the first
run creates the table. So it is with a history in a file or in the database.`,
		Example: "  aurora migrate --env test history create",
		Args:    noArgs,
		RunE: a.runs(func(cmd *cobra.Command, _ []string) error {
			return a.runHistoryCreate(cmd.Context(), o)
		}),
	}
	o.database.addFlags(cmd.Flags())
	return cmd
}

type historyOptions struct {
	project  *projectOptions
	database databaseOptions
}

// A creator is a history whose place has to be created by hand.
type creator interface {
	CreateTable(ctx context.Context) error
}

func (a *app) runHistoryCreate(ctx context.Context, o historyOptions) error {
	s, err := one(a.settings(ctx, *o.project, directoryOptions{}, &o.database))
	if err != nil {
		return err
	}
	if s.history == "" {
		a.say("The history is in the database itself, where the first run creates it")
		return nil
	}
	t, err := a.open(ctx, a, s.withoutDatabase())
	if err != nil {
		return err
	}
	defer a.closeTarget(ctx, t)
	c, ok := t.store.(creator)
	if !ok {
		a.say("The history is in the %s, which the first run creates", t.place)
		return nil
	}
	_, err = t.store.Latest(ctx)
	_, isLocal := t.store.(localTable)
	if err != nil && !isNoTable(err) {
		return err
	}
	if err == nil && !isLocal {
		a.say("The %s is there already", t.place)
		return nil
	}
	if err := c.CreateTable(ctx); err != nil {
		return fmt.Errorf("create the %s: %w", t.place, err)
	}
	a.say("The %s is ready", t.place)
	return nil
}

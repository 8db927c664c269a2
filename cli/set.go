package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli/internal/report"
)

func (a *app) newSetCommand(p *projectOptions) *cobra.Command {
	o := setOptions{project: p}
	cmd := &cobra.Command{
		Use:   "set [flags] [version]",
		Short: "Set the current version without running anything",
		Long: `Make the history agree with the directory: migrations up to the version count as
applied as their files are now, newer ones as not applied, and applied ones
without a file are forgotten. Nothing runs; earlier attempts stay in the history.

Without a version it is the newest one, provided that there is a history.`,
		Example: "  aurora migrate --env prod set 20250601120000",
		Args:    cobra.MaximumNArgs(1),
		RunE: a.runs(func(cmd *cobra.Command, args []string) error {
			return a.runSet(cmd.Context(), o, args)
		}),
		ValidArgsFunction: a.completeVersion(p, &o.directory),
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	o.database.addFlags(fs)
	o.directory.addFlags(fs)
	o.output.addFlags(fs)
	return cmd
}

type setOptions struct {
	project   *projectOptions
	directory directoryOptions
	database  databaseOptions
	output    outputOptions
}

func (a *app) runSet(ctx context.Context, o setOptions, args []string) error {
	s, err := one(a.settings(ctx, *o.project, o.directory, &o.database))
	if err != nil {
		return err
	}
	format, err := o.output.parse(a, s, nil)
	if err != nil {
		return err
	}
	migrations, err := a.load(ctx, s)
	if err != nil {
		return err
	}
	t, err := a.open(ctx, a, s.withoutDatabase())
	if err != nil {
		return err
	}
	defer a.closeTarget(ctx, t)
	revisions, err := a.set(ctx, t.store, migrations, args)
	if err != nil {
		return err
	}
	latest, err := t.store.Latest(ctx)
	if err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	status, err := aurora.NewStatus(migrations, latest, aurora.NonLinear)
	if err != nil {
		return err
	}
	rep := &report.Set{Paint: a.term.paint, Current: status.Current}
	for _, r := range revisions {
		if r.Kind != aurora.Resolved {
			continue // taken over from another tool as it was
		}
		op := report.SetOp{Version: r.Version, Description: r.Name, Op: "set"}
		if r.Direction == aurora.Down {
			op.Op = "remove"
		}
		rep.Revisions = append(rep.Revisions, op)
	}
	if format != nil {
		return format.Execute(a.out, rep)
	}
	_, _ = fmt.Fprint(a.out, rep.Text())
	return nil
}

// set writes the revisions under the lease, which it does not wait for: who
// sets a version by hand wants no run to be under way.
func (a *app) set(ctx context.Context, store aurora.Store, migrations []aurora.Migration, args []string) (_ []aurora.Revision, err error) {
	plan := func() ([]aurora.Revision, error) {
		latest, err := store.Latest(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the history: %w", err)
		}
		var version string
		switch {
		case len(args) == 1:
			version = args[0]
		case len(latest) > 0 && len(migrations) > 0:
			version = migrations[len(migrations)-1].Version
		default:
			return nil, &usageError{Err: errors.New("which version? There is no history yet"), Hint: "say aurora migrate set VERSION"}
		}
		return aurora.NewSet(migrations, latest, version)
	}
	revisions, err := plan()
	if err != nil || len(revisions) == 0 {
		return nil, err
	}
	holder := a.holder()
	lease, err := store.Acquire(ctx, holder, aurora.DefaultTTL)
	if err != nil {
		return nil, fmt.Errorf("take the lock: %w", err)
	}
	defer func() {
		ctx, cancel := cleanup(ctx)
		defer cancel()
		if rerr := lease.Release(ctx); rerr != nil {
			a.log.Warn("could not release the lock; it ends by itself", "within", aurora.DefaultTTL, "err", rerr)
		}
	}()
	// Whoever held the lease until now may have changed the history.
	if revisions, err = plan(); err != nil {
		return nil, err
	}
	id, now := aurora.NewExecutionID(), a.now()
	for i := range revisions {
		r := &revisions[i]
		r.ExecutionID, r.Seq, r.Holder = id, i+1, holder
		if r.Kind == aurora.Resolved && r.Operator == "" {
			r.Operator, r.StartedAt, r.FinishedAt = operator(), now, now
		}
	}
	if err := lease.Save(ctx, revisions...); err != nil {
		return nil, fmt.Errorf("write the history: %w", err)
	}
	return revisions, nil
}

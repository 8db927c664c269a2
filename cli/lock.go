package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli/internal/report"
)

func (a *app) newLockCommand(p *projectOptions) *cobra.Command {
	o := lockOptions{project: p}
	cmd := &cobra.Command{
		Use:   "lock [flags]",
		Short: "Show who holds the lock",
		Long: `Show who holds the lock: exit code 0 when nobody does, 4 when somebody does.
A lock ends by itself when its holder stops renewing it, so that a killed run
blocks others for half a minute at most.`,
		Example: "  aurora migrate --env prod lock",
		Args:    noArgs,
		RunE: a.runs(func(cmd *cobra.Command, _ []string) error {
			return a.runLock(cmd.Context(), o)
		}),
	}
	o.database.addFlags(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "write JSON")
	cmd.AddCommand(a.newLockBreakCommand(p))
	return cmd
}

func (a *app) newLockBreakCommand(p *projectOptions) *cobra.Command {
	o := lockOptions{project: p}
	cmd := &cobra.Command{
		Use:   "break [flags]",
		Short: "Free a lock whose holder is dead",
		Long: `Free the lock. A holder on this host, and in the same container if any, whose
process has ended is known to be dead; any other may be alive, and taking its
lock needs --yes. A run that loses its lock stops, and cannot write to the
history any more.`,
		Example: "  aurora migrate --env prod lock break",
		Args:    noArgs,
		RunE: a.runs(func(cmd *cobra.Command, _ []string) error {
			return a.runLockBreak(cmd.Context(), o)
		}),
	}
	o.database.addFlags(cmd.Flags())
	cmd.Flags().BoolVar(&o.yes, "yes", false, "free it although its holder may be alive")
	return cmd
}

type lockOptions struct {
	project  *projectOptions
	database databaseOptions
	json     bool
	yes      bool
}

// lockReport is the lock as JSON.
type lockReport struct {
	Locked    bool           `json:"locked"`
	Holder    *aurora.Holder `json:"holder,omitempty"`
	ExpiresAt time.Time      `json:"expiresAt,omitzero"`
}

func (a *app) runLock(ctx context.Context, o lockOptions) error {
	_, locked, done, err := a.locked(ctx, o)
	if err != nil {
		return err
	}
	defer done()
	if o.json {
		rep := lockReport{Locked: locked != nil}
		if locked != nil {
			holder := a.secrets.hideHolder(locked.Holder)
			rep.Holder, rep.ExpiresAt = &holder, locked.ExpiresAt
		}
		format, err := report.ParseFormat(report.JSON, a.term.paint)
		if err != nil {
			return err
		}
		if err := format.Execute(a.out, rep); err != nil {
			return err
		}
	} else if locked == nil {
		a.say("The lock is free")
	} else {
		a.say("The lock is held by %s", a.lockText(locked))
	}
	if locked != nil {
		return reported(locked)
	}
	return nil
}

func (a *app) runLockBreak(ctx context.Context, o lockOptions) error {
	locker, locked, done, err := a.locked(ctx, o)
	if err != nil {
		return err
	}
	defer done()
	if locked == nil {
		a.say("The lock is free")
		return nil
	}
	if !o.yes && !isDead(locked.Holder, a.holder()) {
		return withHint(locked, "its holder may be alive; if you know that it is not, add --yes")
	}
	switch err := locker.Break(ctx, locked.Token); {
	case errors.Is(err, aurora.ErrNotFound):
		a.say("The lock was released meanwhile")
	case err != nil:
		return fmt.Errorf("free the lock: %w", err)
	default:
		a.say("Freed the lock of %s", a.secrets.hideHolder(locked.Holder))
	}
	return nil
}

// locked opens the database and asks who holds the lock.
func (a *app) locked(ctx context.Context, o lockOptions) (aurora.Locker, *aurora.LockedError, func(), error) {
	s, err := one(a.settings(ctx, *o.project, directoryOptions{}, &o.database))
	if err != nil {
		return nil, nil, nil, err
	}
	t, err := a.open(ctx, a, s.withoutDatabase())
	if err != nil {
		return nil, nil, nil, err
	}
	done := func() { a.closeTarget(ctx, t) }
	locker, ok := t.store.(aurora.Locker)
	if !ok {
		done()
		return nil, nil, nil, errors.New("this history does not tell who holds the lock")
	}
	locked, err := locker.Locked(ctx)
	if err != nil {
		done()
		return nil, nil, nil, fmt.Errorf("ask who holds the lock: %w", err)
	}
	return locker, locked, done, nil
}

func (a *app) lockText(l *aurora.LockedError) string {
	s := a.secrets.hideHolder(l.Holder).String()
	if !l.ExpiresAt.IsZero() {
		s += ", until " + l.ExpiresAt.UTC().Format(time.RFC3339) + " unless renewed"
	}
	return s
}

// isDead reports whether the holder is known to have ended: its process counted
// among those that this one, me, can see, and is no more. The same number of
// another process only makes it seem alive. Where Linux does not say among which
// processes a number counts, nothing is known.
func isDead(h, me aurora.Holder) bool {
	if h.Host == "" || h.Host != me.Host || h.PIDNamespace != me.PIDNamespace || h.PIDNamespace == "" && runtime.GOOS == "linux" {
		return false
	}
	return h.Runtime == "cli" && h.PID > 0 && !processExists(h.PID)
}

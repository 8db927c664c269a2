package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli/internal/report"
)

func (a *app) newStatusCommand(p *projectOptions) *cobra.Command {
	o := statusOptions{project: p}
	cmd := &cobra.Command{
		Use:   "status [flags]",
		Short: "Show what is applied and what is pending",
		Long: `Show where a database stands. It needs only the right to read, and creates
nothing.

Exit codes: 0 when every migration is applied, 3 when one is not (Atlas exits
with 0 here too), 5 when applied files were edited or are missing. They are the
same with --format and --json.

Tools written for Atlas that take 3 for a failure can be told otherwise with the
environment variable AURORA_ATLAS_EXIT_CODES=1: then what is pending is only in
the output.

With --wait it asks again until every migration is complete, or until
--wait-timeout: for init containers, whose application must not start on half a
schema. The database may come up later than the container. A look that has begun
within --wait-timeout may take up to 30 seconds more.`,
		Example: `  aurora migrate --env local status
  aurora migrate --env local status --wait --wait-timeout 10m
  aurora migrate status --url postgres://user:pass@localhost:5432/app --format '{{ json . }}'`,
		Args: noArgs,
		RunE: a.runs(func(cmd *cobra.Command, _ []string) error {
			return a.runStatus(cmd.Context(), o)
		}),
	}
	o.addFlags(cmd)
	must(cmd.RegisterFlagCompletionFunc("to", a.completeVersion(p, &o.directory)))
	return cmd
}

type statusOptions struct {
	project     *projectOptions
	directory   directoryOptions
	database    databaseOptions
	output      outputOptions
	execOrder   string
	to          string
	wait        bool
	waitTimeout durationFlag
}

func (o *statusOptions) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	o.database.addFlags(fs)
	o.directory.addFlags(fs)
	o.output.addFlags(fs)
	fs.StringVar(&o.execOrder, "exec-order", "", "`order` of execution: linear (default), linear-skip or non-linear")
	fs.StringVar(&o.to, "to", "", "last `version` or name to look at; what comes behind it may be pending")
	fs.BoolVar(&o.wait, "wait", false, "wait until every migration is complete, or those up to --to")
	o.waitTimeout.value = 25 * time.Minute
	fs.Var(&o.waitTimeout, "wait-timeout", "how long to wait with --wait")
	fs.SetNormalizeFunc(aliases(map[string]string{"to-version": "to", "log": "format"}))
}

func (o *statusOptions) order(s settings) (aurora.ExecOrder, error) {
	order := o.execOrder
	if order == "" && s.env != nil {
		order = string(s.env.Migration.ExecOrder.Value)
	}
	switch aurora.ExecOrder(order) {
	case "", aurora.Linear, aurora.LinearSkip, aurora.NonLinear:
		return aurora.ExecOrder(order), nil
	}
	return "", &usageError{Err: fmt.Errorf("unknown execution order %q", order), Hint: "want linear, linear-skip or non-linear"}
}

func (a *app) runStatus(ctx context.Context, o statusOptions) error {
	s, err := one(a.settings(ctx, *o.project, o.directory, &o.database))
	if err != nil {
		return err
	}
	format, err := o.output.parse(a, s, statusFormat)
	if err != nil {
		return err
	}
	order, err := o.order(s)
	if err != nil {
		return err
	}
	migrations, err := a.load(ctx, s)
	if err != nil {
		return err
	}
	w := waiter{app: a, settings: s, migrations: migrations, order: order}
	if o.to != "" {
		last, err := aurora.Find(migrations, o.to)
		if err != nil {
			return err
		}
		w.to = last.Version
	}
	defer w.close(ctx)
	if !o.wait || o.waitTimeout.value == 0 {
		st, err := w.observe(ctx)
		if err != nil {
			return err
		}
		return a.finishStatus(w.report(st), st, format)
	}
	st, locked, err := w.wait(ctx, o.waitTimeout.value)
	if err != nil {
		return err
	}
	rep := w.report(st)
	if locked != nil {
		rep.LockedBy = a.lockText(locked)
	}
	return a.finishStatus(rep, st, format)
}

func (a *app) finishStatus(rep *report.Status, st aurora.Status, format *report.Format) error {
	if format != nil {
		if err := format.Execute(a.out, rep); err != nil {
			return err
		}
	} else {
		a.say("%s", strings.TrimSuffix(rep.Text(), "\n"))
	}
	switch {
	case len(st.Edited)+len(st.Missing) > 0:
		return reported(changed(st))
	case !st.Ready() && !a.atlasExitCodes():
		return reported(errPending)
	}
	return nil
}

// atlasExitCodes reports whether status is to exit with 0 when migrations are
// pending, as Atlas does and ariga.io/atlas/atlasexec expects.
func (a *app) atlasExitCodes() bool {
	v, _ := a.lookupEnv("AURORA_ATLAS_EXIT_CODES")
	return v != "" && v != "0"
}

// statusReport puts a status in Atlas's shape, but for the place of the history.
func (a *app) statusReport(s settings, st aurora.Status) *report.Status {
	rep := &report.Status{
		Paint: a.term.paint, Env: reportEnv(s), Edited: st.Edited, Missing: st.Missing, Ahead: st.Ahead,
		Pending: reportFiles(st.Pending), OutOfOrder: reportFiles(st.OutOfOrder),
		Current: st.Current, Status: report.OK, Next: "Already at latest version",
	}
	for _, m := range st.Migrations {
		if m.Status != aurora.StatusMissing && m.Status != aurora.StatusAhead {
			rep.Available = append(rep.Available, reportFile(m.Migration))
		}
		if r := m.Revision; r != nil && (r.IsApplied() || r.Direction == aurora.Up && r.Done > 0) {
			rep.Applied = append(rep.Applied, a.statusRevision(*r))
		}
	}
	if len(st.Pending) > 0 {
		next := st.Pending[0]
		rep.Status, rep.Next = report.Pending, next.Version
		rep.Checkpoint, rep.About = next.Snapshot, report.FirstLine(a.secrets.hide(next.Description))
	}
	a.addTrouble(rep, st)
	if rep.Current == "" {
		rep.Current = "No migration applied yet"
	}
	return rep
}

func (a *app) addTrouble(rep *report.Status, st aurora.Status) {
	if last := st.Last; last != nil {
		rep.Code = isCode(st, last.Version)
		rep.LastState, rep.LastHolder = string(last.State), a.secrets.hideHolder(last.Holder).String()
		rep.Error = strings.TrimPrefix(a.oneLine(last.Error), "ERROR: ")
		rep.SQL = a.oneLine(last.ErrorStep)
		rep.Activity = a.oneLine(last.Activity)
		if last.Direction == aurora.Up && last.Done > 0 {
			rep.Current, rep.Count, rep.Total = last.Version, finished(*last), last.Steps
		}
	}
	if len(st.OutOfOrder) > 0 {
		e := &aurora.OutOfOrderError{Current: st.Current}
		for _, m := range st.OutOfOrder {
			e.Late = append(e.Late, m.ID())
		}
		rep.Status, rep.Next, rep.Error = report.Pending, "", a.errorText(e)
	}
	if len(st.Edited)+len(st.Missing) > 0 {
		if rep.Status == report.OK {
			rep.Status = report.Changed
		}
		rep.Error = a.errorText(changed(st))
	}
}

// isCode reports whether a migration has functions in Go.
func isCode(st aurora.Status, version string) bool {
	i := slices.IndexFunc(st.Migrations, func(m aurora.MigrationStatus) bool { return m.Migration.Version == version })
	if i < 0 {
		return false
	}
	_, sql := st.Migrations[i].Migration.Statements(aurora.Up)
	return !sql
}

// changed is the error that apply would end with.
func changed(st aurora.Status) *aurora.ChangedError {
	e := &aurora.ChangedError{Edited: st.Edited, Missing: st.Missing}
	for _, m := range st.Migrations {
		if m.Status == aurora.StatusApplied {
			e.Current = m.Migration.Version
		}
	}
	return e
}

func (a *app) oneLine(s string) string {
	return a.secrets.hide(strings.ReplaceAll(s, "\n", " "))
}

func (a *app) statusRevision(r aurora.Revision) *report.Revision {
	rev := &report.Revision{
		Version: r.Version, Description: r.Name, Type: "applied", Applied: finished(r), Total: r.Steps, ExecutedAt: r.StartedAt,
		Error: a.secrets.hide(r.Error), ErrorStmt: a.secrets.hide(r.ErrorStep), OperatorVersion: r.Operator,
	}
	switch r.Kind {
	case aurora.Baseline:
		rev.Type = "baseline"
	case aurora.Resolved:
		rev.Type = "manually set"
	}
	if r.FinishedAt.After(r.StartedAt) {
		rev.ExecutionTime = r.FinishedAt.Sub(r.StartedAt)
	}
	return rev
}

// A waiter observes a database, again and again if it must.
type waiter struct {
	app        *app
	settings   settings
	migrations []aurora.Migration
	order      aurora.ExecOrder
	to         string // the last version that counts; empty for all

	target *target
	place  string // of the history, where it is not the database
	said   string // what was logged last, not to repeat it
}

// observe reads the history once. It keeps the connection for the next time,
// and drops it after an error.
func (w *waiter) observe(ctx context.Context) (aurora.Status, error) {
	if w.target == nil {
		t, err := w.app.open(ctx, w.app, w.settings.withoutDatabase())
		if err != nil {
			return aurora.Status{}, err
		}
		w.target, w.place = t, t.place
	}
	latest, err := w.target.store.Latest(ctx)
	if err != nil {
		w.close(ctx)
		return aurora.Status{}, fmt.Errorf("read the history: %w", err)
	}
	st, err := aurora.NewStatus(w.migrations, latest, w.order)
	if w.to != "" {
		behind := func(m aurora.Migration) bool { return aurora.CompareVersions(m.Version, w.to) > 0 }
		st.Pending, st.OutOfOrder = slices.DeleteFunc(st.Pending, behind), slices.DeleteFunc(st.OutOfOrder, behind)
	}
	return st, err
}

func (w *waiter) close(ctx context.Context) {
	if w.target != nil {
		w.app.closeTarget(ctx, w.target)
		w.target = nil
	}
}

const (
	// The pauses between two observations.
	waitPauseMin = 250 * time.Millisecond
	waitPauseMax = 2 * time.Second
	// lookTime is how long behind the timeout an observation may end that began
	// before it.
	lookTime = 30 * time.Second
)

// wait observes until everything is complete, or until waiting cannot help, or
// until the timeout, and returns the last observation; at the timeout also who
// holds the lock. Every observation stands for itself: what an earlier one saw
// or failed to see does not count. The timeout bounds the waiting: there is
// always one observation, and none is broken off that would end soon.
func (w *waiter) wait(ctx context.Context, timeout time.Duration) (aurora.Status, *aurora.LockedError, error) {
	end := time.Now().Add(timeout)
	limit, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	looking, cancelLook := context.WithDeadline(ctx, end.Add(lookTime))
	defer cancelLook()
	w.app.term.showLine(func(time.Time) string { return "waiting for pending migrations" })
	defer w.app.term.stopLine()
	var last *aurora.Status
	var lastErr error
	for pause := waitPauseMin; ; pause = min(pause*2, waitPauseMax) {
		st, err := w.observe(looking)
		switch {
		case err == nil:
			last, lastErr = &st, nil
			if st.Ready() || len(st.Edited)+len(st.Missing) > 0 {
				return st, nil, nil
			}
			w.say(pendingText(st))
		case looking.Err() == nil:
			last, lastErr = nil, err
			if !mayComeUp(err) {
				return aurora.Status{}, nil, err
			}
			w.say(w.what() + " is not reachable yet: " + w.app.errorText(err))
		}
		select {
		case <-limit.Done():
		case <-time.After(pause):
			continue
		}
		if ctx.Err() != nil {
			return aurora.Status{}, nil, aurora.ErrInterrupted
		}
		if last == nil {
			return aurora.Status{}, nil, w.neverSeen(timeout, lastErr)
		}
		return *last, w.locked(ctx), nil
	}
}

// neverSeen is the timeout of a wait whose last look found no database. It is
// pending all the same: the migrations are not known to be applied.
func (w *waiter) neverSeen(timeout time.Duration, err error) error {
	if err == nil {
		err = errors.New("it did not answer")
	}
	return &pendingError{fmt.Errorf("gave up after waiting %s for %s: %w", timeout, w.what(), err)}
}

// what is what is waited for.
func (w *waiter) what() string {
	if w.settings.history != "" {
		return "the history"
	}
	return "the database"
}

// say logs what is new.
func (w *waiter) say(what string) {
	if what != w.said {
		w.said = what
		w.app.log.Info("waiting: " + what)
	}
}

func pendingText(st aurora.Status) string {
	n := len(st.Pending) + len(st.OutOfOrder)
	s := fmt.Sprintf("%d pending", n)
	if st.Last != nil {
		s += fmt.Sprintf(", %s is %s", st.Last.ID(), st.Last.State)
	}
	return s
}

// report puts a status in Atlas's shape.
func (w *waiter) report(st aurora.Status) *report.Status {
	rep := w.app.statusReport(w.settings, st)
	rep.History = w.place
	return rep
}

// locked asks who holds the lock, when the time to wait is over.
func (w *waiter) locked(ctx context.Context) *aurora.LockedError {
	if w.target == nil {
		return nil
	}
	locker, ok := w.target.store.(aurora.Locker)
	if !ok {
		return nil
	}
	locked, err := locker.Locked(ctx)
	if err != nil {
		w.app.log.Debug("asking who holds the lock", "err", err)
		return nil
	}
	return locked
}

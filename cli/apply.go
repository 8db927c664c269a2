package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli/internal/report"
)

func (a *app) newApplyCommand(p *projectOptions) *cobra.Command {
	o := applyOptions{project: p}
	cmd := &cobra.Command{
		Use:     "apply [flags] [amount]",
		Aliases: []string{"up"},
		Short:   "Apply pending migrations",
		Long: `Apply all pending migrations, the first few, or those up to a version.

Nothing runs if atlas.sum does not fit the directory, if an applied file was
changed or is missing, or if a file came in behind the newest applied version;
the error names the command that accepts it. A migration that failed is fixed
in its file and applied again: statements that ran are not repeated.`,
		Example: `  aurora migrate --env local apply
  aurora migrate --env local apply 1
  aurora migrate apply --url postgres://user:pass@localhost:5432/app --dir file://migrations
  aurora migrate --env prod apply --dry-run --format '{{ json . }}'`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.runs(func(cmd *cobra.Command, args []string) error {
			return a.runApply(cmd.Context(), o, args)
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	o.addFlags(cmd)
	must(cmd.RegisterFlagCompletionFunc("to", a.completeVersion(p, &o.directory)))
	return cmd
}

type applyOptions struct {
	project    *projectOptions
	directory  directoryOptions
	database   databaseOptions
	run        runOptions
	to         string
	txMode     string
	execOrder  string
	baseline   string
	allowDirty bool
	context    string
}

func (o *applyOptions) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	o.database.addFlags(fs)
	o.directory.addFlags(fs)
	fs.StringVar(&o.to, "to", "", "last `version` or name to apply (also --to-version)")
	o.run.addFlags(fs)
	fs.StringVar(&o.txMode, "tx-mode", "", "transaction `mode`: file (default), all or none")
	fs.StringVar(&o.execOrder, "exec-order", "", "`order` of execution: linear (default), linear-skip or non-linear")
	fs.StringVar(&o.baseline, "baseline", "", "`version` that a database without history is taken to be at")
	fs.BoolVar(&o.allowDirty, "allow-dirty", false, "accepted for Atlas's sake and without effect: a database may hold other tables")
	fs.StringVar(&o.context, "context", "", "what triggered the command; accepted for Atlas's sake")
	must(fs.MarkHidden("context"))
	fs.SetNormalizeFunc(aliases(map[string]string{"to-version": "to", "log": "format"}))
}

// request turns the options into what the runner takes. The environment fills
// in what the command line left open.
func (o *applyOptions) request(s settings, args []string) (aurora.Request, error) {
	req := aurora.Request{
		To: o.to, TxMode: aurora.TxMode(o.txMode), ExecOrder: aurora.ExecOrder(o.execOrder), Baseline: o.baseline,
		Unsure: aurora.Unsure(o.run.unsure),
	}
	o.run.asked.add(&req)
	if o.allowDirty && o.baseline != "" {
		return req, &usageError{Err: errors.New("--allow-dirty and --baseline exclude each other")}
	}
	if len(args) > 0 {
		n, err := amount(args[0])
		if err != nil {
			return req, err
		}
		req.Steps = n
	}
	if s.env != nil {
		m := s.env.Migration
		if req.TxMode == "" {
			req.TxMode = aurora.TxMode(m.TxMode.Value)
		}
		if req.ExecOrder == "" {
			req.ExecOrder = aurora.ExecOrder(m.ExecOrder.Value)
		}
		if req.Baseline == "" && !o.allowDirty {
			req.Baseline = m.Baseline.Value
		}
	}
	return req, checkTxMode(s, req.TxMode)
}

func amount(arg string) (int, error) {
	n, err := strconv.Atoi(arg)
	if err != nil || n < 1 {
		return 0, &usageError{Err: fmt.Errorf("the number of migrations must be a number from 1 on, not %q", arg), Hint: "a version goes with --to"}
	}
	return n, nil
}

// runApply applies one environment, or the instances of one in order until
// one fails.
func (a *app) runApply(ctx context.Context, o applyOptions, args []string) error {
	all, err := a.settings(ctx, *o.project, o.directory, &o.database)
	if err != nil {
		return err
	}
	if err := a.sameCode(all); err != nil {
		return err
	}
	for i, s := range all {
		if i > 0 && o.run.output.isCustom() {
			a.say("")
		}
		if err := a.apply(ctx, o, s, args); err != nil {
			if len(all) > 1 {
				return fmt.Errorf("env %q, instance %q: %w", s.env.Name, s.env.Instance, err)
			}
			return err
		}
	}
	return nil
}

func (a *app) apply(ctx context.Context, o applyOptions, s settings, args []string) error {
	req, err := o.request(s, args)
	if err != nil {
		return err
	}
	format, err := o.run.output.parse(a, s, applyFormat)
	if err != nil {
		return err
	}
	migrations, err := a.load(ctx, s)
	if err != nil {
		return err
	}
	// A mistake in the request should not need a database to show. What one
	// transaction for all can hold depends on what is applied already.
	early := req.TxMode
	if early == aurora.TxAll {
		early = ""
	}
	if _, err := aurora.NewPlan(migrations, nil, aurora.Request{To: req.To, Steps: req.Steps, TxMode: early, ExecOrder: req.ExecOrder, Unsure: req.Unsure}); err != nil {
		return err
	}
	rep := &report.Apply{Paint: a.term.paint, DryRun: o.run.dryRun, Env: reportEnv(s), Start: a.now()}
	t, err := a.open(ctx, a, s)
	if err != nil {
		return err
	}
	defer a.closeTarget(ctx, t)
	if err := checkMoved(ctx, t, req); err != nil {
		return err
	}
	fill := func(plan aurora.Plan) {
		rep.Pending, rep.Current, rep.Target = itemFiles(plan.Items), plan.Current, plan.Target
	}
	p := &progress{out: a.out, log: a.log, term: a.term, text: format == nil, verb: "migrating", review: t.reviewer(), header: func(plan aurora.Plan) string {
		fill(plan)
		return rep.Header()
	}}
	runner := a.runner(t, migrations, o.run.timeout(s.env), p.report)
	if o.run.dryRun {
		plan, err := runner.Plan(ctx, req)
		fill(plan)
		if err == nil {
			rep.Applied, err = a.plannedFiles(plan, p.review)
		}
		rep.End = a.now()
		return a.finishApply(rep, p, format, err)
	}
	if err := a.refusedAhead(ctx, t, runner, req); err != nil {
		return a.finishApply(rep, p, format, err)
	}
	e, err := runner.Run(ctx, req)
	a.term.stopLine()
	fill(e.Plan)
	rep.Applied, rep.End = a.appliedFiles(e, err, p.review), a.now()
	err = p.review.refused(e.Plan.Items, err)
	return a.finishApply(rep, p, format, err)
}

// finishApply writes what is left to be written of a run that returned err.
func (a *app) finishApply(rep *report.Apply, p *progress, format *report.Format, err error) error {
	rep.Error = a.errorText(err)
	if format != nil {
		if ferr := format.Execute(a.out, rep); ferr != nil {
			return errors.Join(err, ferr)
		}
		return reported(err)
	}
	if err != nil && len(rep.Applied) == 0 {
		return err
	}
	if len(rep.Pending) == 0 {
		a.say("%s", rep.Header())
		return err
	}
	a.finishText(p, rep.DryRun, rep.Header(), rep.Applied, func() string { return rep.Summary("  ") })
	return err
}

// finishText writes the rest of the default text of a run.
func (a *app) finishText(p *progress, dryRun bool, header string, files []*report.AppliedFile, summary func() string) {
	paint := a.term.paint
	if dryRun {
		_ = paint.WriteHeader(a.out, header)
		for _, f := range files {
			_ = paint.WriteFile(a.out, f, p.verb, true)
		}
	} else {
		p.rest(files)
	}
	_ = paint.WriteFooter(a.out, summary(), "")
}

// reported marks an error as shown, since a template shows it: a line more on
// standard error would appear twice to tools that read both.
func reported(err error) error {
	if err == nil {
		return nil
	}
	return &reportedError{err}
}

package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli/internal/report"
)

func (a *app) newDownCommand(p *projectOptions) *cobra.Command {
	o := downOptions{project: p}
	cmd := &cobra.Command{
		Use:   "down [flags] [amount]",
		Short: "Roll migrations back, one by default",
		Long: `Roll back the newest applied migration, the newest few, those above a version,
or all of them, with the statements of <version>_<name>.down.sql.

--all, and every rollback of an environment with protected = true, asks to type
the name of the project (or else of the environment, or of the database).
Without a terminal the name goes with --confirm.`,
		Example: `  aurora migrate --env local down
  aurora migrate --env local down --to 20250601120000
  aurora migrate --env local down --all --confirm local
  aurora migrate --env local down 2 --dry-run`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.runs(func(cmd *cobra.Command, args []string) error {
			return a.runDown(cmd.Context(), o, args)
		}),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	o.addFlags(cmd)
	must(cmd.RegisterFlagCompletionFunc("to", a.completeVersion(p, &o.directory)))
	return cmd
}

type downOptions struct {
	project   *projectOptions
	directory directoryOptions
	database  databaseOptions
	run       runOptions
	to        string
	steps     int
	all       bool
	confirm   string
	context   string
}

func (o *downOptions) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	o.database.addFlags(fs)
	o.directory.addFlags(fs)
	fs.StringVar(&o.to, "to", "", "newest `version` or name that stays, 0 for none (also --to-version)")
	fs.IntVar(&o.steps, "steps", 0, "how many migrations to roll back, the same as the argument")
	fs.BoolVar(&o.all, "all", false, "roll back everything")
	fs.StringVar(&o.confirm, "confirm", "", "`name` that would otherwise be asked for")
	o.run.addFlags(fs)
	fs.StringVar(&o.context, "context", "", "what triggered the command; accepted for Atlas's sake")
	must(fs.MarkHidden("context"))
	fs.SetNormalizeFunc(aliases(map[string]string{"to-version": "to", "log": "format"}))
}

func (o *downOptions) request(args []string) (aurora.Request, error) {
	req := aurora.Request{Direction: aurora.Down, To: o.to, Steps: o.steps, All: o.all, Unsure: aurora.Unsure(o.run.unsure)}
	o.run.asked.add(&req)
	if len(args) > 0 {
		n, err := amount(args[0])
		if err != nil {
			return req, err
		}
		if o.steps != 0 {
			return req, &usageError{Err: errors.New("the number of migrations is given twice: as argument and with --steps")}
		}
		req.Steps = n
	}
	return req, nil
}

func (a *app) runDown(ctx context.Context, o downOptions, args []string) error {
	s, err := one(a.settings(ctx, *o.project, o.directory, &o.database))
	if err != nil {
		return err
	}
	req, err := o.request(args)
	if err != nil {
		return err
	}
	format, err := o.run.output.parse(a, s, downFormat)
	if err != nil {
		return err
	}
	migrations, err := a.load(ctx, s)
	if err != nil {
		return err
	}
	rep := &report.Down{Paint: a.term.paint, DryRun: o.run.dryRun, Start: a.now()}
	t, err := a.open(ctx, a, s)
	if err != nil {
		return err
	}
	defer a.closeTarget(ctx, t)
	fill := func(plan aurora.Plan) {
		rep.Planned, rep.Current, rep.Target = itemFiles(plan.Items), plan.Current, plan.Target
		rep.Total = len(plan.Items)
	}
	p := &progress{out: a.out, log: a.log, term: a.term, text: format == nil, verb: "reverting", review: t.reviewer(), header: func(plan aurora.Plan) string {
		fill(plan)
		return rep.Header()
	}}
	runner := a.runner(t, migrations, o.run.timeout(s.env), p.report)
	protected := s.env != nil && s.env.Protected.Value
	asked := false
	if o.run.dryRun || o.all || protected {
		plan, head, err := planAt(ctx, runner, req)
		if err != nil || o.run.dryRun {
			fill(plan)
			if err == nil {
				rep.Reverted, err = a.plannedFiles(plan, p.review)
			}
			rep.End = a.now()
			return a.finishDown(rep, p, format, err)
		}
		if len(plan.Items) > 0 {
			if err := a.confirm(ctx, s, o.confirm, plan); err != nil {
				return err
			}
			if asked = o.confirm == ""; asked {
				req.ExpectedHead = cmp.Or(req.ExpectedHead, head)
			}
		}
	}
	if err := a.refusedAhead(ctx, t, runner, req); err != nil {
		return a.finishDown(rep, p, format, notAsConfirmed(err, asked))
	}
	e, err := runner.Run(ctx, req)
	a.term.stopLine()
	fill(e.Plan)
	rep.Reverted, rep.End = a.appliedFiles(e, err, p.review), a.now()
	err = notAsConfirmed(p.review.refused(e.Plan.Items, err), asked)
	return a.finishDown(rep, p, format, err)
}

// planAt returns what the runner would do, and the head of the history for
// which that is so.
func planAt(ctx context.Context, runner *aurora.Runner, req aurora.Request) (aurora.Plan, string, error) {
	latest, err := runner.Store.Latest(ctx)
	if err != nil {
		return aurora.Plan{}, "", fmt.Errorf("read the history: %w", err)
	}
	plan, err := aurora.NewPlan(runner.Migrations, latest, req)
	return plan, aurora.Head(latest), err
}

// notAsConfirmed says of a run that was refused because the history has moved
// that it did so after the question.
func notAsConfirmed(err error, asked bool) error {
	var moved *aurora.MovedError
	if !asked || !errors.As(err, &moved) {
		return err
	}
	return withHint(err, "another run came between the question and your answer; ask again with the same command, and read its list again")
}

// confirm asks to type the name, unless it was given.
func (a *app) confirm(ctx context.Context, s settings, given string, plan aurora.Plan) error {
	name := s.confirmName()
	if given == "" {
		if _, ok := terminalFile(a.in); !ok {
			return &usageError{
				Err:  fmt.Errorf("rolling back %s of %q needs a confirmation, and there is no terminal to ask", countMigrations(len(plan.Items)), name),
				Hint: "if that is what you want, add --confirm " + name,
			}
		}
		var err error
		if given, err = a.ask(ctx, confirmQuestion(plan, name)); err != nil {
			return err
		}
	}
	if given != name {
		return &usageError{Err: fmt.Errorf("%q is not %q: nothing was rolled back", given, name)}
	}
	return nil
}

// confirmQuestion lists what is to be rolled back, in that order, and asks for
// the name.
func confirmQuestion(plan aurora.Plan, name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "This rolls back %s:\n", countMigrations(len(plan.Items)))
	for _, it := range plan.Items {
		b.WriteString("  " + report.Plain(it.Migration.ID()) + "\n")
	}
	fmt.Fprintf(&b, "Type %q to go on: ", name)
	return b.String()
}

func countMigrations(n int) string {
	if n == 1 {
		return "1 migration"
	}
	return fmt.Sprintf("%d migrations", n)
}

// ask reads one line. A read from a terminal cannot be canceled, so it is left
// behind when the context ends.
func (a *app) ask(ctx context.Context, question string) (string, error) {
	_, _ = fmt.Fprint(a.err, question)
	type answer struct {
		line string
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(a.in).ReadString('\n')
		read <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", aurora.ErrInterrupted
	case r := <-read:
		if r.err != nil && r.line == "" {
			return "", &usageError{Err: fmt.Errorf("read the answer: %w", r.err)}
		}
		return strings.TrimSpace(r.line), nil
	}
}

func (a *app) finishDown(rep *report.Down, p *progress, format *report.Format, err error) error {
	rep.Error = a.errorText(err)
	if format != nil {
		if err == nil && !rep.DryRun {
			rep.Status = "APPLIED"
		}
		if ferr := format.Execute(a.out, rep); ferr != nil {
			return errors.Join(err, ferr)
		}
		return reported(err)
	}
	if err != nil && len(rep.Reverted) == 0 {
		return err
	}
	if len(rep.Planned) == 0 {
		a.say("%s", rep.Header())
		return err
	}
	a.finishText(p, rep.DryRun, rep.Header(), rep.Reverted, func() string { return rep.Summary("  ") })
	return err
}

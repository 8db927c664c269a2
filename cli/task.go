//go:build !aurora_bundle

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/fargate"
	"github.com/aurora-migrate/aurora/internal/config"
)

func (a *app) newTaskCommand() *cobra.Command {
	var o taskOptions
	cmd := &cobra.Command{
		Use:   "task",
		Short: "Run migrations in an ECS Fargate task",
		Long: `Run migrations in an ECS Fargate task, whose image is aurora-runner and which
fetches the project's bundle: for runs that take longer than a Lambda function
may, or that only AWS's network can do.

Which task it is can also be said by environment variables, so that a pipeline
says it once:

  AURORA_TASK_DEFINITION       AURORA_TASK_SUBNETS
  AURORA_TASK_CLUSTER          AURORA_TASK_SECURITY_GROUPS
  AURORA_TASK_CONTAINER        AURORA_TASK_PUBLIC_IP
  AURORA_TASK_ENV              AURORA_TASK_PLATFORM_VERSION`,
		Args: noArgs,
		RunE: a.group,
	}
	o.addFlags(cmd.PersistentFlags())
	cmd.AddCommand(a.newTaskRunCommand(&o), a.newTaskWaitCommand(&o), a.newTaskStopCommand(&o))
	return cmd
}

// taskOptions say which task, and where.
type taskOptions struct {
	cluster, definition, container, platformVersion string
	subnets, securityGroups                         []string
	publicIP                                        bool
}

func (o *taskOptions) addFlags(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.StringVar(&o.definition, "task-definition", "", "`name`, name:revision or ARN of the task definition")
	fs.StringVar(&o.cluster, "cluster", "", "`name` or ARN of the cluster (default the account's cluster default)")
	fs.StringVar(&o.container, "container", "", "`name` of the container that runs the migrations (default "+fargate.DefaultContainer+")")
	fs.StringSliceVar(&o.subnets, "subnets", nil, "`IDs` of the subnets, separated by commas")
	fs.StringSliceVar(&o.securityGroups, "security-groups", nil, "`IDs` of the security groups (default the VPC's)")
	fs.BoolVar(&o.publicIP, "public-ip", false, "give the task a public address")
	fs.StringVar(&o.platformVersion, "platform-version", "", "`version` of the Fargate platform (default LATEST)")
}

// config is what variables and flags come to, without clients; a flag counts
// more.
func (o *taskOptions) config(a *app, flags *pflag.FlagSet) (fargate.Config, error) {
	cfg, err := fargate.FromEnv(a.lookupEnv)
	if err != nil {
		return cfg, &usageError{Err: err}
	}
	for flag, set := range map[string]func(){
		"task-definition":  func() { cfg.TaskDefinition = o.definition },
		"cluster":          func() { cfg.Cluster = o.cluster },
		"container":        func() { cfg.Container = o.container },
		"subnets":          func() { cfg.Subnets = o.subnets },
		"security-groups":  func() { cfg.SecurityGroups = o.securityGroups },
		"public-ip":        func() { cfg.AssignPublicIP = o.publicIP },
		"platform-version": func() { cfg.PlatformVersion = o.platformVersion },
	} {
		if flags.Changed(flag) {
			set()
		}
	}
	cfg.Logger = a.log
	return cfg, nil
}

// connectTask gives a configuration its clients. A task that is there already,
// given by its ARN, says itself in which region it is.
func connectTask(ctx context.Context, cfg *fargate.Config, task string) error {
	var options []func(*awsconfig.LoadOptions) error
	if parts := strings.Split(task, ":"); len(parts) == 6 && parts[0] == "arn" && parts[3] != "" {
		options = append(options, awsconfig.WithRegion(parts[3]))
	}
	aws, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return fmt.Errorf("read the AWS configuration: %w", err)
	}
	if aws.Region == "" {
		return &usageError{Err: errors.New("in which AWS region?"), Hint: "set AWS_REGION, or AWS_PROFILE to a profile with a region"}
	}
	cfg.ECS, cfg.Logs = ecs.NewFromConfig(aws), cloudwatchlogs.NewFromConfig(aws)
	return nil
}

func (a *app) newTaskRunCommand(t *taskOptions) *cobra.Command {
	var o taskRunOptions
	cmd := &cobra.Command{
		Use:   "run [flags] [up|down] [amount]",
		Short: "Start a task, show its log and exit with its code",
		Long: `Start a task that applies the pending migrations, or rolls some back, show the
container's log while it runs, and exit with the container's code: those of
"aurora migrate", or one from 64 on where aurora-runner did not start the bundle.

Ctrl-C ends only the showing: the task goes on, and "aurora task wait" shows it
again. With --stop-on-interrupt it stops the task, which saves a checkpoint.`,
		Example: `  aurora task run --env production
  aurora task run --env production --to 20250601120000
  aurora task run --env production down 1 --confirm shop
  aurora task run --env production --detach --json`,
		Args: cobra.MaximumNArgs(2),
		RunE: a.runs(func(cmd *cobra.Command, args []string) error {
			return a.runTask(cmd.Context(), t, o, cmd.Flags(), args)
		}),
		ValidArgs: []string{"up", "down"},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	o.project.addFlags(fs)
	fs.StringVar(&o.to, "to", "", "`version` to stop at: the last to apply, or the newest that stays")
	fs.BoolVar(&o.all, "all", false, "down: roll back everything")
	fs.StringVar(&o.confirm, "confirm", "", "down: `name` that would be asked for at a terminal")
	fs.StringVar(&o.unsure, "unsure", "", "`answer` for a statement that may have run before an earlier process died: rerun or skip")
	fs.StringVar(&o.reason, "reason", "", "`text` for the history: why this run")
	fs.StringVar(&o.executionID, "execution-id", "", "`ID` of the execution; the same one twice is one task (default a new one)")
	fs.StringVar(&o.bundleURL, "bundle-url", "", "`URL` of the bundle, where the task definition does not say it")
	fs.StringVar(&o.bundleSHA256, "bundle-sha256", "", "`digest` of the bundle")
	fs.BoolVar(&o.detach, "detach", false, "do not wait for the task")
	fs.BoolVar(&o.stopOnInterrupt, "stop-on-interrupt", false, "on Ctrl-C or SIGTERM, stop the task")
	fs.BoolVar(&o.json, "json", false, "say what became of the task in JSON, and write its log to standard error")
	return cmd
}

type taskRunOptions struct {
	project                            projectOptions
	to, confirm, unsure, reason        string
	executionID                        string
	bundleURL, bundleSHA256            string
	all, detach, stopOnInterrupt, json bool
}

func (o taskRunOptions) request(args []string) (aurora.Request, error) {
	req := aurora.Request{Direction: aurora.Up, To: o.to, All: o.all, Unsure: aurora.Unsure(o.unsure), ExecutionID: o.executionID, Reason: o.reason}
	if len(args) > 0 {
		switch args[0] {
		case "up", "apply":
		case "down":
			req.Direction = aurora.Down
		default:
			return req, &usageError{Err: fmt.Errorf("what is %q? want up or down", args[0])}
		}
	}
	if len(args) > 1 {
		n, err := amount(args[1])
		if err != nil {
			return req, err
		}
		req.Steps = n
	}
	if req.ExecutionID == "" {
		// Who asks is left out of an execution that others may ask for, too: ECS
		// takes only the very same request for a repeated one.
		asks := aurora.CurrentHolder("")
		req.ExecutionID, req.By = aurora.NewExecutionID(), asks.User+"@"+asks.Host
	}
	if req.Direction == aurora.Up && (o.all || o.confirm != "") {
		return req, &usageError{Err: errors.New("--all and --confirm are for down")}
	}
	return req, nil
}

// A taskReport is what became of a task, in JSON.
type taskReport struct {
	ExecutionID string `json:"executionId,omitempty"`
	Task        string `json:"task"`
	ExitCode    *int   `json:"exitCode,omitempty"`
	Error       string `json:"error,omitempty"`

	project projectOptions
}

// follow is what to say to a command in order to ask the same account again. A
// variable may be a secret, and is left to who knows it.
func (r taskReport) follow(command string) string {
	text := "aurora task " + command + " " + r.Task
	if r.project.config != "" {
		text += " --config " + r.project.config
	}
	if r.project.env != "" {
		text += " --env " + r.project.env
	}
	return text
}

func (a *app) runTask(ctx context.Context, t *taskOptions, o taskRunOptions, flags *pflag.FlagSet, args []string) error {
	req, err := o.request(args)
	if err != nil {
		return err
	}
	cfg, err := t.config(a, flags)
	if err != nil {
		return err
	}
	if err := o.complete(&cfg); err != nil {
		return err
	}
	if _, err := fargate.Command(cfg, req); err != nil {
		return &usageError{Err: err}
	}
	restore, err := a.exportTaskAWS(ctx, o.project)
	if err != nil {
		return err
	}
	defer restore()
	if err := connectTask(ctx, &cfg, ""); err != nil {
		return err
	}
	task, err := fargate.Start(ctx, cfg, req)
	if err != nil {
		return err
	}
	report := taskReport{ExecutionID: req.ExecutionID, Task: task, project: o.project}
	if o.detach {
		return a.sayTask(report, o.json)
	}
	cfg.StopOnCancel = o.stopOnInterrupt
	return a.followTask(ctx, cfg, report, o.json)
}

// complete adds what only a start needs.
func (o taskRunOptions) complete(cfg *fargate.Config) error {
	if o.project.env != "" {
		cfg.Args = []string{"--env=" + o.project.env}
	}
	if o.confirm != "" {
		cfg.Confirm = o.confirm
	}
	if (o.bundleURL == "") != (o.bundleSHA256 == "") {
		return &usageError{Err: errors.New("--bundle-url and --bundle-sha256 go together")}
	}
	if o.bundleURL != "" {
		// By both names, as the runner refuses two bundles, and nobody here knows
		// which names the task definition has.
		cfg.Env = map[string]string{
			"AURORA_BUNDLE_URL": o.bundleURL, "AURORA_BUNDLE_SHA256": o.bundleSHA256,
			"MIGRATION_BUNDLE_URL": o.bundleURL, "MIGRATION_BUNDLE_SHA256": o.bundleSHA256,
		}
	}
	if cfg.TaskDefinition == "" {
		return &usageError{Err: errors.New("which task?"), Hint: "say --task-definition, or set AURORA_TASK_DEFINITION"}
	}
	if len(cfg.Subnets) == 0 {
		return &usageError{Err: errors.New("in which subnets?"), Hint: "say --subnets, or set AURORA_TASK_SUBNETS"}
	}
	return nil
}

// exportTaskAWS lets the aws block of the environment say which account it is,
// where there is a project file.
func (a *app) exportTaskAWS(ctx context.Context, p projectOptions) (restore func(), err error) {
	if p.env == "" {
		p.env, _ = a.lookupEnv("AURORA_TASK_ENV")
	}
	if p.config == "" && (p.env == "" || !a.hasProjectFile()) {
		return func() {}, nil
	}
	vars, err := config.ParseVars(p.vars)
	if err != nil {
		return nil, &usageError{Err: err}
	}
	files, path := a.projectFiles(p)
	// The database is the task's: what its url reads may not be here.
	project, err := config.Load(ctx, config.Options{
		Files: files, Path: path, Env: p.env, Vars: vars, NoURL: true, NoHistory: true, Logger: a.log, Stderr: a.err, LookupEnv: a.lookupEnv,
	})
	switch {
	case err != nil:
		return nil, &usageError{Err: err}
	case p.env == "":
		return nil, noEnv(project)
	case len(project.Envs) == 0: // a for_each of nothing
		return func() {}, nil
	}
	return exportAWS(settings{project: project, env: project.Envs[0]}), nil
}

// onTask calls do with what reaches a task that runs already, given by its ARN.
func (a *app) onTask(cmd *cobra.Command, t *taskOptions, p projectOptions, task string, do func(fargate.Config) error) error {
	cfg, err := t.config(a, cmd.Flags())
	if err != nil {
		return err
	}
	restore, err := a.exportTaskAWS(cmd.Context(), p)
	if err != nil {
		return err
	}
	defer restore()
	if err := connectTask(cmd.Context(), &cfg, task); err != nil {
		return err
	}
	return do(cfg)
}

func (a *app) newTaskWaitCommand(t *taskOptions) *cobra.Command {
	var (
		p            projectOptions
		asJSON, stop bool
	)
	cmd := &cobra.Command{
		Use:   "wait [flags] TASK",
		Short: "Show the log of a task, given by its ARN, and exit with its code",
		Args:  cobra.ExactArgs(1),
		RunE: a.runs(func(cmd *cobra.Command, args []string) error {
			return a.onTask(cmd, t, p, args[0], func(cfg fargate.Config) error {
				cfg.StopOnCancel = stop
				return a.followTask(cmd.Context(), cfg, taskReport{Task: args[0], project: p}, asJSON)
			})
		}),
	}
	p.addFlags(cmd.Flags())
	cmd.Flags().BoolVar(&stop, "stop-on-interrupt", false, "on Ctrl-C or SIGTERM, stop the task")
	cmd.Flags().BoolVar(&asJSON, "json", false, "say what became of the task in JSON, and write its log to standard error")
	return cmd
}

func (a *app) newTaskStopCommand(t *taskOptions) *cobra.Command {
	var (
		p      projectOptions
		reason string
	)
	cmd := &cobra.Command{
		Use:   "stop [flags] TASK",
		Short: "Stop a task, given by its ARN: it saves a checkpoint and ends",
		Args:  cobra.ExactArgs(1),
		RunE: a.runs(func(cmd *cobra.Command, args []string) error {
			return a.onTask(cmd, t, p, args[0], func(cfg fargate.Config) error {
				return fargate.Stop(cmd.Context(), cfg, args[0], reason)
			})
		}),
	}
	p.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&reason, "reason", "aurora task stop", "`text` that is shown with the task")
	return cmd
}

// followTask waits for a task and ends with its container's code.
func (a *app) followTask(ctx context.Context, cfg fargate.Config, report taskReport, asJSON bool) error {
	if cfg.Output = a.out; asJSON {
		cfg.Output = a.err
	}
	code, err := fargate.Wait(ctx, cfg, report.Task)
	if code >= 0 {
		report.ExitCode = &code
	}
	if err != nil {
		report.Error = err.Error()
	}
	if asJSON {
		if err := a.sayTask(report, true); err != nil {
			return err
		}
	}
	if err == nil && code == 0 {
		return nil
	}
	if err == nil {
		a.log.Info("the container has ended", "exit", code)
		return &exitError{code}
	}
	if errors.Is(err, aurora.ErrInterrupted) {
		a.log.Info("the task goes on", "see", report.follow("wait"), "end", report.follow("stop"))
	}
	return err
}

// sayTask writes a report to standard output.
func (a *app) sayTask(r taskReport, asJSON bool) error {
	if !asJSON {
		a.say("%s", r.Task)
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	a.say("%s", text)
	return nil
}

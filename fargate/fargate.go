// Package fargate runs migrations in ECS Fargate tasks: for a run that needs
// longer than a Lambda function's 15 minutes.
//
// The task's image is aurora-runner, which fetches the project's bundle and
// becomes it; the bundle is the command line, so that a request travels as the
// container's command:
//
//	migrate --env production up --to=20250601120000 --execution-id=…
//
// [Start] asks for a task, [Wait] follows one to its end, [Run] does both.
// [Starter] is what the dashboard takes, and [Dispatch] the handler of a Lambda
// function that may start this one task and nothing else.
package fargate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/aurora-migrate/aurora"
)

// DefaultContainer is the name of the container that runs the migrations where
// a Config does not say another.
const DefaultContainer = "aurora-runner"

// DefaultPoll is how long Wait waits between two looks at the task.
const DefaultPoll = 3 * time.Second

// ECS is what is needed of [*ecs.Client]. Start uses RunTask only.
type ECS interface {
	RunTask(context.Context, *ecs.RunTaskInput, ...func(*ecs.Options)) (*ecs.RunTaskOutput, error)
	DescribeTasks(context.Context, *ecs.DescribeTasksInput, ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error)
	DescribeTaskDefinition(context.Context, *ecs.DescribeTaskDefinitionInput, ...func(*ecs.Options)) (*ecs.DescribeTaskDefinitionOutput, error)
	StopTask(context.Context, *ecs.StopTaskInput, ...func(*ecs.Options)) (*ecs.StopTaskOutput, error)
}

// Logs is what is needed of [*cloudwatchlogs.Client].
type Logs interface {
	GetLogEvents(context.Context, *cloudwatchlogs.GetLogEventsInput, ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.GetLogEventsOutput, error)
}

// A Config says which task to run, and where. ECS, TaskDefinition and, as the
// network mode awsvpc of Fargate needs them, Subnets must be set.
type Config struct {
	ECS ECS
	// Logs reads the container's log, which Wait copies to Output. Nil: the log
	// is not read.
	Logs Logs

	// Cluster is a name or ARN. Empty is the account's cluster "default".
	Cluster string
	// TaskDefinition is a family, which means its newest active revision, a
	// family:revision, or an ARN.
	TaskDefinition string
	// Container is the name of the container whose command is the request and
	// whose exit code counts. Empty means DefaultContainer.
	Container string
	// Subnets are the IDs of the subnets. Where they are in several zones, a
	// zone without capacity does not matter.
	Subnets []string
	// SecurityGroups are IDs. Empty means the VPC's default group.
	SecurityGroups []string
	// AssignPublicIP gives the task a public address, which it needs to fetch
	// image and bundle in a public subnet without endpoints.
	AssignPublicIP bool
	// PlatformVersion of Fargate. Empty means LATEST.
	PlatformVersion string

	// Args are put behind "migrate", such as "--env", "production".
	Args []string
	// Confirm is the name that a rollback of everything, or one in a protected
	// environment, wants to hear: see "down --confirm".
	Confirm string
	// Env are environment variables for the container, besides those of the
	// task definition. They are visible to whoever may describe the task: they
	// are no place for secrets. With the command they must be shorter than 8192
	// characters, as JSON.
	Env map[string]string

	// StartedBy marks the task for "aws ecs list-tasks --started-by": up to 128
	// letters, digits, "-", "_" and "/". Empty means "aurora/" and the
	// execution's identifier.
	StartedBy string
	// ClientToken makes a repeated Start return the task of the first one, for
	// up to 24 hours: up to 64 printable ASCII characters. Empty means the
	// execution's identifier.
	ClientToken string

	// Identify names the execution of a request that does not. A dispatcher names
	// it after Lambda's own request, so that an event that is delivered again
	// starts no second task. Nil, or an empty name, means a new one.
	Identify func(context.Context) string

	// StopOnCancel makes Wait stop the task when its context is canceled. The
	// migration saves a checkpoint and the next run goes on from there. Without
	// it the task goes on alone.
	StopOnCancel bool
	// Poll is how long Wait waits between two looks. Zero means DefaultPoll.
	Poll time.Duration
	// Output gets the lines of the container's log. Nil: the log is not read.
	Output io.Writer
	// Logger gets what happens to the task. Nil: nothing is logged.
	Logger *slog.Logger
}

func (c Config) container() string { return cmp.Or(c.Container, DefaultContainer) }

func (c Config) cluster() *string {
	if c.Cluster == "" {
		return nil
	}
	return &c.Cluster
}

func (c Config) log() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

var (
	startedBy   = regexp.MustCompile(`^[A-Za-z0-9_/-]{1,128}$`)
	clientToken = regexp.MustCompile(`^[!-~]{1,64}$`)
)

// check finds what ECS would refuse with less to say about it.
func (c Config) check() error {
	switch {
	case c.ECS == nil:
		return errors.New("no ECS client")
	case c.TaskDefinition == "":
		return errors.New("no task definition")
	case len(c.Subnets) == 0:
		return errors.New("no subnets: a Fargate task needs at least one")
	case c.StartedBy != "" && !startedBy.MatchString(c.StartedBy):
		return fmt.Errorf("started-by %q: want up to 128 letters, digits, '-', '_' and '/'", c.StartedBy)
	case c.ClientToken != "" && !clientToken.MatchString(c.ClientToken):
		return fmt.Errorf("client token %q: want up to 64 printable ASCII characters", c.ClientToken)
	}
	for _, list := range [][]string{c.Subnets, c.SecurityGroups} {
		if slices.Contains(list, "") {
			return errors.New("an empty name among the subnets or security groups")
		}
	}
	return nil
}

// Starter returns a starter that asks for a task and does not wait for it. The
// same execution asked for twice is one task. It needs ecs:RunTask, and
// iam:PassRole for the roles of the task definition.
func Starter(cfg Config) aurora.Starter {
	return func(ctx context.Context, req aurora.Request) error {
		_, err := Start(ctx, cfg, req)
		return err
	}
}

// Start asks for a task that does what the request says, and returns its ARN as
// soon as ECS has accepted it. The error is a [*StartError].
func Start(ctx context.Context, cfg Config, req aurora.Request) (task string, err error) {
	if err := cfg.check(); err != nil {
		return "", &StartError{Err: err}
	}
	req.ExecutionID = cfg.execution(ctx, req)
	command, err := Command(cfg, req)
	if err != nil {
		return "", &StartError{Err: err}
	}
	token := cmp.Or(cfg.ClientToken, req.ExecutionID)
	by := cmp.Or(cfg.StartedBy, "aurora/"+req.ExecutionID)
	if !clientToken.MatchString(token) || !startedBy.MatchString(by) {
		return "", &StartError{Err: fmt.Errorf("execution %q: want up to 64 letters, digits, '-' and '_'", req.ExecutionID)}
	}
	in := &ecs.RunTaskInput{
		Cluster: cfg.cluster(), TaskDefinition: &cfg.TaskDefinition,
		Count: aws.Int32(1), LaunchType: types.LaunchTypeFargate,
		ClientToken: &token, StartedBy: &by,
		NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{
			Subnets: cfg.Subnets, SecurityGroups: cfg.SecurityGroups, AssignPublicIp: types.AssignPublicIpDisabled,
		}},
		Overrides: &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{{
			Name: aws.String(cfg.container()), Command: command, Environment: environment(cfg.Env),
		}}},
	}
	if cfg.AssignPublicIP {
		in.NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp = types.AssignPublicIpEnabled
	}
	if cfg.PlatformVersion != "" {
		in.PlatformVersion = &cfg.PlatformVersion
	}
	out, err := cfg.ECS.RunTask(ctx, in)
	if err != nil {
		return "", startError(err)
	}
	if len(out.Tasks) == 0 {
		return "", failureError(out.Failures)
	}
	task = aws.ToString(out.Tasks[0].TaskArn)
	cfg.log().Info("task started", "task", task, "execution", req.ExecutionID)
	return task, nil
}

// execution is the identifier of the execution that a request asks for.
func (c Config) execution(ctx context.Context, req aurora.Request) string {
	if req.ExecutionID == "" && c.Identify != nil {
		req.ExecutionID = c.Identify(ctx)
	}
	return cmp.Or(req.ExecutionID, aurora.NewExecutionID())
}

// environment is sorted: ECS compares a repeated request with the first.
func environment(env map[string]string) []types.KeyValuePair {
	var out []types.KeyValuePair
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, types.KeyValuePair{Name: aws.String(name), Value: aws.String(env[name])})
	}
	return out
}

// Command returns the arguments with which the bundle does what a request says.
// Values are written as --flag=value, so that none can be taken for a flag.
func Command(cfg Config, req aurora.Request) ([]string, error) {
	args := append([]string{"migrate"}, cfg.Args...)
	add := func(flag, value string) {
		if value != "" {
			args = append(args, "--"+flag+"="+value)
		}
	}
	if req.Steps < 0 {
		return nil, fmt.Errorf("steps: want a number from 0 on, not %d", req.Steps)
	}
	switch req.Direction {
	case "", aurora.Up:
		if req.All {
			return nil, errors.New("all: only a rollback can be asked for all; up means all anyway")
		}
		args = append(args, "up")
		add("to", req.To)
		add("tx-mode", string(req.TxMode))
		add("exec-order", string(req.ExecOrder))
		add("baseline", req.Baseline)
	case aurora.Down:
		if req.TxMode != "" || req.ExecOrder != "" || req.Baseline != "" {
			return nil, errors.New("txMode, execOrder and baseline are for the way up")
		}
		args = append(args, "down")
		add("to", req.To)
		if req.All {
			args = append(args, "--all")
		}
		add("confirm", cfg.Confirm)
	default:
		return nil, fmt.Errorf("direction %q: want up or down", req.Direction)
	}
	add("unsure", string(req.Unsure))
	add("execution-id", req.ExecutionID)
	add("by", req.By)
	add("reason", req.Reason)
	add("expected-head", req.ExpectedHead)
	if req.Steps > 0 {
		args = append(args, strconv.Itoa(req.Steps))
	}
	return args, nil
}

// taskID is the last part of a task's ARN, as the console and log streams name it.
func taskID(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }

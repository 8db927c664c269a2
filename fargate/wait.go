package fargate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"

	"github.com/aurora-migrate/aurora"
)

const (
	// lostAfter is how many looks in a row may fail before Wait gives up on a task
	// that it has seen; the SDK has repeated each of them already. A task that was
	// never seen was just started, or does not exist.
	lostAfter, unseenAfter = 20, 5
	// stopPatience bounds the wait for a task that was told to stop: Fargate kills
	// it after the container's stopTimeout, which is 120 seconds at most.
	stopPatience = 3 * time.Minute
	// killed is the exit code of a process that SIGKILL ended, 128+9.
	killed = 137
)

// Run starts a task and waits for it: see [Start] and [Wait].
func Run(ctx context.Context, cfg Config, req aurora.Request) (exit int, err error) {
	task, err := Start(ctx, cfg, req)
	if err != nil {
		return -1, err
	}
	return Wait(ctx, cfg, task)
}

// Wait follows a task, given by its ARN, until it has stopped, copies the
// container's log to cfg.Output while it runs, and returns the container's exit
// code. A code other than 0 is not an error: it is the bundle's answer, or the
// runner's. Where the container did not end by itself, the error is a
// [*StoppedError], and the code is -1 if there is none.
//
// When ctx is canceled, the task goes on and the error is a [*LostError] that
// wraps [aurora.ErrInterrupted]; with cfg.StopOnCancel the task is stopped, and
// Wait returns how it ended. It needs ecs:DescribeTasks, for the log also
// ecs:DescribeTaskDefinition and logs:GetLogEvents.
func Wait(ctx context.Context, cfg Config, task string) (exit int, err error) {
	if cfg.ECS == nil {
		return -1, errors.New("wait for the task: no ECS client")
	}
	w := &waiter{cfg: cfg, task: task, tail: tail{cfg: cfg, task: task}}
	t, err := w.wait(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", aurora.ErrInterrupted, context.Cause(ctx))
		if cfg.StopOnCancel {
			t, err = w.stop(context.WithoutCancel(ctx))
		}
	}
	if err != nil {
		return -1, &LostError{Task: task, Err: err}
	}
	return outcome(cfg, t)
}

// Stop asks ECS to stop a task, given by its ARN: SIGTERM, and SIGKILL after the
// container's stopTimeout, 30 seconds by default. It does not wait. The reason
// is shown with the task. It needs ecs:StopTask.
func Stop(ctx context.Context, cfg Config, task, reason string) error {
	if cfg.ECS == nil {
		return errors.New("stop the task: no ECS client")
	}
	in := &ecs.StopTaskInput{Cluster: cfg.clusterOf(task), Task: &task}
	if reason != "" {
		in.Reason = &reason
	}
	if _, err := cfg.ECS.StopTask(ctx, in); err != nil {
		return fmt.Errorf("stop task %s: %w", taskID(task), err)
	}
	return nil
}

// clusterOf is the configured cluster, or the one that a task's ARN names:
// arn:aws:ecs:REGION:ACCOUNT:task/CLUSTER/ID.
func (c Config) clusterOf(task string) *string {
	if c.Cluster == "" {
		if parts := strings.Split(task, "/"); len(parts) == 3 {
			return &parts[1]
		}
	}
	return c.cluster()
}

// A waiter follows one task.
type waiter struct {
	cfg    Config
	task   string
	tail   tail
	status string
}

func (w *waiter) wait(ctx context.Context) (types.Task, error) {
	var failed int
	for {
		t, err := w.look(ctx)
		switch {
		case err == nil:
			failed = 0
			if s := aws.ToString(t.LastStatus); s != w.status {
				w.status = s
				w.cfg.log().Info("task "+strings.ToLower(s), "task", taskID(w.task))
			}
			w.tail.definition(ctx, aws.ToString(t.TaskDefinitionArn))
			if w.status == "STOPPED" {
				w.tail.drain(ctx)
				if t.StopCode != types.TaskStopCodeEssentialContainerExited {
					w.cfg.log().Warn("the task was stopped", "code", t.StopCode, "reason", aws.ToString(t.StoppedReason))
				}
				return t, nil
			}
			w.tail.read(ctx)
		case ctx.Err() != nil:
			return types.Task{}, err
		case isDenied(err):
			return types.Task{}, err
		default:
			if failed++; failed >= lostAfter || w.status == "" && failed >= unseenAfter {
				return types.Task{}, err
			}
		}
		if err := sleep(ctx, w.cfg.poll()); err != nil {
			return types.Task{}, err
		}
	}
}

// look asks for the task once. A task that was just started may not be there
// yet, and one that stopped is forgotten after an hour or so.
func (w *waiter) look(ctx context.Context) (types.Task, error) {
	out, err := w.cfg.ECS.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: w.cfg.clusterOf(w.task), Tasks: []string{w.task}})
	if err != nil {
		return types.Task{}, err
	}
	if len(out.Tasks) == 0 {
		reason := "MISSING"
		if len(out.Failures) > 0 {
			reason = cmp.Or(aws.ToString(out.Failures[0].Reason), reason)
		}
		return types.Task{}, fmt.Errorf("ECS does not know it (%s)", reason)
	}
	return out.Tasks[0], nil
}

// stop ends the task and waits for that.
func (w *waiter) stop(ctx context.Context) (types.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	if err := Stop(ctx, w.cfg, w.task, "interrupted"); err != nil {
		return types.Task{}, err
	}
	w.cfg.log().Info("asked the task to stop", "task", taskID(w.task))
	return w.wait(ctx)
}

// outcome reads how a stopped task ended.
func outcome(cfg Config, t types.Task) (int, error) {
	exit, reason, names := -1, "", []string(nil)
	for _, c := range t.Containers {
		name := aws.ToString(c.Name)
		if names = append(names, name); name != cfg.container() {
			continue
		}
		if reason = aws.ToString(c.Reason); c.ExitCode != nil {
			exit = int(*c.ExitCode)
		}
	}
	if len(names) > 0 && !slices.Contains(names, cfg.container()) {
		return -1, &StoppedError{
			Task: aws.ToString(t.TaskArn), Code: string(t.StopCode), ExitCode: -1,
			Reason: fmt.Sprintf("it had no container %s, only %s", cfg.container(), strings.Join(names, ", ")),
		}
	}
	if exit >= 0 && exit != killed && reason == "" {
		return exit, nil
	}
	e := &StoppedError{
		Task: aws.ToString(t.TaskArn), Code: string(t.StopCode), ExitCode: exit,
		Reason: cmp.Or(reason, aws.ToString(t.StoppedReason)),
	}
	if exit == killed && reason == "" && t.StopCode == types.TaskStopCodeUserInitiated {
		e.Reason = "killed, because it did not end in time after it was asked to stop: " + aws.ToString(t.StoppedReason)
	}
	return exit, e
}

func isDenied(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && strings.Contains(api.ErrorCode(), "AccessDenied")
}

func (c Config) poll() time.Duration { return cmp.Or(c.Poll, DefaultPoll) }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

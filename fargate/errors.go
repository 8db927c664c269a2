package fargate

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"

	"github.com/aurora-migrate/aurora"
)

// ErrCapacity says that Fargate had no room for the task. Nothing ran, and the
// same request may be made again.
var ErrCapacity = errors.New("no capacity for the task in Fargate at this time")

// A StartError says why there is no task. Nothing ran.
type StartError struct {
	Err  error
	hint string
}

// Error says what ECS said.
func (e *StartError) Error() string { return "start the task: " + e.Err.Error() }

// Unwrap returns what ECS said, or [ErrCapacity].
func (e *StartError) Unwrap() error { return e.Err }

// Hint says what to do, or is empty.
func (e *StartError) Hint() string { return e.hint }

// A StoppedError says that a task ended for another reason than that its
// container was done. What the migration saved is in the history; the next run
// goes on from there.
type StoppedError struct {
	Task string // ARN
	// Code is ECS's word for who stopped it, such as TaskFailedToStart,
	// UserInitiated or SpotInterruption.
	Code string
	// Reason is ECS's sentence about it.
	Reason string
	// ExitCode is the container's, or -1 where it has none.
	ExitCode int
}

// Error says why the task ended.
func (e *StoppedError) Error() string {
	text := fmt.Sprintf("task %s: %s", taskID(e.Task), cmp.Or(e.Reason, e.Code, "stopped without a reason"))
	if e.ExitCode >= 0 {
		text += fmt.Sprintf(" (exit code %d)", e.ExitCode)
	}
	return text
}

// Hint says what to do, or is empty.
func (e *StoppedError) Hint() string {
	if hint := hintFor(stopHints, e.Reason); hint != "" {
		return hint
	}
	switch types.TaskStopCode(e.Code) {
	case types.TaskStopCodeUserInitiated:
		return "somebody stopped the task; run it again to go on from the last checkpoint"
	case types.TaskStopCodeSpotInterruption, types.TaskStopCodeTerminationNotice, types.TaskStopCodeInfrastructureHealth:
		return "AWS took the machine away; run it again to go on from the last checkpoint"
	}
	return ""
}

// A LostError says that the task could not be followed to its end. It may still
// run.
type LostError struct {
	Task string // ARN
	Err  error
}

// Error says what went wrong.
func (e *LostError) Error() string {
	return fmt.Sprintf("lost sight of task %s, which may still run: %v", taskID(e.Task), e.Err)
}

// Unwrap returns what went wrong: [aurora.ErrInterrupted] where the caller's
// context was canceled.
func (e *LostError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *LostError) Hint() string {
	if errors.Is(e.Err, aurora.ErrInterrupted) {
		return "the task goes on; wait for it again, or stop it, by its ARN: " + e.Task
	}
	return cmp.Or(hintFor(startHints, e.Err.Error()), "wait for it again by its ARN: "+e.Task)
}

// A hint belongs to messages that have all its words. The messages are ECS's;
// see "Stopped tasks error codes" and "API failures messages" in the ECS
// developer guide.
type hint struct {
	words []string
	text  string
}

func hintFor(hints []hint, message string) string {
next:
	for _, h := range hints {
		for _, w := range h.words {
			if !strings.Contains(strings.ToLower(message), w) {
				continue next
			}
		}
		return h.text
	}
	return ""
}

var startHints = []hint{
	{[]string{"not authorized", "iam:passrole"}, "allow iam:PassRole for the task role and the execution role of the task definition"},
	{[]string{"not authorized", "ecs:runtask"}, "allow ecs:RunTask for the task definition, in this cluster"},
	{[]string{"not authorized", "ecs:"}, "allow the action for whoever starts and follows the task"},
	{[]string{"unable to assume the role"}, "the role must exist and trust ecs-tasks.amazonaws.com"},
	{[]string{"role is not valid"}, "the role must exist and trust ecs-tasks.amazonaws.com"},
	{[]string{"cluster not found"}, "check the cluster's name, and the region"},
	{[]string{"clusternotfound"}, "check the cluster's name, and the region"},
	{[]string{"taskdefinition not found"}, "check the task definition's name, and the region"},
	{[]string{"unable to describe task definition"}, "check the task definition's name, and the region"},
	{[]string{"taskdefinition is inactive"}, "this revision was deregistered: name a newer one, or the family alone"},
	{[]string{"override", "is not a container in the taskdefinition"}, "say which container of the task definition runs aurora-runner"},
	{[]string{"overrides length"}, "pass fewer or shorter environment variables: they and the command may have 8192 characters"},
	{[]string{"launch_type fargate"}, "the task definition must have FARGATE among requiresCompatibilities"},
	{[]string{"limit on the number of"}, "wait for other tasks to end, or raise the quota of Fargate vCPUs"},
	{[]string{"security token"}, "log in again: the credentials are wrong or have expired"},
}

var stopHints = []hint{
	{[]string{"cannotpullcontainer", "toomanyrequests"}, "the registry counts anonymous pulls by address: mirror the image, see docs/fargate.md"},
	{[]string{"cannotpullcontainer", "429"}, "the registry counts anonymous pulls by address: mirror the image, see docs/fargate.md"},
	{[]string{"cannotpullcontainer", "timeout"}, noWay},
	{[]string{"cannotpullcontainer", "dial tcp"}, noWay},
	{[]string{"cannotpullcontainer", "deadline exceeded"}, noWay},
	{[]string{"cannotpullcontainer", "platform"}, "the image has no variant for the task's runtimePlatform: aurora-runner has X86_64 and ARM64"},
	{[]string{"cannotpullcontainer", "denied"}, "the execution role must be allowed to pull the image"},
	{[]string{"cannotpullcontainer", "forbidden"}, "the execution role must be allowed to pull the image"},
	{[]string{"cannotpullcontainer", "not found"}, "check the image's name and digest"},
	{[]string{"cannotpullcontainer", "manifest unknown"}, "check the image's name and digest"},
	{[]string{"cannotpullcontainer"}, "check the image's name and digest, and the subnet's way to the registry"},
	{[]string{"resourceinitializationerror", "secret"}, "the execution role must be allowed to read the secrets, and the subnet needs a way to them"},
	{[]string{"resourceinitializationerror", "log"}, "the log group must exist, and the execution role be allowed to write to it"},
	{[]string{"resourceinitializationerror"}, "check the execution role, and the subnet's way to AWS's endpoints"},
	{[]string{"outofmemory"}, "give the task definition more memory; the next run goes on from the last checkpoint"},
	{[]string{"exec format error"}, "the image is for another architecture than the task's runtimePlatform"},
	{[]string{"network interface"}, "check that the subnets have free addresses; then run it again"},
	{[]string{noCapacity}, "run it again later, or in subnets of more zones"},
}

const (
	noCapacity = "capacity is unavailable"
	noWay      = "the subnet needs a way to the registry: a NAT gateway, endpoints, or a public address"
)

// startError turns what RunTask returned into something with advice.
func startError(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return &StartError{Err: err, hint: hintFor(startHints, err.Error())}
	}
	if conflict := (*types.ConflictException)(nil); errors.As(err, &conflict) {
		return &StartError{
			Err:  fmt.Errorf("the execution was asked for before, with another request: %s", strings.Join(conflict.ResourceIds, ", ")),
			hint: "wait for that task, or leave out the execution's identifier to start a new one",
		}
	}
	message := api.ErrorCode() + ": " + api.ErrorMessage()
	if strings.Contains(strings.ToLower(message), noCapacity) {
		return capacityError(message)
	}
	return &StartError{Err: &saidError{message, err}, hint: hintFor(startHints, message)}
}

// A saidError has only what the API said: the SDK's own text begins with what
// the SDK did.
type saidError struct {
	text string
	err  error
}

func (e *saidError) Error() string { return e.text }
func (e *saidError) Unwrap() error { return e.err }

// failureError is for a RunTask that succeeded and started nothing.
func failureError(failures []types.Failure) error {
	var texts []string
	for _, f := range failures {
		text := cmp.Or(aws.ToString(f.Reason), "no reason given")
		if detail := aws.ToString(f.Detail); detail != "" {
			text += ": " + detail
		}
		texts = append(texts, text)
	}
	message := cmp.Or(strings.Join(texts, "; "), "ECS returned neither a task nor a failure")
	if strings.Contains(strings.ToLower(message), noCapacity) || strings.HasPrefix(message, "RESOURCE:") {
		return capacityError(message)
	}
	return &StartError{Err: errors.New(message), hint: hintFor(startHints, message)}
}

func capacityError(message string) error {
	return &StartError{
		Err:  fmt.Errorf("%w (%s)", ErrCapacity, message),
		hint: "run it again later, or name subnets in more zones",
	}
}

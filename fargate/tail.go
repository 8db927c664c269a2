package fargate

import (
	"context"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// drainReads is how many reads in a row must bring nothing before the log of a
// stopped task counts as complete: the log driver delivers with a delay.
const drainReads = 2

// A tail copies a container's log. That it cannot is never a reason to stop
// waiting for the task: it is said once.
type tail struct {
	cfg    Config
	task   string
	known  bool // the task definition was asked for
	group  string
	stream string
	region string
	token  *string
	off    bool
}

// definition finds the log's name, once: the log driver awslogs writes to the
// stream PREFIX/CONTAINER/TASK-ID of the group in its options ("Send Amazon ECS
// logs to CloudWatch" in the ECS developer guide). It also says what will make
// the run fail.
func (l *tail) definition(ctx context.Context, arn string) {
	if l.known || arn == "" || l.cfg.Output == nil || l.cfg.Logs == nil {
		return
	}
	l.known = true
	out, err := l.cfg.ECS.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: &arn})
	if err != nil {
		l.stop("cannot read the task definition, so not the log either", "err", err)
		return
	}
	d := out.TaskDefinition
	if aws.ToString(d.TaskRoleArn) == "" {
		l.cfg.log().Warn("the task definition has no task role: the runner cannot read a bundle from S3", "taskDefinition", arn)
	}
	for _, c := range d.ContainerDefinitions {
		if aws.ToString(c.Name) != l.cfg.container() {
			continue
		}
		if c.LogConfiguration == nil || c.LogConfiguration.LogDriver != types.LogDriverAwslogs {
			l.stop("the container has no log driver awslogs: its output is not shown")
			return
		}
		o := c.LogConfiguration.Options
		l.group, l.region = o["awslogs-group"], o["awslogs-region"]
		l.stream = strings.Join([]string{o["awslogs-stream-prefix"], l.cfg.container(), taskID(l.task)}, "/")
	}
	if l.group == "" || strings.HasPrefix(l.stream, "/") {
		l.stop("the task definition does not say where the container's log is: it needs awslogs-group and awslogs-stream-prefix")
	}
}

func (l *tail) stop(message string, args ...any) {
	l.off = true
	l.cfg.log().Warn(message, args...)
}

// read copies what is new and reports whether there was something.
func (l *tail) read(ctx context.Context) bool {
	if !l.known || l.off {
		return false
	}
	some := false
	for {
		out, err := l.cfg.Logs.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{
			LogGroupName: &l.group, LogStreamName: &l.stream, StartFromHead: aws.Bool(true), NextToken: l.token,
		}, func(o *cloudwatchlogs.Options) {
			if l.region != "" {
				o.Region = l.region
			}
		})
		if err != nil {
			// There is no stream before the container has written something, and
			// whatever else it is, the next look tries again.
			if isDenied(err) {
				l.stop("cannot read the container's log", "group", l.group, "err", err)
			}
			return some
		}
		for _, e := range out.Events {
			some = true
			if _, err := io.WriteString(l.cfg.Output, strings.TrimRight(aws.ToString(e.Message), "\n")+"\n"); err != nil {
				l.stop("cannot write the container's log", "err", err)
				return some
			}
		}
		// At its end, the stream returns the token that it was given.
		end := l.token != nil && aws.ToString(out.NextForwardToken) == *l.token
		if out.NextForwardToken != nil {
			l.token = out.NextForwardToken
		}
		if end || out.NextForwardToken == nil {
			return some
		}
	}
}

// drain reads the log of a stopped task to its end.
func (l *tail) drain(ctx context.Context) {
	for quiet := 0; l.known && !l.off && quiet < drainReads; quiet++ {
		if quiet > 0 && sleep(ctx, l.cfg.poll()) != nil {
			return
		}
		if l.read(ctx) {
			quiet = 0
		}
	}
}

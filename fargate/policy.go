package fargate

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// A Policy is an IAM policy document. As JSON it is what IAM takes.
type Policy struct {
	Version   string
	Statement []Statement
}

// A Statement is one of a policy's.
type Statement struct {
	Sid       string
	Effect    string
	Action    []string
	Resource  []string
	Condition map[string]map[string]string `json:",omitempty"`
}

// A PolicyTarget names the one task that a policy is about.
type PolicyTarget struct {
	// TaskDefinition is the ARN of a task definition; without a revision it
	// means all revisions of the family.
	TaskDefinition string
	// Cluster is the ARN of the cluster in which it may run.
	Cluster string
	// Roles are the ARNs of the task role and of the execution role.
	Roles []string
	// LogGroup is the ARN of the container's log group. Only FollowPolicy needs it.
	LogGroup string
}

var (
	definitionARN = regexp.MustCompile(`^arn:[a-z-]+:ecs:[a-z0-9-]+:\d{12}:task-definition/[A-Za-z0-9_-]+(:\d+)?$`)
	clusterARN    = regexp.MustCompile(`^arn:[a-z-]+:ecs:[a-z0-9-]+:\d{12}:cluster/[A-Za-z0-9_-]+$`)
	roleARN       = regexp.MustCompile(`^arn:[a-z-]+:iam::\d{12}:role/[A-Za-z0-9_+=,.@/-]+$`)
	groupARN      = regexp.MustCompile(`^arn:[a-z-]+:logs:[a-z0-9-]+:\d{12}:log-group:[A-Za-z0-9_./#-]+$`)
	objectARN     = regexp.MustCompile(`^arn:[a-z-]+:s3:::[a-z0-9.-]+/[^*?$]+$`)
)

// DispatchPolicy returns what a dispatcher may do: run this task definition in
// this cluster, and give the task its roles. Nothing else, in particular
// nothing in S3.
func DispatchPolicy(t PolicyTarget) (Policy, error) {
	if !definitionARN.MatchString(t.TaskDefinition) {
		return Policy{}, fmt.Errorf("task definition %q: want an ARN", t.TaskDefinition)
	}
	if !clusterARN.MatchString(t.Cluster) {
		return Policy{}, fmt.Errorf("cluster %q: want an ARN", t.Cluster)
	}
	if len(t.Roles) == 0 {
		return Policy{}, errors.New("no roles: ECS refuses to start the task if its roles may not be passed to it")
	}
	for _, r := range t.Roles {
		if !roleARN.MatchString(r) {
			return Policy{}, fmt.Errorf("role %q: want an ARN", r)
		}
	}
	definition := t.TaskDefinition
	if !strings.Contains(definition[strings.LastIndex(definition, "/"):], ":") {
		definition += ":*"
	}
	return Policy{Version: "2012-10-17", Statement: []Statement{
		{
			Sid: "RunTheTask", Effect: "Allow", Action: []string{"ecs:RunTask"}, Resource: []string{definition},
			Condition: map[string]map[string]string{"ArnEquals": {"ecs:cluster": t.Cluster}},
		},
		{
			Sid: "PassItsRoles", Effect: "Allow", Action: []string{"iam:PassRole"}, Resource: t.Roles,
			Condition: map[string]map[string]string{"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
		},
	}}, nil
}

// FollowPolicy returns what Wait and Stop need: to look at the tasks of the
// cluster and stop them, and to read the container's log. A task's ARN names its
// cluster and not its task definition, so this is every task of the cluster:
// give the migrations a cluster of their own where that is too much. The right
// to read task definitions cannot be limited to one.
func FollowPolicy(t PolicyTarget) (Policy, error) {
	if !clusterARN.MatchString(t.Cluster) {
		return Policy{}, fmt.Errorf("cluster %q: want an ARN", t.Cluster)
	}
	if !groupARN.MatchString(t.LogGroup) {
		return Policy{}, fmt.Errorf("log group %q: want an ARN", t.LogGroup)
	}
	tasks := strings.Replace(t.Cluster, ":cluster/", ":task/", 1) + "/*"
	return Policy{Version: "2012-10-17", Statement: []Statement{
		{Sid: "FollowTasks", Effect: "Allow", Action: []string{"ecs:DescribeTasks", "ecs:StopTask"}, Resource: []string{tasks}},
		{Sid: "FindTheLog", Effect: "Allow", Action: []string{"ecs:DescribeTaskDefinition"}, Resource: []string{"*"}},
		{Sid: "ReadTheLog", Effect: "Allow", Action: []string{"logs:GetLogEvents"}, Resource: []string{t.LogGroup + ":log-stream:*"}},
	}}, nil
}

// TaskPolicy returns what aurora-runner needs of the task role: to read the one
// object, given by its ARN, that is the bundle. What the migrations need comes
// on top. A key with a wildcard or a $, with which IAM's variables begin, is an
// error: it could name other objects.
func TaskPolicy(object string) (Policy, error) {
	if !objectARN.MatchString(object) {
		return Policy{}, fmt.Errorf("bundle %q: want the ARN of one object", object)
	}
	return Policy{Version: "2012-10-17", Statement: []Statement{
		{Sid: "ReadTheBundle", Effect: "Allow", Action: []string{"s3:GetObject"}, Resource: []string{object}},
	}}, nil
}

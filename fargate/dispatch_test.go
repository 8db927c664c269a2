//go:build linux

package fargate_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/fargate"
	"github.com/aurora-migrate/aurora/fargate/internal/ecstest"
)

// TestDispatch: an event becomes a task, by one call of one action.
func TestDispatch(t *testing.T) {
	e := start(t, definition(t, "exit 0"))
	e.cfg.Args = []string{"--env=production"}
	handle := fargate.Dispatch(e.cfg)
	event := json.RawMessage(`{"direction": "down", "target": "20250601120000", "executionId": "e-1", "confirm": "dispatch"}`)
	for range 2 { // Lambda may deliver an event twice.
		got, err := handle(t.Context(), event)
		if err != nil || got.ExecutionID != "e-1" || !strings.Contains(got.Task, ":task/default/") {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if e.Tasks() != 1 || !strings.Contains(e.Request("e-1"), `"command":["migrate","--env=production","down","--to=20250601120000","--execution-id=e-1"]`) {
		t.Errorf("%d tasks: %s", e.Tasks(), e.Request("e-1"))
	}
	if diff := cmp.Diff([]string{"RunTask", "RunTask"}, e.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if got, err := handle(t.Context(), json.RawMessage(`{}`)); err != nil || got.ExecutionID == "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestDispatchRefuses: an event that would lose something on its way starts
// nothing.
func TestDispatchRefuses(t *testing.T) {
	e := start(t, definition(t, "exit 0"))
	for _, tt := range []struct{ event, want string }{
		{`{"dryRun": true}`, `unknown field "dryRun"`},
		{`{"command": "status"}`, `unknown field "command"`},
		{`{"taskDefinition": "mine"}`, `unknown field "taskDefinition"`},
		{`[]`, "cannot unmarshal array"},
		{``, "read the event: EOF"},
		{`{} {}`, "more than one JSON value"},
		{`{"direction": "left"}`, `direction "left"`},
		{`{"executionId": "a b"}`, `execution "a b"`},
	} {
		_, err := fargate.Dispatch(e.cfg)(t.Context(), json.RawMessage(tt.event))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.event, err, tt.want)
		}
	}
	if e.Tasks() != 0 {
		t.Errorf("%d tasks", e.Tasks())
	}
	e.FailNext("RunTask", ecstest.Fault{Type: "ClusterNotFoundException", Message: "Cluster not found."})
	if _, err := fargate.Dispatch(e.cfg)(t.Context(), json.RawMessage(`{}`)); err == nil || !strings.Contains(err.Error(), "; check the cluster's name") {
		t.Errorf("the advice is not in the text: %v", err)
	}
}

var target = fargate.PolicyTarget{
	TaskDefinition: "arn:aws:ecs:eu-central-1:123456789012:task-definition/migrations:7",
	Cluster:        "arn:aws:ecs:eu-central-1:123456789012:cluster/jobs",
	Roles:          []string{"arn:aws:iam::123456789012:role/migrations-task", "arn:aws:iam::123456789012:role/migrations-execution"},
}

// TestDispatchPolicy: a dispatcher may run this one task and pass its roles to
// it, and nothing else.
func TestDispatchPolicy(t *testing.T) {
	p, err := fargate.DispatchPolicy(target)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"Version":"2012-10-17","Statement":[` +
		`{"Sid":"RunTheTask","Effect":"Allow","Action":["ecs:RunTask"],"Resource":["arn:aws:ecs:eu-central-1:123456789012:task-definition/migrations:7"],` +
		`"Condition":{"ArnEquals":{"ecs:cluster":"arn:aws:ecs:eu-central-1:123456789012:cluster/jobs"}}},` +
		`{"Sid":"PassItsRoles","Effect":"Allow","Action":["iam:PassRole"],"Resource":["arn:aws:iam::123456789012:role/migrations-task","arn:aws:iam::123456789012:role/migrations-execution"],` +
		`"Condition":{"StringEquals":{"iam:PassedToService":"ecs-tasks.amazonaws.com"}}}]}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	var actions []string
	for _, s := range p.Statement {
		actions = append(actions, s.Action...)
		for _, r := range s.Resource {
			if strings.Contains(r, "*") {
				t.Errorf("%s is about more than one thing: %s", s.Sid, r)
			}
		}
	}
	if diff := cmp.Diff([]string{"ecs:RunTask", "iam:PassRole"}, actions); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}

	family := target
	family.TaskDefinition = strings.TrimSuffix(family.TaskDefinition, ":7")
	p, err = fargate.DispatchPolicy(family)
	if err != nil || p.Statement[0].Resource[0] != family.TaskDefinition+":*" {
		t.Errorf("%+v, %v", p, err)
	}
	for name, change := range map[string]func(*fargate.PolicyTarget){
		"every task": func(t *fargate.PolicyTarget) { t.TaskDefinition = "*" },
		"every family": func(t *fargate.PolicyTarget) {
			t.TaskDefinition = "arn:aws:ecs:eu-central-1:123456789012:task-definition/*"
		},
		"a name":        func(t *fargate.PolicyTarget) { t.TaskDefinition = "migrations" },
		"every cluster": func(t *fargate.PolicyTarget) { t.Cluster = "*" },
		"every role":    func(t *fargate.PolicyTarget) { t.Roles = []string{"arn:aws:iam::123456789012:role/*"} },
		"no role":       func(t *fargate.PolicyTarget) { t.Roles = nil },
	} {
		wrong := target
		change(&wrong)
		if p, err := fargate.DispatchPolicy(wrong); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// TestFollowPolicy: who follows tasks may not start any.
func TestFollowPolicy(t *testing.T) {
	follow := target
	follow.LogGroup = "arn:aws:logs:eu-central-1:123456789012:log-group:/ecs/migrations"
	p, err := fargate.FollowPolicy(follow)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range p.Statement {
		for _, a := range s.Action {
			got[a] = strings.Join(s.Resource, " ")
		}
	}
	want := map[string]string{
		"ecs:DescribeTasks": "arn:aws:ecs:eu-central-1:123456789012:task/jobs/*", "ecs:StopTask": "arn:aws:ecs:eu-central-1:123456789012:task/jobs/*",
		"ecs:DescribeTaskDefinition": "*",
		"logs:GetLogEvents":          "arn:aws:logs:eu-central-1:123456789012:log-group:/ecs/migrations:log-stream:*",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rights (-want +got):\n%s", diff)
	}
	if p, err := fargate.FollowPolicy(target); err == nil {
		t.Errorf("no log group: %+v", p)
	}
}

// TestTaskPolicy: the task may read one object.
func TestTaskPolicy(t *testing.T) {
	const object = "arn:aws:s3:::shop-bundles/bundles/bundle-00ff"
	p, err := fargate.TaskPolicy(object)
	if err != nil {
		t.Fatal(err)
	}
	want := fargate.Policy{Version: "2012-10-17", Statement: []fargate.Statement{
		{Sid: "ReadTheBundle", Effect: "Allow", Action: []string{"s3:GetObject"}, Resource: []string{object}},
	}}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	for _, wrong := range []string{"", "*", "arn:aws:s3:::shop-bundles", "arn:aws:s3:::shop-bundles/", "arn:aws:s3:::shop-bundles/*", "arn:aws:s3:::shop-bundles/${aws:username}/x", "s3://shop-bundles/x"} {
		if p, err := fargate.TaskPolicy(wrong); err == nil {
			t.Errorf("%q: %+v", wrong, p)
		}
	}
}

// TestFromEnv: settings by environment variables.
func TestFromEnv(t *testing.T) {
	lookup := func(vars map[string]string) func(string) (string, bool) {
		return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	}
	got, err := fargate.FromEnv(lookup(map[string]string{
		"AURORA_TASK_DEFINITION": "migrations", "AURORA_TASK_CLUSTER": "jobs", "AURORA_TASK_CONTAINER": "runner",
		"AURORA_TASK_SUBNETS": "subnet-1, subnet-2", "AURORA_TASK_SECURITY_GROUPS": "sg-1", "AURORA_TASK_PUBLIC_IP": "true",
		"AURORA_TASK_PLATFORM_VERSION": "1.4.0", "AURORA_TASK_ENV": "production", "AURORA_TASK_CONFIRM": "shop",
		"MIGRATION_BUNDLE_URL": "s3://b/k", "MIGRATION_BUNDLE_SHA256": "00ff", "OTHER": "x",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := fargate.Config{
		TaskDefinition: "migrations", Cluster: "jobs", Container: "runner", Subnets: []string{"subnet-1", "subnet-2"},
		SecurityGroups: []string{"sg-1"}, AssignPublicIP: true, PlatformVersion: "1.4.0", Args: []string{"--env=production"}, Confirm: "shop",
		Env: map[string]string{"MIGRATION_BUNDLE_URL": "s3://b/k", "MIGRATION_BUNDLE_SHA256": "00ff"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if got, err := fargate.FromEnv(lookup(nil)); err != nil || !cmp.Equal(got, fargate.Config{}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := fargate.FromEnv(lookup(map[string]string{"AURORA_TASK_PUBLIC_IP": "maybe"})); err == nil {
		t.Error("AURORA_TASK_PUBLIC_IP=maybe was accepted")
	}
}

//go:build linux

package fargate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli"
	"github.com/aurora-migrate/aurora/fargate"
	"github.com/aurora-migrate/aurora/fargate/internal/ecstest"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// TestCommand: a request as the bundle's arguments.
func TestCommand(t *testing.T) {
	production := fargate.Config{Args: []string{"--env=production"}, Confirm: "shop"}
	for _, tt := range []struct {
		cfg  fargate.Config
		req  aurora.Request
		want string
	}{
		{fargate.Config{}, aurora.Request{}, "migrate up"},
		{production, aurora.Request{ExecutionID: "e1", To: "3"}, "migrate --env=production up --to=3 --execution-id=e1"},
		{production, aurora.Request{Steps: 2, TxMode: aurora.TxNone, ExecOrder: "non-linear", Baseline: "1", Unsure: aurora.UnsureSkip},
			"migrate --env=production up --tx-mode=none --exec-order=non-linear --baseline=1 --unsure=skip 2"},
		{fargate.Config{}, aurora.Request{Direction: aurora.Down, Steps: 2}, "migrate down 2"},
		{production, aurora.Request{Direction: aurora.Down, All: true, ExecutionID: "e"}, "migrate --env=production down --all --confirm=shop --execution-id=e"},
		{fargate.Config{}, aurora.Request{By: "ada@laptop", Reason: "release\n1.4", ExpectedHead: "7.1.completed"},
			"migrate up --by=ada@laptop --reason=release\n1.4 --expected-head=7.1.completed"},
		// A target cannot become a flag.
		{fargate.Config{}, aurora.Request{To: "--url=postgres://elsewhere"}, "migrate up --to=--url=postgres://elsewhere"},

		{fargate.Config{}, aurora.Request{Direction: "sideways"}, `error: direction "sideways": want up or down`},
		{fargate.Config{}, aurora.Request{All: true}, "error: all: only a rollback can be asked for all; up means all anyway"},
		{fargate.Config{}, aurora.Request{Steps: -1}, "error: steps: want a number from 0 on, not -1"},
		{fargate.Config{}, aurora.Request{Direction: aurora.Down, Baseline: "1"}, "error: txMode, execOrder and baseline are for the way up"},
	} {
		args, err := fargate.Command(tt.cfg, tt.req)
		got := strings.Join(args, " ")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != tt.want {
			t.Errorf("%+v:\n got %s\nwant %s", tt.req, got, tt.want)
		}
		if err != nil {
			continue
		}
		// The command line knows every flag.
		var out buffer
		if code := cli.Run(t.Context(), append(args, "--help"), cli.Streams{Out: &out, Err: &out}, nil); code != 0 {
			t.Errorf("aurora %s: %d %s", got, code, &out)
		}
	}
}

// TestCommandSaysAll: every field of a request is in the command or refused, in
// at least one direction. A field that is new and forgotten here would be lost
// on the way into the task.
func TestCommandSaysAll(t *testing.T) {
	typ := reflect.TypeFor[aurora.Request]()
	for i := range typ.NumField() {
		said := false
		for _, direction := range []aurora.Direction{aurora.Up, aurora.Down} {
			req := aurora.Request{Direction: direction}
			base, err := fargate.Command(fargate.Config{}, req)
			if err != nil {
				t.Fatal(err)
			}
			switch f := reflect.ValueOf(&req).Elem().Field(i); f.Kind() {
			case reflect.String:
				f.SetString("down")
			case reflect.Int:
				f.SetInt(7)
			case reflect.Bool:
				f.SetBool(true)
			default:
				t.Fatalf("field %s: the test does not know its type", typ.Field(i).Name)
			}
			args, err := fargate.Command(fargate.Config{}, req)
			said = said || err == nil && !slices.Equal(args, base)
		}
		if !said {
			t.Errorf("field %s of a request does not reach the task", typ.Field(i).Name)
		}
	}
}

// job is testdata/job, built once.
var job []byte

// jobRoot is an image with that program.
func jobRoot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "job")
	if job == nil {
		ecstest.Build(t, program, "./internal/ecstest/testdata/job")
		var err error
		if job, err = os.ReadFile(program); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(program, job, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "tmp"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMain(m *testing.M) { pgtest.Main(m) }

// definition is a task whose program does what a word says: see testdata/job.
func definition(t *testing.T, does string) ecstest.Definition {
	return ecstest.Definition{
		Family: "migrations", Container: fargate.DefaultContainer, Root: jobRoot(t), Entrypoint: []string{"/job"},
		Env: map[string]string{"JOB": does}, LogGroup: "/ecs/migrations", LogPrefix: "aurora", TaskRole: "arn:aws:iam::123456789012:role/task",
	}
}

// buffer is written by one goroutine and read by another.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

type env struct {
	*ecstest.Server
	cfg  fargate.Config
	out  *buffer
	said *buffer // what was logged
}

func start(t *testing.T, d ecstest.Definition) env {
	e := env{Server: ecstest.Start(t, d), out: &buffer{}, said: &buffer{}}
	e.cfg = fargate.Config{
		ECS: e.ECS(), Logs: e.Server.Logs(), TaskDefinition: "migrations", Subnets: []string{"subnet-1"},
		Poll: 5 * time.Millisecond, Output: e.out, Logger: slog.New(slog.NewTextHandler(e.said, nil)),
	}
	return e
}

// looks is how often ECS was asked how tasks are.
func (e env) looks() (n int) {
	for _, c := range e.Calls() {
		if c == "DescribeTasks" {
			n++
		}
	}
	return n
}

// await waits until the log of the running task has a line.
func (e env) await(t *testing.T, line string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !strings.Contains(e.Log(""), line); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the task never said %q: %s", line, e.Log(""))
		}
	}
}

// TestStart: what ECS is asked for.
func TestStart(t *testing.T) {
	e := start(t, definition(t, "exit 0"))
	cfg := e.cfg
	cfg.Cluster, cfg.SecurityGroups, cfg.AssignPublicIP, cfg.PlatformVersion = "jobs", []string{"sg-1"}, true, "1.4.0"
	cfg.Args, cfg.Env = []string{"--env=production"}, map[string]string{"B": "2", "A": "1"}
	task, err := fargate.Start(t.Context(), cfg, aurora.Request{ExecutionID: "e-1", To: "5"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(task, "arn:aws:ecs:eu-central-1:123456789012:task/jobs/") {
		t.Errorf("task %s", task)
	}
	var got, want any
	if err := json.Unmarshal([]byte(e.Request("e-1")), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{
		"cluster": "jobs", "taskDefinition": "migrations", "count": 1, "launchType": "FARGATE", "platformVersion": "1.4.0",
		"clientToken": "e-1", "startedBy": "aurora/e-1",
		"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "ENABLED"}},
		"overrides": {"containerOverrides": [{
			"name": "aurora-runner",
			"command": ["migrate", "--env=production", "up", "--to=5", "--execution-id=e-1"],
			"environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
		}]}
	}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("RunTask (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"RunTask"}, e.Calls()); diff != "" {
		t.Errorf("a starter needs no other right (-want +got):\n%s", diff)
	}
}

// TestRun: the container's exit code and its log arrive.
func TestRun(t *testing.T) {
	for _, code := range []int{0, 3, 78} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			e := start(t, definition(t, fmt.Sprint("exit ", code)))
			e.Lag = 2
			got, err := fargate.Run(t.Context(), e.cfg, aurora.Request{To: "5", ExecutionID: "e-1"})
			if got != code || err != nil {
				t.Errorf("exit code %d, %v", got, err)
			}
			if diff := cmp.Diff("args migrate up --to=5 --execution-id=e-1\non stderr\n", e.out.String()); diff != "" {
				t.Errorf("log (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLog: every line arrives once and in order, over several pages and
// although the log lags behind the task.
func TestLog(t *testing.T) {
	e := start(t, definition(t, "lines 250"))
	// Of two looks behind the task's end only the second sees the last lines.
	e.LogDelay, e.PageSize = 30*time.Millisecond, 40
	e.cfg.Poll = 40 * time.Millisecond
	if code, err := fargate.Run(t.Context(), e.cfg, aurora.Request{ExecutionID: "e"}); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v", code, err)
	}
	want := "args migrate up --execution-id=e\n"
	for i := range 250 {
		want += fmt.Sprintln("line", i)
	}
	if diff := cmp.Diff(want, e.out.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// TestNoLog: a log that cannot be read does not hide how the task ended.
func TestNoLog(t *testing.T) {
	denied := ecstest.Fault{Type: "AccessDeniedException", Message: "User is not authorized to perform: logs:GetLogEvents"}
	for _, tt := range []struct {
		name  string
		with  func(*ecstest.Definition)
		fault string
		says  string
	}{
		{"no driver", func(d *ecstest.Definition) { d.LogGroup = "" }, "", "no log driver awslogs"},
		{"no prefix", func(d *ecstest.Definition) { d.LogPrefix = "" }, "", "needs awslogs-group and awslogs-stream-prefix"},
		{"not allowed", func(*ecstest.Definition) {}, "GetLogEvents", "cannot read the container's log"},
		{"definition", func(*ecstest.Definition) {}, "DescribeTaskDefinition", "cannot read the task definition"},
		{"no task role", func(d *ecstest.Definition) { d.TaskRole = "" }, "", "has no task role"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := definition(t, "exit 3")
			tt.with(&d)
			e := start(t, d)
			if tt.fault != "" {
				e.FailNext(tt.fault, denied)
			}
			if code, err := fargate.Run(t.Context(), e.cfg, aurora.Request{}); code != 3 || err != nil {
				t.Errorf("exit code %d, %v", code, err)
			}
			if n := strings.Count(e.said.String(), tt.says); n != 1 {
				t.Errorf("said %q %d times, want once: %s", tt.says, n, e.said)
			}
		})
	}
}

// TestSameExecution: asked twice, it is one task, which has one end.
func TestSameExecution(t *testing.T) {
	e := start(t, definition(t, "exit 3"))
	req := aurora.Request{ExecutionID: aurora.NewExecutionID()}
	for range 3 {
		if code, err := fargate.Run(t.Context(), e.cfg, req); code != 3 || err != nil {
			t.Errorf("exit code %d, %v", code, err)
		}
	}
	if n := e.Tasks(); n != 1 {
		t.Errorf("%d tasks for one execution", n)
	}
	req.To = "5"
	_, err := fargate.Start(t.Context(), e.cfg, req)
	if want := "start the task: the execution was asked for before, with another request: arn:aws:ecs:"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v\nwant %s…", err, want)
	}
	if err := fargate.Starter(e.cfg)(t.Context(), aurora.Request{}); err != nil || e.Tasks() != 2 {
		t.Errorf("a new execution: %v, %d tasks", err, e.Tasks())
	}
}

// TestRefused: why there is no task, and what to do.
func TestRefused(t *testing.T) {
	fault := func(typ, message string) func(env) {
		return func(e env) { e.FailNext("RunTask", ecstest.Fault{Type: typ, Message: message}) }
	}
	for _, tt := range []struct {
		name     string
		with     func(env)
		cfg      func(*fargate.Config)
		want     string
		hint     string
		capacity bool
	}{
		{name: "failures", with: func(e env) {
			e.RefuseNext("Capacity is unavailable at this time. Please try again later or in a different availability zone")
		},
			want: "no capacity", hint: "subnets in more zones", capacity: true},
		{name: "resources", with: func(e env) { e.RefuseNext("RESOURCE:MEMORY") }, want: "RESOURCE:MEMORY", hint: "again later", capacity: true},
		{name: "capacity", with: fault("ClientException", "Capacity is unavailable at this time."), want: "no capacity", hint: "again later", capacity: true},
		{name: "quota", with: fault("ThrottlingException", "You've reached the limit on the number of vCPUs you can run concurrently"), want: "vCPUs", hint: "quota"},
		{name: "other failure", with: func(e env) { e.RefuseNext("INACTIVE") }, want: "INACTIVE"},
		{name: "pass role", with: fault("AccessDeniedException",
			"User: arn:aws:sts::1:assumed-role/ci is not authorized to perform: iam:PassRole on resource: arn:aws:iam::1:role/task"), want: "iam:PassRole", hint: "allow iam:PassRole"},
		{name: "run task", with: fault("AccessDeniedException",
			"User: x is not authorized to perform: ecs:RunTask on resource: arn:aws:ecs:eu-central-1:1:task-definition/m:1"), want: "ecs:RunTask", hint: "allow ecs:RunTask"},
		{name: "trust", with: fault("ClientException", "ECS was unable to assume the role 'arn:aws:iam::1:role/task' that was provided for this task."),
			want: "unable to assume", hint: "trust ecs-tasks.amazonaws.com"},
		{name: "cluster", with: fault("ClusterNotFoundException", "Cluster not found."), want: "Cluster not found", hint: "region"},
		{name: "definition", cfg: func(c *fargate.Config) { c.TaskDefinition = "other" }, want: "TaskDefinition not found", hint: "region"},
		{name: "container", cfg: func(c *fargate.Config) { c.Container = "app" }, want: "named app is not a container", hint: "which container"},
		{name: "overrides", cfg: func(c *fargate.Config) { c.Env = map[string]string{"X": strings.Repeat("x", 8200)} }, want: "at most 8192", hint: "fewer or shorter"},
		{name: "empty", cfg: func(c *fargate.Config) { c.TaskDefinition = "" }, want: "no task definition"},
		{name: "no subnets", cfg: func(c *fargate.Config) { c.Subnets = nil }, want: "no subnets"},
		{name: "empty subnet", cfg: func(c *fargate.Config) { c.Subnets = fargate.List("a,,b") }, want: "an empty name"},
		{name: "no client", cfg: func(c *fargate.Config) { c.ECS = nil }, want: "no ECS client"},
		{name: "started by", cfg: func(c *fargate.Config) { c.StartedBy = "me & you" }, want: "started-by"},
		{name: "token", cfg: func(c *fargate.Config) { c.ClientToken = strings.Repeat("x", 65) }, want: "client token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := start(t, definition(t, "exit 0"))
			if tt.with != nil {
				tt.with(e)
			}
			if tt.cfg != nil {
				tt.cfg(&e.cfg)
			}
			_, err := fargate.Run(t.Context(), e.cfg, aurora.Request{})
			var refused *fargate.StartError
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want a StartError", err)
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(refused.Hint(), tt.hint) || (tt.hint == "") != (refused.Hint() == "") {
				t.Errorf("got %v; hint %q\nwant %s; hint %q", err, refused.Hint(), tt.want, tt.hint)
			}
			if errors.Is(err, fargate.ErrCapacity) != tt.capacity {
				t.Errorf("ErrCapacity: %v", !tt.capacity)
			}
			if n := e.Tasks(); n != 0 {
				t.Errorf("%d tasks", n)
			}
		})
	}
	t.Run("execution", func(t *testing.T) {
		e := start(t, definition(t, "exit 0"))
		if _, err := fargate.Start(t.Context(), e.cfg, aurora.Request{ExecutionID: "a b"}); err == nil || e.Tasks() != 0 {
			t.Errorf("got %v", err)
		}
	})
}

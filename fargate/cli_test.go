//go:build linux

package fargate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora/cli"
	"github.com/aurora-migrate/aurora/fargate/internal/ecstest"
)

// command is the command line, against the stand-in.
type command struct {
	out, err *buffer
	vars     map[string]string
}

func newCommand(t *testing.T, e *ecstest.Server) *command {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": e.URL, "AWS_REGION": ecstest.Region, "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_PROFILE": "", "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
	} {
		t.Setenv(name, value)
	}
	t.Chdir(t.TempDir())
	return &command{vars: map[string]string{"AURORA_TASK_DEFINITION": "migrations", "AURORA_TASK_SUBNETS": "subnet-1,subnet-2"}}
}

func (c *command) run(ctx context.Context, args ...string) int {
	c.out, c.err = &buffer{}, &buffer{}
	return cli.Run(ctx, append([]string{"task"}, args...), cli.Streams{
		In: strings.NewReader(""), Out: c.out, Err: c.err,
		LookupEnv: func(name string) (string, bool) { v, ok := c.vars[name]; return v, ok },
	}, nil)
}

// TestTaskRun: the command ends with the container's code, and its output is
// the container's.
func TestTaskRun(t *testing.T) {
	e := start(t, definition(t, "exit 3"))
	c := newCommand(t, e.Server)
	code := c.run(t.Context(), "run", "--env", "production", "--to", "5", "--execution-id", "e-1", "down", "2", "--confirm", "shop",
		"--bundle-url", "s3://b/k", "--bundle-sha256", "00ff")
	if want := "args migrate --env=production down --to=5 --confirm=shop --execution-id=e-1 2\non stderr\n"; code != 3 || c.out.String() != want {
		t.Errorf("%d\n%s%s\nwant %s", code, c.out, c.err, want)
	}
	for _, part := range []string{`"subnets":["subnet-1","subnet-2"]`, `{"name":"AURORA_BUNDLE_SHA256","value":"00ff"},{"name":"AURORA_BUNDLE_URL","value":"s3://b/k"},{"name":"MIGRATION_BUNDLE_SHA256","value":"00ff"},{"name":"MIGRATION_BUNDLE_URL","value":"s3://b/k"}`} {
		if !strings.Contains(e.Request("e-1"), part) {
			t.Errorf("RunTask without %s: %s", part, e.Request("e-1"))
		}
	}

	var report struct {
		ExecutionID, Task string
		ExitCode          *int
	}
	if code := c.run(t.Context(), "run", "--detach", "--json"); code != 0 {
		t.Fatalf("--detach: %d %s", code, c.err)
	}
	if err := json.Unmarshal([]byte(c.out.String()), &report); err != nil || report.ExecutionID == "" || report.ExitCode != nil {
		t.Fatalf("%v: %s", err, c.out)
	}
	task := report.Task
	if code := c.run(t.Context(), "wait", "--json", task); code != 3 {
		t.Errorf("wait: %d %s", code, c.err)
	}
	if err := json.Unmarshal([]byte(c.out.String()), &report); err != nil || report.ExitCode == nil || *report.ExitCode != 3 || !strings.Contains(c.err.String(), "on stderr\n") {
		t.Errorf("%v: %s%s", err, c.out, c.err)
	}
}

// untilLooked returns a context that ends when ECS was asked for a task once more.
func untilLooked(t *testing.T, e env) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	before := e.looks()
	go func() {
		defer cancel()
		for e.looks() == before && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
	}()
	return ctx
}

// TestTaskInterrupt: Ctrl-C leaves the task alone and says how to see it again;
// "task stop" ends it.
func TestTaskInterrupt(t *testing.T) {
	e := start(t, definition(t, "checkpoint"))
	c := newCommand(t, e.Server)
	if code := c.run(t.Context(), "run", "--detach"); code != 0 {
		t.Fatal(c.err)
	}
	task := strings.TrimSpace(c.out.String())
	e.await(t, "working")
	ctx := untilLooked(t, e)
	if code := c.run(ctx, "wait", task); code != cli.ExitInterrupted || !strings.Contains(c.err.String(), "aurora task wait "+task) {
		t.Errorf("%d %s", code, c.err)
	}
	if code := c.run(t.Context(), "stop", task, "--reason", "lunch"); code != 0 {
		t.Errorf("%d %s", code, c.err)
	}
	if code := c.run(t.Context(), "wait", task); code != 130 || !strings.HasSuffix(c.out.String(), "working\nsaved\n") || !strings.Contains(c.err.String(), "reason=lunch") {
		t.Errorf("%d %s%s", code, c.out, c.err)
	}
}

// TestTaskEnv: who waits and stops asks where the environment's aws block says,
// and in the region of the task's ARN, as who runs does.
func TestTaskEnv(t *testing.T) {
	e := start(t, definition(t, "checkpoint"))
	c := newCommand(t, e.Server)
	block := fmt.Sprintf("env \"production\" {\n  aws {\n    endpoint = %q\n  }\n}\n", e.URL)
	if err := os.WriteFile("aurora.hcl", []byte(block), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1") // where nobody answers
	if code := c.run(t.Context(), "run", "--env", "production", "--detach"); code != 0 {
		t.Fatal(c.err)
	}
	task := strings.TrimSpace(c.out.String())
	e.await(t, "working")
	t.Setenv("AWS_REGION", "")
	ctx := untilLooked(t, e)
	if code := c.run(ctx, "wait", "--env", "production", task); code != cli.ExitInterrupted || !strings.Contains(c.err.String(), "aurora task stop "+task+" --env production") {
		t.Errorf("%d %s", code, c.err)
	}
	if code := c.run(t.Context(), "stop", "--env", "production", task); code != 0 {
		t.Errorf("%d %s", code, c.err)
	}
	c.vars["AURORA_TASK_ENV"] = "production"
	if code := c.run(t.Context(), "wait", task); code != 130 || !strings.HasSuffix(c.out.String(), "saved\n") {
		t.Errorf("%d %s%s", code, c.out, c.err)
	}
	if code := c.run(t.Context(), "stop", "--env", "none", task); code != 2 || !strings.Contains(c.err.String(), `"none"`) {
		t.Errorf("%d %s", code, c.err)
	}
}

// TestTaskErrors: what is wrong, and what to do; usage has a code of its own.
func TestTaskErrors(t *testing.T) {
	e := start(t, definition(t, "exit 0"))
	c := newCommand(t, e.Server)
	for _, tt := range []struct {
		vars map[string]string
		args []string
		code int
		want string
	}{
		{map[string]string{"AURORA_TASK_DEFINITION": ""}, []string{"run"}, 2, "Error: which task?\nhint: say --task-definition, or set AURORA_TASK_DEFINITION\n"},
		{map[string]string{"AURORA_TASK_SUBNETS": ""}, []string{"run"}, 2, "Error: in which subnets?\nhint: say --subnets"},
		{map[string]string{"AURORA_TASK_PUBLIC_IP": "x"}, []string{"run"}, 2, "AURORA_TASK_PUBLIC_IP"},
		{nil, []string{"run", "left"}, 2, `what is "left"? want up or down`},
		{nil, []string{"run", "up", "none"}, 2, "the number of migrations"},
		{nil, []string{"run", "--all"}, 2, "--all and --confirm are for down"},
		{nil, []string{"run", "--bundle-url", "s3://b/k"}, 2, "go together"},
		{nil, []string{"run", "--task-definition", "other"}, 1, "TaskDefinition not found.\nhint: check the task definition's name, and the region\n"},
		{nil, []string{"run", "--container", "app"}, 1, "hint: say which container"},
		{nil, []string{"wait"}, 2, "accepts 1 arg"},
	} {
		before := c.vars
		c.vars = map[string]string{}
		for name, v := range before {
			c.vars[name] = v
		}
		for name, v := range tt.vars {
			c.vars[name] = v
		}
		if code := c.run(t.Context(), tt.args...); code != tt.code || !strings.Contains(c.err.String(), tt.want) {
			t.Errorf("%v: %d %s\nwant %d %s", tt.args, code, c.err, tt.code, tt.want)
		}
		c.vars = before
	}
	if n := e.Tasks(); n != 0 {
		t.Errorf("%d tasks", n)
	}
}

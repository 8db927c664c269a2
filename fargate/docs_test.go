//go:build linux

package fargate_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/cli"
	"github.com/aurora-migrate/aurora/fargate"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block is the only fenced block of a page that begins with an info string.
func block(t *testing.T, page, info string) string {
	t.Helper()
	parts := strings.Split(read(t, page), "\n```"+info+"\n")
	if len(parts) != 2 {
		t.Fatalf("%s: %d blocks %q", page, len(parts)-1, info)
	}
	text, _, _ := strings.Cut(parts[1], "\n```")
	return text
}

// unique are the different matches of an expression.
func unique(text, expr string) []string {
	found := regexp.MustCompile(expr).FindAllString(text, -1)
	slices.Sort(found)
	return slices.Compact(found)
}

const page = "../docs/fargate.md"

// TestPagePolicies: the page shows the policies that the functions return.
func TestPagePolicies(t *testing.T) {
	family := target
	family.TaskDefinition = "arn:aws:ecs:eu-central-1:123456789012:task-definition/migrations"
	family.LogGroup = "arn:aws:logs:eu-central-1:123456789012:log-group:/ecs/migrations"
	for name, policy := range map[string]func() (fargate.Policy, error){
		"task": func() (fargate.Policy, error) {
			return fargate.TaskPolicy("arn:aws:s3:::deploys/shop/bundles/bundle-" + strings.Repeat("1", 64))
		},
		"dispatch": func() (fargate.Policy, error) { return fargate.DispatchPolicy(family) },
		"follow":   func() (fargate.Policy, error) { return fargate.FollowPolicy(family) },
	} {
		want, err := policy()
		if err != nil {
			t.Fatal(err)
		}
		var got fargate.Policy
		if err := json.Unmarshal([]byte(block(t, page, "json policy="+name)), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-function +page):\n%s", name, diff)
		}
	}
}

// TestPageDefinitions: ECS knows every word of the task definitions, and Wait
// finds in the one on this page what it looks for.
func TestPageDefinitions(t *testing.T) {
	for _, p := range []string{page, "../docs/init-container.md"} {
		var d ecs.RegisterTaskDefinitionInput
		in := json.NewDecoder(strings.NewReader(block(t, p, "json definition")))
		in.DisallowUnknownFields()
		if err := in.Decode(&d); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		for _, c := range d.ContainerDefinitions {
			if s := aws.ToInt32(c.StopTimeout); s > 120 {
				t.Errorf("%s: %s: stopTimeout %d", p, *c.Name, s)
			}
		}
		if p != page {
			continue
		}
		c := d.ContainerDefinitions[0]
		if *c.Name != fargate.DefaultContainer || c.LogConfiguration.LogDriver != "awslogs" || c.LogConfiguration.Options["awslogs-stream-prefix"] == "" || d.TaskRoleArn == nil {
			t.Errorf("%+v", c)
		}
	}
}

// TestPageCodes: the table has the runner's exit codes.
func TestPageCodes(t *testing.T) {
	want := []string{"143"} // SIGTERM
	for _, m := range regexp.MustCompile(`(?m)^\texit\w+ += (\d+)$`).FindAllStringSubmatch(read(t, "../cmd/aurora-runner/main.go"), -1) {
		want = append(want, m[1])
	}
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(read(t, page), -1) {
		got = append(got, m[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("exit codes (-runner +page):\n%s", diff)
	}
}

// TestPageWords: the page names the variables that are read, and only flags that
// there are.
func TestPageWords(t *testing.T) {
	text := read(t, page)
	if diff := cmp.Diff(unique(read(t, "env.go"), `AURORA_TASK_[A-Z_]+`), unique(text, `AURORA_TASK_[A-Z_]+`)); diff != "" {
		t.Errorf("variables (-read +page):\n%s", diff)
	}
	var help buffer
	for _, command := range [][]string{{"task", "run"}, {"task", "wait"}, {"task", "stop"}, {"bundle"}} {
		if code := cli.Run(t.Context(), append(command, "--help"), cli.Streams{Out: &help, Err: &help}, nil); code != 0 {
			t.Fatalf("%v: %s", command, &help)
		}
	}
	for _, flag := range unique(text, `--[a-z0-9]+(-[a-z0-9]+)*`) {
		// Those of aws and of the migrate commands.
		if strings.Contains("--cli-input-json --cluster-name", flag) {
			continue
		}
		if !strings.Contains(help.String(), flag+" ") {
			t.Errorf("no command of the page has %s", flag)
		}
	}
}

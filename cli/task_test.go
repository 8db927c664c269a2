//go:build !aurora_bundle

package cli

import (
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"github.com/aurora-migrate/aurora/fargate"
)

// TestTaskRegion: a task is asked for where it is, whatever the environment
// says; a new one runs where that says.
func TestTaskRegion(t *testing.T) {
	for name, value := range map[string]string{
		awsProfile: "", "AWS_DEFAULT_REGION": "", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	const task = "arn:aws:ecs:eu-west-1:123456789012:task/jobs/5f0e"
	for _, tt := range []struct{ region, task, want string }{
		{"", task, "eu-west-1"},
		{"us-east-1", task, "eu-west-1"},
		{"us-east-1", "", "us-east-1"},
		{"us-east-1", "5f0e", "us-east-1"},
		{"", "5f0e", ""},
		{"", "", ""},
	} {
		t.Setenv(awsRegion, tt.region)
		var cfg fargate.Config
		err := connectTask(t.Context(), &cfg, tt.task)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%+v: no error", tt)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		client, logs := cfg.ECS.(*ecs.Client), cfg.Logs.(*cloudwatchlogs.Client)
		if got := client.Options().Region; got != tt.want || logs.Options().Region != tt.want {
			t.Errorf("%+v: ECS in %s, logs in %s", tt, got, logs.Options().Region)
		}
	}
}

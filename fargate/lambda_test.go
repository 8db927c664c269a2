//go:build linux

package fargate_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora/fargate"
	"github.com/aurora-migrate/aurora/fargate/internal/ecstest"
	"github.com/aurora-migrate/aurora/locallambda"
)

// TestDispatcherFunction: the program aurora-dispatch as a Lambda function. An
// event is one task, however often it is delivered.
func TestDispatcherFunction(t *testing.T) {
	e := start(t, definition(t, "exit 3"))
	program := filepath.Join(t.TempDir(), "bootstrap")
	ecstest.Build(t, program, "../cmd/aurora-dispatch")
	lambda, err := locallambda.Start(locallambda.Config{
		Command: []string{program}, Timeout: 5 * time.Minute, Deliveries: 2, Retries: []time.Duration{10 * time.Millisecond},
		Env: []string{
			"AWS_ENDPOINT_URL=" + e.URL, "AWS_REGION=" + ecstest.Region, "AWS_ACCESS_KEY_ID=AKID", "AWS_SECRET_ACCESS_KEY=secret",
			"AWS_CONFIG_FILE=/nonexistent", "AWS_SHARED_CREDENTIALS_FILE=/nonexistent",
			"AURORA_TASK_DEFINITION=migrations", "AURORA_TASK_SUBNETS=subnet-1", "AURORA_TASK_ENV=production",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer lambda.Close() //nolint:errcheck // It was only a test's.

	result, err := lambda.Invoke(t.Context(), []byte(`{"target": "5", "executionId": "e-1"}`))
	if err != nil || result.FunctionError != "" {
		t.Fatalf("%s %s, %v", result.FunctionError, result.Payload, err)
	}
	var answer fargate.Dispatched
	if err := json.Unmarshal(result.Payload, &answer); err != nil || answer.ExecutionID != "e-1" {
		t.Fatalf("%s, %v", result.Payload, err)
	}
	if code, err := fargate.Wait(t.Context(), e.cfg, answer.Task); code != 3 || err != nil || !strings.HasPrefix(e.out.String(), "args migrate --env=production up --to=5 --execution-id=e-1\n") {
		t.Errorf("%d, %v: %s", code, err, e.out)
	}

	// Refused by ECS, and with what to do.
	result, err = lambda.Invoke(t.Context(), []byte(`{"direction": "sideways"}`))
	if err != nil || result.FunctionError == "" || !strings.Contains(string(result.Payload), "want up or down") {
		t.Errorf("%s %s, %v", result.FunctionError, result.Payload, err)
	}

	// One delivery fails, and Lambda tries again; the other one succeeds.
	e.FailNext("RunTask", ecstest.Fault{Type: "ClientException", Message: "Capacity is unavailable at this time."})
	lambda.Send([]byte(`{}`))
	if err := lambda.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	deliveries := 0
	for _, i := range lambda.Invocations() {
		if i.Async {
			deliveries++
		}
	}
	if n := e.Tasks(); n != 2 || deliveries < 3 {
		t.Errorf("%d tasks after two events, of which the second was delivered %d times", n, deliveries)
	}
}

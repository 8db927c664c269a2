package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/lambdacontext"
)

// TestHandler: variables and an event make one call of one action; the same
// event again, one call with the same token.
func TestHandler(t *testing.T) {
	var calls []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		calls = append(calls, r.Header.Get("X-Amz-Target")+" "+string(body))
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = io.WriteString(w, `{"tasks": [{"taskArn": "arn:aws:ecs:eu-central-1:123456789012:task/jobs/1"}], "failures": []}`)
	}))
	defer server.Close()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
		"AURORA_TASK_DEFINITION": "migrations", "AURORA_TASK_SUBNETS": "subnet-1", "AURORA_TASK_ENV": "production",
		"MIGRATION_BUNDLE_URL": "s3://deploys/bundles/bundle-1", "MIGRATION_BUNDLE_SHA256": "00ff",
	} {
		t.Setenv(name, value)
	}
	handle, err := handler(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "request-1"})
	for range 2 {
		got, err := handle(ctx, json.RawMessage(`{"direction": "down", "target": "3"}`))
		if err != nil || got.ExecutionID != "request-1" || !strings.HasSuffix(got.Task, ":task/jobs/1") {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if len(calls) != 2 || calls[0] != calls[1] {
		t.Fatalf("calls: %q", calls)
	}
	for _, part := range []string{
		"AmazonEC2ContainerServiceV20141113.RunTask ", `"clientToken":"request-1"`,
		`"command":["migrate","--env=production","down","--to=3","--execution-id=request-1"]`,
		`{"name":"MIGRATION_BUNDLE_SHA256","value":"00ff"},{"name":"MIGRATION_BUNDLE_URL","value":"s3://deploys/bundles/bundle-1"}`,
	} {
		if !strings.Contains(calls[0], part) {
			t.Errorf("no %s in %s", part, calls[0])
		}
	}
	if got, err := handle(context.Background(), json.RawMessage(`{}`)); err != nil || len(got.ExecutionID) != 36 {
		t.Errorf("without Lambda's context: %+v, %v", got, err)
	}
	t.Setenv("AURORA_TASK_PUBLIC_IP", "maybe")
	if _, err := handler(t.Context()); err == nil {
		t.Error("a wrong variable was accepted")
	}
}

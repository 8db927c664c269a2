//go:build !aurora_bundle

package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora/locallambda"
)

// A request through a function URL or API Gateway, and its answer.
type urlRequest struct {
	method, path, body, authorizer string
	headers                        map[string]string
}

type urlAnswer struct {
	StatusCode int
	Headers    map[string]string
	Body       string
}

func send(t *testing.T, s *locallambda.Server, r urlRequest) urlAnswer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	path, query, _ := strings.Cut(r.path, "?")
	headers := map[string]string{"host": "abc.lambda-url.eu-central-1.on.aws", "content-type": "application/json"}
	for k, v := range r.headers {
		headers[k] = v
	}
	event := map[string]any{
		"version": "2.0", "rawPath": path, "rawQueryString": query, "headers": headers, "body": r.body,
		"requestContext": map[string]any{
			"stage": "$default", "domainName": "abc.lambda-url.eu-central-1.on.aws",
			"http": map[string]string{"method": r.method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "198.51.100.1"},
		},
	}
	if r.authorizer != "" {
		event["requestContext"].(map[string]any)["authorizer"] = json.RawMessage(r.authorizer)
	}
	payload, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Invoke(ctx, payload)
	if err != nil || res.FunctionError != "" {
		t.Fatalf("%s: %v, %s %s", r.path, err, res.FunctionError, res.Payload)
	}
	var a urlAnswer
	if err := json.Unmarshal(res.Payload, &a); err != nil {
		t.Fatalf("%s: %v", res.Payload, err)
	}
	return a
}

// buildDashboard builds the program. What it returns starts it as a function.
func buildDashboard(t *testing.T) func(env ...string) *locallambda.Server {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "aurora")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/aurora").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return func(env ...string) *locallambda.Server {
		s, err := locallambda.Start(locallambda.Config{Command: []string{binary, "dashboard"}, Name: "dashboard", Env: env, Timeout: 5 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil && !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
		return s
	}
}

// Two functions: one shows, and has the other one migrate.
func TestDashboardInLambda(t *testing.T) {
	f := newFunction(t)
	env := []string{"AURORA_FUNCTION_NAME=migrate", "AWS_ENDPOINT_URL_LAMBDA=" + f.server.URL(), "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b"}
	for _, e := range f.env {
		if table, ok := strings.CutPrefix(e, "TABLE="); ok {
			e = "AURORA_TABLE=" + table
		}
		env = append(env, e)
	}
	start := buildDashboard(t)
	s := start(env...)
	const iam = `{"iam":{"userArn":"arn:aws:sts::1:assumed-role/ops/ada"}}`
	for _, r := range []urlRequest{
		{method: "GET", path: "/api/migrations"},
		{method: "POST", path: "/api/up", body: "{}"},
		{method: "GET", path: "/api/migrations", headers: map[string]string{"authorization": "Bearer x", "x-amzn-oidc-identity": "ada"}},
	} {
		if a := send(t, s, r); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("an open function URL: %s: %+v", r.path, a)
		}
	}
	a := send(t, s, urlRequest{method: "GET", path: "/", authorizer: iam})
	if a.StatusCode != http.StatusOK || !strings.Contains(a.Body, "<title>aurora") {
		t.Errorf("the page: %+v", a)
	}
	a = send(t, s, urlRequest{method: "GET", path: "/api/session", authorizer: iam})
	var session struct {
		User, Events, CSRF  string
		ReadOnly, Protected bool
	}
	if err := json.Unmarshal([]byte(a.Body), &session); err != nil || session.User != "arn:aws:sts::1:assumed-role/ops/ada" || session.Events != "poll" || session.ReadOnly || !session.Protected {
		t.Fatalf("%+v", a)
	}
	a = send(t, s, urlRequest{method: "POST", path: "/api/up", body: `{"reason":"release 7"}`, authorizer: iam, headers: map[string]string{"x-aurora-csrf": session.CSRF}})
	if a.StatusCode != http.StatusAccepted {
		t.Fatalf("up: %+v", a)
	}
	var execution struct{ ExecutionID string }
	if err := json.Unmarshal([]byte(a.Body), &execution); err != nil {
		t.Fatal(err)
	}
	for {
		a = send(t, s, urlRequest{method: "GET", path: "/api/executions/" + execution.ExecutionID, authorizer: iam})
		if strings.Contains(a.Body, `"state":"completed"`) {
			break
		}
		if a.StatusCode != http.StatusNotFound && a.StatusCode != http.StatusOK {
			t.Fatalf("%+v", a)
		}
		select {
		case <-t.Context().Done():
			t.Fatal("it did not run")
		case <-time.After(50 * time.Millisecond):
		}
	}
	if !strings.Contains(a.Body, `"reason":"release 7"`) || !strings.Contains(a.Body, "assumed-role/ops/ada") {
		t.Errorf("who and why: %s", a.Body)
	}
	for {
		// What was read may be shown for a second.
		a = send(t, s, urlRequest{method: "GET", path: "/api/events", authorizer: iam})
		if a.StatusCode != http.StatusOK || a.Headers["Etag"] == "" {
			t.Fatalf("polling: %+v", a)
		}
		if strings.Contains(a.Body, `"completed":1`) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	// The lease is given back last.
	for a.StatusCode != http.StatusNotModified {
		a = send(t, s, urlRequest{method: "GET", path: "/api/events", authorizer: iam, headers: map[string]string{"if-none-match": a.Headers["Etag"]}})
		if a.StatusCode != http.StatusNotModified && a.StatusCode != http.StatusOK {
			t.Fatalf("polling again: %+v", a)
		}
	}

	viewer := start(append(env, "AURORA_FUNCTION_NAME=", "AURORA_DASHBOARD_TOKEN=0123456789-0123456789")...)
	a = send(t, viewer, urlRequest{method: "POST", path: "/api/rollback", body: "{}", headers: map[string]string{"authorization": "Bearer 0123456789-0123456789"}})
	if a.StatusCode != http.StatusConflict || !strings.Contains(a.Body, `"read_only"`) || !strings.Contains(a.Body, "AURORA_FUNCTION_NAME") {
		t.Errorf("without a function: %s", fmt.Sprint(a))
	}
}

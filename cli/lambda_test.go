package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora/cli"
	"github.com/aurora-migrate/aurora/dynamo"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
	"github.com/aurora-migrate/aurora/locallambda"
)

func TestMain(m *testing.M) { dynamotest.Main(m) }

// buildLambda builds the program of testdata/lambda as a bundle is built.
var buildLambda = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "aurora-lambda")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "bootstrap")
	out, err := exec.Command("go", "build", "-tags", "lambda.norpc,aurora_bundle", "-trimpath", "-ldflags=-s -w", "-o", path, "./testdata/lambda").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// A function is that program as a Lambda function, with a table of its own.
type function struct {
	binary string
	env    []string
	server *locallambda.Server
	// reads is sent to at every request to the table.
	reads chan time.Time
}

func newFunction(t testing.TB) *function {
	t.Helper()
	binary, err := buildLambda()
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(dynamotest.Endpoint(t))
	if err != nil {
		t.Fatal(err)
	}
	f := &function{binary: binary, reads: make(chan time.Time, 1000)}
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.reads <- time.Now()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	table := dynamotest.Table(t)
	store, err := dynamo.Open(t.Context(), dynamo.Config{Table: table, Client: dynamotest.Client(target.String())})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.env = []string{"TABLE=" + table, "AWS_ENDPOINT_URL_DYNAMODB=" + front.URL}
	f.start(t)
	return f
}

// start starts the function anew: its next invocation is a cold one.
func (f *function) start(t testing.TB) {
	t.Helper()
	var err error
	f.server, err = locallambda.Start(locallambda.Config{Command: []string{f.binary}, Name: "migrate", Env: f.env, Timeout: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.server.Close(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

func (f *function) invoke(t testing.TB, event string) (map[string]any, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	res, err := f.server.Invoke(ctx, []byte(event))
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(res.Payload, &answer); err != nil {
		t.Fatalf("%s: %v", res.Payload, err)
	}
	return answer, res.FunctionError
}

// The same file is the function and the command line, on one history.
func TestLambda(t *testing.T) {
	f := newFunction(t)
	if got, failed := f.invoke(t, `{"command":"plan"}`); failed != "" || fmt.Sprint(got["items"]) != "[map[id:20250601120000_add-user-roles steps:[up]]]" {
		t.Errorf("plan: %v %v", failed, got)
	}
	if got, failed := f.invoke(t, `{"direction":"up"}`); failed != "" || got["state"] != "completed" {
		t.Errorf("up: %v %v", failed, got)
	}
	cmd := exec.Command(f.binary, "migrate", "status")
	cmd.Env = append(os.Environ(), append(f.env, "AURORA_ENV=prod", "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b")...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "20250601120000") {
		t.Errorf("the command line: %v\n%s", err, out)
	}
	if got, failed := f.invoke(t, `{"command":"status"}`); failed != "" || got["ready"] != true || got["current"] != "20250601120000" {
		t.Errorf("status: %v %v", failed, got)
	}
	if got, failed := f.invoke(t, `{"direction":"down","all":true}`); failed != "Unhandled" || !strings.Contains(fmt.Sprint(got["errorMessage"]), `add "confirm": "prod"`) {
		t.Errorf("everything down: %v %v", failed, got)
	}
	if got, failed := f.invoke(t, `{"direction":"down","all":true,"confirm":"prod"}`); failed != "" || got["state"] != "completed" || got["direction"] != "down" {
		t.Errorf("everything down, confirmed: %v %v", failed, got)
	}
	if got, failed := f.invoke(t, `{}`); failed != "" || got["state"] != "completed" {
		t.Errorf("up again: %v %v", failed, got)
	}
	if got, failed := f.invoke(t, `{"direction":"down"}`); failed != "" || got["state"] != "completed" || got["direction"] != "down" {
		t.Errorf("down: %v %v", failed, got)
	}
	if got, failed := f.invoke(t, `{"target":"nothing"}`); failed != "Unhandled" || got["errorType"] != "RequestError" {
		t.Errorf("an unknown target: %v %v", failed, got)
	}
	if got, failed := f.invoke(t, `{"up":true}`); failed != "Unhandled" || got["errorType"] != "EventError" {
		t.Errorf("a bad event: %v %v", failed, got)
	}
}

// An empty variable is none: the program is the command line.
func TestLambdaVariableIsEmpty(t *testing.T) {
	binary, err := buildLambda()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary)
	cmd.Env = append(os.Environ(), "AWS_LAMBDA_RUNTIME_API=")
	cmd.Dir = t.TempDir()
	if out, err := cmd.CombinedOutput(); !strings.Contains(string(out), "migrate") || strings.Contains(string(out), "AWS_LAMBDA") {
		t.Errorf("%v\n%s", err, out)
	}
}

// What is wrong with the function's settings is the answer to every event, or
// ends the process at once.
func TestLambdaSettings(t *testing.T) {
	for variable, want := range map[string]string{
		"AURORA_ENV=other":              `env "other" is not defined`,
		"TABLE=x":                       "names no table",
		"AURORA_LAMBDA_MARGIN=soon":     "exit status 2",
		"AURORA_LAMBDA_MAX_HOPS=-1":     "exit status 2",
		"AWS_LAMBDA_LOG_LEVEL=whatever": "exit status 2",
	} {
		t.Run(variable, func(t *testing.T) {
			f := newFunction(t)
			f.env = append(f.env, variable)
			f.start(t)
			got, failed := f.invoke(t, `{}`)
			if failed == "" || !strings.Contains(fmt.Sprint(got["errorMessage"]), want) {
				t.Errorf("got %v, want %q", got, want)
			}
		})
	}
}

// For people: the same function, invoked as anything that speaks HTTP can.
func TestLambdaLocal(t *testing.T) {
	f := newFunction(t)
	for _, v := range f.env {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	code := make(chan int)
	go func() {
		args := []string{"lambda", "local", "--port", "0", "--timeout", "5m", "--log-level", "error", "--", f.binary}
		code <- cli.Run(ctx, args, cli.Streams{In: strings.NewReader(""), Out: in, Err: io.Discard})
		_ = in.Close()
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("it ended with %d", <-code)
	}
	base := lines.Text()
	go func() {
		for lines.Scan() { // so that nobody waits for a reader
		}
	}()
	resp, err := http.Post(base+"/2015-03-31/functions/function/invocations", "application/json", strings.NewReader(`{"command":"status"}`))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || !strings.Contains(string(body), `"pending":["20250601120000_add-user-roles"]`) {
		t.Errorf("%s %v", body, err)
	}
	cancel()
	if got := <-code; got != cli.ExitDone {
		t.Errorf("exit code %d", got)
	}
	for args, want := range map[string]string{
		"lambda local":                                  "which program?",
		"lambda local --kill 101 -- " + f.binary:        "want 0 to 100 percent",
		"lambda local --port 0 -- /does/not/exist":      "the program: ",
		"lambda local --name a/b --port 0 -- /bin/true": "is no name for a function",
	} {
		var out bytes.Buffer
		if got := cli.Run(t.Context(), strings.Fields(args), cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out}); got != cli.ExitUsage || !strings.Contains(out.String(), want) {
			t.Errorf("aurora %s: exit code %d, %s", args, got, out.String())
		}
	}
}

// How long after the start of the process the history is first read.
func BenchmarkLambdaColdStart(b *testing.B) {
	f := newFunction(b)
	f.invoke(b, `{"command":"list"}`) // read the program from the disk once
	var sum, most time.Duration
	for b.Loop() {
		if err := f.server.Close(); err != nil {
			b.Fatal(err)
		}
		for len(f.reads) > 0 {
			<-f.reads
		}
		f.start(b)
		began := time.Now()
		f.invoke(b, `{}`)
		took := (<-f.reads).Sub(began)
		sum += took
		most = max(most, took)
	}
	b.ReportMetric(float64(sum.Microseconds())/1000/float64(b.N), "ms/first-read")
	b.ReportMetric(float64(most.Microseconds())/1000, "ms/slowest")
}

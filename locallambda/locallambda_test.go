package locallambda_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/aurora-migrate/aurora/locallambda"
)

// The program that runs is this test binary with the official runtime client.
func TestMain(m *testing.M) {
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" {
		if os.Getenv("DIE_AT_INIT") != "" {
			os.Exit(4)
		}
		if os.Getenv("SIGTERM") != "" {
			lambda.StartWithOptions(handle, lambda.WithEnableSIGTERM(func() { fmt.Fprintln(os.Stderr, "told to end") }))
		}
		lambda.Start(handle)
	}
	os.Exit(m.Run())
}

// A lockedBuffer is read while processes write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type event struct {
	Do   string `json:"do"`
	Left int    `json:"left,omitempty"`
	Text string `json:"text,omitempty"`
}

type answer struct {
	PID        int    `json:"pid"`
	RequestID  string `json:"requestId"`
	ARN        string `json:"arn"`
	LeftMillis int64  `json:"leftMillis"`
	Function   string `json:"function"`
	Text       string `json:"text"`
}

func handle(ctx context.Context, e event) (answer, error) {
	switch e.Do {
	case "sleep":
		fmt.Fprintln(os.Stderr, "asleep")
		time.Sleep(time.Hour)
	case "panic":
		panic("oh")
	case "exit":
		os.Exit(3)
	case "error":
		return answer{}, errors.New("no")
	case "self":
		if e.Left > 0 {
			cfg, err := config.LoadDefaultConfig(ctx)
			if err != nil {
				return answer{}, err
			}
			e.Left--
			payload, err := json.Marshal(e)
			if err != nil {
				return answer{}, err
			}
			_, err = awslambda.NewFromConfig(cfg).Invoke(ctx, &awslambda.InvokeInput{
				FunctionName: aws.String(os.Getenv("AWS_LAMBDA_FUNCTION_NAME")), InvocationType: types.InvocationTypeEvent, Payload: payload,
			})
			if err != nil {
				return answer{}, err
			}
		}
	}
	lc, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	return answer{
		PID: os.Getpid(), RequestID: lc.AwsRequestID, ARN: lc.InvokedFunctionArn, LeftMillis: time.Until(deadline).Milliseconds(),
		Function: lambdacontext.FunctionName + ":" + lambdacontext.FunctionVersion, Text: e.Text,
	}, nil
}

func start(t *testing.T, cfg locallambda.Config) *locallambda.Server {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Command = []string{self}
	if cfg.Retries == nil {
		cfg.Retries = []time.Duration{time.Millisecond, 2 * time.Millisecond}
	}
	s, err := locallambda.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func invoke(t *testing.T, s *locallambda.Server, payload string) (answer, locallambda.Result) {
	t.Helper()
	res, err := s.Invoke(t.Context(), []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(res.Payload, &a); err != nil {
		t.Fatalf("%s: %v", res.Payload, err)
	}
	return a, res
}

func wait(t *testing.T, s *locallambda.Server) []locallambda.Invocation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := s.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return s.Invocations()
}

// client is the official one.
func client(s *locallambda.Server) *awslambda.Client {
	return awslambda.New(awslambda.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.URL()), Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""), RetryMaxAttempts: 1,
	})
}

func TestInvoke(t *testing.T) {
	s := start(t, locallambda.Config{Name: "migrate", Timeout: time.Hour})
	first, res := invoke(t, s, `{"text":"ä"}`)
	if res.FunctionError != "" || first.Text != "ä" || first.Function != "migrate:$LATEST" || first.RequestID == "" ||
		first.ARN != s.ARN() || first.LeftMillis < 30*60_000 || first.LeftMillis > 60*60_000 {
		t.Errorf("%+v %+v", first, res)
	}
	second, _ := invoke(t, s, `{}`)
	if second.PID != first.PID || second.RequestID == first.RequestID {
		t.Errorf("the second invocation: %+v after %+v", second, first)
	}
	got := s.Invocations()
	if len(got) != 2 || !got[0].Cold || got[1].Cold {
		t.Errorf("%+v", got)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	s := start(t, locallambda.Config{Timeout: 5 * time.Second})
	for do, want := range map[string]string{
		"error": `"errorMessage":"no"`, "panic": `"errorMessage":"oh"`, "exit": "Runtime exited with error: exit status 3", "sleep": "Task timed out after 5.00 seconds",
	} {
		_, res := invoke(t, s, fmt.Sprintf(`{"do":%q}`, do))
		if res.FunctionError != "Unhandled" || !strings.Contains(string(res.Payload), want) {
			t.Errorf("%s: %s %s", do, res.FunctionError, res.Payload)
		}
		// Whatever happened, the next one is fine.
		if _, res := invoke(t, s, `{}`); res.FunctionError != "" {
			t.Errorf("after %s: %s", do, res.Payload)
		}
	}
	s.Kill()
	if _, res := invoke(t, s, `{}`); res.FunctionError != "" {
		t.Errorf("after Kill: %s", res.Payload)
	}
}

func TestDiesAtInit(t *testing.T) {
	s := start(t, locallambda.Config{Env: []string{"DIE_AT_INIT=1"}})
	if _, res := invoke(t, s, `{}`); !strings.Contains(string(res.Payload), "exit status 4") {
		t.Errorf("%s", res.Payload)
	}
}

func TestSIGTERM(t *testing.T) {
	// It has only half a second from the signal to its end.
	for try := 1; ; try++ {
		var out bytes.Buffer
		s := start(t, locallambda.Config{Timeout: 200 * time.Millisecond, Env: []string{"SIGTERM=1"}, Output: &out})
		invoke(t, s, `{"do":"sleep"}`)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "told to end") {
			return
		}
		if try == 20 {
			t.Fatalf("the program wrote %q", out.String())
		}
	}
}

func TestRetries(t *testing.T) {
	s := start(t, locallambda.Config{Timeout: 5 * time.Minute})
	s.Send([]byte(`{"do":"error"}`))
	got := wait(t, s)
	if len(got) != 3 || got[0].RequestID != got[2].RequestID || got[2].Attempt != 3 || !got[0].Async {
		t.Errorf("%+v", got)
	}
	s.Send([]byte(`{}`))
	if got := wait(t, s); len(got) != 4 {
		t.Errorf("%d invocations, want 4", len(got))
	}
}

func TestNoRetries(t *testing.T) {
	s := start(t, locallambda.Config{Timeout: 5 * time.Minute, Retries: []time.Duration{}})
	s.Send([]byte(`{"do":"error"}`))
	if got := wait(t, s); len(got) != 1 {
		t.Errorf("%d invocations, want 1", len(got))
	}
}

func TestDeliveries(t *testing.T) {
	s := start(t, locallambda.Config{Timeout: 5 * time.Minute, Deliveries: 3, Gap: time.Millisecond})
	s.Send([]byte(`{}`))
	got := wait(t, s)
	copies := []int{}
	for _, inv := range got {
		copies = append(copies, inv.Copy)
		if inv.RequestID != got[0].RequestID {
			t.Error("a copy has a request ID of its own")
		}
	}
	slices.Sort(copies)
	if !slices.Equal(copies, []int{1, 2, 3}) {
		t.Errorf("copies %v", copies)
	}
}

func TestKill(t *testing.T) {
	s := start(t, locallambda.Config{Timeout: 5 * time.Minute, Kill: func(inv locallambda.Invocation) time.Duration {
		if inv.Attempt == 1 {
			return 20 * time.Millisecond
		}
		return 0
	}})
	s.Send([]byte(`{"do":"sleep"}`))
	deadline := time.Now().Add(5 * time.Minute)
	for len(s.Invocations()) == 0 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if got := s.Invocations(); len(got) == 0 || !got[0].Killed || !strings.Contains(string(got[0].Result.Payload), "signal: killed") {
		t.Errorf("%+v", got)
	}
}

func TestConcurrency(t *testing.T) {
	var out lockedBuffer
	s := start(t, locallambda.Config{Concurrency: 1, Timeout: 5 * time.Minute, Retries: []time.Duration{}, Output: &out})
	s.Send([]byte(`{"do":"sleep"}`))
	for {
		// Until the event has the only place.
		_, err := client(s).Invoke(t.Context(), &awslambda.InvokeInput{FunctionName: aws.String("function")})
		var throttled *types.TooManyRequestsException
		if errors.As(err, &throttled) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(s.Invocations(), func(inv locallambda.Invocation) bool { return inv.TimedOut }) {
			t.Fatal("nobody was throttled while the event had the only place")
		}
	}
	// Events wait instead.
	s.Send([]byte(`{}`))
	for deadline := time.Now().Add(5 * time.Minute); !strings.Contains(out.String(), "asleep"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the program wrote %q", out.String())
		}
	}
	s.Kill()
	got := wait(t, s)
	if last := got[len(got)-1]; last.Result.FunctionError != "" {
		t.Errorf("%+v", last)
	}
}

// The official client understands every answer.
func TestAPI(t *testing.T) {
	var throttle atomic.Bool
	s := start(t, locallambda.Config{Name: "migrate", Aliases: []string{"live"}, Throttle: throttle.Load, Timeout: 5 * time.Minute})
	c := client(s)
	out, err := c.Invoke(t.Context(), &awslambda.InvokeInput{FunctionName: aws.String("migrate:live"), Payload: []byte(`{"text":"x"}`)})
	if err != nil || out.StatusCode != 200 || out.FunctionError != nil || !strings.Contains(string(out.Payload), s.ARN()+":live") || *out.ExecutedVersion != "$LATEST" {
		t.Errorf("%v %+v", err, out)
	}
	if out, err = c.Invoke(t.Context(), &awslambda.InvokeInput{FunctionName: aws.String(s.ARN()), Payload: []byte(`{"do":"error"}`)}); err != nil || *out.FunctionError != "Unhandled" {
		t.Errorf("%v %+v", err, out)
	}
	if out, err = c.Invoke(t.Context(), &awslambda.InvokeInput{FunctionName: aws.String("migrate"), Qualifier: aws.String("live"), InvocationType: types.InvocationTypeDryRun}); err != nil || out.StatusCode != 204 {
		t.Errorf("%v %+v", err, out)
	}
	if out, err = c.Invoke(t.Context(), &awslambda.InvokeInput{FunctionName: aws.String("migrate"), InvocationType: types.InvocationTypeEvent}); err != nil || out.StatusCode != 202 {
		t.Errorf("%v %+v", err, out)
	}
	wait(t, s)
	for name, tt := range map[string]struct {
		in   awslambda.InvokeInput
		want error
	}{
		"other":   {awslambda.InvokeInput{FunctionName: aws.String("other")}, new(types.ResourceNotFoundException)},
		"alias":   {awslambda.InvokeInput{FunctionName: aws.String("migrate:dev")}, new(types.ResourceNotFoundException)},
		"no JSON": {awslambda.InvokeInput{FunctionName: aws.String("migrate"), Payload: []byte(`{`)}, new(types.InvalidRequestContentException)},
		"async limit": {awslambda.InvokeInput{
			FunctionName: aws.String("migrate"), InvocationType: types.InvocationTypeEvent, Payload: []byte(`"` + strings.Repeat("x", locallambda.AsyncLimit) + `"`),
		}, new(types.RequestTooLargeException)},
	} {
		_, err := c.Invoke(t.Context(), &tt.in)
		if err == nil || fmt.Sprintf("%T", tt.want) != fmt.Sprintf("%T", unwrapAPI(err)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	throttle.Store(true)
	var throttled *types.TooManyRequestsException
	if _, err := c.Invoke(t.Context(), &awslambda.InvokeInput{FunctionName: aws.String("migrate")}); !errors.As(err, &throttled) {
		t.Errorf("%v", err)
	}
	if list, err := c.ListFunctions(t.Context(), nil); err != nil || len(list.Functions) != 1 || *list.Functions[0].FunctionName != "migrate" {
		t.Errorf("%v %+v", err, list)
	}
	if conf, err := c.GetFunctionConfiguration(t.Context(), &awslambda.GetFunctionConfigurationInput{FunctionName: aws.String("migrate")}); err != nil || *conf.Timeout != 300 {
		t.Errorf("%v %+v", err, conf)
	}
}

// Without another limit it is Lambda's own.
func TestDefaultTimeout(t *testing.T) {
	conf, err := client(start(t, locallambda.Config{})).GetFunctionConfiguration(t.Context(), &awslambda.GetFunctionConfigurationInput{FunctionName: aws.String("function")})
	if err != nil || *conf.Timeout != 3 {
		t.Errorf("%v %+v", err, conf)
	}
}

// unwrapAPI returns the innermost error of a type of service/lambda.
func unwrapAPI(err error) error {
	for err != nil && !strings.HasPrefix(fmt.Sprintf("%T", err), "*types.") {
		err = errors.Unwrap(err)
	}
	return err
}

func TestLoops(t *testing.T) {
	// Without detection a chain of any length gets through.
	s := start(t, locallambda.Config{Timeout: 5 * time.Minute})
	s.Send([]byte(`{"do":"self","left":40}`))
	longest := 0
	got := wait(t, s)
	for _, inv := range got {
		longest = max(longest, inv.Chain)
	}
	if len(got) != 41 || longest != 41 {
		t.Errorf("%d invocations in a chain of %d, want 41", len(got), longest)
	}
	s = start(t, locallambda.Config{Timeout: 5 * time.Minute, StopLoops: true})
	s.Send([]byte(`{"do":"self","left":40}`))
	got = wait(t, s)
	ran := 0
	for _, inv := range got {
		if inv.Result.FunctionError != "" {
			t.Errorf("%s", inv.Result.Payload)
		}
		if !inv.Dropped {
			ran++
		}
	}
	if ran != locallambda.LoopLimit || len(got) != ran+1 {
		t.Errorf("%d invocations of %d ran, want %d", ran, len(got), locallambda.LoopLimit)
	}
}

func TestStartRefuses(t *testing.T) {
	for want, cfg := range map[string]locallambda.Config{
		"no program":              {},
		"the program: exec":       {Command: []string{"/does/not/exist"}},
		"is no name":              {Command: []string{os.Args[0]}, Name: "a/b"},
		"must not be negative":    {Command: []string{os.Args[0]}, Timeout: -1},
		"is not on this machine":  {Command: []string{os.Args[0]}, Addr: "0.0.0.0:0"},
		"missing port in address": {Command: []string{os.Args[0]}, Addr: "127.0.0.1"},
	} {
		if s, err := locallambda.Start(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", want, s, err)
		}
	}
}

// A program that answers for an event which is not its own changes nothing.
func TestRuntimeAPIRefusesStrangers(t *testing.T) {
	s := start(t, locallambda.Config{Timeout: 5 * time.Minute})
	a, _ := invoke(t, s, `{}`)
	resp, err := http.Post(s.URL()+"/2018-06-01/runtime/invocation/"+a.RequestID+"/response", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	if err := resp.Body.Close(); err != nil || resp.StatusCode != 404 || !strings.Contains(string(body), "ResourceNotFoundException") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

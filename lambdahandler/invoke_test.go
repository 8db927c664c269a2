package lambdahandler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/lambdahandler"
)

// api is Lambda's API, which answers the first requests with failures.
func api(t *testing.T, failures int, status int, kind string) (*awslambda.Client, *atomic.Int64, *atomic.Value) {
	var count atomic.Int64
	var last atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		last.Store(r.Method + " " + r.URL.Path + " " + r.Header.Get("X-Amz-Invocation-Type") + " " + string(body))
		if n := count.Add(1); failures < 0 || n <= int64(failures) {
			w.Header().Set("X-Amzn-Errortype", kind)
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"Type":"User","message":"because"}`)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	return awslambda.New(awslambda.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL), Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	}), &count, &last
}

func TestInvoker(t *testing.T) {
	client, count, last := api(t, 4, http.StatusTooManyRequests, "TooManyRequestsException")
	start := lambdahandler.Invoker(client, "migrate:live")
	if err := start(t.Context(), aurora.Request{Direction: aurora.Down, To: "20250601120000", ExecutionID: "x"}); err != nil {
		t.Fatal(err)
	}
	want := `POST /2015-03-31/functions/migrate:live/invocations Event {"direction":"down","target":"20250601120000","executionId":"x","confirm":"migrate"}`
	if count.Load() != 5 || last.Load() != want {
		t.Errorf("%d requests, the last was %s", count.Load(), last.Load())
	}
}

// Only what is rolled back is confirmed, by the bare name.
func TestInvokerConfirms(t *testing.T) {
	for function, want := range map[string]string{
		"migrate": "migrate", "migrate:live": "migrate", "111122223333:function:migrate": "migrate",
		"arn:aws:lambda:eu-west-1:111122223333:function:migrate:live": "migrate",
	} {
		for d, want := range map[aurora.Direction]string{aurora.Down: want, aurora.Up: ""} {
			client, _, last := api(t, 0, 0, "")
			if err := lambdahandler.Invoker(client, function)(t.Context(), aurora.Request{Direction: d, All: true, ExecutionID: "x"}); err != nil {
				t.Fatal(err)
			}
			_, payload, _ := strings.Cut(last.Load().(string), "Event ")
			var e lambdahandler.Event
			if err := json.Unmarshal([]byte(payload), &e); err != nil || e.Confirm != want {
				t.Errorf("%s, %s: %s %v", function, d, payload, err)
			}
		}
	}
}

// Throttling ends the wait only with the context.
func TestSendThrottled(t *testing.T) {
	client, count, _ := api(t, -1, http.StatusTooManyRequests, "TooManyRequestsException")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for count.Load() < 4 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	err := lambdahandler.Send(ctx, client, "migrate", lambdahandler.Event{})
	if err == nil || !strings.Contains(err.Error(), "invoke migrate: ") || count.Load() < 4 {
		t.Errorf("after %d requests: %v", count.Load(), err)
	}
}

// What cannot get better is not tried again, and says what to do.
func TestSendRefused(t *testing.T) {
	for kind, want := range map[string]string{
		"RecursiveInvocationException":   "set its recursive loop detection to Allow",
		"AccessDeniedException":          "needs lambda:InvokeFunction on the function itself",
		"ResourceNotFoundException":      "is the name right",
		"InvalidParameterValueException": "because",
	} {
		client, count, _ := api(t, -1, http.StatusBadRequest, kind)
		err := lambdahandler.Send(t.Context(), client, "migrate", lambdahandler.Event{})
		if err == nil || !strings.Contains(err.Error(), want) || count.Load() != 1 {
			t.Errorf("%s: %d requests, %v", kind, count.Load(), err)
		}
	}
}

// What is sent is what is read: a continuation survives the way.
func TestEventsSurvive(t *testing.T) {
	e := lambdahandler.Event{
		Request: aurora.Request{Direction: aurora.Down, Steps: 3, ExecutionID: "x", Unsure: aurora.UnsureSkip, TxMode: aurora.TxNone},
		MaxHops: 7, Confirm: "shop", Hop: 3, After: 12, Idle: 1,
	}
	client, _, last := api(t, 0, 0, "")
	if err := lambdahandler.Send(t.Context(), client, "f", e); err != nil {
		t.Fatal(err)
	}
	_, payload, _ := strings.Cut(last.Load().(string), "Event ")
	got, err := lambdahandler.ParseEvent([]byte(payload))
	if err != nil || got != e {
		b, _ := json.Marshal(got)
		t.Errorf("%v: %s", err, b)
	}
}

package lambdahandler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/aurora-migrate/aurora"
)

// invokeTimeout bounds an invoke whose context has no deadline.
const invokeTimeout = 30 * time.Second

// A Client is the part of the SDK's client for Lambda that is used here.
type Client interface {
	Invoke(ctx context.Context, in *awslambda.InvokeInput, opts ...func(*awslambda.Options)) (*awslambda.InvokeOutput, error)
}

// Invoker returns a starter that has a function run the request. The function
// may be a name, "name:version-or-alias", or an ARN. It needs
// lambda:InvokeFunction on it. What it rolls back it confirms, by the function's
// name: whoever calls it is to have asked a person before.
func Invoker(client Client, function string) aurora.Starter {
	return func(ctx context.Context, req aurora.Request) error {
		e := Event{Request: req}
		if req.Direction == aurora.Down {
			e.Confirm = nameIn(function)
		}
		return Send(ctx, client, function, e)
	}
}

// nameIn returns the name in a function's name, partial ARN or ARN, each with
// or without a version or alias.
func nameIn(function string) string {
	if _, rest, ok := strings.Cut(function, ":function:"); ok {
		function = rest
	}
	name, _, _ := strings.Cut(function, ":")
	return name
}

// Send invokes a function asynchronously with an event. While Lambda throttles
// or does not answer it tries again, until the context ends, or for half a
// minute where that has no deadline.
func Send(ctx context.Context, client Client, function string, e Event) error {
	payload, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode the event: %w", err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, invokeTimeout)
		defer cancel()
	}
	in := &awslambda.InvokeInput{FunctionName: &function, InvocationType: types.InvocationTypeEvent, Payload: payload}
	_, err = client.Invoke(ctx, in, func(o *awslambda.Options) { o.Retryer = patient() })
	if err != nil {
		return fmt.Errorf("invoke %s: %w%s", function, err, advice(err))
	}
	return nil
}

// patient returns a retryer that goes on for as long as the context allows,
// soon at first: the margin of a short invocation is short too.
func patient() aws.Retryer {
	const first, most = 50 * time.Millisecond, 2 * time.Second
	standard := retry.NewStandard(func(o *retry.StandardOptions) {
		o.RateLimiter = ratelimit.None
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			d := min(first<<min(attempt, 10), most)
			return d/2 + rand.N(d/2), nil
		})
	})
	return retry.AddWithMaxAttempts(standard, 0)
}

// advice says what to do about an error of Lambda's.
func advice(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return ""
	}
	switch api.ErrorCode() {
	case "RecursiveInvocationException":
		return " (allow the function to invoke itself: set its recursive loop detection to Allow)"
	case "AccessDeniedException":
		return " (its role needs lambda:InvokeFunction on the function itself)"
	case "ResourceNotFoundException":
		return " (is the name right, and the version or alias?)"
	}
	return ""
}

// next asks for the next invocation.
func (h *Handler) next(ctx context.Context, e Event) error {
	if h.cfg.Continue != nil {
		return h.cfg.Continue(ctx, e)
	}
	h.mu.Lock()
	if h.invoker == nil {
		// Its own region is the function's, whatever AWS_REGION is by now.
		cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(regionOf(ctx)))
		if err != nil {
			h.mu.Unlock()
			return fmt.Errorf("read the AWS configuration: %w", err)
		}
		client := awslambda.NewFromConfig(cfg)
		h.invoker = func(ctx context.Context, e Event) error { return Send(ctx, client, functionOf(ctx), e) }
	}
	invoke := h.invoker
	h.mu.Unlock()
	return invoke(ctx, e)
}

// regionOf returns the region of this function, or "" for the default one.
func regionOf(ctx context.Context) string {
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		if parts := strings.Split(lc.InvokedFunctionArn, ":"); len(parts) > 3 {
			return parts[3]
		}
	}
	return ""
}

// functionOf names this function as it was invoked. With a version the whole
// chain has the same code and settings; an alias that moves takes it along.
func functionOf(ctx context.Context) string {
	if lc, ok := lambdacontext.FromContext(ctx); ok && lc.InvokedFunctionArn != "" {
		return lc.InvokedFunctionArn
	}
	name, version := os.Getenv("AWS_LAMBDA_FUNCTION_NAME"), os.Getenv("AWS_LAMBDA_FUNCTION_VERSION")
	if version != "" && version != "$LATEST" {
		name += ":" + version
	}
	return name
}

// nameOf returns what Lambda shows as an error's type: the name of the first
// type in the chain that says more than that there is an error.
func nameOf(err error) string {
	for _, as := range []func() (error, bool){
		find[*EventError](err), find[*LimitError](err), find[*StuckError](err), find[*ContinueError](err), find[*FailedError](err),
		find[*aurora.LockedError](err), find[*aurora.RequestError](err), find[*aurora.ChangedError](err), find[*aurora.OutOfOrderError](err),
		find[*aurora.IrreversibleError](err), find[*aurora.UnsureError](err), find[*aurora.StepError](err),
	} {
		if e, ok := as(); ok {
			return reflect.TypeOf(e).Elem().Name()
		}
	}
	return "Error"
}

func find[E error](err error) func() (error, bool) {
	return func() (error, bool) {
		var e E
		ok := errors.As(err, &e)
		return e, ok
	}
}

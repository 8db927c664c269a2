package dynamo

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// Retries of one request: with these pauses they last about ten seconds.
const (
	maxAttempts = 12
	firstPause  = 25 * time.Millisecond
	longPause   = 2 * time.Second
)

// newRetryer retries what the SDK does by itself (throttling, lost connections,
// the server's own errors), and conflicts between transactions.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.RateLimiter = ratelimit.None
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			return pause(attempt), nil
		})
		o.Retryables = append(o.Retryables, retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			if isTransient(err) {
				return aws.TrueTernary
			}
			return aws.UnknownTernary
		}))
	})
}

// pause is how long to wait after the attempt of that number, from 0: twice as
// long each time, and any part of it, so that those who met do not meet again.
func pause(attempt int) time.Duration {
	return rand.N(min(firstPause<<min(attempt, 20), longPause)) + time.Millisecond
}

// isTransient reports whether the same request may well succeed later.
func isTransient(err error) bool {
	var cancelled *types.TransactionCanceledException
	if errors.As(err, &cancelled) {
		found := false
		for _, r := range cancelled.CancellationReasons {
			switch aws.ToString(r.Code) {
			case "", "None":
			case "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded":
				found = true
			default:
				return false
			}
		}
		return found
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "TransactionConflictException", "TransactionInProgressException", "ReplicatedWriteConflictException":
		return true
	}
	return false
}

// call does one request. It counts on the operation to be one that may be done
// twice, and asks anew for credentials when those at hand have expired.
func call[In, Out any](ctx context.Context, s *Store, op func(context.Context, In, ...func(*dynamodb.Options)) (Out, error), in In, meta func(Out) middleware.Metadata) (Out, error) {
	sent := time.Now()
	out, err := op(ctx, in, s.options...)
	if hasCode(err, "ExpiredTokenException", "ExpiredToken") {
		if cache, ok := s.client.Options().Credentials.(interface{ Invalidate() }); ok {
			cache.Invalidate()
			sent = time.Now()
			out, err = op(ctx, in, s.options...)
		}
	}
	if err == nil {
		s.clock.set(meta(out), sent)
	}
	return out, err
}

func (s *Store) getItem(ctx context.Context, in *dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error) {
	out, err := call(ctx, s, s.client.GetItem, in, func(o *dynamodb.GetItemOutput) middleware.Metadata { return o.ResultMetadata })
	return out, s.explain(ctx, "GetItem", err)
}

func (s *Store) query(ctx context.Context, in *dynamodb.QueryInput) (*dynamodb.QueryOutput, error) {
	out, err := call(ctx, s, s.client.Query, in, func(o *dynamodb.QueryOutput) middleware.Metadata { return o.ResultMetadata })
	return out, s.explain(ctx, "Query", err)
}

func (s *Store) updateItem(ctx context.Context, in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
	out, err := call(ctx, s, s.client.UpdateItem, in, func(o *dynamodb.UpdateItemOutput) middleware.Metadata { return o.ResultMetadata })
	return out, s.explain(ctx, "UpdateItem", err)
}

func (s *Store) putItem(ctx context.Context, in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
	out, err := call(ctx, s, s.client.PutItem, in, func(o *dynamodb.PutItemOutput) middleware.Metadata { return o.ResultMetadata })
	return out, s.explain(ctx, "PutItem", err)
}

func (s *Store) transactWrite(ctx context.Context, in *dynamodb.TransactWriteItemsInput) (*dynamodb.TransactWriteItemsOutput, error) {
	out, err := call(ctx, s, s.client.TransactWriteItems, in, func(o *dynamodb.TransactWriteItemsOutput) middleware.Metadata { return o.ResultMetadata })
	return out, s.explain(ctx, "TransactWriteItems", err)
}

// A clock tells the time of DynamoDB's servers, from the Date of their answers,
// which has whole seconds.
type clock struct {
	mu   sync.Mutex
	date time.Time // of the newest answer
	sent time.Time // when that was asked for, by this process's clock
}

func (c *clock) set(meta middleware.Metadata, sent time.Time) {
	date, ok := awsmiddleware.GetServerTime(meta)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if sent.After(c.sent) {
		c.date, c.sent = date, sent
	}
}

// atMost returns a time that the servers' clock has not reached yet, and false
// when no server has answered so far.
func (c *clock) atMost() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.date.Add(time.Second + time.Since(c.sent)), !c.date.IsZero()
}

// outlive returns a context that ends a while after ctx does, for what should
// not be left half done.
func outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(grace, func() { cancel(context.Cause(ctx)) })
		context.AfterFunc(longer, func() { timer.Stop() })
	})
	return longer, func() { stop(); cancel(context.Canceled) }
}

// dateOf is DynamoDB's time when it answered, or zero.
func dateOf(meta middleware.Metadata) time.Time {
	date, _ := awsmiddleware.GetServerTime(meta)
	return date
}

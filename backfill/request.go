package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// requestTimeout is when a request that got no answer is sent again.
const requestTimeout = 30 * time.Second

// once keeps the SDK from retrying: workers that do not hear of throttling
// cannot slow down.
func once(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} }

// call does a request that may be done twice, until it does not fail for a
// passing reason.
func call[In, Out any](ctx context.Context, r *itemsRun, op func(context.Context, In, ...func(*dynamodb.Options)) (Out, error), in In) (Out, error) {
	began, expired := time.Now(), 0
	for try := 0; ; try++ {
		sending, cancel := context.WithTimeout(ctx, requestTimeout)
		out, err := op(sending, in, once)
		late := sending.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil:
			return out, nil
		case ctx.Err() != nil:
			return out, context.Cause(ctx)
		case hasCode(err, "ExpiredTokenException", "ExpiredToken"):
			cache, ok := r.Client.Options().Credentials.(interface{ Invalidate() })
			if expired++; !ok || expired > 3 {
				return out, err
			}
			cache.Invalidate()
		case isThrottling(err):
			r.pace.complained(time.Now())
		case !late && !isPassing(err):
			return out, err
		}
		if time.Since(began) > patience {
			return out, fmt.Errorf("gave up after %s: %w", patience, err)
		}
		r.log.Debug("tries a request again", "try", try+1, "after", err)
		sleep(ctx, nil, pauseAfter(try))
	}
}

func hasCode(err error, codes ...string) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, c := range codes {
		if api.ErrorCode() == c {
			return true
		}
	}
	return false
}

// isThrottling reports that the table cannot take as much as it is asked.
func isThrottling(err error) bool {
	if _, ok := reason(err, "ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"); ok {
		return true
	}
	return retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err) == aws.TrueTernary
}

// isPassing reports that the same request may well succeed later.
func isPassing(err error) bool {
	if _, ok := reason(err, "TransactionConflict"); ok {
		_, bad := reason(err, "ValidationError", "ConditionalCheckFailed", "ItemCollectionSizeLimitExceeded")
		return !bad
	}
	if hasCode(err, "TransactionConflictException", "TransactionInProgressException", "ReplicatedWriteConflictException") {
		return true
	}
	return retry.IsErrorRetryables(retry.DefaultRetryables).IsErrorRetryable(err) == aws.TrueTernary
}

// reason looks for a reason for which a transaction was cancelled.
func reason(err error, codes ...string) (string, bool) {
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) {
		return "", false
	}
	for _, r := range cancelled.CancellationReasons {
		for _, c := range codes {
			if aws.ToString(r.Code) == c {
				return c, true
			}
		}
	}
	return "", false
}

// isUnmet reports that a write's condition did not hold.
func isUnmet(err error) bool {
	_, ok := reason(err, "ConditionalCheckFailed")
	return ok || hasCode(err, "ConditionalCheckFailedException")
}

// isItems reports that it is the item that is wrong, and not the table or the
// rights.
func isItems(err error) bool {
	_, ok := reason(err, "ValidationError", "ItemCollectionSizeLimitExceeded")
	return ok || hasCode(err, "ValidationException", "ItemCollectionSizeLimitExceededException")
}

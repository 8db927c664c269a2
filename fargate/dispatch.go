package fargate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/aurora-migrate/aurora"
)

// Dispatched is what a dispatcher answers.
type Dispatched struct {
	ExecutionID string `json:"executionId"` // to look for in the history
	Task        string `json:"task"`        // ARN
}

// Dispatch returns the handler of a Lambda function that starts the task and
// returns: the event is an [aurora.Request], and what it asks for is all that
// an event can change. An event with a field that a request does not have, such
// as dryRun, is refused, as the task would not know of it.
//
// The function needs the rights of [DispatchPolicy] only.
func Dispatch(cfg Config) func(context.Context, json.RawMessage) (Dispatched, error) {
	return func(ctx context.Context, event json.RawMessage) (Dispatched, error) {
		// What asks Lambda functions for rollbacks says this too; the task is told
		// by its own configuration whether it may.
		var in struct {
			aurora.Request
			Confirm string `json:"confirm"`
		}
		d := json.NewDecoder(bytes.NewReader(event))
		d.DisallowUnknownFields()
		if err := d.Decode(&in); err != nil {
			return Dispatched{}, fmt.Errorf("read the event: %w", err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return Dispatched{}, errors.New("read the event: more than one JSON value")
		}
		req := in.Request
		req.ExecutionID = cfg.execution(ctx, req)
		task, err := Start(ctx, cfg, req)
		if err != nil {
			return Dispatched{}, withHint(err)
		}
		return Dispatched{ExecutionID: req.ExecutionID, Task: task}, nil
	}
}

// withHint puts the advice into the text, which is all that Lambda passes on.
func withHint(err error) error {
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		return fmt.Errorf("%w; %s", err, h.Hint())
	}
	return err
}

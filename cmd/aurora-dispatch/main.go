// The program aurora-dispatch is a Lambda function that starts the Fargate task
// with a project's migrations, and nothing else: its event is a request, such as
// {"direction": "up"}, its answer the execution's identifier and the task's ARN.
// It has no bundle, no right to read one, and no way to the database.
//
// Which task it is, is said by the variables that fargate.FromEnv reads. The
// rights it needs are those of fargate.DispatchPolicy.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"github.com/aurora-migrate/aurora/fargate"
)

func main() {
	handle, err := handler(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "aurora-dispatch:", err)
		os.Exit(1)
	}
	lambda.Start(handle)
}

func handler(ctx context.Context) (func(context.Context, json.RawMessage) (fargate.Dispatched, error), error) {
	cfg, err := fargate.FromEnv(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	aws, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	cfg.ECS = ecs.NewFromConfig(aws)
	cfg.Logger = slog.New(slog.NewJSONHandler(os.Stderr, nil))
	cfg.Identify = requestID
	return fargate.Dispatch(cfg), nil
}

// requestID stays the same when Lambda delivers an event again.
func requestID(ctx context.Context) string {
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		return lc.AwsRequestID
	}
	return ""
}

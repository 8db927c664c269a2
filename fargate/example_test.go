package fargate_test

import (
	"context"
	"fmt"
	"os"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/fargate"
)

// A deploy starts the migrations, shows their log and ends as they do.
func ExampleRun() {
	ctx := context.Background()
	aws, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	code, err := fargate.Run(ctx, fargate.Config{
		ECS: ecs.NewFromConfig(aws), Logs: cloudwatchlogs.NewFromConfig(aws),
		Cluster: "jobs", TaskDefinition: "migrations", Subnets: []string{"subnet-0a1b", "subnet-2c3d"},
		Args: []string{"--env=production"}, Output: os.Stdout,
	}, aurora.Request{Direction: aurora.Up, ExecutionID: aurora.NewExecutionID()})
	if err != nil {
		fmt.Println(err)
		return
	}
	os.Exit(code)
}

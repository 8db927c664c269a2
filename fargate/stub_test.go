//go:build linux

package fargate_test

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"github.com/aurora-migrate/aurora/fargate"
)

// failing is an ECS that cannot be reached after some looks.
type failing struct {
	fargate.ECS
	after, calls int
}

func (f *failing) DescribeTasks(ctx context.Context, in *ecs.DescribeTasksInput, opts ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error) {
	if f.calls++; f.calls > f.after {
		return nil, errors.New("no route to host")
	}
	return f.ECS.DescribeTasks(ctx, in, opts...)
}

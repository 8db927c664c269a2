// Package migrations changes the tables Roles and Users of DynamoDB.
package migrations

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/aurora-migrate/aurora"
)

// Migrations are in the order of their versions.
var Migrations = []aurora.Migration{
	addUserRoles,
	giveUsersARole,
}

// connect makes a client with the region, the credentials and the endpoint of
// the environment.
func connect(ctx context.Context) (*dynamodb.Client, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("load the AWS configuration: %w", err)
	}
	return dynamodb.NewFromConfig(cfg), nil
}

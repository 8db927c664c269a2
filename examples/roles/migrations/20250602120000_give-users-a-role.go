package migrations

import (
	"context"
	_ "embed"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/backfill"
)

//go:embed 20250602120000_give-users-a-role.go
var giveUsersARoleSource string

var giveUsersARole = aurora.Migration{
	Version:  "20250602120000",
	Name:     "give-users-a-role",
	Checksum: aurora.Checksum(giveUsersARoleSource),
	Description: `## Gives every user a role

Who has none becomes a viewer. Scans the table Users with several workers, at most
2,500 users a second, and goes on where it was when it is stopped.`,
	Up:           []aurora.Step{aurora.Func{Name: "give roles", Do: giveRoles}},
	Irreversible: "who had no role before is not known any more",
}

func giveRoles(ctx context.Context, env *aurora.Env) error {
	client, err := connect(ctx)
	if err != nil {
		return err
	}
	return backfill.Items{
		Client: client, Table: "Users", Change: makeViewer,
		// The application needs the table, too. And even a function with a few
		// seconds is to finish pages in them.
		Options: backfill.Options{PerSecond: 2500, Batch: 100},
	}.Run(ctx, env)
}

var roleName = map[string]string{"#role": "role"}

// makeViewer leaves the users alone who have a role. The condition is for those
// who get one between the scan and the write.
func makeViewer(_ context.Context, user map[string]types.AttributeValue) (backfill.Change, error) {
	if _, ok := user["role"]; ok {
		return backfill.Change{}, nil
	}
	return backfill.Change{Update: &types.Update{
		Key:                       map[string]types.AttributeValue{"pk": user["pk"]},
		UpdateExpression:          aws.String("SET #role = :viewer"),
		ConditionExpression:       aws.String("attribute_exists(pk) AND attribute_not_exists(#role)"),
		ExpressionAttributeNames:  roleName,
		ExpressionAttributeValues: map[string]types.AttributeValue{":viewer": &types.AttributeValueMemberS{Value: "role#viewer"}},
	}}, nil
}

package migrations

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/aurora-migrate/aurora"
)

//go:embed 20250601120000_add-user-roles.go
var addUserRolesSource string

var addUserRoles = aurora.Migration{
	Version:  "20250601120000",
	Name:     "add-user-roles",
	Checksum: aurora.Checksum(addUserRolesSource),
	Description: `## Adds default roles

Writes the items role#admin and role#viewer into the table Roles.

- Idempotent: running it again changes nothing.
- Required before the new sign-in.`,
	Up:   []aurora.Step{aurora.Func{Name: "add roles", Do: addRoles}},
	Down: []aurora.Step{aurora.Func{Name: "remove roles", Do: removeRoles}},
}

type role struct {
	key, name   string
	permissions []string
}

var roles = []role{
	{"role#admin", "Admin", []string{"read", "write", "delete"}},
	{"role#viewer", "Viewer", []string{"read"}},
}

func addRoles(ctx context.Context, env *aurora.Env) error {
	client, err := connect(ctx)
	if err != nil {
		return err
	}
	for _, r := range roles {
		_, err := client.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: aws.String("Roles"),
			Item: map[string]types.AttributeValue{
				"pk":          &types.AttributeValueMemberS{Value: r.key},
				"name":        &types.AttributeValueMemberS{Value: r.name},
				"permissions": &types.AttributeValueMemberSS{Value: r.permissions},
			},
		})
		if err != nil {
			return fmt.Errorf("add %s: %w", r.key, err)
		}
		env.Log.InfoContext(ctx, "added a role", "role", r.name)
	}
	return nil
}

func removeRoles(ctx context.Context, env *aurora.Env) error {
	client, err := connect(ctx)
	if err != nil {
		return err
	}
	for _, r := range roles {
		_, err := client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: aws.String("Roles"),
			Key:       map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: r.key}},
		})
		if err != nil {
			return fmt.Errorf("remove %s: %w", r.key, err)
		}
	}
	env.Log.WarnContext(ctx, "the table Roles has no default roles any more")
	return nil
}

// Demo makes the tables that the application would have, with users in them,
// so that there is something to migrate: on the DynamoDB that
// AWS_ENDPOINT_URL_DYNAMODB names, which must be one on this machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/url"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func main() {
	log.SetFlags(0)
	users := flag.Int("users", 20_000, "how many users to make")
	flag.Parse()
	if err := run(context.Background(), *users); err != nil {
		log.Fatal("demo: ", err)
	}
}

func run(ctx context.Context, users int) error {
	endpoint, err := url.Parse(os.Getenv("AWS_ENDPOINT_URL_DYNAMODB"))
	if err != nil || endpoint.Hostname() != "127.0.0.1" && endpoint.Hostname() != "localhost" {
		return errors.New("AWS_ENDPOINT_URL_DYNAMODB does not name a DynamoDB on this machine")
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	client := dynamodb.NewFromConfig(cfg)
	for _, name := range []string{"Roles", "Users"} {
		if err := createTable(ctx, client, name); err != nil {
			return fmt.Errorf("create the table %s: %w", name, err)
		}
	}
	for first := 0; first < users; first += 25 {
		if err := addUsers(ctx, client, first, min(first+25, users)); err != nil {
			return fmt.Errorf("add users: %w", err)
		}
	}
	fmt.Printf("made the tables Roles and Users, with %d users, a tenth of whom have a role\n", users)
	return nil
}

func createTable(ctx context.Context, client *dynamodb.Client, name string) error {
	_, err := client.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:            &name,
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}},
	})
	var exists *types.ResourceInUseException
	if err != nil && !errors.As(err, &exists) {
		return err
	}
	return dynamodb.NewTableExistsWaiter(client).Wait(ctx, &dynamodb.DescribeTableInput{TableName: &name}, time.Minute)
}

// addUsers writes a batch of the users from first up to, but not including, end.
func addUsers(ctx context.Context, client *dynamodb.Client, first, end int) error {
	var writes []types.WriteRequest
	for n := first; n < end; n++ {
		item := map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: fmt.Sprintf("user#%06d", n)}}
		if n%10 == 0 {
			item["role"] = &types.AttributeValueMemberS{Value: "role#admin"}
		}
		writes = append(writes, types.WriteRequest{PutRequest: &types.PutRequest{Item: item}})
	}
	for len(writes) > 0 {
		out, err := client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{"Users": writes}})
		if err != nil {
			return err
		}
		writes = out.UnprocessedItems["Users"]
	}
	return nil
}

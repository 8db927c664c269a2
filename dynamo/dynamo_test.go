package dynamo_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/dynamo"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
)

const long = 10 * time.Minute

var alice = aurora.Holder{Host: "build-7", PID: 4711, User: "alice"}

func TestConformance(t *testing.T) {
	auroratest.Run(t, func(t *testing.T) func(project string) aurora.Store {
		table := newTable(t)
		return func(project string) aurora.Store { return open(t, dynamotest.Endpoint(t), table, project) }
	})
}

// newTable creates a table for a test.
func newTable(t testing.TB) string {
	t.Helper()
	table := dynamotest.Table(t)
	if err := open(t, dynamotest.Endpoint(t), table, "").CreateTable(context.Background()); err != nil {
		t.Fatalf("CreateTable: %v", err)
	}
	return table
}

// open returns a store that asks an endpoint.
func open(t testing.TB, endpoint, table, project string) *dynamo.Store {
	t.Helper()
	s, err := dynamo.Open(context.Background(), dynamo.Config{Table: table, Project: project, Client: dynamotest.Client(endpoint)})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

func acquire(t testing.TB, s *dynamo.Store, ttl time.Duration) aurora.Lease {
	t.Helper()
	lease, err := s.Acquire(context.Background(), alice, ttl)
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	return lease
}

func save(t testing.TB, l aurora.Lease, revisions ...aurora.Revision) {
	t.Helper()
	if err := l.Save(context.Background(), revisions...); err != nil {
		t.Fatalf("Save: %v", err)
	}
}

func revision(execution, version string, seq int) aurora.Revision {
	return aurora.Revision{
		ExecutionID: execution, Version: version, Name: "m", Direction: aurora.Up, State: aurora.Completed,
		Kind: aurora.Applied, Seq: seq, Steps: 1, Done: 1, StartedAt: time.Unix(1_700_000_000, 0).UTC(), Holder: alice,
	}
}

func revisions(execution string, from, to int) []aurora.Revision {
	var out []aurora.Revision
	for i := from; i < to; i++ {
		out = append(out, revision(execution, version(i), i+1))
	}
	return out
}

func version(i int) string { return time.Unix(int64(i), 0).UTC().Format("20060102150405") }

type bytesValue = *types.AttributeValueMemberB

func keyOf(sk string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		"PK": &types.AttributeValueMemberS{Value: "aurora#default"}, "SK": &types.AttributeValueMemberS{Value: sk},
	}
}

// itemOf reads an item of the default project.
func itemOf(t testing.TB, table, sk string) map[string]types.AttributeValue {
	t.Helper()
	out, err := dynamotest.Client(dynamotest.Endpoint(t)).GetItem(context.Background(), &dynamodb.GetItemInput{
		TableName: &table, Key: keyOf(sk), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Item
}

func deleteItem(t testing.TB, table, sk string) {
	t.Helper()
	_, err := dynamotest.Client(dynamotest.Endpoint(t)).DeleteItem(context.Background(), &dynamodb.DeleteItemInput{TableName: &table, Key: keyOf(sk)})
	if err != nil {
		t.Fatal(err)
	}
}

// countItems returns how many items of the default project have keys that
// begin so.
func countItems(t testing.TB, table, prefix string) int {
	t.Helper()
	out, err := dynamotest.Client(dynamotest.Endpoint(t)).Query(context.Background(), &dynamodb.QueryInput{
		TableName: &table, KeyConditionExpression: aws.String("PK = :pk AND begins_with(SK, :sk)"), ConsistentRead: aws.Bool(true),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":pk": &types.AttributeValueMemberS{Value: "aurora#default"}, ":sk": &types.AttributeValueMemberS{Value: prefix},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Items)
}

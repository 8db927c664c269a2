package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/backfill"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
)

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int) types.AttributeValue { return &types.AttributeValueMemberN{Value: strconv.Itoa(n)} }

// newTable makes a table of n items.
func newTable(t testing.TB, n int) string {
	t.Helper()
	table, client := dynamotest.Table(t), dynamotest.Client(dynamotest.Endpoint(t))
	_, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: &table, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for from := w * 25; from < n; from += 100 {
				var puts []types.WriteRequest
				for i := from; i < min(from+25, n); i++ {
					puts = append(puts, types.WriteRequest{PutRequest: &types.PutRequest{Item: map[string]types.AttributeValue{
						"id": text(fmt.Sprintf("item-%07d", i)), "number": number(i), "note": text(strings.Repeat("x", 150)),
					}}})
				}
				if _, err := client.BatchWriteItem(t.Context(), &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{table: puts}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return table
}

// countOnce adds one to an item's counter, and marks the item.
func countOnce(_ context.Context, item map[string]types.AttributeValue) (backfill.Change, error) {
	if _, done := item["migrated"]; done {
		return backfill.Change{}, nil
	}
	return backfill.Change{Update: &types.Update{
		Key:                       map[string]types.AttributeValue{"id": item["id"]},
		UpdateExpression:          aws.String("ADD #count :one SET migrated = :true"),
		ConditionExpression:       aws.String("attribute_not_exists(migrated)"),
		ExpressionAttributeNames:  map[string]string{"#count": "count"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":one": number(1), ":true": &types.AttributeValueMemberBOOL{Value: true}},
	}}, nil
}

// counters says how many items have which counter.
func counters(t testing.TB, table string) map[string]int {
	t.Helper()
	out := map[string]int{}
	pages := dynamodb.NewScanPaginator(dynamotest.Client(dynamotest.Endpoint(t)), &dynamodb.ScanInput{TableName: &table})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			n := "none"
			if v, ok := item["count"].(*types.AttributeValueMemberN); ok {
				n = v.Value
			}
			out[n]++
		}
	}
	return out
}

func wantCounters(t testing.TB, table string, n int) {
	t.Helper()
	if got := counters(t, table); len(got) != 1 || got["1"] != n {
		t.Errorf("counters %v, want all %d at 1", got, n)
	}
}

func TestItems(t *testing.T) {
	const n = 1500
	put := func(_ context.Context, item map[string]types.AttributeValue) (backfill.Change, error) {
		item["count"] = number(1)
		return backfill.Change{Put: &types.Put{Item: item}}, nil
	}
	transact := func(ctx context.Context, item map[string]types.AttributeValue) (backfill.Change, error) {
		change, err := countOnce(ctx, item)
		return backfill.Change{Transact: []types.TransactWriteItem{{Update: change.Update}}}, err
	}
	for _, tt := range []struct {
		name  string
		items backfill.Items
	}{
		{"update", backfill.Items{Change: countOnce}},
		{"put", backfill.Items{Change: put}},
		{"transaction", backfill.Items{Change: transact}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := newTable(t, n)
			it := tt.items
			it.Client, it.Table = dynamotest.Client(dynamotest.Endpoint(t)), table
			var result backfill.Result
			it.Report = func(r backfill.Result) { result = r }
			dry, err := it.DryRun(t.Context())
			if err != nil || dry != (backfill.Count{Rows: n, Tried: n, Changed: n}) {
				t.Errorf("dry run: %+v, %v", dry, err)
			}
			if got := counters(t, table); got["none"] != n {
				t.Errorf("the dry run changed items: %v", got)
			}
			if _, err := step(t.Context(), new(auroratest.Memory), it.Run); err != nil {
				t.Fatal(err)
			}
			wantCounters(t, table, n)
			if result.Visited != n || result.Changed != n || !result.Complete {
				t.Errorf("%+v", result)
			}
		})
	}
}

// What AWS and networks do to requests costs time and nothing else.
func TestItemsWithFaults(t *testing.T) {
	const n = 600
	table := newTable(t, n)
	proxy := dynamotest.NewProxy(t)
	for _, f := range []dynamotest.Fault{
		{Op: "UpdateItem", Kind: dynamotest.Throttling, Times: 20}, {Op: "UpdateItem", Kind: dynamotest.Exceeded, Times: 20},
		{Op: "Scan", Kind: dynamotest.Exceeded, Skip: 1, Times: 3}, {Op: "UpdateItem", Kind: dynamotest.DropBefore, Skip: 50, Times: 5},
		{Op: "UpdateItem", Kind: dynamotest.DropAfter, Skip: 60, Times: 20}, {Op: "UpdateItem", Kind: dynamotest.Conflict, Skip: 20, Times: 5},
		{Op: "UpdateItem", Kind: dynamotest.Late, Skip: 30, Times: 2}, {Op: "DescribeTable", Kind: dynamotest.DropAfter},
	} {
		proxy.Fail(f)
	}
	it := backfill.Items{Client: dynamotest.Client(proxy.URL), Table: table, Change: countOnce}
	if _, err := step(t.Context(), new(auroratest.Memory), it.Run); err != nil {
		t.Fatal(err)
	}
	wantCounters(t, table, n)
	proxy.Deliver(t)
	wantCounters(t, table, n)
}

// rotating hands out credentials anew whenever they are asked for.
type rotating struct{ asked int }

func (r *rotating) Retrieve(ctx context.Context) (aws.Credentials, error) {
	r.asked++
	return credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", fmt.Sprint(r.asked)).Retrieve(ctx)
}

func TestItemsCredentials(t *testing.T) {
	table := newTable(t, 200)
	proxy := dynamotest.NewProxy(t)
	provider := new(rotating)
	client := dynamodb.New(dynamodb.Options{Region: "us-east-1", BaseEndpoint: &proxy.URL, Credentials: aws.NewCredentialsCache(provider)})
	it := backfill.Items{Client: client, Table: table, Change: countOnce}
	proxy.Fail(dynamotest.Fault{Op: "Scan", Kind: dynamotest.Expired, Skip: 2})
	proxy.Fail(dynamotest.Fault{Op: "UpdateItem", Kind: dynamotest.Expired, Skip: 50})
	if _, err := step(t.Context(), new(auroratest.Memory), it.Run); err != nil {
		t.Fatal(err)
	}
	wantCounters(t, table, 200)
	if provider.asked < 2 {
		t.Error("the expired credentials were not replaced")
	}
	proxy.Fail(dynamotest.Fault{Op: "UpdateItem", Kind: dynamotest.Denied, Skip: 10, Times: -1})
	it.Table, it.Name = newTable(t, 100), "denied"
	_, err := step(t.Context(), new(auroratest.Memory), it.Run)
	var failed *backfill.FailedError
	if err == nil || errors.As(err, &failed) || !strings.Contains(err.Error(), "not authorized to perform: dynamodb:UpdateItem") {
		t.Errorf("without the right: %v", err)
	}
}

// Items that fail are named; those that may are skipped, in all kinds of writes.
func TestItemsThatFail(t *testing.T) {
	table := newTable(t, 300)
	it := backfill.Items{Client: dynamotest.Client(dynamotest.Endpoint(t)), Table: table, Options: backfill.Options{SkipFailed: 2}}
	it.Change = func(ctx context.Context, item map[string]types.AttributeValue) (backfill.Change, error) {
		switch item["number"].(*types.AttributeValueMemberN).Value {
		case "7":
			return backfill.Change{}, errors.New("an odd item")
		case "8":
			return backfill.Change{Put: &types.Put{Item: map[string]types.AttributeValue{"other": text("key")}}}, nil
		case "9":
			return backfill.Change{Put: &types.Put{Item: map[string]types.AttributeValue{"id": item["id"], "count": number(1)}}}, nil
		}
		return countOnce(ctx, item)
	}
	var result backfill.Result
	it.Report = func(r backfill.Result) { result = r }
	store := new(auroratest.Memory)
	if _, err := step(t.Context(), store, it.Run); err != nil {
		t.Fatal(err)
	}
	if got := counters(t, table); got["1"] != 298 || got["none"] != 2 || result.Failures != 2 || len(result.Failed) != 2 {
		t.Errorf("%v, %+v", got, result)
	}
	it.SkipFailed = 0
	_, err := step(t.Context(), new(auroratest.Memory), it.Run)
	var failed *backfill.FailedError
	if !errors.As(err, &failed) || !strings.Contains(failed.Error(), "id=item-000000") {
		t.Errorf("%v, want a FailedError", err)
	}
}

// Near the deadline it pauses and goes on later; a query is gone through as a
// scan is.
func TestItemsPauseAndQuery(t *testing.T) {
	const n = 2000
	table := newTable(t, n)
	store := new(auroratest.Memory)
	it := backfill.Items{Client: dynamotest.Client(dynamotest.Endpoint(t)), Table: table, Change: countOnce, Options: backfill.Options{PerSecond: 700}}
	pauses := 0
	for {
		ctx, cancel := pauseAfterASecond(t)
		_, err := step(ctx, store, it.Run)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, aurora.ErrPaused) {
			t.Fatal(err)
		}
		pauses++
	}
	wantCounters(t, table, n)
	if pauses == 0 {
		t.Error("it never paused")
	}
	it.PerSecond = 0
	it.Query = &dynamodb.QueryInput{KeyConditionExpression: aws.String("id = :id"), ExpressionAttributeValues: map[string]types.AttributeValue{":id": text("item-0000007")}}
	it.Change = func(_ context.Context, item map[string]types.AttributeValue) (backfill.Change, error) {
		return backfill.Change{Delete: &types.Delete{Key: map[string]types.AttributeValue{"id": item["id"]}}}, nil
	}
	if _, err := step(t.Context(), new(auroratest.Memory), it.Run); err != nil {
		t.Fatal(err)
	}
	wantCounters(t, table, n-1)
}

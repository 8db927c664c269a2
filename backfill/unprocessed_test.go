package backfill_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/backfill"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
)

// A stingy transport lets every third BatchWriteItem do half of its writes and
// hands the others back unprocessed, as DynamoDB does when it is short of
// capacity.
type stingy struct{ calls, left atomic.Int64 }

func (s *stingy) Do(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".BatchWriteItem") || s.calls.Add(1)%3 != 0 {
		return http.DefaultClient.Do(req)
	}
	var in struct{ RequestItems map[string][]json.RawMessage }
	if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
		return nil, err
	}
	rest := map[string][]json.RawMessage{}
	for table, writes := range in.RequestItems {
		if half := len(writes) / 2; half > 0 {
			in.RequestItems[table], rest[table] = writes[:half], writes[half:]
			s.left.Add(int64(len(writes) - half))
		}
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	resp.Body.Close()
	if body, err = json.Marshal(map[string]any{"UnprocessedItems": rest}); err != nil {
		return nil, err
	}
	resp.Header.Del("X-Amz-Crc32")
	resp.Header.Del("Content-Length")
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

func TestItemsUnprocessed(t *testing.T) {
	const n = 1200
	table, transport := newTable(t, n), new(stingy)
	client := dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(dynamotest.Endpoint(t)), HTTPClient: transport,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
	it := backfill.Items{Client: client, Table: table}
	it.Change = func(_ context.Context, item map[string]types.AttributeValue) (backfill.Change, error) {
		item["count"] = number(1)
		return backfill.Change{Put: &types.Put{Item: item}}, nil
	}
	var result backfill.Result
	it.Report = func(r backfill.Result) { result = r }
	if _, err := step(t.Context(), new(auroratest.Memory), it.Run); err != nil {
		t.Fatal(err)
	}
	wantCounters(t, table, n)
	if result.Changed != n || transport.left.Load() == 0 {
		t.Errorf("%+v; %d writes were left unprocessed", result, transport.left.Load())
	}
}

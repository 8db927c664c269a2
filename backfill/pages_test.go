package backfill_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/backfill"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
)

// A pages transport notes how many items each Scan asks for.
type pages struct {
	mu     sync.Mutex
	limits []int
}

func (p *pages) Do(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".Scan") {
		return http.DefaultClient.Do(req)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	var in struct{ Limit int }
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.limits = append(p.limits, in.Limit)
	p.mu.Unlock()
	return http.DefaultClient.Do(req)
}

// The first pages are small, since how long they take is not known and a page
// that was begun is ended; while they are quick, the next are larger. One is
// read while the one before it is written.
func TestItemsPages(t *testing.T) {
	const n = 3000
	table, transport := newTable(t, n), new(pages)
	it := backfill.Items{Table: table, Change: countOnce, Client: dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(dynamotest.Endpoint(t)), HTTPClient: transport,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	}), Options: backfill.Options{Workers: 1, Target: time.Hour}}
	if _, err := step(t.Context(), new(auroratest.Memory), it.Run); err != nil {
		t.Fatal(err)
	}
	wantCounters(t, table, n)
	if diff := cmp.Diff([]int{100, 100, 200, 400, 800}, transport.limits[:min(5, len(transport.limits))]); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

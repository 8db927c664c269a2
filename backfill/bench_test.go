package backfill_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/backfill"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// pairs is how often both ways run, in turns of who is first: what else the
// machine does then meets both.
const pairs = 6

// compare runs pairs of the raw way and ours, each on data of its own, and
// reports the best rate of each, their ratio, and the median of the pairs'.
func compare(b *testing.B, n int, raw, ours func(b *testing.B) time.Duration) {
	var best [2]float64
	var ratios []float64
	for range b.N {
		for i := range pairs {
			var rate [2]float64
			for k := range 2 {
				who := (i + k) % 2
				rate[who] = float64(n) / [2]func(*testing.B) time.Duration{raw, ours}[who](b).Seconds()
				best[who] = max(best[who], rate[who])
			}
			ratios = append(ratios, 100*rate[1]/rate[0])
		}
	}
	slices.Sort(ratios)
	b.Logf("in percent of raw, pair by pair: %.0f", ratios)
	b.ReportMetric(best[0], "raw-rows/s")
	b.ReportMetric(best[1], "rows/s")
	b.ReportMetric(100*best[1]/best[0], "%-of-raw")
	b.ReportMetric(ratios[len(ratios)/2], "%-median")
	b.ReportMetric(0, "ns/op")
}

// benchTable makes a table of rows of about 150 bytes with a UUID key.
func benchTable(b *testing.B, n int) string {
	b.Helper()
	url := pgtest.URL(b)
	pgtest.Exec(b, url, "CREATE TABLE numbers (id uuid PRIMARY KEY, count int NOT NULL DEFAULT 0, note text) WITH (autovacuum_enabled = false)")
	pgtest.Exec(b, url, fmt.Sprintf("INSERT INTO numbers SELECT lpad(to_hex(i), 32, '0')::uuid, 0, repeat('x', 100) FROM generate_series(1, %d) i", n))
	pgtest.Exec(b, url, "VACUUM ANALYZE numbers")
	pgtest.Exec(b, url, "CHECKPOINT")
	return url
}

// rawRows does the same UPDATE by borders that were read once, autocommit, from
// a queue.
func rawRows(b *testing.B, url string, workers, batch int) {
	b.Helper()
	var borders []string
	for _, row := range pgtest.Query(b, url, fmt.Sprintf("SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM numbers) s WHERE n %% %d = 0", batch)) {
		borders = append(borders, row[0])
	}
	type stretch struct{ after, upTo string }
	queue := make(chan stretch, len(borders)+1)
	after := "00000000-0000-0000-0000-000000000000"
	for _, upTo := range append(borders, "ffffffff-ffff-ffff-ffff-ffffffffffff") {
		queue <- stretch{after, upTo}
		after = upTo
	}
	close(queue)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			conn, err := connector(url)(context.Background())
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close(context.Background())
			for s := range queue {
				if _, err := conn.Exec(context.Background(), "UPDATE numbers SET count = count + 1 WHERE id > $1 AND id <= $2", s.after, s.upTo); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// AURORA_TEST_BACKFILL_ROWS makes it larger.
func BenchmarkRows(b *testing.B) {
	n := size("AURORA_TEST_BACKFILL_ROWS", 200_000)
	check := func(b *testing.B, url string) {
		if got := pgtest.One(b, url, "SELECT sum(count) FROM numbers"); got != fmt.Sprint(n) {
			b.Fatalf("%s rows were changed, want %d", got, n)
		}
		pgtest.Exec(b, url, "DROP TABLE numbers")
	}
	compare(b, n, func(b *testing.B) time.Duration {
		url := benchTable(b, n)
		began := time.Now()
		rawRows(b, url, backfill.DefaultWorkers, 3000)
		took := time.Since(began)
		check(b, url)
		return took
	}, func(b *testing.B) time.Duration {
		url := benchTable(b, n)
		began := time.Now()
		if _, err := step(b.Context(), new(auroratest.Memory), backfill.Rows{Connect: connector(url), Table: "numbers", SQL: addOne}.Run); err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		check(b, url)
		return took
	})
}

// bclient has connections for all writes in flight.
func bclient(b testing.TB) *dynamodb.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 100
	return dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(dynamotest.Endpoint(b)), HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
}

// AURORA_TEST_BACKFILL_ITEMS makes it larger.
func BenchmarkItems(b *testing.B) {
	n := size("AURORA_TEST_BACKFILL_ITEMS", 20_000)
	const workers, inFlight = 4, 4
	client := bclient(b)
	// The raw way meets the items in an order unlike that of their keys too, as
	// everybody does who does not know all keys beforehand.
	item := func(i int) map[string]types.AttributeValue {
		return map[string]types.AttributeValue{"id": text(fmt.Sprintf("item-%07d", i*7919%n))}
	}
	put := func(item map[string]types.AttributeValue) map[string]types.AttributeValue {
		out := map[string]types.AttributeValue{"count": number(1)}
		for k, v := range item {
			out[k] = v
		}
		return out
	}
	raw := func(write func(b *testing.B, table string, from, to int)) func(b *testing.B) time.Duration {
		return func(b *testing.B) time.Duration {
			table := newTable(b, n)
			began := time.Now()
			queue := make(chan int, n/25+1)
			for i := 0; i < n; i += 25 {
				queue <- i
			}
			close(queue)
			var wg sync.WaitGroup
			for range workers * inFlight {
				wg.Go(func() {
					for i := range queue {
						write(b, table, i, min(i+25, n))
					}
				})
			}
			wg.Wait()
			return time.Since(began)
		}
	}
	ours := func(change func(context.Context, map[string]types.AttributeValue) (backfill.Change, error)) func(b *testing.B) time.Duration {
		return func(b *testing.B) time.Duration {
			table := newTable(b, n)
			began := time.Now()
			it := backfill.Items{Client: client, Table: table, Change: change, InFlight: inFlight, Options: backfill.Options{Workers: workers}}
			if _, err := step(b.Context(), new(auroratest.Memory), it.Run); err != nil {
				b.Fatal(err)
			}
			took := time.Since(began)
			wantCounters(b, table, n)
			return took
		}
	}
	b.Run("UpdateItem", func(b *testing.B) {
		compare(b, n, raw(func(b *testing.B, table string, from, to int) {
			for i := from; i < to; i++ {
				change, _ := countOnce(b.Context(), item(i))
				u := change.Update
				if _, err := client.UpdateItem(b.Context(), &dynamodb.UpdateItemInput{TableName: &table, Key: u.Key, UpdateExpression: u.UpdateExpression,
					ConditionExpression: u.ConditionExpression, ExpressionAttributeNames: u.ExpressionAttributeNames, ExpressionAttributeValues: u.ExpressionAttributeValues}); err != nil {
					b.Error(err)
				}
			}
		}), ours(countOnce))
	})
	b.Run("BatchWriteItem", func(b *testing.B) {
		note := text(fmt.Sprintf("%0150d", 0))
		compare(b, n, raw(func(b *testing.B, table string, from, to int) {
			var puts []types.WriteRequest
			for i := from; i < to; i++ {
				full := item(i)
				full["number"], full["note"] = number(i), note
				puts = append(puts, types.WriteRequest{PutRequest: &types.PutRequest{Item: put(full)}})
			}
			if _, err := client.BatchWriteItem(b.Context(), &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{table: puts}}); err != nil {
				b.Error(err)
			}
		}), ours(func(_ context.Context, item map[string]types.AttributeValue) (backfill.Change, error) {
			return backfill.Change{Put: &types.Put{Item: put(item)}}, nil
		}))
	})
}

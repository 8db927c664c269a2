package dynamo_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dynamo"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
)

// counted returns a store behind a proxy that has counted nothing yet.
func counted(t *testing.T) (*dynamo.Store, *dynamotest.Proxy) {
	t.Helper()
	proxy := dynamotest.NewProxy(t)
	return open(t, proxy.URL, newTable(t), ""), proxy
}

func wantCounts(t *testing.T, proxy *dynamotest.Proxy, what string, want map[string]int) {
	t.Helper()
	if diff := cmp.Diff(want, proxy.Counts()); diff != "" {
		t.Errorf("requests for %s (-want +got):\n%s", what, diff)
	}
}

func migrations(n, checkpoints int) []aurora.Migration {
	var out []aurora.Migration
	for i := range n {
		out = append(out, aurora.Migration{Version: version(i), Name: "m", Up: []aurora.Step{aurora.Func{Do: func(ctx context.Context, env *aurora.Env) error {
			for c := range checkpoints {
				if err := env.Checkpoint(ctx, c); err != nil {
					return err
				}
			}
			return nil
		}}}})
	}
	return out
}

// Requests are what a run on DynamoDB costs.
func TestRequestsOfARun(t *testing.T) {
	s, proxy := counted(t)
	const count, checkpoints = 3, 5
	r := aurora.Runner{Store: s, Migrations: migrations(count, checkpoints), Holder: alice, TTL: long}
	if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, proxy, "a run", map[string]int{
		"Query": 2, "GetItem": 1, "UpdateItem": 2, // the plan, before and with the lease; the lease, taken and given back
		"TransactWriteItems": count * (2 + checkpoints), // begun, the checkpoints, completed
	})
	e, err := r.Run(t.Context(), aurora.Request{})
	if err != nil || len(e.Revisions) != 0 {
		t.Fatalf("the second run: %v, %v", e.Revisions, err)
	}
	wantCounts(t, proxy, "a run that has nothing to do", map[string]int{"Query": 1})
}

func TestRequestsOfTheLease(t *testing.T) {
	s, proxy := counted(t)
	lease := acquire(t, s, long)
	wantCounts(t, proxy, "taking the lease", map[string]int{"GetItem": 1, "UpdateItem": 1})
	for range 3 {
		var locked *aurora.LockedError
		if _, err := s.Acquire(t.Context(), alice, long); !errors.As(err, &locked) {
			t.Fatalf("Acquire: %v, want a LockedError", err)
		}
	}
	// A write would get into the way of the holder's.
	wantCounts(t, proxy, "waiting three times", map[string]int{"GetItem": 3})
	if err := lease.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, proxy, "renewing", map[string]int{"UpdateItem": 1})
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, proxy, "releasing", map[string]int{"UpdateItem": 1})
	if _, err := s.Locked(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, proxy, "looking who holds it", map[string]int{"GetItem": 1})
}

func TestRequestsOfSaving(t *testing.T) {
	s, proxy := counted(t)
	lease := acquire(t, s, long)
	proxy.Counts()
	r := revision("e", "1", 1)
	r.Description = "why"
	for i := range 5 {
		r.Output += fmt.Sprintf("line %d\n", i)
		r.Checkpoint = fmt.Appendf(nil, "%d", i)
		save(t, lease, r)
	}
	wantCounts(t, proxy, "five checkpoints", map[string]int{"TransactWriteItems": 5})
	// A revision needs two items of its own; an execution and the lease one.
	save(t, lease, revisions("f", 0, 49)...)
	wantCounts(t, proxy, "what fits into a transaction", map[string]int{"TransactWriteItems": 1})
	// 500 revisions and the execution are 1,001 items: the journal, eleven times
	// 99, and the journal's end.
	save(t, lease, revisions("g", 100, 600)...)
	wantCounts(t, proxy, "500 revisions", map[string]int{"TransactWriteItems": 1 + 11 + 1})
}

func TestRequestsOfReading(t *testing.T) {
	s, proxy := counted(t)
	lease := acquire(t, s, long)
	for i := 0; i < 10_000; i += 1000 {
		save(t, lease, revisions(fmt.Sprint("e", i), i, i+1000)...)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	proxy.Counts()
	latest, err := s.Latest(t.Context())
	if err != nil || len(latest) != 10_000 {
		t.Fatalf("Latest: %d, %v", len(latest), err)
	}
	counts := proxy.Counts()
	if n := counts["Query"]; n > 6 || n == 0 || len(counts) != 1 {
		t.Errorf("Latest of 10,000 took %v, want at most 6 queries", counts)
	}
	page, cursor, err := s.Executions(t.Context(), "", 2)
	if err != nil || len(page) != 2 || cursor == "" {
		t.Fatalf("Executions: %d, %q, %v", len(page), cursor, err)
	}
	// The index, and for each execution its thousand revisions of half a kilobyte.
	wantCounts(t, proxy, "a page of executions", map[string]int{"GetItem": 1, "Query": 1 + 2})
	if _, _, err := s.Revisions(t.Context(), version(7), "", 20); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, proxy, "a migration's attempts", map[string]int{"GetItem": 1, "Query": 3})
	if _, err := s.Revision(t.Context(), "e0", version(7)); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, proxy, "one attempt", map[string]int{"GetItem": 1, "Query": 1})
}

// A page of attempts costs the same however many there are, and nothing for what
// they have said.
func TestRequestsOfAttempts(t *testing.T) {
	s, proxy := counted(t)
	lease := acquire(t, s, long)
	var tries []aurora.Revision
	for i := range 200 {
		r := revision(fmt.Sprint("try", i), "1", i+1)
		r.Output = fmt.Sprintf("try %d\n", i)
		tries = append(tries, r)
	}
	save(t, lease, tries...)
	proxy.Counts()
	seen := make(map[string]bool)
	for cursor, left := "", 200; ; {
		page, next, err := s.Revisions(t.Context(), "1", cursor, 20)
		if err != nil || len(page) != 20 || page[0].Seq != left {
			t.Fatalf("Revisions with %d left: %+v, %v", left, page, err)
		}
		// The newest, the index, and each of the page.
		wantCounts(t, proxy, "a page of attempts", map[string]int{"GetItem": 1, "Query": 2 + 20})
		for _, r := range page {
			seen[r.ExecutionID] = true
		}
		if cursor, left = next, left-20; cursor == "" {
			break
		}
	}
	if len(seen) != 200 {
		t.Errorf("the pages have %d of 200 attempts", len(seen))
	}
}

// A long output is compressed, and one that did not change is not written again.
func TestOutputIsNotWrittenTwice(t *testing.T) {
	table := newTable(t)
	s := open(t, dynamotest.Endpoint(t), table, "")
	lease := acquire(t, s, long)
	r := revision("e", "1", 1)
	for i := range 6000 {
		r.Output += fmt.Sprintf("row %d of the table is %x\n", i, i*i)
	}
	save(t, lease, r)
	before := itemOf(t, table, "text#e#1#output#0000")
	if size := len(before["gz"].(bytesValue).Value); size == 0 || size > len(r.Output)/2 {
		t.Errorf("%d bytes of output are kept as %d", len(r.Output), size)
	}
	deleteItem(t, table, "text#e#1#output#0000")
	r.Checkpoint = []byte(`1`)
	save(t, lease, r)
	if itemOf(t, table, "text#e#1#output#0000") != nil {
		t.Error("an output that did not change was written again")
	}
	r.Output += "one more line\n"
	save(t, lease, r)
	got, err := s.Revision(t.Context(), "e", "1")
	if err != nil || got.Output != r.Output {
		t.Errorf("Revision: %d bytes of output, %v", len(got.Output), err)
	}
}

func TestOutlivesItsContextOnlyForAWhile(t *testing.T) {
	s, proxy := counted(t)
	lease := acquire(t, s, long)
	// An interrupt while a write is under way: it is done, and known to be.
	proxy.Fail(dynamotest.Fault{Op: "TransactWriteItems", Kind: dynamotest.Delay, Delay: 2 * time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	proxy.Counts()
	go func() {
		defer cancel()
		for proxy.Counts()["TransactWriteItems"] == 0 && t.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
	}()
	if err := lease.Save(ctx, revision("e", "1", 1)); err != nil {
		t.Errorf("Save that was interrupted: %v", err)
	}
	if ctx.Err() == nil {
		t.Fatal("the test's context has not ended")
	}
	latest, err := s.Latest(t.Context())
	if err != nil || len(latest) != 1 {
		t.Errorf("Latest: %d, %v", len(latest), err)
	}
}

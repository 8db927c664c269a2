package dynamo_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dynamo"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
)

// always is more often than anything is tried.
const always = 1000

// Whatever befalls a single request, every operation does what it should,
// once, and says so.
func TestEveryOperationOutlivesEveryFault(t *testing.T) {
	t.Parallel()
	for _, kind := range []dynamotest.Kind{
		dynamotest.Throttling, dynamotest.Exceeded, dynamotest.Conflict, dynamotest.DropBefore, dynamotest.DropAfter, dynamotest.Late,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s, proxy := counted(t)
			fail := func() {
				proxy.Heal()
				for _, op := range []string{"GetItem", "Query", "UpdateItem", "TransactWriteItems"} {
					proxy.Fail(dynamotest.Fault{Op: op, Kind: kind, Times: 2})
				}
			}
			fail()
			lease := acquire(t, s, long)
			for _, n := range []int{1, 150} {
				fail()
				save(t, lease, revisions(fmt.Sprint("e", n), 0, n)...)
			}
			fail()
			if err := lease.Renew(t.Context()); err != nil {
				t.Errorf("Renew: %v", err)
			}
			fail()
			latest, err := s.Latest(t.Context())
			if err != nil || len(latest) != 150 {
				t.Errorf("Latest: %d, %v", len(latest), err)
			}
			fail()
			if e, err := s.Execution(t.Context(), "e150"); err != nil || len(e.Revisions) != 150 {
				t.Errorf("Execution: %d, %v", len(e.Revisions), err)
			}
			fail()
			if err := lease.Release(t.Context()); err != nil {
				t.Errorf("Release: %v", err)
			}
			fail()
			next := acquire(t, s, long)
			if next.Token() != lease.Token()+1 {
				t.Errorf("token %d after %d", next.Token(), lease.Token())
			}
			fail()
			if err := s.Break(t.Context(), next.Token()); err != nil {
				t.Errorf("Break: %v", err)
			}
			// What was late must change nothing now.
			proxy.Heal()
			third := acquire(t, s, long)
			save(t, third, revision("f", "1", 1))
			before, err := s.Latest(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			codes := proxy.Deliver(t)
			if kind == dynamotest.Late && len(codes) == 0 {
				t.Error("nothing was late")
			}
			if err := third.Renew(t.Context()); err != nil {
				t.Errorf("Renew after late requests %v: %v", codes, err)
			}
			if after, err := s.Latest(t.Context()); err != nil || !cmp.Equal(before, after) {
				t.Errorf("late requests %v changed the history (%v):\n%s", codes, err, cmp.Diff(before, after))
			}
		})
	}
}

// The answer is lost each time, so that only reading back tells.
func TestOutcomeIsReadBack(t *testing.T) {
	t.Parallel()
	s, proxy := counted(t)
	proxy.Fail(dynamotest.Fault{Op: "UpdateItem", Kind: dynamotest.DropAfter, Times: always})
	lease := acquire(t, s, long)
	proxy.Heal()
	proxy.Fail(dynamotest.Fault{Op: "TransactWriteItems", Kind: dynamotest.DropAfter, Times: always})
	save(t, lease, revision("e", "1", 1))
	proxy.Heal()
	save(t, lease, revision("e", "2", 2))
	if latest, err := s.Latest(t.Context()); err != nil || len(latest) != 2 {
		t.Errorf("Latest: %d, %v", len(latest), err)
	}
}

// A Save that was given up arrives at last: before the next one it counts,
// after it it must not.
func TestWriteThatComesLate(t *testing.T) {
	t.Parallel()
	for _, late := range []string{"before the next", "after the next", "never"} {
		t.Run(late, func(t *testing.T) {
			t.Parallel()
			s, proxy := counted(t)
			lease := acquire(t, s, long)
			r := revision("e", "1", 1)
			r.State = aurora.Running
			save(t, lease, r)
			proxy.Fail(dynamotest.Fault{Op: "TransactWriteItems", Kind: dynamotest.Late, Times: always})
			r.Begun, r.Output = 1, "given up\n"
			if err := lease.Save(t.Context(), r, revision("e", "2", 2)); err == nil {
				t.Fatal("Save without an answer gave no error")
			}
			proxy.Heal()
			if late == "before the next" {
				proxy.Deliver(t)
			}
			r.State, r.Begun, r.Output = aurora.Failed, 0, "final\n"
			save(t, lease, r)
			if late == "after the next" {
				proxy.Deliver(t)
			}
			got, _, err := s.Revisions(t.Context(), "1", "", 10)
			if err != nil || len(got) != 1 || got[0].State != aurora.Failed {
				t.Errorf("Revisions: %+v, %v; want the final one", got, err)
			}
			if got, err := s.Revision(t.Context(), "e", "1"); err != nil || got.Output != "final\n" {
				t.Errorf("Revision: %+v, %v; want the final one", got, err)
			}
			want := map[bool]int{true: 2, false: 1}[late == "before the next"]
			if latest, err := s.Latest(t.Context()); err != nil || len(latest) != want {
				t.Errorf("Latest: %d, %v; want %d", len(latest), err, want)
			}
			save(t, lease, revision("e", "3", 3))
		})
	}
}

func TestFaultsThatLastAreReported(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind dynamotest.Kind
		want string
	}{
		{dynamotest.Expired, "the AWS credentials have expired; log in again"},
		{dynamotest.Denied, "lack the right dynamodb:Query on the table and its indexes"},
		{dynamotest.Throttling, "takes no more requests at the moment"},
		{"UnrecognizedClientException", "AWS does not accept the credentials"},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind), func(t *testing.T) {
			t.Parallel()
			s, proxy := counted(t)
			proxy.Fail(dynamotest.Fault{Kind: tt.kind, Times: always})
			_, err := s.Latest(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestDeniedWriteNamesTheRight(t *testing.T) {
	t.Parallel()
	s, proxy := counted(t)
	lease := acquire(t, s, long)
	proxy.Fail(dynamotest.Fault{Op: "TransactWriteItems", Kind: dynamotest.Denied, Times: always})
	err := lease.Save(t.Context(), revision("e", "1", 1))
	if err == nil || !strings.Contains(err.Error(), "dynamodb:PutItem") {
		t.Errorf("Save: %v, want the missing right", err)
	}
}

func TestNoCredentials(t *testing.T) {
	noAWS(t)
	s, err := dynamo.Open(t.Context(), dynamo.Config{Table: "history", Region: "eu-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	var bad *dynamo.TableError
	if _, err := s.Latest(t.Context()); !errors.As(err, &bad) || !strings.Contains(err.Error(), "there are no AWS credentials to ask it with; log in") {
		t.Errorf("Latest: %v, want that there are no credentials", err)
	}
}

// keys counts how often it was asked for credentials.
type keys struct{ asked atomic.Int32 }

func (k *keys) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: fmt.Sprint("AKID", k.asked.Add(1)), SecretAccessKey: "s"}, nil
}

// Credentials that AWS no longer takes are asked for anew, once.
func TestExpiredCredentialsAreRenewed(t *testing.T) {
	proxy := dynamotest.NewProxy(t)
	provider := &keys{}
	client := dynamodb.New(dynamodb.Options{Region: "us-east-1", BaseEndpoint: &proxy.URL, Credentials: aws.NewCredentialsCache(provider)})
	s, err := dynamo.Open(t.Context(), dynamo.Config{Table: newTable(t), Client: client})
	if err != nil {
		t.Fatal(err)
	}
	lease := acquire(t, s, long)
	before := provider.asked.Load()
	proxy.Fail(dynamotest.Fault{Kind: dynamotest.Expired})
	save(t, lease, revision("e", "1", 1))
	if n := provider.asked.Load() - before; n != 1 {
		t.Errorf("credentials were asked for %d times, want once", n)
	}
}

// An interrupt in the middle of taking the lease gives it back.
func TestInterruptedAcquireLeavesTheLeaseFree(t *testing.T) {
	s, proxy := counted(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	proxy.Fail(dynamotest.Fault{Op: "UpdateItem", Kind: dynamotest.Delay, Delay: 300 * time.Millisecond})
	if lease, err := s.Acquire(ctx, alice, long); err == nil {
		t.Fatalf("Acquire gave lease %d", lease.Token())
	} else if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Acquire: %v, want the context's error", err)
	}
	if locked, err := s.Locked(t.Context()); locked != nil || err != nil {
		t.Errorf("Locked: %v, %v; want nil", locked, err)
	}
}

package dynamo_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
)

func isLocked(t *testing.T, err error) bool {
	t.Helper()
	var locked *aurora.LockedError
	if err != nil && !errors.As(err, &locked) {
		t.Fatalf("got %v, want a LockedError or none", err)
	}
	return err != nil
}

// A process that comes later takes a dead holder's lease at once when
// DynamoDB's own clock says that it ended long ago, and only then.
func TestLeaseThatEndedLongAgo(t *testing.T) {
	for _, tt := range []struct {
		name  string
		later time.Duration
		free  bool
	}{
		{"at once", 0, false},
		{"at its end", long + 5*time.Second, false},
		{"a time to live after its end", 2*long + 5*time.Second, true},
		{"a clock that goes backwards", -24 * time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			table := newTable(t)
			proxy := dynamotest.NewProxy(t)
			old := open(t, proxy.URL, table, "")
			if _, err := old.Latest(t.Context()); err != nil { // brings the server's time
				t.Fatal(err)
			}
			lease := acquire(t, old, long)
			proxy.Clock(func() time.Time { return time.Now().Add(tt.later) })
			fresh := open(t, proxy.URL, table, "")
			locked, err := fresh.Locked(t.Context())
			if err != nil || (locked == nil) != tt.free {
				t.Errorf("Locked: %v, %v; want free: %v", locked, err, tt.free)
			}
			next, err := fresh.Acquire(t.Context(), alice, long)
			if isLocked(t, err) == tt.free {
				t.Fatalf("Acquire: %v, want free: %v", err, tt.free)
			}
			if tt.free && next.Token() != lease.Token()+1 {
				t.Errorf("token %d after %d", next.Token(), lease.Token())
			}
			// Who has been away that long is fenced off.
			if err := lease.Save(t.Context(), revision("e", "1", 1)); errors.Is(err, aurora.ErrLeaseLost) != tt.free {
				t.Errorf("Save of the old holder: %v, want it lost: %v", err, tt.free)
			}
		})
	}
}

// Where no server says what time it is, the clock of the holder's machine is all
// that an end can be by. Such an end frees no lease.
func TestHoldersClockIsNotTrusted(t *testing.T) {
	table := newTable(t)
	proxy := dynamotest.NewProxy(t)
	proxy.Clock(func() time.Time { return time.Time{} })
	acquire(t, open(t, proxy.URL, table, ""), time.Minute)
	setNumber(t, table, "endsMillis", time.Now().AddDate(-1, 0, 0).UnixMilli())
	fresh := open(t, dynamotest.Endpoint(t), table, "")
	if _, err := fresh.Acquire(t.Context(), alice, long); !isLocked(t, err) {
		t.Error("an end that a year has passed since, by the holder's clock, freed the lease")
	}
	// The test's own change is what it should be: by DynamoDB's clock, it frees.
	table = newTable(t)
	acquire(t, open(t, dynamotest.Endpoint(t), table, ""), time.Minute)
	setNumber(t, table, "endsMillis", time.Now().AddDate(-1, 0, 0).UnixMilli())
	if _, err := open(t, dynamotest.Endpoint(t), table, "").Acquire(t.Context(), alice, long); isLocked(t, err) {
		t.Errorf("Acquire: %v", err)
	}
}

// setNumber changes an attribute of the lease's item.
func setNumber(t *testing.T, table, name string, n int64) {
	t.Helper()
	_, err := dynamotest.Client(dynamotest.Endpoint(t)).UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: &table, Key: keyOf("lease"), UpdateExpression: aws.String("SET " + name + " = :n"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":n": &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A waiter that has seen the lease unchanged for its time to live takes it,
// and the holder has stopped by then.
func TestWaiterTakesALeaseThatStandsStill(t *testing.T) {
	table := newTable(t)
	holder := open(t, dynamotest.Endpoint(t), table, "")
	waiter := open(t, dynamotest.Endpoint(t), table, "")
	const ttl = 4 * time.Second
	lease := acquire(t, holder, ttl)
	save(t, lease, revision("e", "1", 1))
	deadline := time.Now().Add(long)
	for {
		_, err := waiter.Acquire(t.Context(), alice, long)
		if !isLocked(t, err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the lease was never had")
		}
		time.Sleep(10 * time.Millisecond)
	}
	for what, err := range map[string]error{
		"Save": lease.Save(t.Context(), revision("e", "2", 2)), "Renew": lease.Renew(t.Context()),
	} {
		if !errors.Is(err, aurora.ErrLeaseLost) {
			t.Errorf("%s: %v, want ErrLeaseLost", what, err)
		}
	}
}

// A renewal that DynamoDB did and whose answer was lost is as good as another.
func TestRenewWhoseAnswerIsLost(t *testing.T) {
	s, proxy := counted(t)
	lease := acquire(t, s, long)
	proxy.Fail(dynamotest.Fault{Op: "UpdateItem", Kind: dynamotest.DropAfter})
	if err := lease.Renew(t.Context()); err != nil {
		t.Errorf("Renew: %v", err)
	}
	proxy.Fail(dynamotest.Fault{Op: "UpdateItem", Kind: dynamotest.DropAfter, Times: always})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := lease.Renew(ctx); err == nil || errors.Is(err, aurora.ErrLeaseLost) {
		t.Errorf("Renew without any answer: %v, want an error that does not say that the lease is lost", err)
	}
	proxy.Heal()
	if err := lease.Renew(t.Context()); err != nil {
		t.Errorf("Renew afterwards: %v", err)
	}
}

package dynamo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/aurora-migrate/aurora"
)

// grace is how long a write goes on after its context has ended, so that its
// outcome is known.
const grace = 5 * time.Second

// margin is the least by which DynamoDB's clock must be past the end of a lease
// for the lease to be over on its word alone.
const margin = 10 * time.Second

// A record is the lease's item.
type record struct {
	token   int64
	held    bool
	beat    int64 // changes when the lease is renewed
	ttl     time.Duration
	ends    time.Time // not before this, by DynamoDB's clock
	dated   bool      // ends is by DynamoDB's clock, not by the holder's
	holder  aurora.Holder
	mark    string // of the request that last took or broke the lease
	saves   int64  // how many writes of the history there were under it
	save    string // the last of them
	journal string // the one that is to be redone, or empty
}

func parseRecord(m map[string]types.AttributeValue) *record {
	if m == nil {
		return nil
	}
	r := &record{
		token: number(m["fencingToken"]), held: boolean(m["held"]), beat: number(m["beat"]),
		ttl: time.Duration(number(m["ttlMillis"])) * time.Millisecond, ends: time.UnixMilli(number(m["endsMillis"])).UTC(),
		dated: boolean(m["dated"]), mark: text(m["mark"]), saves: number(m["saves"]), save: text(m["lastSave"]), journal: text(m["journal"]),
	}
	_ = json.Unmarshal([]byte(text(m["holder"])), &r.holder) // an unreadable holder is an unknown one
	return r
}

func (r *record) locked() *aurora.LockedError {
	return &aurora.LockedError{Holder: r.holder, Token: r.token, ExpiresAt: r.ends}
}

// A watch remembers since when the lease has looked as it does.
type watch struct {
	mu          sync.Mutex
	token, beat int64
	since       time.Time
}

// stands returns how long the lease has been seen unchanged.
func (w *watch) stands(r *record) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() || w.token != r.token || w.beat != r.beat {
		w.token, w.beat, w.since = r.token, r.beat, time.Now()
	}
	return time.Since(w.since)
}

// isFree reports whether the lease can be had. date is DynamoDB's time when it
// answered, if it said. The holder counts its time to live from before it asked
// for it, this process from after it saw what came of that, so the lease is
// over for the holder first.
func (s *Store) isFree(r *record, date time.Time) bool {
	if r == nil || !r.held {
		return true
	}
	if s.watch.stands(r) >= r.ttl {
		return true
	}
	return r.dated && !date.IsZero() && date.After(r.ends.Add(max(r.ttl, margin)))
}

// readLease returns the lease's item, nil where there is none, and DynamoDB's
// time.
func (s *Store) readLease(ctx context.Context) (*record, time.Time, error) {
	out, err := s.getItem(ctx, &dynamodb.GetItemInput{TableName: &s.table, Key: s.leaseKey(), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, time.Time{}, err
	}
	return parseRecord(out.Item), dateOf(out.ResultMetadata), nil
}

func (s *Store) leaseKey() map[string]types.AttributeValue {
	return map[string]types.AttributeValue{s.names.PK: str(s.pk), s.names.SK: str(kindLease)}
}

// Locked returns who holds the lease, or nil. A process that has not watched
// the lease for its time to live cannot tell that it has ended until some time
// later.
func (s *Store) Locked(ctx context.Context) (*aurora.LockedError, error) {
	r, date, err := s.readLease(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the lease: %w", err)
	}
	if s.isFree(r, date) {
		return nil, nil
	}
	return r.locked(), nil
}

// Acquire takes the project's lease. It costs one read while somebody else
// holds it, and one write more to take it.
func (s *Store) Acquire(ctx context.Context, holder aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	who, err := json.Marshal(holder)
	if err != nil {
		return nil, fmt.Errorf("encode the holder: %w", err)
	}
	// An interrupt in the middle must not leave the lease taken.
	asking, cancel := outlive(ctx, grace)
	defer cancel()
	for try := 0; ; try++ {
		seen, date, err := s.readLease(asking)
		switch {
		case err != nil:
			return nil, fmt.Errorf("read the lease: %w", err)
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !s.isFree(seen, date):
			return nil, seen.locked()
		case try > 10: // others always come first
			return nil, &aurora.LockedError{Holder: seen.holder, Token: seen.token, ExpiresAt: seen.ends}
		}
		l, err := s.take(asking, seen, string(who), ttl)
		if err != nil {
			return nil, fmt.Errorf("take the lease: %w", err)
		}
		if l == nil {
			continue
		}
		if err := l.redo(asking); err != nil {
			return nil, errors.Join(fmt.Errorf("finish what an earlier run was saving: %w", err), l.Release(asking))
		}
		if ctx.Err() != nil {
			return nil, errors.Join(context.Cause(ctx), l.Release(asking))
		}
		return l, nil
	}
}

// take takes the lease provided that it still is as it was seen. It returns nil
// when it is not.
func (s *Store) take(ctx context.Context, seen *record, who string, ttl time.Duration) (*lease, error) {
	token, condition := int64(1), "attribute_not_exists(#pk)"
	values := map[string]types.AttributeValue{}
	names := map[string]string{"#pk": s.names.PK}
	if seen != nil {
		token, condition = seen.token+1, "fencingToken = :oldToken AND beat = :oldBeat AND held = :oldHeld"
		names = nil
		values[":oldToken"], values[":oldBeat"], values[":oldHeld"] = num(seen.token), num(seen.beat), flag(seen.held)
	}
	l := &lease{store: s, token: token, ttl: ttl, ends: time.Now().Add(ttl), mark: aurora.NewExecutionID()}
	ends, dated := s.endsIn(ttl)
	for name, v := range map[string]types.AttributeValue{
		":token": num(token), ":true": flag(true), ":one": num(1), ":zero": num(0), ":ttl": num(max(ttl.Milliseconds(), 1)), ":ends": num(ends.UnixMilli()),
		":dated": flag(dated), ":holder": str(who), ":mark": str(l.mark), ":none": str(""),
	} {
		values[name] = v
	}
	out, err := s.updateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.table, Key: s.leaseKey(), ConditionExpression: &condition,
		UpdateExpression: aws.String("SET fencingToken = :token, held = :true, beat = :one, ttlMillis = :ttl, endsMillis = :ends, dated = :dated," +
			" holder = :holder, mark = :mark, saves = :zero, lastSave = :none"),
		ExpressionAttributeNames: names, ExpressionAttributeValues: values,
		ReturnValues:                        types.ReturnValueAllNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	var now *record
	var failed *types.ConditionalCheckFailedException
	switch {
	case err == nil:
		now = parseRecord(out.Attributes)
	case errors.As(err, &failed):
		now = parseRecord(failed.Item)
	default:
		// The answer may have been lost, not the request.
		var rerr error
		if now, _, rerr = s.readLease(ctx); rerr != nil {
			return nil, err
		}
		if now == nil || now.mark != l.mark {
			return nil, err
		}
	}
	// The mark tells our own request, which a retry found already done, from
	// somebody else's.
	if now == nil || now.mark != l.mark || !now.held {
		return nil, nil
	}
	l.journal = now.journal
	return l, nil
}

// endsIn is when a lease ends that is taken now, and whether that is by
// DynamoDB's clock.
func (s *Store) endsIn(ttl time.Duration) (time.Time, bool) {
	if now, ok := s.clock.atMost(); ok {
		return now.Add(ttl), true
	}
	return time.Now().Add(ttl), false
}

// Break ends the lease with that token.
func (s *Store) Break(ctx context.Context, token int64) error {
	mark := aurora.NewExecutionID()
	_, err := s.updateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.table, Key: s.leaseKey(),
		ConditionExpression: aws.String("fencingToken = :token AND held = :true"),
		UpdateExpression:    aws.String("SET held = :false, mark = :mark"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":token": num(token), ":true": flag(true), ":false": flag(false), ":mark": str(mark),
		},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	var failed *types.ConditionalCheckFailedException
	switch {
	case errors.As(err, &failed):
		if now := parseRecord(failed.Item); now != nil && now.mark == mark {
			return nil // a retry found it done
		}
		return fmt.Errorf("lease %d: %w", token, aurora.ErrNotFound)
	case err != nil:
		return fmt.Errorf("break the lease: %w", err)
	}
	return nil
}

// A lease is the right to write, until another has the token.
type lease struct {
	store *Store
	token int64
	ttl   time.Duration
	mark  string

	ending sync.Mutex
	ends   time.Time // by this process's clock, which is ahead of everybody else's watch

	saving  sync.Mutex
	saves   int64    // how many writes were made under this lease
	journal string   // the one that is to be redone, or empty
	unsure  []*draft // since the last write that is known: at most one of them happened, or will
	known   known
}

// Token returns the fencing token.
func (l *lease) Token() int64 { return l.token }

// isOver reports whether the time to live has passed since the last renewal was
// asked for: others may take the lease from now on.
func (l *lease) isOver() bool {
	l.ending.Lock()
	defer l.ending.Unlock()
	return !time.Now().Before(l.ends)
}

// Renew moves the end of the lease.
func (l *lease) Renew(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if l.isOver() {
		return aurora.ErrLeaseLost
	}
	asked := time.Now()
	err := l.update(ctx, "SET beat = beat + :one, endsMillis = :ends, dated = :dated", func(values map[string]types.AttributeValue) {
		ends, dated := l.store.endsIn(l.ttl)
		values[":one"], values[":ends"], values[":dated"] = num(1), num(ends.UnixMilli()), flag(dated)
	})
	if err != nil {
		if errors.Is(err, aurora.ErrLeaseLost) {
			return err
		}
		return fmt.Errorf("renew the lease: %w", err)
	}
	l.ending.Lock()
	defer l.ending.Unlock()
	if ends := asked.Add(l.ttl); ends.After(l.ends) {
		l.ends = ends
	}
	return nil
}

// Release ends the lease if it is still ours.
func (l *lease) Release(ctx context.Context) error {
	err := l.update(ctx, "SET held = :false", func(values map[string]types.AttributeValue) { values[":false"] = flag(false) })
	if err != nil && !errors.Is(err, aurora.ErrLeaseLost) {
		return fmt.Errorf("release the lease: %w", err)
	}
	return nil
}

// update changes the lease's item if it is still ours. Doing so twice is as
// good as once.
func (l *lease) update(ctx context.Context, expression string, values func(map[string]types.AttributeValue)) error {
	v := map[string]types.AttributeValue{":token": num(l.token), ":true": flag(true)}
	values(v)
	_, err := l.store.updateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &l.store.table, Key: l.store.leaseKey(),
		ConditionExpression:       aws.String("fencingToken = :token AND held = :true"),
		UpdateExpression:          &expression,
		ExpressionAttributeValues: v,
	})
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) {
		return aurora.ErrLeaseLost
	}
	return err
}

// checkKeys refuses what no key of the table has room for.
func checkKeys(r aurora.Revision) error {
	for what, s := range map[string]string{"version": r.Version, "execution's identifier": r.ExecutionID} {
		if len(escape(s)) > keyLimit {
			return fmt.Errorf("the %s %s… has more than %d bytes", what, strings.ToValidUTF8(s[:40], ""), keyLimit)
		}
	}
	return nil
}

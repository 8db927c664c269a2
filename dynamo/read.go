package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/aurora-migrate/aurora"
)

// parallel is how many requests a reader has under way at once.
const parallel = 8

// scan returns the items whose sort keys are in a range, in their order, and
// the lease if it is among them. It reads what every write before it has left.
func (s *Store) scan(ctx context.Context, low, high string) ([]item, *record, error) {
	in := &dynamodb.QueryInput{
		TableName: &s.table, ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("#pk = :pk AND #sk BETWEEN :low AND :high"),
		ExpressionAttributeNames:  map[string]string{"#pk": s.names.PK, "#sk": s.names.SK},
		ExpressionAttributeValues: map[string]types.AttributeValue{":pk": str(s.pk), ":low": str(low), ":high": str(high)},
	}
	var items []item
	var lease *record
	for {
		out, err := s.query(ctx, in)
		if err != nil {
			return nil, nil, err
		}
		for _, m := range out.Items {
			if it := s.parse(m); it.SK == kindLease {
				lease = parseRecord(m)
			} else {
				items = append(items, it)
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			return items, lease, nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// A view reads the history with the journal, if there is one, in its place.
type view struct {
	store   *Store
	journal []item
}

// look calls read with a view. It starts over when what it reads changes in
// the middle.
func (s *Store) look(ctx context.Context, read func(*view) error) error {
	for try := 0; ; try++ {
		err := s.lookOnce(ctx, read)
		if !errors.Is(err, errTorn) || try == 5 {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause(try)):
		}
	}
}

func (s *Store) lookOnce(ctx context.Context, read func(*view) error) error {
	lease, _, err := s.readLease(ctx)
	if err != nil {
		return err
	}
	if lease == nil {
		return nil // nobody ever wrote
	}
	v := &view{store: s}
	if err := v.open(ctx, lease); err != nil {
		return err
	}
	return read(v)
}

// open reads the journal that the lease names.
func (v *view) open(ctx context.Context, lease *record) (err error) {
	if lease != nil && lease.journal != "" {
		v.journal, _, err = v.store.readJournal(ctx, lease.journal)
	}
	return err
}

// scan is the store's, with the journal's items in place of older ones.
func (v *view) scan(ctx context.Context, low, high string) (map[string]item, error) {
	items, _, err := v.store.scan(ctx, low, high)
	if err != nil {
		return nil, err
	}
	return v.merge(items, low, high), nil
}

func (v *view) merge(items []item, low, high string) map[string]item {
	out := make(map[string]item, len(items))
	for _, it := range items {
		out[it.SK] = it
	}
	for _, it := range v.journal {
		if low <= it.SK && it.SK <= high {
			out[it.SK] = it
		}
	}
	return out
}

// readLatest returns the newest revision of every migration: a query for each
// megabyte of them, which is some 2,000.
func (s *Store) readLatest(ctx context.Context) ([]aurora.Revision, error) {
	low, high := kindLatest+"#", kindLease
	items, lease, err := s.scan(ctx, low, high)
	if err != nil {
		return nil, err
	}
	v := &view{store: s}
	if err := v.open(ctx, lease); err != nil {
		return nil, err
	}
	merged := v.merge(items, low, high)
	var out []aurora.Revision
	for sk, it := range merged {
		if len(fields(sk)) != 2 {
			continue
		}
		r, err := revisionOf(it, merged)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b aurora.Revision) int { return aurora.CompareVersions(a.Version, b.Version) })
	return out, nil
}

// heads returns the revisions of an execution, without their texts, and the
// items they came from.
func (v *view) heads(ctx context.Context, execution string) ([]aurora.Revision, []item, error) {
	low := key(kindRun, execution) + "#"
	merged, err := v.scan(ctx, low, low+last)
	if err != nil {
		return nil, nil, err
	}
	var revisions []aurora.Revision
	var heads []item
	for sk, it := range merged {
		if len(fields(sk)) != 3 {
			continue
		}
		r, err := revisionOf(it, merged)
		if err != nil {
			return nil, nil, err
		}
		revisions, heads = append(revisions, r), append(heads, it)
	}
	return revisions, heads, nil
}

// execution returns the revisions of an execution, whole.
func (v *view) execution(ctx context.Context, id string) ([]aurora.Revision, error) {
	revisions, heads, err := v.heads(ctx, id)
	if err != nil {
		return nil, err
	}
	low := key(kindText, id) + "#"
	return revisions, v.addTexts(ctx, revisions, heads, low, low+last)
}

// revision returns one revision, whole, and false when there is none.
func (v *view) revision(ctx context.Context, execution, version string) (aurora.Revision, bool, error) {
	low := key(kindRun, execution, version)
	merged, err := v.scan(ctx, low, low+"#"+last)
	if err != nil {
		return aurora.Revision{}, false, err
	}
	head, ok := merged[low]
	if !ok {
		return aurora.Revision{}, false, nil
	}
	r, err := revisionOf(head, merged)
	if err != nil {
		return aurora.Revision{}, false, err
	}
	whole := []aurora.Revision{r}
	low = key(kindText, execution, version) + "#"
	err = v.addTexts(ctx, whole, []item{head}, low, low+last)
	return whole[0], true, err
}

// addTexts reads the range that has the texts of revisions, if they have any.
func (v *view) addTexts(ctx context.Context, revisions []aurora.Revision, heads []item, low, high string) error {
	if !slices.ContainsFunc(heads, func(h item) bool { return h.Output+h.Description > 0 }) {
		return nil
	}
	texts, err := v.scan(ctx, low, high)
	if err != nil {
		return err
	}
	for i := range revisions {
		r := &revisions[i]
		if r.Output, err = textOf(*r, textOutput, heads[i].Output, texts); err != nil {
			return err
		}
		if r.Description, err = textOf(*r, textDescription, heads[i].Description, texts); err != nil {
			return err
		}
	}
	return nil
}

// attempts returns the executions that ran a migration, in no order. The index
// may be some moments behind; the newest attempt is also known from elsewhere.
func (v *view) attempts(ctx context.Context, version string) ([]string, error) {
	s := v.store
	low := key(kindLatest, version)
	latest, err := v.scan(ctx, low, low+"#"+last)
	if err != nil {
		return nil, err
	}
	head, ok := latest[low]
	if !ok {
		return nil, nil
	}
	newest, err := revisionOf(head, latest)
	if err != nil {
		return nil, err
	}
	executions := []string{newest.ExecutionID}
	in := &dynamodb.QueryInput{
		TableName: &s.table, IndexName: &s.names.Attempts,
		KeyConditionExpression:    aws.String("#pk = :pk"),
		ExpressionAttributeNames:  map[string]string{"#pk": s.names.GSI2PK},
		ExpressionAttributeValues: map[string]types.AttributeValue{":pk": str(s.attemptsKey(version))},
	}
	for {
		out, err := s.query(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, m := range out.Items {
			executions = append(executions, fields(text(m[s.names.SK]))[1])
		}
		if len(out.LastEvaluatedKey) == 0 {
			break
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
	for _, it := range v.journal {
		if it.GSI2PK == s.attemptsKey(version) {
			executions = append(executions, fields(it.SK)[1])
		}
	}
	slices.Sort(executions)
	return slices.Compact(executions), nil
}

// runs returns the places of executions in their index, newest first, at most
// limit of them, from behind the place before on.
func (v *view) runs(ctx context.Context, before string, limit int) ([]string, error) {
	s := v.store
	in := &dynamodb.QueryInput{
		TableName: &s.table, IndexName: &s.names.Executions, ScanIndexForward: aws.Bool(false), Limit: aws.Int32(int32(min(limit, 1000))),
		KeyConditionExpression:    aws.String("#pk = :pk"),
		ExpressionAttributeNames:  map[string]string{"#pk": s.names.GSI1PK},
		ExpressionAttributeValues: map[string]types.AttributeValue{":pk": str(s.pk)},
	}
	if before != "" {
		in.KeyConditionExpression = aws.String("#pk = :pk AND #sk < :before")
		in.ExpressionAttributeNames["#sk"] = s.names.GSI1SK
		in.ExpressionAttributeValues[":before"] = str(before)
	}
	places := make(map[string]string) // by execution
	add := func(place string) {
		execution := place[strings.LastIndexByte(place, '#')+1:]
		if places[execution] < place && (before == "" || place < before) {
			places[execution] = place
		}
	}
	for {
		out, err := s.query(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, m := range out.Items {
			add(text(m[s.names.GSI1SK]))
		}
		if len(out.LastEvaluatedKey) == 0 || len(places) >= limit {
			break
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
	for _, it := range v.journal {
		if it.GSI1SK != "" {
			add(it.GSI1SK)
		}
	}
	var out []string
	for _, place := range places {
		out = append(out, place)
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out[:min(limit, len(out))], nil
}

// each calls f for 0 to n-1, some at once, and returns the first error.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	free := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i := range n {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			if ctx.Err() != nil {
				return
			}
			if err := f(ctx, i); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("read the history: %w", context.Cause(ctx))
	}
	return nil
}

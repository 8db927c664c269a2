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

// heads returns the revisions of an execution, without their texts.
func (v *view) heads(ctx context.Context, execution string) ([]aurora.Revision, error) {
	low := key(kindRun, execution) + "#"
	merged, err := v.scan(ctx, low, low+last)
	if err != nil {
		return nil, err
	}
	var revisions []aurora.Revision
	for sk, it := range merged {
		if len(fields(sk)) != 3 {
			continue
		}
		r, err := revisionOf(it, merged)
		if err != nil {
			return nil, err
		}
		revisions = append(revisions, r)
	}
	return revisions, nil
}

// head returns one revision, without its texts, and the item it came from, and
// false when there is none.
func (v *view) head(ctx context.Context, execution, version string) (aurora.Revision, item, bool, error) {
	low := key(kindRun, execution, version)
	merged, err := v.scan(ctx, low, low+"#"+last)
	if err != nil {
		return aurora.Revision{}, item{}, false, err
	}
	it, ok := merged[low]
	if !ok {
		return aurora.Revision{}, item{}, false, nil
	}
	r, err := revisionOf(it, merged)
	return r, it, err == nil, err
}

// revision returns one revision, whole, or none.
func (v *view) revision(ctx context.Context, execution, version string) ([]aurora.Revision, error) {
	r, it, ok, err := v.head(ctx, execution, version)
	if err != nil || !ok {
		return nil, err
	}
	return v.addTexts(ctx, r, it)
}

// addTexts reads the texts of a revision, if it has any.
func (v *view) addTexts(ctx context.Context, r aurora.Revision, head item) ([]aurora.Revision, error) {
	if head.Output+head.Description == 0 {
		return []aurora.Revision{r}, nil
	}
	low := key(kindText, r.ExecutionID, r.Version) + "#"
	texts, err := v.scan(ctx, low, low+last)
	if err != nil {
		return nil, err
	}
	if r.Output, err = textOf(r, textOutput, head.Output, texts); err != nil {
		return nil, err
	}
	if r.Description, err = textOf(r, textDescription, head.Description, texts); err != nil {
		return nil, err
	}
	return []aurora.Revision{r}, nil
}

// attempts returns the places of a migration's attempts in their index, newest
// first, at most limit of them, from behind the place before on. The index may
// be some moments behind; the newest attempt is also known from elsewhere.
func (v *view) attempts(ctx context.Context, version, before string, limit int) ([]string, error) {
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
	known := []string{placeIn(newest)}
	for _, it := range v.journal {
		if it.GSI2PK == s.attemptsKey(version) {
			known = append(known, it.GSI2SK)
		}
	}
	return v.places(ctx, index{s.names.Attempts, s.names.GSI2PK, s.names.GSI2SK}, s.attemptsKey(version), known, before, limit)
}

// runs returns the places of executions in their index, newest first, at most
// limit of them, from behind the place before on.
func (v *view) runs(ctx context.Context, before string, limit int) ([]string, error) {
	s := v.store
	var known []string
	for _, it := range v.journal {
		if it.GSI1SK != "" {
			known = append(known, it.GSI1SK)
		}
	}
	return v.places(ctx, index{s.names.Executions, s.names.GSI1PK, s.names.GSI1SK}, s.pk, known, before, limit)
}

// An index is one of the table's, with the names of its key.
type index struct{ name, pk, sk string }

// places returns what is under a key of an index or known otherwise, the newest
// place of each execution, newest first, at most limit of them, from behind the
// place before on.
func (v *view) places(ctx context.Context, ix index, pk string, known []string, before string, limit int) ([]string, error) {
	in := &dynamodb.QueryInput{
		TableName: &v.store.table, IndexName: &ix.name, ScanIndexForward: aws.Bool(false), Limit: aws.Int32(int32(min(limit, 1000))),
		KeyConditionExpression:    aws.String("#pk = :pk"),
		ExpressionAttributeNames:  map[string]string{"#pk": ix.pk},
		ExpressionAttributeValues: map[string]types.AttributeValue{":pk": str(pk)},
	}
	if before != "" {
		in.KeyConditionExpression = aws.String("#pk = :pk AND #sk < :before")
		in.ExpressionAttributeNames["#sk"] = ix.sk
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
		out, err := v.store.query(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, m := range out.Items {
			add(text(m[ix.sk]))
		}
		if len(out.LastEvaluatedKey) == 0 || len(places) >= limit {
			break
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
	for _, place := range known {
		add(place)
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

package dynamo

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/aurora-migrate/aurora"
)

// What one transaction takes (docs.aws.amazon.com, "Amazon DynamoDB
// Transactions"): 100 items and 4 MB, of which one is the lease.
const (
	maxItems = 99
	maxBytes = 3_500_000
)

// known is what a lease knows of what it has written, so that it need not write
// or read it again: nobody else writes under its token.
type known struct {
	revisions map[string]map[string]saved // by version and execution
	runs      map[string]int              // the greatest Seq of each execution
}

// saved is one revision as it was written.
type saved struct {
	bare                aurora.Revision
	output, description [sha256.Size]byte
}

// newest returns which of the revisions of one version Latest shows.
func newest(of map[string]saved) (aurora.Revision, bool) {
	var best aurora.Revision
	found := false
	for _, s := range of {
		c := best.Compare(s.bare)
		if !found || c < 0 || c == 0 && best.ExecutionID < s.bare.ExecutionID {
			best, found = s.bare, true
		}
	}
	return best, found
}

// A draft is what one Save writes, and what will be known then.
type draft struct {
	id    string
	items map[string]item
	order []string // of their keys, so that tests see the same every time
	then  known
}

func (d *draft) put(items ...item) {
	for _, it := range items {
		if _, ok := d.items[it.SK]; !ok {
			d.order = append(d.order, it.SK)
		}
		d.items[it.SK] = it
	}
}

// list returns the items in their order.
func (d *draft) list() []item {
	out := make([]item, len(d.order))
	for i, sk := range d.order {
		out[i] = d.items[sk]
	}
	return out
}

// fits reports whether the items go into one transaction together with the
// lease.
func fits(items []item) bool {
	size := 0
	for _, it := range items {
		size += it.size()
	}
	return len(items) <= maxItems && size <= maxBytes
}

// draft works out which items revisions need.
func (l *lease) draft(revisions []aurora.Revision) (*draft, error) {
	d := &draft{
		id: aurora.NewExecutionID(), items: make(map[string]item),
		then: known{revisions: make(map[string]map[string]saved), runs: make(map[string]int)},
	}
	var versions []string
	shown := make(map[string]string) // the execution that Latest shows so far
	for _, r := range revisions {
		if err := checkKeys(r); err != nil {
			return nil, err
		}
		r.Token = l.token
		of := d.then.revisions[r.Version]
		if of == nil {
			of = maps.Clone(l.known.revisions[r.Version])
			if of == nil {
				of = make(map[string]saved)
			}
			d.then.revisions[r.Version] = of
			versions = append(versions, r.Version)
			if before, ok := newest(of); ok {
				shown[r.Version] = before.ExecutionID
			}
		}
		before, isKnown := of[r.ExecutionID]
		now := saved{bare(r), sha256.Sum256([]byte(r.Output)), sha256.Sum256([]byte(r.Description))}
		of[r.ExecutionID] = now
		output, description := textItems(r, textOutput, r.Output), textItems(r, textDescription, r.Description)
		heads, err := l.store.revisionItems(r, len(output), len(description))
		if err != nil {
			return nil, err
		}
		d.put(heads...)
		if !isKnown || before.output != now.output {
			d.put(output...)
		}
		if !isKnown || before.description != now.description {
			d.put(description...)
		}
		seq, ok := d.then.runs[r.ExecutionID]
		if !ok {
			seq, ok = l.known.runs[r.ExecutionID]
		}
		if !ok || seq < r.Seq {
			d.then.runs[r.ExecutionID] = r.Seq
			d.put(runItem(r))
		}
	}
	for _, v := range versions {
		top, _ := newest(d.then.revisions[v])
		if _, touched := d.items[key(kindRun, top.ExecutionID, v)]; !touched && shown[v] == top.ExecutionID {
			continue
		}
		items, err := latestItems(top)
		if err != nil {
			return nil, err
		}
		d.put(items...)
	}
	return d, nil
}

// keep remembers what a draft has written.
func (l *lease) keep(d *draft) {
	if l.known.revisions == nil {
		l.known = known{revisions: make(map[string]map[string]saved), runs: make(map[string]int)}
	}
	maps.Copy(l.known.revisions, d.then.revisions)
	maps.Copy(l.known.runs, d.then.runs)
}

// Save writes revisions, all or none: in one request if they fit into a
// transaction, or else through a journal.
func (l *lease) Save(ctx context.Context, revisions ...aurora.Revision) error {
	if len(revisions) == 0 {
		return nil
	}
	l.saving.Lock()
	defer l.saving.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if l.isOver() {
		return aurora.ErrLeaseLost
	}
	asking, cancel := outlive(ctx, grace)
	defer cancel()
	for {
		if err := l.redo(asking); err != nil {
			return err
		}
		d, err := l.draft(revisions)
		if err != nil {
			return err
		}
		if items := d.list(); fits(items) {
			err = l.write(asking, d, l.puts(items), nil)
		} else {
			err = l.saveLarge(asking, d, items)
		}
		if errors.Is(err, errRedraft) {
			continue
		}
		if err == nil {
			l.keep(d)
		}
		return err
	}
}

// errRedraft says that an earlier write of the lease happened after all, so
// that what is known has changed.
var errRedraft = errors.New("an earlier write happened after all")

func (l *lease) puts(items []item) []types.TransactWriteItem {
	out := make([]types.TransactWriteItem, len(items))
	for i, it := range items {
		out[i] = types.TransactWriteItem{Put: &types.Put{TableName: &l.store.table, Item: l.store.item(it)}}
	}
	return out
}

// write does one transaction: the writes, provided that the lease is still ours
// and that this is the next write under it. So a request that was given up, and
// that the network brings later, changes nothing. journal is what becomes of
// the lease's journal: nil for nothing.
func (l *lease) write(ctx context.Context, d *draft, writes []types.TransactWriteItem, journal *string) error {
	values := map[string]types.AttributeValue{
		":token": num(l.token), ":true": flag(true), ":before": num(l.saves), ":after": num(l.saves + 1), ":id": str(d.id),
	}
	expression := "SET saves = :after, lastSave = :id"
	if journal != nil {
		expression += ", journal = :journal"
		values[":journal"] = str(*journal)
	}
	_, err := l.store.transactWrite(ctx, &dynamodb.TransactWriteItemsInput{
		// Also DynamoDB does a request with the same token only once.
		ClientRequestToken: aws.String(aurora.NewExecutionID()),
		TransactItems: append([]types.TransactWriteItem{{Update: &types.Update{
			TableName: &l.store.table, Key: l.store.leaseKey(),
			ConditionExpression:                 aws.String("fencingToken = :token AND held = :true AND saves = :before"),
			UpdateExpression:                    &expression,
			ExpressionAttributeValues:           values,
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}}}, writes...),
	})
	if err == nil {
		l.saves, l.unsure = l.saves+1, nil
		return nil
	}
	now, refused := leaseIn(err)
	if !refused {
		if isRefused(err) {
			return fmt.Errorf("write the history: %w", err)
		}
		// The answer may have been lost, not the request.
		var rerr error
		if now, _, rerr = l.store.readLease(ctx); rerr != nil {
			l.unsure = append(l.unsure, d)
			return fmt.Errorf("write the history: %w", err)
		}
	}
	switch {
	case now == nil || now.token != l.token || !now.held:
		return aurora.ErrLeaseLost
	case now.save == d.id:
		l.saves, l.unsure = now.saves, nil
		return nil
	}
	if i := slices.IndexFunc(l.unsure, func(u *draft) bool { return u.id == now.save }); i >= 0 {
		l.keep(l.unsure[i])
		l.saves, l.unsure, l.journal = now.saves, nil, now.journal
		return errRedraft
	}
	if !refused { // not yet, at least
		l.unsure = append(l.unsure, d)
		return fmt.Errorf("write the history: %w", err)
	}
	return fmt.Errorf("write the history: the lease's item counts %d writes, this process %d: somebody else changed it", now.saves, l.saves)
}

// leaseIn returns the lease's item if it was what a transaction failed at.
func leaseIn(err error) (*record, bool) {
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) || len(cancelled.CancellationReasons) == 0 {
		return nil, false
	}
	first := cancelled.CancellationReasons[0]
	return parseRecord(first.Item), aws.ToString(first.Code) == "ConditionalCheckFailed"
}

// isRefused reports whether DynamoDB has said that it will not do what was
// asked, so that there is no doubt about the outcome.
func isRefused(err error) bool {
	var table *TableError
	return errors.As(err, &table) || hasCode(err, "ValidationException", "IdempotentParameterMismatchException")
}

// chunks cuts items so that each piece fits into a transaction.
func chunks(items []item) [][]item {
	var out [][]item
	for len(items) > 0 {
		n, size := 0, 0
		for n < len(items) && n < maxItems && (n == 0 || size+items[n].size() <= maxBytes) {
			size += items[n].size()
			n++
		}
		out = append(out, slices.Clip(items[:n]))
		items = items[n:]
	}
	return out
}

package backfill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/aurora-migrate/aurora"
)

const (
	// maxPage is the largest page of a scan unless Options.Batch says more.
	// DynamoDB ends a page at 1 MB (Amazon DynamoDB Developer Guide, "Paginating
	// table query results").
	maxPage = 4000
	// DefaultPageTarget is how long a page should take.
	DefaultPageTarget = time.Second
	// DefaultInFlight is how many writes each worker has in flight.
	DefaultInFlight = 8
	// batchWrite is how many writes one BatchWriteItem takes (Amazon DynamoDB
	// API Reference, "BatchWriteItem").
	batchWrite = 25
)

// Items changes the items of a DynamoDB table: a parallel scan, or a query, and
// one write for each item that needs one. See the package's documentation for
// what happens exactly once.
//
// Requests that are throttled are sent again, and all workers slow down together
// until the table bears it; then they try more, a fifth a second.
//
// It needs the rights to DescribeTable, to Scan or Query, and to the writes that
// Change asks for.
type Items struct {
	// Client does the requests. Retries are done here: its own retryer is not
	// used. With many workers its HTTP client should keep as many idle
	// connections to one host as there are writes in flight.
	Client *dynamodb.Client
	// Table is the table's name.
	Table string
	// Scan is what the scan is made of, for a filter, a projection or an index.
	// The key attributes of the table have to be in the projection. Table,
	// segments, limit and place are filled in.
	Scan dynamodb.ScanInput
	// Query, if set, is gone through instead of a scan, by one worker.
	Query *dynamodb.QueryInput
	// Change says what to do to an item. It is called by several goroutines and,
	// after an interruption, again for the same item. An error is that of its
	// item.
	Change func(ctx context.Context, item map[string]types.AttributeValue) (Change, error)
	// InFlight is how many writes each worker has in flight. Defaults to
	// [DefaultInFlight].
	InFlight int

	// Options.Batch is the size of a page, at most 4,000 items unless set; pages
	// shrink while they take longer than Options.Target, which defaults to
	// DefaultPageTarget. Each worker has two pages in memory.
	Options
}

// A Change is what happens to one item: the first that is set of these, or
// nothing. The name of the table may be left out. A write whose condition does
// not hold is not a failure: the item counts as visited and unchanged.
type Change struct {
	// Update is an UpdateItem.
	Update *types.Update
	// Put and Delete are written 25 at a time when they have no condition
	// (BatchWriteItem). What another program wrote since the item was read is
	// lost then, so they are for items that nobody else writes.
	Put    *types.Put
	Delete *types.Delete
	// Transact are writes that happen together (TransactWriteItems).
	Transact []types.TransactWriteItem
}

func (c Change) isNothing() bool {
	return c.Update == nil && c.Put == nil && c.Delete == nil && len(c.Transact) == 0
}

func (it *Items) check() error {
	switch {
	case it.Client == nil:
		return errors.New("backfill: items need a client")
	case it.Table == "":
		return errors.New("backfill: items need a table")
	case it.Change == nil:
		return fmt.Errorf("backfill of %s: items need a change", it.Table)
	case it.InFlight < 0 || it.InFlight > 1000:
		return fmt.Errorf("backfill of %s: %d writes in flight are not between 1 and 1000", it.Table, it.InFlight)
	}
	it.Name = cmp.Or(it.Name, it.Table)
	it.Batch = cmp.Or(it.Batch, maxPage)
	it.InFlight = cmp.Or(it.InFlight, DefaultInFlight)
	it.Target = cmp.Or(it.Target, DefaultPageTarget)
	if err := it.Options.check(); err != nil {
		return err
	}
	if it.Query != nil {
		it.Workers = 1
	}
	return nil
}

// source says what is gone through, for the checkpoint.
func (it *Items) source() string {
	index := it.Scan.IndexName
	s := "scan of " + it.Table
	if it.Query != nil {
		index = it.Query.IndexName
		s = "query of " + it.Table + " " + aws.ToString(it.Query.KeyConditionExpression)
	}
	if index != nil {
		s += " by " + *index
	}
	return s
}

// Run visits all items that were not visited before the last checkpoint. It is a
// step of a migration.
//
// The error wraps [aurora.ErrPaused] when the deadline is near, and is a
// [*FailedError] when an item failed; whatever it is, the next Run goes on.
func (it Items) Run(ctx context.Context, env *aurora.Env) error {
	if err := it.check(); err != nil {
		return err
	}
	j, err := newJob(env, it.Options, it.Table, it.source(), "")
	if err != nil {
		return err
	}
	if j.st.Complete {
		return j.again(ctx)
	}
	run := newItemsRun(it, j)
	err = run.all(ctx)
	j.end(err)
	if err != nil {
		return fmt.Errorf("backfill %s: %w", it.Name, err)
	}
	return nil
}

// DryRun reads all items and asks what to change, and writes nothing.
func (it Items) DryRun(ctx context.Context) (Count, error) {
	if err := it.check(); err != nil {
		return Count{}, err
	}
	it.Throttle = nil
	j, err := newJob(&aurora.Env{}, it.Options, it.Table, it.source(), "")
	if err != nil {
		return Count{}, err
	}
	run := newItemsRun(it, j)
	run.dry = true
	if err := run.all(ctx); err != nil {
		return Count{}, fmt.Errorf("dry run of backfill %s: %w", it.Name, err)
	}
	r := j.result()
	return Count{Rows: r.Visited, Tried: r.Visited, Changed: r.Changed}, nil
}

// An itemsRun is Items at work.
type itemsRun struct {
	Items
	*job
	keys []string // the table's key attributes
	dry  bool
}

func newItemsRun(it Items, j *job) *itemsRun { return &itemsRun{Items: it, job: j} }

func (r *itemsRun) all(ctx context.Context) error {
	if err := r.run(ctx, 1, r.prepare); err != nil {
		return err
	}
	if n := r.enqueue(); n > 0 {
		if err := r.run(ctx, min(n, r.Workers), r.work); err != nil {
			return err
		}
	}
	return r.complete(ctx)
}

// prepare looks at the table and makes the parts: segments of the scan.
func (r *itemsRun) prepare(ctx context.Context) error {
	out, err := call(ctx, r, r.Client.DescribeTable, &dynamodb.DescribeTableInput{TableName: &r.Table})
	if err != nil {
		return fmt.Errorf("look at the table %s: %w", r.Table, err)
	}
	for _, k := range out.Table.KeySchema {
		r.keys = append(r.keys, aws.ToString(k.AttributeName))
	}
	if r.st.Parts != nil {
		return nil
	}
	parts := make([]*part, r.Workers) // segments are of about the same size
	for i := range parts {
		parts[i] = &part{number: i}
	}
	r.mu.Lock()
	r.st.Parts = parts
	if r.Query == nil && r.Scan.IndexName == nil {
		r.st.Total = aws.ToInt64(out.Table.ItemCount)
	}
	r.mu.Unlock()
	return r.save(ctx)
}

// text shows an item's key to a person.
func (r *itemsRun) text(item map[string]types.AttributeValue) string {
	var parts []string
	for _, name := range r.keys {
		switch v := item[name].(type) {
		case *types.AttributeValueMemberS:
			parts = append(parts, name+"="+v.Value)
		case *types.AttributeValueMemberN:
			parts = append(parts, name+"="+v.Value)
		case *types.AttributeValueMemberB:
			parts = append(parts, fmt.Sprintf("%s=%x", name, v.Value))
		default:
			parts = append(parts, name+" unknown")
		}
	}
	return strings.Join(parts, ", ")
}

// page reads the next page of a part. At the end there is no key to go on with.
func (r *itemsRun) page(ctx context.Context, p *part, from itemKey, limit int) ([]map[string]types.AttributeValue, itemKey, error) {
	if r.Query != nil {
		in := *r.Query
		in.TableName, in.Limit, in.ExclusiveStartKey = &r.Table, aws.Int32(int32(limit)), from
		out, err := call(ctx, r, r.Client.Query, &in)
		if err != nil {
			return nil, nil, fmt.Errorf("query %s: %w", r.Table, err)
		}
		return out.Items, out.LastEvaluatedKey, nil
	}
	in := r.Scan
	in.TableName, in.Limit, in.ExclusiveStartKey = &r.Table, aws.Int32(int32(limit)), from
	in.Segment, in.TotalSegments = aws.Int32(int32(p.number)), aws.Int32(int32(len(r.st.Parts)))
	out, err := call(ctx, r, r.Client.Scan, &in)
	if err != nil {
		return nil, nil, fmt.Errorf("scan %s: %w", r.Table, err)
	}
	return out.Items, out.LastEvaluatedKey, nil
}

// identity is a text that two writes to the same item share.
func (r *itemsRun) identity(w types.WriteRequest) string {
	var item map[string]types.AttributeValue
	if w.PutRequest != nil {
		item = w.PutRequest.Item
	} else {
		item = w.DeleteRequest.Key
	}
	var b strings.Builder
	for _, name := range r.keys {
		switch v := item[name].(type) {
		case *types.AttributeValueMemberS:
			fmt.Fprintf(&b, "%d:%s", len(v.Value), v.Value)
		case *types.AttributeValueMemberN:
			fmt.Fprintf(&b, "%d:%s", len(v.Value), v.Value)
		case *types.AttributeValueMemberB:
			fmt.Fprintf(&b, "%d:%s", len(v.Value), v.Value)
		}
	}
	return b.String()
}

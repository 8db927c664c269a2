package backfill

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/aurora-migrate/aurora"
)

// firstPage is the size of a page to begin with: small, since nobody knows yet how
// long one takes, and what was begun is ended.
const firstPage = 100

// work is what one worker does: segment after segment.
func (r *itemsRun) work(ctx context.Context) error {
	size := newSizer(firstPage, r.Batch, r.Target)
	for p := r.take(); p != nil; p = r.take() {
		if err := r.part(ctx, p, size); err != nil {
			return err
		}
	}
	return nil
}

// A page is what was read of a part.
type page struct {
	items []map[string]types.AttributeValue
	next  itemKey // where to go on, nil at the end
	err   error
}

// ahead reads a page while the one before it is written.
func (r *itemsRun) ahead(ctx context.Context, p *part, from itemKey, limit int) <-chan page {
	out := make(chan page, 1)
	go func() {
		items, next, err := r.page(ctx, p, from, limit)
		out <- page{items, next, err}
	}()
	return out
}

// part goes through one segment.
func (r *itemsRun) part(ctx context.Context, p *part, size *sizer) error {
	limit := func() int { return r.pace.cap(size.size, r.Workers) }
	reading := r.ahead(ctx, p, p.Segment, limit())
	for !r.stopped() {
		now := <-reading
		if now.err != nil {
			return now.err
		}
		r.pace.wait(ctx, r.halt, len(now.items))
		if r.stopped() {
			return nil
		}
		if now.next != nil {
			reading = r.ahead(ctx, p, now.next, limit())
		}
		began := time.Now()
		changed, whole, err := r.write(ctx, now.items)
		if err != nil {
			return err
		}
		if !whole {
			r.advance(p, 0, changed, func() {}) // the next run visits the page again
			return nil
		}
		took := time.Since(began)
		r.advance(p, int64(len(now.items)), changed, func() { p.Segment, p.Done = now.next, now.next == nil })
		if p.Done {
			return nil
		}
		if len(now.items) > 0 {
			size.took(took * time.Duration(size.size) / time.Duration(len(now.items)))
		}
		sleep(ctx, r.halt, r.pace.rest(took))
	}
	return nil
}

// A failure is an item that could not be changed.
type failure struct {
	item map[string]types.AttributeValue
	err  error
}

// writes are those of a page.
type writes struct {
	r       *itemsRun
	changed atomic.Int64
	slots   chan struct{}
	wg      sync.WaitGroup

	mu     sync.Mutex
	failed []failure
	fatal  error
}

// write changes the items of a page and returns how many were. When the
// backfill is to stop it goes on to the end of the page, unless that takes much
// longer than pages should.
func (r *itemsRun) write(ctx context.Context, items []map[string]types.AttributeValue) (changed int64, whole bool, err error) {
	began := time.Now()
	whole = true
	w := &writes{r: r, slots: make(chan struct{}, r.InFlight)}
	var plain []types.WriteRequest
	var whose []map[string]types.AttributeValue
	var ids []string
	flush := func() {
		requests, items := plain, whose
		plain, whose, ids = nil, nil, nil
		if len(requests) > 0 {
			w.start(func() { w.batch(ctx, requests, items) })
		}
	}
	for _, item := range items {
		if whole = !w.stopped() && (!r.stopped() || time.Since(began) < 2*r.Target); !whole {
			break
		}
		var change Change
		err := guarded(func() (err error) {
			change, err = r.Change(ctx, item)
			return err
		})
		request, isPlain := r.plain(change)
		switch {
		case err != nil && !isStop(err):
			w.fail(item, err)
		case err != nil:
			w.note(item, err)
		case change.isNothing():
		case r.dry:
			w.changed.Add(1)
		case isPlain:
			id := r.identity(request)
			if slices.Contains(ids, id) {
				flush() // one BatchWriteItem takes one write to an item
				w.wg.Wait()
			}
			ids = append(ids, id)
			if plain, whose = append(plain, request), append(whose, item); len(plain) == batchWrite {
				flush()
			}
		default:
			w.start(func() { w.note(item, w.one(ctx, change)) })
		}
	}
	flush()
	w.wg.Wait()
	if w.fatal != nil {
		return 0, false, w.fatal
	}
	for _, f := range w.failed {
		if err := r.failed(ctx, r.text(f.item), f.err); err != nil {
			return 0, false, err
		}
	}
	return w.changed.Load(), whole, nil
}

// start does a write beside others, when there is a slot.
func (w *writes) start(do func()) {
	w.slots <- struct{}{}
	w.wg.Go(func() {
		defer func() { <-w.slots }()
		do()
	})
}

func (w *writes) stopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fatal != nil
}

// note keeps an error: of the item, or one that ends everything.
func (w *writes) note(item map[string]types.AttributeValue, err error) {
	if err == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if isItems(err) {
		w.failed = append(w.failed, failure{item, err})
	} else if w.fatal == nil {
		w.fatal = fmt.Errorf("%s: %w", w.r.text(item), err)
	}
}

// fail keeps an item that could not be changed.
func (w *writes) fail(item map[string]types.AttributeValue, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = append(w.failed, failure{item, err})
}

// isStop reports that the caller's function says to stop everything.
func isStop(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, aurora.ErrPaused) || errors.Is(err, aurora.ErrLeaseLost)
}

// plain makes a request for BatchWriteItem of a change to the table that has no
// condition.
func (r *itemsRun) plain(c Change) (types.WriteRequest, bool) {
	switch {
	case c.Update != nil:
	case c.Put != nil:
		if c.Put.ConditionExpression == nil && r.isOwn(c.Put.TableName) {
			return types.WriteRequest{PutRequest: &types.PutRequest{Item: c.Put.Item}}, true
		}
	case c.Delete != nil:
		if c.Delete.ConditionExpression == nil && r.isOwn(c.Delete.TableName) {
			return types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: c.Delete.Key}}, true
		}
	}
	return types.WriteRequest{}, false
}

func (r *itemsRun) isOwn(table *string) bool { return table == nil || *table == r.Table }

func (r *itemsRun) orOwn(table *string) *string {
	if table == nil {
		return &r.Table
	}
	return table
}

// one does one change alone.
func (w *writes) one(ctx context.Context, c Change) (err error) {
	r := w.r
	switch {
	case c.Update != nil:
		u := c.Update
		_, err = call(ctx, r, r.Client.UpdateItem, &dynamodb.UpdateItemInput{
			TableName: r.orOwn(u.TableName), Key: u.Key, UpdateExpression: u.UpdateExpression, ConditionExpression: u.ConditionExpression,
			ExpressionAttributeNames: u.ExpressionAttributeNames, ExpressionAttributeValues: u.ExpressionAttributeValues,
		})
	case c.Put != nil:
		p := c.Put
		_, err = call(ctx, r, r.Client.PutItem, &dynamodb.PutItemInput{
			TableName: r.orOwn(p.TableName), Item: p.Item, ConditionExpression: p.ConditionExpression,
			ExpressionAttributeNames: p.ExpressionAttributeNames, ExpressionAttributeValues: p.ExpressionAttributeValues,
		})
	case c.Delete != nil:
		d := c.Delete
		_, err = call(ctx, r, r.Client.DeleteItem, &dynamodb.DeleteItemInput{
			TableName: r.orOwn(d.TableName), Key: d.Key, ConditionExpression: d.ConditionExpression,
			ExpressionAttributeNames: d.ExpressionAttributeNames, ExpressionAttributeValues: d.ExpressionAttributeValues,
		})
	default:
		err = w.transact(ctx, c.Transact)
	}
	if isUnmet(err) {
		return nil
	}
	if err == nil {
		w.did(1)
	}
	return err
}

func (w *writes) did(n int) {
	w.changed.Add(int64(n))
	w.r.pace.did(n, time.Now())
}

// transact does writes that happen together. The SDK gives the request a token,
// so that the same input sent again within ten minutes happens once.
func (w *writes) transact(ctx context.Context, parts []types.TransactWriteItem) error {
	in := &dynamodb.TransactWriteItemsInput{
		TransactItems: make([]types.TransactWriteItem, len(parts)), ClientRequestToken: aws.String(rand.Text()),
	}
	for i, t := range parts {
		if t.Update != nil {
			u := *t.Update
			u.TableName, t.Update = w.r.orOwn(u.TableName), &u
		}
		if t.Put != nil {
			p := *t.Put
			p.TableName, t.Put = w.r.orOwn(p.TableName), &p
		}
		if t.Delete != nil {
			d := *t.Delete
			d.TableName, t.Delete = w.r.orOwn(d.TableName), &d
		}
		if t.ConditionCheck != nil {
			c := *t.ConditionCheck
			c.TableName, t.ConditionCheck = w.r.orOwn(c.TableName), &c
		}
		in.TransactItems[i] = t
	}
	_, err := call(ctx, w.r, w.r.Client.TransactWriteItems, in)
	return err
}

// batch does up to 25 changes that have no condition. What DynamoDB left
// unprocessed is sent again, more slowly.
func (w *writes) batch(ctx context.Context, requests []types.WriteRequest, items []map[string]types.AttributeValue) {
	r := w.r
	left := requests
	for try, began := 0, time.Now(); len(left) > 0; {
		out, err := call(ctx, r, r.Client.BatchWriteItem, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{r.Table: left}})
		if isItems(err) {
			w.singly(ctx, requests, items) // to see whose fault it is
			return
		}
		if err == nil && time.Since(began) > patience {
			err = fmt.Errorf("writes are left unprocessed after %s", patience)
		}
		if err != nil {
			w.note(items[0], err)
			return
		}
		unprocessed := out.UnprocessedItems[r.Table]
		w.did(len(left) - len(unprocessed))
		if len(unprocessed) < len(left) {
			try, began = 0, time.Now()
		}
		if left = unprocessed; len(left) > 0 {
			r.pace.complained(time.Now())
			sleep(ctx, nil, pauseAfter(try))
			try++
		}
	}
}

// singly does the changes of a batch one by one.
func (w *writes) singly(ctx context.Context, requests []types.WriteRequest, items []map[string]types.AttributeValue) {
	for i, request := range requests {
		change := Change{}
		if request.PutRequest != nil {
			change.Put = &types.Put{Item: request.PutRequest.Item}
		} else {
			change.Delete = &types.Delete{Key: request.DeleteRequest.Key}
		}
		w.note(items[i], w.one(ctx, change))
	}
}

package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// depth is how many batches are in flight on one connection, so that nothing
// waits for the network between them.
const depth = 4

// firstBatch is the size to begin with.
const firstBatch = 500

// A worker goes through parts, one after the other, over one connection.
type worker struct {
	*rowsRun
	s     *session
	size  *sizer
	tries int       // failures in a row
	since time.Time // of the first of them
}

// work is what one worker does.
func (r *rowsRun) work(ctx context.Context) error {
	w := &worker{rowsRun: r, s: r.session(), size: newSizer(firstBatch, r.Batch, r.Target)}
	defer func() { r.release(w.s) }()
	for p := r.take(); p != nil; p = r.take() {
		if err := w.part(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// part goes through one part.
func (w *worker) part(ctx context.Context, p *part) error {
	var next []border
	for !w.stopped() {
		if next == nil {
			var err error
			if next, err = w.borders(ctx, p.place(), p.UpTo, w.batch(), depth); err != nil {
				return err
			}
			if len(next) == 0 {
				w.advance(p, 0, 0, func() { p.Done = true })
				return nil
			}
		}
		rows := count(next)
		w.pace.wait(ctx, w.halt, int(rows))
		if w.stopped() {
			return nil
		}
		began := time.Now()
		sent := next
		done, following, err := w.attempt(ctx, p, sent, true)
		switch {
		case err == nil:
			w.pace.did(int(rows), time.Now())
			took := time.Since(began)
			if rows >= int64(w.size.size) { // the end of a part says little
				w.size.took(took / time.Duration(len(sent)))
			}
			next = following
			sleep(ctx, w.halt, w.pace.rest(took))
		case ctx.Err() != nil: // which may have cancelled the statement
			return context.Cause(ctx)
		case kindOf(w.s.conn, err) == rowFault:
			if isLimit(err) {
				w.size.tooMuch(int(sent[done].rows))
			}
			if err := w.divide(ctx, p, sent[done], err); err != nil {
				return err
			}
			next = nil
		default:
			if err := w.settle(ctx, p, err); err != nil {
				return err
			}
			next = nil
		}
	}
	return nil
}

func count(bs []border) (n int64) {
	for _, b := range bs {
		n += b.rows
	}
	return n
}

// batch is how many rows the next batch may have.
func (w *worker) batch() int64 {
	return int64(w.pace.cap(w.size.size, w.Workers*depth))
}

// borders looks for the ends of up to n batches.
func (w *worker) borders(ctx context.Context, after, upTo key, size int64, n int) ([]border, error) {
	q := w.table.borders(after, upTo, size, size*int64(n))
	rows, err := w.s.ask(ctx, w.halt, q.sql, q.args)
	if err != nil {
		return nil, fmt.Errorf("look for the next batch: %w", err)
	}
	return readBorders(rows)
}

// attempt does batches that follow one another, the first at the part's place.
// It returns how many were done before one failed and, if asked to look and all
// were, the batches that follow; nil means that they are not known.
func (w *worker) attempt(ctx context.Context, p *part, bs []border, look bool) (done int, following []border, err error) {
	if err := w.s.open(ctx); err != nil {
		return 0, nil, err
	}
	if w.Do != nil && !bs[0].skip {
		for i, b := range bs {
			if i > 0 && w.stopped() {
				return i, nil, nil
			}
			if err := w.call(ctx, p, b); err != nil {
				return i, nil, err
			}
			w.tries = 0
		}
		return len(bs), nil, nil
	}
	var groups [][]query
	marks := make([]string, len(bs))
	mark, after := p.mark, p.place()
	for i, b := range bs {
		var group []query
		if !b.skip {
			group = append(group, w.statement(after, b.key))
		}
		if !w.Idempotent {
			m := w.moveFrom(p, mark, b)
			group = slices.Concat([]query{{sql: "BEGIN"}}, m.queries, group, []query{{sql: "COMMIT"}})
			mark, marks[i] = m.mark, m.mark
		}
		groups = append(groups, group)
		after = b.key
	}
	if look {
		size := w.batch()
		groups = append(groups, []query{w.table.borders(after, p.UpTo, size, size*depth)})
	}
	answers := w.s.exchange(ctx, groups...)
	for i, b := range bs {
		changed, err := w.outcome(answers[i])
		if err != nil {
			return i, nil, err
		}
		w.advance(p, b.rows, changed, func() { p.At, p.mark = b.key, marks[i] })
		w.tries = 0
	}
	if !look {
		return len(bs), nil, nil
	}
	last := answers[len(bs)][0]
	if last.err != nil {
		return len(bs), nil, nil // asking again shows whether it passes
	}
	if following, err = readBorders(last.rows); len(following) == 0 {
		following = nil
	}
	return len(bs), following, err
}

// outcome returns how many rows a batch changed, or why it did not happen.
func (w *worker) outcome(group []answer) (int64, error) {
	for i, a := range group {
		if a.err == nil {
			continue
		}
		if len(group) > 1 && i == 2 && isDivision(a.err) {
			return 0, &guardError{a.err}
		}
		return 0, a.err
	}
	if len(group) == 1 {
		return group[0].tag.RowsAffected(), nil
	}
	end := len(group) - 1
	if tag := group[end].tag.String(); tag != "COMMIT" {
		return 0, fmt.Errorf("the transaction ended with %q", tag)
	}
	if end == 3 {
		return 0, nil // nothing but the progress
	}
	return group[3].tag.RowsAffected(), nil
}

// statement is the caller's SQL for a range.
func (r *rowsRun) statement(after, upTo key) query {
	inRange, args := r.table.inRange(after, upTo, 1)
	return query{strings.Replace(r.SQL, rangeMark, "("+inRange+")", 1), args}
}

// call does one batch through the caller's function.
func (w *worker) call(ctx context.Context, p *part, b border) (err error) {
	tx, err := w.s.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !w.s.conn.IsClosed() {
			if rerr := tx.Rollback(ctx); rerr != nil && !errors.Is(rerr, pgx.ErrTxClosed) {
				w.s.close()
			}
		}
	}()
	mark := p.mark
	if !w.Idempotent {
		m := w.moveFrom(p, mark, b)
		a := w.s.exchange(ctx, m.queries)[0]
		switch {
		case a[0].err != nil:
			return a[0].err
		case isDivision(a[1].err):
			return &guardError{a[1].err}
		case a[1].err != nil:
			return a[1].err
		}
		mark = m.mark
	}
	changed, err := w.change(ctx, tx, p.place(), b)
	if err != nil {
		return err
	}
	if err := tx.Commit(ctx); errors.Is(err, pgx.ErrTxCommitRollback) {
		return &callbackError{fmt.Errorf("the callback returned no error although a statement failed: %w", err)}
	} else if err != nil {
		return err
	}
	w.advance(p, b.rows, changed, func() { p.At, p.mark = b.key, mark })
	return nil
}

// change changes the rows of one batch, in a transaction.
func (r *rowsRun) change(ctx context.Context, tx pgx.Tx, after key, b border) (changed int64, err error) {
	if r.Do == nil {
		q := r.statement(after, b.key)
		args := make([]any, len(q.args))
		for i, a := range q.args {
			args[i] = string(a)
		}
		tag, err := tx.Exec(ctx, q.sql, args...)
		return tag.RowsAffected(), err
	}
	inRange, args := r.table.inRange(after, b.key, 1)
	batch := Batch{Range: "(" + inRange + ")", Rows: b.rows}
	for _, a := range args {
		batch.Args = append(batch.Args, string(a))
	}
	err = guarded(func() error {
		changed, err = r.Do(ctx, tx, batch)
		return err
	})
	if err != nil {
		err = &callbackError{err}
	}
	return changed, err
}

// settle deals with a failure that may pass: it waits, connects again, and looks
// how far the part has come. It returns the error when it cannot.
func (w *worker) settle(ctx context.Context, p *part, failure error) error {
	what := kindOf(w.s.conn, failure)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if what == final {
		return failure
	}
	if w.tries == 0 {
		w.since = time.Now()
	} else if time.Since(w.since) > patience {
		return fmt.Errorf("gave up after %s without a batch that succeeded: %w", patience, failure)
	}
	w.log.Debug("tries a batch again", "try", w.tries+1, "after", failure)
	if what == lost {
		w.s.close()
	}
	if what == conflict && w.tries > 1 {
		w.size.met()
	}
	sleep(ctx, w.halt, pauseAfter(w.tries))
	w.tries++
	if w.Idempotent || what == conflict || w.stopped() {
		return nil
	}
	return w.look(ctx, w.s, p)
}

// divide does a batch in halves, and those in halves, until the rows that fail
// are known.
func (w *worker) divide(ctx context.Context, p *part, b border, reason error) error {
	if b.rows <= 1 {
		return w.skip(ctx, p, b, reason)
	}
	for !w.stopped() {
		half, err := w.borders(ctx, p.place(), b.key, (b.rows+1)/2, 1)
		if err != nil || len(half) == 0 {
			return err
		}
		_, _, err = w.attempt(ctx, p, half[:1], false)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case kindOf(w.s.conn, err) == rowFault:
			err = w.divide(ctx, p, half[0], err)
		default:
			err = w.settle(ctx, p, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// skip leaves a row as it is. That it failed is saved before the part goes on
// behind it, since then nobody will look at it again.
func (w *worker) skip(ctx context.Context, p *part, b border, reason error) error {
	if err := w.failed(ctx, w.table.text(b.key), reason); err != nil {
		return err
	}
	if w.Idempotent {
		w.advance(p, b.rows, 0, func() { p.At = b.key })
		return nil
	}
	b.skip = true
	for before := p.place(); !w.stopped() && slices.Equal(before, p.place()); {
		if _, _, err := w.attempt(ctx, p, []border{b}, false); err != nil {
			if err := w.settle(ctx, p, err); err != nil {
				return err
			}
		}
	}
	return nil
}

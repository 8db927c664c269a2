package backfill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/aurora-migrate/aurora"
)

// rangeMark is where the batch's range goes in [Rows.SQL].
const rangeMark = "{range}"

// maxRows is how many rows a transaction of Aurora DSQL may change (user guide,
// "Cluster quotas and database limits"). Larger batches are not faster on
// PostgreSQL either.
const maxRows = 3000

// Rows changes the rows of a table of PostgreSQL or Aurora DSQL, in batches of
// consecutive keys that are a transaction each. See the package's documentation
// for what happens exactly once.
//
// Rows that are inserted behind the last key while it runs are not visited.
type Rows struct {
	// Connect opens a connection. Each worker has one, opens another when it is
	// lost, and closes it. Defaults to connections to the environment's database.
	Connect func(context.Context) (*pgx.Conn, error)
	// Table is the table to go through, as it is written in SQL.
	Table string
	// Alias is the table's name in SQL and Where, for statements in which the
	// key's columns would be ambiguous.
	Alias string
	// Key are the columns to go by, which an index has to begin with: of any
	// type that can be indexed, without NULLs. Rows with the same key are in the
	// same batch. Defaults to the primary key.
	Key []string
	// Where restricts the rows, as in "deleted_at IS NULL". It becomes part of
	// the range.
	Where string

	// SQL is the statement of a batch, with {range} once, in place of the
	// condition: UPDATE users SET plan = 'free' WHERE {range}. It leaves the
	// key's columns as they are. Either SQL or Do is set.
	SQL string
	// Do changes the rows of a batch through tx and returns how many it changed.
	// It may be called again for the same rows after its transaction failed, so
	// it does nothing else, and does not commit.
	Do func(ctx context.Context, tx pgx.Tx, b Batch) (changed int64, err error)

	// Idempotent says that SQL or Do may happen twice to a row without harm, and
	// saves the progress table.
	Idempotent bool
	// ProgressTable names the table that keeps the place of each part; it is
	// created when missing. Its rows stay behind, a few for each backfill.
	// Defaults to aurora_backfills.
	ProgressTable string

	// Options.Batch is at most 2,999 rows unless set, and 3,000 with Idempotent:
	// Aurora DSQL's limit for a transaction. What a transaction turns out to be
	// too large for (10 MiB, 5 minutes) is split.
	Options
}

// A Batch is a range of keys.
type Batch struct {
	// Range is the condition that is true of its rows, and Args are its
	// arguments: tx.Query(ctx, "SELECT id, name FROM users WHERE "+b.Range, b.Args...)
	Range string
	Args  []any
	// Rows is how many there were when the batch was made.
	Rows int64
}

// check says what is wrong, and fills in what is missing.
func (r *Rows) check() error {
	switch {
	case r.Table == "":
		return errors.New("backfill: rows need a table")
	case (r.SQL == "") == (r.Do == nil):
		return fmt.Errorf("backfill of %s: set either SQL or Do", r.Table)
	case r.SQL != "" && strings.Count(r.SQL, rangeMark) != 1:
		return fmt.Errorf("backfill of %s: the statement needs %s exactly once, in place of its condition", r.Table, rangeMark)
	}
	r.Name = cmp.Or(r.Name, r.Table)
	r.ProgressTable = cmp.Or(r.ProgressTable, "aurora_backfills")
	if r.Batch == 0 {
		if r.Batch = maxRows; !r.Idempotent {
			r.Batch--
		}
	}
	return r.Options.check()
}

// Run changes all rows that were not changed before the last checkpoint. It is
// a step of a migration.
//
// The error wraps [aurora.ErrPaused] when the deadline is near,
// [aurora.ErrLeaseLost] when another process has taken over, and is a
// [*FailedError] when a row failed; whatever it is, the next Run goes on.
func (r Rows) Run(ctx context.Context, env *aurora.Env) error {
	if err := r.check(); err != nil {
		return err
	}
	if r.Connect == nil {
		if r.Connect = connectOf(env); r.Connect == nil {
			return fmt.Errorf("backfill of %s: the environment has no PostgreSQL or Aurora DSQL database to connect to: give it a url, or set Connect", r.Table)
		}
	}
	source := r.Table
	if r.Alias != "" {
		source += " AS " + r.Alias
	}
	if r.Where != "" {
		source += " WHERE " + r.Where
	}
	source += " BY " + cmp.Or(strings.Join(r.Key, ", "), "primary key")
	j, err := newJob(env, r.Options, r.Table, source, r.SQL)
	if err != nil {
		return err
	}
	if j.st.Complete {
		return j.again(ctx)
	}
	j.connect = r.Connect
	run := &rowsRun{Rows: r, job: j, idle: make(chan *session, r.Workers+1), owner: aurora.NewExecutionID()}
	defer run.closeIdle()
	err = run.all(ctx)
	j.end(err)
	if err != nil {
		return fmt.Errorf("backfill %s: %w", r.Name, err)
	}
	return nil
}

// DryRun counts the rows that Run would visit, and tries the first batch in a
// transaction that is rolled back. It needs Connect.
func (r Rows) DryRun(ctx context.Context) (Count, error) {
	if err := r.check(); err != nil {
		return Count{}, err
	}
	if r.Connect == nil {
		return Count{}, fmt.Errorf("dry run of backfill of %s: set Connect: there is no environment with a database", r.Table)
	}
	r.Idempotent, r.Throttle = true, nil
	j, err := newJob(&aurora.Env{}, r.Options, r.Table, "", "")
	if err != nil {
		return Count{}, err
	}
	run := &rowsRun{Rows: r, job: j, idle: make(chan *session, 1)}
	defer run.closeIdle()
	count, err := run.dry(ctx)
	if err != nil {
		return count, fmt.Errorf("dry run of backfill %s: %w", r.Name, err)
	}
	return count, nil
}

// A rowsRun is Rows at work.
type rowsRun struct {
	Rows
	*job
	table *table
	owner string        // marks what this run writes to the progress table
	idle  chan *session // connections that nobody uses
	marks atomic.Int64  // counts the batches that were sent
}

func (r *rowsRun) session() *session {
	select {
	case s := <-r.idle:
		return s
	default:
		return &session{connect: r.Connect}
	}
}

// release keeps a connection for the next to use.
func (r *rowsRun) release(s *session) {
	select {
	case r.idle <- s:
	default:
		s.close()
	}
}

func (r *rowsRun) closeIdle() {
	for {
		select {
		case s := <-r.idle:
			s.close()
		default:
			return
		}
	}
}

// all looks for the parts, if that was not done before, and goes through them.
func (r *rowsRun) all(ctx context.Context) error {
	prepare := func(ctx context.Context) error {
		s := r.session()
		defer r.release(s)
		var err error
		if r.table, err = lookUp(ctx, s, &r.Rows); err != nil {
			return err
		}
		if err := r.split(ctx, s); err != nil || r.stopped() {
			return err
		}
		// The parts have to be known before anything is done to them.
		if err := r.save(ctx); err != nil || r.Idempotent {
			return err
		}
		return r.takeOver(ctx, s)
	}
	if err := r.run(ctx, 1, prepare); err != nil {
		return err
	}
	if n := r.enqueue(); n > 0 {
		if err := r.run(ctx, min(n, r.Workers), r.work); err != nil {
			return err
		}
	}
	return r.complete(ctx)
}

// planPage is the most rows that one query of the look for borders reads.
const planPage = 200_000

// maxBorders bounds what is kept of borders before parts are made of them.
const maxBorders = 1024

// split makes parts of about the same number of rows, reading the index once,
// page by page.
func (r *rowsRun) split(ctx context.Context, s *session) error {
	if r.st.Parts != nil {
		return nil
	}
	r.mu.Lock()
	if r.st.Plan == nil {
		r.st.Plan = &plan{Step: 250}
	}
	r.mu.Unlock()
	p := r.st.Plan
	for {
		if r.stopped() {
			return nil
		}
		size, limit := p.page()
		q := r.table.borders(p.At, nil, size, limit)
		rows, err := s.ask(ctx, r.halt, q.sql, q.args)
		if err != nil {
			return fmt.Errorf("look for the borders of parts: %w", err)
		}
		found, err := readBorders(rows)
		if err != nil {
			return err
		}
		r.mu.Lock()
		counted := p.add(found)
		r.mu.Unlock()
		if counted < limit {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.st.Parts, r.st.Total, r.st.Plan = p.parts(r.parts()), p.Rows, nil
	return nil
}

// page is what the next query asks for: borders so many rows apart, within so
// many rows. Queries do not grow with the table.
func (p *plan) page() (size, limit int64) {
	size = p.Step
	for size > planPage {
		size /= 2
	}
	return size, planPage / size * size
}

// add takes borders and returns how many rows they stand for. When there are too
// many it forgets every second one.
func (p *plan) add(found []border) int64 {
	var counted int64
	for _, b := range found {
		before := p.Rows + counted
		counted += b.rows
		p.At = b.key
		// A page may be less than a step.
		if p.Step <= planPage || (before+b.rows)/p.Step > before/p.Step {
			p.Borders = append(p.Borders, b.key)
		}
	}
	p.Rows += counted
	for len(p.Borders) > maxBorders {
		var kept []key
		for i := 1; i < len(p.Borders); i += 2 {
			kept = append(kept, p.Borders[i])
		}
		p.Borders, p.Step = kept, 2*p.Step
	}
	return counted
}

// parts makes up to n parts of what was found. The last one ends with the last
// key.
func (p *plan) parts(n int) []*part {
	parts := []*part{}
	if p.At == nil {
		return parts
	}
	var after key
	for i := 1; i < n; i++ {
		at := len(p.Borders) * i / n
		if at == 0 || slices.Equal(p.Borders[at-1], after) || slices.Equal(p.Borders[at-1], p.At) {
			continue
		}
		parts = append(parts, &part{After: after, UpTo: p.Borders[at-1], number: len(parts)})
		after = p.Borders[at-1]
	}
	return append(parts, &part{After: after, UpTo: p.At, number: len(parts)})
}

// dry counts and tries one batch.
func (r *rowsRun) dry(ctx context.Context) (Count, error) {
	s := r.session()
	defer r.release(s)
	var err error
	if r.table, err = lookUp(ctx, s, &r.Rows); err != nil {
		return Count{}, err
	}
	if err := r.split(ctx, s); err != nil || len(r.st.Parts) == 0 {
		return Count{}, err
	}
	count := Count{Rows: r.st.Total}
	q := r.table.borders(nil, nil, int64(min(r.Batch, 1000)), int64(min(r.Batch, 1000)))
	rows, err := s.ask(ctx, nil, q.sql, q.args)
	if err != nil {
		return count, err
	}
	first, err := readBorders(rows)
	if err != nil || len(first) == 0 {
		return count, err
	}
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return count, err
	}
	changed, err := r.change(ctx, tx, nil, first[0])
	if rerr := tx.Rollback(ctx); err == nil {
		err = rerr
	}
	count.Tried, count.Changed = first[0].rows, changed
	return count, err
}

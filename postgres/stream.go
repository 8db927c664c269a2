package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
)

// flushBytes and flightBytes bound what is sent before answers are read, so
// that neither side's memory grows with the number of migrations. On a line
// that is not itself the bottleneck nobody ever waits for them.
const (
	flushBytes  = 64 << 10
	flightBytes = 4 << 20
)

// cancelEvery is how often an interrupted stream asks the server to cancel,
// until it stops: a request that arrives between two statements has no effect.
const cancelEvery = 50 * time.Millisecond

// Stream runs items as the package comment describes.
func (db *DB) Stream(ctx context.Context, l aurora.Lease, items []aurora.Item, report func(aurora.Revision)) error {
	own, ok := l.(*lease)
	if !ok || own.db != db {
		return errors.New("stream: the lease is not this database's")
	}
	units, err := db.newUnits(items)
	if err != nil {
		return db.refuse(ctx, own, items, err, report)
	}
	for len(units) > 0 {
		n := 1
		if units[0].alone {
			err = db.runAlone(ctx, own, units[0], report)
		} else {
			for n < len(units) && !units[n].alone {
				n++
			}
			s := stream{db: db, lease: own, units: units[:n], report: report, together: units[0].item.TxMode == aurora.TxAll}
			err = s.run(ctx)
		}
		if err != nil {
			return err
		}
		units = units[n:]
	}
	return nil
}

// refuse records that a migration failed before anything ran.
func (db *DB) refuse(ctx context.Context, l *lease, items []aurora.Item, err error, report func(aurora.Revision)) error {
	var step *aurora.StepError
	if !errors.As(err, &step) {
		return err
	}
	for _, item := range items {
		if item.Migration.Version == step.Version {
			return db.fail(ctx, l, item.Revision, err, report)
		}
	}
	return err
}

// fail stores the revision of a migration that did not complete, unless it
// was the lease or the connection that failed.
func (db *DB) fail(ctx context.Context, l *lease, rev aurora.Revision, err error, report func(aurora.Revision)) error {
	state := aurora.Failed
	switch {
	case errors.Is(err, aurora.ErrLeaseLost), errors.Is(context.Cause(ctx), aurora.ErrLeaseLost):
		return err
	case ctx.Err() != nil:
		state = aurora.Interrupted
	}
	now := time.Now()
	if rev.StartedAt.IsZero() {
		rev.StartedAt = now
	}
	rev.End(state, err, now)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		if pgErr.Detail != "" {
			rev.Error += "\nDETAIL: " + pgErr.Detail
		}
		if pgErr.Hint != "" {
			rev.Error += "\nHINT: " + pgErr.Hint
		}
	}
	rev.Output, rev.OutputDropped = db.takeOutput()
	report(rev)
	if errors.Is(err, errConnection) {
		return err
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	// A completed revision is never overwritten: what the database says it did,
	// it did.
	q := db.saveQuery(l.token, rev, false)
	q.sql = db.sql.saveFailure
	serr := first(db.main.runTogether(clean, q))
	if isLeaseLost(serr) {
		serr = aurora.ErrLeaseLost
	}
	if serr != nil {
		return errors.Join(err, fmt.Errorf("record the failure of %s: %w", rev.ID(), serr))
	}
	return err
}

// A stream is a run of transactional units through one pipeline.
type stream struct {
	db       *DB
	lease    *lease
	units    []unit
	together bool // one transaction for all of them
	report   func(aurora.Revision)

	pl        *pgconn.Pipeline
	sent      int // units sent
	read      int // units whose end was read
	sizes     []int
	flight    int // bytes sent and not answered
	preparing bool
	unnamed   bool
	done      []aurora.Revision
	output    map[int]aurora.Revision // of units that said something
}

func (s *stream) run(ctx context.Context) error {
	main := &s.db.main
	main.mu.Lock()
	if err := main.connectLocked(ctx); err != nil {
		main.mu.Unlock()
		return err
	}
	s.db.takeOutput()
	s.output = map[int]aurora.Revision{}
	// The context must not close the connection: answers tell what happened.
	s.pl = main.conn.StartPipeline(context.WithoutCancel(ctx))
	stop := cancelOnDone(ctx, main.conn)
	s.prepare()
	err := s.exchange(ctx)
	stop()
	if err == nil {
		err = s.pl.Close()
	} else if errors.Is(err, errConnection) {
		err = main.broken(s.pl, err)
	} else if cerr := s.drain(); cerr != nil {
		err = errors.Join(err, main.broken(s.pl, cerr))
	}
	main.mu.Unlock()
	if errors.Is(err, errConnection) {
		if s.lookAgain(ctx); s.read == len(s.units) {
			err = nil
		}
	}
	if oerr := s.saveOutput(ctx); err == nil {
		err = oerr
	}
	if err == nil {
		return nil
	}
	return s.db.fail(ctx, s.lease, s.units[s.read].item.Revision, err, s.report)
}

// The stream's own statements, which each unit repeats, are parsed once. Their
// names are this process's own: behind a connection pooler, a server connection
// may still have another's, and running with those would be wrong.
const (
	guardName = "guard"
	afterName = "after"
	saveName  = "save"
)

// prepare puts the stream's own statements in front of it, unless a migration
// of it drops prepared statements: then they travel as text.
func (s *stream) prepare() {
	for _, u := range s.units {
		if u.deallocates {
			s.unnamed, s.db.main.prepared = true, false
			return
		}
	}
	if s.db.main.prepared {
		return
	}
	s.pl.SendPrepare(s.db.names+guardName, s.db.sql.guard, nil)
	s.pl.SendPrepare(s.db.names+afterName, s.db.sql.after, nil)
	s.pl.SendPrepare(s.db.names+saveName, s.db.sql.saveNow, nil)
	s.pl.SendPipelineSync()
	s.preparing = true
}

// prepared reads the answers to prepare.
func (s *stream) prepared() error {
	if !s.preparing {
		return nil
	}
	s.preparing = false
	var failed error
	for failed == nil {
		res, err := s.pl.GetResults()
		if _, ok := res.(*pgconn.PipelineSync); ok {
			s.db.main.prepared = true
			return nil
		}
		failed = err
	}
	return fmt.Errorf("prepare the stream: %w", failed)
}

// exchange sends units and reads answers, up to the first failure.
func (s *stream) exchange(ctx context.Context) error {
	unflushed := 0
	for s.sent < len(s.units) && ctx.Err() == nil {
		n := s.send(s.sent)
		s.sent++
		s.sizes = append(s.sizes, n)
		s.flight += n
		if unflushed += n; unflushed < flushBytes && s.sent < len(s.units) {
			continue
		}
		unflushed = 0
		if err := s.pl.Flush(); err != nil {
			return fmt.Errorf("%w: %w", errConnection, err)
		}
		for !s.together && s.flight > flightBytes && s.read < s.sent {
			if err := s.readUnit(); err != nil {
				return err
			}
		}
	}
	if s.together && s.sent < len(s.units) {
		// Interrupted before the end was sent: nothing may commit.
		s.pl.SendQueryParams("ROLLBACK", nil, nil, nil, nil)
		s.pl.SendPipelineSync()
	}
	if err := s.pl.Flush(); err != nil {
		return fmt.Errorf("%w: %w", errConnection, err)
	}
	for s.read < s.sent {
		if err := s.readUnit(); err != nil {
			return err
		}
	}
	if s.sent < len(s.units) {
		return context.Cause(ctx)
	}
	return nil
}

// send puts one unit into the pipeline and returns its size in bytes.
func (s *stream) send(i int) int {
	size := 0
	for _, q := range s.queries(i) {
		if q.name != "" && !s.unnamed {
			s.pl.SendQueryPrepared(s.db.names+q.name, q.args, nil, nil)
			size += 64
		} else {
			s.pl.SendQueryParams(q.sql, q.args, nil, nil, nil)
			size += len(q.sql) + 64
		}
		for _, a := range q.args {
			size += len(a)
		}
	}
	if !s.together || i == len(s.units)-1 {
		s.pl.SendPipelineSync()
	}
	return size
}

// queries are all messages of a unit, in order.
func (s *stream) queries(i int) []query {
	u := &s.units[i]
	qs := make([]query, 0, len(u.statements)+len(u.checks)+2)
	if i == 0 || s.together {
		qs = append(qs, newQuery(s.db.sql.guard, s.db.project, s.lease.token).as(guardName))
	} else {
		before := s.units[i-1].item.Revision
		qs = append(qs, newQuery(s.db.sql.after, s.db.project, s.lease.token, before.ExecutionID, before.Version).as(afterName))
	}
	qs = append(qs, u.checks...)
	for _, st := range u.statements {
		qs = append(qs, query{sql: st.SQL})
	}
	if u.resets {
		qs = append(qs, s.db.resetQueries()...)
	}
	rev := u.item.Revision
	rev.End(aurora.Completed, nil, time.Time{})
	rev.StartedAt = time.Time{}
	return append(qs, s.db.saveQuery(s.lease.token, rev, true).as(saveName))
}

// readUnit reads the answers of the next unit and reports it. The error says
// what failed, and whose fault it was.
func (s *stream) readUnit() error {
	if err := s.prepared(); err != nil {
		return err
	}
	i := s.read
	u := &s.units[i]
	if !s.together || i == 0 {
		u.item.Revision.StartedAt = time.Now()
		s.report(u.item.Revision)
	}
	resets := 0
	if u.resets {
		resets = len(s.db.resetQueries())
	}
	n := 1 + len(u.checks) + len(u.statements) + resets + 1
	rev := u.item.Revision
	for k := range n {
		a, err := s.readOne()
		if err == nil && k == n-1 && len(a) == 1 {
			rev.End(aurora.Completed, nil, micros(a[0][1]))
			rev.StartedAt = micros(a[0][0])
		}
		if err != nil {
			return s.blame(u, k, n, err)
		}
	}
	s.flight -= s.sizes[i]
	if text, dropped := s.db.takeOutput(); text != "" {
		rev.Output, rev.OutputDropped = text, dropped
		s.output[i] = rev
	}
	s.done = append(s.done, rev)
	if s.together && i < len(s.units)-1 {
		s.read++
		return nil
	}
	if err := readSync(s.pl); err != nil {
		if s.together {
			s.read, s.done = 0, nil
		}
		return s.blame(u, -1, n, err)
	}
	s.read++
	for _, rev := range s.done {
		s.report(rev)
	}
	s.done = nil
	return nil
}

// readOne reads the answer of one query, keeping rows only where there are
// few: those of our own queries.
func (s *stream) readOne() ([][][]byte, error) {
	res, err := s.pl.GetResults()
	if err != nil {
		return nil, err
	}
	rr, ok := res.(*pgconn.ResultReader)
	if !ok {
		return nil, fmt.Errorf("%w: unexpected answer %T", errConnection, res)
	}
	var rows [][][]byte
	for rr.NextRow() {
		if len(rows) == 0 {
			row := make([][]byte, len(rr.Values()))
			for i, v := range rr.Values() {
				row[i] = append([]byte(nil), v...)
			}
			rows = append(rows, row)
		}
	}
	_, err = rr.Close()
	return rows, err
}

// blame finds what the k-th of n answers of a unit was about; -1 is the commit.
func (s *stream) blame(u *unit, k, n int, err error) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || isFatal(pgErr) {
		return fmt.Errorf("%w while %s ran: %w", errConnection, u.item.Migration.ID(), err)
	}
	statement := k - 1 - len(u.checks)
	switch {
	case k == -1:
		return u.stepError(-1, pgErr)
	case k == 0 && pgErr.Code == "22012", k == n-1 && isLeaseLost(err):
		return aurora.ErrLeaseLost
	case k == 0:
		return fmt.Errorf("check the lock before %s: %w", u.item.Migration.ID(), err)
	case statement < 0:
		return u.checkError(k-1, err)
	case statement < len(u.statements):
		return u.stepError(statement, pgErr)
	}
	return fmt.Errorf("record %s: %w", u.item.Migration.ID(), err)
}

// isFatal reports that the server ended the connection with this error.
func isFatal(err *pgconn.PgError) bool {
	return err.Severity == "FATAL" || err.Severity == "PANIC" || err.SeverityUnlocalized == "FATAL" || err.SeverityUnlocalized == "PANIC"
}

// drain reads what the server still answers after a failure: later units fail
// at their guards.
func (s *stream) drain() error {
	if err := s.pl.Flush(); err != nil {
		return err
	}
	for {
		res, err := s.pl.GetResults()
		var pgErr *pgconn.PgError
		switch {
		case errors.As(err, &pgErr) && !isFatal(pgErr):
		case err != nil:
			return err
		case res == nil:
			return s.pl.Close()
		}
		if rr, ok := res.(*pgconn.ResultReader); ok {
			_, _ = rr.Close()
		}
	}
}

// lookAgain finds out what was committed when the connection broke, instead of
// guessing, and reports it.
func (s *stream) lookAgain(ctx context.Context) {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var rows [][][]byte
	for {
		var err error
		rows, err = s.db.read(clean, newQuery(s.db.sql.committed, s.db.project, s.units[0].item.Revision.ExecutionID))
		if err == nil {
			break
		}
		select {
		case <-clean.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
	revisions, err := scanAll(rows)
	if err != nil {
		return
	}
	committed := make(map[string]aurora.Revision, len(revisions))
	for _, r := range revisions {
		committed[r.Version] = r
	}
	for s.read < len(s.units) {
		r, ok := committed[s.units[s.read].item.Migration.Version]
		if !ok {
			return
		}
		s.report(r)
		s.read++
	}
}

// saveOutput stores what the server said during migrations that are already
// recorded.
func (s *stream) saveOutput(ctx context.Context) error {
	var qs []query
	for i, r := range s.output {
		if i < s.read {
			qs = append(qs, newQuery(s.db.sql.output, s.db.project, s.lease.token, r.ExecutionID, r.Version, r.Output, r.OutputDropped))
		}
	}
	if len(qs) == 0 {
		return nil
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := first(s.db.main.runTogether(clean, qs...)); err != nil {
		return fmt.Errorf("record the server's notices: %w", err)
	}
	return nil
}

// cancelOnDone asks the server to cancel from the moment ctx ends until stop.
func cancelOnDone(ctx context.Context, conn *pgconn.PgConn) (stop func()) {
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		tick := time.NewTicker(cancelEvery)
		defer tick.Stop()
		for {
			asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_ = conn.CancelRequest(asking) // asked again until the stream ends
			cancel()
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() { close(done); <-stopped }
}

package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
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
		if err := context.Cause(ctx); err != nil {
			return err
		}
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
	case errors.Is(context.Cause(ctx), aurora.ErrPaused):
		state = aurora.Paused
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
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	// A completed revision is never overwritten: what the database says it did,
	// it did.
	q := db.saveQuery(l.token, rev, false)
	q.sql = db.sql.saveFailure
	serr := first(db.history(clean, false, q))
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

	conn      *pgconn.PgConn
	pl        *pgconn.Pipeline
	preparing bool
	unnamed   bool
	sent      int   // units sent
	read      int   // units whose end was read
	blamed    int   // the unit that failed, where that is a later one
	sizes     []int // of the units sent
	flight    int   // bytes sent and not answered
	done      []aurora.Revision
	// output is what the server said during units that are committed.
	output     []aurora.Revision
	outputSize int
}

func (s *stream) run(ctx context.Context) (err error) {
	main := &s.db.main
	if s.conn, err = main.lend(ctx); err != nil {
		return err
	}
	s.db.takeOutput()
	// The context must not close the connection at once: answers tell what
	// happened.
	longer, cancel := outlive(ctx, grace)
	defer cancel()
	s.pl = s.conn.StartPipeline(longer)
	stop := cancelOnDone(ctx, s.conn)
	finished := false
	defer func() {
		if !finished { // a report has panicked
			stop()
			_ = main.broken(s.pl, errors.New("the stream was left"))
			main.giveBack(false)
		}
	}()
	s.prepare()
	err = s.exchange(ctx)
	stop()
	err = s.settle(ctx, err)
	finished = true
	main.giveBack(true)
	s.saveOutput(ctx)
	if err == nil || s.read == len(s.units) {
		return err
	}
	failed := max(s.read, s.blamed)
	return s.db.fail(ctx, s.lease, s.units[failed].item.Revision, err, s.report)
}

// settle ends the pipeline and leaves a connection that can be used, or none.
func (s *stream) settle(ctx context.Context, err error) error {
	main := &s.db.main
	switch {
	case err == nil:
		return s.pl.Close()
	case errors.Is(err, errConnection):
		err = main.broken(s.pl, err)
	default:
		if derr := s.drain(); derr != nil {
			err = errors.Join(err, main.broken(s.pl, derr))
		}
	}
	if errors.Is(err, errConnection) {
		if s.lookAgain(ctx); s.read == len(s.units) {
			return nil
		}
	}
	return err
}

// The stream's own statements, which each unit repeats, are parsed once. Their
// names are new each time: behind a connection pooler, a server connection may
// still have another's, and running with those would be wrong.
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
	s.db.names = "aurora_" + rand.Text() + "_"
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
			if err := s.readUnit(ctx); err != nil {
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
		if err := s.readUnit(ctx); err != nil {
			return err
		}
	}
	if s.sent < len(s.units) {
		return context.Cause(ctx)
	}
	return nil
}

// A part is one message of a unit, and what it is about.
type part struct {
	query
	role  role
	index int // of the check or statement
}

type role int

const (
	begin role = iota
	guard
	checks
	statement
	reset
	save
	commit
)

// parts are all messages of unit i, in order. The transaction is an explicit
// one: in an implicit one a DO block could commit half of the migration.
func (s *stream) parts(i int) []part {
	u := &s.units[i]
	ps := make([]part, 0, len(u.statements)+len(u.checks)+8)
	add := func(r role, index int, q query) { ps = append(ps, part{q, r, index}) }
	if !s.together || i == 0 {
		add(begin, 0, newQuery("BEGIN"))
	}
	for j, st := range u.statements[:u.lead] {
		add(statement, j, statementQuery(st))
	}
	if i == 0 || s.together {
		add(guard, 0, newQuery(s.db.sql.guard, s.db.project, s.lease.token).as(guardName))
	} else {
		before := s.units[i-1].item.Revision
		add(guard, 0, newQuery(s.db.sql.after, s.db.project, s.lease.token, before.ExecutionID, before.Version).as(afterName))
	}
	for k, q := range u.checks {
		add(checks, k, q)
	}
	for j, st := range u.statements[u.lead:] {
		add(statement, u.lead+j, statementQuery(st))
	}
	for _, q := range s.db.resetQueries(u) {
		add(reset, 0, q)
	}
	rev := u.item.Revision
	rev.End(aurora.Completed, nil, time.Time{})
	rev.StartedAt = time.Time{}
	if q := s.db.saveQuery(s.lease.token, rev, true); u.lead > 0 || s.db.snapshots() {
		q.sql = s.db.sql.saveBareNow
		add(save, 0, q)
	} else {
		add(save, 0, q.as(saveName))
	}
	if !s.together || i == len(s.units)-1 {
		add(commit, 0, newQuery("COMMIT"))
	}
	return ps
}

// snapshots reports that the URL asks for transactions that see the database
// as it was when they began.
func (db *DB) snapshots() bool {
	return db.conn.RuntimeParams["default_transaction_isolation"] != "" ||
		strings.Contains(db.conn.RuntimeParams["options"], "default_transaction_isolation")
}

// send puts one unit into the pipeline and returns its size in bytes.
func (s *stream) send(i int) int {
	size := 0
	for _, q := range s.parts(i) {
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

// readUnit reads the answers of the next unit and reports it. The error says
// what failed, and whose fault it was.
func (s *stream) readUnit(ctx context.Context) error {
	if err := s.prepared(); err != nil {
		return err
	}
	i := s.read
	u := &s.units[i]
	u.item.Revision.StartedAt = time.Now()
	if !s.together || i == 0 {
		s.report(u.item.Revision)
	}
	rev := u.item.Revision
	for _, p := range s.parts(i) {
		a := readAnswer(s.pl, p.discard)
		if a.err != nil {
			return s.blame(u, p, a.err)
		}
		if p.role == save && len(a.rows) == 1 {
			rev.End(aurora.Completed, nil, micros(a.rows[0][1]))
			rev.StartedAt = micros(a.rows[0][0])
		}
	}
	s.flight -= s.sizes[i]
	s.done = append(s.done, rev)
	s.read++
	if s.together && i < len(s.units)-1 {
		return nil
	}
	if err := readSync(s.pl); err != nil {
		s.read -= len(s.done)
		return s.blame(u, part{role: commit}, err)
	}
	if text, dropped := s.db.takeOutput(); text != "" {
		last := &s.done[len(s.done)-1]
		last.Output, last.OutputDropped = text, dropped
		s.output = append(s.output, *last)
		if s.outputSize += len(text); s.outputSize > flightBytes {
			s.saveOutput(ctx)
		}
	}
	for _, rev := range s.done {
		rev.Output = "" // in the history; here it would only pile up
		s.report(rev)
	}
	s.done = nil
	return nil
}

// blame says what an error of one part of a unit means.
func (s *stream) blame(u *unit, p part, err error) error {
	if s.together && p.role == commit {
		s.read, s.blamed = 0, len(s.units)-1
	}
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || isFatal(pgErr) {
		return fmt.Errorf("%w while %s ran: %w", errConnection, u.item.Migration.ID(), err)
	}
	switch p.role {
	case guard:
		if pgErr.Code == "22012" {
			return aurora.ErrLeaseLost
		}
		return fmt.Errorf("check the lock before %s: %w", u.item.Migration.ID(), err)
	case checks:
		return u.checkError(p.index, err)
	case statement:
		return u.stepError(p.index, pgErr)
	case commit:
		return u.stepError(-1, pgErr)
	case save:
		if isLeaseLost(err) {
			return aurora.ErrLeaseLost
		}
	}
	return fmt.Errorf("record %s: %w", u.item.Migration.ID(), err)
}

// isFatal reports that the server ended the connection with this error.
func isFatal(err *pgconn.PgError) bool {
	return err.Severity == "FATAL" || err.Severity == "PANIC" || err.SeverityUnlocalized == "FATAL" || err.SeverityUnlocalized == "PANIC"
}

// drain reads what the server still answers after a failure, and leaves the
// failed transaction: later units fail in it, or at their guards.
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
			if err := s.pl.Close(); err != nil || s.conn.TxStatus() == 'I' {
				return err
			}
			ctx, cancel := context.WithTimeout(context.Background(), grace)
			defer cancel()
			return s.conn.Exec(ctx, "ROLLBACK").Close()
		}
		if rr, ok := res.(*pgconn.ResultReader); ok {
			_, _ = rr.Close()
		}
	}
}

// lookAgain finds out what was committed when the connection broke, instead of
// guessing, and reports it.
func (s *stream) lookAgain(ctx context.Context) {
	patience := 5 * time.Second
	if ctx.Err() != nil {
		patience = time.Second
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
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
	if s.together {
		s.read = 0
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
// recorded. Losing it fails nothing.
func (s *stream) saveOutput(ctx context.Context) {
	var qs []query
	for _, r := range s.output {
		if s.db.main.foreignEncoding.Load() {
			r.Output = ascii(r.Output)
		}
		qs = append(qs, newQuery(s.db.sql.output, s.db.project, s.lease.token, r.ExecutionID, r.Version, r.Output, r.OutputDropped))
	}
	s.output, s.outputSize = nil, 0
	if len(qs) == 0 {
		return
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := first(s.db.history(clean, false, qs...)); err != nil {
		s.db.log.Warn("could not record the server's notices", "err", err)
	}
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

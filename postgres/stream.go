package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgstore"
)

// flushBytes and flightBytes bound what is sent before answers are read, so
// that neither side's memory grows with the number of migrations. On a line
// that is not itself the bottleneck nobody ever waits for them.
const (
	flushBytes  = 64 << 10
	flightBytes = 4 << 20
)

// Stream runs items as the package comment describes.
func (db *DB) Stream(ctx context.Context, l aurora.Lease, items []aurora.Item, report func(aurora.Revision)) error {
	own, ok := l.(*pgstore.Lease)
	if !ok || !own.Of(db.store) {
		return errors.New("stream: the lease is not this database's")
	}
	units, err := db.newUnits(items)
	if err != nil {
		return db.store.Refuse(ctx, own, items, err, report)
	}
	for _, u := range units {
		for j, sent := range u.sent {
			if sent.Change != "" {
				db.store.Log.Debug("rewrote for PostgreSQL", "at", u.statements[j].Pos(), "from", u.statements[j].SQL, "to", sent.Text)
			}
		}
	}
	if err := db.freshen(ctx); err != nil {
		return err
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

// A stream is a run of transactional units through one pipeline.
type stream struct {
	db       *DB
	lease    *pgstore.Lease
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
	main := &s.db.store.Main
	if s.conn, err = main.Lend(ctx); err != nil {
		return err
	}
	s.db.store.TakeOutput()
	// The context must not close the connection at once: answers tell what
	// happened.
	longer, cancel := pgstore.Outlive(ctx, pgstore.Grace)
	defer cancel()
	s.pl = s.conn.StartPipeline(longer)
	stop := pgstore.CancelOnDone(ctx, s.conn)
	finished := false
	defer func() {
		if !finished { // a report has panicked
			stop()
			_ = main.Broken(s.pl, errors.New("the stream was left"))
			main.GiveBack(false)
		}
	}()
	s.prepare()
	err = s.exchange(ctx)
	stop()
	err = s.settle(ctx, err)
	finished = true
	main.GiveBack(true)
	s.saveOutput(ctx)
	if err == nil || s.read == len(s.units) {
		return err
	}
	failed := max(s.read, s.blamed)
	return s.db.store.Fail(ctx, s.lease, s.units[failed].item.Revision, pgstore.AnyPlace, err, s.report)
}

// settle ends the pipeline and leaves a connection that can be used, or none.
func (s *stream) settle(ctx context.Context, err error) error {
	main := &s.db.store.Main
	switch {
	case err == nil:
		return s.pl.Close()
	case errors.Is(err, pgstore.ErrConnection):
		err = main.Broken(s.pl, err)
	default:
		if derr := s.drain(); derr != nil {
			err = errors.Join(err, main.Broken(s.pl, derr))
		}
	}
	if errors.Is(err, pgstore.ErrConnection) {
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
			s.unnamed = true
			s.db.store.Main.SetPrepared(false)
			return
		}
	}
	if s.db.store.Main.Prepared() {
		return
	}
	s.db.names = "aurora_" + rand.Text() + "_"
	s.pl.SendPrepare(s.db.names+guardName, s.db.store.SQL.Guard, nil)
	s.pl.SendPrepare(s.db.names+afterName, s.db.store.SQL.After, nil)
	s.pl.SendPrepare(s.db.names+saveName, s.db.store.SQL.SaveNow, nil)
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
			s.db.store.Main.SetPrepared(true)
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
			return fmt.Errorf("%w: %w", pgstore.ErrConnection, err)
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
		return fmt.Errorf("%w: %w", pgstore.ErrConnection, err)
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
	pgstore.Query
	name  string // of the prepared statement that is sent instead of the text
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
	add := func(r role, index int, q pgstore.Query) { ps = append(ps, part{Query: q, role: r, index: index}) }
	prepared := func(name string) { ps[len(ps)-1].name = name }
	if !s.together || i == 0 {
		add(begin, 0, pgstore.NewQuery("BEGIN"))
	}
	for j := range u.lead {
		add(statement, j, u.query(j))
	}
	if i == 0 || s.together {
		add(guard, 0, pgstore.NewQuery(s.db.store.SQL.Guard, s.db.store.Project, s.lease.Token()))
		prepared(guardName)
	} else {
		before := s.units[i-1].item.Revision
		add(guard, 0, pgstore.NewQuery(s.db.store.SQL.After, s.db.store.Project, s.lease.Token(), before.ExecutionID, before.Version))
		prepared(afterName)
	}
	for k, q := range u.checks {
		add(checks, k, q)
	}
	for j := u.lead; j < len(u.statements); j++ {
		add(statement, j, u.query(j))
	}
	for _, q := range s.db.resetQueries(u) {
		add(reset, 0, q)
	}
	rev := u.item.Revision
	rev.End(aurora.Completed, nil, time.Time{})
	rev.StartedAt = time.Time{}
	if q := s.db.store.SaveQuery(s.lease.Token(), rev, true); u.lead > 0 || s.db.store.Snapshots() {
		q.SQL = s.db.store.SQL.SaveBareNow
		add(save, 0, q)
	} else {
		add(save, 0, q)
		prepared(saveName)
	}
	if !s.together || i == len(s.units)-1 {
		add(commit, 0, pgstore.NewQuery("COMMIT"))
	}
	return ps
}

// send puts one unit into the pipeline and returns its size in bytes.
func (s *stream) send(i int) int {
	size := 0
	for _, q := range s.parts(i) {
		if q.name != "" && !s.unnamed {
			s.pl.SendQueryPrepared(s.db.names+q.name, q.Args, nil, nil)
			size += 64
		} else {
			s.pl.SendQueryParams(q.SQL, q.Args, nil, nil, nil)
			size += len(q.SQL) + 64
		}
		for _, a := range q.Args {
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
		a := pgstore.ReadAnswer(s.pl, p.Discard)
		if a.Err != nil {
			return s.blame(u, p, a.Err)
		}
		if p.role == save && len(a.Rows) == 1 {
			rev.End(aurora.Completed, nil, pgstore.Micros(a.Rows[0][1]))
			rev.StartedAt = pgstore.Micros(a.Rows[0][0])
		}
	}
	s.flight -= s.sizes[i]
	s.done = append(s.done, rev)
	s.read++
	if s.together && i < len(s.units)-1 {
		return nil
	}
	if err := pgstore.ReadSync(s.pl); err != nil {
		s.read -= len(s.done)
		return s.blame(u, part{role: commit}, err)
	}
	if text, dropped := s.db.store.TakeOutput(); text != "" {
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
	if !errors.As(err, &pgErr) || pgstore.IsFatal(pgErr) {
		return fmt.Errorf("%w while %s ran: %w", pgstore.ErrConnection, u.item.Migration.ID(), err)
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
		if pgstore.IsLeaseLost(err) {
			return aurora.ErrLeaseLost
		}
	}
	return fmt.Errorf("record %s: %w", u.item.Migration.ID(), err)
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
		case errors.As(err, &pgErr) && !pgstore.IsFatal(pgErr):
		case err != nil:
			return err
		case res == nil:
			if err := s.pl.Close(); err != nil || s.conn.TxStatus() == 'I' {
				return err
			}
			ctx, cancel := context.WithTimeout(context.Background(), pgstore.Grace)
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
		rows, err = s.db.store.Read(clean, pgstore.NewQuery(s.db.store.SQL.Committed, s.db.store.Project, s.units[0].item.Revision.ExecutionID))
		if err == nil {
			break
		}
		select {
		case <-clean.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
	revisions, err := pgstore.Scan(rows)
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
	var qs []pgstore.Query
	for _, r := range s.output {
		if s.db.store.Main.ForeignEncoding() {
			r.Output = pgstore.ASCII(r.Output)
		}
		qs = append(qs, pgstore.NewQuery(s.db.store.SQL.Output, s.db.store.Project, s.lease.Token(), r.ExecutionID, r.Version, r.Output, r.OutputDropped))
	}
	s.output, s.outputSize = nil, 0
	if len(qs) == 0 {
		return
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), pgstore.Grace)
	defer cancel()
	if err := pgstore.First(s.db.store.History(clean, pgstore.Together(qs...))); err != nil {
		s.db.store.Log.Warn("could not record the server's notices", "err", err)
	}
}

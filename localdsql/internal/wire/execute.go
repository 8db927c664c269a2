package wire

import (
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/internal/sqllex"
	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

// An execution is a portal that is to run.
type execution struct {
	target
	frame   []byte // the client's Execute; nil for the unnamed portal of a Query
	partial bool   // the client asks for some of the rows only
	last    bool   // of a Query
	offset  int    // characters of the Query before the statement
	mute    bool   // the client shall not know what became of it
}

// text is what the client wrote, as far as the proxy knows.
func (x *execution) text() string {
	if x.dec == nil {
		return ""
	}
	return x.dec.Text
}

// class is what the statement counts as.
func (x *execution) class() policy.Class {
	if x.dec == nil {
		return policy.DML
	}
	return x.dec.Class
}

// entry is that of the Execute.
func (x *execution) entry() entry {
	return entry{kind: 'E', simple: x.frame == nil, dec: x.dec, offset: x.offset, last: x.last, mute: x.mute, budget: -1}
}

// start sends the Execute.
func (s *session) start(x *execution, e entry) {
	if x.frame != nil {
		s.forward(e, x.frame)
	} else {
		s.send(e, &pgproto3.Execute{})
	}
}

// execute runs a portal and reports whether what comes behind it runs too, as
// far as is known: nobody waits for a query that only reads.
func (s *session) execute(x execution) (ok bool, err error) {
	class := x.class()
	mute, refusal, err := s.inject(x.text())
	switch {
	case err != nil:
		return false, err
	case class == policy.Rollback:
		refusal = nil // it always works
	case refusal == nil:
		refusal = s.tx.refusal(class)
	}
	if refusal == nil && class != policy.Commit && class != policy.Rollback {
		refusal = s.tooOld()
	}
	if refusal != nil {
		return false, s.refuse(refusal, x.offset)
	}
	if mute {
		x.mute, s.dropping = true, true
	}
	if x.dec != nil {
		s.tx.touched(x.dec)
	}
	switch class {
	case policy.DML:
		return s.executeDML(&x)
	case policy.DDL:
		return s.executeDDL(&x)
	case policy.Commit:
		return s.executeCommit(&x)
	}
	if class == policy.Read && x.frame != nil {
		s.start(&x, x.entry())
		return true, nil
	}
	w, err := s.executeAndWait(&x, x.entry())
	if err != nil || w.outcome != completed {
		return false, err
	}
	switch class {
	case policy.Begin:
		if !s.tx.block {
			s.tx.begin()
		}
	case policy.Rollback:
		s.tx = transaction{}
	}
	return true, nil
}

// executeAndWait runs a portal and gives what became of it.
func (s *session) executeAndWait(x *execution, e entry) (wait, error) {
	w := &wait{}
	e.wait = w
	s.start(x, e)
	return s.result(w)
}

// result waits for what became of an execution. The rows that it asks for are
// copied.
func (s *session) result(w *wait) (wait, error) {
	err := s.awaitFlushed(w)
	s.mu.Lock()
	copying := w.copying
	s.mu.Unlock()
	if err == nil && copying {
		err = s.copyIn(w)
	}
	if err != nil {
		return wait{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsure = s.unsure || w.outcome != completed
	return *w, nil
}

// executeDML runs a statement that changes rows, and counts them.
func (s *session) executeDML(x *execution) (ok bool, err error) {
	w := &wait{}
	e := x.entry()
	e.wait = w
	if limit := s.proxy.limits.Rows; limit >= 0 {
		e.budget = max(limit-s.tx.rows, 0)
	}
	if e.measured = e.budget >= 0 && s.mustMeasure(x); e.measured {
		s.countChanges(entry{count: &w.before})
	}
	s.start(x, e)
	if e.measured {
		s.countChanges(entry{count: &w.after, measured: true, wait: w, budget: e.budget, last: e.last})
	}
	res, err := s.result(w)
	if err != nil || res.outcome != completed {
		return false, err
	}
	s.tx.dml = true
	s.tx.rows += res.rows
	s.tx.bytes += int64(x.bytes + len(x.text()))
	if res.over {
		return false, s.refuse(&policy.TooManyRows, x.offset)
	}
	return true, nil
}

// mustMeasure reports whether the command tag does not tell how many rows a
// statement changes.
func (s *session) mustMeasure(x *execution) bool {
	if _, failed, _ := s.state(); failed {
		return false // the statement will fail too
	}
	switch firstWord(x.text()) {
	case "COPY":
		return false // and nothing can be sent behind it
	case "INSERT", "UPDATE", "DELETE", "MERGE":
		return x.partial || s.proxy.cascades(s)
	}
	return x.dec != nil
}

// firstWord gives the first word of a statement in upper case, if it is one of
// those whose tags have the number of rows.
func firstWord(sql string) string {
	for lx := sqllex.New(sql); ; {
		tok := lx.Next()
		switch tok.Kind {
		case sqllex.Space, sqllex.Comment, sqllex.Semicolon:
			continue
		}
		for _, w := range []string{"INSERT", "UPDATE", "DELETE", "MERGE", "COPY"} {
			if tok.Is(sql, w) {
				return w
			}
		}
		return ""
	}
}

// changesQuery counts the rows that the transaction has changed, those of
// cascades included, in the tables of clients. What the backend has not yet
// reported of earlier transactions is in it too, so that only the difference of
// two answers in one transaction means something.
const changesQuery = `SELECT coalesce(sum(pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid) + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid)), 0)::pg_catalog.int8
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}') AND n.nspname OPERATOR(pg_catalog.<>) ALL ('{pg_catalog,information_schema,sys}')`

// countChanges sends changesQuery. e says where the answer goes.
func (s *session) countChanges(e entry) { s.hide(changesQuery, e) }

// hide runs a statement of which the client sees nothing unless it fails. The
// unnamed statement and portal are the client's.
func (s *session) hide(sql string, e entry) {
	const name = poisonName + "hidden"
	s.send(entry{kind: 'C', hidden: true}, &pgproto3.Close{ObjectType: 'S', Name: name})
	s.send(entry{kind: 'P', hidden: true}, &pgproto3.Parse{Name: name, Query: sql})
	s.send(entry{kind: 'C', hidden: true}, &pgproto3.Close{ObjectType: 'P', Name: name})
	s.send(entry{kind: 'B', hidden: true}, &pgproto3.Bind{DestinationPortal: name, PreparedStatement: name})
	e.kind, e.hidden = 'E', true
	s.send(e, &pgproto3.Execute{Portal: name})
}

// executeDDL runs a definition. Idle transactions of other sessions make way.
func (s *session) executeDDL(x *execution) (ok bool, err error) {
	stop := s.proxy.makeWay(s, x.dec.Names)
	w, err := s.executeAndWait(x, x.entry())
	stop()
	switch {
	case err != nil:
		return false, err
	case w.outcome != completed:
		if w.code == "55P03" {
			// Something that it does not name was in the way: next time it is not.
			s.proxy.rollBackIdle(s, nil)
		}
		return false, nil
	}
	s.tx.ddl, s.tx.names = true, x.dec.Names
	return true, nil
}

// executeCommit runs COMMIT, or makes it fail.
func (s *session) executeCommit(x *execution) (ok bool, err error) {
	refusal, err := s.commitRefusal()
	if err != nil {
		return false, err
	}
	if refusal != nil {
		return false, s.failCommit(refusal)
	}
	e := x.entry()
	e.commit = s.tx.commit()
	w, err := s.executeAndWait(x, e)
	if err != nil || w.outcome != completed {
		return false, err
	}
	s.tx = transaction{}
	return true, nil
}

// rollback is what a commit that must fail is for the backend.
var rollback = &policy.Decision{SQL: "ROLLBACK", Text: "ROLLBACK", Class: policy.Rollback}

// failCommit ends the transaction and gives the client an error.
func (s *session) failCommit(refusal *policy.Refusal) error {
	s.hide(rollback.SQL, entry{dec: rollback})
	s.tx = transaction{}
	return s.refuse(refusal, 0)
}

// commitRefusal is why a commit that is about to be sent must fail. It has no
// opinion about a transaction that has failed already.
func (s *session) commitRefusal() (*policy.Refusal, error) {
	if _, _, lost := s.state(); lost {
		return &policy.SchemaConflict, nil
	}
	limits := s.proxy.limits
	old, big := s.tooOld(), exceeds(s.tx.bytes, limits.Bytes)
	stale := s.tx.wrote() && s.proxy.cfg.Conflicts == Strict && s.seen.Load() != s.proxy.schema.current()
	if old == nil && !big && !stale && (s.hooks == nil || !s.tx.wrote()) {
		return nil, nil
	}
	if err := s.settle(); err != nil {
		return nil, err
	}
	if skipping, failed, _ := s.state(); skipping || failed {
		return nil, nil
	}
	switch {
	case old != nil:
		return old, nil
	case big:
		return tooManyBytes(s.tx.bytes), nil
	case stale:
		s.seen.Store(s.proxy.schema.current())
		return &policy.SchemaConflict, nil
	}
	return s.hooks.Commit(), nil
}

// tooOld is the refusal for a block that has been open for too long.
func (s *session) tooOld() *policy.Refusal {
	if !s.tx.block {
		return nil
	}
	if age := time.Since(s.tx.began); exceeds(age, s.proxy.limits.Age) {
		return tooOld(age, s.proxy.limits.Age)
	}
	return nil
}

// refuse makes the transaction fail with a refusal, if it has not failed yet.
func (s *session) refuse(refusal *policy.Refusal, offset int) error {
	_, err := s.refuseAndWait(refusal, offset)
	return err
}

// refuseAndWait is refuse that tells what became of it.
func (s *session) refuseAndWait(refusal *policy.Refusal, offset int) (wait, error) {
	w := &wait{}
	s.send(entry{kind: 'P', name: poisonName, refusal: refusal, offset: offset, wait: w}, &pgproto3.Parse{Name: poisonName, Query: poison})
	return s.result(w)
}

// refuseStale is for the first statement after a change of the schema.
func (s *session) refuseStale(offset int) error {
	version := s.proxy.schema.current()
	w, err := s.refuseAndWait(&policy.SchemaConflict, offset)
	if err == nil && w.refused {
		s.seen.Store(version)
	}
	return err
}

// inject asks the hooks about a statement.
func (s *session) inject(text string) (mute bool, refusal *policy.Refusal, err error) {
	if s.hooks == nil {
		return false, nil, nil
	}
	f := s.hooks.Statement(text)
	if f.DropBefore {
		return false, nil, s.abort()
	}
	if f.Delay > 0 {
		if err := s.up.flush(); err != nil {
			return false, nil, err
		}
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.done:
			return false, nil, errEnded
		}
	}
	return f.DropAfter, f.Refusal, nil
}

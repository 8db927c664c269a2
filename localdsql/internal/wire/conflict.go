package wire

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

// A schema is what the sessions of a cluster know of changes to the schema.
type schema struct {
	version atomic.Int64

	mu      sync.Mutex
	changed map[string]int64 // the version in which an object was changed last
	all     int64            // the version in which everything was changed last
}

func (c *schema) current() int64 { return c.version.Load() }

// change makes a new version.
func (c *schema) change(names []string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.version.Load() + 1
	if c.changed == nil {
		c.changed = map[string]int64{}
	}
	for _, name := range names {
		c.changed[name] = v
	}
	c.version.Store(v)
	return v
}

// changeAll makes a new version in which everything has changed.
func (c *schema) changeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = c.version.Add(1)
}

// touches reports whether a statement mentions an object that was changed after
// a version.
func (c *schema) touches(dec *policy.Decision, after int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all > after {
		return true
	}
	return dec.MentionsAny(func(name string) bool { return c.changed[name] > after })
}

// maxChecked bounds how many statements a session remembers to be free of
// conflicts.
const maxChecked = 256

// stale reports whether a statement must fail because the session has not seen
// a change of the schema.
func (s *session) stale(dec *policy.Decision) bool {
	version := s.proxy.schema.current()
	seen := s.seen.Load()
	if version == seen || dec == nil {
		return false
	}
	switch dec.Class {
	case policy.Begin, policy.Commit, policy.Rollback:
		return false
	}
	switch s.proxy.cfg.Conflicts {
	case NoConflicts:
		return false
	case Strict:
		return true
	}
	if s.checked[dec.Text] == version {
		return false
	}
	if s.proxy.schema.touches(dec, seen) {
		return true
	}
	if s.checked == nil || len(s.checked) >= maxChecked {
		s.checked = map[string]int64{}
	}
	s.checked[dec.Text] = version
	return false
}

// rollBack rolls the session's transaction back if it is idle in one that has
// used one of the objects. Locks are given up as soon as a transaction fails, so
// that a poisoned query is enough; the client's own ROLLBACK still ends it.
func (s *session) rollBack(names []string) {
	if !s.turn.TryLock() {
		return // not idle
	}
	defer s.turn.Unlock()
	if !s.tx.block || !s.boundary || s.copying || s.dropping || !s.tx.touches(names) {
		return
	}
	s.mu.Lock()
	idle := s.queue.empty() && s.status == 'T' && !s.skipping && !s.lost && !s.dead
	s.mu.Unlock()
	if !idle {
		return
	}
	w := &wait{}
	s.send(entry{kind: 'Q', hidden: true, refusal: &policy.SchemaConflict, wait: w}, &pgproto3.Query{String: poison})
	if err := s.await(w); err != nil {
		return
	}
	s.mu.Lock()
	s.lost = true
	s.mu.Unlock()
}

// lookAgain is how often idle transactions are looked for while a definition
// runs: a few times before lock_timeout ends it.
const lookAgain = 10 * time.Millisecond

// makeWay rolls back idle transactions of other sessions that have used one of
// the objects, until stop is called: a transaction is often in the way of a
// definition, which waits for it, a moment before it is idle.
func (p *Proxy) makeWay(s *session, names []string) (stop func()) {
	p.rollBackIdle(s, names)
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		again := time.NewTicker(lookAgain)
		defer again.Stop()
		for {
			select {
			case <-again.C:
				p.rollBackIdle(s, names)
			case <-over:
				return
			}
		}
	}()
	return func() {
		close(over)
		<-done
	}
}

// A cascade remembers whether the database has foreign keys that change rows of
// other tables.
type cascade struct {
	mu      sync.Mutex
	known   bool
	version int64 // of the schema that it was asked for
	exists  bool
}

const cascadeQuery = `SELECT pg_catalog.count(*) FROM pg_catalog.pg_constraint
WHERE contype OPERATOR(pg_catalog.=) 'f' AND (confdeltype OPERATOR(pg_catalog.<>) ALL ('{a,r}') OR confupdtype OPERATOR(pg_catalog.<>) ALL ('{a,r}'))`

// cascades reports whether a change of one table may change rows of another. It
// asks the session's backend if the schema has changed. When in doubt it may.
func (p *Proxy) cascades(s *session) bool {
	version := p.schema.current()
	p.cascade.mu.Lock()
	c := &p.cascade
	known, exists := c.known && c.version == version, c.exists
	c.mu.Unlock()
	if known {
		return exists
	}
	var n int64
	w := &wait{}
	s.hide(cascadeQuery, entry{count: &n, wait: w})
	res, err := s.result(w)
	if err != nil || res.outcome != completed {
		return true // the statement fails as well
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known, c.version, c.exists = true, version, n > 0
	return n > 0
}

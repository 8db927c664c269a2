package wire

import (
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

// query deals with a Query, of one or several statements.
//
// Queries that only read are passed on as they are. All else is sent as the
// messages of the extended protocol with one Sync behind them, which makes the
// same implicit transaction and leaves room to count and to refuse between the
// statements and before the commit.
func (s *session) query(frame []byte) error {
	text, _, ok := cutString(frame[5:])
	if !ok {
		return s.refuseQuery(&badMessage)
	}
	sql := string(text)
	pieces := s.proxy.cfg.Policy.Split(sql)
	decs := make([]*policy.Decision, len(pieces))
	reads, stale := true, false
	for i, piece := range pieces {
		d := s.proxy.cfg.Policy.Decide(piece)
		decs[i] = d
		reads = reads && d.Refusal == nil && d.Class == policy.Read && d.Tag == "" && !d.NoRows && (d.SQL == d.Text || len(pieces) == 1)
		stale = stale || s.stale(d)
	}
	// Without a Sync before it, a Query may commit what was written.
	if commits := !s.boundary && !s.tx.block && s.tx.wrote(); !commits && !stale {
		switch {
		case reads:
			s.boundary = true
			return s.passQuery(sql, decs, frame)
		case len(pieces) > 1:
		case decs[0].Refusal != nil:
			return s.refuseQuery(decs[0].Refusal)
		case decs[0].Class >= policy.Begin:
			return s.controlQuery(decs[0], frame)
		}
	}
	return s.group(sql, decs)
}

// passQuery forwards a Query that only reads.
func (s *session) passQuery(sql string, decs []*policy.Decision, frame []byte) error {
	mute, refusal, err := s.inject(sql)
	if err != nil {
		return err
	}
	if refusal == nil {
		refusal = s.tooOld()
	}
	if refusal != nil {
		return s.refuseQuery(refusal)
	}
	e := entry{kind: 'Q', mute: mute}
	s.dropping = s.dropping || mute
	for _, d := range decs {
		s.tx.touched(d)
	}
	if len(decs) == 1 {
		e.dec = decs[0]
		if e.dec.SQL != e.dec.Text {
			s.send(e, &pgproto3.Query{String: e.dec.SQL})
			return nil
		}
	}
	s.forward(e, frame)
	return nil
}

// refuseQuery sends a Query that fails.
func (s *session) refuseQuery(refusal *policy.Refusal) error {
	w := &wait{}
	s.send(entry{kind: 'Q', refusal: refusal, wait: w}, &pgproto3.Query{String: poison})
	return s.queryEnd(w)
}

// queryEnd waits for the end of a Query, and for what it tells of the
// transaction.
func (s *session) queryEnd(w *wait) error {
	if err := s.await(w); err != nil {
		return err
	}
	s.mu.Lock()
	ran := w.outcome != skipped
	s.mu.Unlock()
	if ran {
		s.boundary = true
		s.follow()
	}
	return nil
}

// controlQuery deals with a Query that begins or ends a transaction, or calls.
func (s *session) controlQuery(dec *policy.Decision, frame []byte) error {
	mute, refusal, err := s.inject(dec.Text)
	if err != nil {
		return err
	}
	switch {
	case dec.Class == policy.Rollback:
		refusal = nil // it always works
	case refusal == nil:
		refusal = s.tx.refusal(dec.Class)
	}
	if refusal != nil {
		return s.refuseQuery(refusal)
	}
	e := entry{kind: 'Q', dec: dec, mute: mute, wait: &wait{}}
	s.dropping = s.dropping || mute
	if dec.Class == policy.Commit {
		refusal, err := s.commitRefusal()
		if err != nil {
			return err
		}
		if refusal != nil {
			if err := s.failCommit(refusal); err != nil {
				return err
			}
			return s.finish(entry{kind: 'S', simple: true})
		}
		e.commit = s.tx.commit()
	}
	if dec.SQL == dec.Text {
		s.forward(e, frame)
	} else {
		s.send(e, &pgproto3.Query{String: dec.SQL})
	}
	return s.queryEnd(e.wait)
}

// group runs the statements of a Query one by one.
func (s *session) group(sql string, decs []*policy.Decision) error {
	if err := s.settle(); err != nil {
		return err
	}
	if skipping, _, _ := s.state(); skipping {
		return nil
	}
	if !s.boundary && len(decs) > 1 && (s.tx.block || !s.tx.wrote()) {
		s.push(entry{kind: 'S', hidden: true})
		s.up.message(&pgproto3.Sync{})
		s.boundary = true
	}
	// A Query ends the life of the unnamed statement, and later of the portal.
	s.send(entry{kind: 'C', simple: true, object: 'S'}, &pgproto3.Close{ObjectType: 'S'})
	if len(decs) > 1 && s.boundary {
		if ok, err := s.checkSyntax(decs); !ok || err != nil {
			return err
		}
	}
	s.boundary = false
	offset := 0
	for i, dec := range decs {
		ok, err := s.statement(dec, offset, i == len(decs)-1)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		s.send(entry{kind: 'C', simple: true, object: 'P'}, &pgproto3.Close{ObjectType: 'P'})
		offset += utf8.RuneCountInString(dec.Text)
	}
	return s.finish(entry{kind: 'S', simple: true})
}

// statement runs one statement of a Query and reports whether the next runs too.
func (s *session) statement(dec *policy.Decision, offset int, last bool) (ok bool, err error) {
	if dec.Refusal != nil {
		return false, s.refuse(dec.Refusal, offset)
	}
	if s.stale(dec) {
		return false, s.refuseStale(offset)
	}
	const name = poisonName + "query"
	s.send(entry{kind: 'C', hidden: true}, &pgproto3.Close{ObjectType: 'S', Name: name})
	s.send(entry{kind: 'P', simple: true, name: name, dec: dec, offset: offset}, &pgproto3.Parse{Name: name, Query: dec.SQL})
	s.send(entry{kind: 'B', simple: true, dec: dec, offset: offset}, &pgproto3.Bind{PreparedStatement: name})
	s.send(entry{kind: 'D', simple: true, dec: dec, offset: offset}, &pgproto3.Describe{ObjectType: 'P'})
	return s.execute(execution{target: target{dec: dec}, last: last, offset: offset})
}

// checkSyntax finds out whether the statements of a Query can be parsed: if one
// cannot, PostgreSQL runs none of them. It asks for a prepared statement of them
// all, which is refused for being several only after all were parsed. Inside of
// a block that happens behind a savepoint, unless the
// transaction has failed already.
func (s *session) checkSyntax(decs []*policy.Decision) (ok bool, err error) {
	var sql []byte
	var starts []int // of the statements, in characters
	chars := 0
	for _, d := range decs {
		starts = append(starts, chars)
		text := d.SQL
		if d.Refusal != nil {
			text = poison + ";"
		}
		sql = append(sql, text...)
		chars += utf8.RuneCountInString(text)
	}
	all := &policy.Decision{SQL: string(sql), Position: func(p int) int { return position(decs, starts, p) }}
	const savepoint = `"` + poisonName + `"`
	_, failed, _ := s.state()
	keep := s.tx.block && !failed
	if keep {
		s.hide("SAVEPOINT "+savepoint, entry{})
	}
	w := &wait{}
	s.send(entry{kind: 'P', name: poisonName, dec: all, check: true, wait: w}, &pgproto3.Parse{Name: poisonName, Query: all.SQL})
	if err := s.awaitFlushed(w); err != nil {
		return false, err
	}
	s.mu.Lock()
	ok = w.multiple
	s.mu.Unlock()
	if !ok {
		s.unsure = true
		return false, s.finish(entry{kind: 'S', simple: true})
	}
	s.push(entry{kind: 'S', hidden: true})
	s.up.message(&pgproto3.Sync{})
	if keep {
		s.hide("ROLLBACK TO "+savepoint, entry{})
		s.hide("RELEASE "+savepoint, entry{})
	}
	return true, s.settle()
}

// position turns a character of the joined statements into one of the client's.
func position(decs []*policy.Decision, starts []int, p int) int {
	i := len(starts) - 1
	for i > 0 && p <= starts[i] {
		i--
	}
	q := p - starts[i]
	if f := decs[i].Position; f != nil {
		q = f(q)
	}
	for _, d := range decs[:i] {
		q += utf8.RuneCountInString(d.Text)
	}
	return q
}

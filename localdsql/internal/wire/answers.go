package wire

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

// readAnswers passes on what the backend sends, until it ends.
func (s *session) readAnswers() error {
	defer s.over()
	for {
		typ, size, err := s.answers.peek()
		if err != nil {
			return err
		}
		if typ == 'D' || typ == 'd' {
			err = s.row(typ, size)
		} else {
			var frame []byte
			if frame, err = s.answers.take(size); err == nil {
				err = s.answer(typ, frame)
			}
		}
		if err != nil {
			s.end(&confused)
			return err
		}
	}
}

// current gives the oldest entry.
func (s *session) current() (*entry, bool) {
	if !s.curOK {
		s.mu.Lock()
		if !s.queue.empty() {
			s.cur, s.curOK, s.erred = *s.queue.front(), true, false
		}
		s.mu.Unlock()
		if s.cur.mute && s.curOK {
			_ = s.out.flush() // what was answered before still goes out
			s.out.discard = true
		}
	}
	return &s.cur, s.curOK
}

// row passes on a DataRow or CopyData.
func (s *session) row(typ byte, size int) error {
	e, ok := s.current()
	if !ok || e.kind != 'E' && e.kind != 'Q' {
		return s.confusion(typ)
	}
	if !e.hidden && (e.dec == nil || !e.dec.NoRows) {
		s.describe()
		left, err := s.answers.passAll(typ, size, s.out)
		s.inRow = left > 0
		return err
	}
	frame, err := s.answers.take(size)
	if err != nil || e.count == nil || len(frame) < 11 {
		return err
	}
	// One column: its number of columns and its length stand before the text.
	*e.count, err = strconv.ParseInt(string(frame[11:]), 10, 64)
	return err
}

// confusion is for an answer that nothing was asked for.
func (s *session) confusion(typ byte) error {
	return fmt.Errorf("the backend's message %q does not belong to what it was sent (%q)", typ, s.cur.kind)
}

// answer deals with one message of the backend.
func (s *session) answer(typ byte, frame []byte) error {
	e, ok := s.current()
	switch typ {
	case 'N':
		if !ok || !e.hidden {
			s.notice(frame)
		}
		return nil
	case 'S':
		s.parameter(frame)
		return nil
	case 'A':
		return nil // DSQL has no LISTEN; these are the job worker's
	case 'E':
		return s.failure(frame)
	}
	if !ok {
		return s.confusion(typ)
	}
	visible := !e.hidden
	switch typ {
	case '1', '2', '3', 'n', 't':
		return s.extended(typ, e, frame)
	case 'T':
		if e.kind == 'D' {
			return s.description(e, frame)
		}
	case 'I':
		if e.kind == 'E' {
			return s.completion(e, frame)
		}
	case 'C', 's':
		if e.kind == 'E' {
			return s.completion(e, frame)
		}
		if typ == 's' {
			return s.confusion(typ)
		}
		s.queryDone(e, frame)
	case 'G':
		s.copyBegins(e)
	case 'Z':
		return s.ready(e, frame)
	case 'H', 'c':
	default:
		return s.confusion(typ)
	}
	if e.kind != 'Q' && e.kind != 'E' {
		return s.confusion(typ)
	}
	if visible {
		s.out.write(frame)
	}
	return nil
}

// answeredBy says which messages of the extended protocol an answer is for.
var answeredBy = map[byte]byte{'1': 'P', '2': 'B', '3': 'C', 'n': 'D', 't': 'D'}

// extended deals with the short answers of the extended protocol.
func (s *session) extended(typ byte, e *entry, frame []byte) error {
	if e.kind != answeredBy[typ] {
		return s.confusion(typ)
	}
	if !e.hidden && !e.simple {
		s.out.write(frame)
	}
	if typ != 't' {
		s.resolve(completed)
	}
	return nil
}

// description deals with the answer to Describe, for a statement or portal that
// returns rows.
func (s *session) description(e *entry, frame []byte) error {
	switch {
	case e.hidden:
	case e.dec == nil || !e.dec.NoRows:
		if e.simple && e.dec.Class != policy.Read {
			// A Query describes what such a statement returns when it has succeeded.
			s.heldRows = append(s.heldRows[:0], frame...)
		} else {
			s.out.write(frame)
		}
	case !e.simple:
		s.out.message(&pgproto3.NoData{})
	}
	s.resolve(completed)
	return nil
}

// resolve ends the oldest entry. The lock is not held.
func (s *session) resolve(o outcome) {
	s.mu.Lock()
	s.pop(o)
	s.mu.Unlock()
	s.cond.Broadcast()
}

// pop ends the oldest entry. The lock is held.
func (s *session) pop(o outcome) {
	e, number := s.queue.front(), s.queue.head
	ok := o == completed
	switch {
	case e.hidden:
	case e.kind == 'P':
		s.statements.settle(e.name, target{dec: e.dec}, number, ok)
	case e.kind == 'B':
		s.portals.settle(e.name, target{e.dec, e.bytes}, number, ok)
	case e.kind == 'C' && ok && e.object == 'S':
		delete(s.statements.settled, e.name)
	case e.kind == 'C' && ok:
		delete(s.portals.settled, e.name)
	}
	// A measured statement has its outcome when it is counted.
	if e.wait != nil && (!e.measured || !ok) {
		e.wait.outcome = o
		if e.wait.copying {
			s.wakeCopy()
		}
	}
	s.queue.pop()
	s.curOK = false
}

// completion deals with the end of an Execute: a command tag, the end of the
// rows that were asked for, or nothing at all.
func (s *session) completion(e *entry, frame []byte) error {
	if e.hidden {
		s.counted(e)
		return nil
	}
	tag := ""
	if frame[0] == 'C' {
		tag = string(frame[5 : len(frame)-1])
	}
	if e.commit != nil && tag == "COMMIT" {
		s.proxy.committed(s, e.commit)
	}
	if e.dec != nil && e.dec.Tag != "" && tag != "" {
		frame, _ = (&pgproto3.CommandComplete{CommandTag: []byte(e.dec.Tag)}).Encode(nil)
	}
	over := false
	s.mu.Lock()
	if ends := e.dec != nil && (e.dec.Class == policy.Commit || e.dec.Class == policy.Rollback); ends && tag != "" {
		s.failed, s.lost = false, false
	}
	if e.wait != nil {
		e.wait.tag = tag
		if !e.measured && e.budget >= 0 {
			e.wait.rows = rowsOf(tag)
			over = e.wait.rows > e.budget
			e.wait.over = over
		}
	}
	s.mu.Unlock()
	switch {
	case e.measured:
		s.held = append(s.held[:0], frame...)
	case !over:
		s.complete(e.last, frame)
	}
	s.resolve(completed)
	return nil
}

// describe gives the client a description that was kept back.
func (s *session) describe() {
	if len(s.heldRows) > 0 {
		s.out.write(s.heldRows)
		s.heldRows = s.heldRows[:0]
	}
}

// complete gives the client a completion, or keeps it for the end of the Query.
func (s *session) complete(last bool, frame []byte) {
	s.describe()
	if last {
		s.heldLast = append(s.heldLast[:0], frame...)
		return
	}
	s.out.write(frame)
}

// counted deals with the end of an Execute of the proxy's own.
func (s *session) counted(e *entry) {
	if e.count != nil && e.measured {
		// The one behind the statement.
		w := e.wait
		s.mu.Lock()
		w.rows = w.after - w.before
		w.over = e.budget >= 0 && w.rows > e.budget
		over := w.over
		s.mu.Unlock()
		if !over {
			s.complete(e.last, s.held)
		}
		s.held = s.held[:0]
	}
	s.mu.Lock()
	if e.measured {
		s.queue.front().measured = false // now it has its outcome
	}
	if e.dec != nil && e.dec.Class == policy.Rollback {
		s.failed, s.lost = false, false
	}
	s.pop(completed)
	s.mu.Unlock()
	s.cond.Broadcast()
}

// queryDone looks at the completion of a statement of a Query that was passed on.
func (s *session) queryDone(e *entry, frame []byte) {
	if e.hidden {
		return
	}
	tag := string(frame[5 : len(frame)-1])
	if e.wait != nil {
		s.mu.Lock()
		e.wait.tag = tag
		s.mu.Unlock()
	}
	if e.commit != nil && tag == "COMMIT" {
		s.proxy.committed(s, e.commit)
	}
}

// copyBegins tells who waits that the client is to send rows.
func (s *session) copyBegins(e *entry) {
	if e.wait == nil {
		return
	}
	s.mu.Lock()
	e.wait.copying = true
	s.mu.Unlock()
	s.cond.Broadcast()
}

// ready deals with ReadyForQuery.
func (s *session) ready(e *entry, frame []byte) error {
	if e.kind != 'S' && e.kind != 'Q' || len(frame) != 6 {
		return s.confusion('Z')
	}
	if !s.erred {
		if e.kind == 'S' && e.commit != nil {
			s.proxy.committed(s, e.commit)
		}
		s.out.write(s.heldLast)
	}
	s.heldLast = s.heldLast[:0]
	o := completed
	if s.erred {
		o = failed
	}
	if !e.hidden {
		s.out.write(frame)
	}
	s.mu.Lock()
	s.status = frame[5]
	s.failed = s.status == 'E'
	if s.status == 'I' {
		s.lost = false
		if len(s.portals.settled) > 0 {
			clear(s.portals.settled)
		}
	}
	s.pop(o)
	s.mu.Unlock()
	s.cond.Broadcast()
	return nil
}

// failure deals with an error.
func (s *session) failure(frame []byte) error {
	m := &pgproto3.ErrorResponse{}
	if err := m.Decode(frame[5:]); err != nil {
		return fmt.Errorf("read the backend's error: %w", err)
	}
	cur, ok := s.current()
	if isFatal(m) {
		s.out.write(frame)
		return nil
	}
	if !ok {
		return s.confusion('E')
	}
	e := *cur
	disturbed := disturbedCopy(m)
	refused := e.refusal != nil && isPoison(m)
	multiple := e.check && m.Code == "42601" && strings.Contains(m.Message, "multiple commands")
	answer := multiple || e.hidden && (refused || e.kind == 'Q')
	s.held, s.heldLast, s.heldRows = s.held[:0], s.heldLast[:0], s.heldRows[:0]

	s.mu.Lock()
	lost := s.lost && !answer && !refused
	if lost || refused && s.lost {
		s.lost = false
	}
	s.failed = true
	if e.wait != nil {
		e.wait.code, e.wait.refused, e.wait.multiple = m.Code, refused, multiple
		e.wait.disturbed = disturbed
	}
	if e.kind == 'Q' || e.kind == 'S' {
		s.erred = true // ReadyForQuery ends it
	} else {
		s.pop(failed)
		for !s.queue.empty() && s.queue.front().kind != 'S' {
			s.pop(skipped)
		}
		s.skipping = s.queue.empty()
	}
	s.mu.Unlock()
	switch {
	case answer:
	case lost:
		s.seen.Store(s.proxy.schema.current())
		s.out.message(response("ERROR", &policy.SchemaConflict, 0))
	case refused:
		s.out.message(response("ERROR", e.refusal, e.offset))
	default:
		s.out.message(s.translate(m, e))
	}
	s.cond.Broadcast()
	return nil
}

// notice passes on a NOTICE or WARNING.
func (s *session) notice(frame []byte) {
	m := &pgproto3.NoticeResponse{}
	if err := m.Decode(frame[5:]); err == nil {
		if tidy((*pgproto3.ErrorResponse)(m), entry{}) {
			m.File, m.Line, m.Routine = "", 0, ""
			s.out.message(m)
			return
		}
	}
	s.out.write(frame)
}

// parameter passes on a ParameterStatus.
func (s *session) parameter(frame []byte) {
	if name, _, ok := cutString(frame[5:]); ok && string(name) == "server_version" {
		return
	}
	s.out.write(frame)
}

// rowsOf gives the number of rows that a command tag says were changed.
func rowsOf(tag string) int64 {
	verb, rest, _ := strings.Cut(tag, " ")
	switch verb {
	case "INSERT":
		_, rest, _ = strings.Cut(rest, " ") // the first number is always 0
	case "UPDATE", "DELETE", "MERGE", "COPY":
	default:
		return 0
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

package wire

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

// readClient deals with what the client says, until it ends.
func (s *session) readClient() error {
	for {
		typ, size, err := s.in.peek()
		switch {
		case errors.Is(err, errTooLong), errors.Is(err, errBadLength):
			s.end(&tooLong)
			return errEnded
		case err != nil:
			return err
		}
		frame, err := s.in.take(size)
		if err != nil {
			return err
		}
		if typ == 'X' {
			s.up.write(frame)
			return s.up.flush()
		}
		if err := s.message(typ, frame); err != nil {
			return err
		}
	}
}

// message deals with one message of the client.
func (s *session) message(typ byte, frame []byte) error {
	if typ == 'S' {
		return s.sync()
	}
	if skipping, _, _ := s.state(); skipping {
		return nil // the backend would skip it too
	}
	switch typ {
	case 'Q':
		return s.query(frame)
	case 'P':
		return s.parse(frame)
	case 'B':
		return s.bind(frame)
	case 'E':
		return s.executeMessage(frame)
	case 'D', 'C':
		return s.describeOrClose(typ, frame)
	case 'H':
		s.up.write(frame)
		return nil
	case 'd', 'c', 'f':
		return nil // the rest of a COPY that has failed
	case 'F':
		return s.refuseQuery(&functionCall)
	}
	s.end(&outOfPlace)
	return errEnded
}

// parse deals with Parse: name, text and the types of the parameters.
func (s *session) parse(frame []byte) error {
	s.boundary = false
	name, rest, ok := cutString(frame[5:])
	text, types, ok2 := cutString(rest)
	if !ok || !ok2 {
		return s.refuse(&badMessage, 0)
	}
	dec := s.decide(string(text))
	e := entry{kind: 'P', name: string(name), dec: dec}
	switch {
	case dec.Refusal != nil:
		e.refusal = dec.Refusal
		s.send(e, &pgproto3.Parse{Name: e.name, Query: poison})
		return nil
	case s.stale(dec):
		return s.refuseStale(0)
	case dec.SQL == dec.Text:
		s.forward(e, frame)
	default:
		m := &pgproto3.Parse{Name: e.name, Query: dec.SQL}
		for ; len(types) >= 6; types = types[4:] {
			m.ParameterOIDs = append(m.ParameterOIDs, binary.BigEndian.Uint32(types[2:]))
		}
		s.send(e, m)
	}
	return nil
}

// decide asks the policy about one statement. A text of several is left to the
// backend to refuse, as it is.
func (s *session) decide(text string) *policy.Decision {
	if i := strings.IndexByte(text, ';'); i >= 0 && strings.TrimRight(text[i:], "; \t\r\n") != "" && len(s.proxy.cfg.Policy.Split(text)) > 1 {
		return &policy.Decision{SQL: text, Text: text}
	}
	return s.proxy.cfg.Policy.Decide(text)
}

// bind deals with Bind: portal, statement, parameters.
func (s *session) bind(frame []byte) error {
	s.boundary = false
	portal, rest, ok := cutString(frame[5:])
	name, _, ok2 := cutString(rest)
	if !ok || !ok2 {
		return s.refuse(&badMessage, 0)
	}
	s.mu.Lock()
	t := s.statements.find(name)
	s.mu.Unlock()
	if s.stale(t.dec) {
		return s.refuseStale(0)
	}
	s.forward(entry{kind: 'B', name: string(portal), dec: t.dec, bytes: len(frame)}, frame)
	return nil
}

// describeOrClose deals with Describe and Close: of what, and its name.
func (s *session) describeOrClose(typ byte, frame []byte) error {
	s.boundary = false
	if len(frame) < 7 {
		return s.refuse(&badMessage, 0)
	}
	e := entry{kind: typ, object: frame[5]}
	name, _, ok := cutString(frame[6:])
	switch {
	case !ok || e.object != 'S' && e.object != 'P':
		return s.refuse(&badMessage, 0)
	case typ == 'C':
		e.name = string(name)
	default:
		s.mu.Lock()
		if e.object == 'S' {
			e.dec = s.statements.find(name).dec
		} else {
			e.dec = s.portals.find(name).dec
		}
		s.mu.Unlock()
	}
	s.forward(e, frame)
	return nil
}

// executeMessage deals with Execute: portal and the number of rows.
func (s *session) executeMessage(frame []byte) error {
	s.boundary = false
	portal, rest, ok := cutString(frame[5:])
	if !ok || len(rest) != 4 {
		return s.refuse(&badMessage, 0)
	}
	s.mu.Lock()
	t := s.portals.find(portal)
	s.mu.Unlock()
	_, err := s.execute(execution{target: t, frame: frame, partial: binary.BigEndian.Uint32(rest) != 0})
	return err
}

// sync deals with Sync, which commits what was not in a block.
func (s *session) sync() error { return s.finish(entry{kind: 'S'}) }

// finish sends the Sync that ends a run of messages.
func (s *session) finish(e entry) error {
	if !s.tx.block && s.tx.wrote() {
		if err := s.settle(); err != nil {
			return err
		}
		if _, failed, _ := s.state(); !failed {
			refusal, err := s.commitRefusal()
			if err == nil && refusal != nil {
				err = s.refuse(refusal, 0)
			}
			if err != nil {
				return err
			}
			if refusal == nil {
				e.commit = s.tx.commit()
			}
		}
	}
	if s.unsure {
		e.wait = &wait{}
	}
	s.push(e)
	s.up.message(&pgproto3.Sync{})
	s.boundary = true
	if !s.tx.block {
		s.tx = transaction{}
	}
	if e.wait == nil {
		return nil
	}
	s.unsure = false
	if err := s.await(e.wait); err != nil {
		return err
	}
	s.follow()
	return nil
}

// follow takes from the last ReadyForQuery whether a block is open.
func (s *session) follow() {
	s.mu.Lock()
	status := s.status
	s.mu.Unlock()
	if status == 'I' {
		s.tx = transaction{}
	} else if !s.tx.block {
		s.tx.begin()
	}
}

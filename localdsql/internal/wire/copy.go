package wire

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// copyIn passes on the rows of a COPY FROM STDIN until the client has sent all,
// or the backend has failed.
func (s *session) copyIn(w *wait) error {
	s.copying = true
	syncs := 0 // since the last row
	defer func() { s.copying = false }()
	for {
		if s.copyOver(w) {
			// What the client says now is for after the COPY.
			return s.lateSyncs(syncs)
		}
		typ, size, err := s.in.peek()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case errors.Is(err, errTooLong), errors.Is(err, errBadLength):
			s.end(&tooLong)
			return errEnded
		case err != nil:
			return err
		}
		if typ == 'd' {
			syncs = 0
			if err := s.copyRow(size); err != nil {
				return err
			}
			continue
		}
		switch typ {
		case 'c', 'f', 'H', 'S', 'X':
		default:
			return s.copyDisturbed(w, typ, size, syncs)
		}
		frame, err := s.in.take(size)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return err
		}
		switch typ {
		case 'H': // the backend ignores it here
		case 'S':
			// Ignored too, but if the COPY has failed already this is where the
			// client goes on.
			syncs++
		case 'X':
			s.up.write(frame)
			_ = s.up.flush()
			return errEnded
		default:
			s.up.write(frame)
			if err := s.copyDone(w); err != nil || typ == 'c' {
				return err
			}
			s.mu.Lock()
			before := w.code != "57014" // it had failed before the client gave up
			s.mu.Unlock()
			if before {
				return s.lateSyncs(syncs)
			}
			return nil
		}
	}
}

// unexpected is how an error begins with which PostgreSQL ends a COPY for a
// message that has no place in it.
const unexpected = "unexpected message type "

// copyDisturbed ends a COPY for the message that was announced, unless the
// backend has ended it before: then the message is for what comes next.
func (s *session) copyDisturbed(w *wait, typ byte, size, syncs int) error {
	s.up.message(&pgproto3.CopyFail{Message: fmt.Sprintf(unexpected+"0x%02X during COPY from stdin", typ)})
	if err := s.copyDone(w); err != nil {
		return err
	}
	s.mu.Lock()
	disturbed := w.disturbed
	s.mu.Unlock()
	if disturbed {
		_, err := s.in.take(size)
		return err
	}
	return s.lateSyncs(syncs)
}

// lateSyncs deals with the Syncs that came during a COPY which, as has turned
// out, had failed before them.
func (s *session) lateSyncs(n int) error {
	for range n {
		if err := s.sync(); err != nil {
			return err
		}
	}
	return nil
}

// copyRow passes on one CopyData. The backend needs all of one that it has seen
// the beginning of, also when it does not want it any more.
func (s *session) copyRow(size int) error {
	s.tx.bytes += int64(size - 5)
	for {
		err := s.in.pass(&size, s.up)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		_ = s.client.SetReadDeadline(time.Time{})
	}
}

// copyDone waits for the completion of a COPY whose end was sent.
func (s *session) copyDone(w *wait) error {
	s.mu.Lock()
	w.copying = false
	s.mu.Unlock()
	err := s.awaitFlushed(w)
	_ = s.client.SetReadDeadline(time.Time{}) // see wakeCopy
	return err
}

// copyOver reports whether the backend has ended a COPY on its own.
func (s *session) copyOver(w *wait) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.outcome == pending {
		return false
	}
	_ = s.client.SetReadDeadline(time.Time{})
	return true
}

// wakeCopy ends the wait for a client's rows that the backend does not want any
// more: the client may be waiting itself. The lock is held.
func (s *session) wakeCopy() { _ = s.client.SetReadDeadline(time.Unix(1, 0)) }

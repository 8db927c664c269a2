package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// Sizes of the buffers of a connection, in bytes. A larger message gets a
// buffer of its own.
const (
	readBuffer  = 32 << 10
	writeBuffer = 32 << 10
	// collect is how much makes a write worthwhile: less waits for more.
	collect = 16 << 10
)

// patience is how long rows wait for more of them. PostgreSQL itself lets them
// wait, for as long as it takes, until it has 8 kB.
const patience = time.Millisecond

// maxFrame is more than the length of any message: PostgreSQL's end below 1 GB.
const maxFrame = 1 << 30

// errTooLong says that a message is longer than allowed, errBadLength that its
// length cannot be.
var (
	errTooLong   = errors.New("message too long")
	errBadLength = errors.New("invalid message length")
)

// A frameReader cuts a stream into the protocol's messages: a byte for the
// type, four for the length of the rest with themselves, and the rest.
type frameReader struct {
	src   io.Reader
	limit int64 // the longest message; negative for any
	// before is called before a read that may block, after behind it.
	before func() error
	after  func()

	// deadline, if there is one, makes reads end at a time.
	deadline func(time.Time) error
	holding  bool // until a deadline

	buf  []byte
	r, w int // what is in buf and not taken: from r to w
}

func newFrameReader(src io.Reader, limit int64) *frameReader {
	return &frameReader{src: src, limit: limit, buf: make([]byte, readBuffer), before: func() error { return nil }, after: func() {}}
}

// peek waits for the next message and gives its type and its size with the
// header, without taking it.
func (f *frameReader) peek() (typ byte, size int, err error) {
	if f.w-f.r < 5 {
		if err := f.fill(5); err != nil {
			return 0, 0, err
		}
	}
	n := int64(binary.BigEndian.Uint32(f.buf[f.r+1:]))
	if n < 4 || n >= maxFrame {
		return 0, 0, errBadLength
	}
	if exceeds(n, f.limit) {
		return 0, 0, errTooLong
	}
	return f.buf[f.r], int(n) + 1, nil
}

// take gives the whole message that peek announced, header included. It is
// valid until the next call.
func (f *frameReader) take(size int) ([]byte, error) {
	if f.w-f.r < size {
		if err := f.fill(size); err != nil {
			return nil, err
		}
	}
	frame := f.buf[f.r : f.r+size : f.r+size]
	f.r += size
	return frame, nil
}

// pass copies the message that peek announced, without waiting for all of it.
// After an error it can go on, with the size that is left.
func (f *frameReader) pass(size *int, to *frameWriter) error {
	for *size > 0 {
		if f.r == f.w {
			if err := f.fill(1); err != nil {
				return err
			}
		}
		n := min(*size, f.w-f.r)
		to.write(f.buf[f.r : f.r+n])
		f.r += n
		*size -= n
	}
	return nil
}

// passAll copies the message that peek announced and those of the same type
// behind it, until one of another type has begun, which must come. It collects
// before it copies, as few large writes cost less than many small ones. Of a
// message that has not arrived in full it copies what is there; after an error,
// left is how much of it is missing.
func (f *frameReader) passAll(typ byte, size int, to *frameWriter) (left int, err error) {
	defer f.letGo()
	for left = size; ; {
		here := f.buf[f.r:f.w]
		end, over := rowsEnd(here, typ, left)
		if !over && len(here) < collect && len(f.buf)-f.w >= maxRecord && f.hold() {
			continue
		}
		n := min(end, len(here))
		to.write(here[:n])
		f.r += n
		if left = end - n; over {
			return 0, nil
		}
		f.letGo()
		if err := f.fill(f.w - f.r + 1); err != nil {
			return left, err
		}
	}
}

// rowsEnd gives the end of the messages of one type in b, of which the first has
// left bytes. over says that something else stands behind them in b; otherwise
// the end may be behind that of b.
func rowsEnd(b []byte, typ byte, left int) (end int, over bool) {
	for end = left; end < len(b); {
		if b[end] != typ {
			return end, true
		}
		if end+5 > len(b) {
			return end, false
		}
		n := binary.BigEndian.Uint32(b[end+1:])
		if n < 4 || n >= maxFrame {
			return end, true // peek says what is wrong
		}
		end += int(n) + 1
	}
	return end, false
}

// hold reads more before what is there is copied, and reports whether more came
// within patience. An error shows again when it is waited for.
func (f *frameReader) hold() bool {
	if f.deadline == nil {
		return false
	}
	if !f.holding {
		f.holding = f.deadline(time.Now().Add(patience)) == nil
		if !f.holding {
			return false
		}
	}
	n, _ := f.src.Read(f.buf[f.w:])
	f.w += n
	return n > 0
}

// letGo ends what hold has begun.
func (f *frameReader) letGo() {
	if f.holding {
		f.holding = false
		_ = f.deadline(time.Time{}) // it fails where reading fails too
	}
}

// fill reads until n bytes are there.
func (f *frameReader) fill(n int) error {
	for f.w-f.r < n {
		f.makeRoom(n)
		if err := f.before(); err != nil {
			return err
		}
		k, err := f.src.Read(f.buf[f.w:])
		f.after()
		f.w += k
		if err != nil && f.w-f.r < n {
			if err == io.EOF && f.w > f.r {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// makeRoom makes sure that something can be read, and that n bytes will fit in
// the end. The buffer grows with what has arrived, not with what a length says.
func (f *frameReader) makeRoom(n int) {
	have := f.w - f.r
	switch {
	case have == 0 && len(f.buf) > readBuffer && n <= readBuffer:
		f.buf = make([]byte, readBuffer)
	case have > 0 && f.r+n <= len(f.buf):
		return
	case f.w == len(f.buf) && f.r == 0:
		grown := make([]byte, min(max(n, readBuffer), 2*len(f.buf)))
		copy(grown, f.buf)
		f.buf = grown
		return
	default:
		copy(f.buf, f.buf[f.r:f.w])
	}
	f.r, f.w = 0, have
}

// A frameWriter collects messages. After a failed write the rest is dropped.
type frameWriter struct {
	dst     io.Writer
	buf     []byte
	err     error
	discard bool // what is written from now on is lost
}

func newFrameWriter(dst io.Writer) *frameWriter {
	return &frameWriter{dst: dst, buf: make([]byte, 0, writeBuffer)}
}

// write adds bytes, and sends when enough have come together.
func (w *frameWriter) write(b []byte) {
	if w.discard || w.err != nil {
		return
	}
	if len(w.buf)+len(b) > writeBuffer {
		_ = w.flush() // the error stays
	}
	if len(w.buf) == 0 && len(b) >= collect {
		if w.err == nil {
			_, w.err = w.dst.Write(b)
		}
		return
	}
	w.buf = append(w.buf, b...)
}

// An encoder is a message of package pgproto3.
type encoder interface {
	Encode(dst []byte) ([]byte, error)
}

// message adds a message that the proxy makes.
func (w *frameWriter) message(m encoder) {
	b, err := m.Encode(nil)
	if err != nil {
		if w.err == nil {
			w.err = err
		}
		return
	}
	w.write(b)
}

// flush sends what was collected.
func (w *frameWriter) flush() error {
	if w.err == nil && len(w.buf) > 0 {
		_, w.err = w.dst.Write(w.buf)
	}
	w.buf = w.buf[:0]
	return w.err
}

// cutString gives the string that ends with the first zero byte, and the rest.
func cutString(b []byte) (s, rest []byte, ok bool) {
	for i, c := range b {
		if c == 0 {
			return b[:i], b[i+1:], true
		}
	}
	return nil, nil, false
}

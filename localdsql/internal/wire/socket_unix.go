//go:build unix

package wire

import (
	"io"
	"net"
	"os"
	"syscall"
)

// A socket is a connection that makes its system calls itself, see readNow, and
// leaves to package net only to wait, deadlines included. It is for one reader
// and one writer at a time.
type socket struct {
	net.Conn
	raw     syscall.RawConn
	in, out transfer
}

// A transfer is a Read or Write that is under way. It and its function live as
// long as the socket, so that a call makes no garbage.
type transfer struct {
	b   []byte
	n   int // of b are done
	err error
	do  func(fd uintptr) (done bool)
}

// newSocket takes over a connection. One that does not belong to the system, as
// those of net.Pipe, stays what it is.
func newSocket(conn net.Conn) net.Conn {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return conn
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return conn
	}
	s := &socket{Conn: conn, raw: raw}
	s.in.do, s.out.do = s.in.read, s.out.write
	return s
}

func (t *transfer) read(fd uintptr) bool {
	t.n, t.err = readNow(fd, t.b)
	return t.err != syscall.EAGAIN
}

func (t *transfer) write(fd uintptr) bool {
	for t.n < len(t.b) {
		n, err := writeNow(fd, t.b[t.n:])
		if err == syscall.EAGAIN {
			return false
		}
		if t.err = err; err != nil {
			return true
		}
		t.n += n
	}
	return true
}

func (s *socket) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := s.run("read", &s.in, s.raw.Read, b)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (s *socket) Write(b []byte) (int, error) { return s.run("write", &s.out, s.raw.Write, b) }

// run does a transfer. Errors are like those of package net.
func (s *socket) run(name string, t *transfer, with func(func(uintptr) bool) error, b []byte) (int, error) {
	t.b, t.n, t.err = b, 0, nil
	err := with(t.do)
	if err == nil && t.err != nil {
		err = &net.OpError{
			Op: name, Net: s.LocalAddr().Network(), Source: s.LocalAddr(), Addr: s.RemoteAddr(),
			Err: os.NewSyscallError(name, t.err),
		}
	}
	t.b = nil
	return t.n, err
}

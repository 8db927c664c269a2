//go:build unix

package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// socketPair gives a socket and the other side of it.
func socketPair(t *testing.T, network string) (*socket, net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	other, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		other.Close()
	})
	s, ok := newSocket(conn).(*socket)
	if !ok {
		t.Fatalf("a connection of %s is not taken over", network)
	}
	return s, other
}

func TestSocket(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network+"/both ways at once", func(t *testing.T) {
			s, other := socketPair(t, network)
			big := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // more than all buffers
			go func() {
				b := make([]byte, 10000)
				for {
					n, err := other.Read(b)
					if _, werr := other.Write(b[:n]); err != nil || werr != nil {
						other.Close()
						return
					}
				}
			}()
			written := make(chan error, 1)
			go func() {
				n, err := s.Write(big)
				if err == nil && n != len(big) {
					err = io.ErrShortWrite
				}
				written <- err
			}()
			got := make([]byte, len(big))
			if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, big) {
				t.Errorf("what came back is not what was sent: %v", err)
			}
			if err := <-written; err != nil {
				t.Error(err)
			}
		})
		t.Run(network+"/deadline", func(t *testing.T) {
			s, other := socketPair(t, network)
			_ = s.SetReadDeadline(time.Now().Add(time.Millisecond))
			n, err := s.Read(make([]byte, 1))
			if timeout := net.Error(nil); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("read: %d, %v", n, err)
			}
			_ = s.SetReadDeadline(time.Time{})
			if _, err := other.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if n, err := s.Read(make([]byte, 5)); n != 1 || err != nil {
				t.Errorf("read after the deadline: %d, %v", n, err)
			}
			big := make([]byte, 64<<20)
			for wait := 300 * time.Millisecond; ; wait *= 2 {
				_ = s.SetWriteDeadline(time.Now().Add(wait))
				n, err := s.Write(big)
				if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && wait < testPatience {
					continue // it was over before the first write, as happens on a busy machine
				}
				if n <= 0 || n >= len(big) || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("write: %d, %v", n, err)
				}
				break
			}
		})
		t.Run(network+"/end", func(t *testing.T) {
			s, other := socketPair(t, network)
			other.Close()
			if n, err := s.Read(make([]byte, 5)); n != 0 || err != io.EOF {
				t.Errorf("read: %d, %v, want EOF", n, err)
			}
			if n, err := s.Read(nil); n != 0 || err != nil {
				t.Errorf("read nothing: %d, %v", n, err)
			}
			var err error
			for range 1000 { // the first may still fit into a buffer
				if _, err = s.Write([]byte("x")); err != nil {
					break
				}
			}
			op := (*net.OpError)(nil)
			if !errors.As(err, &op) || op.Op != "write" || !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("write: %v", err)
			}
		})
		t.Run(network+"/close", func(t *testing.T) {
			s, _ := socketPair(t, network)
			ended := make(chan error, 1)
			go func() {
				_, err := s.Read(make([]byte, 5))
				ended <- err
			}()
			s.Close()
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Errorf("read: %v", err)
			}
			if _, err := s.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write: %v", err)
			}
		})
		t.Run(network+"/garbage", func(t *testing.T) {
			s, other := socketPair(t, network)
			b := make([]byte, 100)
			if n := testing.AllocsPerRun(100, func() {
				_, _ = s.Write(b)
				_, _ = other.Read(b)
				_, _ = other.Write(b)
				_, _ = s.Read(b)
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if newSocket(a) != a {
		t.Error("one end of a net.Pipe is not left as it is")
	}
}

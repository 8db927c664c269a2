package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// drain reads what a server says until it hangs up.
func drain(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(testPatience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection does not end")
	}
	conn.Close()
}

// FuzzStart sends anything as the beginning of a connection, in clear or within
// TLS.
func FuzzStart(f *testing.F) {
	c := start(f)
	f.Add([]byte("\x00\x00\x00\x08\x04\xd2\x16\x2f"), false)
	f.Add([]byte("\x00\x00\x00\x08\x04\xd2\x16\x30\x00\x00\x00\x08\x04\xd2\x16\x30\x00\x00\x00\x08\x04\xd2\x16\x30"), false)
	f.Add([]byte("\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x01\x00\x00\x00\x02"), true)
	f.Add([]byte("\x00\x00\x00\x1a\x00\x03\x00\x00user\x00admin\x00a\x00b\x00\x00p\x00\x00\x00\x0ca token\x00Q\x00\x00\x00\x05\x00"), true)
	f.Add([]byte("\x00\x00\x00\x1a\x00\x03\x00\x02user\x00admin\x00options\x00-c\x00\x00p\x00\x00\x00\x04"), true)
	f.Fuzz(func(t *testing.T, data []byte, secure bool) {
		plain, err := net.Dial("tcp", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		if !secure {
			_, _ = plain.Write(data)
			_ = plain.(*net.TCPConn).CloseWrite()
			drain(t, plain)
			return
		}
		conn := tls.Client(plain, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}})
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(data)
		_ = conn.CloseWrite()
		drain(t, conn)
	})
}

// FuzzRelay says anything after the login: a sensible session, with a change,
// and something behind it. Another session must still work after it.
func FuzzRelay(f *testing.F) {
	c := start(f, func(c *Config) { c.Hooks = noHooks{} })
	c.setup(f, differentialSchema)
	for i := range uint64(20) {
		f.Add(i, uint16(17*i), byte(i), []byte{})
	}
	f.Add(uint64(1), uint16(0), byte(0), []byte("Q\x00\x00\x00\x04"))
	f.Add(uint64(1), uint16(0), byte(0), []byte("Q\x7f\xff\xff\xff"))
	f.Add(uint64(1), uint16(0), byte(0), []byte("F\x00\x00\x00\x06\x00\x00"))
	f.Add(uint64(1), uint16(0), byte(0), []byte("P\x00\x00\x00\x05xB\x00\x00\x00\x05\x00E\x00\x00\x00\x05\x00C\x00\x00\x00\x04D\x00\x00\x00\x06Xx"))
	f.Fuzz(func(t *testing.T, seed uint64, at uint16, value byte, tail []byte) {
		conn, err := pgconn.Connect(context.Background(), c.url)
		if err != nil {
			t.Fatal(err)
		}
		if err := settle(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		h, err := conn.Hijack()
		if err != nil {
			t.Fatal(err)
		}
		var b []byte
		for _, m := range randomMessages(rand.New(rand.NewPCG(seed, 0))) {
			b, _ = m.Encode(b)
		}
		if len(b) > 0 {
			b[int(at)%len(b)] ^= value
		}
		go func() {
			_, _ = h.Conn.Write(append(b, tail...))
			_ = h.Conn.(*tls.Conn).CloseWrite()
		}()
		drain(t, h.Conn)
	})
}

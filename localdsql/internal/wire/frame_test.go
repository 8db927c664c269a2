package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// frame is a message of n bytes without the header.
func frame(typ byte, n int) []byte {
	b := append([]byte{typ, 0, byte((n + 4) >> 16), byte((n + 4) >> 8), byte(n + 4)}, make([]byte, n)...)
	for i := range n {
		b[5+i] = byte(i)
	}
	return b
}

// A choppy source gives its data in pieces of any size. While a deadline is set,
// a read may end for it.
type choppy struct {
	r        *rand.Rand
	data     []byte
	deadline time.Time
}

func (c *choppy) Read(b []byte) (int, error) {
	switch {
	case !c.deadline.IsZero() && c.r.IntN(3) == 0:
		return 0, os.ErrDeadlineExceeded
	case len(c.data) == 0:
		return 0, io.EOF
	}
	sizes := []int{1, 4, 100, 8192, 1 << 20}
	n := copy(b, c.data[:min(len(c.data), 1+c.r.IntN(sizes[c.r.IntN(len(sizes))]))])
	c.data = c.data[n:]
	return n, nil
}

func (c *choppy) setDeadline(t time.Time) error {
	c.deadline = t
	return nil
}

// TestPassAll passes rows on that arrive in any pieces, up to something else or
// to the end of a connection, and expects each byte once.
func TestPassAll(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 0))
		var rows []byte
		for range 1 + r.IntN(200) {
			rows = append(rows, frame('D', r.IntN([]int{10, 300, 3000, 60000}[r.IntN(4)]))...)
		}
		cut, end := 0, [][]byte{frame('C', 9), frame('Z', 1), {'D', 0, 0, 0, 3}, {'D', 0xff, 0, 0, 0}, nil}[r.IntN(5)]
		if end == nil {
			cut = r.IntN(len(rows) - 5)
		}
		src := &choppy{r: r, data: append(append([]byte{}, rows[:len(rows)-cut]...), end...)}
		f, sent := newFrameReader(src, -1), &bytes.Buffer{}
		to := newFrameWriter(sent)
		f.before = to.flush
		if r.IntN(4) > 0 {
			f.deadline = src.setDeadline
		}
		typ, size, err := f.peek()
		if err != nil {
			t.Fatal(err)
		}
		left, err := f.passAll(typ, size, to)
		_ = to.flush()
		if !src.deadline.IsZero() {
			t.Fatalf("seed %d: a deadline stays", seed)
		}
		got := sent.Bytes()
		if end != nil {
			if err != nil || left != 0 || !bytes.Equal(got, rows) {
				t.Fatalf("seed %d: %d of %d bytes, %d left, %v", seed, len(got), len(rows), left, err)
			}
			if next := f.buf[f.r]; next != end[0] {
				t.Fatalf("seed %d: then %q, want %q", seed, next, end[0])
			}
			continue
		}
		// A header that is cut is not sent; of a row that is cut the rest is left.
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("seed %d: %v", seed, err)
		}
		at := 0
		for at < len(got) {
			at += 5 + len(frameBody(rows[at:]))
		}
		if have := len(rows) - cut; !bytes.Equal(got, rows[:len(got)]) || have-len(got) > 4 || left != at-len(got) {
			t.Fatalf("seed %d: sent %d of %d bytes, %d left, want %d", seed, len(got), have, left, at-len(got))
		}
	}
}

// frameBody gives the body of the first message.
func frameBody(b []byte) []byte {
	return b[5 : int(b[2])<<16|int(b[3])<<8|int(b[4])+1]
}

// counting counts what is written.
type counting struct{ atomic.Int64 }

func (c *counting) Write(b []byte) (int, error) {
	c.Add(int64(len(b)))
	return len(b), nil
}

// TestPatience expects that rows do not wait for more of them for longer than
// patience, and that what comes later is waited for without end.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, proxy := net.Pipe()
		defer server.Close()
		f, sent := newFrameReader(proxy, -1), &counting{}
		to := newFrameWriter(sent)
		f.before, f.deadline = to.flush, proxy.SetReadDeadline
		row := frame('D', 100)
		ended := make(chan error, 1)
		begin := time.Now()
		go func() {
			typ, size, err := f.peek()
			if err == nil {
				_, err = f.passAll(typ, size, to)
			}
			if err == nil {
				typ, _, err = f.peek()
			}
			if err == nil && typ != 'C' {
				err = errors.New("no completion")
			}
			ended <- errors.Join(err, to.flush())
		}()
		send := func(b []byte) {
			if _, err := server.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		check := func(after time.Duration, rows int) {
			t.Helper()
			time.Sleep(after - time.Since(begin))
			synctest.Wait()
			if got := int(sent.Load()); got != rows*len(row) {
				t.Fatalf("after %v the client has %d bytes, want %d rows", time.Since(begin), got, rows)
			}
		}
		send(row)
		send(row)
		check(patience-1, 0)
		check(patience, 2)
		check(time.Hour, 2)
		send(row)
		check(time.Hour+patience-1, 2)
		check(time.Hour+patience, 3)
		// Much does not wait.
		for range collect/len(row) + 1 {
			send(row)
		}
		synctest.Wait()
		if int(sent.Load()) <= 3*len(row) {
			t.Error("much waits for more")
		}
		send(frame('C', 5))
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if got, want := int(sent.Load())/len(row), 3+collect/len(row)+1; got != want {
			t.Errorf("%d rows, want %d", got, want)
		}
	})
}

// TestEndInRow: a client that has the beginning of a row gets nothing that it
// would take for the rest.
func TestEndInRow(t *testing.T) {
	c := start(t)
	conn := hijack(t, c.url)
	if err := conn.SetDeadline(time.Now().Add(testPatience)); err != nil {
		t.Fatal(err)
	}
	const size = 50 << 20
	b, err := (&pgproto3.Query{String: "SELECT repeat('x', 50 << 20)"}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	start := make([]byte, 1000)
	if _, err := io.ReadFull(conn, start); err != nil || !bytes.HasSuffix(start, []byte("xxx")) {
		t.Fatalf("the row does not begin: %q, %v", start, err)
	}
	c.proxy.mu.Lock()
	for s := range c.proxy.sessions {
		s.end(&shutdown)
	}
	c.proxy.mu.Unlock()
	rest, _ := io.ReadAll(conn)
	if len(rest) >= size-len(start) {
		t.Fatalf("the whole row arrived: %d bytes", len(rest))
	}
	if i := bytes.LastIndexFunc(rest, func(r rune) bool { return r != 'x' }); i >= 0 {
		t.Errorf("behind %d bytes of the row came %.100q", i, rest[i:])
	}
}

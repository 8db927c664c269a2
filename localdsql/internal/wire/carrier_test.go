package wire

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// A recorder remembers what is written to a connection.
type recorder struct {
	net.Conn
	writes [][]byte
}

func (r *recorder) Write(b []byte) (int, error) {
	r.writes = append(r.writes, bytes.Clone(b))
	return r.Conn.Write(b)
}

// TestRecords expects TLS records that clients of libpq can read, see maxRecord,
// in one write however many they are.
func TestRecords(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	wire := &recorder{Conn: near}
	below := &carrier{Conn: wire}
	server := tls.Server(below, &tls.Config{Certificates: []tls.Certificate{certificate()}, DynamicRecordSizingDisabled: true})
	client := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
	received := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(client)
		received <- b
	}()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	w, sent := &records{server, below}, []byte{}
	for _, n := range []int{1, maxRecord, maxRecord + 1, 100000} {
		wire.writes = nil
		b := bytes.Repeat([]byte{byte(n)}, n)
		if k, err := w.Write(b); k != n || err != nil {
			t.Fatalf("%d bytes: %d, %v", n, k, err)
		}
		sent = append(sent, b...)
		if len(wire.writes) != 1 {
			t.Errorf("%d bytes in %d writes", n, len(wire.writes))
		}
		for rest := wire.writes[0]; len(rest) > 0; {
			// The type, a version and the length; a byte and a tag are in addition.
			size := int(binary.BigEndian.Uint16(rest[3:5]))
			if size > maxRecord+1+16 {
				t.Errorf("%d bytes: a record of %d", n, size)
			}
			rest = rest[5+size:]
		}
	}
	server.Close()
	if got := <-received; !bytes.Equal(got, sent) {
		t.Errorf("received %d bytes, sent %d", len(got), len(sent))
	}
}

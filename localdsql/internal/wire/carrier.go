package wire

import (
	"net"
	"sync"
)

// maxRecord is how much the proxy puts into one TLS record, in bytes. It is the
// size of PostgreSQL's own send buffer: of a larger record, clients that use
// libpq without blocking, such as pgbench and psycopg, read a part and then wait
// for the socket, in vain as the rest has been read from it already (found out
// the hard way by CockroachDB too: cockroachdb/cockroach#148222).
const maxRecord = 8192

// A carrier is the connection below TLS. It gives back the byte that was read to
// see what the client begins with, and can send many records at once.
type carrier struct {
	net.Conn
	prefix []byte

	mu   sync.Mutex
	hold bool
	held []byte
}

func (c *carrier) Read(b []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(b, c.prefix)
		c.prefix = c.prefix[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

func (c *carrier) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hold {
		c.held = append(c.held, b...)
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// together collects what do writes and sends it in one go.
func (c *carrier) together(do func() error) error {
	c.mu.Lock()
	c.hold = true
	c.mu.Unlock()
	err := do()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = false
	_, werr := c.Conn.Write(c.held)
	c.held = c.held[:0]
	if err == nil {
		err = werr
	}
	return err
}

// records writes to TLS, in records that every client can read.
type records struct {
	tls     net.Conn
	carrier *carrier
}

func (r *records) Write(b []byte) (n int, err error) {
	if len(b) <= maxRecord {
		return r.tls.Write(b)
	}
	err = r.carrier.together(func() error {
		for n < len(b) {
			k, err := r.tls.Write(b[n:min(n+maxRecord, len(b))])
			n += k
			if err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

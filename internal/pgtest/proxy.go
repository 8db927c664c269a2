package pgtest

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// quiet is how long a client must say nothing before it is taken to wait for
// an answer.
const quiet = 60 * time.Millisecond

// TripsAtMost fails a test in which a client takes more round trips than it may.
// run makes a proxy by what it is given, has the client do its work through it,
// and returns it. A client that streams and is held up by a busy machine is
// charged too much: if it was charged a little too much, run is called again,
// with a proxy that is more patient.
func TripsAtMost(t testing.TB, want int, run func(through func(url string) *Proxy) *Proxy) {
	t.Helper()
	for patient := quiet; ; patient *= 5 {
		proxy := run(func(url string) *Proxy { return newProxy(t, url, patient) })
		n := proxy.Trips()
		t.Logf("%d round trips after login on %d connection(s)", n, proxy.Conns())
		if n > 0 && n <= want {
			return
		}
		if n == 0 || n > 10*want || patient > time.Second {
			t.Fatalf("%d round trips, want at most %d", n, want)
		}
	}
}

// A Proxy stands between a client and a server and counts round trips: how
// often the client had to wait for an answer before it could go on. It keeps
// the server's answers back until the client has fallen silent, so that a
// client that streams is charged once, and one that asks and waits is charged
// each time, however fast the machine is.
type Proxy struct {
	// URL leads through the proxy.
	URL string

	listener net.Listener
	quiet    time.Duration
	dial     func() (net.Conn, error)

	mu    sync.Mutex
	trips []int // of each connection, after its login
	conns []net.Conn
	wg    sync.WaitGroup
}

// NewProxy starts a proxy in front of the server that url names.
func NewProxy(t testing.TB, raw string) *Proxy {
	t.Helper()
	return newProxy(t, raw, quiet)
}

func newProxy(t testing.TB, raw string, quiet time.Duration) *Proxy {
	t.Helper()
	config, err := pgconn.ParseConfig(raw)
	if err != nil {
		t.Fatalf("parse the server's url: %v", err)
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatalf("parse the server's url: %v", err)
	}
	u.Host = l.Addr().String()
	q := u.Query()
	q.Del("host")
	q.Del("port")
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	p := &Proxy{URL: u.String(), listener: l, quiet: quiet, dial: func() (net.Conn, error) {
		return (&net.Dialer{}).DialContext(context.Background(), network, address)
	}}
	p.wg.Go(p.serve)
	t.Cleanup(func() {
		l.Close()
		p.Cut()
		p.wg.Wait()
	})
	return p
}

// Trips returns the round trips of all connections since they logged in.
func (p *Proxy) Trips() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, t := range p.trips {
		n += t
	}
	return n
}

// Conns returns how many connections there were.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.trips)
}

// Cut breaks all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := p.dial()
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.trips = append(p.trips, 0)
		i := len(p.trips) - 1
		p.mu.Unlock()
		l := &lane{client: client, server: server, quiet: p.quiet, spoke: make(chan struct{}, 1), forward: make(chan []byte, 1<<16), count: func() {
			p.mu.Lock()
			p.trips[i]++
			p.mu.Unlock()
		}}
		p.wg.Go(l.upward)
		p.wg.Go(l.pass)
		p.wg.Go(l.collect)
		p.wg.Go(l.downward)
	}
}

// A lane is one connection. Answers wait in held until the client is quiet.
type lane struct {
	client, server net.Conn
	quiet          time.Duration
	count          func()
	spoke          chan struct{}
	forward        chan []byte // deep enough for whatever a test sends

	mu       sync.Mutex
	held     []byte
	ended    bool
	asked    bool // the client has said something since the last release
	loggedIn bool
	messages scanner
}

// upward takes all that the client sends, however slow the server is: a client
// that waits for room in a buffer does not wait for an answer.
func (l *lane) upward() {
	defer l.end()
	defer close(l.forward)
	buf := make([]byte, 64<<10)
	for {
		n, err := l.client.Read(buf)
		if n > 0 {
			l.mu.Lock()
			l.asked = true
			l.mu.Unlock()
			l.poke()
			l.forward <- append([]byte(nil), buf[:n]...)
		}
		if err != nil {
			return
		}
	}
}

func (l *lane) pass() {
	broken := false
	for b := range l.forward {
		if !broken {
			_, err := l.server.Write(b)
			broken = err != nil
		}
	}
}

func (l *lane) collect() {
	buf := make([]byte, 64<<10)
	for {
		n, err := l.server.Read(buf)
		l.mu.Lock()
		l.held = append(l.held, buf[:n]...)
		if err != nil {
			l.ended = true
		}
		l.mu.Unlock()
		l.poke()
		if err != nil {
			return
		}
	}
}

func (l *lane) poke() {
	select {
	case l.spoke <- struct{}{}:
	default:
	}
}

// downward lets the answers go each time nobody has said anything for a while.
func (l *lane) downward() {
	defer l.end()
	timer := time.NewTimer(l.quiet)
	for {
		select {
		case <-l.spoke:
			timer.Reset(l.quiet)
			continue
		case <-timer.C:
		}
		l.mu.Lock()
		out, ended := l.held, l.ended
		l.held = nil
		if len(out) > 0 && l.asked {
			if l.loggedIn {
				l.count()
			}
			l.asked = false
		}
		l.loggedIn = l.loggedIn || l.messages.sawReady(out)
		l.mu.Unlock()
		if len(out) > 0 {
			if _, err := l.client.Write(out); err != nil {
				return
			}
		}
		if ended {
			return
		}
		if len(out) == 0 {
			<-l.spoke // nothing can happen before somebody speaks
		}
		timer.Reset(l.quiet)
	}
}

func (l *lane) end() {
	l.client.Close()
	l.server.Close()
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.poke()
}

// A scanner finds the first ReadyForQuery in a stream of server messages.
type scanner struct{ rest []byte }

func (s *scanner) sawReady(b []byte) bool {
	s.rest = append(s.rest, b...)
	for len(s.rest) >= 5 {
		n := 1 + int(uint32(s.rest[1])<<24|uint32(s.rest[2])<<16|uint32(s.rest[3])<<8|uint32(s.rest[4]))
		if s.rest[0] == 'Z' {
			return true
		}
		if len(s.rest) < n {
			return false
		}
		s.rest = s.rest[n:]
	}
	return false
}

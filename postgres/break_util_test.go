package postgres_test

import (
	"context"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/postgres"
)

func as(t testing.TB, raw, role string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	return u.String()
}

func errorsContain(err error, text string) bool {
	return err != nil && strings.Contains(err.Error(), text)
}

// holdTransaction leaves a transaction open that did sql, until release.
func holdTransaction(t testing.TB, url, sql string) (release func()) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgconn.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "BEGIN; "+sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	release = func() { once.Do(func() { conn.Close(ctx) }) }
	t.Cleanup(release)
	return release
}

// whenAsleep calls f when a statement sleeps on the server, in this database.
func whenAsleep(t testing.TB, url string, f func()) {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer conn.Close(context.Background())
		defer f() // also where the question fails, so that nobody waits for it
		for {
			results, err := conn.Exec(t.Context(), "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'").ReadAll()
			if err != nil || len(results[0].Rows) > 0 {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
}

// A stallProxy passes everything on until it is told to fall silent: a line
// that is dead, but not closed.
type stallProxy struct {
	url string
	mu  sync.Mutex
	on  *sync.Cond
	// up and down say that what clients and the server say is held back.
	up, down bool
	onHeld   func()
	conns    []net.Conn
}

func newStall(t testing.TB, raw string) *stallProxy {
	t.Helper()
	config, err := pgconn.ParseConfig(raw)
	if err != nil {
		t.Fatal(err)
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = l.Addr().String()
	q := u.Query()
	q.Del("host")
	q.Del("port")
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	p := &stallProxy{url: u.String()}
	p.on = sync.NewCond(&p.mu)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial(network, address)
			if err != nil {
				c.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, c, s)
			p.mu.Unlock()
			go p.pump(c, s, &p.up, false)
			go p.pump(s, c, &p.down, true)
		}
	}()
	t.Cleanup(func() { l.Close(); p.cut() })
	return p
}

func (p *stallProxy) pump(from, to net.Conn, held *bool, answers bool) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		if *held && answers && p.onHeld != nil {
			f := p.onHeld
			p.onHeld = nil
			time.AfterFunc(20*time.Millisecond, f)
		}
		for *held {
			p.on.Wait()
		}
		p.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *stallProxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up, p.down = true, true
}

// holdAnswers keeps back the answers from the second on, and calls f when
// there is one.
func (p *stallProxy) holdAnswers(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down, p.onHeld = true, f
}

func (p *stallProxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up, p.down = false, false
	p.on.Broadcast()
}

func (p *stallProxy) cut() {
	p.release()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func openCtx(ctx context.Context, url string) (*postgres.DB, error) {
	return openProjectCtx(ctx, url, "")
}

func openProjectCtx(ctx context.Context, url, project string) (*postgres.DB, error) {
	return postgres.Open(ctx, postgres.Config{URL: url, Project: project})
}

// openNoClose opens a database that the test may leave hanging.
func openNoClose(t testing.TB, url string) *postgres.DB {
	t.Helper()
	db, err := openCtx(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

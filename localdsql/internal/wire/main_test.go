package wire

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/localdsql/engine"
	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

var (
	server  *engine.Server
	counter atomic.Int64
)

// startServer starts the one PostgreSQL 16 of all tests.
var startServer = sync.OnceValue(func() error {
	var err error
	server, err = engine.Start(context.Background(), engine.Config{
		Throwaway: true, Find: engine.FindOptions{Major: 16},
		Settings: map[string]string{"max_connections": "200"},
	})
	return err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), testPatience)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "stop the test server:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// certificate is the one that all proxies of the tests show.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// A cluster is a proxy in front of a database of its own.
type cluster struct {
	proxy  *Proxy
	name   string // of the database
	url    string // through the proxy
	direct string // to the database
	addr   string
	logins chan Login // the last logins
}

const password = "a token"

// start starts a cluster. change may change its configuration.
func start(t testing.TB, change ...func(*Config)) *cluster {
	t.Helper()
	if err := startServer(); err != nil {
		t.Fatalf("no PostgreSQL 16 to test with: %v", err)
	}
	ctx := context.Background()
	name := fmt.Sprintf("wire_%d", counter.Add(1))
	if err := server.CreateDatabase(ctx, name); err != nil {
		t.Fatal(err)
	}
	c := &cluster{name: name, direct: server.URL(name), logins: make(chan Login, 100)}
	profile, err := dsql.Latest()
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		TLS:    &tls.Config{Certificates: []tls.Certificate{certificate()}},
		Policy: policy.New(profile),
		Auth:   c.auth,
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	}
	for _, f := range change {
		f(&cfg)
	}
	if c.proxy, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	c.listen(t)
	return c
}

func (c *cluster) auth(_ context.Context, l Login) (Backend, *policy.Refusal) {
	select {
	case c.logins <- l:
	default:
	}
	if l.Password != password {
		return Backend{}, &policy.Refusal{Code: "28000", Message: "unable to accept connection, access denied", Hint: "wrong token"}
	}
	config, err := pgconn.ParseConfig(c.direct)
	if err != nil {
		return Backend{}, &policy.Refusal{Code: "XX000", Message: err.Error()}
	}
	return Backend{Config: config}, nil
}

func (c *cluster) listen(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.addr = l.Addr().String()
	c.url = (&url.URL{Scheme: "postgres", User: url.UserPassword("admin", password), Host: c.addr, Path: "/postgres", RawQuery: "sslmode=require"}).String()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			serving.Go(func() {
				if err := c.proxy.Serve(ctx, conn); err != nil {
					c.proxy.cfg.Logger.Debug("a session ended", "err", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		serving.Wait()
	})
}

// testWriter writes a log to a test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

// testPatience bounds what a test waits for. It is only there so that nothing
// hangs, and so long that a slow machine never reaches it.
const testPatience = 5 * time.Minute

// deadline is a context for one test.
func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	t.Cleanup(cancel)
	return ctx
}

// connect logs in through the proxy.
func (c *cluster) connect(t testing.TB) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(deadline(t), c.url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// pgx logs in through the proxy with pgx in one of its modes.
func (c *cluster) pgx(t testing.TB, mode pgx.QueryExecMode) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(c.url)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = mode
	conn, err := pgx.ConnectConfig(deadline(t), config)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// setup runs SQL without the proxy.
func (c *cluster) setup(t testing.TB, sql string) {
	t.Helper()
	ask(t, c.direct, sql)
}

// one gives the single value of a query, asked without the proxy.
func (c *cluster) one(t testing.TB, sql string) string {
	t.Helper()
	results := ask(t, c.direct, sql)
	last := results[len(results)-1]
	if len(last.Rows) != 1 {
		t.Fatalf("%s: %d rows, want one", sql, len(last.Rows))
	}
	return string(last.Rows[0][0])
}

func ask(t testing.TB, url, sql string) []*pgconn.Result {
	t.Helper()
	ctx := deadline(t)
	conn, err := pgconn.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return results
}

// run runs SQL by the simple protocol and gives the tags, and the error's code.
func run(t testing.TB, conn *pgconn.PgConn, sql string) (tags []string, code string) {
	t.Helper()
	results, err := conn.Exec(deadline(t), sql).ReadAll()
	for _, r := range results {
		if tag := r.CommandTag.String(); tag != "" {
			tags = append(tags, tag)
		}
	}
	return tags, codeOf(t, err)
}

// codeOf gives the SQLSTATE and message of a server's error, nothing for none.
func codeOf(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	pg := (*pgconn.PgError)(nil)
	if !errors.As(err, &pg) {
		t.Fatalf("not a server's error: %v", err)
	}
	return pg.Code + " " + pg.Message
}

func must(t testing.TB, conn *pgconn.PgConn, sql string) {
	t.Helper()
	if _, code := run(t, conn, sql); code != "" {
		t.Fatalf("%s: %s", sql, code)
	}
}

const (
	secondDDL   = "0A000 multiple ddl statements not supported in a transaction"
	ddlWithDML  = "0A000 ddl and dml are not supported in the same transaction"
	tooManyRows = "54000 transaction row limit exceeded"
	oc000       = "40001 change conflicts with another transaction (OC000)"
	oc001       = "40001 schema has been updated by another transaction (OC001)"
	aborted     = "25P02 current transaction is aborted, commands ignored until end of transaction block"
)

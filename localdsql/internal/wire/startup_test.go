package wire

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// with changes the proxy's URL.
func (c *cluster) with(t testing.TB, change func(*url.URL, url.Values)) string {
	t.Helper()
	u, err := url.Parse(c.url)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	change(u, q)
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // as libpq reads it
	return u.String()
}

// TestLogin: what reaches Auth and the backend, and what refusals look like.
func TestLogin(t *testing.T) {
	c := start(t)
	for _, tt := range []struct {
		name   string
		change func(*url.URL, url.Values)
		want   string // the error, if any
		hint   string
	}{
		{name: "as it should be", change: func(*url.URL, url.Values) {}},
		{"wrong token", func(u *url.URL, _ url.Values) { u.User = url.UserPassword("admin", "no") }, "28000 unable to accept connection, access denied", "wrong token"},
		{"without TLS", func(_ *url.URL, q url.Values) { q.Set("sslmode", "disable") }, "28000 unable to accept connection, access denied", noTLS.Hint},
		{"unsupported parameter", func(_ *url.URL, q url.Values) { q.Set("statement_timeout", "5") }, `0A000 setting configuration parameter "statement_timeout" not supported`, ""},
		{"unsupported option", func(_ *url.URL, q url.Values) { q.Set("options", "-c statement_timeout=5") }, `0A000 setting configuration parameter "statement_timeout" not supported`, ""},
		{"of local DSQL", func(_ *url.URL, q url.Values) { q.Set("options", "-c aurora.faults=x -c search_path=here") }, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := pgconn.Connect(deadline(t), c.with(t, tt.change))
			if got := codeOf(t, err); got != tt.want {
				t.Fatalf("%q, want %q", got, tt.want)
			}
			if err != nil {
				return
			}
			defer conn.Close(context.Background())
			if got := conn.ParameterStatus("server_version"); got != serverVersion {
				t.Errorf("server_version %s", got)
			}
			res := conn.ExecParams(deadline(t), "SELECT current_setting('TimeZone') || ' ' || current_setting('default_transaction_isolation') || ' ' || current_setting('search_path')", nil, nil, nil, nil).Read()
			want := `UTC repeatable read "$user", public`
			if tt.name == "of local DSQL" {
				want = "UTC repeatable read here"
			}
			if res.Err != nil || string(res.Rows[0][0]) != want {
				t.Errorf("%s, %v", res.Rows, res.Err)
			}
		})
	}
}

// TestWhoLogsIn: Auth is told all that a client says.
func TestWhoLogsIn(t *testing.T) {
	c := start(t)
	config, err := pgconn.ParseConfig(c.with(t, func(_ *url.URL, q url.Values) {
		q.Set("options", "-c aurora.faults=oc000@1 -c search_path=here")
		q.Set("application_name", "a test")
	}))
	if err != nil {
		t.Fatal(err)
	}
	config.TLSConfig.ServerName = "abc.dsql.test.localhost"
	conn, err := pgconn.ConnectConfig(deadline(t), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	want := Login{
		ServerName: "abc.dsql.test.localhost", User: "admin", Database: "postgres", Password: password,
		Parameters: map[string]string{"aurora.faults": "oc000@1", "search_path": "here", "application_name": "a test"},
	}
	if diff := cmp.Diff(want, <-c.logins); diff != "" {
		t.Error(diff)
	}
}

// TestDirectTLS: TLS from the first byte needs the protocol's name.
func TestDirectTLS(t *testing.T) {
	c := start(t)
	for _, tt := range []struct {
		protocols []string
		want      string
	}{
		{[]string{"postgresql"}, "AuthenticationCleartextPassword"},
		{nil, "08P01"},
	} {
		conn, err := tls.Dial("tcp", c.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: tt.protocols})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(testPatience))
		f := pgproto3.NewFrontend(conn, conn)
		f.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "admin"}})
		_ = f.Flush() // refused already, perhaps
		m, err := f.Receive()
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		switch m := m.(type) {
		case *pgproto3.AuthenticationCleartextPassword:
			got = "AuthenticationCleartextPassword"
		case *pgproto3.ErrorResponse:
			got = m.Code
		}
		if got != tt.want {
			t.Errorf("%v: %s, want %s", tt.protocols, got, tt.want)
		}
	}
}

// TestNewerProtocol: a client that knows a newer minor version, or asks for an
// option, is told that this is 3.0.
func TestNewerProtocol(t *testing.T) {
	c := start(t)
	conn, err := tls.Dial("tcp", c.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testPatience))
	f := pgproto3.NewFrontend(conn, conn)
	f.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion32, Parameters: map[string]string{"user": "admin", "_pq_.new": "1"}})
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	m, err := f.Receive()
	if err != nil {
		t.Fatal(err)
	}
	v, ok := m.(*pgproto3.NegotiateProtocolVersion)
	if !ok || v.NewestMinorProtocol != 0 || len(v.UnrecognizedOptions) != 1 || v.UnrecognizedOptions[0] != "_pq_.new" {
		t.Errorf("%T %+v", m, m)
	}
}

// TestGSSAndEnd: GSS encryption is refused and TLS still possible; ends of all
// kinds before the login leave nothing behind.
func TestGSSAndEnd(t *testing.T) {
	c := start(t)
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testPatience))
	for _, tt := range []struct {
		code uint32
		want byte
	}{{gssRequest, 'N'}, {sslRequest, 'S'}} {
		if _, err := conn.Write(binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, tt.code)); err != nil {
			t.Fatal(err)
		}
		var answer [1]byte
		if _, err := io.ReadFull(conn, answer[:]); err != nil || answer[0] != tt.want {
			t.Errorf("%d: %q, %v", tt.code, answer, err)
		}
	}
	for _, start := range []string{"", "\x00", "\x16\x03\x01", "\x00\x00\x00\x08\x00\x00\x00\x00", "\x00\x00\xff\xff\x00\x03\x00\x00", "\x00\x00\x00\x09\x00\x03\x00\x00x", "GET / HTTP/1.0\r\n\r\n"} {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(testPatience))
		_, _ = io.WriteString(conn, start)
		_ = conn.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%q: answer %q, %v", start, b, err)
		}
		conn.Close()
	}
	must(t, c.connect(t), "SELECT 1")
}

// TestCancelInTLS: a request to cancel may come encrypted, as newer clients send
// it.
func TestCancelInTLS(t *testing.T) {
	c := start(t)
	pg := c.connect(t)
	done := make(chan error, 1)
	go func() {
		_, err := pg.Exec(context.Background(), "SELECT pg_sleep(60)").ReadAll()
		done <- err
	}()
	var key [4]byte
	copy(key[:], pg.SecretKey())
	for {
		conn, err := tls.Dial("tcp", c.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := (&pgproto3.CancelRequest{ProcessID: pg.PID(), SecretKey: key[:]}).Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(conn)
		conn.Close()
		select {
		case err := <-done:
			if got := codeOf(t, err); !strings.HasPrefix(got, "57014") {
				t.Error(got)
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// alone serves one connection that the test can end, and gives its URL.
func (c *cluster) alone(t *testing.T) (url string, end func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = c.proxy.Serve(ctx, conn)
		}
		served <- err
	}()
	t.Cleanup(func() {
		cancel()
		l.Close()
	})
	return c.with(t, withHost(l.Addr().String())), func() error {
		cancel()
		select {
		case err := <-served:
			return err
		case <-deadline(t).Done():
			return errors.New("the connection is still served")
		}
	}
}

func withHost(host string) func(*url.URL, url.Values) {
	return func(u *url.URL, _ url.Values) { u.Host = host }
}

// TestShutdown: sessions end with a message when the server does.
func TestShutdown(t *testing.T) {
	c := start(t)
	address, end := c.alone(t)
	conn, err := pgconn.Connect(deadline(t), address)
	if err != nil {
		t.Fatal(err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	_, err = conn.Exec(deadline(t), "SELECT 1").ReadAll()
	if pg := codeOf(t, err); pg != "57P01 terminating connection due to administrator command" {
		t.Error(pg)
	}
}

// TestShutdownOfTheDeaf: a client that does not read its rows cannot keep a
// server from ending.
func TestShutdownOfTheDeaf(t *testing.T) {
	c := start(t)
	address, end := c.alone(t)
	conn := hijack(t, address)
	b, err := (&pgproto3.Query{String: "SELECT repeat('x', 1000) FROM generate_series(1, 1000000)"}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if err := end(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// TestPsql runs the program over TLS.
func TestPsql(t *testing.T) {
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("missing: psql (package postgresql-client)")
	}
	c := start(t)
	script := `\set VERBOSITY sqlstate
CREATE TABLE t (a int);
BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; COMMIT;
INSERT INTO t SELECT generate_series(1, 3001);
COPY t FROM STDIN;
1
2
\.
COPY t TO STDOUT;
SELECT count(*) FROM t \gdesc
SELECT count(*) AS n FROM t \; SELECT 2 AS two;
\copy t from program 'echo 7'
\d t
`
	ctx := deadline(t)
	cmd := exec.CommandContext(ctx, psql, "-X", "-q", "-A", "-t", c.url)
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := `ERROR:  0A000
ERROR:  54000
1
2
count|bigint
2
2
a|integer|||
`
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Error(diff)
	}
	if got := c.one(t, "SELECT count(*) FROM t"); got != "3" {
		t.Error(got)
	}
}

// TestPgbench runs its standard transactions, which must keep their sums equal.
func TestPgbench(t *testing.T) {
	pgbench, err := exec.LookPath("pgbench")
	if err != nil {
		t.Skip("missing: pgbench (package postgresql)")
	}
	c := start(t)
	ctx := deadline(t)
	if out, err := exec.CommandContext(ctx, pgbench, "-i", "-q", "-s", "1", c.direct).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, mode := range []string{"simple", "extended", "prepared"} {
		for _, args := range [][]string{{"-S", "-c", "8"}, {"-N", "-c", "1"}, {"-c", "4", "--max-tries", "0", "-T", "1"}} {
			args = append([]string{"-n", "-M", mode}, args...)
			if args[len(args)-2] != "-T" {
				args = append(args, "-t", "100")
			}
			out, err := exec.CommandContext(ctx, pgbench, append(args, c.url)...).CombinedOutput()
			if err != nil {
				t.Errorf("%v: %v\n%s", args, err, out)
			}
		}
	}
	if got := c.one(t, "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)"); got != "t" {
		t.Error("the sums differ")
	}
}

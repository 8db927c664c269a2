package dsql

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/internal/pgstore"
)

const endpoint = "abcdefghijklmnopqrstuvwxyz.dsql.eu-central-1.on.aws"

func TestIsEndpoint(t *testing.T) {
	for host, want := range map[string]bool{
		endpoint:                              true,
		strings.ToUpper(endpoint):             true,
		endpoint + ".":                        true,
		"abc.dsql-x7.us-east-1.on.aws":        true,
		"vpce-1.abc.dsql-x7.us-east-1.on.aws": true,
		"dsql.us-east-1.on.aws":               false,
		".dsql.us-east-1.on.aws":              false,
		"abc.dsql..on.aws":                    false,
		"abc.rds.us-east-1.on.aws":            false,
		"abc.dsql.us-east-1.on.aws.evil.com":  false,
		"localhost":                           false,
		"":                                    false,
	} {
		if got := IsEndpoint(host); got != want {
			t.Errorf("IsEndpoint(%q) = %v", host, got)
		}
	}
}

func TestIsTarget(t *testing.T) {
	for raw, want := range map[string]bool{
		"dsql://localhost:5432":                      true,
		"dsql://" + endpoint:                         true,
		"postgres://admin@" + endpoint + "/postgres": true,
		"postgresql://admin@" + endpoint:             true,
		"postgres:///postgres?host=" + endpoint:      true,
		"postgres://admin@localhost/postgres":        false,
		"postgres://admin:secret@localhost/postgres": false,
		"postgres://admin:" + url.QueryEscape("localhost?Action=DbConnectAdmin&X-Amz-Expires=900") + "@localhost:1/postgres?sslmode=verify-full": true,
		"postgres://app:" + url.QueryEscape("localhost/?Action=DbConnect&X-Amz-Expires=900") + "@localhost:1":                                    true,
		"postgres://localhost/" + endpoint:                 false,
		"mysql://" + endpoint:                              false,
		"host=" + endpoint:                                 false,
		"dsql://admin:50%@localhost":                       true, // so that the error is ours
		"postgres://localhost/postgres?application_name=x": false,
	} {
		if got := IsTarget(raw); got != want {
			t.Errorf("IsTarget(%q) = %v", raw, got)
		}
	}
}

func TestParseTarget(t *testing.T) {
	t.Setenv("PGSSLMODE", "disable")
	t.Setenv("PGPASSWORD", "from-environment")
	t.Setenv("PGUSER", "somebody")
	t.Setenv("PGDATABASE", "other")
	t.Setenv("PGOPTIONS", "-c statement_timeout=1")
	type result struct {
		Host, User, Database, Region, Password, SearchPath, Profile string
		Port                                                        uint16
		Params                                                      map[string]string
	}
	cluster := result{Host: endpoint, User: "admin", Database: "postgres", Region: "eu-central-1", Port: 5432, Params: map[string]string{}}
	with := func(change func(*result)) result {
		r := cluster
		change(&r)
		return r
	}
	local := with(func(r *result) { r.Host, r.Region, r.Password = "localhost", "", "from-environment" })
	for _, tt := range []struct {
		raw  string
		want result
	}{
		{"dsql://" + endpoint, cluster},
		{"postgres://" + endpoint, cluster},
		{"postgresql://admin@" + strings.ToUpper(endpoint) + ".:5432/postgres?sslmode=verify-full", cluster},
		{"postgres:///postgres?host=" + endpoint, cluster},
		{"dsql://app@" + endpoint, with(func(r *result) { r.User = "app" })},
		{"dsql://admin:a%20token@" + endpoint, with(func(r *result) { r.Password = "a token" })},
		{"dsql://" + endpoint + "?region=eu-central-1&profile=deploy", with(func(r *result) { r.Profile = "deploy" })},
		{"dsql://" + endpoint + "?search_path=app,public&application_name=x&timezone=UTC&options=-c%20search_path=app", with(func(r *result) {
			r.SearchPath = "app,public"
			r.Params = map[string]string{"application_name": "x", "timezone": "UTC", "options": "-c search_path=app"}
		})},
		{"dsql://localhost:1234", with(func(r *result) { *r = local; r.Port = 1234 })},
		{"dsql://app:secret@localhost/other?region=us-east-1&options=-c%20aurora.faults=oc000@1", with(func(r *result) {
			*r = local
			r.User, r.Password, r.Database, r.Region = "app", "secret", "other", "us-east-1"
			r.Params = map[string]string{"options": "-c aurora.faults=oc000@1"}
		})},
		{"postgres://app:secret@localhost", with(func(r *result) { *r = local; r.User, r.Password = "app", "secret" })},
	} {
		t.Run(tt.raw, func(t *testing.T) {
			got, err := parseTarget(tt.raw)
			if err != nil {
				t.Fatal(err)
			}
			c := got.config
			have := result{got.host, c.User, c.Database, got.region, got.password, got.searchPath, got.profile, c.Port, c.RuntimeParams}
			if diff := cmp.Diff(tt.want, have); diff != "" {
				t.Error(diff)
			}
			if err := isSafe(got); err != nil {
				t.Error(err)
			}
		})
	}
}

// isSafe checks what must hold of every target.
func isSafe(t *target) error {
	c := t.config
	switch {
	case c.TLSConfig == nil || c.TLSConfig.InsecureSkipVerify || c.TLSConfig.MinVersion < tls.VersionTLS12 || len(c.Fallbacks) > 0:
		return errors.New("the TLS settings are not safe")
	case net.ParseIP(t.host) == nil && c.TLSConfig.ServerName != t.host:
		return fmt.Errorf("the server is told the name %q, not %q", c.TLSConfig.ServerName, t.host)
	case c.Password != "":
		return errors.New("the configuration holds a password")
	case t.endpoint != IsEndpoint(c.Host):
		return fmt.Errorf("the host is %q", c.Host)
	case t.endpoint && c.Database != "postgres":
		return fmt.Errorf("the database is %q", c.Database)
	case c.ConnectTimeout <= 0:
		return errors.New("an attempt may take for ever")
	}
	return nil
}

func TestParseTargetErrors(t *testing.T) {
	for _, tt := range []struct {
		raw  string
		want error
		text string
	}{
		{"postgres://admin:p@ss/word@" + endpoint, pgstore.ErrURL, ""},
		{"dsql://admin:secret%zz@localhost", pgstore.ErrURL, ""},
		{"dsql://admin:sec#ret@" + endpoint, pgstore.ErrURL, ""},
		{"dsql:secret", pgstore.ErrURL, ""},
		{"mysql://admin:secret@" + endpoint, ErrTarget, "must begin with dsql://"},
		{"dsql://", ErrTarget, "names no host"},
		{"dsql://a,b", ErrTarget, "one host"},
		{"dsql:///postgres?host=/run/postgresql", ErrTarget, "one host"},
		{"dsql://" + endpoint + "?sslmode=require", ErrTarget, "sslmode=require"},
		{"dsql://localhost?sslmode=disable", ErrTarget, "sslmode=disable"},
		{"dsql://" + endpoint + "?sslsni=0", ErrTarget, "sslsni=0"},
		{"dsql://" + endpoint + "?sslrootcert=/does/not/exist", ErrTarget, "/does/not/exist"},
		{"dsql://" + endpoint + "?region=us-east-1", ErrTarget, "region=us-east-1"},
		{"dsql://" + endpoint + "/app", ErrTarget, "one database"},
		{"dsql://" + endpoint + "?statement_timeout=5", ErrTarget, `setting configuration parameter "statement_timeout" not supported`},
		{"dsql://" + endpoint + "?options=-c%20lock_timeout%3D5", ErrTarget, "lock_timeout"},
		{"dsql://" + endpoint + "?options=--lock-timeout%3D5", ErrTarget, "lock_timeout"},
		{"dsql://" + endpoint + "?options=-c%20aurora.faults%3Dx", ErrTarget, "aurora.faults"},
		{"dsql://" + endpoint + "?pool_max_conns=5", ErrTarget, "pool_max_conns"},
		{"dsql://" + endpoint + "?sslmode=verify-full&sslmode=disable", ErrTarget, "more than once"},
	} {
		_, err := parseTarget(tt.raw)
		if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.text) {
			t.Errorf("%s: got %v, want %v with %q", tt.raw, err, tt.want, tt.text)
		}
		if strings.Contains(fmt.Sprint(err), "secret") || strings.Contains(fmt.Sprint(err), "ss/word") {
			t.Errorf("%s: the error tells the password: %v", tt.raw, err)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{
		"dsql://" + endpoint, "postgres://app:pass@localhost:1/db?sslmode=verify-full", "dsql://a@[::1]:5432/?options=-c%20a=b",
		"dsql://h?sslmode=disable", "dsql://h?search_path=a&region=b&connect_timeout=3&sslnegotiation=direct", "dsql:///x?host=h&port=70000",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := parseTarget(raw)
		if err != nil {
			if u, perr := url.Parse(raw); perr == nil {
				if p, _ := u.User.Password(); len(p) > 8 && strings.Contains(err.Error(), p) && !strings.Contains(u.RawQuery+u.Path+u.Host, p) {
					t.Fatalf("the error tells the password: %v", err)
				}
			}
			return
		}
		if err := isSafe(got); err != nil {
			t.Fatal(err)
		}
	})
}

// A fakeCluster answers logins as it is told to. What it has seen is what a
// real one would decide by.
type fakeCluster struct {
	caFile string
	addr   string

	mu      sync.Mutex
	refuse  []*pgproto3.ErrorResponse // for the first logins; nil hangs up
	sni     []string
	tokens  []string
	startup []map[string]string
	queries []string
}

func startFake(t *testing.T, refuse ...*pgproto3.ErrorResponse) *fakeCluster {
	t.Helper()
	f := &fakeCluster{refuse: refuse}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{endpoint, "localhost"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	f.caFile = filepath.Join(t.TempDir(), "my root+.crt")
	if err := os.WriteFile(f.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				f.serve(conn, cert)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return f
}

func (f *fakeCluster) serve(conn net.Conn, cert tls.Certificate) {
	b := pgproto3.NewBackend(conn, conn)
	if m, err := b.ReceiveStartupMessage(); err != nil || fmt.Sprintf("%T", m) != "*pgproto3.SSLRequest" {
		return
	}
	if _, err := conn.Write([]byte("S")); err != nil {
		return
	}
	secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
	if err := secure.Handshake(); err != nil {
		return
	}
	b = pgproto3.NewBackend(secure, secure)
	m, err := b.ReceiveStartupMessage()
	startup, ok := m.(*pgproto3.StartupMessage)
	if err != nil || !ok {
		return
	}
	b.Send(&pgproto3.AuthenticationCleartextPassword{})
	if b.Flush() != nil {
		return
	}
	pass, err := b.Receive()
	if err != nil {
		return
	}
	f.mu.Lock()
	f.sni = append(f.sni, secure.ConnectionState().ServerName)
	f.startup = append(f.startup, maps.Clone(startup.Parameters))
	f.tokens = append(f.tokens, pass.(*pgproto3.PasswordMessage).Password)
	var refusal *pgproto3.ErrorResponse
	refused := len(f.refuse) > 0
	if refused {
		refusal, f.refuse = f.refuse[0], f.refuse[1:]
	}
	f.mu.Unlock()
	if refused {
		if refusal != nil {
			b.Send(refusal)
			_ = b.Flush()
		}
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	for b.Flush() == nil {
		m, err := b.Receive()
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *pgproto3.Parse:
			f.mu.Lock()
			f.queries = append(f.queries, m.Query)
			f.mu.Unlock()
			b.Send(&pgproto3.ParseComplete{})
			b.Send(&pgproto3.BindComplete{})
			b.Send(&pgproto3.NoData{})
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 0")})
		case *pgproto3.Sync:
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		case *pgproto3.Terminate:
			return
		}
	}
}

// connector connects to a fake cluster under a cluster's host name.
func (f *fakeCluster) connector(t *testing.T, raw string, token TokenFunc) *connector {
	t.Helper()
	c, err := newConnector(raw+"sslrootcert="+url.QueryEscape(f.caFile), token, "")
	if err != nil {
		t.Fatal(err)
	}
	c.first = time.Millisecond
	c.config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{f.addr}, nil }
	return c
}

func fatal(code, message, hint string) *pgproto3.ErrorResponse {
	return &pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: message, Hint: hint}
}

// Every connection has a token of its own, and the server learns which cluster
// is meant.
func TestConnect(t *testing.T) {
	f := startFake(t)
	made := 0
	c := f.connector(t, "dsql://app@"+endpoint+"?search_path=o'neil,public&application_name=x&", func(_ context.Context, host, region, role string) (string, error) {
		made++
		return fmt.Sprintf("%s %s %s %d", host, region, role, made), nil
	})
	for range 2 {
		conn, err := c.connect(context.Background(), pgconn.ConnectConfig)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close(context.Background())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if want := []string{endpoint + " eu-central-1 app 1", endpoint + " eu-central-1 app 2"}; !slices.Equal(f.tokens, want) {
		t.Errorf("tokens %q, want %q", f.tokens, want)
	}
	if want := []string{endpoint, endpoint}; !slices.Equal(f.sni, want) {
		t.Errorf("server names %q, want %q", f.sni, want)
	}
	if diff := cmp.Diff(map[string]string{"user": "app", "database": "postgres", "application_name": "x"}, f.startup[0]); diff != "" {
		t.Errorf("startup parameters: %s", diff)
	}
	if want := "SELECT set_config('search_path', 'o''neil,public', false)"; len(f.queries) != 2 || f.queries[0] != want {
		t.Errorf("queries %q, want %q", f.queries, want)
	}
}

func TestConnectWithPassword(t *testing.T) {
	f := startFake(t)
	fresh := func(context.Context, string, string, string) (string, error) { return "fresh", nil }
	for _, tt := range []struct {
		raw   string
		token TokenFunc
		want  string
	}{
		{"dsql://admin:own@localhost?", nil, "own"},
		{"postgres://admin:own@" + endpoint + "?", nil, "own"},
		{"postgres://admin:own@" + endpoint + "?", fresh, "fresh"}, // that of the url ends
		{"dsql://localhost?", fresh, "fresh"},
	} {
		conn, err := f.connector(t, tt.raw, tt.token).connect(context.Background(), pgconn.ConnectConfig)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close(context.Background())
		f.mu.Lock()
		if got := f.tokens[len(f.tokens)-1]; got != tt.want {
			t.Errorf("%s: password %q, want %q", tt.raw, got, tt.want)
		}
		f.mu.Unlock()
	}
}

func TestConnectRetries(t *testing.T) {
	token := func(context.Context, string, string, string) (string, error) { return "token", nil }
	many := fatal("53300", "too many connections", "")
	fast := fatal("53400", "rate exceeded", "")
	waking := fatal("XX000", "unable to accept connection, waking up cluster, please retry later", "")
	denied := fatal("28000", "unable to accept connection, access denied", "")
	for _, tt := range []struct {
		name   string
		refuse []*pgproto3.ErrorResponse
		logins int
		fails  bool
	}{
		{"busy for long", []*pgproto3.ErrorResponse{many, fast, waking, many, fast, waking}, 7, false},
		{"hangs up", []*pgproto3.ErrorResponse{nil, nil}, 3, false},
		{"hangs up for ever", []*pgproto3.ErrorResponse{nil, nil, nil, nil, nil, nil}, dialTries, true},
		{"denied", []*pgproto3.ErrorResponse{denied}, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := startFake(t, tt.refuse...)
			conn, err := f.connector(t, "dsql://"+endpoint+"?", token).connect(context.Background(), pgconn.ConnectConfig)
			if (err != nil) != tt.fails {
				t.Fatalf("error %v, want one: %v", err, tt.fails)
			}
			if conn != nil {
				conn.Close(context.Background())
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.tokens) != tt.logins {
				t.Errorf("%d logins, want %d", len(f.tokens), tt.logins)
			}
		})
	}
	t.Run("until the context ends", func(t *testing.T) {
		f := startFake(t, slices.Repeat([]*pgproto3.ErrorResponse{many}, 1000)...)
		ctx, cancel := context.WithCancelCause(context.Background())
		c := f.connector(t, "dsql://"+endpoint+"?", token)
		logins := 0
		c.token = func(context.Context, string, string, string) (string, error) {
			if logins++; logins == 3 {
				cancel(errors.New("enough of it"))
			}
			return "token", nil
		}
		if _, err := c.connect(ctx, pgconn.ConnectConfig); err == nil {
			t.Error("connected")
		}
		if logins != 3 {
			t.Errorf("%d logins, want 3", logins)
		}
	})
	t.Run("until the limit", func(t *testing.T) {
		f := startFake(t, slices.Repeat([]*pgproto3.ErrorResponse{many}, 1000)...)
		c := f.connector(t, "dsql://"+endpoint+"?", token)
		c.limit = 0
		_, err := c.connect(context.Background(), pgconn.ConnectConfig)
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != "53300" {
			t.Errorf("got %v", err)
		}
	})
}

func TestConnectNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	tries := 0
	c, err := newConnector("dsql://localhost", func(context.Context, string, string, string) (string, error) {
		tries++
		return "token", nil
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	c.first = time.Millisecond
	c.config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{addr}, nil }
	var login *LoginError
	if _, err := c.connect(context.Background(), pgconn.ConnectConfig); !errors.As(err, &login) || tries != dialTries {
		t.Errorf("got %v after %d tries, want %d", err, tries, dialTries)
	}
}

func TestLoginErrors(t *testing.T) {
	token := func(context.Context, string, string, string) (string, error) { return "the-token", nil }
	for _, tt := range []struct {
		name   string
		raw    string
		token  TokenFunc
		refuse *pgproto3.ErrorResponse
		want   []string
	}{
		{"clock", "dsql://" + endpoint + "?", token, fatal("28000", "unable to accept connection, access denied", "Signature expired: 20260101T000000Z"), []string{"Signature expired: 2026", "clock"}},
		{"old token", "dsql://admin:the-token@" + endpoint + "?", nil, fatal("28000", "unable to accept connection, access denied", "Signature expired: now"), []string{"token in the url has ended"}},
		{"admin", "dsql://" + endpoint + "?", token, fatal("28000", "unable to accept connection, access denied", ""), []string{"access denied", "dsql:DbConnectAdmin"}},
		{"role", "dsql://app@" + endpoint + "?", token, fatal("28000", "unable to accept connection, access denied", ""), []string{"as app", "permission dsql:DbConnect on", "AWS IAM GRANT"}},
		{"unmapped", "dsql://app@" + endpoint + "?", token, fatal("28000", `IAM authentication failed for user "app"`, ""), []string{`CREATE ROLE "app" WITH LOGIN; AWS IAM GRANT "app" TO`}},
		{"address", "dsql://" + endpoint + "?", token, fatal("28000", "unable to accept connection, sni was not received", ""), []string{"host name, not by an address"}},
		{"says the token", "dsql://" + endpoint + "?", token, fatal("XX000", "what is the-token?", ""), []string{"what is"}},
		{"no token", "dsql://" + endpoint + "?", func(context.Context, string, string, string) (string, error) { return "", errors.New("no credentials") }, nil,
			[]string{"no credentials", "AWS_PROFILE"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := startFake(t, tt.refuse)
			_, err := f.connector(t, tt.raw, tt.token).connect(context.Background(), pgconn.ConnectConfig)
			var login *LoginError
			if !errors.As(err, &login) {
				t.Fatalf("got %v, want a LoginError", err)
			}
			said := err.Error() + "; " + login.Hint()
			for _, text := range append(tt.want, endpoint) {
				if !strings.Contains(said, text) {
					t.Errorf("%q does not say %q", said, text)
				}
			}
			if strings.Contains(said, "the-token") {
				t.Errorf("the error tells the token: %s", said)
			}
		})
	}
	t.Run("unknown authority", func(t *testing.T) {
		f := startFake(t)
		c := f.connector(t, "dsql://"+endpoint+"?", token)
		c.config.TLSConfig.RootCAs = nil
		_, err := c.connect(context.Background(), pgconn.ConnectConfig)
		var login *LoginError
		if !errors.As(err, &login) || !strings.Contains(login.Hint(), "Amazon Root CA 1") {
			t.Errorf("got %v", err)
		}
		if len(f.tokens) > 0 {
			t.Error("the token went to a server that proved nothing")
		}
	})
}

func TestSigner(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "credentials"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
	t.Setenv("AWS_REGION", "eu-west-3")
	for _, tt := range []struct{ region, role, action, signed string }{
		{"eu-central-1", "admin", "DbConnectAdmin", "/eu-central-1/dsql/"},
		{"eu-central-1", "app", "DbConnect", "/eu-central-1/dsql/"},
		{"", "app", "DbConnect", "/eu-west-3/dsql/"},
	} {
		var s signer
		token, err := s.token(context.Background(), endpoint, tt.region, tt.role)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse("https://" + token)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if u.Host != endpoint || q.Get("Action") != tt.action || !strings.Contains(q.Get("X-Amz-Credential"), tt.signed) {
			t.Errorf("%s of %q: host %s, action %s, credential %s", tt.role, tt.region, u.Host, q.Get("Action"), q.Get("X-Amz-Credential"))
		}
	}
	t.Run("no region", func(t *testing.T) {
		t.Setenv("AWS_REGION", "")
		var s signer
		if _, err := s.token(context.Background(), "localhost", "", "admin"); !errors.Is(err, errNoRegion) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("nothing before it is needed", func(t *testing.T) {
		c, err := newConnector("dsql://"+endpoint+"?profile=nobody", nil, "")
		if err != nil {
			t.Fatal(err)
		}
		var login *LoginError
		if _, err := c.connect(context.Background(), pgconn.ConnectConfig); !errors.As(err, &login) || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("got %v, want that the profile is missing", err)
		}
	})
}

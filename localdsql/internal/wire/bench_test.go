package wire

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/localdsql/engine"
)

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

// BenchmarkThroughput compares the way through the proxy with PostgreSQL itself:
// transactions per second of clients of pgbench, of which the best of all
// iterations counts. One iteration is a second of each of
//
//	proxied  through the proxy, over TCP with TLS
//	direct   to PostgreSQL, over TCP with TLS too
//	socket   to PostgreSQL, over its Unix socket without TLS
//
// The ratios are those of proxied to the other two. direct needs port 5432, which
// is the engine's, and is left out when somebody else has it.
func BenchmarkThroughput(b *testing.B) {
	pgbench, err := exec.LookPath("pgbench")
	if err != nil {
		b.Skip("missing: pgbench (package postgresql)")
	}
	s, encrypted := startEncrypted(b)
	if err := startServer(); err != nil {
		b.Fatal(err)
	}
	if shared := server; s != nil {
		server = s
		defer func() { server = shared }()
	}
	c := start(b)
	encrypted += c.name + "?sslmode=require"
	if out, err := exec.Command(pgbench, "-i", "-q", "-s", "10", c.direct).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	const (
		account = "\\set aid random(1, 1000000)\nSELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n"
		rows    = "\\set aid random(1, 900000)\nSELECT aid, bid, abalance, filler FROM pgbench_accounts WHERE aid >= :aid ORDER BY aid LIMIT 1000;\n"
		update  = "\\set aid random(1, 1000000)\nUPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;\n"
	)
	for _, load := range []struct {
		name, script string
		clients      int
	}{{"select", account, 8}, {"rows", rows, 8}, {"update", update, 8}, {"one", account, 1}} {
		for _, mode := range []string{"simple", "prepared"} {
			b.Run(load.name+"/"+mode, func(b *testing.B) {
				script := filepath.Join(b.TempDir(), "script.sql")
				if err := os.WriteFile(script, []byte(load.script), 0o600); err != nil {
					b.Fatal(err)
				}
				measure := func(url string) float64 {
					out, err := exec.Command(pgbench, "-n", "-M", mode, "-c", strconv.Itoa(load.clients), "-j", "2", "-T", "1", "--max-tries", "0", "-f", script, url).CombinedOutput()
					m := tps.FindSubmatch(out)
					if err != nil || m == nil {
						b.Fatalf("%v\n%s", err, out)
					}
					v, err := strconv.ParseFloat(string(m[1]), 64)
					if err != nil {
						b.Fatal(err)
					}
					return v
				}
				var direct, socket, proxied float64
				for range b.N {
					proxied = max(proxied, measure(c.url))
					socket = max(socket, measure(c.direct))
					if s != nil {
						direct = max(direct, measure(encrypted))
					}
				}
				b.ReportMetric(proxied, "proxied-tps")
				b.ReportMetric(socket, "socket-tps")
				b.ReportMetric(proxied/socket, "ratio-socket")
				if s != nil {
					b.ReportMetric(direct, "direct-tps")
					b.ReportMetric(proxied/direct, "ratio")
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// startEncrypted starts a PostgreSQL that speaks TLS on TCP, and gives the
// beginning of its URL; nil if it cannot.
func startEncrypted(b *testing.B) (*engine.Server, string) {
	b.Helper()
	ctx := deadline(b)
	s, err := engine.Start(ctx, engine.Config{
		Throwaway: true, Find: engine.FindOptions{Major: 16},
		Settings: map[string]string{"listen_addresses": "127.0.0.1", "max_connections": "100"},
	})
	if err != nil {
		b.Logf("no comparison with TLS: %v", err)
		return nil, ""
	}
	b.Cleanup(func() { _ = s.Stop(context.Background()) })
	cert := certificate()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{"server.crt", "CERTIFICATE", cert.Certificate[0]}, {"server.key", "PRIVATE KEY", key}} {
		text := pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der})
		// The server writes it, so that it belongs to the server's user.
		ask(b, s.URL("postgres"), fmt.Sprintf("COPY (SELECT '%s') TO PROGRAM 'umask 077; base64 -d > %s'", base64.StdEncoding.EncodeToString(text), f.name))
	}
	for _, sql := range []string{"ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"} {
		ask(b, s.URL("postgres"), sql)
	}
	const url = "postgres://postgres@127.0.0.1:5432/"
	poll(b, "PostgreSQL to speak TLS", func() bool {
		conn, err := pgconn.Connect(ctx, url+"postgres?sslmode=require")
		if err != nil {
			return false
		}
		conn.Close(ctx)
		return true
	})
	return s, url
}

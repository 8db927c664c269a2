//go:build unix

package wire

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/localdsql/engine"
)

// measured is what pgbench prints: transactions, and those in a second.
var measured = regexp.MustCompile(`(?s)processed: ([0-9]+).*tps = ([0-9.]+)`)

// BenchmarkThroughput compares the way through the proxy with PostgreSQL itself:
// transactions per second of clients of pgbench, of which the best of all
// iterations counts. One iteration is a second of each of
//
//	proxied  through the proxy, over TCP with TLS
//	relayed  through a relay that ends TLS, and otherwise only copies
//	direct   to PostgreSQL, over TCP with TLS too
//	socket   to PostgreSQL, over its Unix socket without TLS
//
// The ratios are those of proxied to direct and to socket, and of relayed to
// direct: what is lost there no proxy in Go gets back. proxy-µs is the time that
// the processors spend in the proxy, whose process this is, for a transaction: of
// the figures it depends least on what else the machine does. direct needs port
// 5432, which is the engine's, and is left out when somebody else has it.
//
// Both kinds of TLS are what the two sides agree on by themselves: TLS 1.3, with
// AES-256-GCM from PostgreSQL and AES-128-GCM from Go.
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
	relay := startRelay(b, c)
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
				measure := func(url string) (perSecond, count float64) {
					out, err := exec.Command(pgbench, "-n", "-M", mode, "-c", strconv.Itoa(load.clients), "-j", "2", "-T", "1", "--max-tries", "0", "-f", script, url).CombinedOutput()
					m := measured.FindSubmatch(out)
					if err != nil || m == nil {
						b.Fatalf("%v\n%s", err, out)
					}
					count, err1 := strconv.ParseFloat(string(m[1]), 64)
					perSecond, err2 := strconv.ParseFloat(string(m[2]), 64)
					if err := errors.Join(err1, err2); err != nil {
						b.Fatal(err)
					}
					return perSecond, count
				}
				best := func(old *float64, url string) {
					perSecond, _ := measure(url)
					*old = max(*old, perSecond)
				}
				var direct, socket, proxied, relayed float64
				busy := math.Inf(1)
				for range b.N {
					before := processorTime(b)
					perSecond, count := measure(c.url)
					proxied = max(proxied, perSecond)
					busy = min(busy, float64((processorTime(b)-before).Nanoseconds())/1e3/count)
					best(&relayed, relay)
					best(&socket, c.direct)
					if s != nil {
						best(&direct, encrypted)
					}
				}
				b.ReportMetric(busy, "proxy-µs")
				b.ReportMetric(proxied, "proxied-tps")
				b.ReportMetric(socket, "socket-tps")
				b.ReportMetric(proxied/socket, "ratio-socket")
				if s != nil {
					b.ReportMetric(direct, "direct-tps")
					b.ReportMetric(proxied/direct, "ratio")
					b.ReportMetric(relayed/direct, "ratio-relay")
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// processorTime is how long the processors have worked for this process.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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

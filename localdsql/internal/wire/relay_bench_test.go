//go:build unix

package wire

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// startRelay starts what does nothing but end TLS and copy bytes to and from the
// database's Unix socket, and gives its URL. What it takes is what any proxy
// takes that is written in Go with crypto/tls.
func startRelay(b *testing.B, c *cluster) string {
	b.Helper()
	config, err := pgconn.ParseConfig(c.direct)
	if err != nil {
		b.Fatal(err)
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go relay(conn, network, address)
		}
	}()
	return fmt.Sprintf("postgres://%s@%s/%s?sslmode=require", config.User, l.Addr(), c.name)
}

func relay(conn net.Conn, network, address string) {
	defer conn.Close()
	request := make([]byte, 8) // for TLS, which is all that these clients begin with
	if _, err := io.ReadFull(conn, request); err != nil {
		return
	}
	if _, err := conn.Write([]byte{'S'}); err != nil {
		return
	}
	up, err := net.Dial(network, address)
	if err != nil {
		return
	}
	defer up.Close()
	client := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate()}})
	go func() {
		_, _ = io.CopyBuffer(struct{ io.Writer }{up}, client, make([]byte, readBuffer))
		up.Close()
	}()
	// Records as long as the proxy's, see maxRecord.
	_, _ = io.CopyBuffer(client, struct{ io.Reader }{up}, make([]byte, maxRecord))
}

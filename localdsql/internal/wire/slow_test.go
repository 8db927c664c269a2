package wire

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

// TestSlowBackend has writes of the proxy's login to the backend return only
// when the answer is there, as happens on a busy machine. pgconn reads in the
// background then, and must not do so any more when the session begins, however
// many writes it takes until one is not slow.
func TestSlowBackend(t *testing.T) {
	t.Parallel()
	c := start(t, func(cfg *Config) {
		auth := cfg.Auth
		cfg.Auth = func(ctx context.Context, l Login) (Backend, *policy.Refusal) {
			b, refusal := auth(ctx, l)
			if refusal == nil {
				dial := b.Config.DialFunc
				b.Config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := dial(ctx, network, address)
					return &slowConn{Conn: conn, slow: 15}, err
				}
			}
			return b, refusal
		}
	})
	ctx := deadline(t)
	conn, err := pgconn.Connect(ctx, c.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if results, err := conn.Exec(ctx, "SELECT 7").ReadAll(); err != nil || string(results[0].Rows[0][0]) != "7" {
		t.Errorf("got %v, %v", results, err)
	}
}

// A slowConn takes longer for its first writes than pgconn is ready to wait (15
// ms), and for the server to answer.
type slowConn struct {
	net.Conn
	slow int
}

func (c *slowConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if c.slow > 0 {
		c.slow--
		time.Sleep(50 * time.Millisecond)
	}
	return n, err
}

package pgstore

import (
	"cmp"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// Dial opens a connection beside the store's own, for a migration's Go code: the
// same login and the same settings. Whoever asked closes it. On a server that
// tells of sessions it ends when another takes over the lease, unless the URL
// names the application. The error never contains the password.
func (s *Store) Dial(ctx context.Context) (*pgx.Conn, error) {
	// pgx takes only a configuration that it parsed; all that matters of this one
	// is replaced.
	config, err := pgx.ParseConfig("host=localhost sslmode=disable")
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", Redact(s.conn.Password, err))
	}
	var conn *pgx.Conn
	_, err = s.connect(ctx, func(ctx context.Context, c *pgconn.Config) (*pgconn.PgConn, error) {
		config.Config = *c.Copy()
		config.OnNotice = s.warn // the store's own output is that of statements
		if s.Dialect.Sessions {
			// A statement ends with its context, and the server need not find out.
			config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
				return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: Grace}
			}
		}
		var err error
		if conn, err = pgx.ConnectConfig(ctx, config); err != nil {
			return nil, err
		}
		return conn.PgConn(), nil
	})
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", Redact(s.conn.Password, err))
	}
	if s.Dialect.Settings {
		// By its mark a takeover finds it, and ends it.
		settings := s.settings(cmp.Or(s.stepMark, s.mark))
		if err := conn.PgConn().ExecParams(ctx, settings.SQL, nil, nil, nil, nil).Read().Err; err != nil {
			_ = conn.Close(ctx)
			return nil, fmt.Errorf("prepare the connection: %w", err)
		}
	}
	return conn, nil
}

// Holds returns the lease with that token if it is the newest that was taken
// from this store, nil otherwise.
func (s *Store) Holds(token int64) *Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == nil || s.lease.token != token {
		return nil
	}
	return s.lease
}

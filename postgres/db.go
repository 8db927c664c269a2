package postgres

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgstore"
)

// DefaultSchema is the schema of the history's tables where none is given.
const DefaultSchema = pgstore.DefaultSchema

// DefaultProject is the project where none is given.
const DefaultProject = pgstore.DefaultProject

// ErrURL says that the database URL cannot be read.
var ErrURL = pgstore.ErrURL

var (
	_ aurora.Store    = (*DB)(nil)
	_ aurora.Streamer = (*DB)(nil)
	_ aurora.History  = (*DB)(nil)
	_ aurora.Locker   = (*DB)(nil)
	_ aurora.Database = (*DB)(nil)

	_ aurora.SessionDatabase = (*DB)(nil)
	_ aurora.Reviewer        = (*DB)(nil)
)

// A Config says which database and whose history in it.
type Config struct {
	// URL is a postgres:// URL or a keyword/value string, as libpq takes them.
	URL string
	// Schema holds the tables aurora_revisions and aurora_leases. Defaults to
	// [DefaultSchema].
	Schema string
	// Project separates several histories in one database. Defaults to
	// [DefaultProject].
	Project string
	// Logger hears the server's warnings. Defaults to none.
	Logger *slog.Logger
}

// A DB is one project on one PostgreSQL database. It is an [aurora.Store],
// [aurora.Streamer], [aurora.History], [aurora.Locker], [aurora.Database] and
// [aurora.Reviewer]. Statements and history share one connection; a second one
// renews the lease when a run takes long enough.
type DB struct {
	store *pgstore.Store
	names string // prefix of the prepared statements
	// used says that statements outside of a stream may have changed settings.
	used atomic.Bool
}

// Open connects to the database and logs in. The error never contains the
// password.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	conn, err := pgstore.ParseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	store, err := pgstore.Open(ctx, pgstore.Config{
		Conn: conn, Schema: cfg.Schema, Project: cfg.Project, Logger: cfg.Logger,
		Dialect: pgstore.Dialect{Sessions: true, Settings: true},
	})
	if err != nil {
		return nil, err
	}
	return &DB{store: store}, nil
}

// Close ends the connections.
func (db *DB) Close(ctx context.Context) error { return db.store.Close(ctx) }

// Latest returns the newest revision of every migration in one round trip. On
// a database that has no history of this project, it looks for one that Atlas
// or the earlier aurora left; those revisions have Foreign set.
func (db *DB) Latest(ctx context.Context) ([]aurora.Revision, error) { return db.store.Latest(ctx) }

// Acquire takes the project's lease, creating the tables on first use.
func (db *DB) Acquire(ctx context.Context, holder aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	return db.store.Acquire(ctx, holder, ttl)
}

// Revision returns one attempt at a migration, whole.
func (db *DB) Revision(ctx context.Context, execution, version string) (aurora.Revision, error) {
	return db.store.Revision(ctx, execution, version)
}

// Revisions returns a page of the attempts at one migration, newest first,
// without descriptions and output, and a cursor for the next page.
func (db *DB) Revisions(ctx context.Context, version, cursor string, limit int) ([]aurora.Revision, string, error) {
	return db.store.Revisions(ctx, version, cursor, limit)
}

// Execution returns one run with its revisions, without descriptions and output.
func (db *DB) Execution(ctx context.Context, id string) (aurora.Execution, error) {
	return db.store.Execution(ctx, id)
}

// Executions returns runs, newest first. The cursor is the newest token of the
// last one: a lease serves one execution, so tokens tell them apart.
func (db *DB) Executions(ctx context.Context, cursor string, limit int) ([]aurora.Execution, string, error) {
	return db.store.Executions(ctx, cursor, limit)
}

// Locked returns who holds the lease, or nil.
func (db *DB) Locked(ctx context.Context) (*aurora.LockedError, error) { return db.store.Locked(ctx) }

// Break ends the lease with that token.
func (db *DB) Break(ctx context.Context, token int64) error { return db.store.Break(ctx, token) }

package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// The states a caller may want to tell apart.
var (
	// ErrUnsupported says that the local engine does not run on this
	// operating system.
	ErrUnsupported = errors.New("the local engine (local://) is not supported on this operating system yet: use a postgres:// url, on Windows also inside WSL")
	// ErrDiskFull says that a cluster could not be created or started because
	// its file system has no space left.
	ErrDiskFull = errors.New("no space left on the disk")
	// ErrBusy says that another server holds the directory and cannot be
	// joined from this process.
	ErrBusy = errors.New("the local database is in use and cannot be joined")
)

// VersionError says that a cluster was written by another major version of
// PostgreSQL than the one at hand.
type VersionError struct {
	DataDir string   // the cluster
	Have    int      // the major version that wrote it
	Found   Install  // what was found instead
	Install []string // commands that install the version the cluster needs
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("the local database in %s was written by PostgreSQL %d and cannot be opened by PostgreSQL %d (%s): install PostgreSQL %d (%s), or remove %s to start with an empty database",
		e.DataDir, e.Have, e.Found.Major, e.Found.BinDir, e.Have, strings.Join(e.Install, " or "), e.DataDir)
}

// Config says which server to run and where. The zero value of every field
// but Dir is usable.
type Config struct {
	// Dir is the directory that keeps the cluster and what belongs to it,
	// usually .aurora beside the configuration file. It is created, with a
	// .gitignore. When it cannot hold a cluster (read-only, other owner, no
	// permissions or locks on its file system, longer than PostgreSQL allows)
	// a directory below CacheDir is used instead and Logger is told. Not used
	// by a throw-away server.
	Dir string
	// Throwaway runs an unshared server on a new cluster in the temporary
	// directory, which is removed when the server stops.
	Throwaway bool
	// Install is the PostgreSQL to use; the zero value means [Find] with the
	// options in Find, looking for the version of an existing cluster first.
	// Both are ignored when a server is already running in Dir.
	Install Install
	Find    FindOptions
	// CacheDir keeps template clusters and the clusters of directories that
	// cannot hold one; empty means [CacheDir].
	CacheDir string
	// Settings are PostgreSQL settings of a server that is started; they are
	// ignored when one is joined.
	Settings map[string]string
	// Logger is told where the cluster is and what was created; nil means
	// nobody is.
	Logger *slog.Logger

	testShell string // set by tests only: the shell that watches
}

// Server is a running PostgreSQL server this process has a share in. It stays
// up until Stop was called by, or the death has come to, every process that
// has one. A Server that is dropped without Stop keeps it up until the process
// ends. Its methods may be called from several goroutines.
type Server struct {
	install   Install
	dataDir   string
	socketDir string
	started   bool
	stop      func(context.Context) error
}

// socketPort is the number in the socket's file name; nothing listens on TCP.
const socketPort = 5432

// superuser is the role every cluster is created with.
const superuser = "postgres"

// Start returns a running server: it joins the one that runs in the directory
// of cfg, or starts one, creating its cluster when there is none. ctx bounds
// the start, not the server's life; without a deadline a start takes at most a
// minute. Errors are *NotFoundError, *VersionError, ErrDiskFull, ErrBusy,
// ErrUnsupported or wrap what PostgreSQL said.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Find.Logger == nil {
		cfg.Find.Logger = cfg.Logger
	}
	if cfg.Dir == "" && !cfg.Throwaway {
		return nil, errors.New("start local database: no directory given")
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return start(ctx, cfg)
}

// startTimeout bounds a start whose context has no nearer end; crash recovery
// of a large cluster is what takes longest.
const startTimeout = time.Minute

// Install returns the PostgreSQL the server runs.
func (s *Server) Install() Install { return s.install }

// DataDir returns the cluster's directory.
func (s *Server) DataDir() string { return s.dataDir }

// SocketDir returns the directory of the server's socket, as libpq's host
// parameter takes it.
func (s *Server) SocketDir() string { return s.socketDir }

// Started tells whether this call of Start started the server; otherwise it
// joined one.
func (s *Server) Started() bool { return s.started }

// URL returns the connection URL for a database, which need not exist yet.
// It names the superuser and has no password: the socket's directory is
// private to the user the server runs as.
func (s *Server) URL(database string) string { return socketURL(s.socketDir, database) }

func socketURL(socketDir, database string) string {
	query := url.Values{}
	query.Set("host", socketDir)
	query.Set("port", strconv.Itoa(socketPort))
	query.Set("sslmode", "disable")
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Path: "/" + database, RawQuery: query.Encode()}
	return u.String()
}

// CreateDatabase creates a database unless it exists. Several processes may
// ask for the same one at the same time.
func (s *Server) CreateDatabase(ctx context.Context, name string) (err error) {
	if name == "" || strings.ContainsRune(name, 0) || len(name) > 63 {
		return fmt.Errorf("create database %q: a name has 1 to 63 bytes", name)
	}
	conn, err := pgconn.Connect(ctx, s.URL(superuser))
	if err != nil {
		return fmt.Errorf("create database %q: %w", name, err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()

	found := conn.ExecParams(ctx, "SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1", [][]byte{[]byte(name)}, nil, nil, nil).Read()
	if found.Err != nil {
		return fmt.Errorf("look for database %q: %w", name, found.Err)
	}
	if len(found.Rows) > 0 {
		return nil
	}
	quoted := `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	// template0 and not template1: a session in template1 would be in the way.
	_, err = conn.Exec(ctx, "CREATE DATABASE "+quoted+" TEMPLATE template0").ReadAll()
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && (pg.Code == "42P04" || pg.Code == "23505") {
		return nil // another process was faster
	}
	if err != nil {
		return fmt.Errorf("create database %q: %w", name, err)
	}
	return nil
}

// Stop gives this process's share back. When it was the last, Stop waits until
// the server has ended and what it had in the temporary directory is removed,
// or ctx ends (the server stops in any case). Calling it again does nothing.
func (s *Server) Stop(ctx context.Context) error { return s.stop(ctx) }

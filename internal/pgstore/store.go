package pgstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
)

// DefaultSchema is the schema of the history's tables where none is given, and
// DefaultProject the project.
const (
	DefaultSchema  = "aurora"
	DefaultProject = "default"
)

// A Config says which database and whose history in it.
type Config struct {
	Conn *pgconn.Config
	// Connect opens a connection as Conn says through open, where that takes
	// more than just this.
	Connect func(ctx context.Context, open OpenFunc) (*pgconn.PgConn, error)
	Schema  string
	Project string
	Logger  *slog.Logger
	Dialect Dialect
}

// An OpenFunc opens a connection, as [pgconn.ConnectConfig] does.
type OpenFunc func(context.Context, *pgconn.Config) (*pgconn.PgConn, error)

// A Store is one project's history and lease in one database. Statements and
// history share one connection; a second one renews the lease when a run takes
// long enough.
type Store struct {
	// Main is for statements and the history, Side for renewals, and for the
	// history while Main is lent to a migration.
	Main, Side Session
	SQL        SQL
	Log        *slog.Logger
	Dialect    Dialect
	Schema     string
	Project    string

	conn    *pgconn.Config
	connect func(context.Context, OpenFunc) (*pgconn.PgConn, error)

	mu         sync.Mutex
	lease      *Lease        // the newest that was taken
	hasSchema  bool          // the schema need not be created
	hasTables  bool          // nor the tables
	output     aurora.Output // notices since the current migration began
	hasNotices bool

	// mark is the runner's application_name, by which a takeover knows that a
	// server session is still this one's. stepMark is that of steps of Go code,
	// empty where the URL names the application, and others may have that name.
	mark, stepMark string
}

// Open connects to the database and logs in. The error never contains the
// password.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	conn := cfg.Conn
	s := &Store{
		conn: conn, Schema: cmp.Or(cfg.Schema, DefaultSchema), Project: cmp.Or(cfg.Project, DefaultProject),
		Log: cfg.Logger, Dialect: cfg.Dialect,
		hasTables: true, // until seen otherwise
	}
	if len(s.Schema) > 63 {
		return nil, fmt.Errorf("the schema's name %q is longer than PostgreSQL's 63 bytes", s.Schema)
	}
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "aurora"
	}
	// Files are UTF-8, whatever the database is.
	conn.RuntimeParams["client_encoding"] = "UTF8"
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	s.SQL = newSQL(s.Schema, s.Dialect)
	s.mark = conn.RuntimeParams["application_name"]
	if s.mark == "aurora" {
		s.mark += "-" + strings.ToLower(rand.Text()[:8])
		s.stepMark = s.mark + "-step"
	}
	conn.OnNotice = s.notice
	s.connect = cfg.Connect
	if s.connect == nil {
		s.connect = func(ctx context.Context, open OpenFunc) (*pgconn.PgConn, error) { return open(ctx, conn) }
	}
	for _, session := range []*Session{&s.Main, &s.Side} {
		session.connect = func(ctx context.Context) (*pgconn.PgConn, error) { return s.connect(ctx, pgconn.ConnectConfig) }
		session.password, session.maxAge = conn.Password, s.Dialect.MaxAge
	}
	if err := s.Main.Connect(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends the connections.
func (s *Store) Close(ctx context.Context) error {
	return errors.Join(s.Side.Close(ctx), s.Main.Close(ctx))
}

// notice keeps what the server says for the output of the current migration.
func (s *Store) notice(_ *pgconn.PgConn, n *pgconn.Notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	severity := cmp.Or(n.SeverityUnlocalized, n.Severity)
	s.output.Add(severity + ": " + n.Message)
	s.hasNotices = true
	s.warn(nil, n)
}

// warn passes a server's warning on.
func (s *Store) warn(_ *pgconn.PgConn, n *pgconn.Notice) {
	if severity := cmp.Or(n.SeverityUnlocalized, n.Severity); severity == "WARNING" {
		attrs := []any{"code", n.Code}
		if n.Hint != "" {
			attrs = append(attrs, "hint", n.Hint)
		}
		s.Log.Warn(n.Message, attrs...)
	} else {
		s.Log.Debug(n.Message, "severity", severity, "code", n.Code)
	}
}

// TakeOutput returns the notices since it was last called.
func (s *Store) TakeOutput() (text string, dropped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hasNotices {
		return "", 0
	}
	text, dropped = s.output.Text()
	s.output, s.hasNotices = aurora.Output{}, false
	return text, dropped
}

// History runs queries of the history, which may be repeated: on Main, or on
// Side while Main is lent to a migration, which may have changed its settings
// and role or be in the middle of a transaction.
func (s *Store) History(ctx context.Context, groups [][]Query) ([]Answer, error) {
	return s.retry(ctx, func() ([]Answer, error) {
		answers, err := s.Main.Again(ctx, groups)
		if errors.Is(err, errLent) {
			return s.Side.Again(ctx, groups)
		}
		return answers, err
	})
}

// retry repeats what lost against another transaction, where the dialect says
// so.
func (s *Store) retry(ctx context.Context, ask func() ([]Answer, error)) ([]Answer, error) {
	started := time.Now()
	for try := 0; ; try++ {
		answers, err := ask()
		failed := err
		for _, a := range answers {
			if IsConflict(a.Err) {
				failed = a.Err
			}
		}
		if !IsConflict(failed) || !s.Dialect.Conflicts.Wait(ctx, try, started) {
			return answers, err
		}
		s.Log.Debug("the history is busy, asking again", "try", try+2, "err", failed)
	}
}

// Read runs one query of the history; where the tables are missing there are
// no rows.
func (s *Store) Read(ctx context.Context, q Query) ([][][]byte, error) {
	answers, err := s.History(ctx, Apart(q))
	if err != nil {
		return nil, err
	}
	if err := answers[0].Err; err != nil && !IsMissing(err) {
		return nil, err
	}
	return answers[0].Rows, nil
}

// Snapshots reports that the URL asks for transactions that see the database
// as it was when they began.
func (s *Store) Snapshots() bool {
	return s.conn.RuntimeParams["default_transaction_isolation"] != "" ||
		strings.Contains(s.conn.RuntimeParams["options"], "default_transaction_isolation")
}

// Settings are what a run needs of the session, whatever the server's or the
// role's defaults are: no time limit that cuts a migration short, and word of
// a dead client within seconds, half a minute if its machine is gone. What the
// URL itself sets is left alone.
func (s *Store) Settings() Query { return s.settings(s.mark) }

func (s *Store) settings(name string) Query {
	major := s.Main.Major()
	calls := []string{
		"set_config('standard_conforming_strings', 'on', false)", // as the lexer reads them
		"set_config('application_name', '" + strings.ReplaceAll(name, "'", "''") + "', false)",
	}
	all := [][2]string{
		{"default_transaction_isolation", "read committed"},
		{"statement_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"tcp_keepalives_idle", "10"},
		{"tcp_keepalives_interval", "5"},
		{"tcp_keepalives_count", "3"},
	}
	if major >= 14 {
		all = append(all, [2]string{"idle_session_timeout", "0"})
		// Servers on systems that cannot tell refuse the setting.
		calls = append(calls, "CASE WHEN version() LIKE '%linux%' THEN set_config('client_connection_check_interval', '2s', false) END")
	}
	if major >= 17 {
		all = append(all, [2]string{"transaction_timeout", "0"})
	}
	for _, a := range all {
		if _, ok := s.conn.RuntimeParams[a[0]]; ok || strings.Contains(s.conn.RuntimeParams["options"], a[0]) {
			continue
		}
		calls = append(calls, "set_config('"+a[0]+"', '"+a[1]+"', false)")
	}
	return NewQuery("SELECT " + strings.Join(calls, ", "))
}

package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
)

// DefaultSchema is the schema of the history's tables where none is given.
const DefaultSchema = "aurora"

// DefaultProject is the project where none is given.
const DefaultProject = "default"

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
// [aurora.Streamer], [aurora.History], [aurora.Locker] and [aurora.Database].
// Statements and history share one connection; a second one renews the lease
// when a run takes long enough.
type DB struct {
	conn    *pgconn.Config
	schema  string
	project string
	log     *slog.Logger
	sql     queries
	names   string // prefix of the prepared statements

	main session // statements and history
	side session // renewals, and history while main is lent to a migration

	mu         sync.Mutex
	hasSchema  bool          // the schema need not be created
	hasTables  bool          // nor the tables
	output     aurora.Output // notices since the current migration began
	hasNotices bool

	// mark is the runner's application_name, by which a takeover knows that a
	// server session is still this one's.
	mark string
}

// history runs queries of the history, which may be repeated: on main, or on
// side while main is lent to a migration, which may have changed its settings
// and role or be in the middle of a transaction.
func (db *DB) history(ctx context.Context, apart bool, queries ...query) ([]answer, error) {
	answers, err := db.main.again(ctx, apart, queries)
	if errors.Is(err, errLent) {
		return db.side.again(ctx, apart, queries)
	}
	return answers, err
}

// Open connects to the database and logs in. The error never contains the
// password.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	conn, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if schema := cmp.Or(cfg.Schema, DefaultSchema); len(schema) > 63 {
		return nil, fmt.Errorf("the schema's name %q is longer than PostgreSQL's 63 bytes", schema)
	}
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "aurora"
	}
	// Files are UTF-8, whatever the database is.
	conn.RuntimeParams["client_encoding"] = "UTF8"
	db := &DB{
		conn: conn, schema: cmp.Or(cfg.Schema, DefaultSchema), project: cmp.Or(cfg.Project, DefaultProject), log: cfg.Logger,
	}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	db.sql = newQueries(db.schema)
	db.mark = conn.RuntimeParams["application_name"]
	if db.mark == "aurora" {
		db.mark += "-" + strings.ToLower(rand.Text()[:8])
	}
	db.hasTables = true // until seen otherwise
	conn.OnNotice = db.notice
	db.main.config, db.side.config = conn, conn
	if err := db.main.connect(ctx); err != nil {
		return nil, err
	}
	return db, nil
}

// Close ends the connections.
func (db *DB) Close(ctx context.Context) error {
	return errors.Join(db.side.close(ctx), db.main.close(ctx))
}

// notice keeps what the server says for the output of the current migration.
func (db *DB) notice(_ *pgconn.PgConn, n *pgconn.Notice) {
	db.mu.Lock()
	defer db.mu.Unlock()
	severity := cmp.Or(n.SeverityUnlocalized, n.Severity)
	db.output.Add(severity + ": " + n.Message)
	db.hasNotices = true
	if severity == "WARNING" {
		attrs := []any{"code", n.Code}
		if n.Hint != "" {
			attrs = append(attrs, "hint", n.Hint)
		}
		db.log.Warn(n.Message, attrs...)
	} else {
		db.log.Debug(n.Message, "severity", severity, "code", n.Code)
	}
}

// takeOutput returns the notices since it was last called.
func (db *DB) takeOutput() (text string, dropped int) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if !db.hasNotices {
		return "", 0
	}
	text, dropped = db.output.Text()
	db.output, db.hasNotices = aurora.Output{}, false
	return text, dropped
}

// A session is one connection, opened when it is first needed and again when
// it broke.
type session struct {
	config *pgconn.Config

	mu   sync.Mutex
	conn *pgconn.PgConn
	// prepared says that the stream's own statements are on the server.
	prepared bool
	settings *query // sent again on a new connection
	// lent says that a migration has the connection for itself.
	lent bool
	// broke says that the connection broke with something still in flight.
	broke bool
	// foreignEncoding says that the database is not UTF-8.
	foreignEncoding atomic.Bool
	major           atomic.Int32 // of the server's version
}

func (s *session) connect(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connectLocked(ctx)
}

func (s *session) connectLocked(ctx context.Context) error {
	if s.conn != nil && !s.conn.IsClosed() {
		return nil
	}
	conn, err := pgconn.ConnectConfig(ctx, s.config)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", redact(s.config, err))
	}
	s.conn, s.prepared = conn, false
	version, _, _ := strings.Cut(conn.ParameterStatus("server_version"), ".")
	major, _ := strconv.Atoi(version) // 0 for a server that does not say
	s.major.Store(int32(major))
	s.foreignEncoding.Store(conn.ParameterStatus("server_encoding") != "UTF8")
	if s.settings != nil {
		if err := conn.ExecParams(ctx, s.settings.sql, nil, nil, nil, nil).Read().Err; err != nil {
			_ = conn.Close(ctx)
			s.conn = nil
			return fmt.Errorf("prepare the connection: %w", err)
		}
	}
	return nil
}

// lend gives the connection to a migration, connected.
func (s *session) lend(ctx context.Context) (*pgconn.PgConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.connectLocked(ctx); err != nil {
		return nil, err
	}
	s.lent = true
	return s.conn, nil
}

// giveBack ends lend. A connection that is not as it was is closed; the next
// use opens a new one.
func (s *session) giveBack(asItWas bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lent = false
	if !asItWas && s.conn != nil {
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.conn.Close(gone)
	}
}

// prepare says what a connection that replaces this one needs before use.
func (s *session) prepare(settings query) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settings = &settings
}

func (s *session) close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	conn := s.conn
	s.conn = nil
	return conn.Close(ctx)
}

// A query is one statement of our own, with arguments in text form; nil is
// NULL.
type query struct {
	sql  string
	args [][]byte
	name string // of the prepared statement, in a stream
	// discard says that the rows mean nothing: they may be many.
	discard bool
}

// statementQuery sends a migration's own statement.
func statementQuery(s aurora.Statement) query { return query{sql: s.SQL, discard: true} }

func newQuery(sql string, args ...any) query {
	q := query{sql: sql, args: make([][]byte, len(args))}
	for i, a := range args {
		q.args[i] = encode(a)
	}
	return q
}

// as names the prepared statement that a stream sends instead of the text.
func (q query) as(name string) query {
	q.name = name
	return q
}

func encode(a any) []byte {
	switch a := a.(type) {
	case nil:
		return nil
	case string:
		// PostgreSQL's text holds neither NUL nor invalid UTF-8, and a message
		// must not be lost over a byte.
		return []byte(strings.ToValidUTF8(strings.ReplaceAll(a, "\x00", "\uFFFD"), "\uFFFD"))
	case int:
		return strconv.AppendInt(nil, int64(a), 10)
	case int64:
		return strconv.AppendInt(nil, a, 10)
	}
	return fmt.Append(nil, a)
}

// An answer is what a query returned.
type answer struct {
	rows [][][]byte
	err  error
}

// errLent says that the connection is lent to a migration.
var errLent = errors.New("the connection is in use by a migration")

// run sends queries in one round trip, each in its own transaction, and
// returns an answer for each. The error is set when the connection broke. It
// is for whoever the connection is lent to.
func (s *session) run(ctx context.Context, queries ...query) ([]answer, error) {
	return s.send(ctx, true, true, queries)
}

// again sends queries that may be repeated: when the connection turns out to
// be dead, which an idle one may be for long, they go through a new one.
func (s *session) again(ctx context.Context, apart bool, queries []query) ([]answer, error) {
	answers, err := s.send(ctx, apart, false, queries)
	if errors.Is(err, errConnection) && ctx.Err() == nil {
		return s.send(ctx, apart, false, queries)
	}
	return answers, err
}

// send is one round trip, each query in its own transaction if apart. Nobody
// but its borrower gets through to a connection that is lent.
func (s *session) send(ctx context.Context, apart, borrower bool, queries []query) ([]answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lent && !borrower {
		return nil, errLent
	}
	if err := s.connectLocked(ctx); err != nil {
		return nil, err
	}
	pl := s.conn.StartPipeline(ctx)
	for i, q := range queries {
		pl.SendQueryParams(q.sql, q.args, nil, nil, nil)
		if apart || i == len(queries)-1 {
			pl.SendPipelineSync()
		}
	}
	answers := make([]answer, len(queries))
	if err := pl.Flush(); err != nil {
		return nil, s.broken(pl, err)
	}
	for i := range answers {
		answers[i] = readAnswer(pl, queries[i].discard)
		if apart || i == len(queries)-1 || answers[i].err != nil {
			err := readSync(pl)
			var pgErr *pgconn.PgError
			if errors.As(err, &pgErr) && answers[i].err == nil {
				answers[i].err, err = err, readSync(pl)
			}
			if err != nil {
				return nil, s.broken(pl, cmp.Or(answers[i].err, err))
			}
			if !apart {
				break
			}
		}
	}
	if err := pl.Close(); err != nil {
		return nil, s.broken(pl, err)
	}
	return answers, nil
}

func readAnswer(pl *pgconn.Pipeline, discard bool) answer {
	res, err := pl.GetResults()
	if err != nil {
		return answer{err: err}
	}
	rr, ok := res.(*pgconn.ResultReader)
	if !ok {
		return answer{err: fmt.Errorf("unexpected answer %T", res)}
	}
	if discard {
		_, err := rr.Close()
		return answer{err: err}
	}
	r := rr.Read()
	return answer{rows: r.Rows, err: r.Err}
}

// readSync reads up to the end of a transaction.
func readSync(pl *pgconn.Pipeline) error {
	res, err := pl.GetResults()
	if err != nil {
		return err
	}
	if _, ok := res.(*pgconn.PipelineSync); !ok {
		return fmt.Errorf("unexpected answer %T", res)
	}
	return nil
}

// broken gives the connection up: what it still has in flight is unknown.
func (s *session) broken(pl *pgconn.Pipeline, err error) error {
	_ = pl.Close()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.conn.Close(gone)
	s.broke = true
	if errors.Is(err, errConnection) {
		return redact(s.config, err)
	}
	return fmt.Errorf("%w: %w", errConnection, redact(s.config, err))
}

var errConnection = errors.New("the connection to the database was lost")

// first returns the first error of an exchange.
func first(answers []answer, err error) error {
	if err != nil {
		return err
	}
	for _, a := range answers {
		if a.err != nil {
			return a.err
		}
	}
	return nil
}

// grace is how long an exchange that was interrupted may still take before the
// connection is closed under it.
const grace = 4 * time.Second

// outlive returns a context that ends some time after ctx has.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-longer.Done():
		case <-time.After(by):
			cancel()
		}
	})
	return longer, func() { stop(); cancel() }
}

// ErrURL says that the database URL cannot be read.
var ErrURL = errors.New("the database url cannot be read (and is not shown, as it may hold a password); " +
	"percent-encode the characters @ : / ? # % in its password, as urlescape() does")

// parseURL reads the URL. What cannot be read may be a password with
// characters that end it too soon, so nothing of it is ever quoted.
func parseURL(raw string) (*pgconn.Config, error) {
	if _, rest, ok := strings.Cut(raw, "://"); ok {
		authority, _, _ := strings.Cut(rest, "/")
		if u, err := url.Parse(raw); err != nil || strings.Count(authority, "@") > 1 || strings.Count(rest, "@") > strings.Count(authority, "@")+strings.Count(u.RawQuery, "@") {
			return nil, ErrURL
		}
	}
	conn, err := pgconn.ParseConfig(raw)
	if err != nil {
		return nil, ErrURL
	}
	return conn, nil
}

// redact makes sure that the password is not in an error's text.
func redact(config *pgconn.Config, err error) error {
	text := err.Error()
	if config.Password == "" || !strings.Contains(text, config.Password) {
		return err
	}
	return redactedError{strings.ReplaceAll(text, config.Password, "xxxxx"), err}
}

type redactedError struct {
	text string
	err  error
}

func (e redactedError) Error() string { return e.text }
func (e redactedError) Unwrap() error { return e.err }

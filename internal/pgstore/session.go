package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// ErrConnection says that the connection to the database was lost.
	ErrConnection = errors.New("the connection to the database was lost")
	// errLent says that the connection is lent to a migration.
	errLent = errors.New("the connection is in use by a migration")
)

// A Session is one connection, opened when it is first needed and again when
// it broke or got too old.
type Session struct {
	connect  func(context.Context) (*pgconn.PgConn, error)
	password string // never to be shown
	maxAge   time.Duration

	mu       sync.Mutex
	conn     *pgconn.PgConn
	retireAt time.Time // zero means never
	// prepared says that statements of the borrower are on the server.
	prepared bool
	setup    *Query // sent again on a new connection
	// lent says that a migration has the connection for itself.
	lent bool
	// broke says that the connection broke with something still in flight.
	broke bool
	// foreignEncoding says that the database is not UTF-8.
	foreignEncoding atomic.Bool
	major           atomic.Int32 // of the server's version
}

// Connect opens the connection unless it is open.
func (s *Session) Connect(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connectLocked(ctx)
}

func (s *Session) connectLocked(ctx context.Context) error {
	if s.conn != nil && !s.conn.IsClosed() {
		if s.lent || !s.isOld() {
			return nil
		}
		s.closeAtOnce()
	}
	conn, err := s.connect(ctx)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", Redact(s.password, err))
	}
	s.conn, s.prepared, s.retireAt = conn, false, time.Time{}
	if age := s.maxAge; age > 0 {
		s.retireAt = time.Now().Add(age + rand.N(age/10+1))
	}
	version, _, _ := strings.Cut(conn.ParameterStatus("server_version"), ".")
	major, _ := strconv.Atoi(version) // 0 for a server that does not say
	s.major.Store(int32(major))
	s.foreignEncoding.Store(conn.ParameterStatus("server_encoding") != "UTF8")
	if s.setup != nil {
		if err := conn.ExecParams(ctx, s.setup.SQL, nil, nil, nil, nil).Read().Err; err != nil {
			_ = conn.Close(ctx)
			s.conn = nil
			return fmt.Errorf("prepare the connection: %w", err)
		}
	}
	return nil
}

func (s *Session) isOld() bool { return !s.retireAt.IsZero() && time.Now().After(s.retireAt) }

// Major returns the server's major version, 0 when it does not say.
func (s *Session) Major() int { return int(s.major.Load()) }

// ForeignEncoding reports that the database is not UTF-8.
func (s *Session) ForeignEncoding() bool { return s.foreignEncoding.Load() }

// Lend gives the connection to a migration, connected.
func (s *Session) Lend(ctx context.Context) (*pgconn.PgConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.connectLocked(ctx); err != nil {
		return nil, err
	}
	s.lent = true
	return s.conn, nil
}

// Renew replaces the connection, for its borrower, where it is closed or old.
// It reports whether it did: what the old session had set is gone then.
func (s *Session) Renew(ctx context.Context) (renewed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && !s.conn.IsClosed() {
		if !s.isOld() {
			return false, nil
		}
		s.closeAtOnce()
	}
	return true, s.connectLocked(ctx)
}

// GiveBack ends Lend. A connection that is not as it was is closed; the next
// use opens a new one.
func (s *Session) GiveBack(asItWas bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lent = false
	if !asItWas && s.conn != nil {
		s.closeAtOnce()
	}
}

// closeAtOnce closes without waiting for anything that is in flight.
func (s *Session) closeAtOnce() {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.conn.Close(gone)
}

// Drop closes the connection for its borrower; the next use opens a new one.
func (s *Session) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		s.closeAtOnce()
	}
}

// SetUp says what a connection that replaces this one needs before use.
func (s *Session) SetUp(q Query) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setup = &q
}

// Close ends the connection.
func (s *Session) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	conn := s.conn
	s.conn = nil
	return conn.Close(ctx)
}

// Conn returns the connection as it is now, nil when there is none.
func (s *Session) Conn() *pgconn.PgConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil || s.conn.IsClosed() {
		return nil
	}
	return s.conn
}

// Prepared reports whether SetPrepared said so of this very connection.
func (s *Session) Prepared() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prepared
}

// SetPrepared says whether the borrower's prepared statements are there.
func (s *Session) SetPrepared(there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepared = there
}

// InTransaction reports whether a transaction is open.
func (s *Session) InTransaction() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn != nil && !s.conn.IsClosed() && s.conn.TxStatus() != 'I'
}

// SetWhole forgets that the connection ever broke.
func (s *Session) SetWhole() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broke = false
}

// IsWhole reports whether nothing sent since SetWhole can still be in flight.
func (s *Session) IsWhole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.broke
}

// Apart makes of each query a transaction of its own.
func Apart(queries ...Query) [][]Query {
	groups := make([][]Query, len(queries))
	for i := range queries {
		groups[i] = queries[i : i+1]
	}
	return groups
}

// Together makes of all queries one transaction.
func Together(queries ...Query) [][]Query { return [][]Query{queries} }

// Run sends groups of queries in one round trip, each group in a transaction of
// its own, and returns an answer for each query; those behind one that failed,
// in its group, have none. The error is set when the connection broke. It is
// for whoever the connection is lent to.
func (s *Session) Run(ctx context.Context, groups [][]Query) ([]Answer, error) {
	return s.send(ctx, true, groups)
}

// Once does what Run does for whoever has not borrowed the connection.
func (s *Session) Once(ctx context.Context, groups [][]Query) ([]Answer, error) {
	return s.send(ctx, false, groups)
}

// Again does what Once does with queries that may be repeated: when the
// connection turns out to be dead, which an idle one may be for long, they go
// through a new one.
func (s *Session) Again(ctx context.Context, groups [][]Query) ([]Answer, error) {
	answers, err := s.send(ctx, false, groups)
	if errors.Is(err, ErrConnection) && ctx.Err() == nil {
		return s.send(ctx, false, groups)
	}
	return answers, err
}

func (s *Session) send(ctx context.Context, borrower bool, groups [][]Query) ([]Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lent && !borrower {
		return nil, errLent
	}
	if err := s.connectLocked(ctx); err != nil {
		return nil, err
	}
	pl := s.conn.StartPipeline(ctx)
	groups = slices.DeleteFunc(slices.Clone(groups), func(g []Query) bool { return len(g) == 0 })
	for _, group := range groups {
		for _, q := range group {
			pl.SendQueryParams(q.SQL, q.Args, nil, nil, nil)
		}
		pl.SendPipelineSync()
	}
	if err := pl.Flush(); err != nil {
		return nil, s.brokenLocked(pl, err)
	}
	var answers []Answer
	for _, group := range groups {
		of := make([]Answer, len(group))
		if err := readGroup(pl, group, of); err != nil {
			return nil, s.brokenLocked(pl, err)
		}
		answers = append(answers, of...)
	}
	if err := pl.Close(); err != nil {
		return nil, s.brokenLocked(pl, err)
	}
	return answers, nil
}

// readGroup reads the answers to one transaction. What its end says belongs to
// its last query.
func readGroup(pl *pgconn.Pipeline, group []Query, answers []Answer) error {
	last := len(group) - 1
	for i, q := range group {
		if answers[i] = ReadAnswer(pl, q.Discard); answers[i].Err != nil {
			last = i
			break
		}
	}
	err := ReadSync(pl)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && answers[last].Err == nil {
		answers[last].Err, err = err, ReadSync(pl)
	}
	if err != nil {
		return cmp.Or(answers[last].Err, err)
	}
	return nil
}

// Broken gives the connection up, for its borrower: what it still has in
// flight is unknown. The error wraps [ErrConnection].
func (s *Session) Broken(pl *pgconn.Pipeline, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.brokenLocked(pl, err)
}

func (s *Session) brokenLocked(pl *pgconn.Pipeline, err error) error {
	_ = pl.Close()
	s.closeAtOnce()
	s.broke = true
	if errors.Is(err, ErrConnection) {
		return Redact(s.password, err)
	}
	return fmt.Errorf("%w: %w", ErrConnection, Redact(s.password, err))
}

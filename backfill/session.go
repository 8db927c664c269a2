package backfill

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
)

// maxAge is when a connection is replaced: Aurora DSQL ends one after 60 minutes
// (user guide, "Cluster quotas and database limits").
const maxAge = 50 * time.Minute

// A query is one statement with arguments in text form; nil is NULL.
type query struct {
	sql  string
	args [][]byte
}

// An answer is what a query returned.
type answer struct {
	rows [][]string
	tag  pgconn.CommandTag
	err  error
}

// A session is a connection that is opened when it is needed.
type session struct {
	connect func(context.Context) (*pgx.Conn, error)
	conn    *pgx.Conn
	opened  time.Time
}

// open opens the connection unless there is one that is good.
func (s *session) open(ctx context.Context) error {
	if s.conn != nil && (s.conn.IsClosed() || time.Since(s.opened) > maxAge) {
		s.close()
	}
	if s.conn != nil {
		return nil
	}
	conn, err := s.connect(ctx)
	if err != nil {
		return &connectError{err}
	}
	s.conn, s.opened = conn, time.Now()
	// Keys travel as text, and a date has to be read as it was written.
	if style := conn.PgConn().ParameterStatus("DateStyle"); style != "" && !strings.HasPrefix(style, "ISO") {
		if err := s.exchange(ctx, []query{{sql: "SET datestyle = 'ISO'"}})[0][0].err; err != nil {
			s.close()
			return err
		}
	}
	return nil
}

func (s *session) close() {
	if s.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // it may be broken already
	s.conn = nil
}

// exchange sends groups of queries without waiting in between, a Sync behind
// each group: after a failure the rest of its group does not happen, and the
// next one does. Where the connection is lost every answer that did not come has
// the error.
func (s *session) exchange(ctx context.Context, groups ...[]query) [][]answer {
	out := make([][]answer, len(groups))
	idle := s.conn.PgConn().TxStatus() == 'I'
	pipeline := s.conn.PgConn().StartPipeline(ctx)
	for i, group := range groups {
		out[i] = make([]answer, len(group))
		for _, q := range group {
			pipeline.SendQueryParams(q.sql, q.args, nil, nil, nil)
		}
		pipeline.SendPipelineSync()
	}
	err := pipeline.Flush()
	for _, group := range out {
		done := 0
		if err == nil {
			done, err = read(pipeline, group)
		}
		for ; err != nil && done < len(group); done++ {
			group[done].err = err
		}
	}
	if cerr := pipeline.Close(); err == nil && cerr != nil {
		s.close()
	}
	if idle && s.conn != nil && !s.conn.IsClosed() && s.conn.PgConn().TxStatus() != 'I' {
		// The failed transaction of a group whose COMMIT did not happen.
		if _, err := s.conn.Exec(ctx, "ROLLBACK"); err != nil {
			s.close()
		}
	}
	return out
}

// read reads the answers to a group up to its Sync and returns how many there
// were. It returns an error only when nothing more can be read.
func read(pipeline *pgconn.Pipeline, group []answer) (done int, err error) {
	for {
		result, err := pipeline.GetResults()
		var tag pgconn.CommandTag
		var rows [][]string
		if reader, ok := result.(*pgconn.ResultReader); ok {
			for reader.NextRow() {
				row := make([]string, len(reader.Values()))
				for i, v := range reader.Values() {
					row[i] = string(v)
				}
				rows = append(rows, row)
			}
			tag, err = reader.Close()
		}
		var pgErr *pgconn.PgError
		switch {
		case errors.As(err, &pgErr) && !isFatal(pgErr):
			// An error at the Sync, where an implicit transaction commits, is
			// that of the statement before.
			group[min(done, len(group)-1)].err = err
			done = len(group)
		case err != nil:
			return min(done, len(group)-1), err
		case result == nil:
			return min(done, len(group)-1), errors.New("the answers ended early")
		default:
			if _, ok := result.(*pgconn.PipelineSync); ok {
				return len(group), nil
			}
			group[done].rows, group[done].tag = rows, tag
			done++
		}
	}
}

// ask runs one query that may be repeated, until it does not fail for a passing
// reason.
func (s *session) ask(ctx context.Context, halt <-chan struct{}, sql string, args ...any) ([][]string, error) {
	began := time.Now()
	for try := 0; ; try++ {
		err := s.open(ctx)
		if err == nil {
			a := s.exchange(ctx, []query{{sql, texts(args...)}})[0][0]
			if err = a.err; err == nil {
				return a.rows, nil
			}
		}
		if k := kindOf(s.conn, err); k != conflict && k != lost || time.Since(began) > patience || ctx.Err() != nil {
			return nil, err
		}
		sleep(ctx, halt, pauseAfter(try))
		select {
		case <-halt:
			return nil, err
		default:
		}
	}
}

// texts encodes arguments. A key has one for each of its columns.
func texts(args ...any) [][]byte {
	var out [][]byte
	for _, a := range args {
		switch a := a.(type) {
		case nil:
			out = append(out, nil)
		case [][]byte:
			out = append(out, a...)
		case key:
			for _, s := range a {
				out = append(out, []byte(s))
			}
		case string:
			out = append(out, []byte(a))
		default:
			out = append(out, fmt.Append(nil, a))
		}
	}
	return out
}

// A connectError says that no connection could be opened.
type connectError struct{ err error }

func (e *connectError) Error() string { return "connect: " + e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

// A guardError says that the progress row is not where it was left.
type guardError struct{ err error }

func (e *guardError) Error() string { return "the progress row was moved by somebody else" }
func (e *guardError) Unwrap() error { return e.err }

// A callbackError is what the caller's function returned.
type callbackError struct{ err error }

func (e *callbackError) Error() string { return e.err.Error() }
func (e *callbackError) Unwrap() error { return e.err }

// A kind says what an error calls for.
type kind int

const (
	final    kind = iota // it will be the same again
	conflict             // another transaction was first; nothing happened
	lost                 // the connection is gone; the outcome is unknown
	moved                // the progress row says something else
	rowFault             // a row is wrong, or there are too many at once
)

// kindOf classifies an error of a batch. A connection that failed is closed.
func kindOf(conn *pgx.Conn, err error) kind {
	var guard *guardError
	var pgErr *pgconn.PgError
	var login *connectError
	var callback *callbackError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, aurora.ErrLeaseLost), errors.Is(err, aurora.ErrPaused):
		return final
	case errors.As(err, &guard):
		return moved
	case errors.As(err, &pgErr):
		return kindOfCode(pgErr, errors.As(err, &login))
	case errors.As(err, &callback) && conn != nil && !conn.IsClosed():
		return rowFault
	}
	return lost
}

// kindOfCode classifies what the server said. See PostgreSQL's documentation,
// appendix A, "PostgreSQL Error Codes".
func kindOfCode(err *pgconn.PgError, login bool) kind {
	switch err.Code {
	case "40001", "40P01", "55P03":
		return conflict
	case "57P01", "57P02", "57P03", "57P05", "53300", "53400":
		return lost
	case "08P01": // what we say is wrong
		return final
	case "57014": // statement_timeout: fewer rows take less time
		return rowFault
	}
	if login {
		return final // a password does not get better
	}
	if isFatal(err) {
		return lost
	}
	switch err.Code[:min(2, len(err.Code))] {
	case "08":
		return lost
	case "21", "22", "23", "27", "38", "44", "54", "P0":
		return rowFault
	}
	return final
}

func isFatal(err *pgconn.PgError) bool {
	return err.SeverityUnlocalized == "FATAL" || err.SeverityUnlocalized == "PANIC" || err.Severity == "FATAL"
}

// isLimit reports that a transaction was too large or took too long: 54000 on
// Aurora DSQL, a timeout on PostgreSQL.
func isLimit(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (strings.HasPrefix(pgErr.Code, "54") || pgErr.Code == "57014")
}

func isDivision(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "22012"
}

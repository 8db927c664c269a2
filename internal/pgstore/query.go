package pgstore

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
)

// A Query is one statement, with arguments in text form; nil is NULL.
type Query struct {
	SQL  string
	Args [][]byte
	// Discard says that the rows mean nothing: they may be many.
	Discard bool
}

// NewQuery makes a query of our own. Arguments are nil, strings, integers, or
// what [fmt.Append] writes as PostgreSQL reads it.
func NewQuery(sql string, args ...any) Query {
	q := Query{SQL: sql, Args: make([][]byte, len(args))}
	for i, a := range args {
		q.Args[i] = encode(a)
	}
	return q
}

// StatementQuery sends a migration's own statement.
func StatementQuery(s aurora.Statement) Query { return Query{SQL: s.SQL, Discard: true} }

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

// An Answer is what a query returned.
type Answer struct {
	Rows [][][]byte
	Tag  string
	Err  error
}

// First returns the first error of an exchange.
func First(answers []Answer, err error) error {
	if err != nil {
		return err
	}
	for _, a := range answers {
		if a.Err != nil {
			return a.Err
		}
	}
	return nil
}

// ReadAnswer reads the answer to one query.
func ReadAnswer(pl *pgconn.Pipeline, discard bool) Answer {
	res, err := pl.GetResults()
	if err != nil {
		return Answer{Err: err}
	}
	rr, ok := res.(*pgconn.ResultReader)
	if !ok {
		return Answer{Err: fmt.Errorf("unexpected answer %T", res)}
	}
	if discard {
		_, err := rr.Close()
		return Answer{Err: err}
	}
	var rows [][][]byte
	for rr.NextRow() {
		rows = append(rows, keep(rr.Values()))
	}
	tag, err := rr.Close()
	return Answer{Rows: rows, Tag: tag.String(), Err: err}
}

// keep copies a row, which is the reader's, into one piece of memory: the history
// has very many short columns.
func keep(row [][]byte) [][]byte {
	size := 0
	for _, v := range row {
		size += len(v)
	}
	all := make([]byte, 0, size)
	out := make([][]byte, len(row))
	for i, v := range row {
		if v != nil { // NULL
			start := len(all)
			all = append(all, v...)
			out[i] = all[start:len(all):len(all)]
		}
	}
	return out
}

// ReadSync reads up to the end of a transaction.
func ReadSync(pl *pgconn.Pipeline) error {
	res, err := pl.GetResults()
	if err != nil {
		return err
	}
	if _, ok := res.(*pgconn.PipelineSync); !ok {
		return fmt.Errorf("unexpected answer %T", res)
	}
	return nil
}

// HasCode reports that the server answered with one of these SQLSTATEs.
func HasCode(err error, codes ...string) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && slices.Contains(codes, pgErr.Code)
}

// IsMissing reports that the tables are not there yet.
func IsMissing(err error) bool { return HasCode(err, "42P01", "3F000") }

// IsFatal reports that the server ended the connection with this error.
func IsFatal(err *pgconn.PgError) bool {
	return err.Severity == "FATAL" || err.Severity == "PANIC" || err.SeverityUnlocalized == "FATAL" || err.SeverityUnlocalized == "PANIC"
}

// IsConflict reports that another transaction was first, so that the same again
// may succeed: SQLSTATE 40001, or a row of the history that somebody inserted
// at the same moment.
func IsConflict(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return false
	}
	return pgErr.Code == "40001" || pgErr.Code == "23505" && (isAbout(pgErr, leasesTable) || isAbout(pgErr, revisionsTable))
}

// IsLeaseLost reports that a save found no token.
func IsLeaseLost(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "23502" && isAbout(pgErr, revisionsTable) &&
		(pgErr.ColumnName == "token" || strings.Contains(pgErr.Message, `"token"`))
}

// isAbout reports that an error is about one of our tables. Not every server
// fills in the field for it.
func isAbout(err *pgconn.PgError, table string) bool {
	return err.TableName == table || err.TableName == "" && strings.Contains(err.Message, `"`+table)
}

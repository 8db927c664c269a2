package dsql

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// An asker runs one query on the session whose search_path the migration has,
// with arguments and answers in text form, and repeats it after conflicts.
// Errors of the server wrap a [pgconn.PgError].
type asker func(ctx context.Context, sql string, args ...string) ([][][]byte, error)

// Evidence is what the catalog says about a statement that was announced
// before an earlier process died.
type evidence int

const (
	unknown  evidence = iota
	happened          // or nothing is left for it to do
	missing           // or harmless to repeat
	building          // it was submitted, and its job is not done: see findJob
)

func (e evidence) String() string {
	return [...]string{"unknown", "happened", "missing", "building"}[e]
}

// look asks the catalog whether a statement that was announced has had its
// effect. info must be that of the text that was sent. Statements that only
// change or read rows, and those of transactions, are unknown.
//
// What the catalog shows is held against the statement as far as its tokens
// tell. Where both contradict each other the statement counts as missing: it
// runs again, and the server says what is wrong.
func look(ctx context.Context, ask asker, sql string, info sqllex.Info) (evidence, error) {
	l := looker{ctx: ctx, ask: ask, sql: sql, info: info}
	found, err := l.statement()
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && slices.Contains(unreadable, pgErr.Code) {
		return unknown, nil // this server has no such catalog, or shows it to others
	}
	if err != nil {
		return unknown, fmt.Errorf("look whether a statement happened: %w", err)
	}
	return found, nil
}

// unreadable are the codes of a catalog or function that is not there, not
// allowed or not supported, and of a type's name that cannot be read:
// https://www.postgresql.org/docs/16/errcodes-appendix.html
var unreadable = []string{"42P01", "42501", "42883", "42703", "42704", "42601", "42602", "0A000", "3F000"}

type looker struct {
	ctx  context.Context
	ask  asker
	sql  string
	info sqllex.Info
}

func (l *looker) statement() (evidence, error) {
	switch l.info.Kind {
	case sqllex.CreateTable:
		return l.createTable()
	case sqllex.CreateIndex:
		return l.createIndex()
	case sqllex.CreateOther:
		return l.createOther()
	case sqllex.AlterTable:
		return l.alterTable()
	case sqllex.AlterOther:
		return l.alterOther()
	case sqllex.DropTable, sqllex.DropIndex, sqllex.DropOther:
		return l.drop()
	case sqllex.CommentOn, sqllex.Grant, sqllex.Revoke, sqllex.ReassignOwned, sqllex.Analyze,
		sqllex.Set, sqllex.Reset, sqllex.Show, sqllex.Deallocate, sqllex.Empty:
		return missing, nil
	case sqllex.Call:
		if isWaitForJob(l.info) {
			return missing, nil
		}
	case sqllex.Other:
		return l.trust()
	}
	return unknown, nil
}

func isWaitForJob(info sqllex.Info) bool {
	return info.Kind == sqllex.Call && info.Name.Schema == "sys" && info.Name.Name == "wait_for_job"
}

// trust looks for the mapping of AWS IAM GRANT and REVOKE:
// https://docs.aws.amazon.com/aurora-dsql/latest/userguide/using-database-and-iam-roles.html
func (l *looker) trust() (evidence, error) {
	r := newReader(l.sql)
	if !r.skip("AWS", "IAM") || !r.isOneOf("GRANT", "REVOKE") {
		return unknown, nil
	}
	grants := r.is("GRANT")
	r.take()
	role := r.ident()
	if role == "" || !r.skip("TO") && !r.skip("FROM") || r.at(0).Kind != sqllex.String || len(r.toks) != r.i+1 {
		return unknown, nil
	}
	rows, err := l.rows(`SELECT 1 FROM sys.iam_pg_role_mappings WHERE pg_role_name = $1 AND arn = `+r.take().Text(l.sql), role)
	if err != nil {
		return unknown, err
	}
	return when((len(rows) > 0) == grants), nil
}

// rows asks and gives the values as strings; NULL is empty.
func (l *looker) rows(sql string, args ...string) ([][]string, error) {
	raw, err := l.ask(l.ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return texts(raw), nil
}

func texts(raw [][][]byte) [][]string {
	rows := make([][]string, len(raw))
	for i, r := range raw {
		rows[i] = make([]string, len(r))
		for j, v := range r {
			rows[i][j] = string(v)
		}
	}
	return rows
}

// when is the evidence of what either is so because the statement ran, or is
// not so because it did not.
func when(did bool) evidence {
	if did {
		return happened
	}
	return missing
}

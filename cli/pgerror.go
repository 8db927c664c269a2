package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/postgres"
)

// mayComeUp reports whether an error is one of a database that is not there
// yet: nobody listens, the name does not resolve, the server is starting, the
// database or the table of the history was not created. A refused password or a
// missing right will not change by waiting.
func mayComeUp(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch {
		// 57P03 cannot_connect_now, 3D000 invalid_catalog_name,
		// 53300 too_many_connections, class 08 connection exceptions, 57P01-02
		// shutdowns: https://www.postgresql.org/docs/16/errcodes-appendix.html
		// 53400 is how Aurora DSQL says that too many connect in a second.
		case pg.Code == "57P03", pg.Code == "57P01", pg.Code == "57P02", pg.Code == "3D000", pg.Code == "53300", pg.Code == "53400":
			return true
		}
		return strings.HasPrefix(pg.Code, "08")
	}
	var (
		netErr  net.Error
		opErr   *net.OpError
		dnsErr  *net.DNSError
		connErr *pgconn.ConnectError
	)
	switch {
	case isNoTable(err):
		return true
	case errors.As(err, &dnsErr), errors.As(err, &opErr), errors.As(err, &netErr), errors.Is(err, context.DeadlineExceeded):
		return true
	case errors.As(err, &connErr):
		// A server that goes away in the middle of the greeting.
		return strings.Contains(err.Error(), "EOF")
	}
	return false
}

// isBadURL reports whether a connection string could not be read, or asks for
// what its database does not have.
func isBadURL(err error) bool {
	return errors.Is(err, postgres.ErrURL) || errors.Is(err, dsql.ErrTarget)
}

// A failure is what a database says of a statement, in the parts that are
// shown below each other.
type failure struct {
	where   string // file:line:col
	message string // with the SQLSTATE
	excerpt string // the statement's lines around the place, with a caret
	detail  string
	hint    string
}

// describe takes a step's error apart.
func describe(step *aurora.StepError) failure {
	f := failure{where: step.Pos, message: step.Err.Error(), hint: step.Hint}
	if f.where == "" {
		f.where = step.Migration
	}
	if step.Index < 0 {
		f.message = "commit: " + f.message
	}
	var below hinter
	if f.hint == "" && errors.As(step.Err, &below) {
		f.hint = below.Hint()
	}
	if step.Pos == "" && step.Index >= 0 { // a function, whose text is its name
		f.where += ": " + step.Step
		return f
	}
	var finding dsql.Finding
	if errors.As(step.Err, &finding) && finding.Start <= len(step.Step) {
		f.excerpt = excerpt(step.Step, utf8.RuneCountInString(step.Step[:finding.Start])+1)
		return f
	}
	var pg *pgconn.PgError
	if !errors.As(step.Err, &pg) {
		f.excerpt = excerpt(step.Step, 0)
		return f
	}
	f.message = strings.Replace(f.message, pg.Error(), fmt.Sprintf("%s (SQLSTATE %s)", pg.Message, pg.Code), 1)
	f.detail = pg.Detail
	if f.hint == "" {
		f.hint = pg.Hint
	}
	f.excerpt = excerpt(step.Step, int(pg.Position))
	return f
}

// The size of an excerpt.
const (
	excerptBefore = 2   // lines before the one with the error
	excerptLines  = 6   // lines of a statement without a known place
	excerptWidth  = 100 // characters of a line
)

// excerpt shows a statement around a position, which PostgreSQL counts in
// characters from 1; 0 means that it is unknown.
func excerpt(sql string, position int) string {
	var b strings.Builder
	lines := strings.Split(sql, "\n")
	if position <= 0 || position > utf8.RuneCountInString(sql) {
		for i, l := range lines {
			if i == excerptLines {
				b.WriteString("    …\n")
				break
			}
			l, _ = window(l, 0)
			b.WriteString("    " + l + "\n")
		}
		return b.String()
	}
	line, col := 0, position-1
	for col > utf8.RuneCountInString(lines[line]) {
		col -= utf8.RuneCountInString(lines[line]) + 1
		line++
	}
	for i := max(0, line-excerptBefore); i < line; i++ {
		l, _ := window(lines[i], 0)
		b.WriteString("    " + l + "\n")
	}
	text, col := window(lines[line], col)
	b.WriteString("    " + text + "\n    " + caret(text, col) + "\n")
	return b.String()
}

// window cuts a long line around a column and returns where that went.
func window(line string, col int) (string, int) {
	line = strings.TrimRight(line, "\r")
	r := []rune(line)
	if len(r) <= excerptWidth {
		return line, col
	}
	from := min(max(0, col-excerptWidth/2), len(r)-excerptWidth)
	out, before, after := string(r[from:from+excerptWidth]), "", ""
	if from > 0 {
		before = "…"
	}
	if from+excerptWidth < len(r) {
		after = "…"
	}
	return before + out + after, col - from + utf8.RuneCountInString(before)
}

// caret points below a column; tabs stay tabs so that it lands there.
func caret(line string, col int) string {
	var b strings.Builder
	for i, c := range []rune(line) {
		if i == col {
			break
		}
		if c == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String() + "^"
}

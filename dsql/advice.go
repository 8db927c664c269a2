package dsql

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// known are errors that only the server can decide about, by part of their
// texts, and what to do about them. The texts are those of the rules and of
// https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
var known = []struct{ code, text, advice string }{
	{"54000", "transaction row limit", "change at most 3,000 rows at a time: several statements, each with a range of keys"},
	{"54000", "transaction size limit", "change fewer rows at a time: several statements, each with a range of keys"},
	{"54000", "transaction age limit", "do less at a time: a transaction ends after 5 minutes"},
	{"54000", "temp space", "sort or join fewer rows at a time"},
	{"54000", "indexes per table", "drop an index first; those of keys count, and invalid ones"},
	{"0A000", "ALTER TABLE DROP CONSTRAINT", "a primary key stays: make a new table with another key, copy in batches of at most 3,000 rows, rename"},
	{"0A000", "cannot drop primary key column", "a primary key stays: make a new table with another key, copy in batches of at most 3,000 rows, rename"},
	{"55000", "is not valid", "the index is still being built, or its build failed: SELECT * FROM sys.jobs tells"},
	{"40001", "(OC000)", "other transactions changed the same rows again and again; run it when they do less"},
	{"40001", "(OC001)", "somebody changes the schema again and again; run it when they are done"},
}

// advise says what to do about an error of the server, or nothing.
func advise(err error) string {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return ""
	}
	for _, k := range known {
		if k.code == e.Code && strings.Contains(e.Message, k.text) {
			return k.advice
		}
	}
	p, err := Latest()
	if err != nil {
		return ""
	}
	for _, r := range p.rules {
		if r.SQLState == e.Code && r.Message == e.Message {
			return r.Advice
		}
	}
	return ""
}

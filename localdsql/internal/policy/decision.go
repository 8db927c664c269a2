package policy

import "github.com/aurora-migrate/aurora/internal/sqllex"

// A Class says what a statement counts as in the rules about what may stand
// together in a transaction.
type Class uint8

// The classes of statements.
const (
	Read     Class = iota // goes with anything: SELECT (also FOR UPDATE), SHOW, SET, EXPLAIN of those, ANALYZE
	DML                   // changes rows, also within WITH or under EXPLAIN ANALYZE
	DDL                   // defines things; GRANT, REVOKE, COMMENT and AWS IAM too
	Begin                 // BEGIN and START TRANSACTION
	Commit                // COMMIT and END
	Rollback              // ROLLBACK and ABORT
	Call                  // CALL sys.wait_for_job, refused in a transaction block
)

var classNames = [...]string{"Read", "DML", "DDL", "Begin", "Commit", "Rollback", "Call"}

// String gives the name of the constant.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "Class?"
}

// A Decision says what to do with one statement. It is shared and must not be
// changed.
type Decision struct {
	// SQL is what the backend is sent, often the client's text itself.
	SQL   string
	Class Class
	// Refusal is what the client is told in place of the backend's answer; the
	// backend must not see the statement. It is nil for one that may run.
	Refusal *Refusal
	// Tag is the command tag that the client gets in place of the backend's;
	// empty for the backend's own.
	Tag string
	// NoRows says that what SQL returns is not for the client: rows and their
	// description are to be dropped.
	NoRows bool
	// Names are the objects that DDL makes, changes or locks, without schema and
	// as the server stores them.
	Names []string
	// Position gives the character (from 1) of the client's text for one of
	// SQL; nil when both are the same.
	Position func(int) int
	// Locks says that a query locks rows: FOR UPDATE or FOR KEY SHARE.
	Locks bool
	// Text is the client's text.
	Text string
}

// A Refusal is an error of the server, in the fields of an ErrorResponse.
type Refusal struct {
	Code, Message, Detail, Hint string
	// Position is the character of the statement, from 1, that it is about, and
	// 0 for none.
	Position int
}

// Error gives the message with the code, as psql prints them.
func (r *Refusal) Error() string { return r.Message + " (SQLSTATE " + r.Code + ")" }

// Mentions reports whether the client's text has the name, as an identifier or
// keyword. Names in strings, comments and function bodies do not count.
func (d *Decision) Mentions(name string) bool {
	return d.MentionsAny(func(word string) bool { return word == name })
}

// MentionsAny is [Decision.Mentions] of a name that is one of those.
func (d *Decision) MentionsAny(isOne func(name string) bool) bool {
	for lx := sqllex.New(d.Text); ; {
		switch tok := lx.Next(); tok.Kind {
		case sqllex.EOF:
			return false
		case sqllex.Word, sqllex.QuotedIdent:
			if isOne(sqllex.Ident(tok.Text(d.Text))) {
				return true
			}
		}
	}
}

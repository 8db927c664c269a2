package wire

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/internal/sqllex"
	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

// poison is a query that fails when it is parsed, with 42703 and its own name
// in the message, unless the transaction has failed already.
const poison = `SELECT "` + poisonName + `"`

// poisonName also names what the proxy prepares on its own.
const poisonName = "aurora~"

// What the proxy refuses by itself.
var (
	badMessage   = policy.Refusal{Code: "08P01", Message: "invalid message format"}
	tooLong      = policy.Refusal{Code: "08P01", Message: "invalid message length"}
	outOfPlace   = policy.Refusal{Code: "08P01", Message: "invalid frontend message type"}
	functionCall = policy.Refusal{Code: "0A000", Message: "unsupported message: FunctionCall"}
	lifeOver     = policy.Refusal{Code: "57P01", Message: "terminating connection because it has reached its maximum duration"}
	shutdown     = policy.Refusal{Code: "57P01", Message: "terminating connection due to administrator command"}
	confused     = policy.Refusal{Code: "XX000", Message: "local DSQL lost track of the backend's answers"}
	noTLS        = policy.Refusal{Code: "28000", Message: "unable to accept connection, access denied", Hint: "TLS is required: connect with sslmode=verify-full, or require"}
	noALPN       = policy.Refusal{Code: "08P01", Message: "received direct SSL connection request without ALPN protocol negotiation extension"}
)

// response makes the message for a refusal of a statement that offset characters
// stand before.
func response(severity string, r *policy.Refusal, offset int) *pgproto3.ErrorResponse {
	m := &pgproto3.ErrorResponse{
		Severity: severity, SeverityUnlocalized: severity,
		Code: r.Code, Message: r.Message, Detail: r.Detail, Hint: r.Hint,
	}
	if r.Position > 0 {
		m.Position = int32(r.Position + offset)
	}
	return m
}

// isPoison reports whether an error is that of a poisoned statement.
func isPoison(m *pgproto3.ErrorResponse) bool {
	return m.Code == "42703" && strings.Contains(m.Message, poisonName)
}

// disturbedCopy reports whether an error is that of a COPY which the proxy has
// ended for a message that has no place in it, and makes it PostgreSQL's own.
func disturbedCopy(m *pgproto3.ErrorResponse) bool {
	reason, ok := strings.CutPrefix(m.Message, "COPY from stdin failed: "+unexpected)
	if ok {
		m.Code, m.Message = "08P01", unexpected+reason
	}
	return ok
}

// isFatal reports whether the backend ends the connection with an error.
func isFatal(m *pgproto3.ErrorResponse) bool {
	severity := m.SeverityUnlocalized
	return severity == "FATAL" || severity == "PANIC"
}

// isConflict reports whether DSQL would call an error of PostgreSQL a conflict:
// it has no locks, so that nothing can wait for one.
func isConflict(code string) bool { return code == "40001" || code == "40P01" || code == "55P03" }

// translate makes an error of the backend one of DSQL.
func (s *session) translate(m *pgproto3.ErrorResponse, e entry) *pgproto3.ErrorResponse {
	if isConflict(m.Code) && !strings.Contains(m.Message, "(OC00") {
		return response("ERROR", &policy.DataConflict, 0)
	}
	if m.Code == "08P01" && e.kind == 'B' && e.simple {
		return noParameter(e)
	}
	if m.Code == "42601" && m.Hint == "" {
		m.Hint = s.proxy.cfg.SyntaxHint
	}
	ours := tidy(m, e)
	if m.Position > 0 {
		position := int(m.Position)
		if e.dec != nil && e.dec.Position != nil {
			position = e.dec.Position(position)
		}
		m.Position = int32(max(position, 0))
		if m.Position > 0 {
			m.Position += int32(e.offset)
		}
	}
	if ours {
		m.File, m.Line, m.Routine = "", 0, ""
	}
	return m
}

// tidy removes from an error what tells of the functions behind local DSQL, and
// reports whether there was something. A position in a text that such a function
// ran is one in the client's text if that has it.
func tidy(m *pgproto3.ErrorResponse, e entry) bool {
	if !strings.Contains(m.Where, "sys.") && !strings.Contains(m.Where, "PL/pgSQL function") && !strings.Contains(m.InternalQuery, "sys.") {
		return false
	}
	if m.InternalPosition > 0 && m.Position == 0 && e.dec != nil {
		if i := strings.Index(e.dec.SQL, m.InternalQuery); i >= 0 {
			m.Position = int32(utf8.RuneCountInString(e.dec.SQL[:i])) + m.InternalPosition
		}
	}
	m.Where, m.InternalQuery, m.InternalPosition = "", "", 0
	return true
}

// tooManyBytes and tooOld put the numbers into the details.
func tooManyBytes(n int64) *policy.Refusal {
	r := policy.TooManyBytes
	r.Detail = fmt.Sprintf("Current transaction size %dmb > 10mb", (n+1<<20-1)>>20)
	return &r
}

func tooOld(age, limit time.Duration) *policy.Refusal {
	r := policy.TooOld
	r.Detail = fmt.Sprintf("Current transaction age %ds exceeds %ds", int(age.Seconds()), int(limit.Seconds()))
	return &r
}

// noParameter is the error of a Query that has a parameter.
func noParameter(e entry) *pgproto3.ErrorResponse {
	r := &policy.Refusal{Code: "42P02", Message: "there is no parameter $1"}
	sql := e.dec.Text
	for lx := sqllex.New(sql); ; {
		tok := lx.Next()
		if tok.Kind == sqllex.Param {
			r.Message = "there is no parameter " + sql[tok.Start:tok.End]
			r.Position = utf8.RuneCountInString(sql[:tok.Start]) + 1
		}
		if tok.Kind == sqllex.Param || tok.Kind == sqllex.EOF {
			return response("ERROR", r, e.offset)
		}
	}
}

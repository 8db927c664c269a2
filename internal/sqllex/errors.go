package sqllex

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// The reasons an [Error] wraps; test for them with [errors.Is].
var (
	// ErrUnterminated: a string, quoted identifier, dollar quote, block
	// comment or BEGIN ATOMIC body has no end.
	ErrUnterminated = errors.New("unterminated")
	// ErrUnbalanced: a parenthesis has no partner.
	ErrUnbalanced = errors.New("unbalanced parenthesis")
	// ErrEncoding: the text is not UTF-8, or holds a NUL byte, which no
	// PostgreSQL server accepts.
	ErrEncoding = errors.New("not valid UTF-8 text")
	// ErrPsqlCommand: a psql command such as \connect, which is not SQL.
	ErrPsqlCommand = errors.New("psql command")
	// ErrCopyStdio: COPY that reads from or writes to the client.
	ErrCopyStdio = errors.New("COPY through the client")
	// ErrDelimiter: a DELIMITER line or delimiter directive without text.
	ErrDelimiter = errors.New("empty delimiter")
)

// Error says where a text is wrong and what to do about it.
type Error struct {
	Offset  int    // byte offset in the text
	Line    int    // from 1
	Col     int    // from 1, in characters
	Reason  error  // one of the Err values of this package
	Message string // what is wrong
	Hint    string // what to do next; may be empty
}

// Error gives "line:col: message; hint", to be put behind "file:".
func (e *Error) Error() string {
	s := fmt.Sprintf("%d:%d: %s", e.Line, e.Col, e.Message)
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Reason }

func newError(src string, offset int, reason error, message, hint string) *Error {
	line, col := Position(src, offset)
	return &Error{Offset: offset, Line: line, Col: col, Reason: reason, Message: message, Hint: hint}
}

// Position gives the line and the column (both from 1, the column in
// characters) of a byte offset. Offsets beyond the text count as its end.
func Position(src string, offset int) (line, col int) {
	before := src[:max(0, min(offset, len(src)))]
	line = 1 + strings.Count(before, "\n")
	return line, 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

// checkEncoding refuses what no server would take.
func checkEncoding(src string) error {
	if i := strings.IndexByte(src, 0); i >= 0 {
		return newError(src, i, ErrEncoding, "NUL byte in SQL text",
			"save the file as UTF-8 without NUL bytes (UTF-16 files have them)")
	}
	if utf8.ValidString(src) {
		return nil
	}
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRuneInString(src[i:])
		if r == utf8.RuneError && n == 1 {
			return newError(src, i, ErrEncoding, fmt.Sprintf("byte 0x%02x is not UTF-8", src[i]),
				"save the file as UTF-8")
		}
		i += n
	}
	return nil
}

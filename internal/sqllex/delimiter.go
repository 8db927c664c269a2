package sqllex

import (
	"fmt"
	"strings"
)

// atDelimiter reports whether a delimiter other than the semicolon is next. It
// goes before comments and dollar quotes, as "-- end" and "$$" are common ones.
func (s *splitter) atDelimiter() bool {
	if s.delim == semicolon || s.depth > 0 || s.lx.pos >= len(s.src) {
		return false
	}
	rest := s.src[s.lx.pos:]
	switch {
	case rest[0] == '\'', rest[0] == '"':
		return false
	case s.start == none && len(rest) > len(delimiterWord) && isSpace(rest[len(delimiterWord)]) &&
		strings.EqualFold(rest[:len(delimiterWord)], delimiterWord):
		return false // even where the delimiter is the word "delimiter"
	}
	return strings.HasPrefix(rest, s.delim)
}

const delimiterWord = "DELIMITER"

// next gives the next token. Where a delimiter other than the semicolon may
// stand, tokens end before it; those in quotes and comments do not.
func (s *splitter) next() Token {
	pos := s.lx.pos
	if s.delim == semicolon || s.depth > 0 || pos >= len(s.src) {
		return s.lx.Next()
	}
	switch c, next := s.src[pos], s.lx.at(pos+1); {
	case c == '\'', c == '"', c == '$', c == '-' && next == '-', c == '/' && next == '*':
		return s.lx.Next()
	}
	if s.nextDelim <= pos {
		s.nextDelim = len(s.src)
		if i := strings.Index(s.src[pos+1:], s.delim); i >= 0 {
			s.nextDelim = pos + 1 + i
		}
	}
	s.lx.src = s.src[:s.nextDelim]
	tok := s.lx.Next()
	s.lx.src = s.src
	switch tok.Kind {
	case String, QuotedIdent, Invalid: // those with a letter before the quote
		s.lx.seek(pos)
		tok = s.lx.Next()
	}
	return tok
}

// delimiterCommand takes a "DELIMITER x" line.
func (s *splitter) delimiterCommand(tok Token) error {
	end := s.lx.lineEnd(tok.End)
	delim := strings.Trim(s.src[tok.End:end], whiteSpace)
	if n := len(delim); n >= 2 && delim[0] == '\'' && delim[n-1] == '\'' {
		delim = strings.ReplaceAll(delim[1:n-1], "''", "'")
	}
	if delim == "" {
		return newError(s.src, tok.Start, ErrDelimiter, "DELIMITER names no delimiter",
			"write it on the same line, for example DELIMITER //")
	}
	s.delim, s.nextDelim = unescape(delim), 0
	s.lx.seek(end)
	s.comments = s.comments[:0]
	return nil
}

// psqlHints say what to write in place of a psql command.
var psqlHints = map[string]string{
	"c":          "the connection is that of the environment's url",
	"connect":    "the connection is that of the environment's url",
	"i":          "put the file's SQL here or into a migration of its own",
	"ir":         "put the file's SQL here or into a migration of its own",
	"include":    "put the file's SQL here or into a migration of its own",
	"copy":       "write INSERT statements, or COPY … FROM a file on the server",
	".":          "it ends COPY data, which is not SQL: write INSERT statements",
	"g":          "end the statement with ; instead",
	"gx":         "end the statement with ; instead",
	"restrict":   "pg_dump wrote it: delete the line",
	"unrestrict": "pg_dump wrote it: delete the line",
	"set":        "psql variables are not available: write the value",
}

func (s *splitter) psqlError(tok Token) error {
	word := tok.Text(s.src)[1:]
	if i := strings.IndexAny(word, whiteSpace+`\;'"`); i >= 0 {
		word = word[:i]
	}
	hint, ok := psqlHints[word]
	if !ok {
		hint = "it is not SQL: remove it, or run this file with psql"
	}
	return newError(s.src, tok.Start, ErrPsqlCommand,
		fmt.Sprintf(`\%s is a command of psql`, shorten(word)), hint)
}

func copyError(src string, start int, info Info) error {
	if info.Kind == CopyTo {
		return newError(src, start, ErrCopyStdio, "COPY … TO STDOUT sends data to the client, which has no place for it",
			"remove it, or run this file with psql")
	}
	return newError(src, start, ErrCopyStdio, "COPY … FROM STDIN reads data from the client, which has none",
		"write INSERT statements, or COPY … FROM a file or PROGRAM on the server, or run this file with psql")
}

package policy

import (
	"strings"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// plain reports whether a text is one query or change of rows with no word in
// it that could be about something DSQL refuses or does its own way, and its
// class. It is what most statements are, and makes no garbage.
func plain(sql string) (Class, bool) {
	lx := sqllex.New(sql)
	first := next(lx)
	class := DML
	switch {
	case first.Is(sql, "SELECT"):
		class = Read
	case first.Is(sql, "UPDATE"):
	case first.Is(sql, "INSERT") && next(lx).Is(sql, "INTO"), first.Is(sql, "DELETE") && next(lx).Is(sql, "FROM"):
	default:
		return control(sql, lx, first)
	}
	for depth := 0; ; {
		switch tok := next(lx); tok.Kind {
		case sqllex.EOF:
			return class, depth == 0
		case sqllex.Word:
			if special(sql[tok.Start:tok.End]) || class == Read && tok.Is(sql, "INTO") {
				return class, false
			}
		case sqllex.QuotedIdent:
			if sql[tok.Start] != '"' || special(sql[tok.Start+1:tok.End-1]) {
				return class, false
			}
		case sqllex.Punct:
			switch sql[tok.Start] {
			case '(':
				depth++
			case ')':
				if depth--; depth < 0 {
					return class, false
				}
			}
		case sqllex.Semicolon:
			return class, depth == 0 && next(lx).Kind == sqllex.EOF
		case sqllex.Invalid, sqllex.Meta, sqllex.Stray:
			return class, false
		}
	}
}

// control recognises BEGIN, COMMIT and ROLLBACK without any option.
func control(sql string, lx *sqllex.Lexer, first sqllex.Token) (Class, bool) {
	var class Class
	switch {
	case first.Is(sql, "BEGIN"):
		class = Begin
	case first.Is(sql, "COMMIT"), first.Is(sql, "END"):
		class = Commit
	case first.Is(sql, "ROLLBACK"), first.Is(sql, "ABORT"):
		class = Rollback
	default:
		return Read, false
	}
	tok := next(lx)
	if tok.Kind == sqllex.Semicolon {
		tok = next(lx)
	}
	return class, tok.Kind == sqllex.EOF
}

// next gives the next token that is neither space nor a comment.
func next(lx *sqllex.Lexer) sqllex.Token {
	for {
		if tok := lx.Next(); tok.Kind != sqllex.Space && tok.Kind != sqllex.Comment {
			return tok
		}
	}
}

// specialWords are those of which a rule or a change of the text may be about,
// by their first letter.
var specialWords = ['z' + 1][]string{
	'f': {"for"},
	's': {"set_config", "sys"},
	't': {"tablesample"},
	'w': {"with"},
}

// special reports whether a word needs a closer look.
func special(word string) bool {
	if word == "" {
		return false
	}
	c := word[0] | 0x20
	if c > 'z' {
		return false
	}
	if c == 'p' {
		return len(word) > 3 && strings.EqualFold(word[:3], "pg_")
	}
	for _, w := range specialWords[c] {
		if len(w) == len(word) && strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}

package policy

import (
	"strings"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// words are the tokens of a statement that matter.
type words struct {
	sql  string
	toks []sqllex.Token
}

// read gives the tokens of one statement, without semicolons before and behind
// it.
func read(sql string) words {
	w := words{sql: sql}
	for lx := sqllex.New(sql); ; {
		tok := next(lx)
		if tok.Kind == sqllex.EOF || tok.Kind == sqllex.Invalid {
			break
		}
		if tok.Kind != sqllex.Semicolon || len(w.toks) > 0 {
			w.toks = append(w.toks, tok)
		}
	}
	for n := len(w.toks); n > 0 && w.toks[n-1].Kind == sqllex.Semicolon; n-- {
		w.toks = w.toks[:n-1]
	}
	return w
}

// at gives a token, of kind EOF where there is none.
func (w words) at(i int) sqllex.Token {
	if i >= 0 && i < len(w.toks) {
		return w.toks[i]
	}
	return sqllex.Token{Start: len(w.sql), End: len(w.sql)}
}

// are reports whether the tokens from i on are these words.
func (w words) are(i int, texts ...string) bool {
	for n, text := range texts {
		if !w.at(i+n).Is(w.sql, text) {
			return false
		}
	}
	return true
}

// closing gives the index of the parenthesis that closes the one at i, or that
// behind the last token.
func (w words) closing(i int) int {
	for depth := 0; i < len(w.toks); i++ {
		switch tok := w.toks[i]; {
		case tok.IsPunct(w.sql, "("):
			depth++
		case tok.IsPunct(w.sql, ")"):
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(w.toks)
}

// ident gives the identifier at i as the server stores it.
func (w words) ident(i int) string { return sqllex.Ident(w.at(i).Text(w.sql)) }

func isName(t sqllex.Token) bool { return t.Kind == sqllex.Word || t.Kind == sqllex.QuotedIdent }

// literal spells a text as an SQL string, as the server reads it with
// standard_conforming_strings on, which cannot be switched off.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// quoted spells a name as a quoted identifier.
func quoted(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

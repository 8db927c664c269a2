package policy

import "github.com/aurora-migrate/aurora/internal/sqllex"

// split cuts a text into statements where the server does: at semicolons
// outside of parentheses and of BEGIN ATOMIC bodies. ok is false for a text
// that no server can read to its end; it is one piece then, because a server
// runs nothing of such a message.
func split(sql string) (pieces []string, ok bool) {
	var (
		body     body
		start    int  // of the piece
		depth    int  // of parentheses
		anything bool // the piece has more than space and comments
	)
	for lx := sqllex.New(sql); ; {
		tok := lx.Next()
		switch tok.Kind {
		case sqllex.Space, sqllex.Comment:
			continue
		case sqllex.Invalid, sqllex.Meta, sqllex.Stray:
			return []string{sql}, false
		case sqllex.EOF:
			if depth != 0 || body.open {
				return []string{sql}, false
			}
			if n := len(pieces); n > 0 && !anything {
				pieces[n-1] = sql[start-len(pieces[n-1]):]
				return pieces, true
			}
			return append(pieces, sql[start:]), true
		case sqllex.Semicolon:
			if depth == 0 && !body.open {
				if anything {
					pieces = append(pieces, sql[start:tok.End])
					start, anything = tok.End, false
				}
				body.reset()
				continue
			}
		case sqllex.Punct:
			switch sql[tok.Start] {
			case '(':
				depth++
			case ')':
				if depth--; depth < 0 {
					return []string{sql}, false
				}
			}
		}
		anything = true
		if depth == 0 {
			body.token(sql, tok)
		}
	}
}

// A body follows CREATE [OR REPLACE] FUNCTION | PROCEDURE … BEGIN ATOMIC … END,
// the one place where semicolons do not end a statement.
type body struct {
	words   int  // matched of CREATE OR REPLACE FUNCTION
	routine bool // it is such a statement
	other   bool // it is another one
	open    bool
	prev    sqllex.Token
}

func (b *body) reset() { *b = body{} }

func (b *body) token(sql string, tok sqllex.Token) {
	switch {
	case b.other:
		return
	case b.open:
		// Statements of a body end with a semicolon, so that END is the body's
		// own only where a statement could begin.
		b.open = !tok.Is(sql, "END") || b.prev.Kind != sqllex.Semicolon && !b.prev.Is(sql, "ATOMIC")
	case b.routine:
		b.open = tok.Is(sql, "ATOMIC") && b.prev.Is(sql, "BEGIN")
	case b.words == 0 && tok.Is(sql, "CREATE"), b.words == 1 && tok.Is(sql, "OR"), b.words == 2 && tok.Is(sql, "REPLACE"):
		b.words++
	case (b.words == 1 || b.words == 3) && (tok.Is(sql, "FUNCTION") || tok.Is(sql, "PROCEDURE")):
		b.routine = true
	default:
		b.other = true
	}
	b.prev = tok
}

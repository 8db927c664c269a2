package sqllex

import "strings"

// cursor reads the tokens of a statement that matter, with some lookahead.
type cursor struct {
	src   string
	lx    Lexer
	ahead [6]Token
	n     int
	last  Token // the last one taken
}

func newCursor(src string) *cursor { return &cursor{src: src, lx: Lexer{src: src}} }

// peek gives the i-th token from here without taking it; i is below 6.
func (c *cursor) peek(i int) Token {
	for c.n <= i {
		tok := c.lx.Next()
		if tok.Kind == Space || tok.Kind == Comment {
			continue
		}
		c.ahead[c.n] = tok
		c.n++
	}
	return c.ahead[i]
}

// take takes the next token.
func (c *cursor) take() Token {
	c.last = c.peek(0)
	copy(c.ahead[:], c.ahead[1:c.n])
	c.n--
	return c.last
}

// atEnd reports whether the statement is at its end or its semicolon.
func (c *cursor) atEnd() bool {
	switch c.peek(0).Kind {
	case EOF, Semicolon, Invalid:
		return true
	}
	return false
}

// is reports whether the next tokens are these words.
func (c *cursor) is(words ...string) bool {
	for i, w := range words {
		if !c.peek(i).Is(c.src, w) {
			return false
		}
	}
	return true
}

// isOneOf reports whether the next token is one of the words.
func (c *cursor) isOneOf(words ...string) bool {
	for _, w := range words {
		if c.peek(0).Is(c.src, w) {
			return true
		}
	}
	return false
}

// skip takes the next tokens if they are these words.
func (c *cursor) skip(words ...string) bool {
	if !c.is(words...) {
		return false
	}
	for range words {
		c.take()
	}
	return true
}

func (c *cursor) isPunct(text string) bool { return c.peek(0).IsPunct(c.src, text) }

func isIdent(t Token) bool { return t.Kind == Word || t.Kind == QuotedIdent }

// ident takes an identifier; it is empty if there is none.
func (c *cursor) ident() string {
	if !isIdent(c.peek(0)) {
		return ""
	}
	return Ident(c.take().Text(c.src))
}

// name takes a name with dots. Of three parts, which begin with the database,
// it keeps the last two.
func (c *cursor) name() Name {
	if !isIdent(c.peek(0)) {
		return Name{}
	}
	n := Name{Span: Span{Start: c.peek(0).Start}}
	n.Name = c.ident()
	for c.isPunct(".") && isIdent(c.peek(1)) {
		c.take()
		n.Schema, n.Name = n.Name, c.ident()
	}
	n.Span.End = c.last.End
	return n
}

// skipParens takes a parenthesised group if one is next.
func (c *cursor) skipParens() bool {
	if !c.isPunct("(") {
		return false
	}
	for depth := 0; !c.atEndOfText(); {
		tok := c.take()
		depth += parens(c.src, tok)
		if depth == 0 {
			break
		}
	}
	return true
}

// atEndOfText is atEnd for places where a semicolon may stand inside.
func (c *cursor) atEndOfText() bool {
	k := c.peek(0).Kind
	return k == EOF || k == Invalid
}

// parens gives 1 for an opening parenthesis, -1 for a closing one.
func parens(src string, t Token) int {
	if t.Kind == Punct {
		switch src[t.Start] {
		case '(':
			return 1
		case ')':
			return -1
		}
	}
	return 0
}

// brackets gives 1 for an opening bracket, -1 for a closing one.
func brackets(src string, t Token) int {
	if t.Kind == Punct {
		switch src[t.Start] {
		case '[':
			return 1
		case ']':
			return -1
		}
	}
	return 0
}

// upper takes a word and gives it in upper case.
func (c *cursor) upper() string { return strings.ToUpper(c.take().Text(c.src)) }

// ContainsWord reports whether the statement has the word as an identifier or
// keyword: unquoted in any case of letters, or quoted as the server would fold
// it. Words in strings, comments and dollar-quoted bodies do not count.
func ContainsWord(stmt, word string) bool {
	folded := Ident(word)
	for lx := New(stmt); ; {
		switch tok := lx.Next(); tok.Kind {
		case EOF:
			return false
		case Word:
			if tok.Is(stmt, word) {
				return true
			}
		case QuotedIdent:
			if Ident(tok.Text(stmt)) == folded {
				return true
			}
		}
	}
}

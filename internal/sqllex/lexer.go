package sqllex

import "strings"

// Kind is the kind of a [Token].
type Kind uint8

// The kinds of tokens.
const (
	EOF          Kind = iota // the end; an empty token
	Space                    // blanks and newlines; a byte order mark at the very start
	Comment                  // -- to the end of the line (without it), or /* nested */
	Word                     // keyword or unquoted identifier
	QuotedIdent              // "a" and U&"a"
	String                   // 'a', E'a', U&'a', B'1', X'f', N'a', with their continuation lines
	DollarString             // $$a$$ and $tag$a$tag$
	Number                   // 1, 1.5e3, 0x1f, 1_000; also with trailing junk, as the server sees it
	Param                    // $1
	Operator                 // + - * / < > = ~ ! @ # % ^ & | ` ? in one or more characters
	Punct                    // ( ) [ ] , . : and :: := ..
	Semicolon                // ;
	Meta                     // a psql command: a backslash outside quotes, to the end of the line
	Stray                    // a byte that begins no token, such as { or a lone $
	Invalid                  // the rest of the text from an opening quote or comment without an end
)

var kindNames = [...]string{
	"EOF", "Space", "Comment", "Word", "QuotedIdent", "String", "DollarString", "Number",
	"Param", "Operator", "Punct", "Semicolon", "Meta", "Stray", "Invalid",
}

// String gives the name of the constant.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "Kind?"
}

// Token is one piece of a text. The tokens of a text, joined, are the text.
type Token struct {
	Kind       Kind
	Start, End int // byte offsets
}

// Text gives the token's piece of the text it was made from.
func (t Token) Text(src string) string { return src[t.Start:t.End] }

// Is reports whether the token is the unquoted word, in any case of letters.
func (t Token) Is(src, word string) bool {
	return t.Kind == Word && t.End-t.Start == len(word) && word != "" &&
		src[t.Start]|0x20 == word[0]|0x20 && // this is asked very often
		strings.EqualFold(src[t.Start:t.End], word)
}

// IsPunct reports whether the token is the punctuation given.
func (t Token) IsPunct(src, text string) bool {
	return t.Kind == Punct && src[t.Start:t.End] == text
}

// Lexer cuts a text into tokens. Make one with [New].
type Lexer struct {
	src string
	pos int
	bad unterminated // what is behind an Invalid token
	// run caches what is known about the operator characters around pos, so
	// that "+++++…", which is one token per character, takes linear time.
	run opRun
}

// New gives a Lexer at the start of the text.
func New(src string) *Lexer { return &Lexer{src: src} }

// unterminated is what an Error is made of; making it takes time.
type unterminated struct {
	what, hint string
	start      int
}

// Err gives the error behind an [Invalid] token: an [*Error] that wraps
// [ErrUnterminated]. It is nil before there is one.
func (l *Lexer) Err() error {
	if l.bad.what == "" {
		return nil
	}
	return newError(l.src, l.bad.start, ErrUnterminated, "unterminated "+l.bad.what, l.bad.hint)
}

// Next gives the next token, at the end one of kind [EOF]. It takes any bytes;
// bytes from 0x80 on are letters, as they are for PostgreSQL.
func (l *Lexer) Next() Token {
	start := l.pos
	if start >= len(l.src) {
		return Token{EOF, start, start}
	}
	kind, end := l.scan(start)
	l.pos = end
	return Token{kind, start, end}
}

// seek makes the next token begin at pos.
func (l *Lexer) seek(pos int) {
	l.pos, l.bad, l.run = pos, unterminated{}, opRun{}
}

// at gives the byte at i, and 0 behind the end.
func (l *Lexer) at(i int) byte {
	if i < len(l.src) {
		return l.src[i]
	}
	return 0
}

const byteOrderMark = "\uFEFF"

func (l *Lexer) scan(i int) (Kind, int) {
	c, next := l.src[i], l.at(i+1)
	switch {
	case isSpace(c):
		return Space, l.skipSpace(i)
	case i == 0 && strings.HasPrefix(l.src, byteOrderMark):
		return Space, l.skipSpace(len(byteOrderMark))
	case isIdentStart(c):
		return l.word(i, c, next)
	case isDigit(c), c == '.' && isDigit(next):
		return Number, l.number(i)
	case c == '\'':
		return l.str(i, i+1, true, false)
	case c == '"':
		return l.quotedIdent(i, i+1)
	case c == '$':
		return l.dollar(i)
	case c == '-' && next == '-':
		return Comment, l.lineEnd(i)
	case c == '/' && next == '*':
		return l.blockComment(i)
	case isOperator(c):
		return Operator, l.operator(i)
	case c == ';':
		return Semicolon, i + 1
	case c == ':' && (next == ':' || next == '='), c == '.' && next == '.':
		return Punct, i + 2
	case strings.IndexByte("()[],.:", c) >= 0:
		return Punct, i + 1
	case c == '\\':
		return Meta, l.lineEnd(i)
	}
	return Stray, i + 1
}

func isSpace(c byte) bool {
	// \v is white space since PostgreSQL 16, an error before.
	return c == ' ' || c >= '\t' && c <= '\r'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isIdentStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func isIdentPart(c byte) bool { return isIdentStart(c) || isDigit(c) || c == '$' }

func isOperator(c byte) bool {
	switch c {
	case '+', '-', '*', '/', '<', '>', '=', '~', '!', '@', '#', '%', '^', '&', '|', '`', '?':
		return true
	}
	return false
}

func (l *Lexer) skipSpace(i int) int {
	for i < len(l.src) && isSpace(l.src[i]) {
		i++
	}
	return i
}

func (l *Lexer) skipIdent(i int) int {
	for i < len(l.src) && isIdentPart(l.src[i]) {
		i++
	}
	return i
}

// skipDigits skips digits and, as PostgreSQL 16 has it, single _ between them.
func (l *Lexer) skipDigits(i int) int {
	for isDigit(l.at(i)) || l.at(i) == '_' && i > 0 && isDigit(l.src[i-1]) && isDigit(l.at(i+1)) {
		i++
	}
	return i
}

// lineEnd gives the offset of the newline, which may be \n or \r, or the end.
func (l *Lexer) lineEnd(i int) int {
	for i < len(l.src) && l.src[i] != '\n' && l.src[i] != '\r' {
		i++
	}
	return i
}

// word scans what begins with a letter: also strings with a prefix.
func (l *Lexer) word(i int, c, next byte) (Kind, int) {
	switch next {
	case '\'':
		switch c {
		case 'e', 'E':
			return l.str(i, i+2, true, true)
		case 'n', 'N':
			return l.str(i, i+2, true, false)
		case 'b', 'B', 'x', 'X':
			return l.str(i, i+2, false, false)
		}
	case '&':
		if c != 'u' && c != 'U' {
			break
		}
		switch l.at(i + 2) {
		case '\'':
			return l.str(i, i+3, true, false)
		case '"':
			return l.quotedIdent(i, i+3)
		}
	}
	return Word, l.skipIdent(i + 1)
}

// str scans a string that begins at start and whose first character is at i.
// With doubled, ” is a quote inside it; with escapes, so is \'.
func (l *Lexer) str(start, i int, doubled, escapes bool) (Kind, int) {
	for {
		if i = l.closingQuote(i, escapes); i < 0 {
			return l.unterminated(start, "string", "close it with '")
		}
		i++
		if doubled && l.at(i) == '\'' {
			i++
			continue
		}
		next, ok := l.continued(i)
		if !ok {
			return String, i
		}
		i = next
	}
}

// closingQuote gives the offset of the next quote, -1 if there is none.
func (l *Lexer) closingQuote(i int, escapes bool) int {
	if !escapes {
		if n := strings.IndexByte(l.src[i:], '\''); n >= 0 {
			return i + n
		}
		return -1
	}
	for ; i < len(l.src); i++ {
		switch l.src[i] {
		case '\'':
			return i
		case '\\':
			i++
		}
	}
	return -1
}

// continued reports whether the string that ends at i goes on behind white
// space with a newline in it, and where.
func (l *Lexer) continued(i int) (int, bool) {
	newline := false
	for i < len(l.src) {
		switch c := l.src[i]; {
		case c == '\n' || c == '\r':
			newline = true
			i++
		case isSpace(c):
			i++
		case c == '-' && l.at(i+1) == '-':
			i = l.lineEnd(i)
		default:
			return i + 1, newline && c == '\''
		}
	}
	return i, false
}

func (l *Lexer) quotedIdent(start, i int) (Kind, int) {
	for {
		n := strings.IndexByte(l.src[i:], '"')
		if n < 0 {
			return l.unterminated(start, "quoted identifier", `close it with "`)
		}
		i += n + 1
		if l.at(i) != '"' {
			return QuotedIdent, i
		}
		i++
	}
}

// dollar scans $1, $tag$…$tag$ or a lone $.
func (l *Lexer) dollar(start int) (Kind, int) {
	i := start + 1
	if isDigit(l.at(i)) {
		i = l.skipDigits(i)
		if isIdentStart(l.at(i)) {
			i = l.skipIdent(i)
		}
		return Param, i
	}
	if isIdentStart(l.at(i)) {
		for i++; i < len(l.src) && l.src[i] != '$' && isIdentPart(l.src[i]); {
			i++
		}
	}
	if l.at(i) != '$' {
		return Stray, start + 1
	}
	tag := l.src[start : i+1]
	n := strings.Index(l.src[i+1:], tag)
	if n < 0 {
		return l.unterminated(start, "dollar-quoted string", "close it with "+shorten(tag))
	}
	return DollarString, i + 1 + n + len(tag)
}

func (l *Lexer) blockComment(start int) (Kind, int) {
	depth := 1
	for i := start + 2; i+1 < len(l.src); {
		switch {
		case l.src[i] == '*' && l.src[i+1] == '/':
			depth--
			i += 2
			if depth == 0 {
				return Comment, i
			}
		case l.src[i] == '/' && l.src[i+1] == '*':
			depth++
			i += 2
		default:
			i++
		}
	}
	return l.unterminated(start, "/* comment", "close it with */ (comments nest: every /* inside needs its own */)")
}

func (l *Lexer) unterminated(start int, what, hint string) (Kind, int) {
	l.bad = unterminated{what, hint, start}
	return Invalid, len(l.src)
}

func shorten(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// number scans a number and what the server would call the junk behind it.
func (l *Lexer) number(i int) int {
	i = l.skipDigits(i)
	// "1..2" is 1, .. and 2.
	if l.at(i) == '.' && l.at(i+1) != '.' {
		i = l.skipDigits(i + 1)
	}
	if c, sign := l.at(i), l.at(i+1); (c == 'e' || c == 'E') && (sign == '+' || sign == '-') {
		if i += 2; !isDigit(l.at(i)) {
			return i
		}
		i = l.skipDigits(i)
	}
	// An exponent without sign, the letters of 0x1f, and junk.
	if isIdentStart(l.at(i)) {
		i = l.skipIdent(i)
	}
	return i
}

// opRun is a run of operator characters up to the first comment in it.
type opRun struct {
	end     int // where the run ends
	special int // the last of ~ ! @ # ^ & | ` ? % in it, -1 for none
	other   int // the last character that is neither + nor -, -1 for none
}

// operator gives the end of the operator at start: as many operator characters
// as there are before a comment, without trailing + and - unless one of the
// characters that standard SQL has no operators of is among them.
func (l *Lexer) operator(start int) int {
	if start >= l.run.end {
		l.run = l.findRun(start)
	}
	run := l.run
	if last := l.src[run.end-1]; last != '+' && last != '-' || run.special >= start {
		return run.end
	}
	return max(start, run.other) + 1
}

func (l *Lexer) findRun(start int) opRun {
	run := opRun{end: start, special: -1, other: -1}
	for i := start; i < len(l.src) && isOperator(l.src[i]); i++ {
		c, next := l.src[i], l.at(i+1)
		if i > start && (c == '-' && next == '-' || c == '/' && next == '*') {
			break
		}
		switch c {
		case '+', '-':
		case '*', '/', '<', '>', '=':
			run.other = i
		default:
			run.special, run.other = i, i
		}
		run.end = i + 1
	}
	return run
}

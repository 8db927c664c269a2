package dsql

import (
	"sort"
	"strconv"
	"strings"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A feature is something special in a statement, which a rule may be about.
type feature struct {
	name  string // as in Rule.Match
	value string // put into messages
	n     int64  // compared with limits
	span  sqllex.Span
	// fix are the edits that remove the feature without changing what the
	// statement means, if there are such.
	fix []sqllex.Edit
}

// A reader reads tokens that matter: no space, no comments, and no semicolons
// before or behind the statement.
type reader struct {
	src  string
	toks []sqllex.Token
	i    int
}

func newReader(src string) *reader {
	r := &reader{src: src}
	for lx := sqllex.New(src); ; {
		switch tok := lx.Next(); tok.Kind {
		case sqllex.Space, sqllex.Comment:
		case sqllex.Semicolon:
			if len(r.toks) > 0 {
				r.toks = append(r.toks, tok)
			}
		case sqllex.EOF, sqllex.Invalid:
			for len(r.toks) > 0 && r.toks[len(r.toks)-1].Kind == sqllex.Semicolon {
				r.toks = r.toks[:len(r.toks)-1]
			}
			return r
		default:
			r.toks = append(r.toks, tok)
		}
	}
}

// within gives a reader of the tokens inside a span.
func (r *reader) within(span sqllex.Span) *reader {
	from := sort.Search(len(r.toks), func(i int) bool { return r.toks[i].Start >= span.Start })
	to := sort.Search(len(r.toks), func(i int) bool { return r.toks[i].End > span.End })
	to = max(from, to)
	return &reader{src: r.src, toks: r.toks[from:to]}
}

// at gives the token n places from here, of kind EOF outside of the text.
func (r *reader) at(n int) sqllex.Token {
	if i := r.i + n; i >= 0 && i < len(r.toks) {
		return r.toks[i]
	}
	return sqllex.Token{Start: len(r.src), End: len(r.src)}
}

func (r *reader) done() bool { return r.i >= len(r.toks) }

func (r *reader) take() sqllex.Token {
	t := r.at(0)
	if !r.done() {
		r.i++
	}
	return t
}

// is reports whether the next tokens are these words.
func (r *reader) is(words ...string) bool {
	for n, w := range words {
		if !r.at(n).Is(r.src, w) {
			return false
		}
	}
	return true
}

func (r *reader) isOneOf(words ...string) bool {
	for _, w := range words {
		if r.at(0).Is(r.src, w) {
			return true
		}
	}
	return false
}

func (r *reader) skip(words ...string) bool {
	if !r.is(words...) {
		return false
	}
	r.i += len(words)
	return true
}

func (r *reader) isPunct(text string) bool { return r.at(0).IsPunct(r.src, text) }

func isIdent(t sqllex.Token) bool { return t.Kind == sqllex.Word || t.Kind == sqllex.QuotedIdent }

// ident takes an identifier, as the server stores it; it is empty if there is
// none.
func (r *reader) ident() string {
	if !isIdent(r.at(0)) {
		return ""
	}
	return sqllex.Ident(r.take().Text(r.src))
}

// name takes a name with dots and gives its parts.
func (r *reader) name() []string {
	var parts []string
	for isIdent(r.at(0)) {
		parts = append(parts, r.ident())
		if !r.isPunct(".") || !isIdent(r.at(1)) {
			break
		}
		r.take()
	}
	return parts
}

// nesting gives 1 for what opens a group, -1 for what closes one.
func nesting(src string, t sqllex.Token) int {
	if t.Kind == sqllex.Punct {
		switch src[t.Start] {
		case '(', '[':
			return 1
		case ')', ']':
			return -1
		}
	}
	return 0
}

// group takes a group in parentheses, if one is next, and gives readers of its
// parts between commas.
func (r *reader) group() []*reader {
	if !r.isPunct("(") {
		return nil
	}
	r.take()
	var parts []*reader
	start := r.i
	part := func(end int) {
		if end > start {
			parts = append(parts, &reader{src: r.src, toks: r.toks[start:end]})
		}
		start = end + 1
	}
	for depth := 1; !r.done(); {
		t := r.take()
		depth += nesting(r.src, t)
		switch {
		case depth == 0:
			part(r.i - 1)
			return parts
		case depth == 1 && t.IsPunct(r.src, ","):
			part(r.i - 1)
		}
	}
	part(r.i)
	return parts
}

// skipTo moves to the first of the words outside of groups, and not behind a
// dot; it reports whether there is one.
func (r *reader) skipTo(words ...string) bool {
	for ; !r.done(); r.i++ {
		if nesting(r.src, r.at(0)) > 0 {
			r.skipGroup()
			r.i--
			continue
		}
		if r.isOneOf(words...) && !r.at(-1).IsPunct(r.src, ".") {
			return true
		}
	}
	return false
}

// skipGroup takes a group in parentheses or brackets, or else one token.
func (r *reader) skipGroup() {
	for depth := 0; !r.done(); {
		if depth += nesting(r.src, r.take()); depth <= 0 {
			return
		}
	}
}

// number gives the value of a token that is a whole number.
func number(src string, t sqllex.Token) (int64, bool) {
	if t.Kind != sqllex.Number {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(t.Text(src), "_", ""), 10, 64)
	return n, err == nil
}

// span gives the range of the tokens from i up to where the reader is.
func (r *reader) span(i int) sqllex.Span {
	if i >= len(r.toks) || r.i <= i {
		return sqllex.Span{Start: r.at(0).Start, End: r.at(0).End}
	}
	return sqllex.Span{Start: r.toks[i].Start, End: r.toks[r.i-1].End}
}

func spanOf(t sqllex.Token) sqllex.Span { return sqllex.Span{Start: t.Start, End: t.End} }

// removal is the edit that removes a span, with the space on one side of it so
// that the text around it does not grow together.
func removal(src string, span sqllex.Span) sqllex.Edit {
	left := span.Start > 0 && isBlank(src[span.Start-1])
	right := span.End < len(src) && isBlank(src[span.End])
	switch {
	case left && (right || span.End == len(src) || strings.IndexByte("),;", src[span.End]) >= 0):
		// A newline before it may end a comment, so only blanks go.
		for span.Start > 0 && src[span.Start-1] == ' ' {
			span.Start--
		}
		return sqllex.Edit{Span: span}
	case left, right:
		return sqllex.Edit{Span: span}
	}
	return sqllex.Edit{Span: span, Text: " "}
}

func isBlank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

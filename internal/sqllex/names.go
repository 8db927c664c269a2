package sqllex

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Span is a range of bytes in a statement. The zero Span stands for nothing.
type Span struct{ Start, End int }

// IsZero reports whether the span stands for nothing.
func (s Span) IsZero() bool { return s == Span{} }

// Name is the name of an object, perhaps with its schema.
type Name struct {
	// Schema is empty when the statement does not say it.
	Schema string
	// Name is as the server stores it: unquoted words in lower case, quoted
	// ones without their quotes, both cut to 63 bytes.
	Name string
	// Span is where the name stands, schema included.
	Span Span
}

// IsZero reports whether there is no name.
func (n Name) IsZero() bool { return n.Name == "" && n.Schema == "" }

// String gives the name as it can be written in SQL, with quotes only where
// they are needed for letters and signs (reserved words are not quoted).
func (n Name) String() string {
	if n.Schema == "" {
		return quoteIdent(n.Name)
	}
	return quoteIdent(n.Schema) + "." + quoteIdent(n.Name)
}

func quoteIdent(s string) string {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'A' && c <= 'Z' || !isIdentPart(c) || i == 0 && !isIdentStart(c) {
			return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
		}
	}
	if s == "" {
		return `""`
	}
	return s
}

// Ident gives the identifier that a token's text stands for, as the server
// stores it: a, "a", U&"a" with the escape character \.
func Ident(text string) string {
	switch {
	case strings.HasPrefix(text, `"`):
		text = unquote(text)
	case len(text) > 3 && text[1] == '&':
		text = decodeUnicode(unquote(text[2:]))
	default:
		// The server folds ASCII letters only, in a UTF-8 database.
		text = strings.Map(func(r rune) rune {
			if r >= 'A' && r <= 'Z' {
				return r + 'a' - 'A'
			}
			return r
		}, text)
	}
	return truncate(text)
}

func unquote(text string) string {
	text = strings.TrimSuffix(strings.TrimPrefix(text, `"`), `"`)
	return strings.ReplaceAll(text, `""`, `"`)
}

// maxIdent is NAMEDATALEN-1, the bytes PostgreSQL keeps of an identifier.
const maxIdent = 63

func truncate(s string) string {
	if len(s) <= maxIdent {
		return s
	}
	n := maxIdent
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// decodeUnicode resolves \XXXX, \+XXXXXX and \\; what is malformed stays.
func decodeUnicode(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		digits, width := "", 0
		switch {
		case s[i] != '\\':
		case strings.HasPrefix(s[i:], `\\`):
			b.WriteByte('\\')
			i += 2
			continue
		case strings.HasPrefix(s[i:], `\+`) && len(s) >= i+8:
			digits, width = s[i+2:i+8], 8
		case len(s) >= i+5:
			digits, width = s[i+1:i+5], 5
		}
		if r, err := strconv.ParseUint(digits, 16, 32); err == nil && r <= utf8.MaxRune {
			b.WriteRune(rune(r))
			i += width
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

// Edit is one replacement in a statement. An empty range inserts.
type Edit struct {
	Span Span
	Text string
}

// Apply makes the edits, which must be in order, inside the text, and must not
// overlap; the error says which one is not.
func Apply(text string, edits ...Edit) (string, error) {
	var b strings.Builder
	pos := 0
	for i, e := range edits {
		if e.Span.Start < pos || e.Span.End < e.Span.Start || e.Span.End > len(text) {
			return "", fmt.Errorf("edit %d: range %d to %d is not in order or not in the statement", i, e.Span.Start, e.Span.End)
		}
		b.WriteString(text[pos:e.Span.Start])
		b.WriteString(e.Text)
		pos = e.Span.End
	}
	b.WriteString(text[pos:])
	return b.String(), nil
}

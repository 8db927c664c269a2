package report

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// titleWidth bounds what FirstLine returns, in characters.
const titleWidth = 72

// FirstLine returns the first line of a Markdown text that says something, as
// plain text on one line of at most 72 characters. It is empty when none does.
func FirstLine(markdown string) string {
	for line := range strings.Lines(Plain(markdown)) {
		text := strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(line), "#>-*+"))
		if text == "" || strings.HasPrefix(text, "```") {
			continue
		}
		text = Paint(false).inline(text)
		if utf8.RuneCountInString(text) > titleWidth {
			text = strings.TrimSpace(string([]rune(text)[:titleWidth-1])) + "…"
		}
		return text
	}
	return ""
}

// Plain returns a text without what controls a terminal.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r':
			return -1
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return '\ufffd'
		}
		return r
	}, text)
}

// Markdown returns a Markdown text as people read it in a terminal: headings
// and emphasis without their signs, links with their addresses behind them,
// code indented. Lines stay lines. What is no Markdown stays as it is.
func (p Paint) Markdown(text string) string {
	var b strings.Builder
	fence := ""
	for line := range strings.Lines(Plain(text)) {
		line = strings.TrimRight(line, " \t\n")
		body := strings.TrimLeft(line, " \t")
		indent := line[:len(line)-len(body)]
		switch mark := fenceOf(body); {
		case fence != "" && strings.HasPrefix(mark, fence) && mark == body:
			fence = ""
			continue
		case fence != "":
			line = "    " + line
		case mark != "":
			fence = mark
			continue
		default:
			line = indent + p.block(body)
		}
		b.WriteString(line + "\n")
	}
	return strings.Trim(b.String(), "\n")
}

// fenceOf returns the backticks or tildes with which a line opens or closes a
// block of code, or "".
func fenceOf(line string) string {
	for _, sign := range []string{"`", "~"} {
		rest := strings.TrimLeft(line, sign)
		if n := len(line) - len(rest); n >= 3 && !strings.Contains(rest, sign) {
			return line[:n]
		}
	}
	return ""
}

// block renders one line: a heading, an item, a quotation or a text.
func (p Paint) block(line string) string {
	heading := strings.TrimLeft(line, "#")
	if n := len(line) - len(heading); n > 0 && n <= 6 && strings.HasPrefix(heading, " ") {
		return p.wrap("1", strings.TrimRight(Paint(false).inline(strings.TrimSpace(heading)), " #"), nil)
	}
	if rest, ok := strings.CutPrefix(line, "> "); ok {
		return "| " + p.inline(rest)
	}
	if len(line) > 1 && strings.Contains("-*+", line[:1]) && line[1] == ' ' {
		return "- " + p.inline(line[2:])
	}
	return p.inline(line)
}

// spanLimit bounds what one pair of signs may enclose, in bytes: looking for the
// other sign of each must not take forever in a text that is made of them.
const spanLimit = 400

// inline renders what stands within a line.
func (p Paint) inline(s string) string {
	var b strings.Builder
	before := ' '
	for s != "" {
		text, n := p.span(s, before)
		b.WriteString(text)
		before, _ = utf8.DecodeLastRuneInString(s[:n])
		s = s[n:]
	}
	return b.String()
}

// span renders the first part of a text that follows the character before, and
// returns how many bytes that was.
func (p Paint) span(s string, before rune) (text string, n int) {
	whole := s
	s = s[:min(len(s), spanLimit)]
	switch s[0] {
	case '\\':
		if len(s) > 1 && strings.ContainsRune("\\`*_{}[]()#+-.!<>|", rune(s[1])) {
			return s[1:2], 2
		}
	case '`':
		if code, rest, ok := strings.Cut(s[1:], "`"); ok && code != "" {
			return p.Cyan(code), len(s) - len(rest)
		}
	case '<':
		if link, rest, ok := strings.Cut(s[1:], ">"); ok && strings.Contains(link, "://") && !strings.Contains(link, " ") {
			return link, len(s) - len(rest)
		}
	case '!', '[':
		if label, address, n := link(s); n > 0 {
			label = p.inline(label)
			if label == address || label == "" {
				return address, n
			}
			return label + " (" + address + ")", n
		}
	case '*', '_':
		if inner, marks, ok := emphasized(s, before); ok {
			text := p.inline(inner)
			if marks > 1 {
				text = p.wrap("1", text, nil)
			}
			return text, len(inner) + 2*marks
		}
	}
	_, n = utf8.DecodeRuneInString(whole)
	return whole[:n], n
}

// link reads [label](address) or ![label](address); n is 0 where there is none.
func link(s string) (label, address string, n int) {
	rest := strings.TrimPrefix(s, "!")
	label, after, ok := strings.Cut(strings.TrimPrefix(rest, "["), "](")
	if !ok || rest[0] != '[' || strings.ContainsAny(label, "[]") {
		return "", "", 0
	}
	address, after, ok = strings.Cut(after, ")")
	if !ok || address == "" || strings.Contains(address, " ") {
		return "", "", 0
	}
	return label, address, len(s) - len(after)
}

// emphasized reads *text*, **text** and the same with _, which does not count
// within words: names have it.
func emphasized(s string, before rune) (inner string, marks int, ok bool) {
	sign := s[:1]
	marks = len(s) - len(strings.TrimLeft(s, sign))
	if marks > 3 || len(s) == marks || s[marks] == ' ' || string(before) == sign || sign == "_" && isWord(before) {
		return "", 0, false
	}
	closing := s[:marks]
	for from := marks; ; {
		i := strings.Index(s[from:], closing)
		if i < 0 {
			return "", 0, false
		}
		at := from + i
		after, _ := utf8.DecodeRuneInString(s[at+marks:])
		if at > marks && s[at-1] != ' ' && s[at-1] != sign[0] && string(after) != sign && !(sign == "_" && isWord(after)) {
			return s[marks:at], marks, true
		}
		from = at + marks
	}
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }

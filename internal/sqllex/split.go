package sqllex

import (
	"strings"
	"unicode/utf8"
)

// Options change how [Split] cuts a script. The zero value is plain SQL.
type Options struct {
	// Delimiter ends statements in place of the semicolon, until a DELIMITER
	// line changes it. Empty means what the script's first line says (see
	// [DirectiveDelimiter]), else ";".
	Delimiter string
}

// Statement is one statement of a script.
type Statement struct {
	// Text is the script from Start to End: without comments and space around
	// it, with its semicolon, without a delimiter that is not a semicolon.
	Text       string
	Start, End int // byte offsets in the script
	Line, Col  int // of Start, from 1; Col counts characters
	// Comments are the comments directly above, each without its newline. An
	// empty line cuts off the comments above it.
	Comments []string
}

// Split cuts a script into statements where psql would: at semicolons outside
// of parentheses, quotes, comments and BEGIN ATOMIC bodies. Empty statements
// are left out. A "DELIMITER x" line, as MySQL clients and Atlas know it,
// changes what ends a statement; text up to such a delimiter is not cut at
// semicolons.
//
// For plain SQL, Text equals that of the Scanner of ariga.io/atlas/sql/migrate,
// on whose hashes Atlas's history of partly applied files depends.
//
// The error is an [*Error]; nothing is returned with it, as a script that is
// wrong somewhere must not run in part.
func Split(src string, opts Options) ([]Statement, error) {
	if err := checkEncoding(src); err != nil {
		return nil, err
	}
	s := splitter{src: src, lx: Lexer{src: src}, delim: opts.Delimiter, start: none, line: 1}
	if s.delim == "" {
		s.delim = semicolon
		if delim, rest, ok := directive(src); ok {
			if delim == "" {
				return nil, newError(src, 0, ErrDelimiter, "atlas:delimiter names no delimiter",
					`write it behind the word, for example "-- atlas:delimiter \n\n"`)
			}
			s.delim = delim
			s.lx.seek(rest)
		}
	}
	for {
		more, err := s.step()
		if err != nil {
			return nil, err
		}
		if !more {
			return s.stmts, nil
		}
	}
}

// DirectiveDelimiter gives the delimiter that a script's first line asks for
// with "-- atlas:delimiter X", with the escapes \n, \r and \t in X resolved.
func DirectiveDelimiter(src string) (delim string, ok bool) {
	delim, _, ok = directive(src)
	return delim, ok
}

const (
	semicolon = ";"
	none      = -1
)

// directive also gives where the second line begins.
func directive(src string) (delim string, rest int, ok bool) {
	line, _, _ := strings.Cut(src, "\n")
	rest = min(len(line)+1, len(src))
	line = strings.TrimPrefix(line, byteOrderMark)
	line, ok = strings.CutPrefix(strings.TrimSuffix(line, "\r"), "-- atlas:delimiter")
	if !ok || line != "" && line[0] != ' ' {
		return "", 0, false
	}
	return unescape(strings.TrimLeft(line, " ")), rest, true
}

func unescape(delim string) string {
	if strings.IndexByte(delim, '\\') < 0 {
		return delim
	}
	return strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\t`, "\t").Replace(delim)
}

// splitter is the state of Split.
type splitter struct {
	src   string
	lx    Lexer
	delim string
	stmts []Statement

	// The statement being read.
	start    int     // offset of its first token, none before it
	comments []Token // above it
	depth    int     // of parentheses
	open     int     // offset of the outermost open parenthesis
	routine  routine
	prev     Token // the last token that is neither space nor comment

	nextDelim int // cache of next: where a custom delimiter is

	// The offset up to which lines and characters are counted, and the counts.
	counted, line, col int
}

// step reads one token; more is false at the end.
func (s *splitter) step() (more bool, err error) {
	if s.atDelimiter() {
		pos := s.lx.pos
		s.lx.seek(pos + len(s.delim))
		return true, s.end(pos)
	}
	tok := s.next()
	switch tok.Kind {
	case EOF:
		return false, s.finish()
	case Invalid:
		return false, s.lx.Err()
	case Space:
		if s.start == none && isEmptyLine(tok.Text(s.src)) {
			s.comments = s.comments[:0]
		}
		return true, nil
	case Comment:
		if s.start == none {
			s.comments = append(s.comments, tok)
		}
		return true, nil
	case Meta:
		return false, s.psqlError(tok)
	case Word:
		if s.start == none && tok.Is(s.src, delimiterWord) {
			return true, s.delimiterCommand(tok)
		}
	}
	return true, s.significant(tok)
}

// significant takes a token of a statement.
func (s *splitter) significant(tok Token) error {
	if s.start == none {
		if tok.Kind == Semicolon && s.delim == semicolon {
			s.comments = s.comments[:0]
			return nil
		}
		s.start = tok.Start
	}
	switch {
	case tok.Kind == Punct && s.src[tok.Start] == '(':
		if s.depth == 0 {
			s.open = tok.Start
		}
		s.depth++
	case tok.Kind == Punct && s.src[tok.Start] == ')':
		if s.depth == 0 {
			return newError(s.src, tok.Start, ErrUnbalanced, "unexpected )", "remove it or add the ( it closes")
		}
		s.depth--
	case s.delim != semicolon:
	case tok.Kind == Word && s.depth == 0:
		s.routine.word(s.src, s.prev, tok)
	case tok.Kind == Semicolon && s.depth == 0 && !s.routine.inBody:
		return s.end(tok.End)
	}
	s.prev = tok
	return nil
}

// routine follows CREATE [OR REPLACE] FUNCTION | PROCEDURE … BEGIN ATOMIC …
// END, the one place where statements stand within a statement.
type routine struct {
	words  int  // matched of CREATE OR REPLACE FUNCTION
	is     bool // the statement creates a routine
	inBody bool
	body   int // offset of BEGIN
}

func (r *routine) word(src string, prev, tok Token) {
	switch {
	case r.inBody:
		// Statements of a body end with a semicolon, so END is the body's own
		// only where a statement could begin; "AS end" and CASE … END are not.
		if tok.Is(src, "END") && (prev.Kind == Semicolon || prev.Is(src, "ATOMIC")) {
			r.inBody = false
		}
	case r.is:
		if tok.Is(src, "ATOMIC") && prev.Is(src, "BEGIN") {
			r.inBody, r.body = true, prev.Start
		}
	case r.words == none:
	case r.words == 0 && tok.Is(src, "CREATE"),
		r.words == 1 && tok.Is(src, "OR"),
		r.words == 2 && tok.Is(src, "REPLACE"):
		r.words++
	case (r.words == 1 || r.words == 3) && (tok.Is(src, "FUNCTION") || tok.Is(src, "PROCEDURE")):
		r.is = true
	default:
		r.words = none
	}
}

// end checks and keeps the statement that ends at the offset, if there is one,
// and begins anew.
func (s *splitter) end(end int) error {
	if s.start != none {
		if text := s.src[s.start:end]; len(text) > 4 && strings.EqualFold(text[:4], "COPY") {
			if info := Classify(text); info.Stdio {
				return copyError(s.src, s.start, info)
			}
		}
		text := strings.TrimRight(s.src[s.start:end], whiteSpace)
		st := Statement{Text: text, Start: s.start, End: s.start + len(text)}
		st.Line, st.Col = s.position(s.start)
		if len(s.comments) > 0 {
			st.Comments = make([]string, len(s.comments))
			for i, c := range s.comments {
				st.Comments[i] = c.Text(s.src)
			}
		}
		s.stmts = append(s.stmts, st)
	}
	s.start, s.depth, s.routine, s.prev = none, 0, routine{}, Token{}
	s.comments = s.comments[:0]
	return nil
}

const whiteSpace = " \t\n\v\f\r"

// finish takes what stands behind the last delimiter.
func (s *splitter) finish() error {
	switch {
	case s.start == none:
		return nil
	case s.depth > 0:
		return newError(s.src, s.open, ErrUnbalanced, "unclosed (", "add the ) it needs")
	case s.routine.inBody:
		return newError(s.src, s.routine.body, ErrUnterminated, "unterminated BEGIN ATOMIC body",
			"end every statement in it with ; and the body with END;")
	}
	return s.end(len(s.src))
}

// position gives line and column of an offset not before the last one asked.
func (s *splitter) position(offset int) (line, col int) {
	piece := s.src[s.counted:offset]
	if n := strings.Count(piece, "\n"); n > 0 {
		s.line += n
		s.col = 0
		piece = piece[strings.LastIndexByte(piece, '\n')+1:]
	}
	s.col += utf8.RuneCountInString(piece)
	s.counted = offset
	return s.line, s.col + 1
}

// isEmptyLine reports whether the space behind a comment holds an empty line.
func isEmptyLine(space string) bool {
	space, ok := strings.CutPrefix(strings.TrimPrefix(space, "\r"), "\n")
	return ok && strings.HasPrefix(strings.TrimPrefix(space, "\r"), "\n")
}

// TrimSemicolon gives a statement's text without the semicolons, comments and
// space at its end, so that it can be sent, or more text put behind it.
func TrimSemicolon(text string) string {
	end := 0
	for lx := New(text); ; {
		switch tok := lx.Next(); tok.Kind {
		case EOF:
			return text[:end]
		case Space, Comment, Semicolon:
		default:
			end = tok.End
		}
	}
}

package sqlfile

import (
	"regexp"
	"strings"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// directives are what the comments at the head of a part ask for.
type directives struct {
	txMode   aurora.TxMode
	txLine   int
	snapshot bool
	oneOf    bool
}

const delimiterPrefix = "-- atlas:delimiter"

// known are the words of the directives, and whether one below the first
// statement is a mistake that would go unnoticed.
var known = map[string]bool{
	"txmode": true, "delimiter": true, "checkpoint": true, "txtar": true, "sum": true,
	"import": true, "assert": false, "nolint": false,
}

var directivePattern = regexp.MustCompile(`^(?i:(atlas)):([ \t]*)([A-Za-z][A-Za-z0-9_-]*)(?:[ \t]+(.*))?$`)

// directive returns the word and the arguments of a directive, known or not.
func (c comment) directive() (word, args string, ok bool) {
	m := c.match()
	if m == nil || m[1] != "atlas" || m[2] != "" {
		return "", "", false
	}
	return m[3], m[4], true
}

// match returns the pieces of what is or resembles a directive.
func (c comment) match() []string {
	body := c.text
	if inner, ok := strings.CutPrefix(body, "/*"); ok {
		body = strings.TrimSuffix(inner, "*/")
		if strings.Contains(body, "\n") {
			return nil
		}
	}
	body = strings.TrimRight(strings.TrimLeft(body, "-* \t"), " \t")
	// Most comments are long before a pattern need be tried.
	if len(body) < len("atlas:") || !strings.EqualFold(body[:len("atlas:")], "atlas:") {
		return nil
	}
	return directivePattern.FindStringSubmatch(body)
}

// meant returns the directive that a comment seems to have meant but missed.
func (c comment) meant() string {
	m := c.match()
	if m == nil {
		return ""
	}
	word := strings.ToLower(m[3])
	_, exact := known[word]
	switch {
	case m[1] == "atlas" && m[2] == "" && word == m[3] && exact:
		return ""
	case m[2] != "":
		// "Atlas: import the rows" is prose, "atlas: txmode none" is not.
		if m[1] == "atlas" && exact && word != "import" && word != "sum" && word != "assert" {
			return word
		}
		return ""
	case exact:
		return word
	case m[1] != "atlas":
		return ""
	}
	for k := range known {
		limit := 1
		if len(k) > 5 {
			limit = 2
		}
		if distance(word, k) <= limit {
			return k
		}
	}
	return ""
}

// directives reads the directives among the comments at the part's head.
func (p part) directives(comments []comment) (directives, error) {
	var d directives
	for _, c := range comments {
		if word := c.meant(); word != "" {
			return d, p.fail(c.line, strings.TrimSpace(c.text)+" is no directive", "did you mean -- atlas:"+word+"?")
		}
		word, args, ok := c.directive()
		if !ok {
			continue
		}
		if strings.HasPrefix(c.text, "/*") && known[word] {
			return d, p.fail(c.line, "a directive in a block comment has no effect", "write it as -- atlas:"+word+" "+args)
		}
		if err := p.directive(&d, c, word, args); err != nil {
			return d, err
		}
	}
	return d, p.refuseHash()
}

func (p part) directive(d *directives, c comment, word, args string) error {
	switch word {
	case "txmode":
		return p.txMode(d, c, args)
	case "delimiter":
		if c.line != 1 || !strings.HasPrefix(c.text, delimiterPrefix) || p.kind == headPart {
			where := "the file"
			if p.kind == headPart {
				where = "the member that needs it"
			}
			return p.fail(c.line, "atlas:delimiter has no effect here", `write it on the first line of `+where+`, as "`+delimiterPrefix+` X"`)
		}
	case "checkpoint":
		if p.kind == downPart || p.kind == checksPart {
			return p.fail(c.line, "atlas:checkpoint belongs in the way up", "remove it")
		}
		d.snapshot = true
	case "txtar":
		if p.kind != headPart {
			return p.fail(c.line, "atlas:txtar belongs above the first member of an archive, in the file of the way up", "move or remove it")
		}
	case "sum":
		if args != "ignore" {
			return p.fail(c.line, "unknown atlas:sum "+args, "it can only be ignore")
		}
		if p.above+c.line != 1 {
			return p.fail(c.line, "atlas:sum has no effect here", "write it on the first line of the file")
		}
	case "assert":
		return p.assert(d, c, args)
	case "import":
		return p.fail(c.line, "atlas:import is not supported", "put the statements of "+args+" here")
	}
	return nil
}

func (p part) txMode(d *directives, c comment, args string) error {
	mode := aurora.TxMode(args)
	switch {
	case p.kind == checksPart:
		return p.fail(c.line, "atlas:txmode has no meaning for checks", "write it above the first member")
	case mode == aurora.TxAll:
		return p.fail(c.line, "atlas:txmode cannot be all, which concerns more than this file", "say none or file here, or give --tx-mode all when applying")
	case mode != aurora.TxNone && mode != aurora.TxFile:
		return p.fail(c.line, "unknown atlas:txmode "+quoteEmpty(args), "it can be none or file")
	case d.txMode != "":
		return p.fail(c.line, "a second atlas:txmode", "keep one of them")
	}
	d.txMode, d.txLine = mode, c.line
	return nil
}

// analyzerCode is a code of Atlas's linter, which says which finding a check
// answers.
var analyzerCode = regexp.MustCompile(`^[A-Z]{2,}[0-9]+$`)

func (p part) assert(d *directives, c comment, args string) error {
	if p.kind != checksPart {
		return p.fail(c.line, "atlas:assert has no effect outside of the checks of an archive", "begin the file with -- atlas:txtar and put the check into a member checks.sql")
	}
	if args == "oneof" {
		d.oneOf = true
		return nil
	}
	for _, word := range strings.Fields(args) {
		if !analyzerCode.MatchString(word) {
			return p.fail(c.line, "unknown atlas:assert "+quoteEmpty(args), "it can be oneof, or codes such as DS102")
		}
	}
	return nil
}

// belowHead refuses a directive that only counts at the head.
func (p part) belowHead(c comment) error {
	word, args, ok := c.directive()
	if ok && (known[word] || word == "assert" && args == "oneof") {
		return p.fail(c.line, "the comment above says atlas:"+word+", which has no effect below the first statement", "move it to the head")
	}
	return nil
}

// refuseHash names the reason of what would be a syntax error: Atlas reads
// directives behind # as well.
func (p part) refuseHash() error {
	for lx := sqllex.New(p.text); ; {
		tok := lx.Next()
		switch tok.Kind {
		case sqllex.Space, sqllex.Comment:
			continue
		}
		line, _, _ := strings.Cut(p.text[tok.Start:], "\n")
		if strings.HasPrefix(line, "#") && strings.Contains(line, "atlas:") {
			n, _ := sqllex.Position(p.text, tok.Start)
			return p.fail(n, "PostgreSQL has no comments with #", "write --")
		}
		return nil
	}
}

func quoteEmpty(s string) string {
	if s == "" {
		return `""`
	}
	return s
}

// distance is the number of letters to change, add or leave out to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

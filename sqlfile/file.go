package sqlfile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A part is a file, or a member of an archive. Its text has LF line ends and no
// byte order mark.
type part struct {
	file  string // for messages
	kind  partKind
	text  string
	above int // lines of the file above the text
}

type partKind int

const (
	plainPart     partKind = iota // a file that is no archive
	downPart                      // a .down.sql file, or down.sql of an archive
	headPart                      // what stands above the members of an archive
	migrationPart                 // migration.sql of an archive
	checksPart                    // checks.sql or checks/*.sql of an archive
)

// fail makes an error about a line of the part.
func (p part) fail(line int, message, hint string) error {
	return &FileError{File: p.file, Line: p.above + line, Message: message, Hint: hint}
}

// normalize takes away what a checkout or an editor may change, so that the
// hash of a statement does not depend on it. Lines keep their numbers.
func normalize(data []byte) string {
	text := strings.TrimPrefix(string(data), "\ufeff")
	return strings.ReplaceAll(text, "\r\n", "\n")
}

// migration reads the files of one migration.
func (r *reader) migration(p pair) (aurora.Migration, error) {
	m := aurora.Migration{Version: p.version, Name: p.name, Source: r.path(p.up.name)}
	up := part{file: m.Source, text: normalize(p.up.data)}
	if err := refuseForeign(up, p.stem()); err != nil {
		return m, err
	}
	comments := up.head()
	if up.isArchive(comments) {
		return m, r.archive(&m, up, p.down)
	}
	if err := up.refuseMarkers(); err != nil {
		return m, err
	}
	d, err := up.directives(comments)
	if err != nil {
		return m, err
	}
	m.Checksum = aurora.Checksum(up.text)
	m.Description = describe(comments)
	m.TxMode, m.Snapshot = d.txMode, d.snapshot
	if m.Up, err = up.steps(); err != nil {
		return m, err
	}
	if p.down != nil {
		down := part{file: r.path(p.down.name), kind: downPart, text: normalize(p.down.data)}
		if err := refuseForeign(down, p.stem()); err != nil {
			return m, err
		}
		if err := down.refuseMarkers(); err != nil {
			return m, err
		}
		return m, addDown(&m, down)
	}
	return m, nil
}

// addDown reads the way down.
func addDown(m *aurora.Migration, p part) error {
	d, err := p.directives(p.head())
	if err != nil {
		return err
	}
	if d.txMode != "" && d.txMode != m.TxMode {
		return p.fail(d.txLine, "atlas:txmode holds for both ways of a migration, and its way up says something else", "write it there: "+m.Source)
	}
	if m.Down, err = p.steps(); err != nil {
		return err
	}
	if len(m.Down) == 0 {
		m.Irreversible = p.file + " holds no statement for the way down"
	}
	return nil
}

// steps splits the part into steps.
func (p part) steps() ([]aurora.Step, error) {
	statements, err := p.statements()
	if err != nil {
		return nil, err
	}
	steps := make([]aurora.Step, len(statements))
	for i, s := range statements {
		steps[i] = s
	}
	return steps, nil
}

// statements splits the part and refuses directives that stand where they
// would have no effect.
func (p part) statements() ([]aurora.Statement, error) {
	var opts sqllex.Options
	// Line ends are LF by now, so a delimiter of CRLFs must be too.
	delim, delimited := sqllex.DirectiveDelimiter(p.text)
	if strings.Contains(delim, "\r\n") {
		opts.Delimiter = strings.ReplaceAll(delim, "\r\n", "\n")
	}
	delimited = delimited || strings.Contains(p.text, "DELIMITER")
	found, err := sqllex.Split(p.text, opts)
	if err != nil {
		return nil, p.locate(err)
	}
	statements := make([]aurora.Statement, 0, len(found))
	for i, s := range found {
		if i > 0 {
			for _, text := range s.Comments {
				if err := p.belowHead(comment{text: text, line: s.Line}); err != nil {
					return nil, err
				}
			}
		}
		pieces := []sqllex.Statement{{Text: s.Text, Line: 1}}
		if delimited {
			// What a delimiter of the file's own leaves together may still be
			// several statements, and the server takes one at a time.
			if pieces, err = sqllex.Split(s.Text, sqllex.Options{}); err != nil {
				return nil, part{file: p.file, above: p.above + s.Line - 1}.locate(err)
			}
		}
		for _, piece := range pieces {
			if sql := sqllex.TrimSemicolon(piece.Text); sql != "" {
				statements = append(statements, aurora.Statement{SQL: sql, File: p.file, Line: p.above + s.Line + piece.Line - 1})
			}
		}
	}
	return statements, nil
}

// locate puts the place in the file into an error of the splitter.
func (p part) locate(err error) error {
	var e *sqllex.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("split %s: %w", p.file, err)
	}
	return &FileError{File: p.file, Line: p.above + e.Line, Col: e.Col, Message: e.Message, Hint: e.Hint, Err: err}
}

// A comment is one of those above the first statement.
type comment struct {
	text string
	line int  // in the part, from 1
	gap  bool // an empty line stands above it
}

// head returns the comments above the first statement.
func (p part) head() []comment {
	var comments []comment
	line, gap := 1, false
	for lx := sqllex.New(p.text); ; {
		tok := lx.Next()
		text := tok.Text(p.text)
		switch tok.Kind {
		case sqllex.Space:
			n := strings.Count(text, "\n")
			line += n
			gap = n > 1
		case sqllex.Comment:
			comments = append(comments, comment{text, line, gap})
			line += strings.Count(text, "\n")
			gap = false
		default:
			return comments
		}
	}
}

// describe makes the description of the comments at the head of a file: the
// first group of them that says anything besides directives.
func describe(comments []comment) string {
	var lines []string
	checked, says := 0, false
	for _, c := range comments {
		for ; c.gap && checked < len(lines); checked++ {
			says = says || lines[checked] != ""
		}
		if says {
			break
		}
		if _, _, ok := c.directive(); ok {
			continue
		}
		text, ok := strings.CutPrefix(c.text, "--")
		switch {
		case !ok:
			lines = append(lines, blockLines(c.text)...)
		case text != "" && strings.Trim(text, "-") == "":
			// A ruler for the eye.
		default:
			lines = append(lines, strings.TrimRight(strings.TrimPrefix(text, " "), " \t"))
		}
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// blockLines strips the marks of a block comment: its ends, and stars in front
// of the lines if all of them have one.
func blockLines(text string) []string {
	text = strings.Trim(strings.TrimSuffix(strings.TrimPrefix(text, "/*"), "*/"), "*")
	lines := strings.Split(text, "\n")
	stars, indent := len(lines) > 1, -1
	for _, line := range lines[1:] {
		trimmed := strings.TrimLeft(line, " \t")
		if trimmed == "" {
			continue
		}
		stars = stars && trimmed[0] == '*'
		if n := len(line) - len(trimmed); indent < 0 || n < indent {
			indent = n
		}
	}
	for i, line := range lines {
		switch {
		case i == 0:
			line = strings.TrimLeft(line, " \t")
		case strings.TrimSpace(line) == "":
		case stars:
			line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimLeft(line, " \t"), "*"), " ")
		default:
			line = line[indent:]
		}
		lines[i] = strings.TrimRight(line, " \t")
	}
	return lines
}

// A foreign mark is a comment by which another tool's files are known.
type foreign struct{ mark, tool string }

var foreignMarks = []foreign{
	{"+goose", "goose"},
	{"+migrate", "sql-migrate"},
	{"migrate:up", "dbmate"},
	{"migrate:down", "dbmate"},
	{"liquibase formatted sql", "Liquibase"},
	{"create above / drop below", "tern"},
}

// refuseForeign looks for another tool's marks. Run as they are, such files
// would run their way down right after their way up.
func refuseForeign(p part, stem string) error {
	for _, f := range foreignMarks {
		for offset := 0; ; {
			i := strings.Index(p.text[offset:], f.mark)
			if i < 0 {
				break
			}
			at := offset + i
			if beginsComment(p.text, at) {
				line, _ := sqllex.Position(p.text, at)
				return p.fail(line, "the file is written for "+f.tool,
					"keep only the way up in "+stem+sqlSuffix+", move the way down to "+stem+downSuffix+", and remove the marks")
			}
			offset = at + len(f.mark)
		}
	}
	return nil
}

// beginsComment reports whether nothing but the mark of a line comment stands
// before the offset on its line.
func beginsComment(text string, at int) bool {
	begin := at
	for begin > 0 && strings.IndexByte("- \t", text[begin-1]) >= 0 {
		begin--
	}
	return (begin == 0 || text[begin-1] == '\n') && strings.HasPrefix(text[begin:at], "--")
}

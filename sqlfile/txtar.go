package sqlfile

import (
	"strings"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// The members of an archive; checks may also be files in the folder checks.
const (
	migrationMember = "migration.sql"
	downMember      = "down.sql"
	checksMember    = "checks.sql"
	checksFolder    = "checks/"
)

// A member is one file of an archive.
type member struct {
	name string
	part
}

// isArchive reports whether the head says atlas:txtar. What follows the first
// marker line is not the head any more.
func (p part) isArchive(comments []comment) bool {
	for _, c := range comments {
		if word, _, ok := c.directive(); ok && word == "txtar" && strings.HasPrefix(c.text, "--") {
			return true
		}
		if name, _ := marker(c.text); name != "" {
			return false
		}
	}
	return false
}

// refuseMarkers refuses an archive without the directive, whose down.sql would
// run as part of the way up.
func (p part) refuseMarkers() error {
	for _, name := range []string{migrationMember, downMember} {
		line := "-- " + name + " --"
		for offset := 0; ; {
			i := strings.Index(p.text[offset:], line)
			if i < 0 {
				break
			}
			at := offset + i
			offset = at + len(line)
			behind := strings.TrimLeft(p.text[offset:], " \t")
			if (at == 0 || p.text[at-1] == '\n') && (behind == "" || behind[0] == '\n') {
				n, _ := sqllex.Position(p.text, at)
				return p.fail(n, "the line begins a member of an archive, but the file is none", `begin the file with "-- atlas:txtar", or change the comment`)
			}
		}
	}
	return nil
}

// marker returns the name of the member that a line begins. A line that only
// nearly does so returns the name that it seems to mean.
func marker(line string) (name, nearly string) {
	line = strings.TrimRight(line, " \t")
	const start, end = "-- ", " --"
	if strings.HasPrefix(line, start) && strings.HasSuffix(line, end) && len(line) >= len(start)+len(end) {
		if name = strings.TrimSpace(line[len(start) : len(line)-len(end)]); name != "" {
			return name, ""
		}
	}
	line = strings.TrimLeft(line, " \t")
	if !strings.HasPrefix(line, "--") {
		return "", ""
	}
	if name := strings.Trim(line, "- \t"); memberKind(name) != plainPart {
		return "", name
	}
	return "", ""
}

// memberKind returns plainPart for names that no member may have.
func memberKind(name string) partKind {
	check, ok := strings.CutPrefix(name, checksFolder)
	switch {
	case name == migrationMember:
		return migrationPart
	case name == downMember:
		return downPart
	case name == checksMember, ok && len(check) > len(sqlSuffix) && strings.HasSuffix(check, sqlSuffix):
		return checksPart
	}
	return plainPart
}

// members cuts an archive at its marker lines.
func (p part) members() (head part, members []member, err error) {
	head = p
	head.kind = headPart
	seen := make(map[string]bool)
	begin, line := 0, 0 // of the part being read
	end := func(at int) {
		if len(members) == 0 {
			head.text = p.text[:at]
			return
		}
		members[len(members)-1].text = p.text[begin:at]
	}
	for at := 0; at < len(p.text); {
		next := len(p.text)
		if i := strings.IndexByte(p.text[at:], '\n'); i >= 0 {
			next = at + i + 1
		}
		line++
		name, nearly := marker(strings.TrimSuffix(p.text[at:next], "\n"))
		switch {
		case nearly != "":
			return head, nil, p.fail(line, "the line is almost the beginning of "+nearly, "write it as -- "+nearly+" --, or change the comment")
		case name == "":
			at = next
			continue
		case memberKind(name) == plainPart:
			return head, nil, p.fail(line, "an archive has no member "+name,
				"the members are migration.sql, down.sql, checks.sql and checks/NAME.sql; if the line is a comment, do not end it with --")
		case seen[name]:
			return head, nil, p.fail(line, "a second member "+name, "join the two")
		}
		seen[name] = true
		end(at)
		members = append(members, member{name, part{file: p.file, kind: memberKind(name), above: p.above + line}})
		begin, at = next, next
	}
	end(len(p.text))
	if !seen[migrationMember] {
		return head, nil, p.fail(1, "the archive has no member migration.sql", "begin the statements with a line -- migration.sql --")
	}
	return head, members, nil
}

// archive reads a migration from an archive.
func (r *reader) archive(m *aurora.Migration, p part, downFile *file) error {
	head, members, err := p.members()
	if err != nil {
		return err
	}
	comments := head.head()
	d, err := head.directives(comments)
	if err != nil {
		return err
	}
	switch statements, err := head.statements(); {
	case err != nil:
		return err
	case len(statements) > 0:
		return p.fail(statements[0].Line, "a statement above the first member of the archive would never run", "move it below -- migration.sql --")
	}
	m.Description = describe(comments)
	var source strings.Builder
	var down *member
	for i, mb := range members {
		switch mb.kind {
		case downPart:
			down = &members[i]
			continue
		case migrationPart:
			err = migrationSteps(m, mb, &d)
		default:
			err = addCheck(m, mb)
		}
		if err != nil {
			return err
		}
		// Empty lines at the end come and go with the member behind them.
		source.WriteString("-- " + mb.name + " --\n" + strings.TrimSpace(mb.text) + "\n")
	}
	m.TxMode, m.Snapshot = d.txMode, d.snapshot
	m.Checksum = aurora.Checksum(source.String())
	switch {
	case down == nil && downFile == nil:
		return nil
	case down == nil:
		return addDown(m, part{file: r.path(downFile.name), kind: downPart, text: normalize(downFile.data)})
	case downFile != nil:
		return &FileError{File: r.path(downFile.name), Message: "is a second way down: " + p.file + " has a member down.sql", Hint: "remove one of them"}
	}
	return addDown(m, down.part)
}

// migrationSteps reads migration.sql, whose head may hold what the archive's
// may.
func migrationSteps(m *aurora.Migration, mb member, d *directives) error {
	comments := mb.head()
	own, err := mb.directives(comments)
	if err != nil {
		return err
	}
	if own.txMode != "" {
		if d.txMode != "" {
			return mb.fail(own.txLine, "a second atlas:txmode", "keep one of them")
		}
		d.txMode, d.txLine = own.txMode, own.txLine
	}
	d.snapshot = d.snapshot || own.snapshot
	if m.Description == "" {
		m.Description = describe(comments)
	}
	m.Up, err = mb.steps()
	return err
}

// addCheck reads a member with checks.
func addCheck(m *aurora.Migration, mb member) error {
	d, err := mb.directives(mb.head())
	if err != nil {
		return err
	}
	statements, err := mb.statements()
	if err != nil {
		return err
	}
	for _, s := range statements {
		info := sqllex.Classify(s.SQL)
		if info.Kind != sqllex.Select || info.WritesInWith || isSeveral(s.SQL) {
			return &FileError{File: s.File, Line: s.Line, Message: "a check must be one query that changes nothing: SELECT, WITH, VALUES or TABLE",
				Hint: "put what changes something into migration.sql"}
		}
	}
	if len(statements) == 0 {
		return mb.fail(0, mb.name+" has no query, so it checks nothing", "write one or remove the member")
	}
	m.Checks = append(m.Checks, aurora.Check{Name: mb.name, Statements: statements, OneOf: d.oneOf})
	return nil
}

// isSeveral reports whether the text holds more than one statement, as it may
// where the delimiter is not a semicolon.
func isSeveral(sql string) bool {
	for lx := sqllex.New(sql); ; {
		switch lx.Next().Kind {
		case sqllex.EOF:
			return false
		case sqllex.Semicolon:
			return true
		}
	}
}

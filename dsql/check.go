package dsql

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A Finding is something that Aurora DSQL refuses.
type Finding struct {
	Rule      string // the rule's ID
	Statement int    // which one, from 0
	// File, Line and Col (from 1, in characters) say where. A statement does
	// not say at which column it begins, so on its first line Col counts from
	// there.
	File      string
	Line, Col int
	// Start and End are the bytes of the statement's text it is about.
	Start, End int
	What       string // what is refused
	SQLState   string // the server's code, empty where it is not known
	// Message is what the server says, empty where that is not known. Verbatim
	// says that it was seen; else it follows the pattern of those that were.
	Message  string
	Verbatim bool
	Advice   string // what to write instead
	// Rewritten says that [Rewrite] replaces it, so that nothing need be done.
	Rewritten bool
}

// Pos returns "file:line:col", or what is known of it.
func (f Finding) Pos() string {
	pos := strconv.Itoa(f.Line) + ":" + strconv.Itoa(f.Col)
	if f.File == "" {
		return "line " + pos
	}
	return f.File + ":" + pos
}

// Error says what is refused, and with what words.
func (f Finding) Error() string {
	s := "Aurora DSQL refuses " + f.What
	if f.Message == "" {
		return s
	}
	s += ": " + f.Message
	if f.SQLState != "" {
		s += " (SQLSTATE " + f.SQLState + ")"
	}
	return s
}

// StepError makes the finding the error of a step of a migration, of which
// nothing ran.
func (f Finding) StepError(m aurora.Migration, d aurora.Direction) *aurora.StepError {
	e := &aurora.StepError{
		Migration: m.ID(), Version: m.Version, Index: f.Statement, Pos: f.Pos(),
		Hint: f.Advice, Err: fmt.Errorf("nothing ran: %w", f),
	}
	if steps := m.Steps(d); f.Statement < len(steps) {
		e.Step = steps[f.Statement].String()
	}
	return e
}

// Check returns what a profile refuses of statements that run in this order,
// each in a transaction of its own unless the statements say BEGIN. Several
// findings about one statement are in no promised order. What is not known to
// be refused passes.
func Check(p Profile, statements []aurora.Statement) []Finding {
	var findings []Finding
	var block transaction
	for i, s := range statements {
		findings = append(findings, p.findings(s, i, features(s.SQL))...)
		findings = append(findings, p.findings(s, i, block.features(s.SQL))...)
	}
	return findings
}

func (p Profile) findings(s aurora.Statement, i int, all []feature) []Finding {
	var findings []Finding
	for _, f := range all {
		rule, ok := p.refuses(f)
		if !ok {
			continue
		}
		line, col := sqllex.Position(s.SQL, f.span.Start)
		findings = append(findings, Finding{
			Rule: rule.ID, Statement: i, File: s.File, Line: cmp.Or(s.Line, 1) + line - 1, Col: col,
			Start: f.span.Start, End: f.span.End, What: rule.What, SQLState: rule.SQLState,
			Message: rule.message(f), Verbatim: rule.Verbatim, Advice: rule.Advice,
			Rewritten: len(f.fix) > 0,
		})
	}
	return findings
}

// Inspect returns what a profile refuses of one statement on its own, in the
// order in which the server complains. That order is known of CREATE INDEX; of
// other statements it is a guess: what is said of the whole comes before what is
// said of its parts, and parts come as they are written.
func Inspect(p Profile, sql string) []Finding {
	return p.findings(aurora.Statement{SQL: sql}, 0, features(sql))
}

// InspectSetting returns the refusal of a setting that a connection makes as it
// starts; ok is false if it may.
func InspectSetting(p Profile, name string) (finding Finding, ok bool) {
	f := feature{name: "set/" + strings.ToLower(name), value: strings.ToLower(name)}
	rule, ok := p.refuses(f)
	if !ok {
		return Finding{}, false
	}
	return Finding{
		Rule: rule.ID, What: rule.What, SQLState: rule.SQLState, Message: rule.message(f),
		Verbatim: rule.Verbatim, Advice: rule.Advice,
	}, true
}

// CheckMigration returns what a profile refuses of a migration's statements in
// one direction, in the order of the text. Steps of Go are passed over.
func CheckMigration(p Profile, m aurora.Migration, d aurora.Direction) []Finding {
	var statements []aurora.Statement
	var index []int
	for i, step := range m.Steps(d) {
		if s, ok := step.(aurora.Statement); ok {
			statements, index = append(statements, s), append(index, i)
		}
	}
	findings := Check(p, statements)
	for i := range findings {
		findings[i].Statement = index[findings[i].Statement]
	}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Statement, b.Statement), cmp.Compare(a.Start, b.Start))
	})
	return findings
}

// A transaction follows what stands between BEGIN and COMMIT.
type transaction struct {
	open     bool
	ddl, dml bool
}

// features gives what is special in a statement because of the statements
// before it in its transaction.
func (t *transaction) features(sql string) []feature {
	info := sqllex.Classify(sql)
	switch info.Kind {
	case sqllex.Begin:
		if !t.open {
			*t = transaction{open: true}
		}
		return nil
	case sqllex.Commit, sqllex.Rollback:
		*t = transaction{}
		return nil
	}
	r := newReader(sql)
	if !t.open || r.done() {
		return nil
	}
	var name string
	switch ddl, dml := isDDL(info), info.IsDML() && info.Kind != sqllex.Truncate; {
	case ddl && t.dml, dml && t.ddl:
		name = "transaction/ddl and dml"
	case ddl && t.ddl:
		name = "transaction/second ddl"
	case info.Kind == sqllex.Call && info.Name.Schema == "sys" && info.Name.Name == "wait_for_job":
		name = "transaction/wait for job"
	default:
		t.ddl, t.dml = t.ddl || ddl, t.dml || dml
		return nil
	}
	return []feature{{name: name, span: first(r, 2)}}
}

// isDDL reports whether DSQL is known to count a statement as DDL. Of COMMENT,
// ANALYZE and CREATE STATISTICS, for example, it is not.
func isDDL(info sqllex.Info) bool {
	if info.Object == "STATISTICS" {
		return false
	}
	switch info.Kind {
	case sqllex.CreateTable, sqllex.CreateIndex, sqllex.CreateOther, sqllex.AlterTable, sqllex.AlterOther,
		sqllex.DropTable, sqllex.DropIndex, sqllex.DropOther, sqllex.Grant, sqllex.Revoke:
		return true
	}
	return false
}

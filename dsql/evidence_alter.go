package dsql

import (
	"slices"
	"strconv"
	"strings"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// harmless is what may run again, or need not, and proves nothing about the
// rest of its statement.
const harmless = building + 1

// tableFacts is what the catalog knows of a table, view or sequence.
type tableFacts struct {
	exists  bool
	first   bool // in the schema that the search_path begins with
	schema  string
	owner   string
	renamed bool // there is something of the new name
	columns map[string]column
	// constraints by name
	constraints map[string]constraint
}

type column struct {
	typ                 string // format_type without modifier
	identity, generated bool
}

type constraint struct {
	typ   string // pg_constraint.contype
	valid bool
	def   string // pg_get_constraintdef
}

// table reads all about a table with one query. renamed is the name that the
// statement gives it, if it gives it one.
func (l *looker) table(name sqllex.Name, renamed string) (*tableFacts, error) {
	rows, err := l.rows(`SELECT 'table', n.nspname, pg_get_userbyid(c.relowner), (n.nspname = current_schema())::text, ''
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)
UNION ALL SELECT 'new', '', '', '', '' WHERE to_regclass(nullif($2, '')) IS NOT NULL
UNION ALL SELECT 'column', attname, format_type(atttypid, NULL), attidentity::text, attgenerated::text
	FROM pg_catalog.pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'constraint', conname, contype::text, convalidated::text, pg_get_constraintdef(oid)
	FROM pg_catalog.pg_constraint WHERE conrelid = to_regclass($1)`, quoted(name.Schema, name.Name), renamed)
	if err != nil {
		return nil, err
	}
	f := &tableFacts{columns: make(map[string]column), constraints: make(map[string]constraint)}
	for _, r := range rows {
		switch r[0] {
		case "table":
			f.exists, f.schema, f.owner, f.first = true, r[1], r[2], r[3] == "true" || name.Schema != ""
		case "new":
			f.renamed = true
		case "column":
			f.columns[r[1]] = column{typ: r[2], identity: r[3] != "", generated: r[4] != ""}
		case "constraint":
			f.constraints[r[1]] = constraint{typ: r[2], valid: r[3] == "true", def: r[4]}
		}
	}
	return f, nil
}

// moved decides about RENAME TO and SET SCHEMA.
func moved(old, renamed, first, ifExists bool) evidence {
	switch {
	case old && !renamed:
		return missing
	case !old && renamed:
		return happened
	case old && first:
		return missing // the server will say that the name is taken
	case !old && ifExists:
		return missing
	}
	return unknown
}

// newName gives where RENAME TO or SET SCHEMA moves a relation.
func newName(n sqllex.Name, a sqllex.Action) string {
	switch a.Kind {
	case sqllex.RenameTable:
		return quoted(n.Schema, a.Name)
	case sqllex.SetSchema:
		return quoted(a.Name, n.Name)
	}
	return ""
}

// alterTable decides about a statement that happens as a whole or not at all:
// one action that is conclusive tells of all of them.
func (l *looker) alterTable() (evidence, error) {
	if len(l.info.Actions) == 0 {
		return unknown, nil
	}
	renamed := newName(l.info.Name, l.info.Actions[0])
	facts, err := l.table(l.info.Name, renamed)
	switch {
	case err != nil:
		return unknown, err
	case renamed != "":
		return moved(facts.exists, facts.renamed, facts.first, l.info.IfExists), nil
	case !facts.exists:
		return missing, nil // nothing to do, or the server says so
	}
	var all []evidence
	for _, a := range l.info.Actions {
		found, err := l.action(facts, a)
		if err != nil {
			return unknown, err
		}
		all = append(all, found)
	}
	return together(all), nil
}

func together(all []evidence) evidence {
	has := func(e evidence) bool { return slices.Contains(all, e) }
	switch {
	case has(building):
		return building
	case has(happened) && has(missing):
		return unknown
	case has(happened):
		return happened
	case has(missing):
		return missing
	case has(unknown):
		return unknown
	}
	return missing
}

// action decides about one action of ALTER TABLE.
func (l *looker) action(f *tableFacts, a sqllex.Action) (evidence, error) {
	r := newReader(l.sql).within(a.Span)
	if a.IfExists || a.IfNotExists {
		return harmless, nil
	}
	switch a.Kind {
	case sqllex.AddColumn:
		return f.addedColumn(r, a), nil
	case sqllex.DropColumn:
		_, ok := f.columns[a.Name]
		return when(!ok), nil
	case sqllex.RenameColumn:
		_, old := f.columns[a.Name]
		_, renamed := f.columns[a.NewName]
		return moved(old, renamed, true, false), nil
	case sqllex.AddConstraint:
		return f.addedConstraint(r, a), nil
	case sqllex.DropConstraint:
		_, ok := f.constraints[a.Name]
		return when(!ok), nil
	case sqllex.RenameConstraint:
		_, old := f.constraints[a.Name]
		_, renamed := f.constraints[a.NewName]
		return moved(old, renamed, true, false), nil
	case sqllex.ValidateConstraint:
		if c, ok := f.constraints[a.Name]; ok && c.valid || !l.info.Async {
			return when(c.valid), nil
		}
		facts, err := l.validation()
		return facts.evidence(), err
	case sqllex.AlterColumn:
		return l.alteredColumn(f, r, a)
	case sqllex.SetDefault, sqllex.DropDefault, sqllex.SetNotNull, sqllex.DropNotNull, sqllex.AlterConstraint, sqllex.OwnerTo:
		return harmless, nil
	case sqllex.OtherAction:
		if r.isOneOf("ENABLE", "DISABLE", "SET", "RESET", "REPLICA", "FORCE", "NO", "CLUSTER") {
			return harmless, nil
		}
	}
	return unknown, nil
}

// addedColumn decides by the column's name, and by its type where that is
// PostgreSQL's own: another type means another column.
func (f *tableFacts) addedColumn(r *reader, a sqllex.Action) evidence {
	have, ok := f.columns[a.Name]
	if !ok {
		return missing
	}
	r.skip("ADD")
	r.skip("COLUMN")
	r.ident()
	t := readType(r)
	want := t.display
	if t.array {
		want += "[]"
	}
	if !t.known || t.display == "double precision" && t.n >= 0 || strings.HasSuffix(t.display, "serial") {
		return happened
	}
	return when(have.typ == want)
}

// contypes are the types of constraints in pg_constraint.
var contypes = map[string]string{"CHECK": "c", "FOREIGN": "f", "UNIQUE": "u", "PRIMARY": "p", "EXCLUDE": "x"}

// addedConstraint decides by the constraint's name, or by its definition where
// the server chooses the name.
func (f *tableFacts) addedConstraint(r *reader, a sqllex.Action) evidence {
	name := a.Name
	r.skip("ADD")
	if r.skip("CONSTRAINT") {
		r.ident()
	}
	typ := contypes[strings.ToUpper(r.at(0).Text(r.src))]
	if name == "" && r.is("UNIQUE", "USING", "INDEX") {
		r.i += 3
		name = r.ident()
	}
	if name != "" {
		c, ok := f.constraints[name]
		return when(ok && c.typ == typ)
	}
	want := constraintShape(r)
	found := missing
	for _, c := range f.constraints {
		if c.typ != typ {
			continue
		}
		have := constraintShape(newReader(c.def))
		if slices.Equal(want, have) {
			return happened
		}
		if typ != "f" {
			found = unknown // the server spells expressions its own way
		}
	}
	return found
}

// constraintShape gives a constraint as words: a foreign key by its columns
// and the other table's name, others without parentheses.
func constraintShape(r *reader) []string {
	var words []string
	foreign := r.is("FOREIGN")
	for !r.done() && !r.is("NOT", "VALID") {
		if foreign && r.skip("REFERENCES") {
			parts := r.name()
			return append(words, parts[max(0, len(parts)-1):]...)
		}
		t := r.take()
		switch {
		case isIdent(t):
			words = append(words, sqllex.Ident(t.Text(r.src)))
		case nesting(r.src, t) == 0:
			words = append(words, t.Text(r.src))
		}
	}
	return words
}

// alteredColumn decides about the ALTER COLUMN actions that are about identity
// and generated columns; the others may be repeated.
func (l *looker) alteredColumn(f *tableFacts, r *reader, a sqllex.Action) (evidence, error) {
	have, ok := f.columns[a.Name]
	if !ok {
		return missing, nil
	}
	r.skip("ALTER")
	r.skip("COLUMN")
	r.ident()
	switch {
	case r.is("ADD", "GENERATED"):
		return when(have.identity), nil
	case r.is("DROP", "IDENTITY", "IF"), r.is("DROP", "EXPRESSION", "IF"):
		return harmless, nil
	case r.is("DROP", "IDENTITY"):
		return when(!have.identity), nil
	case r.is("DROP", "EXPRESSION"):
		return when(!have.generated), nil
	case r.skipTo("RESTART"):
		found, err := l.restart(r, `pg_get_serial_sequence($1, $2)::regclass`, quoted(l.info.Name.Schema, l.info.Name.Name), a.Name)
		if found == missing {
			found = harmless
		}
		return found, err
	}
	return harmless, nil
}

// restart decides about RESTART of a sequence. It may be repeated as long as no
// value was taken since, and did not happen where the values are not there yet.
func (l *looker) restart(r *reader, sequence string, args ...string) (evidence, error) {
	rows, err := l.rows(`SELECT pg_sequence_last_value(s.seqrelid)::text, s.seqincrement::text
FROM pg_catalog.pg_sequence s WHERE s.seqrelid = `+sequence, args...)
	if err != nil || len(rows) == 0 || rows[0][0] == "" {
		return missing, err
	}
	r.skip("RESTART")
	r.skip("WITH")
	start, ok := number(r.src, r.at(0))
	last, err1 := strconv.ParseInt(rows[0][0], 10, 64)
	if ok && err1 == nil && last < start && !strings.HasPrefix(rows[0][1], "-") {
		return missing, nil
	}
	return unknown, nil
}

// alterOther decides about what is altered besides tables.
func (l *looker) alterOther() (evidence, error) {
	if l.info.Object == "DEFAULT PRIVILEGES" {
		return missing, nil
	}
	c, ok := classes[l.info.Object]
	if !ok || l.info.Name.IsZero() {
		return unknown, nil
	}
	t := thingOf(l.info.Name)
	r := l.behindName()
	if r.isPunct("(") && strings.Contains(c.filter, sameArguments) {
		at := r.i
		if t.args, ok = argumentTypes(r); !ok {
			return unknown, nil
		}
		r.i = at
		r.skipGroup()
	}
	to := t
	switch {
	case r.skip("RENAME", "TO"):
		to.name = r.ident()
	case r.skip("SET", "SCHEMA"):
		to.schema = r.ident()
	case r.skip("OWNER", "TO"):
		return l.owned(c, t, r.ident())
	case r.skip("RENAME"):
		return l.renamedPart(r)
	case l.info.Object == "DOMAIN" && r.isOneOf("ADD", "DROP") && !r.is("DROP", "NOT") && !r.is("DROP", "DEFAULT"):
		return l.domainConstraint(r)
	case l.info.Object == "SEQUENCE" && r.skipTo("RESTART"):
		return l.restart(r, `to_regclass($1)`, quoted(t.schema, t.name))
	case r.is("ATTACH"):
		return unknown, nil
	default:
		return missing, nil // SET and the like
	}
	// Tables may be renamed as views, indexes and sequences may be as tables.
	if c.catalog == relation.catalog {
		c = relation
	}
	places, err := l.find(c, t, to)
	if err != nil || to.name == "" {
		return unknown, err
	}
	var old, renamed, first bool
	for _, p := range places {
		if p.n == 0 {
			old, first = true, first || p.rank == 1
		} else {
			renamed = true
		}
	}
	return moved(old, renamed, first, l.info.IfExists), nil
}

// owned takes an object that has its owner already for done: another time, the
// right to give it away may be gone.
func (l *looker) owned(c class, t thing, owner string) (evidence, error) {
	places, err := l.find(c, t)
	if err != nil {
		return unknown, err
	}
	return when(len(places) > 0 && places[0].owner == owner), nil
}

// renamedPart decides about RENAME of a view's column or a domain's constraint.
func (l *looker) renamedPart(r *reader) (evidence, error) {
	ofDomain := r.skip("CONSTRAINT")
	r.skip("COLUMN")
	old := r.ident()
	if old == "" || !r.skip("TO") {
		return unknown, nil
	}
	renamed := r.ident()
	if ofDomain {
		names, err := l.domainConstraints()
		return moved(slices.Contains(names, old), slices.Contains(names, renamed), true, false), err
	}
	f, err := l.table(l.info.Name, "")
	if err != nil {
		return unknown, err
	}
	_, a := f.columns[old]
	_, b := f.columns[renamed]
	return moved(a, b, true, l.info.IfExists), nil
}

func (l *looker) domainConstraints() ([]string, error) {
	rows, err := l.rows(`SELECT c.conname FROM pg_catalog.pg_constraint c WHERE c.contypid = to_regtype($1)`,
		quoted(l.info.Name.Schema, l.info.Name.Name))
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r[0]
	}
	return names, err
}

func (l *looker) domainConstraint(r *reader) (evidence, error) {
	adds := r.is("ADD")
	r.take()
	if !r.skip("CONSTRAINT") {
		return unknown, nil
	}
	if r.skip("IF", "EXISTS") {
		return missing, nil
	}
	name := r.ident()
	names, err := l.domainConstraints()
	return when(slices.Contains(names, name) == adds), err
}

package dsql

import (
	"strings"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

func (f *finder) alterTable(r *reader) {
	for _, a := range f.info.Actions {
		part := r.within(a.Span)
		if f.info.Async && a.Kind != sqllex.ValidateConstraint {
			f.add("alter table async/other", actionWords(part), a.Span)
			continue
		}
		f.action(part, a)
	}
	if f.info.Async && len(f.info.Actions) > 1 {
		f.add("alter table async/several", "", f.info.Actions[1].Span)
	}
}

// actionWords gives the verb of an action with its object.
func actionWords(r *reader) string {
	text := strings.ToUpper(r.take().Text(r.src))
	if r.isOneOf("COLUMN", "CONSTRAINT", "TO", "SCHEMA", "PARTITION", "TRIGGER", "RULE") {
		text += " " + strings.ToUpper(r.at(0).Text(r.src))
	}
	return text
}

// action notes one action of ALTER TABLE as "alter table/what", with the words
// that the server has for it (src/backend/commands/tablecmds.c,
// alter_table_type_to_string).
func (f *finder) action(r *reader, a sqllex.Action) {
	if r.done() {
		return
	}
	what := ""
	switch a.Kind {
	case sqllex.AddColumn:
		f.addColumn(r)
		return
	case sqllex.AddConstraint:
		f.addConstraint(r, a)
		return
	case sqllex.ValidateConstraint:
		f.validate(a)
		return
	case sqllex.AlterColumn:
		f.alterColumn(r, a)
		return
	case sqllex.OtherAction:
		what = otherAction(r)
	default:
		what = words(a.Kind.String())
	}
	if what != "" {
		f.alter(what, a)
	}
}

// alter notes an action.
func (f *finder) alter(what string, a sqllex.Action) {
	f.add("alter table/"+what, serverAction(what), a.Span)
}

// serverActions are actions that the server has other words for.
var serverActions = map[string]string{
	"alter column type": "ALTER COLUMN ... SET DATA TYPE", "set default": "ALTER COLUMN ... SET DEFAULT",
	"drop default": "ALTER COLUMN ... SET DEFAULT", "set not null": "ALTER COLUMN ... SET NOT NULL",
	"drop not null": "ALTER COLUMN ... DROP NOT NULL", "set storage parameters": "SET", "reset storage parameters": "RESET",
	"alter column set identity": "ALTER COLUMN ... SET", "alter column set options": "ALTER COLUMN ... SET",
	"alter column reset options": "ALTER COLUMN ... RESET",
}

// serverAction gives the server's words for an action.
func serverAction(what string) string {
	if text, ok := serverActions[what]; ok {
		return text
	}
	text := strings.ToUpper(what)
	if column, ok := strings.CutPrefix(text, "ALTER COLUMN "); ok {
		return "ALTER COLUMN ... " + column
	}
	return strings.Replace(text, "ROW LEVEL SECURITY", "ROW SECURITY", 1)
}

// words spells DropColumn as "drop column".
func words(kind string) string {
	var b strings.Builder
	for i, c := range kind {
		if i > 0 && c >= 'A' && c <= 'Z' {
			b.WriteByte(' ')
		}
		b.WriteString(strings.ToLower(string(c)))
	}
	return b.String()
}

// otherActions are actions that Classify has no kind for, the longer ones first.
var otherActions = [][]string{
	{"ENABLE", "ROW", "LEVEL", "SECURITY"}, {"DISABLE", "ROW", "LEVEL", "SECURITY"},
	{"FORCE", "ROW", "LEVEL", "SECURITY"}, {"NO", "FORCE", "ROW", "LEVEL", "SECURITY"},
	{"ENABLE", "REPLICA", "RULE"}, {"ENABLE", "ALWAYS", "RULE"}, {"ENABLE", "RULE"}, {"DISABLE", "RULE"},
	{"ENABLE", "TRIGGER", "ALL"}, {"ENABLE", "TRIGGER", "USER"}, {"DISABLE", "TRIGGER", "ALL"}, {"DISABLE", "TRIGGER", "USER"},
	{"REPLICA", "IDENTITY"}, {"NO", "INHERIT"}, {"INHERIT"}, {"CLUSTER", "ON"}, {"SET", "WITHOUT", "CLUSTER"},
	{"SET", "LOGGED"}, {"SET", "UNLOGGED"}, {"SET", "TABLESPACE"}, {"SET", "ACCESS", "METHOD"},
	{"ENABLE", "ALWAYS", "TRIGGER"}, {"ENABLE", "REPLICA", "TRIGGER"}, {"OF"}, {"NOT", "OF"}, {"OPTIONS"},
}

func otherAction(r *reader) string {
	for _, w := range otherActions {
		if r.is(w...) {
			return strings.ToLower(strings.Join(w, " "))
		}
	}
	switch {
	case r.is("SET") && r.at(1).IsPunct(r.src, "("):
		return "set storage parameters"
	case r.is("RESET") && r.at(1).IsPunct(r.src, "("):
		return "reset storage parameters"
	}
	return ""
}

// addColumn notes the type of a new column, and what else is said of it.
func (f *finder) addColumn(r *reader) {
	r.skip("ADD")
	r.skip("COLUMN")
	r.skip("IF", "NOT", "EXISTS")
	r.ident()
	if r.done() {
		return
	}
	f.columnType(readType(r))
	for r.skipTo("CONSTRAINT", "COLLATE", "NOT", "DEFAULT", "CHECK", "UNIQUE", "PRIMARY", "REFERENCES", "GENERATED", "STORAGE", "COMPRESSION") {
		switch tok := r.at(0); {
		case r.is("COLLATE"):
			f.add("create table/collate", "", spanOf(tok))
		case r.is("COMPRESSION"):
			f.add("create table/compression", "", spanOf(tok))
			r.take()
		case r.is("STORAGE") && r.at(1).Is(r.src, "DEFAULT"):
			f.add("create table/storage", "", spanOf(tok))
			r.take()
		case r.is("STORAGE"):
			f.add("create table/storage", "", spanOf(tok))
		default:
			f.add("alter table/add column with constraint", "", spanOf(tok))
			return
		}
		r.take()
	}
}

func (f *finder) addConstraint(r *reader, a sqllex.Action) {
	r.skip("ADD")
	if r.skip("CONSTRAINT") {
		r.ident()
	}
	kind := ""
	switch {
	case r.skip("PRIMARY", "KEY"):
		kind = "primary key"
	case r.skip("UNIQUE"):
		kind = "unique"
	case r.is("CHECK"):
		kind = "check"
	case r.is("FOREIGN", "KEY"):
		kind = "foreign key"
	case r.is("EXCLUDE"):
		kind = "exclude"
	default:
		return
	}
	switch {
	case r.is("USING", "INDEX"):
		kind += " using index"
		if kind == "unique using index" && f.deferred(r) {
			kind += " deferrable"
		}
	case a.NotValid:
		kind += " not valid"
	}
	f.add("alter table/add "+kind, "ADD CONSTRAINT", a.Span)
	if kind == "check" || kind == "check not valid" {
		f.deferral(r, "check")
	}
}

// deferred reports whether DEFERRABLE is asked for in the rest of a constraint.
func (f *finder) deferred(r *reader) bool {
	probe := finder{src: f.src}
	probe.deferral(r, "")
	return len(probe.found) > 0
}

// validate notes VALIDATE CONSTRAINT. ASYNC can be put in where it is the only
// action: what ASYNC would do to others is not known.
func (f *finder) validate(a sqllex.Action) {
	if f.info.Async {
		f.add("alter table async/validate constraint", f.info.Name.String(), f.info.Mode)
		return
	}
	v := f.add("alter table/validate constraint", "", a.Span)
	if len(f.info.Actions) == 1 && f.info.ModeAt > 0 {
		at := sqllex.Span{Start: f.info.ModeAt, End: f.info.ModeAt}
		v.fix = []sqllex.Edit{{Span: at, Text: " ASYNC"}}
	}
}

// alterColumn notes ALTER COLUMN actions that Classify has no kind for.
func (f *finder) alterColumn(r *reader, a sqllex.Action) {
	r.skip("ALTER")
	r.skip("COLUMN")
	r.ident()
	what := ""
	switch {
	case r.is("ADD", "GENERATED"):
		r.take()
		f.alter("alter column add identity", a)
		f.identity(r, typeName{})
		return
	case r.is("DROP", "EXPRESSION"):
		what = "drop expression"
	case r.is("DROP", "IDENTITY"):
		what = "drop identity"
	case r.is("SET", "STATISTICS"):
		what = "set statistics"
	case r.is("SET", "STORAGE"):
		what = "set storage"
	case r.is("SET", "COMPRESSION"):
		what = "set compression"
	case r.is("SET", "GENERATED"), r.is("RESTART"):
		what = "set identity"
	case r.is("SET") && r.at(1).IsPunct(r.src, "("):
		what = "set options"
	case r.is("RESET") && r.at(1).IsPunct(r.src, "("):
		what = "reset options"
	case r.is("OPTIONS"):
		what = "options"
	default:
		return
	}
	f.alter("alter column "+what, a)
}

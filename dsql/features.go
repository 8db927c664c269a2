package dsql

import (
	"strings"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A finder collects the features of one statement, those of CREATE INDEX in
// the order in which the server complains about them.
type finder struct {
	src   string
	info  sqllex.Info
	found []feature
}

// features gives what is special in a statement.
func features(sql string) []feature {
	f := &finder{src: sql, info: sqllex.Classify(sql)}
	r := newReader(sql)
	if r.done() {
		return nil
	}
	switch f.info.Kind {
	case sqllex.Other, sqllex.Empty:
	case sqllex.CreateTable:
		f.createTable(r)
	case sqllex.CreateTableAs:
		f.createTableAs(r)
	case sqllex.CreateIndex:
		f.createIndex(r)
	case sqllex.CreateOther:
		f.createOther(r)
	case sqllex.AlterTable:
		f.alterTable(r)
	case sqllex.AlterOther:
		f.alterOther(r)
	case sqllex.DropIndex:
		f.dropIndex()
	case sqllex.DropOther:
		f.dropOther(r)
	case sqllex.Grant:
		f.grant(r)
	case sqllex.Select, sqllex.Insert, sqllex.Update, sqllex.Delete, sqllex.Merge, sqllex.CopyTo, sqllex.CopyFrom, sqllex.Call:
		f.data(r)
	default:
		f.session(r)
	}
	return f.found
}

// add notes a feature at a span.
func (f *finder) add(name, value string, span sqllex.Span) *feature {
	f.found = append(f.found, feature{name: name, value: value, span: span})
	return &f.found[len(f.found)-1]
}

// count notes a feature that is a number.
func (f *finder) count(name string, n int64, span sqllex.Span) {
	f.add(name, "", span).n = n
}

// first gives the span of the statement's first n words.
func first(r *reader, n int) sqllex.Span {
	n = max(1, min(n, len(r.toks)))
	return sqllex.Span{Start: r.toks[0].Start, End: r.toks[n-1].End}
}

func (f *finder) createTableAs(r *reader) {
	if r.is("CREATE") {
		f.add("statement/create table as", "", first(r, 2))
		return
	}
	f.add("statement/select into", "", first(r, 1))
}

// createOther notes "create/OBJECT", and more for some of them.
func (f *finder) createOther(r *reader) {
	span := first(r, 2)
	object := strings.ToLower(f.info.Object)
	f.add("create/"+object, "", span)
	switch object {
	case "view":
		if f.info.Temporary {
			f.add("create view/temp", "", span)
		}
		f.query(r)
	case "type":
		f.createType(r)
	case "sequence":
		r.i = 0
		f.sequenceOptions(r, "sequence", span)
	case "function":
		f.language(r)
	}
}

func (f *finder) createType(r *reader) {
	kind := "shell"
	if r.skipTo("AS") {
		r.take()
		switch {
		case r.is("ENUM"):
			kind = "enum"
		case r.is("RANGE"):
			kind = "range"
		case r.isPunct("("):
			kind = "composite"
		}
	} else if r.at(-1).IsPunct(r.src, ")") {
		kind = "base"
	}
	f.add("create type/"+kind, "", first(r, 2))
}

// sequenceOptions reads CACHE and AS of CREATE SEQUENCE, or CACHE of an
// identity column.
func (f *finder) sequenceOptions(r *reader, what string, span sqllex.Span) {
	cached := false
	for ; !r.done(); r.take() {
		switch {
		case r.is("CACHE"):
			if n, ok := number(r.src, r.at(1)); ok {
				cached = true
				if n != 1 { // 1 is fine, and so is what is large
					f.count(what+"/cache", n, sqllex.Span{Start: r.at(0).Start, End: r.at(1).End})
				}
			}
		case what == "sequence" && r.is("AS"):
			start := r.i
			r.take()
			if t := readType(r); t.known {
				f.add("sequence type/"+t.display, t.display, r.span(start))
			}
			r.i--
		}
	}
	if !cached {
		f.add(what+"/no cache", "", span)
	}
}

// language notes the language of CREATE FUNCTION.
func (f *finder) language(r *reader) {
	for r.skipTo("LANGUAGE", "AS", "RETURN", "BEGIN") {
		prev, next := r.at(-1), r.at(1)
		if !r.is("LANGUAGE") {
			if r.is("AS") {
				r.take() // the body is a string, or two
				r.take()
				continue
			}
			return
		}
		// "RETURNS language" and "SET x TO language" name other things.
		other := prev.Is(r.src, "RETURNS") || prev.Is(r.src, "SETOF") || prev.Is(r.src, "TO") ||
			prev.Is(r.src, "FUNCTION") || prev.Kind == sqllex.Operator || prev.Kind == sqllex.Punct && !prev.IsPunct(r.src, ")")
		r.take()
		if other || !isIdent(next) && next.Kind != sqllex.String {
			continue
		}
		name := sqllex.Ident(next.Text(r.src))
		if next.Kind == sqllex.String {
			name = strings.ToLower(strings.Trim(next.Text(r.src), "'"))
		}
		f.add("create function/language "+name, name, sqllex.Span{Start: r.at(-1).Start, End: next.End})
		return
	}
}

// alterOther notes "alter/OBJECT", and "alter OBJECT/what" for those of which a
// part works.
func (f *finder) alterOther(r *reader) {
	span := first(r, 2)
	object := strings.ToLower(f.info.Object)
	if object == "user" || object == "group" {
		object = "role"
	}
	f.add("alter/"+object, "", span)
	for !r.done() && r.at(0).Start < f.info.Name.Span.End {
		r.take()
	}
	if r.isPunct("(") { // the arguments of a function
		r.skipGroup()
	}
	if r.is("IN", "DATABASE") {
		r.i += 3
	}
	what := "other"
	switch {
	case r.is("RENAME"):
		what = "rename"
	case r.is("OWNER", "TO"):
		what = "owner"
	case r.is("SET", "SCHEMA"):
		what = "set schema"
	case r.is("RESET"):
		what = "reset"
	case r.is("SET", "NOT", "NULL"):
		what = "set not null"
	case r.is("SET", "STATISTICS"):
		what = "set statistics"
		if n, ok := number(r.src, r.at(2)); ok {
			f.count("statistics/target", n, spanOf(r.at(2)))
		}
	case r.is("SET"):
		what = "set"
	case r.isOneOf("ADD", "DROP", "VALIDATE", "DEPENDS", "NO"):
		what = strings.ToLower(r.at(0).Text(r.src))
	}
	f.add("alter "+object+"/"+what, "", span)
}

func (f *finder) dropIndex() {
	if f.info.Concurrently {
		f.add("drop index/concurrently", "", f.info.Mode).fix = []sqllex.Edit{removal(f.src, f.info.Mode)}
	}
}

func (f *finder) dropOther(r *reader) {
	span := first(r, 2)
	object := strings.ToLower(f.info.Object)
	f.add("drop/"+object, "", span)
	if f.info.Cascade {
		f.add("drop "+object+"/cascade", "", span)
	}
	if !f.info.IfExists {
		f.add("drop "+object+"/without if exists", "", span)
	}
}

// grant notes GRANT … ON SCHEMA public.
func (f *finder) grant(r *reader) {
	if !r.skipTo("ON") || !r.skip("ON", "SCHEMA") {
		return
	}
	for {
		start := r.i
		if name := r.name(); len(name) == 1 {
			f.add("grant on schema/"+name[0], name[0], r.span(start))
		}
		if !r.isPunct(",") {
			return
		}
		r.take()
	}
}

// session notes what neither defines nor changes data.
func (f *finder) session(r *reader) {
	span := first(r, 1)
	name := f.info.Name
	switch f.info.Kind {
	case sqllex.Begin:
		f.isolation(r)
	case sqllex.SetTransaction:
		f.setTransaction(r)
	case sqllex.Set:
		f.add("set/"+settingName(name), settingName(name), name.Span)
	case sqllex.SetLocal:
		f.add("set local/"+settingName(name), settingName(name), name.Span)
	case sqllex.Deallocate:
		if !sqllex.ContainsWord(f.src, "ALL") {
			f.add("statement/deallocate", "", span)
		}
	case sqllex.RefreshMaterializedView, sqllex.SecurityLabel:
		f.add(statementFeature(f.info.Kind), "", first(r, 2))
	case sqllex.ImportForeignSchema:
		f.add(statementFeature(f.info.Kind), "", first(r, 3))
	default:
		f.add(statementFeature(f.info.Kind), "", span)
	}
}

func settingName(n sqllex.Name) string {
	if n.Schema != "" {
		return strings.ToLower(n.Schema + "." + n.Name)
	}
	return strings.ToLower(n.Name)
}

// statementFeature spells a kind as words: "statement/rollback to savepoint".
func statementFeature(k sqllex.StatementKind) string {
	b := []byte("statement/")
	for i, c := range []byte(k.String()) {
		if c >= 'A' && c <= 'Z' {
			if i > 0 {
				b = append(b, ' ')
			}
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return string(b)
}

// isolation notes the level of BEGIN or SET TRANSACTION.
func (f *finder) isolation(r *reader) bool {
	for ; !r.done(); r.take() {
		if !r.is("ISOLATION", "LEVEL") {
			continue
		}
		words := 1
		if r.at(2).Is(r.src, "REPEATABLE") || r.at(2).Is(r.src, "READ") {
			words = 2
		}
		var level []string
		for n := range words {
			level = append(level, strings.ToUpper(r.at(2+n).Text(r.src)))
		}
		text := strings.Join(level, " ")
		f.add("isolation level/"+strings.ToLower(text), text, sqllex.Span{Start: r.at(0).Start, End: r.at(1 + words).End})
		return true
	}
	return false
}

func (f *finder) setTransaction(r *reader) {
	span := first(r, 2)
	if r.is("SET", "SESSION", "CHARACTERISTICS") {
		f.add("set/session characteristics", "", first(r, 3))
		return
	}
	n := len(f.found)
	f.isolation(r)
	if len(f.found) > n && f.found[n].name != "isolation level/repeatable read" {
		return // the server complains about the level
	}
	f.found = f.found[:n]
	f.add("set/transaction", "TRANSACTION", span)
}

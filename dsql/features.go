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
	depth int // of the statements that this one is within
}

// maxDepth is how many statements within another are looked at: that of EXPLAIN
// in a function's body, say.
const maxDepth = 3

// features gives what is special in a statement.
func features(sql string) []feature { return featuresWithin(sql, 0) }

func featuresWithin(sql string, depth int) []feature {
	f := &finder{src: sql, info: sqllex.Classify(sql), depth: depth}
	r := newReader(sql)
	if r.done() {
		return nil
	}
	f.statement(r)
	return f.found
}

// nested notes the features of a statement within this one, from one token up
// to another.
func (f *finder) nested(r *reader, from, to int) {
	if from >= to || to > len(r.toks) || f.depth >= maxDepth {
		return
	}
	start, end := r.toks[from].Start, r.toks[to-1].End
	for _, inner := range featuresWithin(r.src[start:end], f.depth+1) {
		inner.span.Start += start
		inner.span.End += start
		inner.fix = nil // what is right for a statement may not be within another
		f.found = append(f.found, inner)
	}
}

func (f *finder) statement(r *reader) {
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
	case sqllex.Grant, sqllex.Revoke:
		f.grant(r)
	case sqllex.Select, sqllex.Insert, sqllex.Update, sqllex.Delete, sqllex.Merge, sqllex.CopyTo, sqllex.CopyFrom, sqllex.Call:
		f.data(r)
	case sqllex.Explain:
		skipExplain(r)
		f.nested(r, r.i, len(r.toks))
	default:
		f.session(r)
	}
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
	case "domain":
		f.domainType(r)
	case "view":
		if f.info.Temporary || f.info.Name.Schema == "pg_temp" {
			f.add("create view/temp", "", span)
		}
		f.query(r)
	case "type":
		f.createType(r)
	case "sequence":
		if f.info.Temporary || f.info.Name.Schema == "pg_temp" {
			f.add("create sequence/temp", "", span)
		}
		r.i = 0
		f.sequenceOptions(r, "sequence", span)
	case "function":
		f.language(r)
		f.body(r)
	case "schema":
		f.schemaElements(r)
	}
}

// schemaElements notes the features of what CREATE SCHEMA makes besides the
// schema.
func (f *finder) schemaElements(r *reader) {
	start := -1
	for r.i = 1; r.skipTo("CREATE", "GRANT"); r.take() {
		if r.at(-1).Is(r.src, "AS") {
			continue
		}
		if start >= 0 {
			f.nested(r, start, r.i)
		}
		start = r.i
		f.add("create schema/"+strings.ToLower(sqllex.Classify(r.src[r.at(0).Start:]).Object), "", spanOf(r.at(0)))
	}
	if start >= 0 {
		f.nested(r, start, len(r.toks))
	}
}

// body notes what DSQL refuses in the statements of a function in SQL. It reads
// a body in quotes as it stands, so that one with escapes may not be read.
func (f *finder) body(r *reader) {
	for _, known := range f.found {
		if strings.HasPrefix(known.name, "create function/language ") && known.name != "create function/language sql" {
			return
		}
	}
	r.i = 0
	if !r.skipTo("AS", "BEGIN", "RETURN") {
		return
	}
	if !r.is("AS") {
		f.query(&reader{src: r.src, toks: r.toks[r.i:]})
		return
	}
	t := r.at(1)
	text := t.Text(r.src)
	switch t.Kind {
	case sqllex.String:
		if text[0] != '\'' {
			return
		}
		text = strings.ReplaceAll(text[1:len(text)-1], "''", "'")
	case sqllex.DollarString:
		tag := strings.IndexByte(text[1:], '$') + 2
		text = text[tag : len(text)-tag]
	default:
		return
	}
	statements, err := sqllex.Split(text, sqllex.Options{Delimiter: ";"})
	if err != nil || f.depth >= maxDepth {
		return
	}
	for _, s := range statements {
		for _, inner := range featuresWithin(s.Text, f.depth+1) {
			if inner.name == numericFeature {
				continue // it is about a place in the text
			}
			inner.span, inner.fix = spanOf(t), nil
			f.found = append(f.found, inner)
		}
	}
}

// domainType notes the type that a domain is made of. What a domain of numeric
// without precision is, is not known.
func (f *finder) domainType(r *reader) {
	for !r.done() && r.at(0).Start < f.info.Name.Span.End {
		r.take()
	}
	r.skip("AS")
	if t := readType(r); t.display != "numeric" || t.array {
		f.columnType(t)
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
	if object == "policy" && r.skip("ON") {
		r.name()
	}
	if object == "sequence" {
		f.sequenceType(r)
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

// sequenceType notes AS of ALTER SEQUENCE.
func (f *finder) sequenceType(r *reader) {
	ahead := &reader{src: r.src, toks: r.toks, i: r.i}
	if ahead.skipTo("AS") {
		ahead.take()
		start := ahead.i
		if t := readType(ahead); t.known {
			f.add("sequence type/"+t.display, t.display, ahead.span(start))
		}
	}
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

// grant notes GRANT … ON SCHEMA public, and REVOKE.
func (f *finder) grant(r *reader) {
	what := "grant on schema/"
	if f.info.Kind == sqllex.Revoke {
		what = "revoke on schema/"
	}
	if !r.skipTo("ON") || !r.skip("ON", "SCHEMA") {
		return
	}
	for {
		start := r.i
		if name := r.name(); len(name) == 1 {
			f.add(what+name[0], name[0], r.span(start))
		}
		if !r.isPunct(",") {
			return
		}
		r.take()
	}
}

// Explained gives where the statement begins that EXPLAIN is about, and whether
// EXPLAIN ANALYZE runs it.
func Explained(stmt string) (start int, runs bool) {
	r := newReader(stmt)
	runs = skipExplain(r)
	return r.at(0).Start, runs
}

// skipExplain takes EXPLAIN and its options.
func skipExplain(r *reader) (runs bool) {
	if !r.skip("EXPLAIN") {
		return false
	}
	if r.isPunct("(") && !r.at(1).Is(r.src, "SELECT") && !r.at(1).Is(r.src, "WITH") && !r.at(1).Is(r.src, "VALUES") &&
		!r.at(1).Is(r.src, "TABLE") && !r.at(1).IsPunct(r.src, "(") {
		for _, option := range r.group() {
			if option.isOneOf("ANALYZE", "ANALYSE") {
				runs = !option.at(1).Is(r.src, "FALSE") && !option.at(1).Is(r.src, "OFF") && option.at(1).Text(r.src) != "0"
			}
		}
		return runs
	}
	if r.isOneOf("ANALYZE", "ANALYSE") {
		r.take()
		runs = true
	}
	r.skip("VERBOSE")
	return runs
}

// session notes what neither defines nor changes data.
func (f *finder) session(r *reader) {
	span := first(r, 1)
	name := f.info.Name
	switch f.info.Kind {
	case sqllex.Begin:
		f.isolation(r)
	case sqllex.Commit, sqllex.Rollback:
		f.chain(r)
	case sqllex.SetTransaction:
		f.setTransaction(r)
	case sqllex.Set:
		f.add("set/"+settingName(name), settingName(name), name.Span)
	case sqllex.SetLocal:
		f.add("set local/"+settingName(name), settingName(name), name.Span)
	case sqllex.Deallocate:
		r.take()
		r.skip("PREPARE")
		if !r.is("ALL") {
			f.add("statement/deallocate", "", span)
		}
	case sqllex.PrepareTransaction, sqllex.CommitPrepared, sqllex.RollbackPrepared:
		name := statementFeature(f.info.Kind)
		f.add(name, strings.ToUpper(strings.TrimPrefix(name, "statement/")), span)
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

// isolation notes the levels of BEGIN or SET TRANSACTION.
func (f *finder) isolation(r *reader) {
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
	}
}

// chain notes COMMIT AND CHAIN and ROLLBACK AND CHAIN.
func (f *finder) chain(r *reader) {
	text := strings.ToUpper(r.take().Text(r.src))
	if !r.skip("WORK") {
		r.skip("TRANSACTION")
	}
	if start := r.i; r.skip("AND", "CHAIN") {
		f.add("transaction/chain", text+" AND CHAIN", r.span(start))
	}
}

func (f *finder) setTransaction(r *reader) {
	span := first(r, 2)
	switch {
	case r.is("SET", "SESSION", "CHARACTERISTICS"):
		f.add("set/session characteristics", "SESSION CHARACTERISTICS", first(r, 3))
		return
	case r.is("SET", "TRANSACTION", "SNAPSHOT"):
		f.add("set/transaction", "TRANSACTION SNAPSHOT", span)
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

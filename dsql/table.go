package dsql

import (
	"strings"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

func (f *finder) createTable(r *reader) {
	span := first(r, 2)
	if f.info.Temporary || f.info.Name.Schema == "pg_temp" {
		f.add("create table/temp", "", first(r, 3))
	}
	if r.at(1).Is(r.src, "UNLOGGED") {
		f.add("create table/unlogged", "", spanOf(r.at(1)))
	}
	for !r.done() && r.at(0).Start < f.info.Name.Span.End {
		r.take()
	}
	var parts []*reader
	switch {
	case r.is("OF"):
		f.add("create table/of", "", spanOf(r.take()))
		r.name()
		r.group()
	case r.is("PARTITION", "OF"):
		f.add("create table/partition of", "", sqllex.Span{Start: r.at(0).Start, End: r.at(1).End})
	default:
		parts = r.group()
	}
	f.tableOptions(r)
	f.elements(parts, span)
}

// tableOptions notes the clauses behind the columns.
func (f *finder) tableOptions(r *reader) {
	for !r.done() {
		words := 2
		switch {
		case r.is("PARTITION", "BY"), r.is("ON", "COMMIT"):
		case r.is("INHERITS"), r.is("TABLESPACE"), r.is("USING"), r.is("WITH") && r.at(1).IsPunct(r.src, "("):
			words = 1
		default:
			r.skipGroup()
			continue
		}
		span := sqllex.Span{Start: r.at(0).Start, End: r.at(words - 1).End}
		f.add("create table/"+strings.ToLower(strings.Join(strings.Fields(r.src[span.Start:span.End]), " ")), "", span)
		r.i += words
	}
}

// elements reads the columns and constraints of a table.
func (f *finder) elements(parts []*reader, span sqllex.Span) {
	columns := map[string]typeName{}
	var n int64
	var constraints []*reader
	for _, p := range parts {
		switch {
		case p.isOneOf("CONSTRAINT", "CHECK", "UNIQUE", "PRIMARY", "FOREIGN"),
			p.is("EXCLUDE") && (p.at(1).IsPunct(p.src, "(") || p.at(1).Is(p.src, "USING")):
			constraints = append(constraints, p)
		case p.is("LIKE"):
		default:
			n++
			name := p.ident()
			if p.done() {
				continue
			}
			t := readType(p)
			columns[name] = t
			f.columnType(t)
			f.columnConstraints(p, t)
		}
	}
	if n > 0 {
		f.count("create table/columns", n, span)
	}
	for _, p := range constraints {
		f.tableConstraint(p, columns)
	}
}

// constraintWords begin a constraint of a column, or end a default before one.
var constraintWords = []string{
	"CONSTRAINT", "COLLATE", "NOT", "NULL", "DEFAULT", "CHECK", "UNIQUE", "PRIMARY", "REFERENCES",
	"GENERATED", "DEFERRABLE", "INITIALLY", "STORAGE", "COMPRESSION",
}

// columnConstraints reads what stands behind a column's type.
func (f *finder) columnConstraints(r *reader, t typeName) {
	last := "" // the constraint that DEFERRABLE would be about
	for r.skipTo(constraintWords...) {
		tok := r.at(0)
		switch {
		case r.at(-1).Is(r.src, "SET"): // ON DELETE SET NULL
		case r.is("CONSTRAINT"):
			r.take()
		case r.is("COLLATE"):
			f.add("create table/collate", "", spanOf(tok))
			r.take()
		case r.is("STORAGE"):
			f.add("create table/storage", "", spanOf(tok))
			r.take()
		case r.is("COMPRESSION"):
			f.add("create table/compression", "", spanOf(tok))
			r.take()
		case r.is("DEFAULT") && !r.at(-1).Is(r.src, "BY"):
			r.take() // what follows is an expression, even if it is NULL
			if nesting(r.src, r.at(0)) > 0 {
				r.skipGroup()
				continue
			}
		case r.is("NOT", "DEFERRABLE"):
			r.take()
		case r.is("UNIQUE"), r.is("PRIMARY", "KEY"):
			last = "key"
			if t.known && !t.array {
				f.add("key type/"+t.display, t.display, spanOf(tok))
			}
		case r.is("CHECK"):
			last = "check"
		case r.is("REFERENCES"):
			last = "foreign key"
			f.add("create table/foreign key", "", spanOf(tok))
		case r.is("GENERATED"):
			f.identity(r, t)
		case r.is("DEFERRABLE"), r.is("INITIALLY", "DEFERRED") && !r.at(-1).Is(r.src, "DEFERRABLE"):
			f.add("deferrable/"+last, "", spanOf(tok))
		}
		r.take()
	}
}

// identity reads GENERATED … AS IDENTITY, and leaves GENERATED … AS (…) alone.
func (f *finder) identity(r *reader, t typeName) {
	start := r.i
	ahead := &reader{src: r.src, toks: r.toks, i: r.i}
	if !ahead.skip("GENERATED", "ALWAYS") && !ahead.skip("GENERATED", "BY", "DEFAULT") || !ahead.skip("AS", "IDENTITY") {
		return
	}
	span := ahead.span(start)
	f.add("identity", "", span)
	if t.known && !t.array && t.display != "bigint" {
		f.add("identity type/"+t.display, t.display, t.span)
	}
	options := &reader{src: r.src}
	if ahead.isPunct("(") {
		from := ahead.i
		ahead.skipGroup()
		options.toks = r.toks[from:ahead.i]
	}
	f.sequenceOptions(options, "identity", span)
	r.i = ahead.i - 1
}

// tableConstraint reads a constraint that is not part of a column.
func (f *finder) tableConstraint(r *reader, columns map[string]typeName) {
	if r.skip("CONSTRAINT") {
		r.ident()
	}
	last, start := "", r.at(0)
	switch {
	case r.skip("PRIMARY", "KEY"), r.skip("UNIQUE"):
		last = "key"
		f.keyColumns(r, columns, spanOf(start))
	case r.is("CHECK"):
		last = "check"
	case r.is("FOREIGN", "KEY"):
		last = "foreign key"
		f.add("create table/foreign key", "", spanOf(start))
	case r.is("EXCLUDE"):
		f.add("create table/exclude", "", spanOf(start))
		return
	}
	f.deferral(r, last)
}

// deferral notes DEFERRABLE behind a constraint.
func (f *finder) deferral(r *reader, last string) {
	for r.skipTo("DEFERRABLE", "INITIALLY") {
		if r.is("DEFERRABLE") && !r.at(-1).Is(r.src, "NOT") || r.is("INITIALLY", "DEFERRED") {
			f.add("deferrable/"+last, "", spanOf(r.at(0)))
			return
		}
		r.take()
	}
}

// keyColumns counts the columns of a key and looks at their types.
func (f *finder) keyColumns(r *reader, columns map[string]typeName, span sqllex.Span) {
	if !r.skip("NULLS", "NOT", "DISTINCT") {
		r.skip("NULLS", "DISTINCT")
	}
	keys := r.group()
	f.count("key/columns", int64(len(keys)), span)
	for _, k := range keys {
		at := spanOf(k.at(0))
		if t := columns[k.ident()]; t.known && !t.array {
			f.add("key type/"+t.display, t.display, at)
		}
	}
}

package dsql

import "github.com/aurora-migrate/aurora/internal/sqllex"

// createIndex notes what is special in CREATE INDEX, in the order in which the
// server complains about it.
func (f *finder) createIndex(r *reader) {
	info := f.info
	if info.Name.Schema != "" {
		f.add("create index/schema-qualified name", "", info.Name.Span)
	}
	if info.IfNotExists && info.Name.IsZero() {
		f.add("create index/if not exists without name", "", first(r, 2))
	}
	async := []sqllex.Edit{{Span: sqllex.Span{Start: info.ModeAt, End: info.ModeAt}, Text: " ASYNC"}}
	if info.Concurrently {
		f.add("create index/concurrently", "", info.Mode).fix = []sqllex.Edit{{Span: info.Mode, Text: "ASYNC"}}
	}
	if !info.Index.Using.IsZero() {
		u := f.add("create index/using", info.Index.Method, info.Index.Using)
		if info.Index.Method == "btree" {
			u.fix = []sqllex.Edit{removal(f.src, info.Index.Using)}
		}
	}
	behind := max(info.Table.Span.End, info.Index.Using.End)
	for !r.done() && r.at(0).Start < behind {
		r.take()
	}
	start := r.at(0)
	keys := r.group()
	included := f.indexOptions(r)
	if !info.Concurrently && !info.Async {
		f.add("create index/without async", "", first(r, 2)).fix = async
	}
	for _, k := range keys {
		f.indexKey(k)
	}
	for _, column := range included {
		if column.at(0).Kind == sqllex.Punct || column.at(1).IsPunct(column.src, "(") {
			f.add("create index/expression in include", "", spanOf(column.at(0)))
		}
	}
	if len(keys) > 0 {
		f.count("key/columns", int64(len(keys)), spanOf(start))
	}
}

// indexOptions notes the clauses behind the keys and gives the columns of
// INCLUDE.
func (f *finder) indexOptions(r *reader) (included []*reader) {
	for r.skipTo("INCLUDE", "WITH", "TABLESPACE", "WHERE") {
		switch tok := r.take(); {
		case tok.Is(r.src, "WHERE"):
			f.add("create index/where", "", spanOf(tok))
			return included
		case tok.Is(r.src, "INCLUDE"):
			included = r.group()
		case tok.Is(r.src, "WITH"):
			f.add("create index/with", "", spanOf(tok))
		default:
			f.add("create index/tablespace", "", spanOf(tok))
		}
	}
	return included
}

// indexKey notes what is said of one key of an index.
func (f *finder) indexKey(r *reader) {
	tok := r.at(0)
	switch {
	case r.isPunct("("):
		f.add("create index/expression", "", spanOf(tok))
		r.skipGroup()
	case isIdent(tok):
		r.name()
		if r.isPunct("(") {
			f.add("create index/expression", "", spanOf(tok))
			r.skipGroup()
		}
	default:
		return
	}
	if r.is("COLLATE") {
		f.add("create index/collate", "", spanOf(r.take()))
		r.name()
	}
	if isIdent(r.at(0)) && !r.isOneOf("ASC", "DESC", "NULLS") {
		start := r.i
		name := r.name()
		f.add("create index/opclass", name[len(name)-1], r.span(start))
		if r.isPunct("(") {
			r.skipGroup()
		}
	}
	switch order := r.at(0); {
	case r.is("ASC"):
		f.sortOrder(r, order)
	case r.is("DESC"):
		f.add("create index/sort order", "", spanOf(order))
	}
}

// sortOrder notes ASC, which can go where it says what is the case anyway.
func (f *finder) sortOrder(r *reader, order sqllex.Token) {
	o := f.add("create index/sort order", "", spanOf(order))
	if r.at(1).Kind == sqllex.EOF {
		o.fix = []sqllex.Edit{removal(f.src, spanOf(order))}
	}
}

package dsql

import (
	"strings"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// data notes what is special in statements that read or change rows.
func (f *finder) data(r *reader) {
	span := first(r, 1)
	f.add(statementFeature(f.info.Kind), "", span)
	switch f.info.Kind {
	case sqllex.CopyFrom, sqllex.CopyTo:
		if !f.info.Stdio {
			f.copyFile(r)
		}
		if r.at(1).IsPunct(r.src, "(") { // COPY (query) TO
			r.take()
			start := r.i + 1
			r.skipGroup()
			f.nested(r, start, r.i-1)
		}
		return
	case sqllex.Insert:
		f.insertedRows(r)
	case sqllex.Call:
		f.callArguments(r)
		return
	}
	f.query(r)
}

// copyFile notes what COPY reads from or writes to if it is not the client.
func (f *finder) copyFile(r *reader) {
	ahead := &reader{src: r.src, toks: r.toks}
	if !ahead.skipTo("FROM", "TO") {
		return
	}
	switch what := ahead.at(1); {
	case what.Is(r.src, "PROGRAM"):
		f.add("copy/program", "PROGRAM", spanOf(what))
	case what.Kind == sqllex.String:
		f.add("copy/file", "file", spanOf(what))
	}
}

// callArguments notes a subquery among the arguments of CALL.
func (f *finder) callArguments(r *reader) {
	depth := 0
	for ; !r.done(); r.take() {
		depth += nesting(r.src, r.at(0))
		if depth >= 2 && r.is("SELECT") && r.at(-1).IsPunct(r.src, "(") {
			f.add("call/subquery", "", spanOf(r.at(0)))
			return
		}
	}
}

// insertedRows counts the rows of INSERT … VALUES. Those of ON CONFLICT may
// change nothing and are not counted.
func (f *finder) insertedRows(r *reader) {
	defer func() { r.i = 0 }()
	r.i = 0
	if !r.skipTo("VALUES", "SELECT", "DEFAULT") || !r.is("VALUES") {
		return
	}
	start := r.i
	r.take()
	var n int64
	for r.isPunct("(") {
		r.skipGroup()
		n++
		if !r.isPunct(",") {
			break
		}
		r.take()
	}
	span := spanOf(r.toks[start])
	if !r.is("ON", "CONFLICT") {
		f.count("insert/rows", n, span)
	}
}

// query notes clauses and functions of queries, at any depth.
func (f *finder) query(r *reader) {
	// groups says of each open group whether it may hold a query of its own;
	// that of "substring(a FOR share)" does not.
	groups := []bool{true}
	for r.i = 0; !r.done(); r.take() {
		t := r.at(0)
		switch nesting(r.src, t) {
		case 1:
			next, prev := r.at(1), r.at(-1)
			groups = append(groups, next.Is(r.src, "SELECT") || next.Is(r.src, "WITH") || next.Is(r.src, "VALUES") ||
				next.Is(r.src, "TABLE") || next.IsPunct(r.src, "(") && !prev.Is(r.src, "SUBSTRING") && !prev.Is(r.src, "OVERLAY"))
			continue
		case -1:
			groups = groups[:max(1, len(groups)-1)]
			continue
		}
		if !isIdent(t) || r.at(-1).IsPunct(r.src, ".") {
			continue
		}
		switch {
		case t.Is(r.src, "FOR") && groups[len(groups)-1]:
			f.locking(r)
		case t.Is(r.src, "TABLESAMPLE"):
			prev, next := r.at(-1), r.at(2)
			if (isIdent(prev) && !prev.Is(r.src, "SELECT") || prev.IsPunct(r.src, ")")) && isIdent(r.at(1)) && !r.at(1).Is(r.src, "FROM") &&
				(next.IsPunct(r.src, "(") || next.IsPunct(r.src, ".")) {
				f.add("query/tablesample", "", spanOf(t))
			}
		case r.is("GROUP", "BY", "ALL"):
			if end := r.at(3); end.Kind == sqllex.EOF {
				f.add("query/group by all", "", sqllex.Span{Start: t.Start, End: r.at(2).End})
			}
		default:
			f.function(r)
		}
	}
}

// locking notes FOR UPDATE and its kin.
func (f *finder) locking(r *reader) {
	for _, words := range [...][]string{{"NO", "KEY", "UPDATE"}, {"KEY", "SHARE"}, {"SHARE"}, {"UPDATE"}} {
		rest := &reader{src: r.src, toks: r.toks, i: r.i + 1}
		if rest.is(words...) {
			f.add("query/for "+strings.ToLower(strings.Join(words, " ")), "",
				sqllex.Span{Start: r.at(0).Start, End: r.at(len(words)).End})
			return
		}
	}
}

// function notes a call of a function of PostgreSQL or of the schema sys, and
// the setting that set_config sets.
func (f *finder) function(r *reader) {
	start := r.i
	prev := r.at(-1)
	// A table or CTE may be called like a function and have a list of columns.
	if prev.Is(r.src, "INTO") || prev.Is(r.src, "WITH") || prev.Is(r.src, "RECURSIVE") || prev.Is(r.src, "AS") ||
		prev.Is(r.src, "VIEW") || prev.Is(r.src, "EXISTS") && f.info.Kind == sqllex.CreateOther {
		return
	}
	name := []string{sqllex.Ident(r.at(0).Text(r.src))}
	args := 1
	if r.at(1).IsPunct(r.src, ".") && isIdent(r.at(2)) {
		name = append(name, sqllex.Ident(r.at(2).Text(r.src)))
		args = 3
	}
	if !r.at(args).IsPunct(r.src, "(") || r.at(start-r.i+args+1).Kind == sqllex.EOF {
		return
	}
	last := name[len(name)-1]
	switch {
	case len(name) == 2 && name[0] == "sys":
		last = "sys." + last
	case len(name) == 2 && name[0] != "pg_catalog":
		return
	}
	f.add("function/"+last, last, sqllex.Span{Start: r.at(0).Start, End: r.at(args - 1).End})
	if last == "set_config" {
		f.setConfig(r, args)
	}
}

// setConfig notes the setting of set_config where it is written out.
func (f *finder) setConfig(r *reader, open int) {
	call := &reader{src: r.src, toks: r.toks, i: r.i + open}
	args := call.group()
	if len(args) == 0 || len(args[0].toks) != 1 {
		return
	}
	if t := args[0].at(0); t.Kind == sqllex.String {
		text := t.Text(r.src)
		setting := strings.ToLower(strings.Trim(text[strings.IndexByte(text, '\''):], "'"))
		what := "set/"
		if len(args) == 3 && args[2].is("TRUE") {
			what = "set local/"
		}
		f.add(what+setting, setting, spanOf(t))
	}
}

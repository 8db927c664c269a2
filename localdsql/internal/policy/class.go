package policy

import (
	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// class says what a statement counts as. Of COMMENT and CREATE STATISTICS it is
// not known what DSQL thinks; here they are DDL, as they change the catalog, and
// ANALYZE and SET are not.
func class(sql string, info sqllex.Info) Class {
	switch info.Kind {
	case sqllex.Begin:
		return Begin
	case sqllex.Commit:
		return Commit
	case sqllex.Rollback:
		return Rollback
	case sqllex.Explain:
		if inner, runs := dsql.Explained(sql); runs && sqllex.Classify(sql[inner:]).IsDML() {
			return DML
		}
		return Read
	case sqllex.CopyTo:
		if query, ok := copied(sql); ok && sqllex.Classify(query).IsDML() {
			return DML
		}
		return Read
	case sqllex.Call:
		if info.Name.Name == "wait_for_job" {
			return Call
		}
		return Read
	case sqllex.Other:
		if _, ok := iamMapping(sql); ok {
			return DDL
		}
		return Read
	}
	switch {
	case info.IsDML():
		return DML
	case info.IsDDL():
		return DDL
	}
	return Read
}

// copied gives the query of COPY (query) TO.
func copied(sql string) (query string, ok bool) {
	w := read(sql)
	if !w.at(1).IsPunct(sql, "(") {
		return "", false
	}
	end := w.closing(1)
	return sql[w.at(1).End:w.at(end).Start], w.at(end).Kind != sqllex.EOF
}

// names gives the objects that DDL makes, changes or locks, as far as it names
// them. Foreign keys lock the tables that they refer to.
func names(sql string, info sqllex.Info) []string {
	var out []string
	add := func(name string) {
		if name != "" {
			out = append(out, name)
		}
	}
	switch info.Kind {
	case sqllex.Grant, sqllex.Revoke:
		return granted(sql)
	case sqllex.CommentOn:
		if info.Object == "COLUMN" {
			add(info.Name.Schema) // of t.c it is t
			return out
		}
	}
	if len(info.Names) > 0 {
		for _, n := range info.Names {
			add(n.Name)
		}
	} else {
		add(info.Name.Name)
	}
	add(info.Table.Name)
	for _, a := range info.Actions {
		if a.Kind == sqllex.RenameTable {
			add(a.Name)
		}
	}
	switch {
	case info.Kind == sqllex.CreateTable, info.Kind == sqllex.AlterTable, info.Object == "SCHEMA":
		return append(out, following(sql, "REFERENCES")...)
	case info.Object == "STATISTICS" && info.Kind == sqllex.CreateOther:
		return append(out, following(sql, "FROM")...)
	}
	return out
}

// following gives the names behind each of a word.
func following(sql, word string) []string {
	var out []string
	w := read(sql)
	for i := range w.toks {
		if !w.at(i).Is(sql, word) || !isName(w.at(i+1)) {
			continue
		}
		i++
		for w.at(i+1).IsPunct(sql, ".") && isName(w.at(i+2)) {
			i += 2
		}
		out = append(out, w.ident(i))
	}
	return out
}

// granted gives the objects of GRANT … ON or REVOKE … ON.
func granted(sql string) []string {
	w := read(sql)
	i := 0
	for ; w.at(i).Kind != sqllex.EOF && !w.at(i).Is(sql, "ON"); i++ {
		if w.at(i).IsPunct(sql, "(") { // columns
			i = w.closing(i)
		}
	}
	i++
	switch {
	case w.at(i).Is(sql, "ALL") && w.at(i+2).Is(sql, "IN"):
		i += 4 // ALL TABLES IN SCHEMA
	case isName(w.at(i)) && isName(w.at(i+1)) && !w.at(i+1).Is(sql, "TO") && !w.at(i+1).Is(sql, "FROM"):
		i++ // TABLE, SCHEMA and so on
	}
	var out []string
	for isName(w.at(i)) {
		for w.at(i+1).IsPunct(sql, ".") {
			i += 2
		}
		out = append(out, sqllex.Ident(w.at(i).Text(sql)))
		if i++; w.at(i).IsPunct(sql, "(") { // a function's arguments
			i = w.closing(i) + 1
		}
		if !w.at(i).IsPunct(sql, ",") {
			break
		}
		i++
	}
	return out
}

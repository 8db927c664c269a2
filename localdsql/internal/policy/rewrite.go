package policy

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// What a cluster says of its version.
const (
	ServerVersion    = "16.15"
	ServerVersionNum = "160015"
)

// constants are settings with the value that a cluster shows.
var constants = map[string]string{"server_version": ServerVersion, "server_version_num": ServerVersionNum}

// settings are those that PostgreSQL has not, with the name it is given for
// them and the value that they begin with.
var settings = map[string]struct{ backend, value string }{
	"disable_sync_create_index":    {"aurora.disable_sync_create_index", "on"},
	"dsql.enable_batched_nestloop": {"dsql.enable_batched_nestloop", "on"},
}

// BackendParameter gives the name that the backend has for a setting of a
// client. Nearly always it is the same.
func BackendParameter(name string) string {
	if s, ok := settings[strings.ToLower(name)]; ok {
		return s.backend
	}
	return name
}

// rewrite sets what the backend is sent, where that is not the client's text.
func (d *Decision) rewrite(sql string, info sqllex.Info) {
	switch info.Kind {
	case sqllex.CreateIndex:
		if info.Async {
			d.createIndex(sql, info)
		}
	case sqllex.CreateTable, sqllex.CreateOther:
		d.edit(dsql.NumericDefaults(sql))
	case sqllex.AlterTable:
		if info.Async {
			d.validate(sql, info)
			return
		}
		edits := append(dsql.NumericDefaults(sql), allTriggers(sql, info)...)
		slices.SortFunc(edits, func(a, b sqllex.Edit) int { return a.Span.Start - b.Span.Start })
		d.edit(edits)
	case sqllex.DropOther:
		d.dropRole(sql, info)
	case sqllex.Show:
		d.show(info)
	case sqllex.Set, sqllex.SetLocal, sqllex.Reset:
		if s, ok := settings[info.Name.Name]; ok && info.Name.Schema == "" {
			d.edit([]sqllex.Edit{{Span: info.Name.Span, Text: s.backend}})
		}
	case sqllex.Other:
		if m, ok := iamMapping(sql); ok {
			d.replace(m.call, m.tag)
			d.NoRows = true
		}
	}
}

// replace sends another statement in place of the client's, with what stands
// behind that: a semicolon may have to keep it from the next one. Positions in
// it say nothing about the client's text.
func (d *Decision) replace(sql, tag string) {
	w := read(d.Text)
	d.SQL, d.Tag = sql+d.Text[w.at(len(w.toks)-1).End:], tag
	d.Position = func(int) int { return 0 }
}

// edit replaces parts of the text; the edits must be in order.
func (d *Decision) edit(edits []sqllex.Edit) {
	if len(edits) == 0 {
		return
	}
	sql, err := sqllex.Apply(d.Text, edits...)
	if err != nil {
		return // edits of one place, of a text that PostgreSQL will not read either
	}
	d.SQL = sql
	text := d.Text
	d.Position = func(position int) int {
		if position <= 0 {
			return 0
		}
		offset := source(edits, byteOffset(sql, position))
		return utf8.RuneCountInString(text[:min(offset, len(text))]) + 1
	}
}

// source gives the byte of the text before the edits for one behind them.
func source(edits []sqllex.Edit, offset int) int {
	shift := 0
	for _, e := range edits {
		start := e.Span.Start + shift
		switch {
		case offset < start:
			return offset - shift
		case offset < start+len(e.Text):
			return e.Span.Start
		}
		shift += len(e.Text) - (e.Span.End - e.Span.Start)
	}
	return offset - shift
}

// byteOffset gives the byte at which the character of that number (from 1)
// begins, and the text's length for one behind it.
func byteOffset(s string, position int) int {
	for offset := range s {
		if position--; position == 0 {
			return offset
		}
	}
	return len(s)
}

// createIndex makes a job of CREATE INDEX ASYNC. The function that does it gets
// the statement with blanks for ASYNC and UNIQUE, so that positions in it stay
// what they are.
func (d *Decision) createIndex(sql string, info sqllex.Info) {
	tag := dollarTag(sql)
	w := read(sql)
	start, end := w.at(0).Start, w.at(len(w.toks)-1).End
	edits := []sqllex.Edit{{
		// What stands before the statement may be a semicolon.
		Span: sqllex.Span{End: start}, Text: "SELECT sys._create_index(" + tag + strings.Repeat(" ", utf8.RuneCountInString(sql[:start])),
	}}
	if unique := w.at(1); info.Index.Unique && unique.Is(sql, "UNIQUE") {
		edits = append(edits, blank(sqllex.Span{Start: unique.Start, End: unique.End}))
	}
	d.edit(append(edits, blank(info.Mode), sqllex.Edit{
		Span: sqllex.Span{Start: end, End: end},
		Text: tag + ", " + strconv.FormatBool(info.Index.Unique) + ") AS job_id",
	}))
	d.Tag = "CREATE INDEX"
}

// blank is the edit that puts blanks in place of a span.
func blank(span sqllex.Span) sqllex.Edit {
	return sqllex.Edit{Span: span, Text: strings.Repeat(" ", span.End-span.Start)}
}

// dollarTag gives a dollar quote that is not in a text.
func dollarTag(sql string) string {
	tag := "$aurora$"
	for n := 1; strings.Contains(sql, tag); n++ {
		tag = "$aurora" + strconv.Itoa(n) + "$"
	}
	return tag
}

// validate makes a job of ALTER TABLE ASYNC … VALIDATE CONSTRAINT.
func (d *Decision) validate(sql string, info sqllex.Info) {
	if len(info.Actions) != 1 || info.Actions[0].Kind != sqllex.ValidateConstraint || info.Actions[0].Name == "" || info.Name.Name == "" {
		return
	}
	table := quoted(info.Name.Name)
	if info.Name.Schema != "" {
		table = quoted(info.Name.Schema) + "." + table
	}
	d.replace("SELECT sys._validate_constraint("+literal(table)+", "+literal(info.Actions[0].Name)+", "+
		strconv.FormatBool(info.IfExists)+") AS job_id", "ALTER TABLE")
}

// allTriggers makes USER of ALL in ENABLE and DISABLE TRIGGER: DSQL has no
// triggers, and those that PostgreSQL makes for foreign keys must stay.
func allTriggers(sql string, info sqllex.Info) []sqllex.Edit {
	var edits []sqllex.Edit
	w := read(sql)
	for i := range w.toks {
		at := w.at(i).Start
		begins := slices.ContainsFunc(info.Actions, func(a sqllex.Action) bool { return a.Span.Start == at })
		if begins && (w.are(i, "ENABLE", "TRIGGER", "ALL") || w.are(i, "DISABLE", "TRIGGER", "ALL")) {
			edits = append(edits, sqllex.Edit{Span: sqllex.Span{Start: w.at(i + 2).Start, End: w.at(i + 2).End}, Text: "USER"})
		}
	}
	return edits
}

// dropRole drops roles by a function that knows who is mapped to them.
func (d *Decision) dropRole(sql string, info sqllex.Info) {
	if info.Object != "ROLE" && info.Object != "USER" && info.Object != "GROUP" || len(info.Names) == 0 {
		return
	}
	i := 2
	if info.IfExists {
		i += 2
	}
	w := read(sql)
	if len(w.toks) != i+2*len(info.Names)-1 {
		return
	}
	roles := make([]string, len(info.Names))
	for n, name := range info.Names {
		tok := w.at(i + 2*n)
		for _, special := range [...]string{"CURRENT_ROLE", "CURRENT_USER", "SESSION_USER", "PUBLIC", "NONE"} {
			if tok.Is(sql, special) {
				return
			}
		}
		roles[n] = literal(name.Name)
	}
	d.replace("SELECT sys._drop_role(ARRAY["+strings.Join(roles, ", ")+"]::text[], "+strconv.FormatBool(info.IfExists)+")", "DROP ROLE")
	d.NoRows = true
}

// show shows constants, and settings that PostgreSQL does not know before they
// are set.
func (d *Decision) show(info sqllex.Info) {
	name := info.Name.Name
	if info.Name.Schema != "" {
		name = info.Name.Schema + "." + name
	}
	name = strings.ToLower(name)
	if value, ok := constants[name]; ok {
		d.replace("SELECT "+literal(value)+"::text AS "+quoted(name), "SHOW")
	} else if s, ok := settings[name]; ok {
		d.replace("SELECT coalesce(nullif(current_setting("+literal(s.backend)+", true), ''), "+literal(s.value)+") AS "+quoted(name), "SHOW")
	}
}

// An iam is AWS IAM GRANT or AWS IAM REVOKE.
type iam struct{ call, tag string }

// iamMapping reads AWS IAM GRANT role TO 'arn' or AWS IAM REVOKE role FROM
// 'arn'.
func iamMapping(sql string) (iam, bool) {
	w := read(sql)
	if len(w.toks) != 6 || !isName(w.at(3)) || w.at(5).Kind != sqllex.String {
		return iam{}, false
	}
	args := "(" + literal(w.ident(3)) + ", " + w.at(5).Text(sql) + ")"
	switch {
	case w.are(0, "AWS", "IAM", "GRANT") && w.are(4, "TO"):
		return iam{"SELECT sys._iam_grant" + args, "GRANT"}, true
	case w.are(0, "AWS", "IAM", "REVOKE") && w.are(4, "FROM"):
		return iam{"SELECT sys._iam_revoke" + args, "REVOKE"}, true
	}
	return iam{}, false
}

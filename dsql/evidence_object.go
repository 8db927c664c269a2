package dsql

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A class is where the catalog keeps objects of a sort.
type class struct {
	catalog, name, owner string
	schema               string // column; empty for what is in no schema
	filter               string // on the catalog, as o
}

// classes are the objects that Aurora DSQL can create, by what CREATE calls
// them. sequences and views are found with the tables in relation.
var classes = map[string]class{
	"VIEW":     {"pg_class", "relname", "relowner", "relnamespace", "o.relkind = 'v'"},
	"SEQUENCE": {"pg_class", "relname", "relowner", "relnamespace", "o.relkind = 'S'"},
	"INDEX":    {"pg_class", "relname", "relowner", "relnamespace", "o.relkind IN ('i', 'I')"},
	"TABLE":    {"pg_class", "relname", "relowner", "relnamespace", "o.relkind IN ('r', 'p')"},
	"DOMAIN":   {"pg_type", "typname", "typowner", "typnamespace", "o.typtype = 'd'"},
	"FUNCTION": {"pg_proc", "proname", "proowner", "pronamespace", "o.prokind IN ('f', 'w') AND " + sameArguments},
	"ROUTINE":  {"pg_proc", "proname", "proowner", "pronamespace", sameArguments},

	"STATISTICS": {"pg_statistic_ext", "stxname", "stxowner", "stxnamespace", "true"},

	"SCHEMA": {catalog: "pg_namespace", name: "nspname", owner: "nspowner", filter: "true"},
	"ROLE":   {catalog: "pg_roles", name: "rolname", owner: "oid", filter: "true"},
	"USER":   {catalog: "pg_roles", name: "rolname", owner: "oid", filter: "true"},
	"GROUP":  {catalog: "pg_roles", name: "rolname", owner: "oid", filter: "true"},
}

const sameArguments = `(q.args = '' OR o.oid = to_regprocedure(quote_ident(n.nspname) || '.' || quote_ident(o.proname) || q.args))`

// relation is what the names of tables share with views, sequences and indexes.
var relation = class{"pg_class", "relname", "relowner", "relnamespace", "true"}

// A thing is an object by name.
type thing struct {
	schema, name string
	args         string // a function's argument types with their parentheses, or nothing
}

func thingOf(n sqllex.Name) thing { return thing{schema: n.Schema, name: n.Name} }

// A place is where a thing was found.
type place struct {
	n             int // of the thing that was asked for
	schema, owner string
	// rank is the schema's place in the search_path, from 1, or 1 where the
	// statement says the schema.
	rank int
}

// find looks for things, each in its schema or all of the search_path.
func (l *looker) find(c class, things ...thing) ([]place, error) {
	var values, args []string
	for i, t := range things {
		n := len(args)
		values = append(values, fmt.Sprintf("(%d, $%d::text, $%d::text, $%d::text)", i, n+1, n+2, n+3))
		args = append(args, t.schema, t.name, t.args)
	}
	nsp, rank, join, where := "''", "1", "", ""
	if c.schema != "" {
		nsp, rank = "n.nspname", "CASE q.nsp WHEN '' THEN array_position(current_schemas(false), n.nspname) ELSE 1 END"
		join = " JOIN pg_catalog.pg_namespace n ON n.oid = o." + c.schema
		where = " AND (n.nspname = q.nsp OR q.nsp = '' AND n.nspname = ANY (current_schemas(false)))"
	}
	rows, err := l.rows(fmt.Sprintf(`SELECT q.n::text, %s, pg_get_userbyid(o.%s), (%s)::text
FROM (VALUES %s) q (n, nsp, name, args) JOIN pg_catalog.%s o ON o.%s = q.name%s WHERE %s%s ORDER BY 1, 4`,
		nsp, c.owner, rank, strings.Join(values, ", "), c.catalog, c.name, join, c.filter, where), args...)
	if err != nil {
		return nil, err
	}
	places := make([]place, len(rows))
	for i, r := range rows {
		n, _ := strconv.Atoi(r[0])
		rank, _ := strconv.Atoi(r[3])
		places[i] = place{n: n, schema: r[1], owner: r[2], rank: rank}
	}
	slices.SortStableFunc(places, func(a, b place) int { return a.rank - b.rank })
	return places, nil
}

// created looks for what a CREATE makes, where it makes it.
func (l *looker) created(c class, t thing) (evidence, error) {
	places, err := l.find(c, t)
	return when(slices.ContainsFunc(places, func(p place) bool { return p.rank == 1 })), err
}

// createTable holds the columns against the statement's: another table of that
// name is not the one it makes.
func (l *looker) createTable() (evidence, error) {
	if l.info.IfNotExists {
		return missing, nil
	}
	found, err := l.created(classes["TABLE"], thingOf(l.info.Name))
	if err != nil || found != happened {
		return found, err
	}
	columns := tableColumns(l.sql, l.info)
	rows, err := l.rows(`SELECT a.attname FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = $1 AND n.nspname = coalesce(nullif($2, ''), current_schema()) AND a.attnum > 0 AND NOT a.attisdropped`,
		l.info.Name.Name, l.info.Name.Schema)
	if err != nil {
		return unknown, err
	}
	for _, c := range columns {
		if !slices.ContainsFunc(rows, func(r []string) bool { return r[0] == c }) {
			return missing, nil
		}
	}
	return happened, nil
}

// tableColumns gives the columns that a CREATE TABLE lists.
func tableColumns(sql string, info sqllex.Info) []string {
	r := newReader(sql)
	for !r.done() && r.at(0).Start < info.Name.Span.End {
		r.take()
	}
	var columns []string
	for _, p := range r.group() {
		if p.isOneOf("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "EXCLUDE", "LIKE") {
			continue
		}
		if c := p.ident(); c != "" {
			columns = append(columns, c)
		}
	}
	return columns
}

func (l *looker) createOther() (evidence, error) {
	c, ok := classes[l.info.Object]
	switch {
	case !ok || l.info.Temporary:
		return unknown, nil
	case l.info.IfNotExists || l.info.OrReplace:
		return missing, nil
	}
	t := thingOf(l.info.Name)
	r := l.behindName()
	switch l.info.Object {
	case "FUNCTION", "ROUTINE":
		t.args, ok = argumentTypes(r)
	case "STATISTICS":
		if t.name == "" {
			return l.createUnnamedStatistics()
		}
	case "SCHEMA":
		// CREATE SCHEMA AUTHORIZATION CURRENT_ROLE and the like name no schema.
		ok = !slices.Contains([]string{"current_role", "current_user", "session_user"}, t.name)
	}
	if !ok || t.name == "" {
		return unknown, nil
	}
	return l.created(c, t)
}

// behindName gives a reader behind the object's name.
func (l *looker) behindName() *reader {
	r := newReader(l.sql)
	for !r.done() && r.at(0).Start < l.info.Name.Span.End {
		r.take()
	}
	return r
}

// createUnnamedStatistics takes statistics on the same columns of the table for
// those of the statement.
func (l *looker) createUnnamedStatistics() (evidence, error) {
	r := newReader(l.sql)
	if !r.skipTo("ON") {
		return unknown, nil
	}
	r.take()
	var columns []string
	for {
		c := r.ident()
		if c == "" {
			return unknown, nil // an expression
		}
		columns = append(columns, c)
		if !r.isPunct(",") {
			break
		}
		r.take()
	}
	if !r.skip("FROM") {
		return unknown, nil
	}
	parts := r.name()
	if len(parts) == 0 {
		return unknown, nil
	}
	rows, err := l.rows(`SELECT s.oid::text, a.attname FROM pg_catalog.pg_statistic_ext s
JOIN pg_catalog.pg_attribute a ON a.attrelid = s.stxrelid AND a.attnum = ANY (s.stxkeys::int2[])
WHERE s.stxrelid = to_regclass($1)`, quotedParts(parts))
	if err != nil {
		return unknown, err
	}
	of := make(map[string][]string)
	for _, row := range rows {
		of[row[0]] = append(of[row[0]], row[1])
	}
	slices.Sort(columns)
	for _, have := range of {
		if slices.Sort(have); slices.Equal(have, columns) {
			return happened, nil
		}
	}
	return missing, nil
}

func quotedParts(parts []string) string {
	name := quoted("", parts[len(parts)-1])
	if len(parts) > 1 {
		name = quoted(parts[len(parts)-2], parts[len(parts)-1])
	}
	return name
}

// twoWordTypes begin types that consist of two words, which look like a name
// and a type.
var twoWordTypes = []string{"double", "character", "char", "national", "nchar", "bit", "time", "timestamp", "interval"}

// argumentTypes takes a function's arguments and gives the types of those that
// identify it: "(integer, text)". It is not ok where they cannot be told.
func argumentTypes(r *reader) (types string, ok bool) {
	if !r.isPunct("(") {
		return "", false
	}
	var all []string
	for _, p := range r.group() {
		if p.is("OUT") || p.is("TABLE") {
			continue
		}
		if p.isOneOf("IN", "INOUT", "VARIADIC") && len(p.toks) > 1 {
			p.take()
			p.skip("OUT") // IN OUT
		}
		if len(p.toks)-p.i > 1 && isIdent(p.at(0)) && isIdent(p.at(1)) &&
			(p.at(0).Kind == sqllex.QuotedIdent || !slices.Contains(twoWordTypes, strings.ToLower(p.at(0).Text(p.src)))) {
			p.take()
		}
		start, end := p.i, p.i
		for ; end < len(p.toks) && !p.toks[end].Is(p.src, "DEFAULT") && p.toks[end].Text(p.src) != "="; end++ {
		}
		if end == start {
			return "", false
		}
		all = append(all, p.src[p.toks[start].Start:p.toks[end-1].End])
	}
	return "(" + strings.Join(all, ", ") + ")", true
}

// drop decides about a DROP: it happened if nothing of what it names is left.
func (l *looker) drop() (evidence, error) {
	object := l.info.Object
	if object == "TRIGGER" && l.info.IfExists {
		return missing, nil
	}
	c, ok := classes[object]
	if !ok {
		return unknown, nil
	}
	things, ok := l.dropped()
	if !ok {
		return unknown, nil
	}
	places, err := l.find(c, things...)
	switch {
	case err != nil:
		return unknown, err
	case len(places) == 0:
		return happened, nil
	}
	// A name without schema may have meant what is gone, and mean another
	// object of the search_path now, which must not go as well.
	nearest := make(map[int]int)
	for _, p := range places {
		if old, ok := nearest[p.n]; !ok || p.rank < old {
			nearest[p.n] = p.rank
		}
	}
	for _, rank := range nearest {
		if rank > 1 {
			return unknown, nil
		}
	}
	return missing, nil
}

// dropped gives what a DROP names.
func (l *looker) dropped() (things []thing, ok bool) {
	for _, n := range l.info.Names {
		t := thingOf(n)
		if l.info.Object == "FUNCTION" || l.info.Object == "ROUTINE" {
			r := newReader(l.sql)
			for !r.done() && r.at(0).Start < n.Span.End {
				r.take()
			}
			if r.isPunct("(") {
				if t.args, ok = argumentTypes(r); !ok {
					return nil, false
				}
			}
		}
		things = append(things, t)
	}
	return things, len(things) > 0
}

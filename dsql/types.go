package dsql

import (
	"slices"
	"strings"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A typeName is the type of a column as a statement spells it.
type typeName struct {
	// known says that it is one of PostgreSQL's own; display is then what its
	// format_type calls it, without modifier.
	known   bool
	display string
	array   bool
	// modified says that something stands in parentheses behind it, and n is
	// the first number there, or -1.
	modified bool
	n        int64
	span     sqllex.Span
}

// typeDisplay gives the names of PostgreSQL's types that a word stands for.
// serial is here too, though it is none.
var typeDisplay = map[string]string{
	"int": "integer", "int4": "integer", "integer": "integer", "int2": "smallint", "smallint": "smallint",
	"int8": "bigint", "bigint": "bigint", "float4": "real", "real": "real", "float8": "double precision",
	"float": "double precision", "bool": "boolean", "boolean": "boolean", "decimal": "numeric", "dec": "numeric",
	"numeric": "numeric", "text": "text", "bpchar": "character", "varchar": "character varying", "uuid": "uuid",
	"date": "date", "timetz": "time with time zone", "timestamptz": "timestamp with time zone", "bytea": "bytea",
	"json": "json", "jsonb": "jsonb", "varbit": "bit varying", "interval": "interval",
	"money": "money", "xml": "xml", "inet": "inet", "cidr": "cidr", "macaddr": "macaddr", "macaddr8": "macaddr8",
	"point": "point", "line": "line", "lseg": "lseg", "box": "box", "path": "path", "polygon": "polygon", "circle": "circle",
	"tsvector": "tsvector", "tsquery": "tsquery", "pg_lsn": "pg_lsn", "pg_snapshot": "pg_snapshot",
	"txid_snapshot": "txid_snapshot", "aclitem": "aclitem", "gtsvector": "gtsvector", "jsonpath": "jsonpath", "refcursor": "refcursor", "name": "name", "oid": "oid",
	"oidvector": "oidvector", "int2vector": "int2vector", "tid": "tid", "xid": "xid", "xid8": "xid8", "cid": "cid",
	"regclass": "regclass", "regcollation": "regcollation", "regconfig": "regconfig", "regdictionary": "regdictionary",
	"regnamespace": "regnamespace", "regoper": "regoper", "regoperator": "regoperator", "regproc": "regproc",
	"regprocedure": "regprocedure", "regrole": "regrole", "regtype": "regtype",
	"int4range": "int4range", "int8range": "int8range", "numrange": "numrange", "tsrange": "tsrange",
	"tstzrange": "tstzrange", "daterange": "daterange",
	"char": `"char"`, "bit": "bit", "time": "time", "timestamp": "timestamp",
	"serial": "serial", "serial4": "serial4", "bigserial": "bigserial", "serial8": "serial8",
	"smallserial": "smallserial", "serial2": "serial2",
}

// grammarTypes are words that are types only where they are not quoted.
var grammarTypes = []string{"int", "integer", "smallint", "bigint", "real", "float", "boolean", "decimal", "dec"}

// readType takes the name of a type. Those of schemas other than pg_catalog are
// users' own and not known.
func readType(r *reader) typeName {
	start := r.i
	t := typeName{n: -1}
	qualified := isIdent(r.at(0)) && r.at(1).IsPunct(r.src, ".") && sqllex.Ident(r.at(0).Text(r.src)) == "pg_catalog"
	if qualified {
		r.i += 2
	}
	switch {
	case r.at(1).IsPunct(r.src, "."):
		r.name()
	case r.at(0).Kind == sqllex.Word && !qualified:
		t.display = typeWords(r)
	case isIdent(r.at(0)):
		// A quoted name is looked up in pg_catalog first, too.
		if name := r.ident(); !slices.Contains(grammarTypes, name) && !(qualified && strings.Contains(name, "serial")) {
			t.display = displayName(name)
		}
	}
	t.known = t.display != ""
	t.modifier(r)
	switch t.display {
	case "time", "timestamp":
		zone := " without time zone"
		if r.is("WITH", "TIME", "ZONE") {
			zone = " with time zone"
		}
		if r.is("WITH", "TIME", "ZONE") || r.is("WITHOUT", "TIME", "ZONE") {
			r.i += 3
		}
		t.display += zone
	case "interval":
		for r.isOneOf("YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "TO") {
			r.take()
		}
		t.modifier(r)
	}
	t.dimensions(r)
	t.span = r.span(start)
	return t
}

// typeWords takes the words of a type; it is empty for a user's own.
func typeWords(r *reader) string {
	varying := func(fixed string) string {
		if r.skip("VARYING") {
			return fixed + " varying"
		}
		return fixed
	}
	switch {
	case r.skip("DOUBLE", "PRECISION"):
		return "double precision"
	case r.skip("NATIONAL", "CHARACTER"), r.skip("NATIONAL", "CHAR"), r.skip("CHARACTER"), r.skip("CHAR"), r.skip("NCHAR"):
		return varying("character")
	case r.skip("BIT"):
		return varying("bit")
	case r.skip("TIME"):
		return "time"
	case r.skip("TIMESTAMP"):
		return "timestamp"
	}
	return displayName(strings.ToLower(r.take().Text(r.src)))
}

// displayName gives what PostgreSQL calls one of its types; it is empty for
// other names.
func displayName(word string) string {
	if display, ok := typeDisplay[word]; ok {
		return display
	}
	if strings.HasSuffix(word, "multirange") {
		if _, ok := typeDisplay[strings.TrimSuffix(word, "multirange")+"range"]; ok {
			return word
		}
	}
	return ""
}

func (t *typeName) modifier(r *reader) {
	if !r.isPunct("(") {
		return
	}
	t.modified = true
	if n, ok := number(r.src, r.at(1)); ok {
		t.n = n
	}
	r.skipGroup()
}

func (t *typeName) dimensions(r *reader) {
	if r.skip("ARRAY") {
		t.array = true
	}
	for r.isPunct("[") {
		t.array = true
		r.skipGroup()
	}
}

// numericFeature is refused by no rule: [NumericDefaults] is about it.
const numericFeature = "type/numeric without precision"

// columnType notes what a column's type is.
func (f *finder) columnType(t typeName) {
	switch {
	case t.array:
		display := t.display
		if !t.known {
			display = f.src[t.span.Start:t.span.End]
			display, _, _ = strings.Cut(display, "[")
		}
		f.add("type/array", strings.TrimSpace(display)+"[]", t.span)
		return
	case !t.known:
		return
	}
	f.add("type/"+t.display, t.display, t.span)
	if t.display == "numeric" && !t.modified {
		f.add(numericFeature, "", t.span)
	}
	if t.n >= 0 {
		f.count("type modifier/"+t.display, t.n, t.span)
	}
}

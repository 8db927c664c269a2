package backfill

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A table is what is gone through, as the catalog has it.
type table struct {
	name    string   // as SQL has it
	from    string   // with its alias
	where   string   // what restricts the rows, or ""
	columns []string // of the key, by name
	types   []string
	quoted  []string // as SQL has them, with the alias
}

// lookUp reads what the key is made of and says what is wrong with it.
func lookUp(ctx context.Context, s *session, r *Rows) (*table, error) {
	t := &table{name: r.Table, from: r.Table, where: r.Where}
	if r.Alias != "" {
		t.from += " AS " + r.Alias
	}
	columns, err := s.ask(ctx, nil, `SELECT a.attnum, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull
FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped`, r.Table)
	if err != nil {
		return nil, fmt.Errorf("look up the columns of %s: %w", r.Table, err)
	}
	indexes, err := s.ask(ctx, nil, `SELECT i.indisprimary, i.indkey, i.indnkeyatts
FROM pg_catalog.pg_index i WHERE i.indrelid = $1::regclass AND i.indisvalid AND i.indpred IS NULL`, r.Table)
	if err != nil {
		return nil, fmt.Errorf("look up the indexes of %s: %w", r.Table, err)
	}
	numbers := make(map[string]int) // of columns, by name
	for i, c := range columns {
		numbers[c[1]] = i
	}
	if t.columns = r.Key; len(r.Key) == 0 {
		if t.columns = primaryKey(columns, indexes); t.columns == nil {
			return nil, fmt.Errorf("%s has no primary key: say by which columns of an index to go, in Key", r.Table)
		}
	}
	var nullable []string
	var want []string // column numbers
	for _, name := range t.columns {
		i, ok := numbers[name]
		if !ok {
			return nil, fmt.Errorf("%s has no column %q", r.Table, name)
		}
		quoted := pgx.Identifier{name}.Sanitize()
		if r.Alias != "" {
			quoted = r.Alias + "." + quoted
		}
		t.types, t.quoted = append(t.types, columns[i][2]), append(t.quoted, quoted)
		want = append(want, columns[i][0])
		if columns[i][3] != "t" {
			nullable = append(nullable, quoted+" IS NULL")
		}
	}
	if !slices.ContainsFunc(indexes, func(i []string) bool { return slices.Equal(prefix(indexColumns(i), len(want)), want) }) {
		return nil, fmt.Errorf("%s has no index that begins with (%s): every batch would read the whole table", r.Table, strings.Join(t.columns, ", "))
	}
	if len(nullable) == 0 {
		return t, nil
	}
	found, err := s.ask(ctx, nil, "SELECT 1 FROM "+t.from+" WHERE "+strings.Join(nullable, " OR ")+" LIMIT 1")
	if err != nil {
		return nil, fmt.Errorf("look for NULLs in the key of %s: %w", r.Table, err)
	}
	if len(found) > 0 {
		return nil, fmt.Errorf("%s has rows with NULL in the key (%s), which no page would reach", r.Table, strings.Join(t.columns, ", "))
	}
	return t, nil
}

func prefix(s []string, n int) []string { return s[:min(n, len(s))] }

// indexColumns are the numbers of an index's key columns; 0 is an expression.
func indexColumns(index []string) []string {
	all := strings.Fields(index[1])
	n, _ := strconv.Atoi(index[2])
	return prefix(all, n)
}

func primaryKey(columns, indexes [][]string) []string {
	for _, index := range indexes {
		if index[0] != "t" {
			continue
		}
		var names []string
		for _, number := range indexColumns(index) {
			for _, c := range columns {
				if c[0] == number {
					names = append(names, c[1])
				}
			}
		}
		return names
	}
	return nil
}

// text shows a key to a person.
func (t *table) text(k key) string {
	parts := make([]string, len(k))
	for i, v := range k {
		parts[i] = t.columns[i] + "=" + v
	}
	return strings.Join(parts, ", ")
}

// inRange is true of the rows after a key and up to another, either of which
// may be nil. Their values are the arguments from number first on, in order.
func (t *table) inRange(after, upTo key, first int) (sql string, args [][]byte) {
	var terms []string
	if after != nil {
		terms = append(terms, t.compare(">", first))
		args = texts(after)
		first += len(after)
	}
	if upTo != nil {
		terms = append(terms, t.compare("<=", first))
		args = append(args, texts(upTo)...)
	}
	if t.where != "" {
		terms = append(terms, "("+t.where+")")
	}
	if len(terms) == 0 {
		return "true", nil
	}
	return strings.Join(terms, " AND "), args
}

// compare compares the key with the arguments from number first on.
func (t *table) compare(op string, first int) string {
	values := make([]string, len(t.types))
	for i, typ := range t.types {
		values[i] = "$" + strconv.Itoa(first+i) + "::" + typ
	}
	if len(values) == 1 {
		return t.quoted[0] + " " + op + " " + values[0]
	}
	row := "(" + strings.Join(t.quoted, ", ") + ") " + op + " (" + strings.Join(values, ", ") + ")"
	// A planner that does not look up rows of values still has the first.
	return t.quoted[0] + " " + op[:1] + "= " + values[0] + " AND " + row
}

// A border is the last key of a batch, and how many rows the batch has.
type border struct {
	key  key
	rows int64
	// skip says that its rows are to be left as they are.
	skip bool
}

// borders is the query for the ends of batches of size rows each, and of the
// rest, within the first limit rows of a range.
func (t *table) borders(after, upTo key, size, limit int64) query {
	inRange, args := t.inRange(after, upTo, 3)
	inner, outer := make([]string, len(t.quoted)), make([]string, len(t.quoted))
	for i, q := range t.quoted {
		outer[i] = "k" + strconv.Itoa(i)
		inner[i] = q + " AS " + outer[i]
	}
	names := strings.Join(outer, ", ")
	return query{
		sql: "SELECT n, " + names + " FROM (SELECT " + names + ", row_number() OVER w AS n, lead(true) OVER w IS NULL AS is_last FROM (SELECT " +
			strings.Join(inner, ", ") + " FROM " + t.from + " WHERE " + inRange + " ORDER BY " + strings.Join(t.quoted, ", ") +
			" LIMIT $1::bigint) page WINDOW w AS (ORDER BY " + names + ")) numbered WHERE n % $2::bigint = 0 OR is_last ORDER BY n",
		args: append(texts(limit, size), args...),
	}
}

// readBorders reads the answer to a query for borders.
func readBorders(rows [][]string) ([]border, error) {
	var out []border
	var before int64
	for _, row := range rows {
		n, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the borders: %w", err)
		}
		b := border{key: key(row[1:]), rows: n - before}
		before = n
		if len(out) > 0 && slices.Equal(out[len(out)-1].key, b.key) {
			out[len(out)-1].rows += b.rows // rows of one key cannot be told apart
			continue
		}
		out = append(out, b)
	}
	return out, nil
}

package dsql

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// jobFacts is what the catalog knows of the object that a job works on.
type jobFacts struct {
	schema, table string
	object, oid   string // empty when it does not exist
	valid         bool
	job           string // that works on it now
}

func (f jobFacts) evidence() evidence {
	switch {
	case f.valid:
		return happened
	case f.job != "":
		return building
	}
	return missing
}

// jobFacts looks for the index or constraint of a statement that makes a job.
// It is not sure about an index without a name where others of the table may
// be it, spelt differently.
func (l *looker) jobFacts() (facts jobFacts, sure bool, err error) {
	switch {
	case l.info.Kind != sqllex.CreateIndex:
		facts, err = l.validation()
	case l.info.Name.IsZero():
		return l.equalIndex()
	default:
		facts, err = l.namedIndex()
	}
	return facts, true, err
}

func (l *looker) createIndex() (evidence, error) {
	facts, sure, err := l.jobFacts()
	if err != nil || !sure {
		return unknown, err
	}
	return facts.evidence(), nil
}

// runningJob finds the newest job of a type that is not done, by the object's
// oid or name.
const runningJob = `(SELECT j.job_id FROM sys.jobs j
	WHERE j.status IN ('submitted', 'processing') AND j.job_type = 'INDEX_BUILD' AND (j.object_id::text = c.oid::text
		OR j.object_name IN (n.nspname || '.' || $2, quote_ident(n.nspname) || '.' || quote_ident($2)))
	ORDER BY j.start_time DESC LIMIT 1)`

// namedIndex looks for an index in the schema of its table, since CREATE INDEX
// never says it.
func (l *looker) namedIndex() (jobFacts, error) {
	rows, err := l.rows(`SELECT n.nspname, t.relname, CASE WHEN i.indexrelid IS NOT NULL THEN c.relname END, i.indexrelid::text,
	CASE WHEN i.indisvalid THEN 'valid' END, `+runningJob+`
FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = t.relnamespace AND c.relname = $2
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid AND i.indrelid = t.oid
WHERE t.oid = to_regclass($1)`, quoted(l.info.Table.Schema, l.info.Table.Name), l.info.Name.Name)
	if err != nil || len(rows) == 0 {
		return jobFacts{}, err
	}
	r := rows[0]
	return jobFacts{schema: r[0], table: r[1], object: r[2], oid: r[3], valid: r[4] == "valid", job: r[5]}, nil
}

// equalIndex looks for an index of the same table and definition: where the
// server chooses the name, any such index is what the statement asks for.
func (l *looker) equalIndex() (facts jobFacts, sure bool, err error) {
	rows, err := l.rows(`SELECT n.nspname, t.relname, c.relname, c.oid::text, CASE WHEN i.indisvalid THEN 'valid' END,
	pg_get_indexdef(c.oid), `+strings.ReplaceAll(runningJob, "$2", "c.relname")+`
FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = t.oid AND NOT i.indisprimary
LEFT JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE t.oid = to_regclass($1)`, quoted(l.info.Table.Schema, l.info.Table.Name))
	if err != nil {
		return jobFacts{}, false, err
	}
	want := indexShape(l.sql, l.info)
	sure = true
	for _, r := range rows {
		if r[2] == "" {
			break // no index at all
		}
		def := sqllex.Classify(r[5])
		have := indexShape(r[5], def)
		switch f := (jobFacts{schema: r[0], table: r[1], object: r[2], oid: r[3], valid: r[4] == "valid", job: r[6]}); {
		case def.Index.Unique != l.info.Index.Unique:
		case slices.Equal(want, have):
			if facts.object == "" || f.valid || facts.job == "" && f.job != "" {
				facts = f
			}
		case !isPlain(want) && !isPlain(have):
			sure = false // the server spells expressions its own way
		}
	}
	return facts, sure || facts.object != "", nil
}

// indexShape gives what follows the table in a CREATE INDEX as words, without
// what is the default anyway.
func indexShape(sql string, info sqllex.Info) []string {
	r := newReader(sql)
	for !r.done() && r.at(0).Start < max(info.Table.Span.End, info.Index.Using.End) {
		r.take()
	}
	var words []string
	for !r.done() {
		if r.skip("NULLS", "LAST") || r.skip("ASC") || r.skip("NULLS", "DISTINCT") {
			continue
		}
		t := r.take()
		word := t.Text(sql)
		if isIdent(t) {
			word = sqllex.Ident(word)
		}
		words = append(words, word)
	}
	return words
}

// isPlain reports whether a shape has nothing but columns, of which there is
// one spelling.
func isPlain(shape []string) bool {
	depth := 0
	for _, w := range shape {
		switch w {
		case "(":
			depth++
		case ")":
			depth--
		case "where", "::":
			return false
		}
		if depth > 1 {
			return false
		}
	}
	return true
}

// validation looks for the constraint of ALTER TABLE ASYNC … VALIDATE. A job
// may name the table only, and then means the one constraint that it can mean;
// of several, validating twice does no harm.
func (l *looker) validation() (jobFacts, error) {
	rows, err := l.rows(`SELECT n.nspname, t.relname, c.conname, c.oid::text, CASE WHEN c.convalidated THEN 'valid' END,
	(SELECT j.job_id FROM sys.jobs j
		WHERE j.status IN ('submitted', 'processing') AND j.job_type = 'VALIDATE_CONSTRAINT' AND (
			j.class_id::text = '2606' AND j.object_id::text = c.oid::text
			OR j.class_id::text = '1259' AND j.object_id::text = t.oid::text AND 1 =
				(SELECT count(*) FROM pg_catalog.pg_constraint u WHERE u.conrelid = t.oid AND NOT u.convalidated))
		ORDER BY j.start_time DESC LIMIT 1)
FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
JOIN pg_catalog.pg_constraint c ON c.conrelid = t.oid AND c.conname = $2
WHERE t.oid = to_regclass($1)`, quoted(l.info.Name.Schema, l.info.Name.Name), validated(l.info))
	if err != nil || len(rows) == 0 {
		return jobFacts{}, err
	}
	r := rows[0]
	return jobFacts{schema: r[0], table: r[1], object: r[2], oid: r[3], valid: r[4] == "valid", job: r[5]}, nil
}

// validated gives the constraint that an ALTER TABLE validates.
func validated(info sqllex.Info) string {
	for _, a := range info.Actions {
		if a.Kind == sqllex.ValidateConstraint {
			return a.Name
		}
	}
	return ""
}

// dropLeftover drops the invalid index that a build which failed, or was
// killed before its job was recorded, left in the place of the one that a
// CREATE INDEX is about to make: it would go on refusing duplicates, and IF NOT
// EXISTS would accept it. An index that a job works on stays. The result names
// what was dropped. The caller holds the lease.
func dropLeftover(ctx context.Context, ask asker, sql string, info sqllex.Info) (dropped string, err error) {
	if info.Kind != sqllex.CreateIndex || !info.Async {
		return "", nil
	}
	l := looker{ctx: ctx, ask: ask, sql: sql, info: info}
	facts, _, err := l.jobFacts()
	if err != nil {
		return "", fmt.Errorf("look for an invalid index: %w", err)
	}
	if facts.object == "" || facts.evidence() != missing {
		return "", nil
	}
	name := quoted(facts.schema, facts.object)
	if _, err := ask(ctx, "DROP INDEX IF EXISTS "+name); err != nil {
		return "", fmt.Errorf("drop the invalid index %s: %w", name, err)
	}
	return name, nil
}

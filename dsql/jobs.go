package dsql

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A job is work that Aurora DSQL does in the background for a statement: the
// build of an index or the validation of a constraint. It is stored in the
// revision until it is settled.
type job struct {
	// ID is the server's; it is empty where the statement found the index
	// there already, so that only the catalog tells.
	ID   string  `json:"id,omitempty"`
	Step int     `json:"step"` // of the migration, from 0
	Kind jobKind `json:"kind"`
	// Schema is the table's. It is empty until located, and Object also until
	// the job was polled, where the server chose the index's name.
	Schema string `json:"schema,omitempty"`
	Table  string `json:"table"`
	Object string `json:"object,omitempty"` // the index or the constraint
	OID    string `json:"oid,omitempty"`    // of it; it outlives a renaming
	// Written is the table as the statement names it.
	Written string `json:"written"`
	Unique  bool   `json:"unique,omitempty"`
	// Keys and Where are those of an index, for the advice about duplicates.
	Keys      string    `json:"keys,omitempty"`
	Where     string    `json:"where,omitempty"`
	StartedAt time.Time `json:"startedAt"`
}

type jobKind string

const (
	indexJob    jobKind = "index"
	validateJob jobKind = "validate"
)

// makesJob reports whether the statement's answer is the id of a job.
func makesJob(info sqllex.Info) bool {
	return info.Async && (info.Kind == sqllex.CreateIndex || info.Kind == sqllex.AlterTable)
}

// textLimit bounds what a job repeats of its statement, in bytes.
const textLimit = 500

// newJob makes the job of a statement for which makesJob holds, from the id
// that the statement returned. What only the catalog knows is filled in by
// located, or else by the first poll.
func newJob(step int, sql string, info sqllex.Info, id string) job {
	j := job{ID: id, Step: step, Kind: validateJob, Object: validated(info), StartedAt: time.Now()}
	table := info.Name
	if info.Kind == sqllex.CreateIndex {
		table = info.Table
		j.Kind, j.Object, j.Unique = indexJob, info.Name.Name, info.Index.Unique
		j.Keys, j.Where = indexKeys(sql, info)
	}
	j.Schema, j.Table, j.Written = table.Schema, table.Name, table.String()
	return j
}

// indexKeys gives the text of an index's keys and of its condition, without
// what sorts them. They are empty where they are long.
func indexKeys(sql string, info sqllex.Info) (keys, where string) {
	r := newReader(sql)
	for !r.done() && r.at(0).Start < info.Table.Span.End {
		r.take()
	}
	if !r.isPunct("(") {
		return "", ""
	}
	var parts []string
	for _, p := range r.group() {
		end := len(p.toks)
		if end > 2 && p.toks[end-2].Is(sql, "NULLS") {
			end -= 2
		}
		parts = append(parts, sql[p.toks[0].Start:p.toks[end-1].End])
	}
	keys = strings.Join(parts, ", ")
	if r.skipTo("WHERE") {
		where = sql[r.at(1).Start:r.toks[len(r.toks)-1].End]
	}
	if len(keys)+len(where) > textLimit {
		return "", ""
	}
	return keys, where
}

// locate gives the query that finds the job's table and object. It must run
// where the statement ran: the search_path says what the names mean.
func (j job) locate() (sql string, args []string) {
	return `SELECT n.nspname, t.relname, ` + objectOID[j.Kind] + `::text
FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
WHERE t.oid = to_regclass($1)`, []string{j.Written, j.Object}
}

// objectOID finds the job's object by the name in $2, t being its table.
var objectOID = map[jobKind]string{
	indexJob: `(SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
	WHERE c.relnamespace = t.relnamespace AND c.relname = $2 AND i.indrelid = t.oid)`,
	validateJob: `(SELECT c.oid FROM pg_catalog.pg_constraint c WHERE c.conrelid = t.oid AND c.conname = $2)`,
}

// located takes the answer of locate.
func (j *job) located(raw [][][]byte) {
	for _, r := range texts(raw) {
		j.Schema, j.Table, j.OID = r[0], r[1], r[2]
	}
}

// findJob gives the job of a statement for which look said building.
func findJob(ctx context.Context, ask asker, step int, sql string, info sqllex.Info) (job, error) {
	l := looker{ctx: ctx, ask: ask, sql: sql, info: info}
	j := newJob(step, sql, info, "")
	facts, _, err := l.jobFacts()
	if err != nil {
		return j, fmt.Errorf("find the job of a statement: %w", err)
	}
	if facts.object != "" {
		j.Schema, j.Table, j.Object, j.OID = facts.schema, facts.table, facts.object, facts.oid
	}
	j.ID = facts.job
	return j, nil
}

// name is the object as people call it.
func (j job) name() string {
	object := j.Object
	if object == "" {
		object = "on " + j.Table
	}
	if j.Schema != "" && j.Schema != "public" {
		return j.Schema + "." + object
	}
	return object
}

// neededBy reports whether a statement may have to wait for the job: it names
// the table or the object, or may take them away. Another job on the same
// table need not wait, nor does what leaves the table's shape alone.
func (j job) neededBy(sql string, info sqllex.Info) bool {
	switch info.Kind {
	case sqllex.DropOwned, sqllex.ReassignOwned:
		return true
	case sqllex.Grant, sqllex.Revoke, sqllex.Analyze, sqllex.Set, sqllex.Show, sqllex.Empty:
		return false
	case sqllex.CommentOn:
		return j.Object == "" || mentions(sql, j.Object, false)
	case sqllex.CreateIndex:
		return info.Name.Name != "" && info.Name.Name == j.Object
	case sqllex.Call:
		return isWaitForJob(info)
	case sqllex.DropOther, sqllex.AlterOther:
		if info.Object == "SCHEMA" {
			return j.Schema == "" || mentions(sql, j.Schema, false)
		}
	case sqllex.AlterTable:
		if makesJob(info) && !(j.Kind == validateJob && mentions(sql, j.Object, false)) {
			return false
		}
	}
	inStrings := !info.IsDML() // there they are data
	return mentions(sql, j.Table, inStrings) || j.Object != "" && mentions(sql, j.Object, inStrings)
}

// mentions reports whether a statement has a name as one of its words, or if
// asked for anywhere in its strings, which may hold the body of a function.
func mentions(sql, name string, inStrings bool) bool {
	folded := strings.ToLower(name)
	for lx := sqllex.New(sql); ; {
		tok := lx.Next()
		switch tok.Kind {
		case sqllex.EOF, sqllex.Invalid:
			return false
		case sqllex.Word, sqllex.QuotedIdent:
			if sqllex.Ident(tok.Text(sql)) == name {
				return true
			}
		case sqllex.String, sqllex.DollarString:
			if inStrings && strings.Contains(strings.ToLower(tok.Text(sql)), folded) {
				return true
			}
		}
	}
}

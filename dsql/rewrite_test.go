package dsql

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// TestA23Rewrite: what is spelt differently, and what stays.
func TestA23Rewrite(t *testing.T) {
	p := latest(t)
	for _, tt := range []struct {
		sql, want string
		rules     []string // of the changes
	}{
		{"CREATE INDEX i ON t (a)", "CREATE INDEX ASYNC i ON t (a)", []string{"index-without-async"}},
		{"create unique index if not exists i on s.t (a)", "create unique index ASYNC if not exists i on s.t (a)", []string{"index-without-async"}},
		{"CREATE INDEX ON t (a)", "CREATE INDEX ASYNC ON t (a)", []string{"index-without-async"}},
		{"CREATE INDEX CONCURRENTLY i ON t (a)", "CREATE INDEX ASYNC i ON t (a)", []string{"index-concurrently"}},
		{"CREATE INDEX/* why */CONCURRENTLY\ni ON t (a)", "CREATE INDEX/* why */ASYNC\ni ON t (a)", []string{"index-concurrently"}},
		{"CREATE INDEX ASYNC i ON t USING btree (a)", "CREATE INDEX ASYNC i ON t (a)", []string{"index-using"}},
		{"CREATE INDEX ASYNC i ON t USING BTREE(a)", "CREATE INDEX ASYNC i ON t (a)", []string{"index-using"}},
		{`CREATE INDEX ASYNC i ON "t"USING btree(a)`, `CREATE INDEX ASYNC i ON "t" (a)`, []string{"index-using"}},
		{"CREATE INDEX ASYNC i ON t -- c\nUSING btree (a)", "CREATE INDEX ASYNC i ON t -- c\n (a)", []string{"index-using"}},
		{"CREATE INDEX i ON t USING btree (a ASC, b)", "CREATE INDEX ASYNC i ON t (a, b)",
			[]string{"index-without-async", "index-using", "index-sort-order"}},
		{"CREATE INDEX ASYNC i ON t (a asc, lower(b) ASC , (c)ASC)", "CREATE INDEX ASYNC i ON t (a, lower(b) , (c) )",
			[]string{"index-sort-order", "index-sort-order", "index-sort-order"}},
		{"DROP INDEX CONCURRENTLY IF EXISTS i", "DROP INDEX IF EXISTS i", []string{"drop-index-concurrently"}},
		{"ALTER TABLE t VALIDATE CONSTRAINT c", "ALTER TABLE ASYNC t VALIDATE CONSTRAINT c", []string{"validate-constraint"}},
		{"ALTER TABLE async VALIDATE CONSTRAINT c", "ALTER TABLE ASYNC async VALIDATE CONSTRAINT c", []string{"validate-constraint"}},
		// What has no other spelling stays, and Check reports it.
		{"CREATE INDEX ASYNC i ON t USING gin (a)", "", nil},
		{"CREATE INDEX ASYNC i ON t (a ASC NULLS FIRST)", "", nil},
		{"CREATE INDEX ASYNC i ON t (a DESC)", "", nil},
		{"ALTER TABLE t VALIDATE CONSTRAINT c, ADD COLUMN a int", "", nil},
		{"TRUNCATE t", "", nil},
		// What is fine stays.
		{"CREATE INDEX ASYNC i ON t (a)", "", nil},
		{"ALTER TABLE ASYNC t VALIDATE CONSTRAINT c", "", nil},
		{"DROP INDEX i", "", nil},
		{"INSERT INTO t VALUES ('CREATE INDEX CONCURRENTLY i ON t USING btree (a ASC)')", "", nil},
		{"COMMENT ON INDEX i IS 'CREATE INDEX i'", "", nil},
		{"SELECT 1; CREATE INDEX i ON t (a)", "", nil},
		{"", "", nil},
	} {
		text, changes, err := Rewrite(tt.sql, p)
		if err != nil {
			t.Fatal(err)
		}
		want := tt.want
		if want == "" {
			want = tt.sql
		}
		var rules []string
		for _, c := range changes {
			rules = append(rules, c.Rule)
			if tt.sql[c.Start:c.End] != c.Old {
				t.Errorf("%s: change %+v is not about its text", tt.sql, c)
			}
		}
		if diff := cmp.Diff(tt.rules, rules); text != want || diff != "" {
			t.Errorf("%s\n got %s\nwant %s\nrules (-want +got):\n%s", tt.sql, text, want, diff)
		}
		if again, changes, err := Rewrite(text, p); err != nil || again != text || changes != nil {
			t.Errorf("%s, again: %s, %v, %v", text, again, changes, err)
		}
		for _, f := range Check(p, []aurora.Statement{{SQL: text}}) {
			if f.Rewritten {
				t.Errorf("%s: still has %s", text, f.Rule)
			}
		}
	}
}

// TestRewriteIsDated: a profile that takes a spelling leaves it.
func TestRewriteIsDated(t *testing.T) {
	const sql = "CREATE INDEX CONCURRENTLY i ON t USING btree (a ASC)"
	if text, changes, err := Rewrite(sql, Profile{}); text != sql || changes != nil || err != nil {
		t.Errorf("rewritten to %s, %v, %v", text, changes, err)
	}
}

func TestSourceOffset(t *testing.T) {
	const sql = "CREATE INDEX i ON t USING btree (abc ASC, def DESC)"
	text, changes, err := Rewrite(sql, latest(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"CREATE", "i ON", "t", "abc", "def", "DESC", ")"} {
		if got, want := SourceOffset(changes, strings.LastIndex(text, word)), strings.LastIndex(sql, word); word != "t" && got != want {
			t.Errorf("%s: offset %d, want %d", word, got, want)
		}
	}
	if got, want := SourceOffset(changes, strings.Index(text, "ASYNC")), strings.Index(sql, " i ON"); got != want {
		t.Errorf("inserted text: offset %d, want %d", got, want)
	}
	if got := SourceOffset(changes, len(text)); got != len(sql) {
		t.Errorf("the end: offset %d, want %d", got, len(sql))
	}
	if got := SourceOffset(nil, 7); got != 7 {
		t.Errorf("no changes: offset %d", got)
	}
	var all []string
	for _, c := range changes {
		all = append(all, c.String())
	}
	all = append(all, Change{Old: "CONCURRENTLY", New: "ASYNC"}.String())
	want := []string{`with "ASYNC"`, `without "USING btree"`, `without "ASC"`, `with "ASYNC" instead of "CONCURRENTLY"`}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
}

// FuzzRewrite: nothing panics; a rewritten statement is still one statement of
// the same kind, is not rewritten again, and its changes are about its text.
func FuzzRewrite(f *testing.F) {
	rules, err := Builtin()
	if err != nil {
		f.Fatal(err)
	}
	for rule := range rules.all {
		for _, sql := range append(rule.RefusedExamples, rule.AllowedExamples...) {
			f.Add(sql)
		}
	}
	for _, sql := range []string{
		"CREATE INDEX CONCURRENTLY i ON t USING btree(a ASC,(b)ASC)", `CREATE INDEX"i"ON t(a asc)`, "ALTER TABLE/**/t VALIDATE CONSTRAINT c",
		"DROP INDEX CONCURRENTLY", "CREATE TABLE t (a ARRAY[", "CREATE INDEX ON t USING", "ALTER TABLE add VALIDATE CONSTRAINT c", "SET",
		"CREATE FUNCTION f() LANGUAGE", "ALTER TABLE t ADD GENERATED ALWAYS AS IDENTITY (", "CREATE SEQUENCE AS CACHE 1_", "BEGIN ISOLATION LEVEL",
	} {
		f.Add(sql)
	}
	p := latest(f)
	f.Fuzz(func(t *testing.T, src string) {
		statements, err := sqllex.Split(src, sqllex.Options{})
		if err != nil {
			statements = []sqllex.Statement{{Text: src}}
		}
		for _, s := range statements {
			fuzzOne(t, s.Text, p, err == nil)
		}
	})
}

func fuzzOne(t *testing.T, sql string, p Profile, whole bool) {
	for _, f := range Check(p, []aurora.Statement{{SQL: sql}}) {
		if f.Start < 0 || f.End < f.Start || f.End > len(sql) || f.Line < 1 || f.Col < 1 {
			t.Fatalf("%q: finding %+v", sql, f)
		}
	}
	text, changes, err := Rewrite(sql, p)
	if err != nil {
		t.Fatalf("Rewrite(%q): %v", sql, err)
	}
	for _, c := range changes {
		if sql[c.Start:c.End] != c.Old {
			t.Fatalf("Rewrite(%q): change %+v", sql, c)
		}
	}
	for i := 0; i <= min(len(text), 200); i++ {
		if at := SourceOffset(changes, i); at < 0 || at > len(sql) {
			t.Fatalf("Rewrite(%q): byte %d of %q comes from %d", sql, i, text, at)
		}
	}
	if got, want := sqllex.Classify(text).Kind, sqllex.Classify(sql).Kind; got != want {
		t.Fatalf("Rewrite(%q) made %q: %v, was %v", sql, text, got, want)
	}
	if again, _, err := Rewrite(text, p); err != nil || again != text {
		t.Fatalf("Rewrite(%q) made %q, then %q, %v", sql, text, again, err)
	}
	if !whole || strings.Contains(strings.ToUpper(sql), "DELIMITER") {
		return
	}
	if split, err := sqllex.Split(text, sqllex.Options{}); err != nil || len(split) != 1 {
		t.Fatalf("Rewrite(%q) made %q: %d statements, %v", sql, text, len(split), err)
	}
}

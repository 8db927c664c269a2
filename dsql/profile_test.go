package dsql

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

func day(t *testing.T, s string) time.Time {
	t.Helper()
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func at(t *testing.T, s string) Profile {
	t.Helper()
	p, err := ProfileAt(day(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func latest(t testing.TB) Profile {
	t.Helper()
	p, err := Latest()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// script splits a script into the statements that a run would send.
func script(t testing.TB, sql string) []aurora.Statement {
	t.Helper()
	split, err := sqllex.Split(sql, sqllex.Options{})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	out := make([]aurora.Statement, len(split))
	for i, s := range split {
		out[i] = aurora.Statement{SQL: sqllex.TrimSemicolon(s.Text), File: "1.sql", Line: s.Line}
	}
	return out
}

// ids gives the rules that a script breaks.
func ids(t testing.TB, p Profile, sql string) []string {
	t.Helper()
	var out []string
	for _, f := range Check(p, script(t, sql)) {
		out = append(out, f.Rule)
	}
	return out
}

// generated are examples that are too long to be written down.
var generated = map[string]struct{ refused, allowed string }{
	"columns": {
		"CREATE TABLE t (" + list("c%d int", 256) + ")",
		"CREATE TABLE t (" + list("c%d int", 255) + ", CHECK (c1 > 0), LIKE s)",
	},
	"transaction-rows": {
		"INSERT INTO t (a) VALUES " + list("(%d)", 3001),
		"INSERT INTO t (a) VALUES " + list("(%d)", 3000) + " RETURNING a",
	},
}

func list(format string, n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(parts, ", ")
}

// TestRuleExamples: the examples of every rule are refused on the first and the
// last day on which it holds, and not by it on the days around them; those of
// what is allowed are allowed on the last day.
func TestRuleExamples(t *testing.T) {
	rules, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	newest := rules.Newest()
	for rule := range rules.all {
		refused, allowed := rule.RefusedExamples, rule.AllowedExamples
		if g, ok := generated[rule.ID]; ok {
			refused, allowed = append(slices.Clone(refused), g.refused), append(slices.Clone(allowed), g.allowed)
		}
		if len(rule.Match) > 0 && (len(allowed) == 0 || len(refused) == 0 && rule.State != Allowed) {
			t.Errorf("%s: needs examples of what is refused and of what is allowed", rule.ID)
		}
		last := newest
		if rule.Until != "" {
			until := day(t, rule.Until)
			last = until.AddDate(0, 0, -1)
			for _, sql := range refused {
				if slices.Contains(ids(t, rules.At(until), sql), rule.ID) {
					t.Errorf("%s: still refuses on %s: %.80s", rule.ID, rule.Until, sql)
				}
			}
		}
		for _, sql := range refused {
			if got := ids(t, rules.At(last), sql); !slices.Contains(got, rule.ID) {
				t.Errorf("%s: does not refuse: %.80s (got %q)", rule.ID, sql, got)
			}
		}
		for _, sql := range allowed {
			if slices.Contains(ids(t, rules.At(last), sql), rule.ID) {
				t.Errorf("%s: refuses on its last day what it calls allowed: %.80s", rule.ID, sql)
			}
			if got := ids(t, rules.At(newest), sql); len(got) > 0 && rule.Until == "" {
				t.Errorf("%s: %q refuse: %.80s", rule.ID, got, sql)
			}
		}
		if rule.Since != "" && rule.State == Allowed {
			for _, sql := range allowed {
				if got := ids(t, rules.At(day(t, rule.Since).AddDate(0, 0, -1)), sql); len(got) == 0 {
					t.Errorf("%s: allowed before %s already: %s", rule.ID, rule.Since, sql)
				}
			}
		}
	}
}

// TestMatchesAreExercised: each match of a rule is a feature of one of the
// examples, so that a misspelt one is found. Those of long lists that differ in
// a name only are left to the first of each.
func TestMatchesAreExercised(t *testing.T) {
	rules, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	long := []string{"type/", "set/", "set local/", "key type/"}
	for rule := range rules.all {
		var sql []string
		sql = append(append(sql, rule.RefusedExamples...), rule.AllowedExamples...)
		sql = append(sql, generated[rule.ID].refused, extraExamples[rule.ID])
		seen := map[string]bool{}
		for _, s := range sql {
			var block transaction
			for _, st := range script(t, s) {
				for _, f := range append(features(st.SQL), block.features(st.SQL)...) {
					seen[f.name] = true
				}
			}
		}
		for _, m := range rule.Match {
			if slices.ContainsFunc(long, func(p string) bool { return strings.HasPrefix(m, p) }) {
				continue
			}
			prefix, isWide := strings.CutSuffix(m, "*")
			ok := seen[m]
			for name := range seen {
				ok = ok || isWide && strings.HasPrefix(name, prefix)
			}
			if !ok {
				t.Errorf("%s: no example has %q", rule.ID, m)
			}
		}
	}
}

// extraExamples complete what the examples of a rule leave out.
var extraExamples = map[string]string{
	"create-text-search":      "CREATE TEXT SEARCH DICTIONARY d (x = y); CREATE TEXT SEARCH PARSER p (x = y); CREATE TEXT SEARCH TEMPLATE q (x = y)",
	"create-define":           "CREATE OPERATOR + (x = y)",
	"alter-function-property": "ALTER FUNCTION f RESET ALL; ALTER ROUTINE f STABLE; ALTER ROUTINE f RESET ALL; ALTER ROUTINE f SET a TO b",
	"alter-index":             "ALTER INDEX i RESET (fillfactor); ALTER INDEX i ATTACH PARTITION j",
	"advisory-functions":      "SELECT pg_try_advisory_xact_lock(1)",
	"create-type":             "CREATE TYPE y (INPUT = a, OUTPUT = b)",
	"rewrite-rule":            "ALTER TABLE t ENABLE RULE r; ALTER TABLE t ENABLE ALWAYS RULE r; ALTER TABLE t ENABLE REPLICA RULE r",
	"trigger-all":             "ALTER TABLE t ENABLE TRIGGER ALL; ALTER TABLE t ENABLE TRIGGER USER; ALTER TABLE t DISABLE TRIGGER USER",
	"row-level-security-kin":  "ALTER TABLE t DISABLE ROW LEVEL SECURITY; ALTER TABLE t NO FORCE ROW LEVEL SECURITY",
	"set-logged":              "ALTER TABLE t SET LOGGED",
	"sequence-type":           "CREATE SEQUENCE s AS int2 CACHE 1",
}

// TestTimeline: each entry of the release notes changes the answer on its day.
func TestTimeline(t *testing.T) {
	for _, tt := range []struct{ day, sql string }{
		{"2026-02-03", "CREATE TABLE t (a numeric(10,2) PRIMARY KEY)"},
		{"2026-02-13", "CREATE SEQUENCE s CACHE 1"},
		{"2026-02-13", "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY)"},
		{"2026-04-24", "ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO r"},
		{"2026-04-24", "ALTER ROLE a RENAME TO b"},
		{"2026-05-04", "CREATE TABLE t (a json)"},
		{"2026-05-15", "ALTER TABLE t ADD COLUMN a text STORAGE EXTERNAL"},
		{"2026-06-08", "CREATE TABLE t (a jsonb)"},
		{"2026-07-06", "ALTER TABLE t ALTER COLUMN a SET DEFAULT nextval('s')"},
		{"2026-07-06", "ALTER TABLE t DROP CONSTRAINT c"},
		{"2026-08-03", "ALTER TABLE t DROP COLUMN a"},
		{"2026-08-03", "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID"},
		{"2026-08-03", "ALTER TABLE ASYNC t VALIDATE CONSTRAINT c"},
		{"2026-08-13", "CREATE INDEX ASYNC i ON t (lower(a))"},
		{"2026-08-25", "SELECT a FROM t FOR KEY SHARE"},
		{"2026-08-26", "CREATE TABLE t (a uuid REFERENCES p (id) ON DELETE CASCADE)"},
		{"2026-08-26", "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES p NOT VALID"},
		{"2026-08-27", "CREATE STATISTICS s ON a, b FROM t"},
		{"2026-09-11", "SET dsql.enable_batched_nestloop = off"},
		{"2026-09-15", "CREATE INDEX ASYNC i ON t (a) WHERE b"},
	} {
		before := at(t, day(t, tt.day).AddDate(0, 0, -1).Format(time.DateOnly))
		if got := ids(t, before, tt.sql); len(got) != 1 {
			t.Errorf("the day before %s, %s: broken rules %q, want one", tt.day, tt.sql, got)
		}
		if got := ids(t, at(t, tt.day), tt.sql); len(got) != 0 {
			t.Errorf("on %s, %s: broken rules %q, want none", tt.day, tt.sql, got)
		}
	}
	if got := latest(t).Date(); got != "2026-10-03" {
		t.Errorf("the latest profile is of %s", got)
	}
}

func TestLimits(t *testing.T) {
	p := latest(t)
	for id, want := range map[string]int64{
		"transaction-rows": 3000, "transaction-bytes": 10 << 20, "transaction-seconds": 300, "connection-seconds": 3600,
		"key-columns": 8, "columns": 255, "table-indexes": 24, "identity-cache": 65536, "schemas": 10, "tables": 1000,
	} {
		if got, ok := p.Limit(id); got != want || !ok {
			t.Errorf("limit %s: %d, %v; want %d", id, got, ok, want)
		}
	}
	if _, ok := p.Limit("truncate"); ok {
		t.Error("a rule that is no limit has one")
	}
	if got := Check(Profile{}, script(t, "TRUNCATE t")); got != nil {
		t.Errorf("the zero profile refuses %v", got)
	}
}

func TestReadRulesErrors(t *testing.T) {
	one := func(rule string) string {
		return `{"title": "T", "checked": "2026-01-01", "rules": [` + rule + `]}`
	}
	const ok = `{"id": "a", "what": "w", "match": ["statement/do"], "state": "refused", "sources": ["s"], "advice": "x"}`
	for name, tt := range map[string]struct{ text, want string }{
		"good":         {one(ok), ""},
		"field":        {one(`{"id": "a", "wat": "w"}`), "unknown field"},
		"type":         {one(`{"id": 1}`), "cannot unmarshal"},
		"syntax":       {`{`, "EOF"},
		"two":          {one(ok) + "{}", "behind the section"},
		"checked":      {`{"title": "T", "checked": "soon", "rules": []}`, "a title and a day"},
		"id":           {one(strings.Replace(ok, `"a"`, `"A b"`, 1)), "lower-case"},
		"twice":        {one(ok + "," + ok), "appears twice"},
		"both match":   {one(ok + "," + strings.Replace(ok, `"a"`, `"b"`, 1)), "both match"},
		"source":       {one(strings.Replace(ok, `["s"]`, `[]`, 1)), "sources"},
		"what":         {one(strings.Replace(ok, `"w"`, `""`, 1)), "what is missing"},
		"state":        {one(strings.Replace(ok, "refused", "forbidden", 1)), "none of"},
		"match":        {one(strings.Replace(ok, "statement/do", "a*b", 1)), "at the end only"},
		"no match":     {one(strings.Replace(ok, `["statement/do"]`, "[]", 1)), "needs match"},
		"advice":       {one(strings.Replace(ok, `"advice": "x"`, `"advice": ""`, 1)), "advice is missing"},
		"limit":        {one(strings.Replace(ok, "refused", "limited", 1)), "needs max or min"},
		"since":        {one(strings.Replace(ok, `"what"`, `"since": "2026-13-01", "what"`, 1)), "need a day"},
		"order":        {one(strings.Replace(ok, `"what"`, `"since": "2026-02-01", "until": "2026-02-01", "what"`, 1)), "not before"},
		"sqlstate":     {one(strings.Replace(ok, `"what"`, `"sqlstate": "0A00", "what"`, 1)), "five characters"},
		"verbatim":     {one(strings.Replace(ok, `"what"`, `"verbatim": true, "what"`, 1)), "without a message"},
		"other months": {one(strings.Replace(ok, `"what"`, `"until": "2026-02-01", "what"`, 1) + "," + strings.Replace(ok, `"a", "what"`, `"b", "since": "2026-02-01", "what"`, 1)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadRules(fstest.MapFS{"1.json": {Data: []byte(tt.text)}})
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "read DSQL rules: ") {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	if _, err := ReadRules(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty directory: %v", err)
	}
	if got := (Rules{}).Newest(); !got.IsZero() {
		t.Errorf("the newest day of no rules is %v", got)
	}
}

// TestProfileIsACopy: what Rules gives away does not change the profile.
func TestProfileIsACopy(t *testing.T) {
	p := latest(t)
	want := p.Rules()
	p.Rules()[0].ID = "changed"
	if diff := cmp.Diff(want, p.Rules()); diff != "" {
		t.Error(diff)
	}
}

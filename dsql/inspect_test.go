package dsql

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// TestInspect: the order of what is refused, which statements within others are
// looked at, and where findings are.
func TestInspect(t *testing.T) {
	p := latest(t)
	for _, tt := range []struct {
		sql  string
		want string // rules, each with the text it is about
	}{
		{"CREATE INDEX i ON t (a DESC) INCLUDE (f(b))", "index-without-async CREATE INDEX|index-sort-order DESC|index-include-expression f"},
		{"CREATE TABLE t (a inet, b serial) WITH (x = 1)", "storage-parameters WITH|type-unsupported inet|type-serial serial"},
		{";; EXPLAIN (COSTS off) SELECT 1 FOR SHARE;", "row-locks FOR SHARE"},
		{"EXPLAIN EXPLAIN SELECT 1 FOR SHARE", "row-locks FOR SHARE"},
		{"COPY (SELECT 1 FOR SHARE) TO STDOUT", "row-locks FOR SHARE"},
		{"COPY", ""}, {"COPY t TO", ""}, {"COPY (SELECT 1", ""}, {"EXPLAIN", ""}, {"EXPLAIN (", ""}, {"CREATE SCHEMA", ""},
		{"CREATE SCHEMA s CREATE TABLE t (a inet) CREATE VIEW v AS SELECT 1 AS create FOR SHARE GRANT ALL ON SCHEMA public TO r",
			"type-unsupported inet|row-locks FOR SHARE|grant-schema-public public"},
		{"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $a$ SELECT 1; VACUUM $a$", "vacuum $a$ SELECT 1; VACUUM $a$"},
		{"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT pg_advisory_lock(1)'", "advisory-lock 'SELECT pg_advisory_lock(1)'"},
		{"CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN pg_advisory_lock(1)", "advisory-lock pg_advisory_lock"},
		{"CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2 FOR SHARE; END", "row-locks FOR SHARE"},
		{"CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'VACUUM'", "function-language LANGUAGE plpgsql"},
		{"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS E'VACUUM'", ""},
		{"CREATE DOMAIN s.d AS inet", "type-unsupported inet"},
		{"CREATE TABLE t (a \"serial\", b pg_catalog.\"inet\", c pg_catalog.serial, d \"int\")", "type-serial \"serial\"|type-unsupported pg_catalog.\"inet\""},
		{"SELECT set_config('a', 'b', true), set_config('a' || x, 'b', false), set_config(E'role', 'c', true)", "set-parameter 'a'"},
		{"BEGIN ISOLATION LEVEL REPEATABLE READ ISOLATION LEVEL SERIALIZABLE", "isolation-level ISOLATION LEVEL SERIALIZABLE"},
	} {
		var got []string
		for _, f := range Inspect(p, tt.sql) {
			got = append(got, f.Rule+" "+tt.sql[f.Start:f.End])
		}
		if diff := cmp.Diff(tt.want, strings.Join(got, "|")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.sql, diff)
		}
	}
	// It takes neither much time nor a deep stack.
	for _, sql := range []string{
		strings.Repeat("EXPLAIN ", 100_000) + "SELECT 1", strings.Repeat("COPY (", 100_000), strings.Repeat("CREATE SCHEMA s ", 20_000), strings.Repeat("(", 100_000),
	} {
		Inspect(p, sql)
	}
}

func TestInspectSetting(t *testing.T) {
	p := latest(t)
	if f, ok := InspectSetting(p, "Statement_Timeout"); !ok || f.SQLState != "0A000" || f.Message != `setting configuration parameter "statement_timeout" not supported` {
		t.Errorf("statement_timeout: %+v, %v", f, ok)
	}
	if f, ok := InspectSetting(p, "DateStyle"); ok {
		t.Errorf("datestyle: %+v", f)
	}
}

func TestExplained(t *testing.T) {
	for _, tt := range []struct {
		sql, inner string
		runs       bool
	}{
		{"EXPLAIN SELECT 1", "SELECT 1", false},
		{"explain analyze verbose DELETE FROM t", "DELETE FROM t", true},
		{"EXPLAIN VERBOSE SELECT 1", "SELECT 1", false},
		{"EXPLAIN (ANALYZE) SELECT 1", "SELECT 1", true},
		{"EXPLAIN (VERBOSE, ANALYZE false) SELECT 1", "SELECT 1", false},
		{"EXPLAIN (ANALYZE 0, ANALYZE on) SELECT 1", "SELECT 1", true},
		{"EXPLAIN (SELECT 1)", "(SELECT 1)", false},
		{"EXPLAIN ((SELECT 1))", "((SELECT 1))", false},
		{"EXPLAIN", "", false},
		{"SELECT 1", "SELECT 1", false},
	} {
		start, runs := Explained(tt.sql)
		if tt.sql[start:] != tt.inner || runs != tt.runs {
			t.Errorf("%s: %q, runs %v", tt.sql, tt.sql[start:], runs)
		}
	}
}

func TestNumericDefaults(t *testing.T) {
	for sql, want := range map[string]string{
		"CREATE TABLE t (a numeric, b numeric(5), c dec /* x */ NOT NULL, d text DEFAULT 1::numeric)": "CREATE TABLE t (a numeric(18,6), b numeric(5), c dec(18,6) /* x */ NOT NULL, d text DEFAULT 1::numeric)",
		"ALTER TABLE t ADD a pg_catalog.numeric, ADD COLUMN b decimal[]":                              "ALTER TABLE t ADD a pg_catalog.numeric(18,6), ADD COLUMN b decimal[]",
		"CREATE FUNCTION f(a numeric) RETURNS int LANGUAGE sql AS 'CREATE TABLE t (a numeric)'":       "",
		"CREATE DOMAIN d AS numeric":    "",
		"SELECT 1::numeric":             "",
		"CREATE TABLE t (a numeric(x))": "",
	} {
		got, err := sqllex.Apply(sql, NumericDefaults(sql)...)
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = sql
		}
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

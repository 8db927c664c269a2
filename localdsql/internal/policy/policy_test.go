package policy

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/dsql"
)

// TestRewrites: what the backend is sent, and what the client is told.
func TestRewrites(t *testing.T) {
	p := latest(t)
	for _, tt := range []struct {
		sql, want, tag string
		noRows         bool
	}{
		{"CREATE INDEX ASYNC i ON t (a)", "SELECT sys._create_index($aurora$CREATE INDEX       i ON t (a)$aurora$, false) AS job_id", "CREATE INDEX", false},
		{" ;/* ö */create unique index async ON t (a); -- x", "SELECT sys._create_index($aurora$         create        index       ON t (a)$aurora$, true) AS job_id; -- x", "CREATE INDEX", false},
		{"CREATE INDEX ASYNC i ON t ((a || '$aurora$'))", "SELECT sys._create_index($aurora1$CREATE INDEX       i ON t ((a || '$aurora$'))$aurora1$, false) AS job_id", "CREATE INDEX", false},
		{`ALTER TABLE ASYNC IF EXISTS ONLY S."T's" VALIDATE CONSTRAINT C`, `SELECT sys._validate_constraint('"s"."T''s"', 'c', true) AS job_id`, "ALTER TABLE", false},
		{"ALTER TABLE ASYNC t VALIDATE CONSTRAINT c;", `SELECT sys._validate_constraint('"t"', 'c', false) AS job_id;`, "ALTER TABLE", false},
		{"AWS IAM GRANT App TO 'arn:aws:iam::1:role/r'", "SELECT sys._iam_grant('app', 'arn:aws:iam::1:role/r')", "GRANT", true},
		{`aws iam revoke "A'b" from E'x';`, `SELECT sys._iam_revoke('A''b', E'x');`, "REVOKE", true},
		{"AWS IAM GRANT app TO 'arn', 'arn'", "", "", false},
		{"AWS IAM GRANT app FROM 'arn'", "", "", false},
		{`DROP ROLE a, "B"`, `SELECT sys._drop_role(ARRAY['a', 'B']::text[], false)`, "DROP ROLE", true},
		{"DROP USER IF EXISTS a", "SELECT sys._drop_role(ARRAY['a']::text[], true)", "DROP ROLE", true},
		{"DROP ROLE a, CURRENT_USER", "", "", false},
		{"DROP ROLE a b", "", "", false},
		{"DROP ROLE a,", "", "", false},
		{"SHOW server_version", `SELECT '16.15'::text AS "server_version"`, "SHOW", false},
		{"show SERVER_VERSION_NUM;", `SELECT '160015'::text AS "server_version_num";`, "SHOW", false},
		{"SHOW work_mem", "", "", false},
		{"SHOW disable_sync_create_index", `SELECT coalesce(nullif(current_setting('aurora.disable_sync_create_index', true), ''), 'on') AS "disable_sync_create_index"`, "SHOW", false},
		{"SET LOCAL disable_sync_create_index = off", "SET LOCAL aurora.disable_sync_create_index = off", "", false},
		{"RESET Disable_Sync_Create_Index", "RESET aurora.disable_sync_create_index", "", false},
		{"SET dsql.enable_batched_nestloop = off", "", "", false},
		{"CREATE TABLE t (a numeric, b numeric(3), c decimal NOT NULL DEFAULT 1::numeric)", "CREATE TABLE t (a numeric(18,6), b numeric(3), c decimal(18,6) NOT NULL DEFAULT 1::numeric)", "", false},
		{"CREATE TABLE t (a pg_catalog.numeric/**/, b \"numeric\" CHECK (b > 0))", "CREATE TABLE t (a pg_catalog.numeric(18,6)/**/, b \"numeric\"(18,6) CHECK (b > 0))", "", false},
		{"CREATE SCHEMA s CREATE VIEW v AS SELECT 1::numeric CREATE TABLE t (a dec)", "CREATE SCHEMA s CREATE VIEW v AS SELECT 1::numeric CREATE TABLE t (a dec(18,6))", "", false},
		{"CREATE TABLE numeric (numeric int)", "", "", false},
		{"CREATE FUNCTION f(a numeric) RETURNS numeric LANGUAGE sql AS 'CREATE TABLE t (a numeric)'", "", "", false},
		{"CREATE DOMAIN d AS numeric", "", "", false},
		{"ALTER TABLE t ADD a numeric, DISABLE TRIGGER ALL, ADD COLUMN IF NOT EXISTS b decimal", "ALTER TABLE t ADD a numeric(18,6), DISABLE TRIGGER USER, ADD COLUMN IF NOT EXISTS b decimal(18,6)", "", false},
		{"ALTER TABLE t ENABLE TRIGGER all", "ALTER TABLE t ENABLE TRIGGER USER", "", false},
		{"ALTER TABLE t ENABLE TRIGGER \"all\"", "", "", false},
		{"SELECT 'CREATE INDEX ASYNC i ON t (a)'", "", "", false},
		{"SELECT 1; AWS IAM GRANT a TO 'b'", "", "", false},
		{"CREATE INDEX ASYNC i ON t (a); DROP TABLE t", "", "", false},
		{"CREATE INDEX ASYNC i ON t (a", "CREATE INDEX       i ON t (a", "", false},
		{"CREATE TABLE t (a numeric", "", "", false},
	} {
		want := tt.want
		if want == "" {
			want = tt.sql
		}
		d := p.Decide(tt.sql)
		if d.Refusal != nil || d.SQL != want || d.Tag != tt.tag || d.NoRows != tt.noRows || d.Text != tt.sql {
			t.Errorf("%s\n got %s, tag %q, no rows %v, %v\nwant %s, tag %q, no rows %v", tt.sql, d.SQL, d.Tag, d.NoRows, d.Refusal, want, tt.tag, tt.noRows)
		}
		if (d.Position == nil) != (want == tt.sql) {
			t.Errorf("%s: Position is set: %v", tt.sql, d.Position != nil)
		}
	}
}

func TestPositions(t *testing.T) {
	p := latest(t)
	for _, tt := range []struct{ sql, sent, at string }{
		{"CREATE TABLE ö (ä numeric, b nothing, c decimal, d void)", "nothing", "nothing"},
		{"CREATE TABLE ö (ä numeric, b nothing, c decimal, d void)", "void", "void"},
		{"CREATE TABLE ö (ä numeric, b nothing)", "(18,6)", ", b"},
		{"/* ü */ ALTER TABLE t DISABLE TRIGGER ALL, ADD b nothing", "nothing", "nothing"},
		{"/* ü */ CREATE UNIQUE INDEX ASYNC i ON ö (b)", "ö", "ö"},
		{"/* ü */ CREATE UNIQUE INDEX ASYNC i ON ö (b)", "(b)", "(b)"},
	} {
		d := p.Decide(tt.sql)
		got, want := d.Position(character(d.SQL, tt.sent)), character(tt.sql, tt.at)
		if got != want {
			t.Errorf("%s: %s is at %d, want %d", tt.sql, tt.sent, got, want)
		}
	}
	d := p.Decide("CREATE TABLE t (a numeric)")
	if got := d.Position(0); got != 0 {
		t.Errorf("no position becomes %d", got)
	}
	if got, want := d.Position(1000), len(d.Text)+1; got != want {
		t.Errorf("behind the end: %d, want %d", got, want)
	}
	if got := p.Decide("DROP ROLE r").Position(8); got != 0 {
		t.Errorf("a position in another statement becomes %d", got)
	}
	for sql, want := range map[string]int{
		"CREATE TABLE öö (a inet)":       20,
		"CREATE TABLE öö (a serial)":     20,
		"TRUNCATE t":                     0,
		"/* ö */ TRUNCATE t":             0,
		"CREATE INDEX ASYNC s.i ON t(a)": 20,
	} {
		if r := p.Decide(sql).Refusal; r == nil || r.Position != want {
			t.Errorf("%s: %+v, want position %d", sql, r, want)
		}
	}
}

// character gives the position of a text as the server counts.
func character(sql, text string) int { return len([]rune(sql[:strings.Index(sql, text)])) + 1 }

func TestClasses(t *testing.T) {
	p := latest(t)
	for _, tt := range []struct {
		class Class
		sql   string
	}{
		{Read, "SELECT 1"}, {Read, "VALUES (1)"}, {Read, "TABLE t"}, {Read, "WITH a AS (SELECT 1) SELECT * FROM a"}, {Read, "(SELECT 1)"},
		{Read, "SELECT * FROM t FOR UPDATE"}, {Read, "SHOW a"}, {Read, "SET search_path = a"}, {Read, "ANALYZE t"}, {Read, "EXPLAIN DELETE FROM t"},
		{Read, "EXPLAIN (ANALYZE false) DELETE FROM t"}, {Read, "EXPLAIN ANALYZE SELECT 1"}, {Read, "COPY t TO STDOUT"}, {Read, "COPY (SELECT 1) TO STDOUT"},
		{Read, "SET CONSTRAINTS ALL DEFERRED"}, {Read, ""}, {Read, ";"}, {Read, "-- nothing"}, {Read, "FROBNICATE"}, {Read, "CALL f()"}, {Read, "DELETE FROM t; DROP TABLE t"},
		{Read, "DELETE FROM t WHERE a = 'x"}, {Read, "DEALLOCATE ALL"}, {Read, "RESET ALL"},
		{DML, "INSERT INTO t VALUES (1)"}, {DML, "update t set a = 1"}, {DML, "DELETE FROM t"}, {DML, "WITH a AS (SELECT 1) DELETE FROM t"},
		{DML, "WITH a AS (DELETE FROM t RETURNING 1) SELECT * FROM a"}, {DML, "COPY t FROM STDIN"}, {DML, "COPY t (a) FROM STDIN (FORMAT csv)"},
		{DML, "COPY (DELETE FROM t RETURNING a) TO STDOUT"}, {DML, "EXPLAIN ANALYZE DELETE FROM t"}, {DML, "EXPLAIN (COSTS off, ANALYZE) INSERT INTO t VALUES (1)"},
		{DML, "EXPLAIN ANALYZE VERBOSE UPDATE t SET a = 1"}, {DML, "EXPLAIN (ANALYZE on) WITH a AS (DELETE FROM t RETURNING 1) SELECT * FROM a"},
		{DDL, "CREATE TABLE t (a int)"}, {DDL, "ALTER TABLE t RENAME TO u"}, {DDL, "DROP INDEX i"}, {DDL, "CREATE INDEX ASYNC i ON t (a)"},
		{DDL, "ALTER TABLE ASYNC t VALIDATE CONSTRAINT c"}, {DDL, "GRANT a TO b"}, {DDL, "REVOKE SELECT ON t FROM b"}, {DDL, "COMMENT ON TABLE t IS 'x'"},
		{DDL, "CREATE STATISTICS s ON a, b FROM t"}, {DDL, "AWS IAM GRANT a TO 'b'"}, {DDL, "CREATE ROLE r"}, {DDL, "DROP ROLE r"}, {DDL, "CREATE SEQUENCE s CACHE 1"},
		{DDL, "ALTER TABLE t DISABLE TRIGGER ALL"}, {DDL, "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO r"}, {DDL, "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"},
		{Begin, "BEGIN"}, {Begin, "begin;"}, {Begin, "START TRANSACTION READ ONLY"}, {Begin, "BEGIN /* x */ ISOLATION LEVEL REPEATABLE READ"},
		{Commit, "COMMIT"}, {Commit, "END;"}, {Commit, "COMMIT AND NO CHAIN"}, {Rollback, "ROLLBACK"}, {Rollback, "ABORT TRANSACTION"},
		{Call, "CALL sys.wait_for_job('x')"}, {Call, "call sys . wait_for_job ($1)"},
	} {
		d := p.Decide(tt.sql)
		if d.Class != tt.class {
			t.Errorf("%s: %v, want %v", tt.sql, d.Class, tt.class)
		}
		if want := strings.Contains(tt.sql, "FOR UPDATE"); d.Locks != want {
			t.Errorf("%s: locks rows: %v", tt.sql, d.Locks)
		}
	}
	if got := Class(99).String(); got != "Class?" {
		t.Errorf("an unknown class is %q", got)
	}
}

func TestNames(t *testing.T) {
	p := latest(t)
	for sql, want := range map[string][]string{
		"CREATE TABLE s.T (a int)":                                                          {"t"},
		`CREATE TABLE IF NOT EXISTS "S"."T" (a int)`:                                        {"T"},
		"CREATE UNIQUE INDEX ASYNC i ON s.t (a)":                                            {"i", "t"},
		"DROP TABLE IF EXISTS a, s.b CASCADE":                                               {"a", "b"},
		"ALTER TABLE a RENAME TO b":                                                         {"a", "b"},
		"ALTER TABLE ASYNC s.t VALIDATE CONSTRAINT c":                                       {"t"},
		"COMMENT ON COLUMN s.t.c IS 'x'":                                                    {"t"},
		`CREATE TABLE k (a int REFERENCES p, b int, FOREIGN KEY (b) REFERENCES s."P" (id))`: {"k", "p", "P"},
		"ALTER TABLE k ADD FOREIGN KEY (a) REFERENCES s.p NOT VALID":                        {"k", "p"},
		"CREATE STATISTICS st ON a, b FROM s.t":                                             {"st", "t"},
		"COMMENT ON TABLE t IS 'x'":                                                         {"t"},
		"GRANT SELECT (a, b), UPDATE ON TABLE s.t, u TO r":                                  {"t", "u"},
		"GRANT EXECUTE ON FUNCTION f(int, text), g TO r":                                    {"f", "g"},
		"REVOKE ALL ON ALL TABLES IN SCHEMA a, b FROM r":                                    {"a", "b"},
		`GRANT SELECT ON "Table" TO r`:                                                      {"Table"},
		"GRANT SELECT ON schema TO r":                                                       {"schema"},
		"GRANT a TO b":                                                                      nil,
		"CREATE VIEW v AS SELECT 1":                                                         {"v"},
		"AWS IAM GRANT a TO 'b'":                                                            nil,
		"INSERT INTO t VALUES (1)":                                                          nil,
		"DROP TRIGGER IF EXISTS g ON t":                                                     {"g", "t"},
		"CREATE FUNCTION s.f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'":                 {"f"},
	} {
		if diff := cmp.Diff(want, p.Decide(sql).Names); diff != "" {
			t.Errorf("%s (-want +got):\n%s", sql, diff)
		}
	}
}

func TestMentions(t *testing.T) {
	d := latest(t).Decide(`SELECT "Aä", b.c, U&"d\0061" FROM T -- x` + "\n WHERE 'y' = $$z$$")
	for name, want := range map[string]bool{
		"Aä": true, "aä": false, "b": true, "c": true, "da": true, "t": true, "T": false, "x": false, "y": false, "z": false, "select": true,
	} {
		if got := d.Mentions(name); got != want {
			t.Errorf("mentions %s: %v", name, got)
		}
	}
}

func TestSplit(t *testing.T) {
	p := latest(t)
	for _, tt := range []struct {
		sql  string
		want []string
	}{
		{"", []string{""}},
		{" -- x", []string{" -- x"}},
		{";;", []string{";;"}},
		{"SELECT 1", []string{"SELECT 1"}},
		{"SELECT 1;", []string{"SELECT 1;"}},
		{"SELECT 1; -- end\n ;", []string{"SELECT 1; -- end\n ;"}},
		{" ; SELECT 1; SELECT ';' ; ", []string{" ; SELECT 1;", " SELECT ';' ; "}},
		{"a;/* ; */b;$$;$$", []string{"a;", "/* ; */b;", "$$;$$"}},
		{"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3",
			[]string{"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;", " SELECT 3"}},
		{"create or replace procedure f() begin atomic end; SELECT 3", []string{"create or replace procedure f() begin atomic end;", " SELECT 3"}},
		{"BEGIN; COMMIT", []string{"BEGIN;", " COMMIT"}},
		{"CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3", []string{"CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);", " SELECT 3"}},
		// What cannot be read to its end.
		{"SELECT 1; SELECT 'x", []string{"SELECT 1; SELECT 'x"}},
		{"SELECT 1; SELECT (2; SELECT 3", []string{"SELECT 1; SELECT (2; SELECT 3"}},
		{"SELECT 1; SELECT 2); SELECT 3", []string{"SELECT 1; SELECT 2); SELECT 3"}},
		{"SELECT 1; \\d", []string{"SELECT 1; \\d"}},
		{"SELECT 1; {", []string{"SELECT 1; {"}},
		{"SELECT 1; CREATE FUNCTION f() BEGIN ATOMIC SELECT 1;", []string{"SELECT 1; CREATE FUNCTION f() BEGIN ATOMIC SELECT 1;"}},
	} {
		if diff := cmp.Diff(tt.want, p.Split(tt.sql)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.sql, diff)
		}
	}
}

func TestCheckParameter(t *testing.T) {
	p := latest(t)
	refused := func(name string) string { return fmt.Sprintf("setting configuration parameter %q not supported", name) }
	for _, tt := range []struct{ name, value, want string }{
		{"user", "admin", ""}, {"database", "postgres", ""}, {"application_name", "x", ""}, {"DateStyle", "ISO", ""}, {"client_encoding", "UTF8", ""},
		{"_pq_.x", "1", ""}, {"search_path", "a", ""}, {"disable_sync_create_index", "off", ""}, {"aurora.faults", "oc000@3", ""},
		{"default_transaction_read_only", "on", refused("default_transaction_read_only")}, {"Statement_Timeout", "5s", refused("statement_timeout")}, {"a.b", "c", refused("a.b")},
		{"options", "", ""}, {"options", "-c search_path=a,b", ""}, {"options", `  -csearch_path=a\ b --application-name=x -c aurora.faults=oc000@3`, ""},
		{"options", "-c search_path=a -c lock_timeout=5", refused("lock_timeout")}, {"options", "--statement-timeout=1", refused("statement_timeout")},
		{"options", "-B 5", "command-line arguments other than -c name=value not supported"}, {"options", "-c", "command-line arguments other than -c name=value not supported"},
		{"options", "-c search_path", "command-line arguments other than -c name=value not supported"},
	} {
		got := ""
		if r := p.CheckParameter(tt.name, tt.value); r != nil {
			if got = r.Message; r.Code != "0A000" {
				t.Errorf("%s=%s: code %s", tt.name, tt.value, r.Code)
			}
		}
		if got != tt.want {
			t.Errorf("%s=%s: %q, want %q", tt.name, tt.value, got, tt.want)
		}
	}
	got, ok := ParseOptions(`-c a.b=c\ d\\ --E-f=\=  -cg=`)
	if diff := cmp.Diff([][2]string{{"a.b", `c d\`}, {"e_f", "="}, {"g", ""}}, got); diff != "" || !ok {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	if got := BackendParameter("Disable_Sync_Create_Index"); got != "aurora.disable_sync_create_index" {
		t.Errorf("the backend's name is %s", got)
	}
	if got := BackendParameter("TimeZone"); got != "TimeZone" {
		t.Errorf("the backend's name is %s", got)
	}
}

// TestInternalFunctions: what a local DSQL has for itself is not for clients.
func TestInternalFunctions(t *testing.T) {
	p := latest(t)
	for sql, position := range map[string]int{"SELECT sys._create_index('DROP TABLE t', false)": 8, `SELECT 1 WHERE "sys" . "_mark"() = 'x'`: 16} {
		if r := p.Decide(sql).Refusal; r == nil || r.Code != "42883" || r.Position != position {
			t.Errorf("%s: %+v", sql, r)
		}
	}
	for _, sql := range []string{"SELECT * FROM sys.jobs", "SELECT 'sys._mark()', sys_mark FROM t", "SELECT mine.sys FROM t"} {
		if r := p.Decide(sql).Refusal; r != nil {
			t.Errorf("%s: %v", sql, r)
		}
	}
}

// TestProfileDecides: rules that do not hold on the day refuse nothing.
func TestProfileDecides(t *testing.T) {
	const sql = "CREATE INDEX ASYNC i ON t (a) WHERE b"
	for day, refused := range map[string]bool{"2026-09-14": true, "2026-09-15": false} {
		at, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := dsql.ProfileAt(at)
		if err != nil {
			t.Fatal(err)
		}
		if r := New(rules).Decide(sql).Refusal; (r != nil) != refused {
			t.Errorf("on %s: %v", day, r)
		}
	}
	if r := New(dsql.Profile{}).Decide("TRUNCATE t").Refusal; r != nil {
		t.Errorf("no rules: %v", r)
	}
}

// TestSessionRefusals: the refusals that depend on a session say what the rules
// say.
func TestSessionRefusals(t *testing.T) {
	rules, err := dsql.Latest()
	if err != nil {
		t.Fatal(err)
	}
	for id, r := range map[string]Refusal{
		"second-ddl": SecondDDL, "ddl-and-dml": DDLWithDML, "transaction-rows": TooManyRows, "transaction-bytes": TooManyBytes,
		"transaction-seconds": TooOld, "wait-for-job-in-transaction": WaitInBlock,
	} {
		found := false
		for _, rule := range rules.Rules() {
			if rule.ID == id {
				found = true
				if rule.SQLState != r.Code || rule.Message != r.Message {
					t.Errorf("%s: %s, the rule has %s %s", id, r.Error(), rule.SQLState, rule.Message)
				}
			}
		}
		if !found {
			t.Errorf("there is no rule %s", id)
		}
	}
}

// TestEveryRefusalHasAMessage: the rules that Decide leaves to PostgreSQL for
// lack of words are those that PostgreSQL has words for.
func TestEveryRefusalHasAMessage(t *testing.T) {
	rules, err := dsql.Latest()
	if err != nil {
		t.Fatal(err)
	}
	var without []string
	for _, r := range rules.Rules() {
		if r.State != dsql.Allowed && len(r.Match) > 0 && (r.Message == "" || r.SQLState == "") {
			without = append(without, r.ID)
		}
	}
	if diff := cmp.Diff([]string{"drop-trigger", "group-by-all"}, without); diff != "" {
		t.Errorf("rules without a message (-want +got):\n%s", diff)
	}
}

// TestCache: the cache stays small, keeps what is used, and may be used by many.
func TestCache(t *testing.T) {
	p := latest(t)
	kept := p.Decide("VALUES ('kept')")
	for i := range 3 * cacheEntries {
		p.Decide(fmt.Sprintf("VALUES (%d)", i))
		if got := p.Decide("VALUES ('kept')"); got != kept {
			t.Fatalf("after %d others, the decision was made again", i)
		}
	}
	if n := len(p.cache.young) + len(p.cache.old); n > 2*cacheEntries {
		t.Errorf("%d decisions are kept", n)
	}
	text := strings.Repeat(" ", cachedText/2)
	for i := range 4 * cacheBytes / len(text) {
		p.Decide(fmt.Sprintf("VALUES (%d)%s", i, text))
		if p.cache.bytes > cacheBytes {
			t.Fatalf("%d bytes of text are kept", p.cache.bytes)
		}
	}
	long := "VALUES (1)" + strings.Repeat(" ", cachedText)
	if before, after := p.Decide(long), p.Decide(long); before == after {
		t.Error("a long text is kept")
	}
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range cacheEntries {
				sql := fmt.Sprintf("SELECT %d FOR UPDATE", i%(300+g))
				if d := p.Decide(sql); d.Text != sql || !d.Locks {
					t.Errorf("%s: %+v", sql, d)
				}
			}
		})
	}
	all.Wait()
}

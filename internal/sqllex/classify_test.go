package sqllex

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClassifyKind(t *testing.T) {
	tests := []struct {
		stmt string
		kind StatementKind
		name string // Info.Name
	}{
		{"", Empty, ""},
		{" /* a */ ; -- b", Empty, ""},
		{"'a'", Other, ""},
		{"AWS IAM GRANT r TO 'arn:x'", Other, ""},

		{"CREATE TABLE t (a int)", CreateTable, "t"},
		{"create unlogged table if not exists S.\"T\" (a int)", CreateTable, `s."T"`},
		{"CREATE TABLE t (a int GENERATED ALWAYS AS (1) STORED) PARTITION BY RANGE (a)", CreateTable, "t"},
		{"CREATE TABLE p PARTITION OF t FOR VALUES FROM (1) TO (2)", CreateTable, "p"},
		{"CREATE TEMP TABLE t AS SELECT 1", CreateTableAs, "t"},
		{"CREATE TABLE t (a) WITH (fillfactor = 70) AS VALUES (1)", CreateTableAs, "t"},
		{"SELECT 1 AS a INTO TEMP TABLE t FROM b", CreateTableAs, "t"},
		{"WITH x AS (SELECT 1) SELECT * INTO y FROM x", CreateTableAs, "y"},
		{"((SELECT 1 INTO y) UNION SELECT 2)", CreateTableAs, "y"},
		{"CREATE OR REPLACE VIEW v AS SELECT 1", CreateOther, "v"},
		{"CREATE SCHEMA AUTHORIZATION joe", CreateOther, "joe"},
		{"CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\"", CreateOther, `"uuid-ossp"`},
		{"CREATE OPERATOR === (FUNCTION = f)", CreateOther, ""},
		{"CREATE CAST (a AS b) WITHOUT FUNCTION", CreateOther, ""},
		{"ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b", AlterOther, ""},
		{"ALTER INDEX i RENAME TO j", AlterOther, "i"},
		{"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO a", AlterOther, ""},
		{"DROP TABLE IF EXISTS a.b, c CASCADE", DropTable, "a.b"},
		{"DROP FUNCTION f(int, text), g", DropOther, "f"},
		{"DROP OWNED BY a", DropOwned, ""},
		{"REASSIGN OWNED BY a TO b", ReassignOwned, ""},
		{"REFRESH MATERIALIZED VIEW CONCURRENTLY m", RefreshMaterializedView, "m"},
		{"CLUSTER t USING i", Cluster, "t"},
		{"COMMENT ON TABLE t IS 'x'", CommentOn, "t"},
		{"SECURITY LABEL ON TABLE t IS 'x'", SecurityLabel, ""},
		{"GRANT ALL ON t TO a", Grant, ""},
		{"REVOKE ALL ON t FROM a", Revoke, ""},
		{"IMPORT FOREIGN SCHEMA s FROM SERVER a INTO b", ImportForeignSchema, ""},

		{"SELECT 1", Select, ""},
		{"((SELECT 1) UNION SELECT 2)", Select, ""},
		{"VALUES (1)", Select, ""},
		{"TABLE t", Select, ""},
		{"SELECT t.into, a AS into FROM t", Select, ""},
		{"((SELECT (SELECT a AS into) FROM (SELECT f(into) FROM t) s))", Select, ""},
		{"WITH a AS (SELECT 1) SELECT 2", Select, ""},
		{"WITH a AS (SELECT 1) (SELECT 2)", Select, ""},
		{"WITH RECURSIVE insert(update) AS NOT MATERIALIZED (SELECT 1), delete AS (SELECT 2) SEARCH DEPTH FIRST BY a SET b TABLE a", Select, ""},
		{"WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", Insert, ""},
		{"WITH a AS (SELECT 1), b AS (SELECT 2) UPDATE t SET a = 1", Update, ""},
		{"WITH a AS (SELECT 1) DELETE FROM t", Delete, ""},
		{"WITH a AS (SELECT 1) MERGE INTO t USING a ON true WHEN MATCHED THEN DELETE", Merge, ""},
		{"-- c\nINSERT INTO s.t (a) VALUES (1)", Insert, "s.t"},
		{"UPDATE ONLY t SET a = 1", Update, "t"},
		{"DELETE FROM ONLY t", Delete, "t"},
		{"MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", Merge, "t"},
		{"TRUNCATE TABLE ONLY a, b", Truncate, "a"},
		{"COPY t (a, b) FROM '/f'", CopyFrom, "t"},
		{"COPY (SELECT 'x' FROM t) TO '/f'", CopyTo, ""},

		{"BEGIN", Begin, ""},
		{"START TRANSACTION ISOLATION LEVEL REPEATABLE READ", Begin, ""},
		{"COMMIT WORK", Commit, ""},
		{"END", Commit, ""},
		{"ABORT", Rollback, ""},
		{"ROLLBACK AND CHAIN", Rollback, ""},
		{"ROLLBACK TO a", RollbackToSavepoint, "a"},
		{"ROLLBACK WORK TO SAVEPOINT a", RollbackToSavepoint, "a"},
		{"SAVEPOINT a", Savepoint, "a"},
		{"RELEASE SAVEPOINT a", ReleaseSavepoint, "a"},
		{"PREPARE TRANSACTION 'a'", PrepareTransaction, ""},
		{"COMMIT PREPARED 'a'", CommitPrepared, ""},
		{"ROLLBACK PREPARED 'a'", RollbackPrepared, ""},

		{"SET search_path = a", Set, "search_path"},
		{"SET SESSION lock_timeout TO 1", Set, "lock_timeout"},
		{"SET LOCAL app.user = 'a'", SetLocal, "app.user"},
		{"SET TIME ZONE 'UTC'", Set, "timezone"},
		{"SET SESSION AUTHORIZATION a", Set, "session_authorization"},
		{"SET LOCAL ROLE a", SetLocal, "role"},
		{"SET TRANSACTION READ ONLY", SetTransaction, ""},
		{"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", SetTransaction, ""},
		{"SET CONSTRAINTS ALL DEFERRED", SetConstraints, ""},
		{"RESET search_path", Reset, "search_path"},
		{"SHOW TIME ZONE", Show, "timezone"},
		{"DISCARD ALL", Discard, ""},
		{"PREPARE p AS SELECT 1", Prepare, "p"},
		{"EXECUTE p", Execute, "p"},
		{"DEALLOCATE p", Deallocate, ""},
		{"DECLARE c CURSOR FOR SELECT 1", Declare, "c"},
		{"MOVE c", Fetch, ""},
		{"CLOSE c", Close, ""},
		{"LISTEN a", Listen, ""},
		{"NOTIFY a", Notify, ""},
		{"UNLISTEN *", Unlisten, ""},
		{"LOAD 'a'", Load, ""},
		{"CALL s.p(1)", Call, "s.p"},
		{"DO $$ BEGIN END $$", Do, ""},
		{"EXPLAIN ANALYZE DELETE FROM t", Explain, ""},
		{"LOCK TABLE t", Lock, ""},
		{"VACUUM t", Vacuum, ""},
		{"ANALYZE t", Analyze, ""},
		{"CHECKPOINT", Checkpoint, ""},
	}
	for _, tt := range tests {
		info := Classify(tt.stmt)
		name := ""
		if !info.Name.IsZero() {
			name = info.Name.String()
		}
		if info.Kind != tt.kind || name != tt.name {
			t.Errorf("%s: got %v %q, want %v %q", tt.stmt, info.Kind, name, tt.kind, tt.name)
		}
		if got := info.Name; !got.IsZero() && got.Span.IsZero() {
			t.Errorf("%s: name has no span", tt.stmt)
		}
	}
}

func TestClassifyObject(t *testing.T) {
	for stmt, want := range map[string]string{
		"CREATE MATERIALIZED VIEW IF NOT EXISTS a AS SELECT 1": "MATERIALIZED VIEW a",
		"CREATE FOREIGN TABLE a (b int) SERVER c":              "FOREIGN TABLE a",
		"CREATE FOREIGN DATA WRAPPER a":                        "FOREIGN DATA WRAPPER a",
		"CREATE TEXT SEARCH DICTIONARY a (TEMPLATE = b)":       "TEXT SEARCH DICTIONARY a",
		"CREATE OR REPLACE TRUSTED PROCEDURAL LANGUAGE a":      "PROCEDURAL LANGUAGE a",
		"CREATE CONSTRAINT TRIGGER a AFTER UPDATE OF b ON c.d": "TRIGGER a c.d",
		"CREATE POLICY a ON b":                                 "POLICY a b",
		"CREATE RULE a AS ON INSERT TO b DO NOTHING":           "RULE a b",
		"CREATE TEMP SEQUENCE a":                               "SEQUENCE a",
		"CREATE RECURSIVE VIEW a (b) AS SELECT 1":              "VIEW a",
		"ALTER EVENT TRIGGER a DISABLE":                        "EVENT TRIGGER a",
		"ALTER TYPE a ADD VALUE 'x'":                           "TYPE a",
		"DROP TRIGGER a ON b":                                  "TRIGGER a b",
		"DROP AGGREGATE a(*), b(int)":                          "AGGREGATE a",
		"DROP ACCESS METHOD a":                                 "ACCESS METHOD a",
		"COMMENT ON COLUMN a.b.c IS ''":                        "COLUMN b.c",
		"CREATE USER MAPPING FOR a SERVER b":                   "USER MAPPING",
	} {
		info := Classify(stmt)
		got := info.Object
		for _, n := range []Name{info.Name, info.Table} {
			if !n.IsZero() {
				got += " " + n.String()
			}
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", stmt, got, want)
		}
	}
}

func TestClassifyIndex(t *testing.T) {
	type result struct {
		Name, Table, Mode, Using, Method, BeforeModeAt    string
		Unique, Concurrently, Async, IfNotExists, Partial bool
	}
	tests := []struct {
		stmt string
		want result
	}{
		{"CREATE INDEX i ON t (a)", result{Name: "i", Table: "t", BeforeModeAt: "CREATE INDEX"}},
		{"/* CREATE INDEX */ create unique index concurrently if not exists \"I\" on only S.t using BTree (lower(a)) where b > 'where'",
			result{Name: `"I"`, Table: "s.t", Mode: "concurrently", Using: "using BTree", Method: "btree",
				BeforeModeAt: "/* CREATE INDEX */ create unique index", Unique: true, Concurrently: true, IfNotExists: true, Partial: true}},
		{"CREATE INDEX ASYNC i ON t (a)", result{Name: "i", Table: "t", Mode: "ASYNC", BeforeModeAt: "CREATE INDEX", Async: true}},
		{"CREATE INDEX ASYNC ON t (a)", result{Table: "t", Mode: "ASYNC", BeforeModeAt: "CREATE INDEX", Async: true}},
		{"CREATE INDEX ASYNC IF NOT EXISTS i ON t (a)", result{Name: "i", Table: "t", Mode: "ASYNC", BeforeModeAt: "CREATE INDEX", Async: true, IfNotExists: true}},
		{"CREATE INDEX ON t USING gin (a) WITH (x = 1)", result{Table: "t", Using: "USING gin", Method: "gin", BeforeModeAt: "CREATE INDEX"}},
		{`CREATE INDEX "async" ON t (a)`, result{Name: "async", Table: "t", BeforeModeAt: "CREATE INDEX"}},
	}
	for _, tt := range tests {
		i := Classify(tt.stmt)
		at := func(s Span) string { return tt.stmt[s.Start:s.End] }
		got := result{
			Table: i.Table.String(), Mode: at(i.Mode), Using: at(i.Index.Using), Method: i.Index.Method,
			BeforeModeAt: tt.stmt[:i.ModeAt], Unique: i.Index.Unique, Concurrently: i.Concurrently,
			Async: i.Async, IfNotExists: i.IfNotExists, Partial: i.Index.Partial,
		}
		if !i.Name.IsZero() {
			got.Name = i.Name.String()
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || i.Kind != CreateIndex {
			t.Errorf("%s: %v %s", tt.stmt, i.Kind, diff)
		}
	}
}

func TestClassifyDropIndex(t *testing.T) {
	stmt := `DROP INDEX CONCURRENTLY IF EXISTS a.b, "C" CASCADE;`
	i := Classify(stmt)
	var names []string
	for _, n := range i.Names {
		names = append(names, n.String())
	}
	if diff := cmp.Diff([]string{"a.b", `"C"`}, names); diff != "" {
		t.Error(diff)
	}
	if i.Kind != DropIndex || !i.Concurrently || !i.IfExists || !i.Cascade ||
		stmt[i.Mode.Start:i.Mode.End] != "CONCURRENTLY" || stmt[:i.ModeAt] != "DROP INDEX" {
		t.Errorf("got %+v", i)
	}
}

func TestClassifyAlterTable(t *testing.T) {
	tests := []struct {
		stmt  string
		table string
		async bool
		want  []Action // Span is checked by its text below
		spans string
	}{
		{"ALTER TABLE t ADD COLUMN IF NOT EXISTS a numeric(1, 2) DEFAULT f(1, 2), DROP COLUMN IF EXISTS \"B\" CASCADE, ADD c int;", "t", false, []Action{
			{Kind: AddColumn, Name: "a", IfNotExists: true}, {Kind: DropColumn, Name: "B", IfExists: true}, {Kind: AddColumn, Name: "c"}},
			"ADD COLUMN IF NOT EXISTS a numeric(1, 2) DEFAULT f(1, 2)|DROP COLUMN IF EXISTS \"B\" CASCADE|ADD c int"},
		{"ALTER TABLE IF EXISTS ONLY s.t * ADD CONSTRAINT c CHECK (a > 1) NOT VALID", "s.t", false, []Action{{Kind: AddConstraint, Name: "c", NotValid: true}},
			"ADD CONSTRAINT c CHECK (a > 1) NOT VALID"},
		{"ALTER TABLE t ADD PRIMARY KEY (a), ADD UNIQUE (a), ADD EXCLUDE (a WITH =), ADD exclude int", "t", false, []Action{
			{Kind: AddConstraint}, {Kind: AddConstraint}, {Kind: AddConstraint}, {Kind: AddColumn, Name: "exclude"}},
			"ADD PRIMARY KEY (a)|ADD UNIQUE (a)|ADD EXCLUDE (a WITH =)|ADD exclude int"},
		{"ALTER TABLE ASYNC s.t VALIDATE CONSTRAINT c", "s.t", true, []Action{{Kind: ValidateConstraint, Name: "c"}}, "VALIDATE CONSTRAINT c"},
		{"ALTER TABLE async VALIDATE CONSTRAINT c", "async", false, []Action{{Kind: ValidateConstraint, Name: "c"}}, "VALIDATE CONSTRAINT c"},
		{"ALTER TABLE async.t VALIDATE CONSTRAINT c", "async.t", false, []Action{{Kind: ValidateConstraint, Name: "c"}}, "VALIDATE CONSTRAINT c"},
		{"ALTER TABLE t DROP CONSTRAINT IF EXISTS c, ALTER CONSTRAINT d DEFERRABLE", "t", false, []Action{
			{Kind: DropConstraint, Name: "c", IfExists: true}, {Kind: AlterConstraint, Name: "d"}}, "DROP CONSTRAINT IF EXISTS c|ALTER CONSTRAINT d DEFERRABLE"},
		{"ALTER TABLE t ALTER a TYPE int, ALTER COLUMN b SET DATA TYPE int, ALTER c SET DEFAULT 1, ALTER d DROP DEFAULT, ALTER e SET NOT NULL, ALTER f DROP NOT NULL, ALTER g SET STATISTICS 1",
			"t", false, []Action{{Kind: AlterColumnType, Name: "a"}, {Kind: AlterColumnType, Name: "b"}, {Kind: SetDefault, Name: "c"}, {Kind: DropDefault, Name: "d"},
				{Kind: SetNotNull, Name: "e"}, {Kind: DropNotNull, Name: "f"}, {Kind: AlterColumn, Name: "g"}}, ""},
		{"ALTER TABLE t RENAME TO u", "t", false, []Action{{Kind: RenameTable, Name: "u"}}, ""},
		{"ALTER TABLE t RENAME a TO b", "t", false, []Action{{Kind: RenameColumn, Name: "a", NewName: "b"}}, ""},
		{"ALTER TABLE t RENAME CONSTRAINT a TO b", "t", false, []Action{{Kind: RenameConstraint, Name: "a", NewName: "b"}}, ""},
		{"ALTER TABLE t SET SCHEMA s", "t", false, []Action{{Kind: SetSchema, Name: "s"}}, ""},
		{"ALTER TABLE t OWNER TO o", "t", false, []Action{{Kind: OwnerTo, Name: "o"}}, ""},
		{"ALTER TABLE t ATTACH PARTITION s.p DEFAULT", "t", false, []Action{{Kind: AttachPartition, Name: "p"}}, ""},
		{"ALTER TABLE t DETACH PARTITION p CONCURRENTLY", "t", false, []Action{{Kind: DetachPartition, Name: "p", Concurrently: true}}, ""},
		{"ALTER TABLE t ALTER a SET DEFAULT ARRAY[1, (2), 3], ALTER b SET DEFAULT (ARRAY['x', 'y'])[1], DROP c", "t", false, []Action{
			{Kind: SetDefault, Name: "a"}, {Kind: SetDefault, Name: "b"}, {Kind: DropColumn, Name: "c"}},
			"ALTER a SET DEFAULT ARRAY[1, (2), 3]|ALTER b SET DEFAULT (ARRAY['x', 'y'])[1]|DROP c"},
		{"ALTER TABLE t ENABLE ROW LEVEL SECURITY, , )", "t", false, []Action{{}, {}, {}}, ""},
	}
	for _, tt := range tests {
		i := Classify(tt.stmt)
		var spans []string
		for k := range i.Actions {
			spans = append(spans, tt.stmt[i.Actions[k].Span.Start:i.Actions[k].Span.End])
			i.Actions[k].Span = Span{}
		}
		if i.Kind != AlterTable || i.Name.String() != tt.table || i.Async != tt.async || tt.stmt[:i.ModeAt] != "ALTER TABLE" {
			t.Errorf("%s: got %+v", tt.stmt, i)
		}
		if diff := cmp.Diff(tt.want, i.Actions); diff != "" {
			t.Errorf("%s: %s", tt.stmt, diff)
		}
		if got := strings.Join(spans, "|"); tt.spans != "" && got != tt.spans {
			t.Errorf("%s: spans %q, want %q", tt.stmt, got, tt.spans)
		}
	}
}

func TestPredicates(t *testing.T) {
	tests := []struct {
		stmt                      string
		ddl, dml, readOnly, alone bool
	}{
		{stmt: "SELECT 1", readOnly: true},
		{stmt: "WITH a AS (SELECT 1) VALUES (1)", readOnly: true},
		{stmt: "SELECT substring(a FROM 1 FOR 2) FROM t", readOnly: true},
		{stmt: "SELECT 1 FROM t FOR NO KEY UPDATE"},
		{stmt: "SELECT * FROM (SELECT 1 FROM t FOR SHARE) a"},
		{stmt: "WITH a AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM a", dml: true},
		{stmt: "WITH a AS MATERIALIZED (/* c */ DELETE FROM t RETURNING *) TABLE a", dml: true},
		{stmt: "WITH a AS (WITH b AS (SELECT 1) UPDATE t SET x = 1 RETURNING *) SELECT 1", dml: true},
		{stmt: "WITH a(insert, update) AS (SELECT 1, 2) SELECT 'AS (DELETE'", readOnly: true},
		{stmt: "INSERT INTO t VALUES (1)", dml: true},
		{stmt: "COPY t FROM '/f'", dml: true},
		{stmt: "COPY t TO '/f'"},
		{stmt: "TRUNCATE t", dml: true},
		{stmt: "DO $$ BEGIN END $$"},
		{stmt: "SELECT 1 INTO t", ddl: true},
		{stmt: "CREATE TABLE t (a int)", ddl: true},
		{stmt: "GRANT a TO b", ddl: true},
		{stmt: "CREATE INDEX CONCURRENTLY i ON t (a)", ddl: true, alone: true},
		{stmt: "CREATE INDEX ASYNC i ON t (a)", ddl: true},
		{stmt: "CREATE INDEX i ON concurrently (a)", ddl: true},
		{stmt: "DROP INDEX CONCURRENTLY i", ddl: true, alone: true},
		{stmt: "DROP INDEX i", ddl: true},
		{stmt: "REINDEX TABLE CONCURRENTLY t", ddl: true, alone: true},
		{stmt: "REINDEX (VERBOSE, CONCURRENTLY) INDEX i", ddl: true, alone: true},
		{stmt: "REINDEX (CONCURRENTLY false) INDEX i", ddl: true},
		{stmt: "REINDEX TABLE t", ddl: true},
		{stmt: "REINDEX DATABASE d", ddl: true, alone: true},
		{stmt: "REINDEX SCHEMA s", ddl: true, alone: true},
		{stmt: "REINDEX SYSTEM d", ddl: true, alone: true},
		{stmt: "VACUUM (FULL) t", alone: true},
		{stmt: "ANALYZE t"},
		{stmt: "CREATE DATABASE d", ddl: true, alone: true},
		{stmt: "DROP DATABASE IF EXISTS d", ddl: true, alone: true},
		{stmt: "CREATE TABLESPACE a LOCATION '/'", ddl: true, alone: true},
		{stmt: "DROP TABLESPACE a", ddl: true, alone: true},
		{stmt: "ALTER SYSTEM SET a = 1", ddl: true, alone: true},
		{stmt: "ALTER DATABASE d SET TABLESPACE a", ddl: true, alone: true},
		{stmt: "ALTER DATABASE d SET a = 1", ddl: true},
		{stmt: "CLUSTER", ddl: true, alone: true},
		{stmt: "CLUSTER VERBOSE", ddl: true, alone: true},
		{stmt: "CLUSTER t", ddl: true},
		{stmt: "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", ddl: true, alone: true},
		{stmt: "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (create_slot = false)", ddl: true},
		{stmt: "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (connect = false)", ddl: true},
		{stmt: "DROP SUBSCRIPTION s", ddl: true, alone: true},
		{stmt: "ALTER SUBSCRIPTION s REFRESH PUBLICATION", ddl: true, alone: true},
		{stmt: "ALTER SUBSCRIPTION s SET PUBLICATION p", ddl: true, alone: true},
		{stmt: "ALTER SUBSCRIPTION s ADD PUBLICATION p WITH (refresh = off)", ddl: true},
		{stmt: "ALTER SUBSCRIPTION s DISABLE", ddl: true},
		{stmt: "ALTER TABLE t DETACH PARTITION p CONCURRENTLY", ddl: true, alone: true},
		{stmt: "ALTER TABLE t DETACH PARTITION p", ddl: true},
		{stmt: "REFRESH MATERIALIZED VIEW CONCURRENTLY m", ddl: true},
		{stmt: "ALTER TYPE e ADD VALUE 'x'", ddl: true},
		{stmt: "DISCARD ALL", alone: true},
		{stmt: "DISCARD PLANS"},
		{stmt: "COMMIT PREPARED 'a'", alone: true},
		{stmt: "ROLLBACK PREPARED 'a'", alone: true},
		{stmt: "BEGIN"},
	}
	for _, tt := range tests {
		i := Classify(tt.stmt)
		got := [4]bool{i.IsDDL(), i.IsDML(), i.IsReadOnlyQuery(), i.CannotRunInTransaction()}
		if want := [4]bool{tt.ddl, tt.dml, tt.readOnly, tt.alone}; got != want {
			t.Errorf("%s: DDL, DML, read-only, alone: got %v, want %v (%v)", tt.stmt, got, want, i.Kind)
		}
	}
	for _, stmt := range []string{"BEGIN", "COMMIT", "ROLLBACK TO a", "SAVEPOINT a", "COMMIT PREPARED 'a'"} {
		if !Classify(stmt).IsTransactionControl() {
			t.Errorf("%s is not transaction control", stmt)
		}
	}
	if Classify("SET TRANSACTION READ ONLY").IsTransactionControl() {
		t.Error("SET TRANSACTION is transaction control")
	}
}

func TestContainsWord(t *testing.T) {
	for stmt, want := range map[string]bool{
		"SELECT pg_catalog.Set_Config('a', 'b', true)": true,
		`SELECT "set_config"('a', 'b', true)`:          true,
		`SELECT "Set_Config"('a', 'b', true)`:          false,
		"SELECT 'set_config'":                          false,
		"SELECT 1 -- set_config":                       false,
		"SELECT set_config2()":                         false,
		"DO $$ SELECT set_config('a', 'b', true) $$":   false,
	} {
		if got := ContainsWord(stmt, "set_config"); got != want {
			t.Errorf("%s: got %v", stmt, got)
		}
	}
}

func TestIdent(t *testing.T) {
	long := strings.Repeat("a", 62)
	for text, want := range map[string]string{
		"Abc":                     "abc",
		"ÄB":                      "Äb",
		`"A""b"`:                  `A"b`,
		`U&"d\0061t\+000061\\\q"`: `data\\q`,
		`u&"a"`:                   "a",
		"U":                       "u",
		`""`:                      "",
		long + "bc":               long + "b",
		long + "äc":               long,
	} {
		if got := Ident(text); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestNameString(t *testing.T) {
	for _, tt := range []struct {
		name Name
		want string
	}{
		{Name{Schema: "s", Name: "t1$"}, "s.t1$"},
		{Name{Schema: "S", Name: `a"b`}, `"S"."a""b"`},
		{Name{Name: "1a"}, `"1a"`},
		{Name{Name: "ä b"}, `"ä b"`},
		{Name{}, `""`},
	} {
		if got := tt.name.String(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestApply(t *testing.T) {
	stmt := "CREATE INDEX CONCURRENTLY i ON t USING btree (a)"
	i := Classify(stmt)
	got, err := Apply(stmt, Edit{i.Mode, "ASYNC"}, Edit{i.Index.Using, ""})
	if err != nil || got != "CREATE INDEX ASYNC i ON t  (a)" {
		t.Errorf("got %q, %v", got, err)
	}
	got, err = Apply("CREATE INDEX i ON t (a)", Edit{Span{12, 12}, " ASYNC"})
	if err != nil || got != "CREATE INDEX ASYNC i ON t (a)" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, edits := range [][]Edit{
		{{Span{5, 6}, ""}, {Span{4, 5}, ""}},
		{{Span{5, 4}, ""}},
		{{Span{-1, 4}, ""}},
		{{Span{0, 400}, ""}},
	} {
		if _, err := Apply(stmt, edits...); err == nil {
			t.Errorf("%v: no error", edits)
		}
	}
}

func TestKindNames(t *testing.T) {
	if got := Invalid.String(); got != "Invalid" {
		t.Errorf("got %s", got)
	}
	if got := Checkpoint.String(); got != "Checkpoint" {
		t.Errorf("got %s", got)
	}
	if got := DetachPartition.String(); got != "DetachPartition" {
		t.Errorf("got %s", got)
	}
	if len(kindNames) != int(Invalid)+1 || len(statementKindNames) != int(Checkpoint)+1 || len(actionKindNames) != int(DetachPartition)+1 {
		t.Error("a kind has no name")
	}
}

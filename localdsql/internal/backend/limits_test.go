package backend

import (
	"fmt"
	"strings"
	"testing"
)

// list joins n pieces of SQL made from a pattern with one %d.
func list(n int, separator, pattern string) string {
	pieces := make([]string, n)
	for i := range pieces {
		pieces[i] = strings.ReplaceAll(pattern, "%d", fmt.Sprint(i+1))
	}
	return strings.Join(pieces, separator)
}

// index is what CREATE INDEX ASYNC is sent as.
func index(statement string) string {
	unique := strings.HasPrefix(statement, "CREATE UNIQUE ")
	return fmt.Sprintf("SELECT sys._create_index($aurora$%s$aurora$, %v)", strings.Replace(statement, "CREATE UNIQUE ", "CREATE        ", 1), unique)
}

// The messages of several refusals.
const (
	manyIndexes = "more than 24 indexes per table are not allowed"
	manyKeys    = "more than 8 column keys in an index are not supported"
	manyColumns = "tables can have at most 255 columns"
	manySchemas = "more than 10 schemas not allowed"
	manyStats   = "more than 5 extended statistics per table are not allowed"
	dropPK      = "unsupported ALTER TABLE DROP CONSTRAINT statement"
	bigKey      = "key size greater than 2000 bytes not supported"
)

// refusals are statements and what becomes of them after others.
var refusals = []struct {
	name, setup, sql, sqlstate, message string // no sqlstate: it passes
}{
	{"24 indexes", "CREATE TABLE t (a int PRIMARY KEY, " + list(23, ", ", "c%d int UNIQUE") + ")", "", "", ""},
	{"25 indexes in CREATE TABLE", "", "CREATE TABLE t (a int PRIMARY KEY, " + list(24, ", ", "c%d int UNIQUE") + ")", "54000", manyIndexes},
	{"25th index", "CREATE TABLE t (a int PRIMARY KEY, " + list(23, ", ", "c%d int UNIQUE") + ")", index("CREATE INDEX ON t (c1)"), "54000", manyIndexes},
	{"8 keys", "CREATE TABLE t (" + list(9, ", ", "c%d int") + ")", index("CREATE INDEX ON t (" + list(8, ", ", "c%d") + ")"), "", ""},
	{"9 keys", "CREATE TABLE t (" + list(9, ", ", "c%d int") + ")", index("CREATE INDEX ON t (" + list(9, ", ", "c%d") + ")"), "54011", manyKeys},
	{"9 keys in CREATE TABLE", "", "CREATE TABLE t (" + list(9, ", ", "c%d int") + ", PRIMARY KEY (" + list(9, ", ", "c%d") + "))", "54011", manyKeys},
	{"8 keys and INCLUDE", "CREATE TABLE t (" + list(9, ", ", "c%d int") + ")", index("CREATE INDEX ON t (" + list(8, ", ", "c%d") + ") INCLUDE (c9)"), "", ""},
	{"255 columns", "CREATE TABLE t (" + list(255, ", ", "c%d int") + ")", "ALTER TABLE t RENAME c1 TO d", "", ""},
	{"256 columns", "", "CREATE TABLE t (" + list(256, ", ", "c%d int") + ")", "54011", manyColumns},
	{"256th column", "CREATE TABLE t (" + list(255, ", ", "c%d int") + ")", "ALTER TABLE t ADD COLUMN d int", "54011", manyColumns},
	{"256th column after a drop", "CREATE TABLE t (" + list(255, ", ", "c%d int") + "); ALTER TABLE t DROP COLUMN c1", "ALTER TABLE t ADD COLUMN d int", "", ""},
	{"10 schemas", list(9, "; ", "CREATE SCHEMA s%d"), "CREATE SCHEMA s10", "", ""},
	{"11th schema", list(10, "; ", "CREATE SCHEMA s%d"), "CREATE SCHEMA s11", "54000", manySchemas},
	{"existing schema at the limit", list(10, "; ", "CREATE SCHEMA s%d"), "CREATE SCHEMA IF NOT EXISTS s1", "54000", manySchemas},
	{"existing schema below the limit", list(9, "; ", "CREATE SCHEMA s%d"), "CREATE SCHEMA IF NOT EXISTS s1", "", ""},
	{"CREATE SCHEMA with a table", "", "CREATE SCHEMA s CREATE TABLE t (a int[])", "0A000", "datatype integer[] not supported"},
	{"5 statistics", "CREATE TABLE t (a int, b int);" + list(4, "; ", "CREATE STATISTICS s%d ON a, b FROM t"), "CREATE STATISTICS ON a, b FROM t", "", ""},
	{"6 statistics", "CREATE TABLE t (a int, b int);" + list(5, "; ", "CREATE STATISTICS s%d ON a, b FROM t"), "CREATE STATISTICS s6 ON a, b FROM t", "54000", manyStats},

	{"drop a primary key", "CREATE TABLE t (a int PRIMARY KEY)", "ALTER TABLE t DROP CONSTRAINT t_pkey", "0A000", dropPK},
	{"drop a primary key, CASCADE", "CREATE TABLE t (a int PRIMARY KEY); CREATE TABLE u (a int REFERENCES t)", "ALTER TABLE t DROP CONSTRAINT IF EXISTS t_pkey CASCADE", "0A000", dropPK},
	{"drop a unique constraint", "CREATE TABLE t (a int UNIQUE)", "ALTER TABLE t DROP CONSTRAINT t_a_key", "", ""},
	{"drop a check constraint", "CREATE TABLE t (a int CONSTRAINT c CHECK (a > 0))", "ALTER TABLE t DROP CONSTRAINT c", "", ""},
	{"drop a column of the primary key", `CREATE TABLE t (a int, "B b" int, c int, PRIMARY KEY (a, "B b"))`, `ALTER TABLE t DROP COLUMN c, DROP COLUMN "B b"`, "0A000", "cannot drop primary key column B b"},
	{"drop a column included in the primary key", "CREATE TABLE t (a int, b int, PRIMARY KEY (a) INCLUDE (b))", "ALTER TABLE t DROP COLUMN a", "0A000", "cannot drop primary key column a"},
	{"drop another column", "CREATE TABLE t (a int PRIMARY KEY, b int UNIQUE)", "ALTER TABLE t DROP COLUMN b", "", ""},
	{"drop the table", "CREATE TABLE t (a int PRIMARY KEY)", "DROP TABLE t", "", ""},
	{"drop the schema", "CREATE SCHEMA s; CREATE TABLE s.t (a int PRIMARY KEY)", "DROP SCHEMA s CASCADE", "", ""},
	{"drop and create again", "CREATE TABLE t (a int PRIMARY KEY)", "BEGIN; DROP TABLE t; CREATE TABLE t (b int PRIMARY KEY); COMMIT", "", ""},
	{"drop a new primary key", "", "BEGIN; CREATE TABLE t (b int PRIMARY KEY); ALTER TABLE t DROP CONSTRAINT t_pkey; COMMIT", "0A000", dropPK},

	{"array in a domain", "CREATE DOMAIN d AS int[]; CREATE TABLE t (a int)", "ALTER TABLE t ADD COLUMN b d", "0A000", "datatype integer[] not supported"},
	{"row type", "CREATE TABLE t (a int)", "CREATE TABLE u (t t)", "0A000", "datatype t not supported"},
	{"bit varying", "", "CREATE TABLE u (a varbit(3))", "0A000", "datatype bit varying not supported"},
	{"LIKE a view of unsupported types", "CREATE VIEW v AS SELECT '1.1.1.1'::inet a", "CREATE TABLE t (LIKE v)", "0A000", "datatype inet not supported"},
	{"domain over a supported type", "CREATE DOMAIN d AS int CHECK (VALUE > 0)", "CREATE TABLE t (a d PRIMARY KEY)", "", ""},
	{"every type", "", "CREATE TABLE t (a smallint, b int, c bigint, d real, e float8, f boolean, g date, h time, i timestamp, j timestamptz, k uuid, l numeric(9, 2), m char(3), n varchar(9), o text, p timetz, q interval, r bytea, s json, t jsonb)", "", ""},
	{"identity on a column that is there", "CREATE TABLE t (a int NOT NULL)", "ALTER TABLE t ALTER a ADD GENERATED ALWAYS AS IDENTITY (CACHE 1)", "0A000", "datatype integer not supported, identity column type must be bigint"},
	{"identity on a bigint", "CREATE TABLE t (a bigint NOT NULL)", "ALTER TABLE t ALTER a ADD GENERATED ALWAYS AS IDENTITY (CACHE 1)", "", ""},

	{"bytea key", "CREATE TABLE t (a bytea)", index("CREATE INDEX ON t (a)"), "0A000", "datatype bytea is not supported in a key"},
	{"json key", "CREATE TABLE t (a json)", index("CREATE INDEX ON t (a)"), "0A000", "datatype json is not supported in a key"},
	{"jsonb key", "CREATE TABLE t (a jsonb)", index("CREATE INDEX ON t ((a -> 'x'))"), "0A000", "datatype jsonb is not supported in a key"},
	{"key from jsonb", "CREATE TABLE t (a jsonb)", index("CREATE INDEX ON t ((a ->> 'x'))"), "", ""},
	{"interval key", "CREATE TABLE t (a interval)", index("CREATE UNIQUE INDEX ON t (a)"), "0A000", "datatype interval is not supported in a key"},
	{"timetz key in a domain", "CREATE DOMAIN d AS timetz; CREATE TABLE t (a int, b d)", index("CREATE INDEX ON t (a, b)"), "0A000", "datatype time with time zone is not supported in a key"},
	{"array key", "CREATE TABLE t (a text)", index("CREATE INDEX ON t (string_to_array(a, ','))"), "0A000", "datatype text[] is not supported in a key"},
	{"bytea primary key", "", "CREATE TABLE t (a bytea PRIMARY KEY)", "0A000", "datatype bytea is not supported in a key"},
	{"bytea included", "CREATE TABLE t (a int, b bytea)", index("CREATE INDEX ON t (a) INCLUDE (b)"), "", ""},
	{"2000 bytes declared", "CREATE TABLE t (a varchar(1000), b char(1000))", index("CREATE INDEX ON t (a, b)"), "", ""},
	{"2001 bytes declared", "CREATE TABLE t (a varchar(1000), b char(1001))", index("CREATE INDEX ON t (a, b)"), "54000", bigKey},

	{"table missing", "", index("CREATE INDEX ON t (a)"), "42P01", `relation "t" does not exist`},
	{"column missing", "CREATE TABLE t (a int)", index("CREATE INDEX ON t (b)"), "42703", `column "b" does not exist`},
	{"type missing", "CREATE TABLE t (a int)", index("CREATE INDEX ON t ((a::nope))"), "42704", `type "nope" does not exist`},
	{"name taken", "CREATE TABLE t (a int)", index("CREATE INDEX t ON t (a)"), "42P07", `relation "t" already exists`},
	{"name of an index being built", "CREATE TABLE t (a int);" + index("CREATE INDEX i ON t (a)"), index("CREATE INDEX i ON t (a)"), "42P07", `relation "i" already exists`},
	{"expression not immutable", "CREATE TABLE t (a timestamptz)", index("CREATE INDEX ON t ((a::text))"), "42P17", "functions in index expression must be marked IMMUTABLE"},
	{"constraint from an index being built", "CREATE TABLE t (a int);" + index("CREATE UNIQUE INDEX i ON t (a)"), "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX i", "55000", `index "i" is not valid`},

	{"validate: table missing", "", "SELECT sys._validate_constraint('nope', 'c')", "42P01", `relation "nope" does not exist`},
	{"validate: table missing, IF EXISTS", "", "SELECT sys._validate_constraint('public.nope', 'c', true)", "", ""},
	{"validate: constraint missing", "CREATE TABLE t (a int)", "SELECT sys._validate_constraint('public.t', 'c')", "42704", `constraint "c" of relation "t" does not exist`},
	{"validate: primary key", "CREATE TABLE t (a int PRIMARY KEY)", "SELECT sys._validate_constraint('t', 't_pkey')", "42809", `constraint "t_pkey" of relation "t" is not a foreign key or check constraint`},

	{"1 MiB of each", "CREATE TABLE t (a text, b bytea, c json, d jsonb)", "INSERT INTO t VALUES (repeat('x', 1048576), decode(repeat('00', 1048576), 'hex'), '1', '1')", "", ""},
	{"text", "CREATE TABLE t (a int, b text)", "INSERT INTO t VALUES (1, repeat('x', 1048577))", "54000", "datatype limit greater than 1048576 bytes not supported for text"},
	{"text in characters of two bytes", "CREATE TABLE t (a int, b text)", "INSERT INTO t VALUES (1, repeat('ü', 524289))", "54000", "datatype limit greater than 1048576 bytes not supported for text"},
	{"text by UPDATE", "CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x')", "UPDATE t SET b = repeat(b, 1048577)", "54000", "datatype limit greater than 1048576 bytes not supported for text"},
	{"bytea in a domain", `CREATE DOMAIN d AS bytea; CREATE TABLE t ("A b" d)`, "INSERT INTO t VALUES (decode(repeat('00', 1048577), 'hex'))", "54000", "datatype limit greater than 1048576 bytes not supported for bytea"},
	{"jsonb", "CREATE TABLE t (a jsonb)", "INSERT INTO t VALUES (to_jsonb(repeat('x', 1048577)))", "54000", "datatype limit greater than 1048576 bytes not supported for jsonb"},
	{"json", "CREATE TABLE t (a json)", "INSERT INTO t VALUES (to_json(repeat('x', 1048577)))", "54000", "datatype limit greater than 1048576 bytes not supported for json"},
	{"text in a new column", "CREATE TABLE t (a int); ALTER TABLE t ADD COLUMN b text", "INSERT INTO t VALUES (1, repeat('x', 1048577))", "54000", "datatype limit greater than 1048576 bytes not supported for text"},
	{"text in a renamed column", "CREATE TABLE t (a text); ALTER TABLE t RENAME a TO b", "INSERT INTO t VALUES (repeat('x', 1048577))", "54000", "datatype limit greater than 1048576 bytes not supported for text"},
	{"text after a drop", "CREATE TABLE t (a text, b text, c text); ALTER TABLE t DROP COLUMN b", "INSERT INTO t VALUES ('x', repeat('x', 1048577))", "54000", "datatype limit greater than 1048576 bytes not supported for text"},
	{"no text after a drop", "CREATE TABLE t (a int, b text); ALTER TABLE t DROP COLUMN b", "INSERT INTO t VALUES (1)", "", ""},
	{"no domain after a drop", "CREATE DOMAIN d AS text; CREATE TABLE t (a int, b d); DROP DOMAIN d CASCADE", "INSERT INTO t VALUES (1)", "", ""},

	{"domain of the information schema", "", "CREATE TABLE t (a information_schema.sql_identifier)", "0A000", "datatype name not supported"},
	{"temporary table by the search path", "", "BEGIN; SET LOCAL search_path = pg_temp, public; CREATE TABLE t (a int)", "0A000", "TEMPORARY or TEMP table not supported for CREATE TABLE"},
	{"temporary view by the search path", "", "BEGIN; SET LOCAL search_path = pg_temp, public; CREATE VIEW v AS SELECT 1", "0A000", "TEMPORARY or TEMP view not supported for CREATE VIEW"},
	{"advisory lock", "", "SELECT query_to_xml('SELECT pg_advisory_lock(1)', true, true, '')", "0A000", "function pg_advisory_lock not supported"},
	{"advisory lock of two numbers", "", "SELECT pg_try_advisory_xact_lock_shared(1, 2)", "0A000", "function pg_try_advisory_xact_lock_shared not supported"},
	{"advisory lock under its other name", "", "SELECT _pg_advisory_lock(1)", "42501", "permission denied for function _pg_advisory_lock"},

	{"set_config of a setting that is not settable", "", "SELECT set_config('statement_' || 'timeout', '1s', false)", "0A000", `setting configuration parameter "statement_timeout" not supported`},
	{"set_config of the search path", "", "SELECT set_config('search_' || 'path', 'public', false)", "", ""},
	{"text search in a language", "", "SELECT to_tsvector('english', 'x')", "42704", `text search configuration "english" does not exist`},
	{"text search", "", "SELECT to_tsvector('x')", "", ""},
}

func TestRefusals(t *testing.T) {
	name := database(t)
	admin, super := connectAs(t, name, "admin"), connectAs(t, name, "postgres")
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			admin, super := &client{t, admin.conn}, &client{t, super.conn}
			defer func() {
				admin.exec("ROLLBACK")
				super.exec("DROP OWNED BY admin CASCADE", "GRANT CREATE ON SCHEMA public TO admin", "GRANT ALL ON DATABASE "+name+" TO admin")
			}()
			if tt.setup != "" {
				table, job, submits := strings.Cut(tt.setup, "SELECT sys._create_index(")
				admin.exec(table)
				if submits { // a message of its own, as the proxy sends it
					admin.exec("SELECT sys._create_index(" + job)
				}
			}
			if tt.sqlstate != "" {
				admin.refused(tt.sql, tt.sqlstate, tt.message)
			} else if tt.sql != "" {
				admin.exec(tt.sql)
			}
		})
	}
}

func TestCounts(t *testing.T) {
	t.Run("tables", func(t *testing.T) {
		admin := connectAs(t, database(t), "admin")
		admin.exec(list(1000, ";", "CREATE TABLE t%d (a int)"))
		admin.refused("CREATE TABLE t1001 (a int)", "54000", "creating more than 1000 tables not allowed")
		admin.exec("CREATE TABLE IF NOT EXISTS t1 (a int)", "DROP TABLE t7", "CREATE TABLE t1001 (a int)")
	})
	t.Run("sequences", func(t *testing.T) {
		name := database(t)
		// What the trigger costs is not what this is about.
		connectAs(t, name, "postgres").exec("SET session_replication_role = replica", "SET ROLE admin",
			list(2500, ";", "CREATE SEQUENCE s%d"), list(2500, ";", "CREATE SEQUENCE r%d"))
		admin := connectAs(t, name, "admin")
		const message = "creating more than 5000 sequences is not allowed"
		admin.refused("CREATE SEQUENCE s CACHE 1", "54000", message)
		admin.refused("CREATE TABLE t (a bigint GENERATED ALWAYS AS IDENTITY (CACHE 1))", "54000", message)
		admin.exec("CREATE TABLE t (a bigint NOT NULL)")
		admin.refused("ALTER TABLE t ALTER a ADD GENERATED ALWAYS AS IDENTITY (CACHE 1)", "54000", message)
		admin.exec("DROP SEQUENCE s1", "ALTER TABLE t ALTER a ADD GENERATED ALWAYS AS IDENTITY (CACHE 1)")
	})
}

func TestIdentity(t *testing.T) {
	admin := connectAs(t, database(t), "admin")
	admin.exec(`CREATE TABLE t (a int, "B" int, c text, PRIMARY KEY (a)); CREATE TABLE u (a int PRIMARY KEY);`, index("CREATE INDEX i ON t (lower(c)) WHERE a > 0"))
	for _, tt := range []struct{ sql, want string }{
		{"SELECT version()", "PostgreSQL 16"},
		{"SELECT * FROM version()", "PostgreSQL 16"},
		{"SELECT upper(pg_catalog.version())", "POSTGRESQL 16"},
		{"SELECT current_database()", "postgres"},
		{"SELECT DISTINCT table_catalog FROM information_schema.tables", "postgres"},
		{"SELECT count(*) FROM pg_database WHERE datname = current_database()", "1"},
		{"SELECT current_setting('server_version_num')::int", "160015"},
		{"SELECT current_setting('Server_Version')", "16.15"},
		{"SELECT current_setting('transaction_isolation')", "repeatable read"},
		{"SELECT coalesce(current_setting('no.such', true), 'none')", "none"},
		{"SELECT current_schema()", "public"},
		{"SELECT count(*) FROM pg_ts_config", "1"},
		{"SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal", "0"},
		{"SELECT count(*) FROM information_schema.triggers", "0"},
		{"SELECT pg_get_indexdef('i'::regclass)", "CREATE INDEX i ON public.t USING btree_index (lower(c)) WHERE (a > 0)"},
		{"SELECT pg_get_indexdef('i'::regclass, 1, false)", "lower(c)"},
		{"SELECT indexdef FROM pg_indexes WHERE indexname = 't_pkey'", `CREATE UNIQUE INDEX t_pkey ON public.t USING btree_index (a) INCLUDE ("B", c)`},
		{"SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indexrelid = 'u_pkey'::regclass", "CREATE UNIQUE INDEX u_pkey ON public.u USING btree_index (a)"},
	} {
		if got := admin.one(tt.sql); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.sql, got, tt.want)
		}
	}
}

func TestRights(t *testing.T) {
	name := database(t)
	admin := connectAs(t, name, "admin")
	role := "app_" + name
	admin.exec("CREATE ROLE "+role+" WITH LOGIN", "CREATE SCHEMA s", "GRANT USAGE, CREATE ON SCHEMA s TO "+role, "CREATE TABLE t (a int)")
	app := connectAs(t, name, role)
	app.exec("CREATE TABLE s.mine (a int CONSTRAINT c CHECK (a > 0))")
	for _, tt := range []struct {
		c             *client
		sql, sqlstate string
		message       string
	}{
		{app, "CREATE TABLE public.x (a int)", "42501", "permission denied for schema public"},
		{app, index("CREATE INDEX ON public.t (a)"), "42501", "must be owner of table t"},
		{app, "SELECT sys._validate_constraint('public.t', 'c')", "42501", "must be owner of table t"},
		{app, "CREATE SCHEMA mine", "42501", "permission denied for database " + name},
		{admin, index("CREATE INDEX ON s.mine (a)"), "42501", "must be owner of table mine"},
		{admin, "SELECT sys._validate_constraint('s.mine', 'c')", "42501", "must be owner of table mine"},
		{admin, "DROP SCHEMA public", "42501", "must be owner of schema public"},
		{admin, "DROP SCHEMA sys CASCADE", "42501", "must be owner of schema sys"},
		{admin, "CREATE TABLE sys.x (a int)", "42501", "permission denied for schema sys"},
		{admin, "SELECT FROM sys._jobs", "42501", "permission denied for table _jobs"},
		{admin, "DELETE FROM sys.jobs", "42501", "permission denied for view jobs"},
		{admin, "INSERT INTO sys._iam VALUES (1, '', 1, 1)", "42501", "permission denied for table _iam"},
		{admin, "SELECT sys._submit_index(1, true)", "42501", "permission denied for function _submit_index"},
		{admin, "SELECT sys._finish_job(1, '')", "42501", "permission denied for function _finish_job"},
		{admin, "SELECT sys._any_row('SELECT')", "42501", "permission denied for function _any_row"},
		{admin, "UPDATE pg_index SET indisvalid = true", "42501", "permission denied for table pg_index"},
		{admin, "DROP EVENT TRIGGER aurora_after_drop", "42501", "must be owner of event trigger aurora_after_drop"},
		{admin, "CREATE ROLE boss SUPERUSER", "42501", "permission denied to create role"},
		{admin, "GRANT pg_read_all_data TO admin", "42501", `permission denied to grant role "pg_read_all_data"`},
		{admin, "ALTER ROLE admin NOLOGIN", "42501", "permission denied to alter role"},
		{admin, "DROP ROLE admin", "55006", "current user cannot be dropped"},
		{admin, "ALTER ROLE admin RENAME TO other", "0A000", "session user cannot be renamed"},
	} {
		tt.c.refused(tt.sql, tt.sqlstate, tt.message)
	}
	// As in DSQL, admin manages what a role has once it is granted the role.
	admin.exec("GRANT "+role+" TO admin", index("CREATE INDEX ON s.mine (a)"), "DROP TABLE s.mine")
}

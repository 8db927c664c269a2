package dsql

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/internal/sqllex"
	"github.com/aurora-migrate/aurora/localdsql/engine"
)

// catalogs are the parts of Aurora DSQL's own catalog that looks read, for a
// plain PostgreSQL.
const catalogs = `CREATE SCHEMA sys;
CREATE TABLE sys.jobs (job_id text, status text, details text, job_type text, class_id oid, object_id oid, object_name text,
	start_time timestamptz, update_time timestamptz);
CREATE TABLE sys.iam_pg_role_mappings (iam_oid oid, arn text, pg_role_oid oid, pg_role_name text, grantor_pg_role_oid oid, grantor_pg_role_name text);`

// testPatience bounds what a test waits for. It is only there so that nothing
// hangs, and so long that a slow machine never reaches it.
const testPatience = 5 * time.Minute

// startPlain gives the URL of a PostgreSQL 16 with catalogs, as old as the test.
func startPlain(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	defer cancel()
	server, err := engine.Start(ctx, engine.Config{Throwaway: true, Find: engine.FindOptions{Major: 16}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testPatience)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	url := server.URL("postgres")
	newPlain(t, url).run(t, catalogs)
	return url
}

// A plain is a connection to a PostgreSQL.
type plain struct{ conn *pgconn.PgConn }

func newPlain(t *testing.T, url string) plain {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	defer cancel()
	conn, err := pgconn.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return plain{conn}
}

func (p plain) run(t *testing.T, sql string) {
	t.Helper()
	if sql == "" {
		return
	}
	if _, err := p.conn.Exec(context.Background(), sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (p plain) ask(ctx context.Context, sql string, args ...string) ([][][]byte, error) {
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	res := p.conn.ExecParams(ctx, sql, values, nil, nil, nil).Read()
	return res.Rows, res.Err
}

func lookAt(t *testing.T, ask asker, sql string) evidence {
	t.Helper()
	found, err := look(context.Background(), ask, sql, sqllex.Classify(sql))
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return found
}

// An evidenceTest is a statement that is looked for before and after it ran.
type evidenceTest struct {
	setup, sql    string
	run           string // what runs instead, where plain PostgreSQL needs it
	before, after evidence
}

const users = "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, n integer DEFAULT 1, CONSTRAINT n_small CHECK (n < 10));"

const ownedSchema = "CREATE ROLE owner_x; GRANT owner_x TO CURRENT_USER; CREATE SCHEMA app; GRANT CREATE ON SCHEMA app TO owner_x;"

func created(setup, sql string) evidenceTest {
	return evidenceTest{setup: setup, sql: sql, before: missing, after: happened}
}

func repeatable(setup, sql string) evidenceTest {
	return evidenceTest{setup: setup, sql: sql, before: missing, after: missing}
}

var createTests = []evidenceTest{
	created("", "CREATE TABLE t (id bigint PRIMARY KEY, note text, CHECK (id > 0))"),
	created("", `CREATE TABLE "public"."Odd ""Name" ("Id" bigint PRIMARY KEY)`),
	created("", "CREATE TABLE \"select\" (id int)"),
	created(users, "CREATE TABLE t (LIKE users INCLUDING ALL, more text)"),
	repeatable("", "CREATE TABLE IF NOT EXISTS t (id int)"),
	// Another table of that name is not it, and the server says so.
	{setup: "CREATE SCHEMA s; CREATE TABLE s.t (other text)", sql: "CREATE TABLE s.t (id int)", run: " ", before: missing, after: missing},
	// One of that name further down the search_path neither.
	{setup: "CREATE SCHEMA s; CREATE TABLE public.t (id int); SET LOCAL search_path = s, public", sql: "CREATE TABLE t (id int)", before: missing, after: happened},
	created(users, "CREATE VIEW v AS SELECT id FROM users"),
	created("", "CREATE RECURSIVE VIEW v (n) AS SELECT 1"),
	repeatable(users, "CREATE OR REPLACE VIEW v AS SELECT id FROM users"),
	created("", "CREATE SEQUENCE s CACHE 1"),
	repeatable("", "CREATE SEQUENCE IF NOT EXISTS s CACHE 1"),
	created("", "CREATE SCHEMA app"),
	created("", "CREATE SCHEMA app CREATE TABLE t (id int)"),
	repeatable("", "CREATE SCHEMA IF NOT EXISTS app"),
	created("CREATE ROLE owner_x; GRANT owner_x TO CURRENT_USER", "CREATE SCHEMA AUTHORIZATION owner_x"),
	created("", "CREATE DOMAIN positive AS int CHECK (VALUE > 0)"),
	created("", "CREATE FUNCTION f(a int, b text DEFAULT 'x') RETURNS int LANGUAGE sql AS 'SELECT 1'"),
	created("", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
	created("", "CREATE FUNCTION f(double precision, timestamp with time zone, OUT x int) LANGUAGE sql AS 'SELECT 1'"),
	created("", "CREATE FUNCTION f(VARIADIC xs numeric[], OUT x int) LANGUAGE sql AS 'SELECT 1'"),
	created("CREATE FUNCTION f(a text) RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'"),
	repeatable("", "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'"),
	created("", "CREATE ROLE app_x WITH LOGIN"),
	created("", "CREATE USER app_x"),
	created(users, "CREATE STATISTICS st ON id, n FROM users"),
	created(users, "CREATE STATISTICS ON n, id FROM public.users"),
	{setup: users, sql: "CREATE STATISTICS ON (n + 1), id FROM users", before: unknown, after: unknown},
	repeatable(users, "CREATE STATISTICS IF NOT EXISTS st ON id, n FROM users"),
}

var alterTableTests = []evidenceTest{
	created(users, "ALTER TABLE users ADD COLUMN age int"),
	created(users, "ALTER TABLE users ADD age numeric(10,2), ADD COLUMN \"Zip\" varchar(9) STORAGE EXTENDED"),
	repeatable(users, "ALTER TABLE users ADD COLUMN IF NOT EXISTS age int"),
	{setup: users, sql: "ALTER TABLE users ADD COLUMN n text", run: " ", before: missing, after: missing},
	created(users, "ALTER TABLE users DROP COLUMN n"),
	repeatable(users, "ALTER TABLE users DROP COLUMN IF EXISTS n"),
	created(users, "ALTER TABLE users DROP n, ALTER email SET DEFAULT 'x', OWNER TO CURRENT_USER"),
	created(users, "ALTER TABLE users DROP COLUMN IF EXISTS nothing, ADD COLUMN age int"),
	// Both at once leave the names as they were.
	{setup: users, sql: "ALTER TABLE users DROP COLUMN n, ADD COLUMN n integer", before: unknown, after: unknown},
	created(users, "ALTER TABLE users RENAME TO people"),
	created(users, "ALTER TABLE public.users RENAME TO \"People\""),
	created(users, "ALTER TABLE IF EXISTS users RENAME TO people"),
	repeatable("", "ALTER TABLE IF EXISTS users RENAME TO people"),
	created(users, "ALTER TABLE users RENAME COLUMN n TO m"),
	created(users, "ALTER TABLE users RENAME n TO m"),
	created(users, "ALTER TABLE users RENAME CONSTRAINT n_small TO n_tiny"),
	created(users+"CREATE SCHEMA app", "ALTER TABLE users SET SCHEMA app"),
	repeatable(users, "ALTER TABLE users OWNER TO CURRENT_USER"),
	repeatable(users, "ALTER TABLE users ALTER COLUMN n SET DEFAULT 2"),
	repeatable(users, "ALTER TABLE users ALTER COLUMN n DROP DEFAULT"),
	repeatable(users, "ALTER TABLE users ALTER COLUMN email DROP NOT NULL"),
	created("CREATE TABLE g (a int, b int GENERATED ALWAYS AS (a + 1) STORED)", "ALTER TABLE g ALTER b DROP EXPRESSION"),
	repeatable("CREATE TABLE g (a int, b int GENERATED ALWAYS AS (a + 1) STORED)", "ALTER TABLE g ALTER b DROP EXPRESSION IF EXISTS"),
	created(users, "ALTER TABLE users ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (CACHE 1)"),
	created("CREATE TABLE i (id bigint GENERATED ALWAYS AS IDENTITY (CACHE 1))", "ALTER TABLE i ALTER id DROP IDENTITY"),
	repeatable("CREATE TABLE i (id bigint GENERATED ALWAYS AS IDENTITY (CACHE 1))", "ALTER TABLE i ALTER id SET GENERATED BY DEFAULT SET INCREMENT 2"),
	repeatable("CREATE TABLE i (id bigint GENERATED ALWAYS AS IDENTITY (CACHE 1))", "ALTER TABLE i ALTER id RESTART WITH 100"),
	{setup: "CREATE TABLE i (id bigint GENERATED ALWAYS AS IDENTITY (CACHE 1), x int); INSERT INTO i (x) SELECT generate_series(1, 50)",
		sql: "ALTER TABLE i ALTER id RESTART", before: unknown, after: missing},
	repeatable(users, "ALTER TABLE users ALTER COLUMN email SET STORAGE PLAIN"),
	created(users, "ALTER TABLE users ADD CONSTRAINT positive CHECK (n > 0) NOT VALID"),
	created(users+"CREATE TABLE o (user_id bigint)", "ALTER TABLE o ADD CONSTRAINT o_user FOREIGN KEY (user_id) REFERENCES users NOT VALID"),
	created(users+"CREATE TABLE o (user_id bigint)", "ALTER TABLE o ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE NOT VALID"),
	created("CREATE TABLE o (a int)", "ALTER TABLE o ADD CHECK (a IS NOT NULL) NOT VALID"),
	{setup: users, sql: "ALTER TABLE users ADD CHECK (email <> '') NOT VALID", before: unknown, after: unknown},
	created(users+"CREATE UNIQUE INDEX users_email ON users (email)", "ALTER TABLE users ADD CONSTRAINT email_once UNIQUE USING INDEX users_email"),
	created(users+"CREATE UNIQUE INDEX users_email ON users (email)", "ALTER TABLE users ADD UNIQUE USING INDEX users_email"),
	created(users, "ALTER TABLE users DROP CONSTRAINT n_small"),
	repeatable(users, "ALTER TABLE users DROP CONSTRAINT IF EXISTS n_small"),
	{setup: users, sql: "ALTER TABLE users DROP CONSTRAINT n_small, ADD CONSTRAINT n_small CHECK (n < 20) NOT VALID", before: unknown, after: unknown},
	{setup: users + "ALTER TABLE users ADD CONSTRAINT positive CHECK (n > 0) NOT VALID", sql: "ALTER TABLE ASYNC users VALIDATE CONSTRAINT positive",
		run: "ALTER TABLE users VALIDATE CONSTRAINT positive", before: missing, after: happened},
	repeatable(users+"CREATE TABLE o (id bigint CONSTRAINT fk REFERENCES users)", "ALTER TABLE o ALTER CONSTRAINT fk DEFERRABLE"),
	repeatable(users, "ALTER TABLE users DISABLE TRIGGER ALL"),
	repeatable("", "ALTER TABLE IF EXISTS nothing ADD COLUMN age int"),
	{setup: users, sql: "ALTER TABLE nothing ADD COLUMN age int", run: " ", before: missing, after: missing},
}

var otherTests = []evidenceTest{
	created("CREATE SEQUENCE s CACHE 1", "ALTER SEQUENCE s RENAME TO s2"),
	created("CREATE SEQUENCE s CACHE 1; CREATE SCHEMA app", "ALTER SEQUENCE s SET SCHEMA app"),
	created(ownedSchema+"CREATE SEQUENCE app.s CACHE 1", "ALTER SEQUENCE app.s OWNER TO owner_x"),
	repeatable("CREATE SEQUENCE s CACHE 1;"+users, "ALTER SEQUENCE s OWNED BY users.id"),
	repeatable("CREATE SEQUENCE s CACHE 1", "ALTER SEQUENCE s INCREMENT BY 5 CACHE 1"),
	repeatable("CREATE SEQUENCE s CACHE 1", "ALTER SEQUENCE s RESTART WITH 100"),
	{setup: "CREATE SEQUENCE s CACHE 1; SELECT nextval('s')", sql: "ALTER SEQUENCE s RESTART WITH 100", run: "SELECT setval('s', 100)", before: missing, after: unknown},
	created(users+"CREATE VIEW v AS SELECT id FROM users", "ALTER VIEW v RENAME TO w"),
	created(users+"CREATE VIEW v AS SELECT id FROM users", "ALTER VIEW v RENAME COLUMN id TO key"),
	created(users+"CREATE VIEW v AS SELECT id FROM users", "ALTER VIEW v RENAME id TO key"),
	created(users+"CREATE VIEW v AS SELECT id FROM users; CREATE SCHEMA app", "ALTER VIEW public.v SET SCHEMA app"),
	repeatable(users+"CREATE VIEW v AS SELECT id FROM users", "ALTER VIEW v ALTER COLUMN id SET DEFAULT 1"),
	created("CREATE SCHEMA app", "ALTER SCHEMA app RENAME TO app2"),
	created("CREATE SCHEMA app; CREATE ROLE owner_x; GRANT owner_x TO CURRENT_USER", "ALTER SCHEMA app OWNER TO owner_x"),
	created("CREATE DOMAIN d AS int", "ALTER DOMAIN d RENAME TO e"),
	created("CREATE DOMAIN d AS int CONSTRAINT c CHECK (VALUE > 0)", "ALTER DOMAIN d RENAME CONSTRAINT c TO c2"),
	created("CREATE DOMAIN d AS int CONSTRAINT c CHECK (VALUE > 0)", "ALTER DOMAIN d DROP CONSTRAINT c"),
	created("CREATE DOMAIN d AS int", "ALTER DOMAIN d ADD CONSTRAINT c CHECK (VALUE > 0)"),
	repeatable("CREATE DOMAIN d AS int", "ALTER DOMAIN d SET DEFAULT 3"),
	repeatable("CREATE DOMAIN d AS int NOT NULL", "ALTER DOMAIN d DROP NOT NULL"),
	created("CREATE DOMAIN d AS int; CREATE SCHEMA app", "ALTER DOMAIN d SET SCHEMA app"),
	created(users+"CREATE INDEX i ON users (n)", "ALTER INDEX i RENAME TO j"),
	created("CREATE ROLE a_x", "ALTER ROLE a_x RENAME TO b_x"),
	repeatable("CREATE ROLE a_x", "ALTER ROLE a_x RESET ALL"),
	created("CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "ALTER FUNCTION f(int) RENAME TO g"),
	created("CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE SCHEMA app", "ALTER ROUTINE f SET SCHEMA app"),
	created(ownedSchema+"CREATE FUNCTION app.f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "ALTER FUNCTION app.f(a int) OWNER TO owner_x"),
	created(users+"CREATE STATISTICS st ON id, n FROM users", "ALTER STATISTICS st RENAME TO st2"),
	repeatable(users+"CREATE STATISTICS st ON id, n FROM users", "ALTER STATISTICS st SET STATISTICS 50"),
	repeatable("", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC"),

	created(users, "DROP TABLE users"),
	created(users+"CREATE TABLE t (id int)", "DROP TABLE users, public.t CASCADE"),
	created(users, "DROP TABLE IF EXISTS users, nothing"),
	created(users+"CREATE INDEX i ON users (n)", "DROP INDEX i"),
	created(users+"CREATE VIEW v AS SELECT id FROM users", "DROP VIEW v"),
	created("CREATE SEQUENCE s CACHE 1", "DROP SEQUENCE s"),
	created("CREATE SCHEMA app", "DROP SCHEMA app CASCADE"),
	created("CREATE DOMAIN d AS int", "DROP DOMAIN d"),
	created("CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION f"),
	created("CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION f(a text) RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION f(text)"),
	created("CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP ROUTINE f(integer)"),
	created("CREATE ROLE a_x", "DROP ROLE a_x"),
	created(users+"CREATE STATISTICS st ON id, n FROM users", "DROP STATISTICS st"),
	repeatable(users, "DROP TRIGGER IF EXISTS x ON users"),
	// What the name means now is further down the search_path: it must stay.
	{setup: "CREATE SCHEMA s; CREATE TABLE s.t (); CREATE TABLE public.t (); SET LOCAL search_path = s, public",
		sql: "DROP TABLE t", before: missing, after: unknown},
	{setup: "CREATE SCHEMA s; CREATE TABLE s.t (); CREATE TABLE public.t (); SET LOCAL search_path = s, public",
		sql: "ALTER TABLE t RENAME TO u", before: missing, after: unknown},

	repeatable(users, "COMMENT ON TABLE users IS 'people'"),
	repeatable(users, "GRANT SELECT ON users TO PUBLIC"),
	repeatable(users, "REVOKE SELECT ON users FROM PUBLIC"),
	repeatable(users, "ANALYZE users"),
	repeatable("", "SET search_path = public"),
	{sql: "CALL sys.wait_for_job('abc')", run: " ", before: missing, after: missing},
	{sql: "AWS IAM GRANT app TO 'arn:aws:iam::1:role/r'", run: "INSERT INTO sys.iam_pg_role_mappings (arn, pg_role_name) VALUES ('arn:aws:iam::1:role/r', 'app')",
		before: missing, after: happened},
	{setup: "INSERT INTO sys.iam_pg_role_mappings (arn, pg_role_name) VALUES ('arn:aws:iam::1:role/r', 'app')",
		sql: "AWS IAM REVOKE app FROM 'arn:aws:iam::1:role/r'", run: "DELETE FROM sys.iam_pg_role_mappings", before: missing, after: happened},
	{sql: "INSERT INTO nothing VALUES (1)", run: " ", before: unknown, after: unknown},
	{sql: "SELECT 1", before: unknown, after: unknown},
	{sql: "CREATE EXTENSION hstore", run: " ", before: unknown, after: unknown},
}

var indexTests = []evidenceTest{
	{setup: users, sql: "CREATE INDEX ASYNC i ON users (n)", run: "CREATE INDEX i ON users (n)", before: missing, after: happened},
	{setup: users, sql: "CREATE UNIQUE INDEX ASYNC IF NOT EXISTS i ON public.users (email)", run: "CREATE UNIQUE INDEX i ON users (email)", before: missing, after: happened},
	{setup: users, sql: "CREATE INDEX ASYNC i ON users (n)",
		run:    "CREATE INDEX i ON users (n); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass",
		before: missing, after: missing},
	{setup: users, sql: "CREATE INDEX ASYNC i ON users (n)",
		run: "CREATE INDEX i ON users (n); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass;" +
			"INSERT INTO sys.jobs (job_id, status, job_type, object_id) VALUES ('j', 'processing', 'INDEX_BUILD', 'i'::regclass)",
		before: missing, after: building},
	// It was submitted, but nobody has begun.
	{setup: users, sql: "CREATE INDEX ASYNC \"I\" ON users (n)",
		run:    `INSERT INTO sys.jobs (job_id, status, job_type, object_name) VALUES ('j', 'submitted', 'INDEX_BUILD', 'public."I"')`,
		before: missing, after: building},
	{setup: users + "CREATE TABLE t (n int); CREATE INDEX i ON t (n)", sql: "CREATE INDEX ASYNC i ON users (n)", run: " ", before: missing, after: missing},
	// Without a name, the definition decides.
	{setup: users, sql: "CREATE INDEX ASYNC ON users (n, email NULLS LAST) INCLUDE (id)", run: "CREATE INDEX ON users (n, email) INCLUDE (id)", before: missing, after: happened},
	{setup: users + "CREATE INDEX ON users (n)", sql: "CREATE UNIQUE INDEX ASYNC ON users (n)", run: "CREATE UNIQUE INDEX ON users (n)", before: missing, after: happened},
	{setup: users + "CREATE INDEX ON users (n, id)", sql: "CREATE INDEX ASYNC ON users (n)", run: "CREATE INDEX ON users (n)", before: missing, after: happened},
	{setup: users, sql: "CREATE INDEX ASYNC ON users (lower(email))", run: "CREATE INDEX ON users (lower(email))", before: missing, after: happened},
	{setup: users, sql: "CREATE INDEX ASYNC ON users (n) WHERE n>1", run: "CREATE INDEX ON users (n) WHERE n>1", before: missing, after: unknown},
	{setup: users, sql: "CREATE INDEX ASYNC ON users (n)",
		run: "CREATE INDEX ON users (n); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_n_idx'::regclass;" +
			"INSERT INTO sys.jobs (job_id, status, job_type, object_id) VALUES ('j', 'processing', 'INDEX_BUILD', 'users_n_idx'::regclass)",
		before: missing, after: building},
	{setup: users + "ALTER TABLE users ADD CONSTRAINT c CHECK (n > 0) NOT VALID", sql: "ALTER TABLE ASYNC users VALIDATE CONSTRAINT c",
		run: "INSERT INTO sys.jobs (job_id, status, job_type, class_id, object_id) " +
			"SELECT 'j', 'processing', 'VALIDATE_CONSTRAINT', 2606, oid FROM pg_constraint WHERE conname = 'c'",
		before: missing, after: building},
	{setup: users + "ALTER TABLE users ADD CONSTRAINT c CHECK (n > 0) NOT VALID", sql: "ALTER TABLE ASYNC users VALIDATE CONSTRAINT c",
		run: "INSERT INTO sys.jobs (job_id, status, job_type, class_id, object_id) " +
			"VALUES ('j', 'processing', 'VALIDATE_CONSTRAINT', 1259, 'users'::regclass)",
		before: missing, after: building},
	{setup: users + "ALTER TABLE users ADD CONSTRAINT c CHECK (n > 0) NOT VALID; ALTER TABLE users ADD CONSTRAINT d CHECK (n > 1) NOT VALID",
		sql: "ALTER TABLE ASYNC users VALIDATE CONSTRAINT c",
		run: "INSERT INTO sys.jobs (job_id, status, job_type, class_id, object_id) " +
			"VALUES ('j', 'processing', 'VALIDATE_CONSTRAINT', 1259, 'users'::regclass)",
		before: missing, after: missing},
}

// A run that was killed behind a statement and before its checkpoint must find
// that out, whatever the statement was.
func TestEvidence(t *testing.T) {
	url := startPlain(t)
	for _, group := range []struct {
		name  string
		tests []evidenceTest
	}{
		{"create", createTests}, {"alter table", alterTableTests}, {"other", otherTests}, {"index", indexTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			p := newPlain(t, url)
			for _, tt := range group.tests {
				t.Run(tt.sql, func(t *testing.T) {
					p.run(t, "BEGIN")
					defer p.run(t, "ROLLBACK")
					p.run(t, tt.setup)
					if got := lookAt(t, p.ask, tt.sql); got != tt.before {
						t.Errorf("before it ran: %v, want %v", got, tt.before)
					}
					run := tt.run
					if run == "" {
						run = tt.sql
					}
					p.run(t, strings.TrimSpace(run))
					if got := lookAt(t, p.ask, tt.sql); got != tt.after {
						t.Errorf("after it ran: %v, want %v", got, tt.after)
					}
				})
			}
		})
	}
	t.Run("one query", func(t *testing.T) { oneQueryEach(t, newPlain(t, url)) })
	t.Run("no such catalog", func(t *testing.T) {
		p := newPlain(t, url)
		p.run(t, "BEGIN; DROP TABLE sys.iam_pg_role_mappings")
		if got := lookAt(t, p.ask, "AWS IAM GRANT app TO 'arn'"); got != unknown {
			t.Errorf("got %v, want unknown", got)
		}
		p.run(t, "ROLLBACK")
	})
}

// oneQueryEach proves that a look costs one round trip, two where a table's
// columns or a running job count as well.
func oneQueryEach(t *testing.T, p plain) {
	for _, tests := range [][]evidenceTest{createTests, alterTableTests, otherTests, indexTests} {
		for _, tt := range tests {
			var mu sync.Mutex
			asked := 0
			ask := func(ctx context.Context, sql string, args ...string) ([][][]byte, error) {
				mu.Lock()
				defer mu.Unlock()
				asked++
				return p.ask(ctx, sql, args...)
			}
			lookAt(t, ask, tt.sql)
			if asked > 2 {
				t.Errorf("%s: %d queries", tt.sql, asked)
			}
		}
	}
}

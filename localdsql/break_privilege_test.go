package localdsql_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/localdsql"
)

// promotes is the function that admin would be a superuser by, were it run by
// one.
const promotes = `CREATE FUNCTION promote() RETURNS int LANGUAGE sql AS
$$ UPDATE pg_catalog.pg_authid SET rolsuper = true WHERE rolname = 'admin'; SELECT 1 $$`

// TestStayAdmin tries what would make admin a superuser, by having something
// that runs as one call a function of admin.
func TestStayAdmin(t *testing.T) {
	t.Parallel()
	for name, script := range map[string][]string{
		// A job looks at rows with the functions of users.
		"RESET ROLE in a constraint": {
			promotes,
			"CREATE FUNCTION reset_role() RETURNS void LANGUAGE sql AS 'RESET ROLE'",
			"CREATE FUNCTION go() RETURNS int LANGUAGE sql AS 'SELECT public.reset_role(); SELECT public.promote()'",
			"CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT public.go()'",
			"CREATE TABLE t (a int PRIMARY KEY)", "INSERT INTO t VALUES (1)",
			"ALTER TABLE t ADD CONSTRAINT c CHECK (f(a) > 0) NOT VALID",
			"ALTER TABLE ASYNC t VALIDATE CONSTRAINT c",
		},
		"a search path left behind": {
			promotes,
			"CREATE FUNCTION leave() RETURNS int LANGUAGE sql AS 'SET search_path = public, pg_catalog; SELECT 1'",
			"CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT public.leave()'",
			"CREATE FUNCTION format(text, regclass) RETURNS text LANGUAGE sql AS 'SELECT public.promote()::text'",
			"CREATE TABLE t (a int PRIMARY KEY)", "INSERT INTO t VALUES (1)",
			"ALTER TABLE t ADD CONSTRAINT c CHECK (f(a) > 0) NOT VALID",
			"ALTER TABLE ASYNC t VALIDATE CONSTRAINT c",
		},
		// A better match than PostgreSQL's own, for what runs with a usual path.
		"a function in public": {
			promotes,
			"CREATE FUNCTION format(text, regclass) RETURNS text LANGUAGE sql AS 'SELECT public.promote()::text'",
			"CREATE FUNCTION now() RETURNS timestamptz LANGUAGE sql AS 'SELECT public.promote(); SELECT pg_catalog.now()'",
			"CREATE TABLE t (a int PRIMARY KEY, b int)",
			"CREATE INDEX ASYNC ON t (b)", "CREATE UNIQUE INDEX ASYNC ON t (b)",
		},
		// pg_temp comes first in every search path that does not name it.
		"types in pg_temp": {
			promotes,
			"CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (public.promote() = 1)",
			"CREATE DOMAIN pg_temp.jsonb AS pg_catalog.jsonb CHECK (public.promote() = 1)",
			"CREATE TABLE t (a int PRIMARY KEY, b pg_catalog.text)",
			"DROP TABLE t",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := localdsql.StartCluster(t, localdsql.Config{Conflicts: localdsql.ConflictsOff})
			admin := dialRaw(t, cluster.URL())
			for _, sql := range script {
				if got := admin.again(sql); strings.Contains(got, "!") && !strings.Contains(got, "!42501") {
					t.Errorf("%s: %s", sql, got)
				}
			}
			eventually(t, "the jobs end", func() bool {
				return ask(t, cluster, "SELECT count(*) FROM sys.jobs WHERE status IN ('submitted', 'processing')") == "0"
			})
			if got := ask(t, cluster, "SELECT rolsuper FROM pg_roles WHERE rolname = 'admin'"); got != "f" {
				t.Error("admin is a superuser now")
			}
		})
	}
}

// TestStayAdminUpgraded has admin's functions in the way of what looks into a
// cluster before it is opened again.
func TestStayAdminUpgraded(t *testing.T) {
	t.Parallel()
	server, err := localdsql.Open(t.Context(), localdsql.Config{Throwaway: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	for range 2 {
		cluster, err := server.Cluster(t.Context(), "again")
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(t, cluster, "SELECT rolsuper FROM pg_roles WHERE rolname = 'admin'"); got != "f" {
			t.Error("admin is a superuser now")
		}
		admin := dialRaw(t, cluster.URL())
		admin.simple(promotes)
		admin.simple("CREATE FUNCTION obj_description(regnamespace, text) RETURNS text LANGUAGE sql AS 'SELECT public.promote()::text'")
		if err := cluster.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestInternalFunctions are called by other names than sys._create_index.
func TestInternalFunctions(t *testing.T) {
	t.Parallel()
	admin := dialRaw(t, localdsql.Start(t))
	admin.simple("SET search_path = sys, public")
	for _, sql := range []string{
		"SELECT _create_index('CREATE TABLE x (a int[])', false)",
		`SELECT "_create_index"('CREATE TABLE x (a int[])', false)`,
		"SELECT query_to_xml('SELECT _create_index(''CREATE TABLE x (a int[])'', false)', true, true, '')",
		"SELECT /* SELECT sys._create_index( */ _create_index('CREATE TABLE x (a int[])', false)",
		"SELECT sys._create_index('CREATE TABLE x (a int[])', false)",
	} {
		if got := admin.simple(sql); got != "!42883 I" {
			t.Errorf("simple: %s: %s", sql, got)
		}
		admin.send(append(extended(sql), &pgproto3.Sync{})...)
		if got := admin.ready(1); got != "!42883 I" {
			t.Errorf("extended: %s: %s", sql, got)
		}
	}
}

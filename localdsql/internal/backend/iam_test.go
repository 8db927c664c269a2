package backend

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIAM(t *testing.T) {
	const arn = "arn:aws:iam::123456789012:role/app"
	name := database(t)
	admin := connectAs(t, name, "admin")
	app, group := "app_"+name, "group_"+name
	admin.exec("CREATE ROLE "+app+" LOGIN", "CREATE ROLE "+group)
	grant := func(role, arn string) string { return fmt.Sprintf("SELECT sys._iam_grant('%s', '%s')", role, arn) }
	admin.exec(grant(app, arn), grant(app, arn), grant(app, arn+"2"))
	const mappings = `SELECT iam_oid > 0, arn, pg_role_oid::regrole, pg_role_name, grantor_pg_role_oid::regrole, grantor_pg_role_name
		FROM sys.iam_pg_role_mappings ORDER BY arn`
	want := [][]string{{"t", arn, app, app, "admin", "admin"}, {"t", arn + "2", app, app, "admin", "admin"}}
	if diff := cmp.Diff(want, admin.rows(mappings)); diff != "" {
		t.Errorf("mappings (-want +got):\n%s", diff)
	}
	user := connectAs(t, name, app)
	if diff := cmp.Diff(want, user.rows(mappings)); diff != "" {
		t.Errorf("mappings as others see them (-want +got):\n%s", diff)
	}

	const denied = "permission denied to grant IAM trust with role"
	cannotDrop := fmt.Sprintf(`role "%s" cannot be dropped because some objects depend on it`, app)
	for _, tt := range []struct {
		c                      *client
		sql, sqlstate, message string
	}{
		{admin, grant("nobody", arn), "42704", `role "nobody" does not exist`},
		{admin, grant(group, arn), "0LP01", "role " + group + " must have the LOGIN attribute"},
		{admin, grant("admin", arn), "42501", denied},
		{admin, grant("postgres", arn), "42501", denied},
		{admin, grant(app, "nonsense"), "22023", `invalid ARN: "nonsense"`},
		{user, grant(app, arn), "42501", denied},
		{user, fmt.Sprintf("SELECT sys._iam_revoke('%s', '%s')", app, arn), "42501", denied},
		{user, fmt.Sprintf("SELECT sys._iam_set('%s'::regrole, 'arn:x', true)", app), "42501", denied},
		{admin, fmt.Sprintf("SELECT sys._drop_role('{%s}', false)", app), "2BP01", cannotDrop},
		{admin, fmt.Sprintf("SELECT sys._drop_role('{%s,%s}', true)", group, app), "2BP01", cannotDrop},
		{admin, "SELECT sys._drop_role('{nobody}', false)", "42704", `role "nobody" does not exist`},
		{user, fmt.Sprintf("SELECT sys._drop_role('{%s}', false)", group), "42501", "permission denied to drop role"},
	} {
		tt.c.refused(tt.sql, tt.sqlstate, tt.message)
	}
	revoke := fmt.Sprintf("SELECT sys._iam_revoke('%s', '%s')", app, arn)
	admin.exec(revoke, revoke, fmt.Sprintf("SELECT sys._iam_revoke('%s', '%s2')", app, arn))
	if rows := admin.rows(mappings); len(rows) != 0 {
		t.Errorf("mappings after REVOKE: %v", rows)
	}
	admin.exec(fmt.Sprintf("SELECT sys._drop_role('{%s,%s,nobody}', true)", app, group))
	if got := admin.one(fmt.Sprintf("SELECT count(*) FROM pg_roles WHERE rolname IN ('%s', '%s')", app, group)); got != "0" {
		t.Errorf("%s roles are left", got)
	}
}

// Roles are the server's. Those of a database go with it, unless another one
// uses them.
func TestDropDatabaseDropsRoles(t *testing.T) {
	keep := database(t)
	name := fmt.Sprintf("test_%d", count.Add(1))
	if err := CreateDatabase(t.Context(), server, name); err != nil {
		t.Fatal(err)
	}
	admin, other := connectAs(t, name, "admin"), connectAs(t, keep, "admin")
	for _, role := range []string{"mapped", "granted", "owner", "shared", "unused"} {
		admin.exec("CREATE ROLE " + role + " LOGIN")
	}
	defer func() { other.exec("DROP ROLE unused") }()
	admin.exec("CREATE SCHEMA s", "SELECT sys._iam_grant('mapped', 'arn:aws:iam::1:role/x')", "GRANT USAGE ON SCHEMA s TO granted, shared",
		"GRANT owner TO admin", "CREATE SCHEMA AUTHORIZATION owner")
	other.exec("CREATE SCHEMA s", "GRANT USAGE ON SCHEMA s TO shared")
	if err := DropDatabase(context.Background(), server, name); err != nil {
		t.Fatal(err)
	}
	got := other.rows("SELECT rolname FROM pg_roles WHERE rolname IN ('mapped', 'granted', 'owner', 'shared', 'unused') ORDER BY 1")
	if diff := cmp.Diff([][]string{{"shared"}, {"unused"}}, got); diff != "" {
		t.Errorf("roles that are left (-want +got):\n%s", diff)
	}
}

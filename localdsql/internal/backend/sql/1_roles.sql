-- Roles and rights.
-- Every file here can be run again in a database that already has its objects.
-- Functions that run as their owner have a search path of their own, in which
-- pg_temp is named so that it does not come first, or name the schema of
-- everything, operators too.

DO $$
BEGIN
	CREATE ROLE admin LOGIN CREATEROLE;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
	NULL; -- roles are the server's, not the database's
END
$$;

-- admin creates in public but does not own it: who owns a schema could drop
-- the objects of others in it, and DSQL's admin must be granted a role for that.
DO $$
BEGIN
	EXECUTE pg_catalog.format('ALTER SCHEMA public OWNER TO %I', current_user);
END
$$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO PUBLIC;
GRANT CREATE ON SCHEMA public TO admin;

CREATE SCHEMA IF NOT EXISTS sys;
GRANT USAGE ON SCHEMA sys TO PUBLIC;

-- _drop_role is DROP ROLE, which DSQL refuses as long as IAM principals are
-- mapped to the role.
CREATE OR REPLACE FUNCTION sys._drop_role(roles text[], if_exists boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	role text;
BEGIN
	FOREACH role IN ARRAY roles LOOP
		IF EXISTS (SELECT FROM sys.iam_pg_role_mappings m WHERE m.pg_role_name = role) THEN
			RAISE EXCEPTION USING ERRCODE = '2BP01',
				MESSAGE = pg_catalog.format('role "%s" cannot be dropped because some objects depend on it', role);
		END IF;
	END LOOP;
	EXECUTE 'DROP ROLE ' || CASE WHEN if_exists THEN 'IF EXISTS ' ELSE '' END
		|| (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(r), ', ') FROM pg_catalog.unnest(roles) r);
END
$$;

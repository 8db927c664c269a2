-- Which IAM principals may log in as which role.

CREATE TABLE IF NOT EXISTS sys._iam (
	iam_oid oid NOT NULL UNIQUE,
	arn text NOT NULL,
	role oid NOT NULL,
	grantor oid NOT NULL,
	PRIMARY KEY (role, arn)
);
CREATE SEQUENCE IF NOT EXISTS sys._iam_oid START 16384;

-- A role that was dropped in another database of the server has no name any
-- more, and its mapping goes with it.
CREATE OR REPLACE VIEW sys.iam_pg_role_mappings AS
SELECT m.iam_oid, m.arn, r.oid AS pg_role_oid, r.rolname AS pg_role_name,
	m.grantor AS grantor_pg_role_oid, pg_catalog.pg_get_userbyid(m.grantor) AS grantor_pg_role_name
FROM sys._iam m JOIN pg_catalog.pg_roles r ON r.oid = m.role;
GRANT SELECT ON sys.iam_pg_role_mappings TO PUBLIC;

-- _iam_role finds a role the caller may map.
CREATE OR REPLACE FUNCTION sys._iam_role(role text) RETURNS oid
LANGUAGE plpgsql STABLE AS $$
DECLARE
	r record;
BEGIN
	SELECT oid, rolcanlogin INTO r FROM pg_catalog.pg_roles WHERE rolname = role;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = '42704', MESSAGE = pg_catalog.format('role "%s" does not exist', role);
	END IF;
	IF NOT pg_catalog.pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION') THEN
		RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'permission denied to grant IAM trust with role';
	END IF;
	IF NOT r.rolcanlogin THEN
		RAISE EXCEPTION USING ERRCODE = '0LP01', MESSAGE = pg_catalog.format('role %s must have the LOGIN attribute', role);
	END IF;
	RETURN r.oid;
END
$$;

-- _iam_grant is AWS IAM GRANT role TO 'arn'. Granting again changes nothing.
CREATE OR REPLACE FUNCTION sys._iam_grant(role text, arn text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF arn NOT LIKE 'arn:_%' THEN
		RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = pg_catalog.format('invalid ARN: "%s"', arn);
	END IF;
	PERFORM sys._iam_set(sys._iam_role(role), arn, true);
END
$$;

-- _iam_revoke is AWS IAM REVOKE role FROM 'arn'. What was not granted is no error.
CREATE OR REPLACE FUNCTION sys._iam_revoke(role text, arn text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM sys._iam_set(sys._iam_role(role), arn, false);
END
$$;

-- _iam_set does the work of both. It may be called by everybody, so it checks
-- once more, with the one role that a function of another owner can still see.
CREATE OR REPLACE FUNCTION sys._iam_set(role oid, arn text, mapped boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT pg_catalog.pg_has_role(session_user, _iam_set.role, 'MEMBER WITH ADMIN OPTION') THEN
		RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'permission denied to grant IAM trust with role';
	END IF;
	IF mapped THEN
		INSERT INTO sys._iam VALUES (pg_catalog.nextval('sys._iam_oid'::pg_catalog.regclass)::oid, arn, role,
			(SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = session_user))
		ON CONFLICT DO NOTHING;
	ELSE
		DELETE FROM sys._iam m WHERE m.role = _iam_set.role AND m.arn = _iam_set.arn;
	END IF;
END
$$;

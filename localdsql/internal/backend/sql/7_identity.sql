-- What the server says it is. PostgreSQL calls its own functions by number and
-- past their definitions, unless these are SQL and planned away, as the ones
-- below are: they are one expression each.

CREATE OR REPLACE FUNCTION pg_catalog.version() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT 'PostgreSQL 16'::text $$;

-- The one database of a cluster is called postgres, whatever the server calls it.
CREATE OR REPLACE FUNCTION pg_catalog.current_database() RETURNS name
LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT 'postgres'::name $$;

CREATE OR REPLACE FUNCTION pg_catalog.current_setting(text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT CASE pg_catalog.lower($1)
	WHEN 'server_version' THEN '16.15'
	WHEN 'server_version_num' THEN '160015'
	ELSE pg_catalog.current_setting($1, false) END $$;

-- Definitions of indexes name DSQL's access method; a primary key holds the
-- whole row.
CREATE OR REPLACE FUNCTION sys._get_indexdef(oid, integer, boolean) RETURNS text
LANGUAGE internal STABLE STRICT PARALLEL SAFE AS 'pg_get_indexdef_ext';

CREATE OR REPLACE FUNCTION sys._indexdef(index oid, col integer, pretty boolean) RETURNS text
LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
	def text := sys._get_indexdef(index, col, pretty);
	using_at int := pg_catalog.strpos(def, ' USING btree ');
	others text;
BEGIN
	IF col <> 0 OR index < 16384 OR using_at = 0 THEN
		RETURN def;
	END IF;
	def := pg_catalog.overlay(def, ' USING btree_index ', using_at, 13);
	SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO others
	FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid
	WHERE i.indexrelid = index AND i.indisprimary AND i.indnatts = i.indnkeyatts
		AND a.attnum > 0 AND NOT a.attisdropped AND a.attnum <> ALL (i.indkey::int2[]);
	RETURN def || coalesce(' INCLUDE (' || others || ')', '');
END
$$;

CREATE OR REPLACE FUNCTION pg_catalog.pg_get_indexdef(oid) RETURNS text
LANGUAGE sql STABLE AS $$ SELECT sys._indexdef($1, 0, false) $$;
CREATE OR REPLACE FUNCTION pg_catalog.pg_get_indexdef(oid, integer, boolean) RETURNS text
LANGUAGE sql STABLE AS $$ SELECT sys._indexdef($1, $2, $3) $$;

-- Text search knows no languages.
DELETE FROM pg_catalog.pg_ts_config WHERE cfgname <> 'simple';

-- Functions that DSQL does not have give way to ones that refuse. They go on
-- under another name, which only superusers may call: a definition that was
-- replaced would be passed by, see above.
DO $$
DECLARE
	f record;
BEGIN
	FOR f IN
		SELECT p.oid::regprocedure AS signature, p.proname, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
		FROM pg_proc p
		WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.oid < 16384
			AND (p.proname ~ '^pg_(try_)?advisory_' OR p.proname = 'set_config')
	LOOP
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f.signature);
		EXECUTE format('ALTER FUNCTION %s RENAME TO %I', f.signature, '_' || f.proname);
		IF f.proname <> 'set_config' THEN
			EXECUTE format('CREATE FUNCTION pg_catalog.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.arguments, f.result,
				format('BEGIN PERFORM sys._refuse(''0A000'', ''function %s not supported''); END', f.proname));
		END IF;
	END LOOP;
END
$$;

-- set_config refuses what SET refuses. A search path of its own would undo what
-- it does to that.
CREATE OR REPLACE FUNCTION pg_catalog.set_config(setting_name text, new_value text, is_local boolean) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	IF pg_catalog.lower(setting_name) OPERATOR(pg_catalog.<>) ALL (ARRAY['application_name', 'client_encoding', 'datestyle', 'extra_float_digits',
			'intervalstyle', 'timezone', 'search_path', 'enable_bitmapscan', 'enable_hashjoin', 'enable_indexonlyscan',
			'enable_indexscan', 'enable_material', 'enable_mergejoin', 'enable_nestloop', 'enable_seqscan',
			'dsql.enable_batched_nestloop', 'disable_sync_create_index']::pg_catalog.text[]) THEN
		RAISE EXCEPTION USING ERRCODE = '0A000',
			MESSAGE = pg_catalog.format('setting configuration parameter "%s" not supported', setting_name);
	END IF;
	IF pg_catalog.lower(setting_name) OPERATOR(pg_catalog.=) 'disable_sync_create_index'::pg_catalog.text THEN
		setting_name := 'aurora.disable_sync_create_index';
	END IF;
	RETURN pg_catalog._set_config(setting_name, new_value, is_local);
END
$$;

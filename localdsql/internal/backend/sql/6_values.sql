-- Values of more than 1 MiB. Tables with columns that can have such have a
-- trigger, which calls its function only for them. It is marked internal, so
-- that tools do not show it, and depends on no column, so that it is in
-- nobody's way; whatever changes the columns makes it anew.

-- _refuse_value is the trigger. Its argument lists the columns.
CREATE OR REPLACE FUNCTION sys._refuse_value() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	col record;
	size bigint;
BEGIN
	FOR col IN SELECT c->>0 AS name, c->>1 AS type FROM jsonb_array_elements(TG_ARGV[0]::jsonb) c LOOP
		EXECUTE format('SELECT %s(($1).%I)', sys._size_function(col.type), col.name) INTO size USING NEW;
		IF size > 1048576 THEN
			PERFORM sys._refuse('54000', format('datatype limit greater than 1048576 bytes not supported for %s', col.type));
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION sys._size_function(type text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN type IN ('json', 'jsonb') THEN 'pg_catalog.pg_column_size' ELSE 'pg_catalog.octet_length' END
$$;

-- _limit_values gives a table the trigger that its columns need.
CREATE OR REPLACE FUNCTION sys._limit_values(tbl oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	columns jsonb;
	condition text;
	names text;
	old record;
	new oid;
BEGIN
	SELECT jsonb_agg(jsonb_build_array(c.attname, c.typname) ORDER BY c.attnum),
		string_agg(format('%s(NEW.%I) > 1048576', sys._size_function(c.typname), c.attname), ' OR '),
		string_agg(quote_ident(c.attname), ', ')
	INTO columns, condition, names
	FROM (SELECT a.attname, a.attnum, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = sys._base_type(a.atttypid)
		WHERE a.attrelid = tbl AND a.attnum > 0 AND NOT a.attisdropped AND (t.typname = ANY ('{text,bytea,json,jsonb}')
			OR t.typname = 'varchar' AND a.atttypid = t.oid AND a.atttypmod < 0)) c;
	SELECT t.oid, t.tgargs INTO old FROM pg_trigger t WHERE t.tgrelid = tbl AND t.tgname = 'aurora_values';
	IF old.tgargs IS NOT DISTINCT FROM convert_to(columns::text, 'UTF8') || '\x00' THEN
		RETURN;
	END IF;
	IF old.oid IS NOT NULL THEN
		UPDATE pg_trigger SET tgisinternal = false WHERE oid = old.oid;
		EXECUTE format('DROP TRIGGER aurora_values ON %s', tbl::regclass);
	END IF;
	IF columns IS NULL THEN
		RETURN;
	END IF;
	EXECUTE format('CREATE TRIGGER aurora_values AFTER INSERT OR UPDATE OF %s ON %s FOR EACH ROW WHEN (%s) EXECUTE FUNCTION sys._refuse_value(%L)',
		names, tbl::regclass, condition, columns);
	SELECT t.oid INTO new FROM pg_trigger t WHERE t.tgrelid = tbl AND t.tgname = 'aurora_values';
	UPDATE pg_trigger SET tgisinternal = true WHERE oid = new;
	DELETE FROM pg_depend WHERE classid = 'pg_trigger'::regclass AND objid = new AND refclassid = 'pg_class'::regclass AND refobjsubid > 0;
END
$$;
REVOKE ALL ON FUNCTION sys._limit_values FROM PUBLIC;

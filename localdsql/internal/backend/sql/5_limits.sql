-- What DSQL refuses and only the catalog can tell: counts, the types of
-- columns that are there already, primary keys. Users' objects have oids from
-- 16384 on; those of the schema sys are not counted.

-- _refuse raises an error.
CREATE OR REPLACE FUNCTION sys._refuse(sqlstate text, message text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = message;
END
$$;

-- _base_type follows domains to the type below them.
CREATE OR REPLACE FUNCTION sys._base_type(type oid) RETURNS oid
LANGUAGE plpgsql STABLE AS $$
DECLARE
	base oid;
BEGIN
	LOOP
		SELECT t.typbasetype INTO base FROM pg_type t WHERE t.oid = type AND t.typtype = 'd';
		EXIT WHEN NOT FOUND;
		type := base;
	END LOOP;
	RETURN type;
END
$$;

-- _is_column_type says whether a column can have a type.
CREATE OR REPLACE FUNCTION sys._is_column_type(type oid) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT type = ANY (ARRAY['smallint', 'integer', 'bigint', 'real', 'double precision', 'numeric', 'boolean', 'uuid',
		'date', 'time', 'timetz', 'timestamp', 'timestamptz', 'interval',
		'bpchar', 'varchar', 'text', 'bytea', 'json', 'jsonb']::regtype[]::oid[])
$$;

-- _type_name names a type as messages do.
CREATE OR REPLACE FUNCTION sys._type_name(type oid) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT CASE WHEN type < 16384 THEN pg_catalog.format_type(type, NULL) ELSE t.typname END
	FROM pg_catalog.pg_type t WHERE t.oid = type
$$;

-- _check_columns checks a table's columns.
CREATE OR REPLACE FUNCTION sys._check_columns(tbl oid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	col record;
	columns int := 0;
BEGIN
	FOR col IN
		SELECT sys._base_type(a.atttypid) AS type, a.attidentity FROM pg_attribute a
		WHERE a.attrelid = tbl AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
	LOOP
		columns := columns + 1;
		IF NOT sys._is_column_type(col.type) THEN
			PERFORM sys._refuse('0A000', format('datatype %s not supported', sys._type_name(col.type)));
		END IF;
		IF col.attidentity <> '' AND col.type <> 'bigint'::regtype THEN
			PERFORM sys._refuse('0A000', format('datatype %s not supported, identity column type must be bigint', sys._type_name(col.type)));
		END IF;
	END LOOP;
	IF columns > 255 THEN
		PERFORM sys._refuse('54011', 'tables can have at most 255 columns');
	END IF;
END
$$;

-- _check_indexes checks the indexes of a table.
CREATE OR REPLACE FUNCTION sys._check_indexes(tbl oid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	ix record;
	bad oid;
	indexes int := 0;
BEGIN
	FOR ix IN SELECT i.indexrelid, i.indnkeyatts FROM pg_index i WHERE i.indrelid = tbl ORDER BY i.indexrelid LOOP
		indexes := indexes + 1;
		SELECT k.type INTO bad
		FROM (SELECT sys._base_type(a.atttypid) AS type, a.attnum FROM pg_attribute a
			WHERE a.attrelid = ix.indexrelid AND a.attnum <= ix.indnkeyatts) k
		WHERE k.type = ANY ('{bytea,json,jsonb,interval,timetz}'::regtype[]) OR NOT sys._is_column_type(k.type)
		ORDER BY k.attnum LIMIT 1;
		IF FOUND THEN
			PERFORM sys._refuse('0A000', format('datatype %s is not supported in a key', sys._type_name(bad)));
		END IF;
		IF ix.indnkeyatts > 8 THEN
			PERFORM sys._refuse('54011', 'more than 8 column keys in an index are not supported');
		END IF;
		-- Only what is declared: char(n) and varchar(n).
		IF (SELECT sum(a.atttypmod - 4) FROM pg_attribute a
			WHERE a.attrelid = ix.indexrelid AND a.attnum <= ix.indnkeyatts AND a.atttypmod > 4
			AND a.atttypid = ANY ('{bpchar,varchar}'::regtype[])) > 2000 THEN
			PERFORM sys._refuse('54000', 'key size greater than 2000 bytes not supported');
		END IF;
	END LOOP;
	IF indexes > 24 THEN
		PERFORM sys._refuse('54000', 'more than 24 indexes per table are not allowed');
	END IF;
END
$$;

-- _check_count refuses to have too many relations of a kind.
CREATE OR REPLACE FUNCTION sys._check_count(kind "char") RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	n bigint := (SELECT count(*) FROM pg_class c
		WHERE c.relkind = kind AND c.oid >= 16384 AND c.relnamespace <> 'sys'::regnamespace);
BEGIN
	IF kind = 'r' AND n > 1000 THEN
		PERFORM sys._refuse('54000', 'creating more than 1000 tables not allowed');
	ELSIF kind = 'S' AND n > 5000 THEN
		PERFORM sys._refuse('54000', 'creating more than 5000 sequences is not allowed');
	ELSIF kind = 'v' AND n > 5000 THEN
		PERFORM sys._refuse('54000', 'creating more than 5000 views not allowed');
	END IF;
END
$$;

-- _after_definition checks what a statement defined, and submits the job of
-- _create_index.
CREATE OR REPLACE FUNCTION sys._after_definition() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	cmd record;
	tbl oid;
BEGIN
	FOR cmd IN
		SELECT c.objid, c.command_tag, r.relkind, r.relpersistence
		FROM pg_event_trigger_ddl_commands() c LEFT JOIN pg_class r ON c.classid = 1259 AND r.oid = c.objid
		WHERE c.schema_name IS DISTINCT FROM 'sys'
	LOOP
		IF cmd.relpersistence = 't' THEN -- by a search path with pg_temp
			PERFORM sys._refuse('0A000', format('TEMPORARY or TEMP %s not supported for %s', lower(split_part(cmd.command_tag, ' ', 2)), cmd.command_tag));
		END IF;
		IF cmd.relkind = 'r' THEN
			PERFORM sys._check_columns(cmd.objid);
			PERFORM sys._check_indexes(cmd.objid);
			PERFORM sys._limit_values(cmd.objid);
		ELSIF cmd.relkind = 'i' AND cmd.command_tag = 'CREATE INDEX' THEN
			SELECT i.indrelid INTO tbl FROM pg_index i WHERE i.indexrelid = cmd.objid;
			PERFORM sys._check_indexes(tbl);
			IF sys._mark() IN ('unique', 'plain') THEN
				PERFORM sys._mark(sys._submit_index(cmd.objid, sys._mark() = 'unique'));
			END IF;
		ELSIF cmd.command_tag = 'CREATE STATISTICS' THEN
			SELECT s.stxrelid INTO tbl FROM pg_statistic_ext s WHERE s.oid = cmd.objid;
			IF (SELECT count(*) FROM pg_statistic_ext s WHERE s.stxrelid = tbl) > 5 THEN
				PERFORM sys._refuse('54000', 'more than 5 extended statistics per table are not allowed');
			END IF;
		END IF;
		IF cmd.relkind IN ('r', 'S', 'v') AND cmd.command_tag IN ('CREATE TABLE', 'CREATE SEQUENCE', 'CREATE VIEW') THEN
			PERFORM sys._check_count(cmd.relkind);
		END IF;
	END LOOP;
END
$$;

-- _before_schema refuses CREATE SCHEMA at the limit, even of a schema that
-- exists with IF NOT EXISTS.
CREATE OR REPLACE FUNCTION sys._before_schema() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF (SELECT count(*) FROM pg_namespace n WHERE n.oid >= 16384 AND n.nspname <> 'sys' AND n.nspname !~ '^pg_') >= 10 THEN
		PERFORM sys._refuse('54000', 'more than 10 schemas not allowed');
	END IF;
END
$$;

-- _after_drop refuses to drop primary keys and their columns. It is STABLE
-- although it looks at what happens: so its queries see the catalog as the
-- statement found it, with what is dropped now.
CREATE OR REPLACE FUNCTION sys._after_drop() RETURNS event_trigger
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	dropped record;
BEGIN
	FOR dropped IN SELECT d.* FROM pg_event_trigger_dropped_objects() d WHERE d.original LOOP
		IF dropped.object_type = 'table constraint'
			AND EXISTS (SELECT FROM pg_constraint c WHERE c.oid = dropped.objid AND c.contype = 'p') THEN
			PERFORM sys._refuse('0A000', 'unsupported ALTER TABLE DROP CONSTRAINT statement');
		ELSIF dropped.object_type = 'table column'
			AND EXISTS (SELECT FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)
				WHERE i.indrelid = dropped.objid AND i.indisprimary AND k.n <= i.indnkeyatts AND k.attnum = dropped.objsubid) THEN
			PERFORM sys._refuse('0A000', format('cannot drop primary key column %s', dropped.address_names[3]));
		END IF;
	END LOOP;
END
$$;

-- _note_drop shows what was dropped among the jobs, as DSQL's clean-up, and
-- tells workers, whose jobs may have nothing left to do. Columns go also with
-- the domains they are of, which no other trigger hears of.
CREATE OR REPLACE FUNCTION sys._note_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO sys._jobs (job_id, status, job_type, object_id, table_id, name, update_time)
	SELECT sys._new_job_id(), 'completed', 'DROP', d.objid, d.objid, d.object_identity, clock_timestamp()
	FROM pg_event_trigger_dropped_objects() d
	WHERE d.original AND d.object_type IN ('table', 'index', 'table column');
	PERFORM sys._limit_values(t.oid)
	FROM pg_class t WHERE t.oid IN (
		SELECT d.objid FROM pg_event_trigger_dropped_objects() d WHERE d.object_type = 'table column');
	PERFORM pg_notify('aurora_jobs', '');
END
$$;

DROP EVENT TRIGGER IF EXISTS aurora_before_schema;
CREATE EVENT TRIGGER aurora_before_schema ON ddl_command_start WHEN TAG IN ('CREATE SCHEMA')
	EXECUTE FUNCTION sys._before_schema();
DROP EVENT TRIGGER IF EXISTS aurora_after_definition;
CREATE EVENT TRIGGER aurora_after_definition ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'CREATE INDEX', 'CREATE SEQUENCE', 'CREATE VIEW', 'CREATE STATISTICS', 'CREATE SCHEMA')
	EXECUTE FUNCTION sys._after_definition();
DROP EVENT TRIGGER IF EXISTS aurora_after_drop;
CREATE EVENT TRIGGER aurora_after_drop ON sql_drop EXECUTE FUNCTION sys._after_drop();
DROP EVENT TRIGGER IF EXISTS aurora_note_drop;
CREATE EVENT TRIGGER aurora_note_drop ON sql_drop EXECUTE FUNCTION sys._note_drop();

-- Asynchronous jobs: what submits, shows and awaits them. Workers run them,
-- with _begin_job and _finish_job.

CREATE TABLE IF NOT EXISTS sys._jobs (
	seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	job_id text NOT NULL UNIQUE,
	status text NOT NULL DEFAULT 'submitted' CHECK (status IN ('submitted', 'processing', 'completed', 'failed')),
	details text,
	job_type text NOT NULL,
	object_id oid NOT NULL,      -- what sys.jobs shows: the index, or the table
	table_id oid NOT NULL,
	constraint_id oid,           -- of VALIDATE_CONSTRAINT
	name text NOT NULL,          -- the index's or the constraint's, as it was when submitted
	start_time timestamptz NOT NULL DEFAULT clock_timestamp(),
	update_time timestamptz
);

CREATE OR REPLACE VIEW sys.jobs AS
SELECT j.job_id, j.status, j.details, j.job_type, 1259::oid AS class_id, j.object_id,
	(SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = j.object_id) AS object_name,
	j.start_time, j.update_time
FROM sys._jobs j;
GRANT SELECT ON sys.jobs TO PUBLIC;

-- _new_job_id makes a UUID as DSQL writes it: 26 characters of unpadded
-- base32 in lower case.
CREATE OR REPLACE FUNCTION sys._new_job_id() RETURNS text
LANGUAGE sql AS $$
	SELECT pg_catalog.string_agg(pg_catalog.substr('abcdefghijklmnopqrstuvwxyz234567',
		pg_catalog.substring(id.bits, 5 * i + 1, 5)::int + 1, 1), '' ORDER BY i)
	FROM (SELECT ('x' || pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''))::bit(128)::bit(130) AS bits) id,
		pg_catalog.generate_series(0, 25) i
$$;

-- _create_index is CREATE [UNIQUE] INDEX ASYNC: statement is the client's with
-- ASYNC and UNIQUE blanked. It returns the job's id, or nothing when IF NOT
-- EXISTS found the name taken.
--
-- The index is built here and now, without UNIQUE, and is then marked unique
-- and INVALID, by the event trigger, which knows which index it is. So the
-- transaction that commits it leaves what DSQL leaves: an index that is there,
-- is not used by queries and takes care of new rows. The job looks for
-- duplicates among the old ones and makes it valid. Nothing is locked in
-- between: other definitions of the table pass, and DROP INDEX just drops it.
--
-- It runs any text, so it must be what the client's message has become, and
-- not something that a client calls by a search path or in a function.
CREATE OR REPLACE FUNCTION sys._create_index(statement text, is_unique boolean) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
	datatype text;
BEGIN
	IF NOT pg_catalog.starts_with(pg_catalog.current_query(), 'SELECT sys._create_index(') THEN
		RAISE EXCEPTION USING ERRCODE = '42883', MESSAGE = 'function sys._create_index does not exist';
	END IF;
	PERFORM sys._mark(CASE WHEN is_unique THEN 'unique' ELSE 'plain' END);
	BEGIN
		EXECUTE statement;
	EXCEPTION WHEN undefined_object THEN
		datatype := pg_catalog.substring(SQLERRM, '^data type (.*) has no default operator class for access method "btree"$');
		IF datatype IS NULL THEN
			RAISE;
		END IF;
		RAISE EXCEPTION USING ERRCODE = '0A000', MESSAGE = pg_catalog.format('datatype %s is not supported in a key', datatype);
	END;
	IF sys._mark() NOT IN ('unique', 'plain') THEN
		RETURN NEXT sys._mark();
	END IF;
	PERFORM sys._mark('');
END
$$;

-- _mark sets, or reads, a note from _create_index to the event trigger and back.
CREATE OR REPLACE FUNCTION sys._mark(note text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
	IF note IS NOT NULL THEN
		EXECUTE pg_catalog.format('SET LOCAL aurora.index_job = %L', note);
	END IF;
	RETURN coalesce(pg_catalog.current_setting('aurora.index_job', true), '');
END
$$;

-- _submit_index marks the index that _create_index made and submits its job.
-- Only the event trigger calls it.
CREATE OR REPLACE FUNCTION sys._submit_index(index oid, is_unique boolean) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	id text;
BEGIN
	UPDATE pg_catalog.pg_index SET indisunique = is_unique, indisvalid = false WHERE indexrelid = index;
	INSERT INTO sys._jobs (job_id, job_type, object_id, table_id, name)
	SELECT sys._new_job_id(), 'INDEX_BUILD', i.indexrelid, i.indrelid, pg_catalog.format('%I.%I', n.nspname, c.relname)
	FROM pg_catalog.pg_index i
		JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE i.indexrelid = index
	RETURNING job_id INTO STRICT id;
	PERFORM pg_catalog.pg_notify('aurora_jobs', '');
	RETURN id;
END
$$;
REVOKE ALL ON FUNCTION sys._submit_index FROM PUBLIC;

-- _validate_constraint is ALTER TABLE ASYNC … VALIDATE CONSTRAINT. It returns
-- the job's id, or nothing when if_exists and there is no such table. The table
-- is found by the search path of the caller, which nothing that runs as somebody
-- else may use.
CREATE OR REPLACE FUNCTION sys._validate_constraint(relation text, conname text, if_exists boolean DEFAULT false) RETURNS SETOF text
LANGUAGE plpgsql SECURITY INVOKER AS $$
BEGIN
	IF if_exists AND pg_catalog.to_regclass(relation) IS NULL THEN
		RAISE NOTICE 'relation "%" does not exist, skipping', pg_catalog.array_to_string(pg_catalog.parse_ident(relation), '.');
		RETURN;
	END IF;
	RETURN NEXT sys._submit_validation(relation::pg_catalog.regclass, conname);
END
$$;

-- _submit_validation submits the job of _validate_constraint. It may be called
-- by everybody, so it checks whose table it is.
CREATE OR REPLACE FUNCTION sys._submit_validation(tbl regclass, conname text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	con record;
	id text;
BEGIN
	SELECT c.oid, c.contype, t.relname, pg_has_role(session_user, t.relowner, 'USAGE') AS owned INTO con
	FROM pg_class t LEFT JOIN pg_constraint c ON c.conrelid = t.oid AND c.conname = _submit_validation.conname
	WHERE t.oid = tbl;
	IF con.owned IS NOT TRUE THEN
		RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = pg_catalog.format('must be owner of table %s', con.relname);
	END IF;
	IF con.oid IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = '42704', MESSAGE = pg_catalog.format('constraint "%s" of relation "%s" does not exist', conname, con.relname);
	END IF;
	IF con.contype NOT IN ('c', 'f') THEN
		RAISE EXCEPTION USING ERRCODE = '42809',
			MESSAGE = pg_catalog.format('constraint "%s" of relation "%s" is not a foreign key or check constraint', conname, con.relname);
	END IF;
	PERFORM pg_notify('aurora_jobs', '');
	INSERT INTO sys._jobs (job_id, job_type, object_id, table_id, constraint_id, name)
		VALUES (sys._new_job_id(), 'VALIDATE_CONSTRAINT', tbl, tbl, con.oid, conname) RETURNING job_id INTO STRICT id;
	RETURN id;
END
$$;

-- wait_for_job waits until a job has ended and says whether it succeeded. It
-- commits between looks, to see news and to hold nothing, which is also what
-- makes it refuse to run in a transaction block. An id that there is no job
-- for is false: it ended too long ago or never was.
CREATE OR REPLACE PROCEDURE sys.wait_for_job(job_id text, INOUT succeeded boolean DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	state text;
BEGIN
	-- 26 characters are 130 bits, of which a UUID leaves the last two empty.
	IF job_id IS NULL OR job_id !~ '^[a-z2-7]{25}[aeimquy4]$' THEN
		RAISE EXCEPTION USING ERRCODE = '22P02', MESSAGE = 'Unable to convert text to UUID';
	END IF;
	LOOP
		COMMIT;
		SELECT j.status INTO state FROM sys.jobs j WHERE j.job_id = wait_for_job.job_id;
		EXIT WHEN state IS NULL OR state IN ('completed', 'failed');
		PERFORM pg_catalog.pg_sleep(0.02);
	END LOOP;
	succeeded := coalesce(state = 'completed', false);
END
$$;

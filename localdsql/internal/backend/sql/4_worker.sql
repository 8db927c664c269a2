-- What workers call. They are superusers, in read committed transactions of
-- one statement each, and their search path has nothing of users in it.

-- _open_jobs gives the jobs that have not ended and whether nothing is left
-- for them to do, because their object was dropped. It also removes what
-- ended more than half an hour ago.
CREATE OR REPLACE FUNCTION sys._open_jobs()
RETURNS TABLE (seq bigint, job_id text, job_type text, name text, table_name text, is_unique boolean, gone boolean)
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM sys._jobs WHERE _jobs.seq IN (
		SELECT j.seq FROM sys._jobs j
		WHERE j.status IN ('completed', 'failed') AND coalesce(j.update_time, j.start_time) < now() - interval '30 minutes'
		FOR UPDATE SKIP LOCKED);
	RETURN QUERY
		SELECT j.seq, j.job_id, j.job_type, j.name, coalesce(t.relname, '')::text, coalesce(i.indisunique, false), sys._skip_reason(j) IS NOT NULL
		FROM sys._jobs j LEFT JOIN pg_index i ON i.indexrelid = j.object_id LEFT JOIN pg_class t ON t.oid = j.table_id
		WHERE j.status IN ('submitted', 'processing') ORDER BY j.seq;
END
$$;
REVOKE ALL ON FUNCTION sys._open_jobs FROM PUBLIC;

-- _skip_reason says why there is nothing left to do for a job, or NULL.
CREATE OR REPLACE FUNCTION sys._skip_reason(j sys._jobs) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT CASE
		WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = j.table_id) THEN 'Skipped job for nonexistent table.'
		WHEN j.job_type = 'INDEX_BUILD' AND NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = j.object_id)
			THEN pg_catalog.format('relation "%s" does not exist', j.name)
		WHEN j.job_type = 'VALIDATE_CONSTRAINT' AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE oid = j.constraint_id)
			THEN pg_catalog.format('constraint "%s" does not exist', j.name)
	END
$$;

-- _begin_job says that a job is being worked on, unless it has ended.
CREATE OR REPLACE FUNCTION sys._begin_job(seq bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE sys._jobs j SET status = 'processing', update_time = clock_timestamp()
	WHERE j.seq = _begin_job.seq AND j.status IN ('submitted', 'processing');
	RETURN FOUND;
END
$$;
REVOKE ALL ON FUNCTION sys._begin_job FROM PUBLIC;

-- _finish_job does a job's work and notes how it ended. A job whose failure
-- is given fails with it. It returns the status the job now has, NULL if it
-- was removed. Locks it cannot have within lock_timeout, and definitions that
-- change under it, make it raise an error; it can then be called again.
CREATE OR REPLACE FUNCTION sys._finish_job(seq bigint, failure text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	j sys._jobs;
	skipped text;
	problem text := failure;
BEGIN
	SELECT * INTO j FROM sys._jobs WHERE _jobs.seq = _finish_job.seq FOR UPDATE;
	IF NOT FOUND OR j.status IN ('completed', 'failed') THEN
		RETURN j.status;
	END IF;
	skipped := sys._skip_reason(j);
	IF skipped IS NULL AND problem IS NULL THEN
		IF j.job_type = 'INDEX_BUILD' THEN
			problem := sys._finish_index(j);
		ELSE
			problem := sys._finish_constraint(j);
		END IF;
		-- What was dropped while it was looked at was not there to be violated.
		skipped := sys._skip_reason(j);
	END IF;
	UPDATE sys._jobs SET update_time = clock_timestamp(),
		status = CASE WHEN skipped IS NULL AND problem IS NOT NULL THEN 'failed' ELSE 'completed' END,
		details = coalesce(skipped, problem)
	WHERE _jobs.seq = j.seq RETURNING _jobs.status INTO j.status;
	RETURN j.status;
END
$$;
REVOKE ALL ON FUNCTION sys._finish_job FROM PUBLIC;

-- _finish_index makes an index valid, or says why it cannot.
CREATE OR REPLACE FUNCTION sys._finish_index(j sys._jobs) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT indisunique FROM pg_index WHERE indexrelid = j.object_id) AND sys._has_duplicates(j.object_id) THEN
		RETURN 'Found duplicate key while validating index for UCVs';
	END IF;
	-- Against those who change or drop the index; readers and writers pass.
	EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE', j.table_id::regclass);
	UPDATE pg_index SET indisvalid = true WHERE indexrelid = j.object_id AND NOT indisvalid;
	-- Plans are made anew when something of the table changes, of which the
	-- index's row is no part. Nobody else ever changes a system column's row.
	UPDATE pg_attribute SET attstattarget = attstattarget WHERE attrelid = j.table_id AND attnum = -1;
	RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION sys._finish_index FROM PUBLIC;

-- _has_duplicates looks for keys that a unique index has more than once. New
-- ones cannot appear meanwhile: the index keeps them out.
CREATE OR REPLACE FUNCTION sys._has_duplicates(index oid) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	query text;
BEGIN
	SELECT format('SELECT FROM %s WHERE true%s%s GROUP BY %s HAVING count(*) > 1 LIMIT 1',
		i.indrelid::regclass,
		coalesce(' AND (' || pg_get_expr(i.indpred, i.indrelid) || ')', ''),
		CASE WHEN i.indnullsnotdistinct THEN '' ELSE ' AND ' || string_agg('(' || k.key || ') IS NOT NULL', ' AND ') END,
		string_agg(k.key, ', '))
	INTO STRICT query
	FROM pg_index i, generate_series(1, i.indnkeyatts) n, LATERAL (SELECT sys._get_indexdef(index, n, false)) k(key)
	WHERE i.indexrelid = index GROUP BY i.indexrelid;
	RETURN sys._any_row(query);
END
$$;
REVOKE ALL ON FUNCTION sys._has_duplicates FROM PUBLIC;

-- _finish_constraint validates a constraint, or says why it cannot. New rows
-- are checked since it was added.
CREATE OR REPLACE FUNCTION sys._finish_constraint(j sys._jobs) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	con record;
BEGIN
	SELECT c.contype, c.conname, c.convalidated, pg_get_expr(c.conbin, c.conrelid) AS expr INTO STRICT con
	FROM pg_constraint c WHERE c.oid = j.constraint_id;
	IF con.convalidated THEN
		RETURN NULL;
	END IF;
	IF con.contype = 'c' AND sys._any_row(format('SELECT FROM %s WHERE NOT (%s) LIMIT 1', j.table_id::regclass, con.expr)) THEN
		RETURN format('check constraint "%s" is violated by some row', con.conname);
	END IF;
	EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE', j.table_id::regclass);
	IF con.contype = 'c' THEN
		UPDATE pg_constraint SET convalidated = true WHERE oid = j.constraint_id;
		UPDATE pg_attribute SET attstattarget = attstattarget WHERE attrelid = j.table_id AND attnum = -1; -- as in _finish_index
	ELSE
		EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', j.table_id::regclass, con.conname);
	END IF;
	RETURN NULL;
EXCEPTION WHEN foreign_key_violation THEN
	RETURN SQLERRM;
END
$$;
REVOKE ALL ON FUNCTION sys._finish_constraint FROM PUBLIC;

-- _any_row says whether a query has rows. It may call users' functions, so it
-- runs as a role that can read everything and change nothing. SET ROLE would
-- not do: those functions could RESET it, which they cannot in a function that
-- belongs to another role. What they set otherwise ends with the error.
CREATE OR REPLACE FUNCTION sys._any_row(query text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
	found boolean;
BEGIN
	EXECUTE pg_catalog.format('SELECT EXISTS (%s)', query) INTO STRICT found;
	RAISE EXCEPTION USING ERRCODE = 'AU000';
EXCEPTION WHEN SQLSTATE 'AU000' THEN
	RETURN found;
END
$$;
ALTER FUNCTION sys._any_row OWNER TO pg_read_all_data;
REVOKE ALL ON FUNCTION sys._any_row FROM PUBLIC;

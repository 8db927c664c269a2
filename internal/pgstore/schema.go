package pgstore

import (
	"strconv"
	"strings"
)

// The history's tables.
const (
	leasesTable    = "aurora_leases"
	revisionsTable = "aurora_revisions"
)

// SQL are the statements of the history, with the schema's name filled in. Those
// that are exported are for streams; $1 is the project and $2 the token.
type SQL struct {
	bootstrap         []string // without the schema itself
	createSchema      string
	latest, revision  string
	revisions         string
	execution         string
	executions        string
	acquire, lease    string
	renew, release    string
	breakLease        string
	Guard, After      string
	save, SaveNow     string
	saveKeeping       string
	unlessCompleted   string
	SaveForward       string
	SaveOnce          string
	Place             string
	SaveBare          string
	SaveBareNow       string
	evict             string
	Output, Committed string
	foreign           string
}

// columns are those that every reading query returns, in the order in which
// scan takes them. Description and output, which may be large, follow in the one
// that returns a single revision.
const columns = `execution, version, name, checksum, direction, state, kind, token, seq, steps,
	done, begun, hashes, checkpoint, error, error_step, error_pos,
	(extract(epoch from started_at) * 1000000)::bigint, (extract(epoch from finished_at) * 1000000)::bigint,
	holder, operator, output_dropped`

// held is true of the lease's row while the lease is ours.
const held = `project = $1 AND token = $2::bigint AND expires_at > clock_timestamp()`

// backends are the parts about the server sessions that hold the lease, for
// dialects that have such.
type backends struct{ columns, values, takeOver, release string }

var withBackends = backends{
	columns: `, backend, backend_start, backend_name`,
	values: `, pg_backend_pid(),
		(SELECT backend_start FROM pg_catalog.pg_stat_activity WHERE pid = pg_backend_pid()), $4`,
	takeOver: `,
		last_backend = l.backend, last_start = l.backend_start, last_name = l.backend_name,
		backend = EXCLUDED.backend, backend_start = EXCLUDED.backend_start, backend_name = EXCLUDED.backend_name`,
	release: `,
	backend = CASE WHEN $3::boolean THEN NULL ELSE backend END`,
}

// evictSQL ends what the last holder's session still does, and those of its
// steps of Go code, which have its mark. A pooler may have given the session to
// somebody else, whose name is another. It is asked before a takeover, for what
// may hold locks, and after it, for a lease that ended in between.
const evictSQL = `SELECT pg_terminate_backend(a.pid, 2000) FROM {l} l JOIN pg_catalog.pg_stat_activity a
		ON l.expires_at <= clock_timestamp() AND a.pid = l.backend AND a.backend_start = l.backend_start AND a.application_name = l.backend_name
		OR a.pid = l.last_backend AND a.backend_start = l.last_start AND a.application_name = l.last_name
		OR l.expires_at <= clock_timestamp() AND l.backend IS NOT NULL AND l.backend_name LIKE 'aurora-________' AND a.application_name = l.backend_name || '-step'
		OR l.last_backend IS NOT NULL AND l.last_name LIKE 'aurora-________' AND a.application_name = l.last_name || '-step'
	WHERE l.project = $1 AND a.pid <> pg_backend_pid()`

func newSQL(schema string, d Dialect) SQL {
	b := backends{}
	if d.Sessions {
		b = withBackends
	}
	quoted := `"` + strings.ReplaceAll(schema, `"`, `""`) + `"`
	fill := strings.NewReplacer("{schema}", quoted, "{r}", quoted+"."+revisionsTable, "{l}", quoted+"."+leasesTable,
		"{columns}", columns, "{held}", held,
		"{columns of backend}", b.columns, "{values of backend}", b.values, "{new backend}", b.takeOver, "{no backend}", b.release).Replace
	return SQL{
		createSchema: fill(`CREATE SCHEMA IF NOT EXISTS {schema}`),
		bootstrap:    bootstrapSQL(fill),
		// The subquery sorts two columns, where sorting whole rows goes to the disk.
		latest: fill(`SELECT DISTINCT ON (r.version) {columns} FROM {r} r JOIN (
		SELECT version, max(token) FROM {r} WHERE project = $1 GROUP BY version
	) newest (v, t) ON r.version = newest.v AND r.token = newest.t
	WHERE project = $1 ORDER BY r.version, r.token DESC, r.seq DESC`),
		revision: fill(`SELECT {columns}, description, output FROM {r} r WHERE project = $1 AND execution = $2 AND version = $3`),
		revisions: fill(`SELECT {columns} FROM {r} r WHERE project = $1 AND version = $2
		AND (r.token < $3::bigint OR r.token = $3::bigint AND (r.seq < $4::integer OR r.seq = $4::integer AND r.execution < $5))
	ORDER BY r.token DESC, r.seq DESC, r.execution DESC LIMIT $6::bigint`),
		// Who reads these two sorts: wide rows would be sorted on the disk here.
		execution: fill(`SELECT {columns} FROM {r} r WHERE project = $1 AND execution = $2`),
		// The array makes it look up the executions by the key, where a join would
		// read the whole table a second time.
		executions: fill(`SELECT {columns} FROM {r} r WHERE project = $1 AND execution = ANY (ARRAY(
		SELECT execution FROM {r} WHERE project = $1
		GROUP BY execution HAVING $2::bigint = 0 OR max(token) < $2::bigint ORDER BY max(token) DESC LIMIT $3::bigint
	))`),
		// The project's first token is greater than all in the history, and than
		// those of a row that somebody deleted.
		acquire: fill(`INSERT INTO {l} AS l (project, token, holder, acquired_at, expires_at{columns of backend})
	SELECT $1, greatest((SELECT max(token) + 1 FROM {r} WHERE project = $1), (extract(epoch from clock_timestamp()) * 1000)::bigint),
		$2, clock_timestamp(), clock_timestamp() + $3::bigint * interval '1 microsecond'{values of backend}
	WHERE NOT EXISTS (SELECT FROM {l} WHERE project = $1 AND expires_at > clock_timestamp())
	ON CONFLICT (project) DO UPDATE SET token = l.token + 1, holder = EXCLUDED.holder, acquired_at = clock_timestamp(),
		expires_at = clock_timestamp() + $3::bigint * interval '1 microsecond'{new backend}
	WHERE l.expires_at <= clock_timestamp() RETURNING token::text`),
		evict: fill(evictSQL),
		lease: fill(`SELECT token::text, holder, (extract(epoch from expires_at) * 1000000)::bigint::text
	FROM {l} WHERE project = $1 AND expires_at > clock_timestamp()`),
		renew: fill(`UPDATE {l} SET expires_at = clock_timestamp() + $3::bigint * interval '1 microsecond'
	WHERE {held} RETURNING 1`),
		release: fill(`UPDATE {l} SET expires_at = clock_timestamp(){no backend} WHERE {held}`),
		// The new token makes sure that what the old holder still has in flight
		// is refused even if it asks within the same microsecond.
		breakLease: fill(`UPDATE {l} SET expires_at = clock_timestamp(), token = token + 1 WHERE {held} RETURNING 1`),
		// Division by zero is the plainest way to fail without a function.
		Guard: fill(`SELECT 1 / count(*) FROM {l} WHERE {held}`),
		After: fill(`SELECT 1 / count(*) FROM {l} WHERE {held} AND EXISTS (SELECT FROM {r}
	WHERE project = $1 AND execution = $3 AND version = $4 AND state = 'completed')`),
		save: fill(saveSQL(`$19::timestamptz`, `$20::timestamptz`)) + ` RETURNING 1`,
		// It keeps description and output; a value that stays is not written again.
		saveKeeping: fill(strings.NewReplacer("description = EXCLUDED.description", "description = r.description",
			"output = EXCLUDED.output, output_dropped = EXCLUDED.output_dropped", "output = r.output, output_dropped = r.output_dropped").
			Replace(saveSQL(`$19::timestamptz`, `$20::timestamptz`))) + ` RETURNING 1`,
		// In a transaction with a snapshot the row's end is as old as that, so only
		// the token counts; the lock still stands against a takeover.
		SaveBare:        fill(strings.Replace(saveSQL(`$19::timestamptz`, `$20::timestamptz`), `{held}`, `project = $1 AND token = $2::bigint`, 1)) + ` RETURNING 1`,
		SaveBareNow:     fill(strings.Replace(saveSQL(now, clock), `{held}`, `project = $1 AND token = $2::bigint`, 1)) + savedTimes,
		unlessCompleted: fill(saveSQL(`$19::timestamptz`, `$20::timestamptz`)) + ` WHERE r.state <> 'completed'`,
		// A message that was in flight when the connection broke may arrive late,
		// and must not set the place back.
		SaveForward: fill(saveSQL(`$19::timestamptz`, `$20::timestamptz`)) + ` WHERE r.state <> 'completed' AND r.done <= EXCLUDED.done RETURNING 1`,
		// Nor may a statement run twice: there is no token where its place is saved
		// already. It is for a transaction with a snapshot, as SaveBare is.
		SaveOnce: fill(strings.Replace(saveSQL(`$19::timestamptz`, `$20::timestamptz`), `{held}`, `project = $1 AND token = $2::bigint
	AND NOT EXISTS (SELECT FROM {r} WHERE project = $1 AND execution = $3 AND version = $4
		AND (done > $13::integer OR done = $13::integer AND hashes = $15 OR state = 'completed'))`, 1)) + ` RETURNING 1`,
		Place:     fill(`SELECT done::text, hashes, state FROM {r} WHERE project = $1 AND execution = $2 AND version = $3`),
		SaveNow:   fill(saveSQL(now, clock)) + savedTimes,
		Output:    fill(`UPDATE {r} SET output = $5, output_dropped = $6::integer WHERE project = $1 AND execution = $3 AND version = $4 AND EXISTS (SELECT FROM {l} WHERE {held})`),
		Committed: fill(`SELECT {columns} FROM {r} WHERE project = $1 AND execution = $2 AND state = 'completed'`),
		foreign: `SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)::text, n.nspname, c.relname,
		(n.nspname IN ($1, 'atlas_schema_revisions', current_schema()))::text, has_table_privilege(c.oid, 'SELECT')::text
	FROM (SELECT 1) one LEFT JOIN pg_catalog.pg_class c ON c.relname IN ('atlas_schema_revisions', 'aurora_schema_revisions') AND c.relkind = 'r'
	LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace`,
	}
}

// bootstrapSQL creates the tables, which are the same everywhere, so that they
// can move with their database.
func bootstrapSQL(fill func(string) string) []string {
	return []string{
		fill(`CREATE TABLE IF NOT EXISTS {l} (
	project text PRIMARY KEY,
	token bigint NOT NULL,
	holder text NOT NULL,
	acquired_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	backend integer,
	backend_start timestamptz,
	backend_name text,
	last_backend integer,
	last_start timestamptz,
	last_name text,
	UNIQUE (project, token))`),
		fill(`CREATE TABLE IF NOT EXISTS {r} (
	project text,
	execution text,
	version text,
	name text NOT NULL,
	description text NOT NULL,
	checksum text NOT NULL,
	direction text NOT NULL,
	state text NOT NULL,
	kind text NOT NULL,
	token bigint NOT NULL,
	seq integer NOT NULL,
	steps integer NOT NULL,
	done integer NOT NULL,
	begun integer NOT NULL,
	hashes text NOT NULL,
	checkpoint text,
	error text NOT NULL,
	error_step text NOT NULL,
	error_pos text NOT NULL,
	started_at timestamptz,
	finished_at timestamptz,
	holder text NOT NULL,
	operator text NOT NULL,
	output text NOT NULL,
	output_dropped integer NOT NULL,
	PRIMARY KEY (project, execution, version))`),
	}
}

// saveFailure is the save of a revision that is not to replace one that is
// completed or has got further than stored.
func (q SQL) saveFailure(stored int) string {
	return q.unlessCompleted + ` AND r.done <= ` + strconv.Itoa(stored) + ` RETURNING 1`
}

// now and clock take the times that a revision leaves open from the server.
const (
	now   = `coalesce($19::timestamptz, now())`
	clock = `coalesce($20::timestamptz, clock_timestamp())`
)

const savedTimes = ` RETURNING (extract(epoch from started_at) * 1000000)::bigint::text, (extract(epoch from finished_at) * 1000000)::bigint::text`

// saveSQL writes a revision. Its token is read from the lease's row, which
// stays locked until the commit, against takeovers but not against renewals;
// when the lease is not ours there is no token, and NOT NULL refuses the row.
func saveSQL(started, finished string) string {
	return `INSERT INTO {r} AS r (project, token, execution, version, name, description, checksum, direction, state, kind,
	seq, steps, done, begun, hashes, checkpoint, error, error_step, error_pos, started_at, finished_at,
	holder, operator, output, output_dropped)
VALUES ($1, (SELECT token FROM {l} WHERE {held} FOR KEY SHARE),
	$3, $4, $5, $6, $7, $8, $9, $10, $11::integer, $12::integer, $13::integer, $14::integer, $15, $16, $17, $18, $25, ` +
		started + `, ` + finished + `, $21, $22, $23, $24::integer)
ON CONFLICT (project, execution, version) DO UPDATE SET token = EXCLUDED.token, name = EXCLUDED.name,
	description = EXCLUDED.description, checksum = EXCLUDED.checksum, direction = EXCLUDED.direction, state = EXCLUDED.state,
	kind = EXCLUDED.kind, seq = EXCLUDED.seq, steps = EXCLUDED.steps, done = EXCLUDED.done, begun = EXCLUDED.begun,
	hashes = EXCLUDED.hashes, checkpoint = EXCLUDED.checkpoint, error = EXCLUDED.error, error_step = EXCLUDED.error_step,
	error_pos = EXCLUDED.error_pos, started_at = EXCLUDED.started_at, finished_at = EXCLUDED.finished_at,
	holder = EXCLUDED.holder, operator = EXCLUDED.operator, output = EXCLUDED.output, output_dropped = EXCLUDED.output_dropped`
}

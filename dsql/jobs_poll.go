package dsql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A jobState is what one look at a job showed.
type jobState struct {
	job
	// status and details are those of sys.jobs; status is empty for a job that
	// it does not list (any more): finished ones go after about half an hour.
	status, details string
	exists          bool // the index or constraint
	valid           bool // it can be used, which is what success means
}

// The states of sys.jobs:
// https://docs.aws.amazon.com/aurora-dsql/latest/userguide/working-with-create-index-async.html
const (
	jobSubmitted  = "submitted"
	jobProcessing = "processing"
	jobCompleted  = "completed"
	jobFailed     = "failed"
)

// running reports whether there is something to wait for.
func (s jobState) running() bool {
	return !s.valid && (s.status == jobSubmitted || s.status == jobProcessing)
}

// String says what the job does and how far it is.
func (s jobState) String() string {
	what := "building index "
	if s.Kind == validateJob {
		what = "validating constraint "
	}
	status := s.status
	switch {
	case s.valid:
		status = "valid"
	case status == "":
		status = "not listed"
	}
	return fmt.Sprintf("%s%s: %s, %s", what, s.name(), status, time.Since(s.StartedAt).Round(time.Second))
}

// pollDelay is how long to wait before poll n, from 0: 200 ms, growing to 5 s.
func pollDelay(n int) time.Duration {
	d := 200 * time.Millisecond
	for ; n > 0 && d < 5*time.Second; n-- {
		d = d * 3 / 2
	}
	return min(d, 5*time.Second)
}

// pollJobs looks at jobs with one query and gives their states in the same
// order, with the jobs' missing names filled in.
func pollJobs(ctx context.Context, ask asker, jobs []job) ([]jobState, error) {
	states := make([]jobState, len(jobs))
	if len(jobs) == 0 {
		return nil, nil
	}
	var values []string
	var args []string
	for i, j := range jobs {
		states[i].job = j
		oid := j.OID
		if oid == "" {
			oid = "0"
		}
		n := len(args)
		values = append(values, fmt.Sprintf("(%d, $%d::text, $%d::text, $%d::text, $%d::text, $%d::text, $%d::text::oid)", i, n+1, n+2, n+3, n+4, n+5, n+6))
		args = append(args, j.ID, string(j.Kind), j.Schema, j.Table, j.Object, oid)
	}
	raw, err := ask(ctx, strings.Replace(pollSQL, "VALUES", "VALUES "+strings.Join(values, ", "), 1), args...)
	if err != nil {
		return nil, fmt.Errorf("look at the jobs: %w", err)
	}
	for _, r := range texts(raw) {
		i, err := strconv.Atoi(r[0])
		if err != nil || i < 0 || i >= len(states) {
			return nil, errors.New("look at the jobs: an answer that was not asked for")
		}
		states[i].add(r)
	}
	return states, nil
}

// pollSQL finds a job's object by its oid, or else by its name, or else by what
// sys.jobs says, and for a job that is not listed another one that builds the
// same index. It has no LATERAL, which DSQL mistakes in outer joins.
const pollSQL = `WITH q (n, id, kind, nsp, tab, object, oid) AS (VALUES),
found AS (
	SELECT q.n, q.kind, j.status, j.details, CASE q.kind WHEN 'index' THEN coalesce(
		(SELECT i.indexrelid FROM pg_catalog.pg_index i WHERE i.indexrelid = q.oid),
		(SELECT i.indexrelid FROM pg_catalog.pg_class c
			JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
			WHERE n.nspname = q.nsp AND c.relname = q.object),
		(SELECT i.indexrelid FROM pg_catalog.pg_index i
			WHERE i.indexrelid::text = j.object_id::text))
	ELSE coalesce(
		(SELECT c.oid FROM pg_catalog.pg_constraint c WHERE c.oid = q.oid),
		(SELECT c.oid FROM pg_catalog.pg_constraint c
			JOIN pg_catalog.pg_class t ON t.oid = c.conrelid
			JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
			WHERE n.nspname = q.nsp AND t.relname = q.tab AND c.conname = q.object),
		(SELECT c.oid FROM pg_catalog.pg_constraint c
			WHERE c.conrelid::text = j.object_id::text AND c.conname = q.object))
	END AS oid
	FROM q LEFT JOIN sys.jobs j ON j.job_id = q.id)
SELECT f.n::text, f.status, f.details, f.oid::text, n.nspname, t.relname, coalesce(x.relname, c.conname),
	CASE WHEN coalesce(i.indisvalid, c.convalidated) THEN 'valid' END,
	CASE WHEN f.status IS NULL AND f.kind = 'index' THEN (SELECT j.job_id FROM sys.jobs j
		WHERE j.status IN ('submitted', 'processing') AND j.job_type = 'INDEX_BUILD' AND j.object_id::text = f.oid::text
		ORDER BY j.start_time DESC LIMIT 1) END
FROM found f
LEFT JOIN pg_catalog.pg_index i ON f.kind = 'index' AND i.indexrelid = f.oid
LEFT JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
LEFT JOIN pg_catalog.pg_constraint c ON f.kind <> 'index' AND c.oid = f.oid
LEFT JOIN pg_catalog.pg_class t ON t.oid = coalesce(i.indrelid, c.conrelid)
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace`

// add takes a row of pollSQL.
func (s *jobState) add(row []string) {
	s.status, s.details = row[1], row[2]
	if s.exists = row[3] != ""; s.exists {
		s.OID, s.Schema, s.Table, s.Object = row[3], row[4], row[5], row[6]
	}
	s.valid = row[7] == "valid"
	if row[8] != "" {
		s.ID, s.status = row[8], jobProcessing
	}
}

// A JobError says that a background job of Aurora DSQL did not end in an index
// that is valid or a constraint that is validated.
type JobError struct {
	Job     string // its id, empty where it is not known
	Object  string // the index or constraint
	Status  string // of the job in sys.jobs; empty where it is not listed
	Details string // what DSQL says about it
	Advice  string // what to do, in SQL where possible
	Dropped bool   // the invalid index was dropped
}

// Error says what failed and why.
func (e *JobError) Error() string {
	s := e.Object + " did not get ready: "
	switch {
	case e.Details != "":
		s += e.Details
	case e.Status == "":
		s += "its job is not listed any more"
	case e.Status == jobCompleted:
		s += "its job completed without it"
	default:
		s += "its job " + e.Status + " without a reason"
	}
	if e.Dropped {
		s += " (the invalid index was dropped)"
	}
	return s
}

// Hint says what to do next.
func (e *JobError) Hint() string { return e.Advice }

// settleDelay is how long settle waits before it looks again at what
// contradicts itself: the job and the catalog may be a moment apart.
const settleDelay = time.Second

// settle decides about a job that is not running. Where the catalog says that
// its object is valid, it is nil whatever the job's row says. Else the invalid
// index is dropped, since it would go on refusing duplicates and IF NOT EXISTS
// would accept it, and the error is a [*JobError]. The caller holds the lease.
func settle(ctx context.Context, ask asker, s jobState) error {
	for n := 0; !s.valid && s.status != jobFailed && (n == 0 || s.running()); n++ {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(settleDelay):
		}
		states, err := pollJobs(ctx, ask, []job{s.job})
		if err != nil {
			return err
		}
		s = states[0]
	}
	if s.valid {
		return nil
	}
	e := &JobError{Job: s.ID, Object: "index " + s.name(), Status: s.status, Details: s.details, Advice: s.advice()}
	if s.Kind == validateJob {
		e.Object = "constraint " + s.name()
		return e
	}
	if !s.exists {
		return e
	}
	name := quoted(s.Schema, s.Object)
	if _, err := ask(ctx, "DROP INDEX IF EXISTS "+name); err != nil {
		return errors.Join(e, fmt.Errorf("drop the invalid index %s: %w", name, err))
	}
	e.Dropped = true
	return e
}

// advice says how to find the rows that are in the way.
func (s jobState) advice() string {
	table := quoted(s.Schema, s.Table)
	switch {
	case s.Kind == validateJob:
		return "correct the rows that violate it, then run again; new rows are checked already"
	case !s.Unique || s.status == jobCompleted:
		return "run again to build it anew"
	case s.Keys == "":
		return "remove the duplicates, then run again"
	}
	where := ""
	if s.Where != "" {
		where = " WHERE " + s.Where
	}
	return fmt.Sprintf("find the duplicates with: SELECT %s, count(*) FROM %s%s GROUP BY %s HAVING count(*) > 1; remove them, then run again",
		s.Keys, table, where, s.Keys)
}

// quoted gives a name for SQL, always in quotes: it may be a reserved word.
func quoted(schema, name string) string {
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
	if schema == "" {
		return quote(name)
	}
	return quote(schema) + "." + quote(name)
}

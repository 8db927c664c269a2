package localdsql_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/localdsql"
	"github.com/aurora-migrate/aurora/localdsql/internal/policy/cases"
)

// TestCases asks a local DSQL all that is known about Aurora DSQL, through
// both of the protocol's ways to run a statement.
func TestCases(t *testing.T) {
	all, err := cases.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, protocol := range []string{"simple", "extended"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			cluster := localdsql.StartCluster(t, localdsql.Config{Throwaway: true, Conflicts: localdsql.ConflictsOff})
			r := caseRunner{t: t, url: cluster.URL(), extended: protocol == "extended"}
			for _, c := range all {
				if c.By == cases.ByMessage && protocol == "extended" {
					continue // it is one message of several statements
				}
				r.about = c.String()
				r.run(c)
			}
			if err := r.conn.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

type caseRunner struct {
	t        *testing.T
	url      string
	extended bool
	about    string
	conn     *pgconn.PgConn
}

// An outcome is what a statement came to.
type outcome struct {
	code, message string
	tag, value    string
}

func (r *caseRunner) run(c cases.Case) {
	r.t.Helper()
	if r.conn == nil || r.conn.IsClosed() {
		r.connect()
	}
	// What is refused for its text leaves nothing behind.
	makes := c.By != cases.ByText || len(c.Setup) > 0 || len(c.SQL) > 1
	if makes {
		r.must("CREATE SCHEMA case_schema")
		r.must("SET search_path = case_schema, public")
	}
	for _, sql := range c.Setup {
		r.must(sql)
	}
	if c.Wait {
		r.await()
	}
	var got outcome
	for _, sql := range c.SQL {
		got = r.do(sql)
	}
	if got.code != c.Code || got.message != c.Message {
		r.t.Errorf("%s:\n got %s %s\nwant %s %s", r.about, got.code, got.message, c.Code, c.Message)
	}
	if c.Tag != "" && got.tag != c.Tag || c.Value != "" && got.value != c.Value {
		r.t.Errorf("%s: got %q %q, want %q %q", r.about, got.tag, got.value, c.Tag, c.Value)
	}
	if r.conn.IsClosed() {
		r.t.Errorf("%s: the connection is closed", r.about)
		r.connect()
	}
	if r.conn.TxStatus() != 'I' {
		r.must("ROLLBACK")
	}
	if makes {
		r.must("RESET search_path")
		r.must("DROP SCHEMA case_schema CASCADE")
	}
	for _, sql := range c.Cleanup {
		r.do(sql)
	}
	if c.About == "settings" { // the next one shall not see them
		r.conn.Close(r.t.Context()) //nolint:errcheck // What matters is known.
	}
}

func (r *caseRunner) connect() {
	r.t.Helper()
	conn, err := pgconn.Connect(r.t.Context(), r.url)
	if err != nil {
		r.t.Fatalf("%s: connect: %v", r.about, err)
	}
	r.conn = conn
}

func (r *caseRunner) must(sql string) {
	r.t.Helper()
	if got := r.do(sql); got.code != "" {
		r.t.Errorf("%s: %s: %s %s", r.about, sql, got.code, got.message)
	}
}

// do runs a statement. No case is about conflicts, but on a busy machine a job
// may have a lock for too long: outside of blocks the statement is run again.
func (r *caseRunner) do(sql string) outcome {
	for deadline := time.Now().Add(patience); ; {
		got := r.try(sql)
		if got.code != "40001" || r.conn.TxStatus() != 'I' || time.Now().After(deadline) {
			return got
		}
	}
}

func (r *caseRunner) try(sql string) outcome {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	var results []*pgconn.Result
	var err error
	if r.extended {
		result := r.conn.ExecParams(ctx, sql, nil, nil, nil, nil).Read()
		results, err = []*pgconn.Result{result}, result.Err
	} else {
		results, err = r.conn.Exec(ctx, sql).ReadAll()
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return outcome{code: pg.Code, message: pg.Message}
	}
	if err != nil {
		return outcome{code: "?", message: err.Error()}
	}
	var got outcome
	if n := len(results); n > 0 {
		got.tag = results[n-1].CommandTag.String()
		if rows := results[n-1].Rows; len(rows) > 0 && len(rows[0]) > 0 {
			got.value = string(rows[0][0])
		}
	}
	return got
}

// await waits until no job is left to run.
func (r *caseRunner) await() {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if got := r.do("SELECT count(*) FROM sys.jobs WHERE status IN ('submitted', 'processing')"); got.value == "0" {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: jobs do not end", r.about)
		}
	}
}

package wire

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

// A step is what one of several sessions says, and what it gets: the error, or
// the tags.
type step struct {
	session int
	sql     string
	want    string
}

// TestConflicts runs steps of several sessions one after the other.
func TestConflicts(t *testing.T) {
	for _, tt := range []struct {
		name      string
		conflicts Conflicts
		steps     []step
		rows      string // in t at the end
	}{
		{"two writers of a row", Touching, []step{
			{0, "BEGIN", "BEGIN"}, {1, "BEGIN", "BEGIN"},
			{0, "SELECT a FROM t", "SELECT 2"}, {1, "SELECT a FROM t", "SELECT 2"},
			{0, "UPDATE t SET a = 10 WHERE a = 1", "UPDATE 1"},
			{1, "UPDATE t SET a = 20 WHERE a = 1", oc000},
			{0, "COMMIT", "COMMIT"}, {1, "COMMIT", "ROLLBACK"},
			{1, "BEGIN", "BEGIN"}, {1, "SELECT a FROM t", "SELECT 2"},
			{0, "UPDATE t SET a = 11 WHERE a = 10", "UPDATE 1"},
			{1, "UPDATE t SET a = 12 WHERE a = 10", oc000},
			{1, "ROLLBACK", "ROLLBACK"},
		}, "2,11"},
		{"two inserts of a key", Touching, []step{
			{0, "BEGIN", "BEGIN"}, {0, "INSERT INTO k VALUES (1)", "INSERT 0 1"},
			{1, "INSERT INTO k VALUES (1)", oc000},
			{0, "COMMIT", "COMMIT"},
		}, "1,2"},
		{"DDL meets readers", Touching, []step{
			{1, "SELECT a FROM t", "SELECT 2"}, {2, "SELECT 1", "SELECT 1"},
			{0, "ALTER TABLE t ADD COLUMN b int", "ALTER TABLE"},
			{0, "SELECT b FROM t", "SELECT 2"},
			{1, "SELECT a FROM t", oc001}, {1, "SELECT a FROM t", "SELECT 2"},
			{2, "SELECT 1", "SELECT 1"}, {2, "SELECT a FROM k", "SELECT 0"},
			{2, "SELECT 1; SELECT a FROM t; SELECT 2", "SELECT 1,error " + oc001}, {2, "SELECT a FROM t", "SELECT 2"},
			{3, "BEGIN", "BEGIN"}, {3, "SELECT a FROM t", oc001}, {3, "SELECT a FROM t", aborted}, {3, "ROLLBACK", "ROLLBACK"},
		}, "1,2"},
		{"strict", Strict, []step{
			{1, "SELECT 1", "SELECT 1"}, {2, "SELECT 1", "SELECT 1"},
			{0, "CREATE TABLE u (a int)", "CREATE TABLE"}, {0, "SELECT 1", "SELECT 1"},
			{1, "SELECT 1", oc001}, {1, "SELECT 1", "SELECT 1"},
			{2, "BEGIN", "BEGIN"}, {2, "SELECT 1", oc001}, {2, "ROLLBACK", "ROLLBACK"}, {2, "SELECT 1", "SELECT 1"},
			{1, "BEGIN", "BEGIN"}, {1, "INSERT INTO k VALUES (1)", "INSERT 0 1"},
			{0, "CREATE TABLE v (a int)", "CREATE TABLE"},
			{1, "COMMIT", oc001}, {1, "SELECT a FROM k", "SELECT 0"},
		}, "1,2"},
		{"none", NoConflicts, []step{
			{1, "SELECT a FROM t", "SELECT 2"}, {0, "ALTER TABLE t ADD COLUMN b int", "ALTER TABLE"}, {1, "SELECT a FROM t", "SELECT 2"},
		}, "1,2"},
		{"DDL does not wait for idle transactions", Touching, []step{
			{1, "BEGIN", "BEGIN"}, {1, "SELECT a FROM t", "SELECT 2"},
			{2, "BEGIN", "BEGIN"}, {2, "INSERT INTO t VALUES (3)", "INSERT 0 1"},
			{3, "BEGIN", "BEGIN"}, {3, "INSERT INTO t VALUES (4)", "INSERT 0 1"},
			{4, "BEGIN", "BEGIN"}, {4, "INSERT INTO k VALUES (4)", "INSERT 0 1"},
			{0, "ALTER TABLE t ADD COLUMN b int", "ALTER TABLE"},
			{1, "SELECT a FROM t", oc001}, {1, "SELECT a FROM t", aborted}, {1, "COMMIT", "ROLLBACK"}, {1, "SELECT a FROM t", "SELECT 2"},
			{2, "COMMIT", oc001}, {2, "SELECT 1", "SELECT 1"},
			{3, "ROLLBACK", "ROLLBACK"},
			{4, "COMMIT", "COMMIT"}, {4, "SELECT a FROM k", "SELECT 1"},
		}, "1,2"},
	} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement} {
			t.Run(tt.name+"/"+mode.String(), func(t *testing.T) {
				c := start(t, func(c *Config) { c.Conflicts = tt.conflicts })
				c.setup(t, "CREATE TABLE t (a int); CREATE TABLE k (a int PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
				conns := make([]*pgx.Conn, 5)
				for i := range conns {
					conns[i] = c.pgx(t, mode)
				}
				for i, s := range tt.steps {
					got := say(t, conns[s.session], mode, s.sql)
					if got != s.want {
						t.Fatalf("step %d, session %d: %s: %s, want %s", i, s.session, s.sql, got, s.want)
					}
				}
				if got := c.one(t, "SELECT string_agg(a::text, ',' ORDER BY a) FROM t"); got != tt.rows {
					t.Errorf("t has %s, want %s", got, tt.rows)
				}
			})
		}
	}
}

// say runs SQL and gives its error or tags.
func say(t *testing.T, conn *pgx.Conn, mode pgx.QueryExecMode, sql string) string {
	t.Helper()
	if mode == pgx.QueryExecModeSimpleProtocol || strings.Contains(sql, ";") {
		tags, code := run(t, conn.PgConn(), sql)
		if code != "" {
			if len(tags) > 0 {
				return strings.Join(tags, ",") + ",error " + code
			}
			return code
		}
		return strings.Join(tags, ",")
	}
	tag, err := conn.Exec(deadline(t), sql)
	if err != nil {
		return codeOf(t, err)
	}
	return tag.String()
}

// TestStaleStatement: a prepared statement of before the change meets OC001, not
// what PostgreSQL thinks of its plan, and works again after.
func TestStaleStatement(t *testing.T) {
	c := start(t)
	c.setup(t, "CREATE TABLE t (a int)")
	a, b := c.connect(t), c.connect(t)
	ctx := deadline(t)
	if _, err := a.Prepare(ctx, "s", "SELECT * FROM t", nil); err != nil {
		t.Fatal(err)
	}
	must(t, b, "ALTER TABLE t ADD COLUMN b int")
	if got := codeOf(t, a.ExecPrepared(ctx, "s", nil, nil, nil).Read().Err); got != oc001 {
		t.Error(got)
	}
	if got := codeOf(t, a.ExecPrepared(ctx, "s", nil, nil, nil).Read().Err); got != "0A000 cached plan must not change result type" {
		t.Error(got)
	}
}

// TestChanged: what a worker changes meets the sessions too.
func TestChanged(t *testing.T) {
	c := start(t)
	c.setup(t, "CREATE TABLE t (a int)")
	conn := c.connect(t)
	c.proxy.Changed("t")
	if _, code := run(t, conn, "SELECT 1"); code != "" {
		t.Error(code)
	}
	if _, code := run(t, conn, "SELECT a FROM t"); code != oc001 {
		t.Error(code)
	}
	c.proxy.Changed()
	if _, code := run(t, conn, "SELECT 1"); code != oc001 {
		t.Error(code)
	}
	must(t, conn, "BEGIN; SELECT a FROM t")
	c.proxy.RollBackIdle("u")
	must(t, conn, "SELECT a FROM t")
	c.proxy.RollBackIdle("t")
	if _, code := run(t, conn, "SELECT 1"); code != oc001 {
		t.Error(code)
	}
}

// scripted are hooks that do what a test says.
type scripted struct {
	mu      sync.Mutex
	commits int
	refuse  map[int]bool // commits that fail
	faults  map[string]Fault
}

func (h *scripted) Commit() *policy.Refusal {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.commits++; h.refuse[h.commits] {
		return &policy.DataConflict
	}
	return nil
}

func (h *scripted) Statement(sql string) Fault {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.faults[sql]
	delete(h.faults, sql)
	return f
}

// TestCommitFaults makes certain commits fail, in all the ways to commit.
func TestCommitFaults(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			h := &scripted{refuse: map[int]bool{2: true, 4: true, 6: true, 8: true}}
			c := start(t, func(c *Config) { c.Hooks = h })
			c.setup(t, "CREATE TABLE t (a int)")
			conn := c.pgx(t, mode)
			var got []string
			for _, sql := range []string{
				"INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)",
				"BEGIN", "INSERT INTO t VALUES (3)", "COMMIT",
				"BEGIN", "INSERT INTO t VALUES (4)", "COMMIT",
				"CREATE TABLE u (a int)", "CREATE TABLE v (a int)",
				"BEGIN", "SELECT 1", "COMMIT",
				"BEGIN", "INSERT INTO t VALUES (5)", "SELECT 1/0", "COMMIT",
				"BEGIN", "INSERT INTO t VALUES (6)", "ROLLBACK",
				"INSERT INTO t VALUES ('x')", "INSERT INTO t VALUES (7)",
				"BEGIN; INSERT INTO t VALUES (8); COMMIT; SELECT 1",
			} {
				got = append(got, say(t, conn, mode, sql))
			}
			want := []string{
				"INSERT 0 1", oc000,
				"BEGIN", "INSERT 0 1", "COMMIT",
				"BEGIN", "INSERT 0 1", oc000,
				"CREATE TABLE", oc000,
				"BEGIN", "SELECT 1", "COMMIT",
				"BEGIN", "INSERT 0 1", "22012 division by zero", "ROLLBACK",
				"BEGIN", "INSERT 0 1", "ROLLBACK",
				`22P02 invalid input syntax for type integer: "x"`, "INSERT 0 1",
				"BEGIN,INSERT 0 1,error " + oc000,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if got := c.one(t, "SELECT string_agg(a::text, ',' ORDER BY a) || (to_regclass('u') IS NULL) || (to_regclass('v') IS NULL) FROM t"); got != "1,3,7falsetrue" {
				t.Error(got)
			}
			if status := conn.PgConn().TxStatus(); status != 'I' {
				t.Errorf("status %c", status)
			}
		})
	}
}

// TestStatementFaults: a refusal, a delay, and connections that end before and
// after a statement.
func TestStatementFaults(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
		t.Run(mode.String(), func(t *testing.T) {
			h := &scripted{faults: map[string]Fault{
				"SELECT 1":                 {Refusal: &policy.SchemaConflict},
				"SELECT 2":                 {Delay: 50 * time.Millisecond},
				"INSERT INTO t VALUES (1)": {Refusal: &policy.SchemaConflict},
				"INSERT INTO t VALUES (2)": {DropBefore: true},
				"INSERT INTO t VALUES (3)": {DropAfter: true},
				"COMMIT":                   {DropAfter: true},
				"SELECT 3":                 {DropAfter: true},
				"BEGIN":                    {Refusal: &policy.SchemaConflict},
			}}
			c := start(t, func(c *Config) { c.Hooks = h })
			c.setup(t, "CREATE TABLE t (a int)")
			conn := c.pgx(t, mode)
			for _, sql := range []string{"SELECT 1", "INSERT INTO t VALUES (1)", "BEGIN"} {
				if got := say(t, conn, mode, sql); got != oc001 {
					t.Errorf("%s: %s", sql, got)
				}
			}
			began := time.Now()
			if got := say(t, conn, mode, "SELECT 2"); got != "SELECT 1" || time.Since(began) < 50*time.Millisecond {
				t.Errorf("%s after %v", got, time.Since(began))
			}
			lost := func(sql string, before ...string) {
				t.Helper()
				conn := c.pgx(t, mode)
				for _, b := range before {
					say(t, conn, mode, b)
				}
				_, err := conn.Exec(deadline(t), sql)
				if pg := (*pgconn.PgError)(nil); err == nil || errors.As(err, &pg) || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v, want a lost connection", sql, err)
				}
			}
			lost("INSERT INTO t VALUES (2)")
			lost("INSERT INTO t VALUES (3)")
			lost("COMMIT", "BEGIN", "INSERT INTO t VALUES (4)")
			lost("SELECT 3")
			if got := c.one(t, "SELECT string_agg(a::text, ',' ORDER BY a) FROM t"); got != "3,4" {
				t.Errorf("t has %s, want 3,4", got)
			}
		})
	}
}

// TestOpenTransactionEnds: a client that leaves, leaves no transaction behind.
func TestOpenTransactionEnds(t *testing.T) {
	c := start(t)
	c.setup(t, "CREATE TABLE t (a int)")
	conn := c.connect(t)
	must(t, conn, "BEGIN; INSERT INTO t VALUES (1)")
	conn.Close(deadline(t))
	poll(t, "the sessions to end", func() bool { return c.proxy.Sessions() == 0 })
	c.setup(t, "ALTER TABLE t ADD COLUMN b int")
}

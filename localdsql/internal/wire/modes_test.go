package wire

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var modes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
	pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
}

// TestModes does what programs do in each of pgx's modes.
func TestModes(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			c := start(t)
			conn := c.pgx(t, mode)
			ctx := deadline(t)
			exec := func(sql string, args ...any) string {
				_, err := conn.Exec(ctx, sql, args...)
				return codeOf(t, err)
			}
			for _, step := range []struct {
				sql  string
				args []any
				want string
			}{
				{sql: "CREATE TABLE t (a int PRIMARY KEY, b text)"},
				{sql: "INSERT INTO t VALUES ($1, $2)", args: []any{1, "one"}},
				{sql: "INSERT INTO t VALUES ($1, $2)", args: []any{2, "two"}},
				{sql: "INSERT INTO t VALUES ($1, $2)", args: []any{2, "two"}, want: `23505 duplicate key value violates unique constraint "t_pkey"`},
				{sql: "SAVEPOINT s", want: "0A000 unsupported transaction statement: SAVEPOINT"},
				{sql: "SELECT 1"},
				{sql: "BEGIN"},
				{sql: "CREATE TABLE u (a int)"},
				{sql: "INSERT INTO t VALUES ($1, $2)", args: []any{3, "three"}, want: ddlWithDML},
				{sql: "CREATE TABLE v (a int)", want: aborted},
				{sql: "ROLLBACK"},
				{sql: "BEGIN"},
				{sql: "CREATE TABLE u (a int)"},
				{sql: "CREATE TABLE v (a int)", want: secondDDL},
				{sql: "COMMIT"}, // tagged ROLLBACK, which Exec does not mind
				{sql: "CREATE TABLE u (a int)"},
				{sql: "UPDATE t SET b = $1", args: []any{"new"}},
			} {
				if got := exec(step.sql, step.args...); got != step.want {
					t.Fatalf("%s: %q, want %q", step.sql, got, step.want)
				}
			}
			rows, err := conn.Query(ctx, "SELECT a, b FROM t WHERE a >= $1 ORDER BY a", 1)
			if err != nil {
				t.Fatal(err)
			}
			type row struct {
				A int
				B string
			}
			got, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]row{{1, "new"}, {2, "new"}}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestBatch: what stands before the failure in a batch is undone, as the whole
// batch is one transaction, and the connection goes on.
func TestBatch(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			c := start(t)
			c.setup(t, "CREATE TABLE t (a int)")
			conn := c.pgx(t, mode)
			ctx := deadline(t)
			send := func(stmts ...string) error {
				b := &pgx.Batch{}
				for _, s := range stmts {
					b.Queue(s)
				}
				return conn.SendBatch(ctx, b).Close()
			}
			if err := send("INSERT INTO t VALUES (1)", "SELECT 1", "INSERT INTO t VALUES (2)"); err != nil {
				t.Fatal(err)
			}
			err := send("INSERT INTO t VALUES (3)", "SELECT 1/(a - 3) FROM t WHERE a = 3", "INSERT INTO t VALUES (4)")
			if got := codeOf(t, err); !strings.HasPrefix(got, "22012") {
				t.Error(got)
			}
			if got := codeOf(t, send("INSERT INTO t VALUES (3)", "CREATE TABLE u (a int)", "INSERT INTO t VALUES (4)")); got != ddlWithDML {
				t.Error(got)
			}
			if got := codeOf(t, send("INSERT INTO t VALUES (3)", "SAVEPOINT s", "INSERT INTO t VALUES (4)")); !strings.HasPrefix(got, "0A000 unsupported transaction statement") {
				t.Error(got)
			}
			if err := send("INSERT INTO t VALUES (5)"); err != nil {
				t.Fatal(err)
			}
			if got := c.one(t, "SELECT string_agg(a::text, ',' ORDER BY a) FROM t"); got != "1,2,5" {
				t.Errorf("t has %s, want 1,2,5", got)
			}
		})
	}
}

// TestPipeline has several Syncs in flight, with a failure between them: what
// was before it is committed or undone as each Sync says.
func TestPipeline(t *testing.T) {
	c := start(t)
	c.setup(t, "CREATE TABLE t (a int)")
	client := c.raw(t)
	for _, tt := range []struct {
		name string
		runs []string // statements, with | for Sync
		want []string // for each Sync
		rows string
	}{
		{"independent", []string{"INSERT INTO t VALUES (1)", "|", "INSERT INTO t VALUES (2)", "SELECT 1/0", "INSERT INTO t VALUES (3)", "|", "INSERT INTO t VALUES (4)", "|"},
			[]string{"INSERT 0 1 I", "INSERT 0 1,error 22012 I", "INSERT 0 1 I"}, "1,4"},
		{"a refusal", []string{"INSERT INTO t VALUES (1)", "|", "INSERT INTO t VALUES (2)", "SAVEPOINT s", "INSERT INTO t VALUES (3)", "|", "INSERT INTO t VALUES (4)", "|"},
			[]string{"INSERT 0 1 I", "INSERT 0 1,error 0A000 I", "INSERT 0 1 I"}, "1,4"},
		{"a block over Syncs", []string{"BEGIN", "INSERT INTO t VALUES (1)", "|", "INSERT INTO t VALUES (2)", "COMMIT", "|", "INSERT INTO t VALUES (3)", "|"},
			[]string{"BEGIN,INSERT 0 1 T", "INSERT 0 1,COMMIT I", "INSERT 0 1 I"}, "1,2,3"},
		{"a failed block over Syncs", []string{"BEGIN", "INSERT INTO t VALUES (1)", "CREATE TABLE u (a int)", "SELECT 1", "|", "SAVEPOINT s", "|", "COMMIT", "|", "INSERT INTO t VALUES (3)", "|"},
			[]string{"BEGIN,INSERT 0 1,error 0A000 E", "error 25P02 E", "ROLLBACK I", "INSERT 0 1 I"}, "3"},
		{"a read fails unseen before the commit", []string{"BEGIN", "INSERT INTO t VALUES (1)", "SELECT 1/0", "|", "COMMIT", "|"},
			[]string{"BEGIN,INSERT 0 1,error 22012 E", "ROLLBACK I"}, ""},
		{"two blocks in one Sync", []string{"BEGIN", "INSERT INTO t VALUES (1)", "COMMIT", "BEGIN", "INSERT INTO t VALUES (2)", "ROLLBACK", "|"},
			[]string{"BEGIN,INSERT 0 1,COMMIT,BEGIN,INSERT 0 1,ROLLBACK I"}, "1"},
		{"DDL by DDL", []string{"CREATE TABLE u (a int)", "|", "CREATE TABLE v (a int)", "|", "DROP TABLE u", "DROP TABLE v", "|", "INSERT INTO t VALUES (1)", "|", "DROP TABLE u", "|", "DROP TABLE v", "|"},
			[]string{"CREATE TABLE I", "CREATE TABLE I", "DROP TABLE,error 0A000 I", "INSERT 0 1 I", "DROP TABLE I", "DROP TABLE I"}, "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.setup(t, "TRUNCATE t")
			for _, s := range tt.runs {
				if s == "|" {
					client.f.Send(syncNow())
				} else {
					for _, m := range statement(s) {
						client.f.Send(m)
					}
				}
			}
			client.send()
			for i, want := range tt.want {
				a := client.untilReady()
				if got := strings.Join(a.text, ",") + " " + string(a.status); got != want {
					t.Errorf("Sync %d: %s, want %s", i, got, want)
				}
			}
			if got := c.one(t, "SELECT coalesce(string_agg(a::text, ',' ORDER BY a), '') FROM t"); got != tt.rows {
				t.Errorf("t has %q, want %q", got, tt.rows)
			}
		})
	}
}

// TestPrepared runs prepared statements again: DDL, and a portal in parts.
func TestPrepared(t *testing.T) {
	c := start(t)
	c.setup(t, "CREATE TABLE t (a int)")
	client := c.raw(t)
	client.send(parse("make", "CREATE TABLE u (a int)"), parse("drop", "DROP TABLE u"), parse("read", "SELECT generate_series(1, 5)"), syncNow())
	client.untilReady()
	for i := range 3 {
		client.send(bindTo("", "make"), execute("", 0), syncNow(), bindTo("", "drop"), execute("", 0), syncNow(),
			bindTo("", "make"), execute("", 0), bindTo("", "drop"), execute("", 0), syncNow())
		for _, want := range []string{"CREATE TABLE", "DROP TABLE", "CREATE TABLE,error 0A000"} {
			if got := strings.Join(client.untilReady().text, ","); got != want {
				t.Errorf("round %d: %s, want %s", i, got, want)
			}
		}
	}
	client.send(bindTo("p", "read"), execute("p", 2), execute("p", 2), execute("p", 2), syncNow())
	if got := strings.Join(client.untilReady().text, ","); got != "suspended,suspended,SELECT 1" {
		t.Error(got)
	}
}

// TestCopy copies in and out, by pgx and as a failure in the middle.
func TestCopy(t *testing.T) {
	c := start(t)
	c.setup(t, "CREATE TABLE t (a int PRIMARY KEY)")
	conn := c.pgx(t, pgx.QueryExecModeCacheStatement)
	if err := copyRows(t, conn, 2500); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	tag, err := conn.PgConn().CopyTo(deadline(t), &out, "COPY t TO STDOUT")
	if err != nil || tag.RowsAffected() != 2500 || bytes.Count(out.Bytes(), []byte("\n")) != 2500 {
		t.Errorf("%v, %d bytes, %v", tag, out.Len(), err)
	}
	if got := codeOf(t, copyRows(t, conn, 10)); !strings.HasPrefix(got, "23505") {
		t.Error(got)
	}
	// A long input of which the first row is wrong: nobody may wait for the other.
	bad := strings.NewReader("x\n" + strings.Repeat("1\n", 1<<20))
	if _, err := conn.PgConn().CopyFrom(deadline(t), bad, "COPY t FROM STDIN"); !strings.HasPrefix(codeOf(t, err), "22P02") {
		t.Error(err)
	}
	if _, err := conn.Exec(deadline(t), "TRUNCATE t"); err == nil {
		t.Error("TRUNCATE is not refused")
	}
	must(t, conn.PgConn(), "DELETE FROM t WHERE a < 10")
	if got := c.one(t, "SELECT count(*) FROM t"); got != "2490" {
		t.Error(got)
	}
}

// TestCopyStops: a server that has enough of a COPY is heard although the client
// sends nothing.
func TestCopyStops(t *testing.T) {
	c := start(t)
	c.setup(t, "CREATE TABLE t (a int)")
	conn := c.connect(t)
	r := &stalled{ctx: deadline(t), first: "x\n"}
	_, err := conn.CopyFrom(deadline(t), r, "COPY t FROM STDIN")
	if !strings.HasPrefix(codeOf(t, err), "22P02") {
		t.Error(err)
	}
	must(t, conn, "INSERT INTO t VALUES (1)")
}

// stalled is a reader with a bad line and then nothing for a while.
type stalled struct {
	ctx   context.Context
	first string
	again bool
}

func (r *stalled) Read(b []byte) (int, error) {
	if !r.again {
		r.again = true
		return copy(b, r.first), nil
	}
	select {
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	case <-time.After(500 * time.Millisecond):
		return copy(b, "1\n"), nil
	}
}

// TestCancel cancels by a request and by a context.
func TestCancel(t *testing.T) {
	c := start(t)
	for _, sql := range []string{"SELECT pg_sleep(60)", "CREATE TABLE t AS SELECT 1", "UPDATE s SET a = 1 WHERE pg_sleep(60) IS NULL"} {
		if strings.HasPrefix(sql, "CREATE") {
			c.setup(t, "CREATE TABLE s (a int); INSERT INTO s VALUES (1)")
			continue
		}
		conn := c.connect(t)
		done := make(chan error, 1)
		go func() {
			_, err := conn.Exec(context.Background(), sql).ReadAll()
			done <- err
		}()
		// A request that comes before the statement has begun has no effect.
		for canceled := false; !canceled; {
			if err := conn.CancelRequest(deadline(t)); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-done:
				if got := codeOf(t, err); got != "57014 canceling statement due to user request" {
					t.Errorf("%s: %s", sql, got)
				}
				canceled = true
			case <-time.After(20 * time.Millisecond):
			}
		}
		must(t, conn, "SELECT 1")
	}

	pool := c.pgx(t, pgx.QueryExecModeExec)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := pool.Exec(ctx, "SELECT pg_sleep(60)"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	poll(t, "the backend to see that its client is gone or has cancelled", func() bool {
		return c.one(t, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active' AND pid <> pg_backend_pid() AND datname = current_database()") == "0"
	})
}

// poll waits until something is so.
func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(testPatience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// TestNotices: notices of a statement reach the client, those of the proxy's own
// statements do not.
func TestNotices(t *testing.T) {
	c := start(t)
	config, err := pgconn.ParseConfig(c.url)
	if err != nil {
		t.Fatal(err)
	}
	var notices []string
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notices = append(notices, n.Message) }
	conn, err := pgconn.ConnectConfig(deadline(t), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range []string{"DROP TABLE IF EXISTS nosuch", "BEGIN", "BEGIN", "COMMIT", "COMMIT"} {
		must(t, conn, sql)
	}
	want := []string{`table "nosuch" does not exist, skipping`, "there is already a transaction in progress", "there is no transaction in progress"}
	if diff := cmp.Diff(want, notices); diff != "" {
		t.Error(diff)
	}
}

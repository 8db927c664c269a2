package wire

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// TestRows finds the edge between 3,000 rows and 3,001 for each way to change
// rows, and that nothing of what is too much stays.
func TestRows(t *testing.T) {
	c := start(t)
	c.setup(t, `CREATE TABLE t (a int); CREATE TABLE parent (a int PRIMARY KEY); CREATE TABLE child (a int REFERENCES parent ON DELETE CASCADE)`)
	const fill = "INSERT INTO t SELECT generate_series(1, $n)"
	for _, tt := range []struct {
		name  string
		setup string
		run   func(t *testing.T, conn *pgx.Conn, n int) error
		// left is the number of rows in t, for n rows and for none
		done, undone func(n int) int
	}{
		{name: "INSERT … SELECT", run: one(fill)},
		{name: "INSERT … SELECT by Query", run: simple(fill)},
		{name: "RETURNING", run: one(fill + " RETURNING a")},
		{name: "WITH", run: one("WITH x AS (INSERT INTO t SELECT generate_series(1, $n) RETURNING a) SELECT count(*) FROM x")},
		{name: "EXPLAIN ANALYZE", run: one("EXPLAIN ANALYZE " + fill)},
		{
			name: "UPDATE", setup: "INSERT INTO t SELECT generate_series(1, 4000)",
			run:  one("UPDATE t SET a = 0 WHERE a <= $n"),
			done: func(n int) int { return 4000 }, undone: func(int) int { return 4000 },
		},
		{name: "in a block", run: func(t *testing.T, conn *pgx.Conn, n int) error {
			ctx := deadline(t)
			return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				for _, k := range []int{1000, n - 1001, 1} {
					if _, err := tx.Exec(ctx, "INSERT INTO t SELECT generate_series(1, $1::int)", k); err != nil {
						return err
					}
				}
				return nil
			})
		}},
		{name: "several statements in a Query", run: simple("INSERT INTO t SELECT generate_series(1, 2000); SELECT 1; INSERT INTO t SELECT generate_series(2001, $n)")},
		{name: "pipeline", run: func(t *testing.T, conn *pgx.Conn, n int) error {
			p := conn.PgConn().StartPipeline(deadline(t))
			for _, sql := range []string{"INSERT INTO t SELECT generate_series(1, 2999)", "SELECT 1", strings.ReplaceAll("INSERT INTO t SELECT generate_series(3000, $n)", "$n", itoa(n))} {
				p.SendQueryParams(sql, nil, nil, nil, nil)
			}
			return endPipeline(p)
		}},
		{name: "COPY", run: copyRows},
		{name: "portal in parts", run: func(t *testing.T, conn *pgx.Conn, n int) error {
			return c.partly(t, strings.ReplaceAll(fill+" RETURNING a", "$n", itoa(n)))
		}},
		{
			name:  "ON DELETE CASCADE",
			setup: "INSERT INTO parent VALUES (1); INSERT INTO t SELECT generate_series(1, 1)",
			run: func(t *testing.T, conn *pgx.Conn, n int) error {
				c.setup(t, strings.ReplaceAll("TRUNCATE parent CASCADE; INSERT INTO parent VALUES (1); INSERT INTO child SELECT 1 FROM generate_series(2, $n)", "$n", itoa(n)))
				_, err := conn.Exec(deadline(t), "DELETE FROM parent")
				if got := c.one(t, "SELECT count(*) FROM child"); (err == nil) != (got == "0") {
					t.Errorf("%d rows: %s left in child, error %v", n, got, err)
				}
				return err
			},
			done: func(int) int { return 1 }, undone: func(int) int { return 1 },
		},
	} {
		for _, n := range []int{3000, 3001} {
			t.Run(tt.name+"/"+itoa(n), func(t *testing.T) {
				c.setup(t, "TRUNCATE t, parent, child; "+tt.setup)
				conn := c.pgx(t, pgx.QueryExecModeExec)
				code := codeOf(t, tt.run(t, conn, n))
				want, left := "", func(n int) int { return n }
				if tt.done != nil {
					left = tt.done
				}
				if n > 3000 {
					if want, left = tooManyRows, tt.undone; left == nil {
						left = func(int) int { return 0 }
					}
				}
				if code != want {
					t.Errorf("%d rows: %q, want %q", n, code, want)
				}
				if got, want := c.one(t, "SELECT count(*) FROM t"), itoa(left(n)); got != want {
					t.Errorf("%d rows: %s in t, want %s", n, got, want)
				}
				if status := conn.PgConn().TxStatus(); status != 'I' {
					t.Errorf("status %c", status)
				}
				must(t, conn.PgConn(), "INSERT INTO t VALUES (1)")
			})
		}
	}
}

func itoa(n int) string {
	if n == 0 {
		return "0"
	}
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

// one runs a statement, with the number in it, by the extended protocol.
func one(sql string) func(*testing.T, *pgx.Conn, int) error {
	return func(t *testing.T, conn *pgx.Conn, n int) error {
		res := conn.PgConn().ExecParams(deadline(t), strings.ReplaceAll(sql, "$n", itoa(n)), nil, nil, nil, nil).Read()
		return res.Err
	}
}

func simple(sql string) func(*testing.T, *pgx.Conn, int) error {
	return func(t *testing.T, conn *pgx.Conn, n int) error {
		return conn.PgConn().Exec(deadline(t), strings.ReplaceAll(sql, "$n", itoa(n))).Close()
	}
}

func copyRows(t *testing.T, conn *pgx.Conn, n int) error {
	rows := make([][]any, n)
	for i := range rows {
		rows[i] = []any{int32(i)}
	}
	_, err := conn.CopyFrom(deadline(t), pgx.Identifier{"t"}, []string{"a"}, pgx.CopyFromRows(rows))
	return err
}

// partly asks for a statement's rows ten at a time, twice, and commits.
func (c *cluster) partly(t *testing.T, sql string) error {
	t.Helper()
	client := c.raw(t)
	client.send(parse("", sql), bindTo("", ""), execute("", 10), execute("", 10), syncNow())
	return client.untilReady().err
}

// endPipeline syncs a pipeline and gives its first error.
func endPipeline(p *pgconn.Pipeline) error {
	if err := p.Sync(); err != nil {
		return err
	}
	var first error
	for {
		res, err := p.GetResults()
		if err != nil && first == nil {
			first = err
		}
		switch r := res.(type) {
		case *pgconn.ResultReader:
			if _, err := r.Close(); err != nil && first == nil {
				first = err
			}
		case *pgconn.PipelineSync:
			if err := p.Close(); err != nil && first == nil {
				first = err
			}
			return first
		case nil:
			if err == nil {
				return first
			}
		}
	}
}

// TestOtherLimits: what is too large or too old fails when it commits, and
// leaves a connection that can be used.
func TestOtherLimits(t *testing.T) {
	c := start(t, func(c *Config) { c.Limits.Bytes = 1000 })
	c.setup(t, "CREATE TABLE t (a text)")
	aging := start(t, func(c *Config) { c.Limits.Age = 200 * time.Millisecond })
	long := strings.Repeat("x", 1000)
	const tooLarge = "54000 transaction size limit 10mb exceeded"
	const old = "54000 transaction age limit of 300s exceeded"
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement} {
		t.Run(mode.String(), func(t *testing.T) {
			ctx := deadline(t)
			var conn *pgx.Conn
			exec := func(sql string, args ...any) string {
				_, err := conn.Exec(ctx, sql, args...)
				return codeOf(t, err)
			}
			expect := func(what, got, want string) {
				t.Helper()
				if got != want {
					t.Errorf("%s: %q, want %q", what, got, want)
				}
			}
			conn = c.pgx(t, mode)
			expect("autocommit", exec("INSERT INTO t VALUES ($1)", long), tooLarge)
			expect("one that is short", exec("INSERT INTO t VALUES ($1)", "x"), "")
			expect("begin", exec("BEGIN"), "")
			expect("insert", exec("INSERT INTO t VALUES ($1)", long), "")
			expect("commit", exec("COMMIT"), tooLarge)
			if status := conn.PgConn().TxStatus(); status != 'I' {
				t.Errorf("status %c", status)
			}

			conn = aging.pgx(t, mode)
			// age opens a block and lets it become too old in a statement.
			age := func() {
				t.Helper()
				for {
					expect("begin", exec("BEGIN"), "")
					got := exec("SELECT pg_sleep(0.3)")
					if got == old { // already, as happens on a busy machine
						expect("rollback", exec("ROLLBACK"), "")
						continue
					}
					expect("too old at the end of a statement", got, "")
					return
				}
			}
			age()
			expect("commit", exec("COMMIT"), old)
			if status := conn.PgConn().TxStatus(); status != 'I' {
				t.Errorf("status %c", status)
			}
			age()
			expect("a statement that is too late", exec("SELECT 1"), old)
			expect("after it", exec("SELECT 1"), aborted)
			expect("rollback", exec("ROLLBACK"), "")
		})
	}
	if got := c.one(t, "SELECT count(*) FROM t"); got != "2" {
		t.Errorf("%s rows, want 2", got)
	}
}

// TestConnectionLife: the server ends a connection that is too old, with a
// message.
func TestConnectionLife(t *testing.T) {
	c := start(t, func(c *Config) { c.Limits.Connection = 300 * time.Millisecond })
	conn := c.connect(t)
	_, err := conn.Exec(deadline(t), "SELECT pg_sleep(30)").ReadAll()
	if got := codeOf(t, err); got != "57P01 terminating connection because it has reached its maximum duration" {
		t.Error(got)
	}
}

// TestMessageSize: a message that is too long ends the connection.
func TestMessageSize(t *testing.T) {
	c := start(t, func(c *Config) { c.Limits.Message = 1000 })
	conn := c.connect(t)
	must(t, conn, "SELECT 1")
	if _, err := conn.Exec(deadline(t), "SELECT '"+strings.Repeat("x", 1000)+"'").ReadAll(); err == nil {
		t.Error("no error")
	}
	if !conn.IsClosed() {
		t.Error("the connection still lives")
	}
}

package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/internal/sqllex"
	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

// permissive refuses nothing: what is left is PostgreSQL.
type permissive struct{}

func (permissive) Decide(sql string) *policy.Decision {
	d := &policy.Decision{SQL: sql, Text: sql}
	info := sqllex.Classify(sql)
	switch {
	case info.Kind == sqllex.Begin:
		d.Class = policy.Begin
	case info.Kind == sqllex.Commit:
		d.Class = policy.Commit
	case info.Kind == sqllex.Rollback:
		d.Class = policy.Rollback
	case info.IsDML(), info.IsDDL():
		d.Class = policy.DML
	}
	return d
}

func (permissive) Split(sql string) []string { return policy.New(dsql.Profile{}).Split(sql) }

func (permissive) CheckParameter(string, string) *policy.Refusal { return nil }

// noHooks injects nothing, but makes the proxy ask.
type noHooks struct{}

func (noHooks) Commit() *policy.Refusal { return nil }
func (noHooks) Statement(string) Fault  { return Fault{} }

// statements are what random sessions run: all kinds of answers and failures.
var statements = []string{
	"BEGIN", "BEGIN", "BEGIN READ ONLY", "COMMIT", "COMMIT", "ROLLBACK",
	"SELECT a FROM t ORDER BY a", "SELECT 1/0", "SELECT", "", "SELCT", "SELECT * FROM nosuch",
	"SELECT $1::int + 1 AS b", "INSERT INTO t VALUES ($1::int)", "INSERT INTO t VALUES ($1::int) RETURNING a",
	"INSERT INTO t VALUES (1)", "INSERT INTO t SELECT max(a) + 1 FROM t RETURNING a", "UPDATE t SET a = a + 1",
	"DELETE FROM t WHERE a > 5", "WITH x AS (INSERT INTO t VALUES (7) RETURNING a) SELECT a FROM x",
	"INSERT INTO t VALUES ('x')", "INSERT INTO once VALUES (1)", "INSERT INTO child VALUES (1)",
	"COPY t FROM STDIN", "COPY t TO STDOUT", "CREATE TABLE u (a int)", "DROP TABLE u",
	"SELECT generate_series(1, 5)", "SELECT repeat('x', 40000)", "SHOW search_path",
	"DO $$ BEGIN RAISE NOTICE 'noted'; END $$",
	"DELETE FROM parent", "UPDATE t SET a = a RETURNING a",
}

// session makes what a client might say: mostly sensible, sometimes not.
func randomMessages(r *rand.Rand) []pgproto3.FrontendMessage {
	name := func() string { return []string{"", "", "", "s", "p"}[r.IntN(5)] }
	// What a failed Query leaves of the unnamed portal in a failed transaction is
	// not the same: there is no use for it.
	other := func() string { return []string{"s", "p"}[r.IntN(2)] }
	text := func() string { return statements[r.IntN(len(statements))] }
	bind := func(portal, statement, sql string) *pgproto3.Bind {
		b := &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: statement}
		if strings.Contains(sql, "$1") || r.IntN(20) == 0 {
			b.Parameters = [][]byte{[]byte(strconv.Itoa(r.IntN(10)))}
		}
		return b
	}
	rows := func() uint32 { return []uint32{0, 0, 0, 2}[r.IntN(4)] }
	object := func() byte { return "SP"[r.IntN(2)] }
	copied := func(sql string) (ms []pgproto3.FrontendMessage) {
		if !strings.Contains(sql, "FROM STDIN") {
			return nil
		}
		failed := false
		for range r.IntN(4) {
			data := []string{"1\n", "2\n3\n", "x\n", strings.Repeat("4\n", 20000)}[r.IntN(4)]
			ms = append(ms, &pgproto3.CopyData{Data: []byte(data)})
			failed = failed || data[0] == 'x'
		}
		switch r.IntN(8) {
		case 0:
			return append(ms, &pgproto3.CopyFail{Message: "no more"})
		case 1:
			if failed { // else the server ends the connection at what comes next
				return ms
			}
		}
		return append(ms, &pgproto3.CopyDone{})
	}
	var ms []pgproto3.FrontendMessage
	for range 2 + r.IntN(12) {
		switch r.IntN(14) {
		case 0, 1:
			sql := text()
			ms = append(append(ms, &pgproto3.Query{String: sql}), copied(sql)...)
		case 2:
			var several []string
			var rows []pgproto3.FrontendMessage
			for range 2 + r.IntN(3) {
				sql := text()
				several = append(several, sql)
				rows = append(rows, copied(sql)...)
			}
			// Behind writes without a Sync the proxy does not look for syntax errors
			// before it runs the first statement.
			ms = append(append(ms, &pgproto3.Sync{}, &pgproto3.Query{String: strings.Join(several, "; ")}), rows...)
		case 3, 4, 5, 6, 7, 8:
			sql, statement, portal := text(), name(), name()
			ms = append(ms, &pgproto3.Parse{Name: statement, Query: sql})
			if r.IntN(4) == 0 {
				ms = append(ms, &pgproto3.Describe{ObjectType: 'S', Name: statement})
			}
			ms = append(ms, bind(portal, statement, sql))
			if r.IntN(2) == 0 {
				ms = append(ms, &pgproto3.Describe{ObjectType: 'P', Name: portal})
			}
			ms = append(append(ms, &pgproto3.Execute{Portal: portal, MaxRows: rows()}), copied(sql)...)
		case 9:
			ms = append(ms, bind(name(), name(), ""))
		case 10:
			ms = append(ms, &pgproto3.Execute{Portal: other(), MaxRows: rows()})
		case 11:
			ms = append(ms, &pgproto3.Close{ObjectType: object(), Name: name()})
		case 12:
			ms = append(ms, &pgproto3.Describe{ObjectType: object(), Name: other()})
		case 13:
			ms = append(ms, &pgproto3.Flush{})
		}
		if r.IntN(2) == 0 {
			ms = append(ms, &pgproto3.Sync{})
		}
	}
	return ms
}

// exchange sends messages all at once and gives the answers as text. The
// sentinels at their end make sure that there is an end.
func exchange(conn net.Conn, ms []pgproto3.FrontendMessage) ([]string, error) {
	const sentinel = "this is the end"
	ms = append(ms[:len(ms):len(ms)], &pgproto3.CopyFail{Message: "the end"}, &pgproto3.Sync{},
		&pgproto3.Query{String: "ROLLBACK"}, &pgproto3.Query{String: "DEALLOCATE ALL"}, &pgproto3.Query{String: "SELECT '" + sentinel + "'"})
	var b []byte
	for _, m := range ms {
		b, _ = m.Encode(b)
	}
	if err := conn.SetDeadline(time.Now().Add(testPatience)); err != nil {
		return nil, err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(b)
		sent <- err
	}()
	r := newFrameReader(conn, -1)
	var got []string
	for end := false; ; {
		typ, size, err := r.peek()
		if err != nil {
			return got, err
		}
		frame, err := r.take(size)
		if err != nil {
			return got, err
		}
		got = append(got, show(typ, frame[5:]))
		end = end || typ == 'D' && strings.HasSuffix(string(frame), sentinel)
		if end && typ == 'Z' {
			return got, <-sent
		}
	}
}

// show makes an answer comparable: without where in PostgreSQL it was made.
func show(typ byte, body []byte) string {
	if typ == 'T' {
		body = withoutTables(body)
	}
	if typ != 'E' && typ != 'N' {
		if len(body) > 60 {
			body = append(binary.AppendUvarint(nil, uint64(len(body))), body[:60]...)
		}
		return fmt.Sprintf("%c %q", typ, body)
	}
	m := &pgproto3.ErrorResponse{}
	if err := m.Decode(body); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%c %s %s %s detail %q hint %q position %d", typ, m.Severity, m.Code, m.Message, m.Detail, m.Hint, m.Position)
}

// withoutTables removes the ids of tables from a RowDescription.
func withoutTables(body []byte) []byte {
	m := &pgproto3.RowDescription{}
	if err := m.Decode(body); err != nil {
		return body
	}
	for i := range m.Fields {
		m.Fields[i].TableOID = 0
	}
	b, _ := m.Encode(nil)
	return b[5:]
}

const differentialSchema = `CREATE TABLE t (a int); CREATE TABLE once (a int PRIMARY KEY);
CREATE TABLE parent (a int PRIMARY KEY); CREATE TABLE child (a int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)`

const differentialReset = `DROP TABLE IF EXISTS u; TRUNCATE t, once, parent, child; INSERT INTO t VALUES (1), (2), (3)`

const differentialState = `SELECT (SELECT string_agg(a::text, ',' ORDER BY a) FROM t) || ' ' || (SELECT count(*) FROM once) || ' ' || (to_regclass('u') IS NULL)`

// hijack gives a connection that nobody else reads.
func hijack(t testing.TB, url string) net.Conn {
	t.Helper()
	conn, err := pgconn.Connect(deadline(t), url)
	if err != nil {
		t.Fatal(err)
	}
	if err := settle(deadline(t), conn); err != nil {
		t.Fatal(err)
	}
	h, err := conn.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Conn.Close() })
	return h.Conn
}

// TestLikePostgreSQL has random clients talk to PostgreSQL itself and through
// the proxy: without rules to enforce, all answers and all effects must be the
// same.
func TestLikePostgreSQL(t *testing.T) {
	rounds := 100
	seed := uint64(1)
	if s := os.Getenv("WIRE_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed, rounds = n, 5000
	}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		always bool // measure
	}{
		{"nothing to enforce", func(c *Config) { c.Limits.Rows = -1 }, false},
		{"counting by tags", func(c *Config) { c.Limits.Rows = 1 << 40 }, false},
		{"counting by statistics", func(c *Config) { c.Limits.Rows = 1 << 40 }, true},
		{"with hooks", func(c *Config) { c.Limits.Rows, c.Hooks = 1<<40, noHooks{} }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := start(t, func(c *Config) { c.Policy = permissive{} }, tt.change)
			if tt.always {
				c.proxy.cascade = cascade{known: true, exists: true}
			}
			plain := start(t)
			c.setup(t, differentialSchema)
			plain.setup(t, differentialSchema)
			compareRandom(t, c, plain, seed, rounds)
		})
	}
}

func compareRandom(t *testing.T, c, plain *cluster, seed uint64, rounds int) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	side := func(url string) *pgconn.PgConn {
		conn, err := pgconn.Connect(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		return conn
	}
	left := side(c.direct)
	right := side(plain.direct)
	direct := plain.direct + "&default_transaction_isolation=repeatable%20read&timezone=UTC"
	proxied, straight := hijack(t, c.url), hijack(t, direct)
	for i := range rounds {
		n := seed<<32 + uint64(i)
		ms := randomMessages(rand.New(rand.NewPCG(n, 0)))
		for _, conn := range []*pgconn.PgConn{left, right} {
			if _, err := conn.Exec(ctx, differentialReset).ReadAll(); err != nil {
				t.Fatal(err)
			}
		}
		want, err := exchange(straight, ms)
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			// A second COPY, of which the client sends no rows: PostgreSQL ends the
			// connection.
			straight = hijack(t, direct)
			continue
		}
		if err != nil {
			t.Fatalf("%d: PostgreSQL: %v\n%s\n%s", n, err, script(ms), strings.Join(want, "\n"))
		}
		got, err := exchange(proxied, ms)
		if err != nil {
			t.Fatalf("%d: the proxy: %v\n%s\nanswers %s\nwant %s", n, err, script(ms), strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%d: (-PostgreSQL +proxy)\n%s\n%s\nall:\n%s", n, diff, script(ms), strings.Join(want, "\n"))
		}
		if l, r := stateOf(t, ctx, left), stateOf(t, ctx, right); l != r {
			t.Fatalf("%d: the database has %s, want %s\n%s", n, l, r, script(ms))
		}
	}
}

func stateOf(t *testing.T, ctx context.Context, conn *pgconn.PgConn) string {
	t.Helper()
	res, err := conn.Exec(ctx, differentialState).ReadAll()
	if err != nil || len(res) != 1 || len(res[0].Rows) != 1 {
		t.Fatalf("state: %v", errors.Join(err, fmt.Errorf("%d results", len(res))))
	}
	return string(res[0].Rows[0][0])
}

// script shows what a client said.
func script(ms []pgproto3.FrontendMessage) string {
	var b strings.Builder
	for _, m := range ms {
		s := fmt.Sprintf("%T %+v", m, m)
		if len(s) > 150 {
			s = s[:150]
		}
		b.WriteString(s + "\n")
	}
	return b.String()
}

package localdsql_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/localdsql"
)

// TestVanish has clients vanish in the middle of everything. Their locks and
// backends go with them.
func TestVanish(t *testing.T) {
	t.Parallel()
	cluster := localdsql.StartCluster(t, localdsql.Config{Conflicts: localdsql.ConflictsOff})
	stays := dialRaw(t, cluster.URL())
	stays.simple("CREATE TABLE t (a int PRIMARY KEY, b int)")
	begins := func(c *rawClient) {
		if _, err := c.f.Receive(); err != nil { // it has begun
			t.Error(err)
		}
	}
	for name, say := range map[string]func(c *rawClient){
		"in COPY": func(c *rawClient) {
			c.send(&pgproto3.Query{String: "COPY t FROM STDIN"}, &pgproto3.CopyData{Data: []byte("1\t1\n")})
			begins(c)
		},
		"in a row of COPY": func(c *rawClient) {
			c.send(&pgproto3.Query{String: "COPY t FROM STDIN"})
			begins(c)
			if _, err := c.conn.Write(append(header('d', 1000), "1\t1\n"...)); err != nil {
				t.Error(err)
			}
		},
		"in COPY TO": func(c *rawClient) {
			c.send(&pgproto3.Query{String: "COPY (SELECT generate_series(1, 10000000)) TO STDOUT"})
			begins(c)
		},
		"in a result": func(c *rawClient) {
			c.send(&pgproto3.Query{String: "SELECT repeat('x', 1000) FROM generate_series(1, 10000000)"})
			begins(c)
		},
		"in a block":          func(c *rawClient) { c.simple("BEGIN; INSERT INTO t VALUES (9, 9)") },
		"in a block with DDL": func(c *rawClient) { c.simple("BEGIN; ALTER TABLE t ADD COLUMN x int") },
		"with DDL on its way": func(c *rawClient) { c.send(&pgproto3.Query{String: "CREATE INDEX ASYNC ON t (b)"}) },
		"before Sync": func(c *rawClient) {
			c.send(append(extended("INSERT INTO t VALUES (77, 77)"), &pgproto3.Flush{})...)
			begins(c)
		},
		"in half a message":    func(c *rawClient) { _, _ = c.conn.Write(append(header('Q', 1000), "SELECT"...)) },
		"with answers to come": func(c *rawClient) { c.send(append(slowly(1000), extended("INSERT INTO t VALUES (78, 1)")...)...) },
	} {
		gone := dialRaw(t, cluster.URL())
		say(gone)
		if err := gone.conn.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0); err != nil { // RST
			t.Error(err)
		}
		gone.conn.Close()
		eventually(t, name+": a change of the table", func() bool { return stays.simple("ALTER TABLE t ADD COLUMN y int") == "[ALTER TABLE] I" })
		if got := stays.again("ALTER TABLE t DROP COLUMN y"); got != "[ALTER TABLE] I" { // the index's job may be in the way
			t.Errorf("%s: %s", name, got)
		}
	}
	eventually(t, "backends end", func() bool {
		return strings.HasPrefix(stays.simple(`SELECT count(*) FROM pg_stat_activity a JOIN pg_stat_activity me USING (datname) WHERE me.pid = pg_backend_pid() AND a.usename = 'admin'`), "(1)")
	})
	if got := stays.simple("SELECT a FROM t"); got != "[SELECT 0] I" {
		t.Errorf("rows of clients that vanished: %s", got)
	}
}

// slowly is so many queries.
func slowly(n int) []pgproto3.FrontendMessage {
	var ms []pgproto3.FrontendMessage
	for range n {
		ms = append(append(ms, extended("SELECT 1")...), &pgproto3.Sync{})
	}
	return ms
}

// TestByteByByte sends a pipeline one byte at a time.
func TestByteByByte(t *testing.T) {
	t.Parallel()
	c := dialRaw(t, localdsql.Start(t))
	var ms []pgproto3.FrontendMessage
	for _, sql := range []string{"CREATE TABLE t (a int PRIMARY KEY)", "BEGIN", "INSERT INTO t VALUES (1)", "CREATE TABLE u (a int PRIMARY KEY)", "COMMIT", "TRUNCATE t", "SELECT 5"} {
		ms = append(append(ms, extended(sql)...), &pgproto3.Sync{})
	}
	ms = append(ms, &pgproto3.Query{String: "COPY t FROM STDIN"}, &pgproto3.CopyData{Data: []byte("1\n2\n")}, &pgproto3.CopyDone{}, &pgproto3.Query{String: "SELECT count(*) FROM t; INSERT INTO t VALUES (3)"})
	var b []byte
	for _, m := range ms {
		b, _ = m.Encode(b)
	}
	for i := range b {
		if _, err := c.conn.Write(b[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	const want = "[CREATE TABLE] I [BEGIN] T [INSERT 0 1] T !0A000 E [ROLLBACK] I !0A000 I (5) [SELECT 1] I copy-in [COPY 2] I (2) [SELECT 1] [INSERT 0 1] I"
	if got := c.ready(9); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// TestCancelAnything cancels at random moments: whatever is hit, the session
// goes on in step, and what was told to be done is done.
func TestCancelAnything(t *testing.T) {
	t.Parallel()
	url := localdsql.Start(t)
	c := dialRaw(t, url)
	c.simple("CREATE TABLE t (a int PRIMARY KEY, b int)")
	c.simple("CREATE TABLE child (a int PRIMARY KEY, b int REFERENCES t ON DELETE CASCADE)") // so that rows are counted
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(11, 0))
	done := 0
	for i := range 150 {
		stop := make(chan error, 1)
		go func() {
			time.Sleep(time.Duration(r.IntN(1500)) * time.Microsecond)
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", config.Port))
			if err == nil {
				b, _ := c.key.Encode(nil)
				_, err = conn.Write(b)
				if err == nil {
					_, _ = conn.Read(make([]byte, 1)) // it is closed when the request was passed on
				}
				conn.Close()
			}
			stop <- err
		}()
		insert := fmt.Sprintf("INSERT INTO t VALUES (%d, 0)", i)
		ready := 1
		switch i % 3 {
		case 0:
			c.send(&pgproto3.Query{String: insert})
		case 1:
			c.send(append(extended(insert), &pgproto3.Sync{})...)
		case 2:
			c.send(&pgproto3.Query{String: "BEGIN; " + insert + "; COMMIT"}, &pgproto3.Query{String: "ROLLBACK"})
			ready = 2
		}
		if got := c.ready(ready); strings.Contains(got, "[COMMIT]") || got == "[INSERT 0 1] I" {
			done++
		} else if !strings.Contains(got, "!57014") {
			t.Fatalf("%d: %s", i, got)
		}
		if err := <-stop; err != nil {
			t.Fatal(err)
		}
		// A late one hits this.
		if got := c.simple("SELECT pg_sleep(0)"); got != "() [SELECT 1] I" && got != "!57014 I" {
			t.Fatalf("%d: out of step: %s", i, got)
		}
		c.simple("ROLLBACK")
	}
	got := ""
	eventually(t, "the last cancel request", func() bool { got = c.simple("SELECT count(*) FROM t"); return !strings.Contains(got, "!") })
	if want := fmt.Sprintf("(%d) [SELECT 1] I", done); got != want {
		t.Errorf("%s rows, and %d were told to be there", got, done)
	}
}

// TestManyStatements are in one message.
func TestManyStatements(t *testing.T) {
	t.Parallel()
	c := dialRaw(t, localdsql.Start(t))
	c.simple("CREATE TABLE t (a int PRIMARY KEY)")
	if got := c.simple(strings.Repeat("SELECT 1;", 10_000)); strings.Count(got, "[SELECT 1]") != 10_000 || !strings.HasSuffix(got, " I") {
		t.Errorf("%d answers", strings.Count(got, "[SELECT 1]"))
	}
	var insert strings.Builder
	for i := range 3001 {
		fmt.Fprintf(&insert, "INSERT INTO t VALUES (%d);", i)
	}
	if got := c.simple(insert.String()); strings.Count(got, "[INSERT 0 1]") != 3000 || !strings.HasSuffix(got, "!54000 I") {
		t.Errorf("%d answers: …%s", strings.Count(got, "[INSERT 0 1]"), got[len(got)-30:])
	}
	if got := c.simple("SELECT count(*) FROM t"); got != "(0) [SELECT 1] I" {
		t.Errorf("left: %s", got)
	}
}

// TestManyConnections are there at once, and leave nothing.
func TestManyConnections(t *testing.T) {
	t.Parallel()
	cluster := localdsql.StartCluster(t, localdsql.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const n = 200
	results := make(chan error, n)
	release := make(chan struct{})
	for range n {
		go func() {
			conn, err := pgconn.Connect(ctx, cluster.URL())
			if err == nil {
				_, err = conn.Exec(ctx, "SELECT 1").ReadAll()
			}
			results <- err
			<-release
			if err == nil {
				err = conn.Close(ctx)
			}
			results <- err
		}()
	}
	for range n {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	close(release)
	for range n {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	c := dialRaw(t, cluster.URL())
	eventually(t, "backends end", func() bool {
		return strings.HasPrefix(c.simple(`SELECT count(*) FROM pg_stat_activity a JOIN pg_stat_activity me USING (datname) WHERE me.pid = pg_backend_pid() AND a.usename = 'admin'`), "(1)")
	})
}

// TestDefinitionsPass has transactions in the way of definitions that are not
// idle yet when the definition comes, but soon will be. They must make way: on
// a busy machine it may be too late for some, for which there are more rounds.
func TestDefinitionsPass(t *testing.T) {
	t.Parallel()
	cluster := localdsql.StartCluster(t, localdsql.Config{Conflicts: localdsql.ConflictsOff})
	definer, reader := dialRaw(t, cluster.URL()), dialRaw(t, cluster.URL())
	definer.simple("CREATE TABLE t (a int PRIMARY KEY, b int)")
	const enough, rounds = 10, 200
	passed := 0
	for i := 0; i < rounds && passed < enough; i++ {
		reader.simple("BEGIN; SELECT count(*) FROM t")
		reader.send(&pgproto3.Query{String: "SELECT pg_sleep(0.03)"})
		eventually(t, "the reader is busy", func() bool {
			const busy = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(0.03)'"
			return strings.HasPrefix(definer.simple(busy), "(1)")
		})
		switch got := definer.simple("ALTER TABLE t ADD COLUMN x int"); got {
		case "[ALTER TABLE] I":
			passed++
			if got := definer.again("ALTER TABLE t DROP COLUMN x"); got != "[ALTER TABLE] I" {
				t.Fatalf("%d: %s", i, got)
			}
		case "!40001 I":
		default:
			t.Errorf("%d: %s", i, got)
		}
		if got := reader.ready(1) + " " + reader.simple("COMMIT"); !strings.Contains(got, "!40001") && !strings.Contains(got, "[COMMIT]") {
			t.Errorf("%d: the transaction that was in the way: %s", i, got)
		}
	}
	if passed < enough {
		t.Errorf("%d of %d definitions have passed", passed, rounds)
	}
}

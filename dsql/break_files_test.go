package dsql_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/localdsql"
)

// What people write without thinking of DSQL either runs, with names that mean
// what they meant in the file, or says what is wrong before anything has run.
func TestCarelessFiles(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 40) + "x" // 81 bytes, cut to 62 in the middle of nothing
	for _, tt := range []struct {
		name string
		up   []string
		want string // the error, else the relations
	}{
		{"empty statements", []string{"CREATE TABLE a (id int)", "", "-- only a comment", "/* x */", "INSERT INTO a VALUES (1)"}, "public.a"},
		{"a setting for one transaction", []string{"CREATE SCHEMA shop", "CREATE TABLE shop.a (id int)", "CREATE TABLE a (id int)", "CREATE INDEX ASYNC i ON a (id)",
			"BEGIN", "SET LOCAL search_path = shop", "CREATE INDEX ASYNC i ON a (id)", "COMMIT"}, "public.a public.i shop.a shop.i"},
		{"the same names in two schemas", []string{"CREATE SCHEMA shop", "CREATE TABLE a (id int)", "CREATE TABLE shop.a (id int)",
			"SET search_path = shop", "CREATE UNIQUE INDEX ASYNC u ON a (id)", "ALTER TABLE a ADD CONSTRAINT k UNIQUE USING INDEX u",
			"SET search_path = public", "CREATE UNIQUE INDEX ASYNC u ON a (id)", "ALTER TABLE a ADD CONSTRAINT k UNIQUE USING INDEX u"}, "public.a public.k shop.a shop.k"},
		{"no search_path", []string{"SET search_path = ''", "CREATE TABLE public.a (id int)", "CREATE INDEX ASYNC i ON public.a (id)"}, "public.a public.i"},
		{"names that are cut", []string{`CREATE TABLE "` + long + `" ("` + long + `" int)`, `CREATE UNIQUE INDEX ASYNC "i` + long + `" ON "` + long + `" ("` + long + `")`,
			`ALTER TABLE "` + long + `" ADD CONSTRAINT k UNIQUE USING INDEX "i` + long + `"`}, "public.k public." + long[:62]},
		{"odd names", []string{`CREATE TABLE "a""b;c" ("x y" int)`, `CREATE INDEX ASYNC "i""'x" ON "a""b;c" ("x y")`, `CREATE TABLE U&"\0441\043B" (a int)`,
			`CREATE INDEX ASYNC U&"\0441" ON U&"\0441\043B" (a)`, `COMMENT ON INDEX U&"\0441" IS 'x'`}, `public.a"b;c public.i"'x public.с public.сл`},
		{"an index without a name, twice", []string{"CREATE TABLE a (id int)", "CREATE INDEX ASYNC ON a (id)", "CREATE INDEX ASYNC ON a (id)"}, "public.a public.a_id_idx public.a_id_idx1"},
		{"an index that is dropped at once", []string{"CREATE TABLE a (id int)", "CREATE INDEX ASYNC i ON a (id)", "DROP INDEX i", "CREATE INDEX ASYNC i ON a (id)"}, "public.a public.i"},
		{"commit without begin", []string{"COMMIT", "CREATE TABLE a (id int)", "ROLLBACK"}, "public.a"},
		{"begin twice", []string{"CREATE TABLE a (id int)", "BEGIN", "BEGIN", "INSERT INTO a VALUES (1)", "END"}, "public.a"},
		{"taken back", []string{"CREATE TABLE a (id int)", "BEGIN", "CREATE TABLE b (id int)", "ABORT"}, "public.a"},
		{"3,000 rows in a block", []string{"CREATE TABLE a (id int)", "BEGIN", "INSERT INTO a SELECT generate_series(1, 3000)", "COMMIT"}, "public.a"},
		{"5 MB", []string{"CREATE TABLE a (x text)", "INSERT INTO a VALUES " + strings.Repeat("('"+strings.Repeat("x", 10_000)+"'),", 500) + "('y')"}, "public.a"},
		{"an error in 5 MB", []string{"INSERT INTO a VALUES " + strings.Repeat("('"+strings.Repeat("x", 10_000)+"'),", 500) + "('y')"}, `relation "a" does not exist`},
		{"an error in a block", []string{"CREATE TABLE a (id int PRIMARY KEY)", "BEGIN", "INSERT INTO a VALUES (1)", "INSERT INTO a VALUES (1)", "COMMIT"}, "1_y.sql:4: ERROR: duplicate key"},
		{"definition and rows", []string{"BEGIN", "CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)", "COMMIT"}, "1_y.sql:3:1: nothing ran"},
		{"select into", []string{"SELECT 1 AS x INTO a"}, "nothing ran"},
		{"copy", []string{"CREATE TABLE a (id int)", "COPY a FROM STDIN"}, "nothing ran"},
		{"waiting as a select", []string{"SELECT sys.wait_for_job('x')"}, "nothing ran"},
		{"waiting in a block", []string{"BEGIN", "CALL sys.wait_for_job('aaaaaaaaaaaaaaaaaaaaaaaaaa')", "COMMIT"}, "nothing ran"},
		{"another role", []string{"CREATE TABLE a (id int)", "SET ROLE app"}, "nothing ran"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := localdsql.Start(t)
			_, err := pgtest.Run(t, openLocal(t, url), []aurora.Migration{pgtest.Migration("1", "y", tt.up...)}, aurora.Request{})
			if err != nil {
				if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%.500s", err.Error())
				}
				return
			}
			got := pgtest.One(t, url, `SELECT string_agg(n.nspname || '.' || c.relname, ' ' ORDER BY n.nspname, c.relname) FROM pg_class c
				JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_index i ON i.indexrelid = c.oid
				WHERE n.nspname IN ('public', 'shop') AND i.indisvalid IS NOT FALSE`)
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// A gate is a way to a server that can be closed.
type gate struct {
	mu     sync.Mutex
	closed bool
	conns  []net.Conn
}

func newGate(t *testing.T, raw string) (*gate, string) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g, target := &gate{}, net.JoinHostPort("127.0.0.1", u.Port())
	_, port, _ := net.SplitHostPort(l.Addr().String())
	u.Host = u.Hostname() + ":" + port
	t.Cleanup(func() { l.Close(); g.set(true) })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			g.pass(client, target)
		}
	}()
	return g, u.String()
}

func (g *gate) pass(client net.Conn, target string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil || g.closed {
		client.Close()
		return
	}
	g.conns = append(g.conns, client, server)
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			pair[0].Close()
			pair[1].Close()
		}()
	}
}

func (g *gate) set(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = closed
	for _, c := range g.conns {
		c.Close()
	}
	g.conns = nil
}

// A network that is away for seconds in the middle of a run ends nothing.
func TestOutage(t *testing.T) {
	t.Parallel()
	c := localdsql.StartCluster(t, localdsql.Config{})
	g, through := newGate(t, c.URL())
	var once sync.Once
	r := aurora.Runner{Store: openLocal(t, through), Migrations: oneOfEach(1), Holder: aurora.CurrentHolder("test"), Report: func(e aurora.Event) {
		if e.Revision != nil && e.Revision.Done > 0 {
			once.Do(func() {
				g.set(true)
				time.AfterFunc(3*time.Second, func() { g.set(false) })
			})
		}
	}}
	if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.One(t, c.URL(), "SELECT string_agg(id::text, ',' ORDER BY id) FROM t1"); n != "1,2,3" {
		t.Errorf("rows %s", n)
	}
}

// Pausing and interrupting at any moment leaves what the next run goes on with,
// without a question.
func TestStoppedAtAnyMoment(t *testing.T) {
	t.Parallel()
	c := localdsql.StartCluster(t, localdsql.Config{})
	c.Faults().Delay(2 * time.Millisecond)
	for n := range 16 {
		cause := []error{aurora.ErrPaused, aurora.ErrInterrupted, context.Canceled}[n%3]
		for tries := 0; ; tries++ {
			ctx, cancel := context.WithCancelCause(t.Context())
			timer := time.AfterFunc(rand.N(time.Duration(150+30*tries)*time.Millisecond), func() { cancel(cause) })
			r := aurora.Runner{Store: openLocalProject(t, c.URL(), fmt.Sprint("p", n)), Migrations: oneOfEach(n), TTL: 3 * time.Second, Holder: aurora.CurrentHolder("test")}
			_, err := r.Run(ctx, aurora.Request{})
			timer.Stop()
			if err == nil {
				break
			}
			if !errors.Is(err, aurora.ErrPaused) && !errors.Is(err, context.Canceled) && !errors.Is(err, aurora.ErrInterrupted) {
				t.Fatalf("run %d.%d: %v", n, tries, err)
			}
		}
		got := pgtest.One(t, c.URL(), fmt.Sprintf(`SELECT (SELECT string_agg(id::text, ',' ORDER BY id) FROM t%[1]d) || ' ' ||
			(SELECT indisvalid FROM pg_index WHERE indexrelid = 'i%[1]d'::regclass) || ' ' || (SELECT count(*) FROM pg_class WHERE relname = 'v%[1]d')`, n))
		if got != "1,2,3 true 0" {
			t.Errorf("run %d: %s", n, got)
		}
	}
}

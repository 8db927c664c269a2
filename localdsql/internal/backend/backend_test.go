package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/localdsql/engine"
)

var (
	server *engine.Server
	count  atomic.Int64
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		childMain()
	}
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	ctx := context.Background()
	var err error
	server, err = engine.Start(ctx, engine.Config{Throwaway: true, Find: engine.FindOptions{Major: 16}, Settings: Settings()})
	if err != nil {
		fmt.Fprintln(os.Stderr, "no PostgreSQL to test with:", err)
		return 1
	}
	defer func() {
		if err := server.Stop(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "stop the test server:", err)
			code = 1
		}
	}()
	if err := Prepare(ctx, server); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// database creates a database and returns its name.
func database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", count.Add(1))
	if err := CreateDatabase(t.Context(), server, name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := DropDatabase(context.Background(), server, name); err != nil {
			t.Error(err)
		}
	})
	return name
}

// client is a session as clients have them.
type client struct {
	t    testing.TB
	conn *pgconn.PgConn
}

// connectAs connects as a role, in the isolation that clients get.
func connectAs(t testing.TB, database, role string) *client {
	t.Helper()
	cfg, err := pgconn.ParseConfig(server.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	cfg.User = role
	cfg.RuntimeParams["default_transaction_isolation"] = "repeatable read"
	conn, err := pgconn.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t, conn}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return c
}

// try runs statements in one message and returns the last one's rows.
func (c *client) try(sql string) ([][]string, error) {
	results, err := c.conn.Exec(c.t.Context(), sql).ReadAll()
	if err != nil || len(results) == 0 {
		return nil, err
	}
	var rows [][]string
	for _, row := range results[len(results)-1].Rows {
		texts := make([]string, len(row))
		for i, v := range row {
			if texts[i] = string(v); v == nil {
				texts[i] = "NULL"
			}
		}
		rows = append(rows, texts)
	}
	return rows, nil
}

func (c *client) rows(sql string) [][]string {
	c.t.Helper()
	rows, err := c.try(sql)
	if err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
	return rows
}

func (c *client) exec(statements ...string) {
	c.t.Helper()
	for _, sql := range statements {
		c.rows(sql)
	}
}

func (c *client) one(sql string) string {
	c.t.Helper()
	rows := c.rows(sql)
	if len(rows) != 1 || len(rows[0]) != 1 {
		c.t.Fatalf("%s: got %v, want one value", sql, rows)
	}
	return rows[0][0]
}

// refused checks how a statement is refused.
func (c *client) refused(sql, sqlstate, message string) {
	c.t.Helper()
	_, err := c.try(sql)
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		c.t.Errorf("%s: got %v, want %s %s", sql, err, sqlstate, message)
		return
	}
	if got, want := pg.Code+" "+pg.Message, sqlstate+" "+message; got != want {
		c.t.Errorf("%s:\n got %s\nwant %s", sql, got, want)
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("it never happens that %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestCreateDatabaseAtOnce(t *testing.T) {
	name := fmt.Sprintf("test_%d", count.Add(1))
	var group sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		group.Go(func() {
			if errs[i] = Prepare(t.Context(), server); errs[i] == nil {
				errs[i] = CreateDatabase(t.Context(), server, name)
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	admin := connectAs(t, name, "admin")
	admin.exec("CREATE TABLE t (a int PRIMARY KEY)")
	if err := CreateDatabase(t.Context(), server, name); err != nil {
		t.Fatal(err)
	}
	admin.exec("INSERT INTO t VALUES (1)")
	for range 2 {
		if err := DropDatabase(t.Context(), server, name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pgconn.Connect(t.Context(), server.URL(name)); code(err) != undefinedDatabase {
		t.Errorf("connect to a dropped database: %v", err)
	}
}

func TestCreateDatabaseNames(t *testing.T) {
	for _, name := range []string{"", "a\x00b", strings.Repeat("x", 64), templatePrefix + "x"} {
		if err := CreateDatabase(t.Context(), server, name); err == nil {
			t.Errorf("%q passes", name)
		}
	}
	name := `Odd "name" ü`
	if err := CreateDatabase(t.Context(), server, name); err != nil {
		t.Fatal(err)
	}
	if err := DropDatabase(t.Context(), server, name); err != nil {
		t.Fatal(err)
	}
}

// A server of its own: the template of others goes away here.
func TestVersions(t *testing.T) {
	ctx := t.Context()
	own, err := engine.Start(ctx, engine.Config{Throwaway: true, Find: engine.FindOptions{Major: 16}, Settings: Settings()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	shared := server
	server = own
	defer func() { server = shared }()
	script, err := install()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgconn.Connect(ctx, own.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)

	// A killed process left half a template, and another aurora left its own.
	if err := send(ctx, conn, "CREATE DATABASE aurora_dsql_new TEMPLATE template0"); err != nil {
		t.Fatal(err)
	}
	if err := prepare(ctx, conn, own, "-- older\n"+script); err != nil {
		t.Fatal(err)
	}
	if err := send(ctx, conn, "CREATE DATABASE old TEMPLATE "+templatePrefix+version("-- older\n"+script)+" OWNER admin"); err != nil {
		t.Fatal(err)
	}
	admin := connectAs(t, "old", "admin")
	admin.exec("CREATE TABLE t (a int)")
	job := admin.one("SELECT sys._create_index('CREATE INDEX i ON t (a)', false)")

	// CreateDatabase makes the template that is missing, and upgrades.
	for _, name := range []string{"new", "old"} {
		if err := CreateDatabase(ctx, own, name); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := query(ctx, conn, "SELECT datname FROM pg_database WHERE datname LIKE 'aurora%'")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{templatePrefix + version(script)}}, rows); diff != "" {
		t.Errorf("templates (-want +got):\n%s", diff)
	}
	if got := admin.one("SELECT obj_description('sys'::regnamespace, 'pg_namespace')"); got != "local DSQL "+version(script) {
		t.Errorf("version after the upgrade: %s", got)
	}
	if got := admin.one("SELECT job_id FROM sys.jobs"); got != job {
		t.Errorf("job after the upgrade: %s, want %s", got, job)
	}
	// And everything still works.
	_, stop := work(t, "old", WorkerConfig{})
	defer stop()
	if got := admin.one("CALL sys.wait_for_job('" + job + "')"); got != "t" {
		t.Errorf("wait_for_job after the upgrade: %s", got)
	}
	admin.refused("ALTER TABLE t ADD COLUMN b int[]", "0A000", "datatype integer[] not supported")
}

func BenchmarkCreateDatabase(b *testing.B) {
	for b.Loop() {
		name := fmt.Sprintf("test_%d", count.Add(1))
		if err := CreateDatabase(b.Context(), server, name); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := DropDatabase(b.Context(), server, name); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

package localdsql_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/localdsql"
	"github.com/aurora-migrate/aurora/localdsql/engine"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(context.Background()); err != nil && !conn.IsClosed() {
			t.Error(err)
		}
	})
	return conn
}

// code returns the SQLSTATE and message of an error, and the hint behind them.
func code(err error) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return fmt.Sprint(err)
	}
	return strings.TrimSpace(pg.Code + " " + pg.Message + " " + pg.Hint)
}

func exec1(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// one returns a query's only value. It is asked again as long as the schema was
// changed, as by the end of a job.
func one[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	err := conn.QueryRow(t.Context(), sql, args...).Scan(&v)
	for err != nil && strings.Contains(err.Error(), "(OC001)") {
		err = conn.QueryRow(t.Context(), sql, args...).Scan(&v)
	}
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func TestStart(t *testing.T) {
	for i := range 4 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			conn := connect(t, localdsql.Start(t))
			exec1(t, conn, "CREATE TABLE t (id int PRIMARY KEY)") // fails in a cluster that is not new
			exec1(t, conn, fmt.Sprintf("INSERT INTO t VALUES (%d)", i))
			if got := one[int](t, conn, "SELECT id FROM t"); got != i {
				t.Errorf("another test's row: %d", got)
			}
			if got := one[string](t, conn, "SELECT current_database() || ' ' || current_user"); got != "postgres admin" {
				t.Errorf("connected as %q", got)
			}
			_, err := conn.Exec(t.Context(), "TRUNCATE t")
			if got := code(err); !strings.HasPrefix(got, "0A000 unsupported statement: Truncate") {
				t.Errorf("TRUNCATE: %s", got)
			}
		})
	}
}

func TestPsql(t *testing.T) {
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("missing: psql (package postgresql-client)")
	}
	cmd := exec.CommandContext(t.Context(), psql, "-XAt", "-v", "VERBOSITY=verbose", "-c", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "-c", "TRUNCATE x", localdsql.Start(t))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "ERROR:  0A000: unsupported statement: Truncate") {
		t.Errorf("%v\n%s", err, out)
	}
}

// makeRoles makes a role that is mapped, one that is not and one that was.
func makeRoles(t *testing.T, admin *pgx.Conn) {
	t.Helper()
	for _, sql := range []string{
		"CREATE ROLE app WITH LOGIN", "CREATE ROLE nobody WITH LOGIN", "CREATE ROLE gone WITH LOGIN",
		"AWS IAM GRANT app TO 'arn:aws:iam::111122223333:role/app'", "AWS IAM GRANT gone TO 'arn:aws:iam::111122223333:role/gone'",
		"AWS IAM REVOKE gone FROM 'arn:aws:iam::111122223333:role/gone'",
	} {
		exec1(t, admin, sql)
	}
}

func TestLoginIsRefused(t *testing.T) {
	c := localdsql.StartCluster(t, localdsql.Config{Region: "eu-west-1", Secret: "s3cret-of-the-test", Throwaway: true})
	makeRoles(t, connect(t, c.URL()))
	const deniedText = "28000 unable to accept connection, access denied"
	edit := func(role string, change func(*pgx.ConnConfig)) func() error {
		return func() error {
			config, err := pgx.ParseConfig(c.URLFor(role))
			if err != nil {
				return err
			}
			if change != nil {
				change(config)
			}
			conn, err := pgx.ConnectConfig(t.Context(), config)
			if err != nil {
				return err
			}
			return conn.Close(t.Context())
		}
	}
	tests := []struct {
		name string
		do   func() error
		want string // "" when it is let in
	}{
		{"admin", edit("admin", nil), ""},
		{"a mapped role", edit("app", nil), ""},
		{"an unmapped role", edit("nobody", nil), `28000 IAM authentication failed for user "nobody"`},
		{"a role that was mapped", edit("gone", nil), `28000 IAM authentication failed for user "gone"`},
		{"an unknown role", edit("stranger", nil), `28000 IAM authentication failed for user "stranger"`},
		{"PostgreSQL's superuser", edit("postgres", nil), `28000 IAM authentication failed for user "postgres"`},
		{"the token of another action", edit("app", func(config *pgx.ConnConfig) { config.User = "admin" }), deniedText + ` the token's action is "DbConnect", and user "admin" needs DbConnectAdmin`},
		{"a password", edit("admin", func(config *pgx.ConnConfig) { config.Password = "secret" }), deniedText + " the password is not an authentication token: want HOST?Action=…"},
		{"no password", edit("admin", func(config *pgx.ConnConfig) { config.Password = "" }), deniedText + " the password is not an authentication token: it is empty"},
		{"another secret", edit("admin", func(config *pgx.ConnConfig) {
			config.Password = strings.Replace(config.Password, "X-Amz-Expires=604800", "X-Amz-Expires=60480", 1)
		}), deniedText + " the token's signature does not match"},
		{"another database", edit("admin", func(config *pgx.ConnConfig) { config.Database = "shop" }), `3D000 database "shop" does not exist`},
		{"no server name", edit("admin", func(config *pgx.ConnConfig) {
			config.TLSConfig.ServerName, config.TLSConfig.InsecureSkipVerify = "", true
		}), "28000 unable to accept connection, sni was not received"},
		{"an address for a name", edit("admin", func(config *pgx.ConnConfig) {
			config.Host, config.TLSConfig.ServerName = "127.0.0.1", "127.0.0.1"
		}), "28000 unable to accept connection, sni was not received"},
		{"a name of Aurora DSQL's kind", edit("admin", func(config *pgx.ConnConfig) {
			config.TLSConfig.ServerName = "shop.dsql.eu-west-1.on.aws"
		}), ""},
		{"no such fault", edit("admin", func(config *pgx.ConnConfig) {
			config.RuntimeParams["options"] = "-c aurora.faults=oc002@1"
		}), `22023 faults: "oc002" is not a kind of fault`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do()
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if got := code(err); err == nil || !strings.HasPrefix(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	t.Run("no TLS", func(t *testing.T) {
		_, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://admin:x@localhost:%d/postgres?sslmode=disable", c.Port()))
		if err == nil {
			t.Error("let in without TLS")
		}
	})
	t.Run("no trust", func(t *testing.T) {
		_, err := pgx.Connect(t.Context(), strings.Split(c.URL(), "&sslrootcert")[0])
		if err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("a certificate nobody vouches for: %v", err)
		}
	})
}

func TestFaultsOnDemand(t *testing.T) {
	c := localdsql.StartCluster(t, localdsql.Config{})
	conn := connect(t, c.URL())
	exec1(t, conn, "CREATE TABLE t (id int PRIMARY KEY)")
	f := c.Faults()

	f.Next(localdsql.FaultConflict, 1)
	_, err := conn.Exec(t.Context(), "INSERT INTO t VALUES (1)")
	if got, want := code(err), "40001 change conflicts with another transaction (OC000)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	exec1(t, conn, "INSERT INTO t VALUES (1)")
	if events, injected := f.Count(localdsql.FaultConflict); events != 2 || injected != 1 {
		t.Errorf("%d commits, %d failed; want 2 and 1", events, injected)
	}

	f.Next(localdsql.FaultConflict, 1)
	exec1(t, conn, "BEGIN")
	exec1(t, conn, "INSERT INTO t VALUES (2)")
	_, err = conn.Exec(t.Context(), "COMMIT")
	if got, want := code(err), "40001 change conflicts with another transaction (OC000)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if n := one[int](t, conn, "SELECT count(*) FROM t"); n != 1 {
		t.Errorf("%d rows after a commit that failed, want 1", n)
	}

	f.Next(localdsql.FaultSchema, 1)
	_, err = conn.Exec(t.Context(), "SELECT 1")
	if got, want := code(err), "40001 schema has been updated by another transaction (OC001)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	f.Delay(50 * time.Millisecond)
	begin := time.Now()
	exec1(t, conn, "SELECT 1")
	if took := time.Since(begin); took < 50*time.Millisecond {
		t.Errorf("a delayed statement took %s", took)
	}
	f.Delay(0)

	for _, tt := range []struct {
		kind localdsql.FaultKind
		rows int
	}{{localdsql.FaultDrop, 1}, {localdsql.FaultDropAfter, 2}} {
		victim := connect(t, c.URL())
		f.Next(tt.kind, 1)
		if _, err := victim.Exec(t.Context(), "INSERT INTO t VALUES (3)"); err == nil || !victim.IsClosed() {
			t.Errorf("%s: the connection lives: %v", tt.kind, err)
		}
		if n := one[int](t, conn, "SELECT count(*) FROM t"); n != tt.rows {
			t.Errorf("%s: %d rows, want %d", tt.kind, n, tt.rows)
		}
	}

	for kind, want := range map[localdsql.FaultKind]string{
		localdsql.FaultBusy:    "53300 unable to accept connection, too many open connections",
		localdsql.FaultRate:    "53400 unable to accept connection, rate exceeded",
		localdsql.FaultWaking:  "57P03 unable to accept connection, waking up cluster, please retry later",
		localdsql.FaultExpired: "28000 unable to accept connection, access denied Signature expired: ",
	} {
		f.Next(kind, 1)
		_, err := pgx.Connect(t.Context(), c.URL())
		if got := code(err); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", kind, got, want)
		}
		connect(t, c.URL())
	}
}

func TestFaultsOfAConnection(t *testing.T) {
	url := localdsql.Start(t)
	other := connect(t, url)
	exec1(t, other, "CREATE TABLE t (id int PRIMARY KEY)")
	conn := connect(t, url+"&options=-c%20aurora.faults%3Doc000@2")
	exec1(t, conn, "INSERT INTO t VALUES (1)")
	exec1(t, other, "INSERT INTO t VALUES (2)")
	_, err := conn.Exec(t.Context(), "INSERT INTO t VALUES (3)")
	if got, want := code(err), "40001 change conflicts with another transaction (OC000)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	exec1(t, other, "INSERT INTO t VALUES (4)")
}

func TestFaultsOfJobs(t *testing.T) {
	c := localdsql.StartCluster(t, localdsql.Config{})
	conn := connect(t, c.URL())
	exec1(t, conn, "CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
	c.Faults().Next(localdsql.FaultJob, 1)
	job := one[string](t, conn, "CREATE INDEX ASYNC t_a ON t (a)")
	if ok := one[bool](t, conn, "CALL sys.wait_for_job($1)", job); ok {
		t.Error("the job did not fail")
	}
	job = one[string](t, conn, "CREATE INDEX ASYNC t_b ON t (b)")
	if ok := one[bool](t, conn, "CALL sys.wait_for_job($1)", job); !ok {
		t.Error("the second job failed too")
	}
	c.Faults().JobDelay(time.Hour)
	job = one[string](t, conn, "CREATE INDEX ASYNC t_ab ON t (a, b)")
	if got := one[string](t, conn, "SELECT status FROM sys.jobs WHERE job_id = $1", job); got != "submitted" && got != "processing" {
		t.Errorf("a job that takes an hour is %s", got)
	}
}

func TestClusterOutlivesItsServer(t *testing.T) {
	dir := t.TempDir()
	var file string
	for i := range 2 {
		s, err := localdsql.Open(t.Context(), localdsql.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Cluster(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			file = c.CAFile()
		} else if c.CAFile() != file {
			t.Errorf("the certificate was in %s and is in %s", file, c.CAFile())
		}
		conn := connect(t, c.URL())
		if i == 0 {
			exec1(t, conn, "CREATE TABLE t (id int PRIMARY KEY)")
		} else {
			exec1(t, conn, "SELECT FROM t")
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := s.Close(ctx); err != nil {
			t.Errorf("closed again: %v", err)
		}
		if _, err := net.Dial("tcp", net.JoinHostPort("localhost", strconv.Itoa(c.Port()))); err == nil {
			t.Error("a closed server listens")
		}
		if _, err := s.Cluster(ctx, "shop"); err == nil {
			t.Error("a closed server has clusters")
		}
	}
}

// TestOlderPostgreSQL is about version 15, which cannot show everything and
// says so.
func TestOlderPostgreSQL(t *testing.T) {
	old, err := engine.Find(t.Context(), engine.FindOptions{Major: 15})
	if err != nil {
		t.Skipf("missing: PostgreSQL 15 (package postgresql-15): %v", err)
	}
	var log bytes.Buffer
	c := localdsql.StartCluster(t, localdsql.Config{
		Throwaway: true, Find: engine.FindOptions{BinDir: old.BinDir}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	conn := connect(t, c.URL())
	_, err = conn.Exec(t.Context(), "CREATE TABLE t (id int PRIMARY KEY, a text STORAGE MAIN)")
	want := "This local DSQL runs on PostgreSQL " + old.Version + ". Aurora DSQL is based on 16 and may accept the statement."
	if got := code(err); !strings.HasPrefix(got, "42601 ") || !strings.HasSuffix(got, want) {
		t.Errorf("got %s, want a syntax error with the hint %s", got, want)
	}
	exec1(t, conn, "CREATE TABLE t (id int PRIMARY KEY, a text)")
	if !strings.Contains(log.String(), "it refuses STORAGE in CREATE TABLE") {
		t.Errorf("no warning in the log: %s", log.String())
	}
}

// TestPreferredPostgreSQL has no version 16 to fetch or in a cache.
func TestPreferredPostgreSQL(t *testing.T) {
	none := engine.FindOptions{CacheDir: t.TempDir()}
	want, err := engine.Find(t.Context(), engine.FindOptions{CacheDir: none.CacheDir, Major: 16})
	if err != nil {
		want, err = engine.Find(t.Context(), engine.FindOptions{CacheDir: none.CacheDir, MinMajor: 15})
	}
	if err != nil {
		t.Skipf("missing: an installed PostgreSQL, version 15 or newer: %v", err)
	}
	s, err := localdsql.Open(t.Context(), localdsql.Config{Throwaway: true, Find: none})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if got := s.Install(); got.BinDir != want.BinDir {
		t.Errorf("took %s, want %s", got.BinDir, want.BinDir)
	}
}

func TestConfigIsRefused(t *testing.T) {
	for name, cfg := range map[string]localdsql.Config{
		"any address": {Address: "0.0.0.0:0"},
		"empty host":  {Address: ":5432"},
		"a host name": {Address: "example.com:5432"},
		"no port":     {Address: "localhost"},
		"region":      {Region: "EU West"},
		"conflicts":   {Conflicts: "many"},
	} {
		if err := cfg.Check(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	for _, name := range []string{"", "Shop", "a b", "-a", "a-", strings.Repeat("a", 51), "a/b", "a\"b"} {
		if err := localdsql.CheckName(name); err == nil {
			t.Errorf("%q is accepted as a name", name)
		}
	}
	for _, name := range []string{"a", "shop", "my-shop_2", strings.Repeat("a", 50)} {
		if err := localdsql.CheckName(name); err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	localdsql.Start(b)
	for b.Loop() {
		localdsql.Start(b)
	}
}

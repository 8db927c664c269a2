// Package pgtest gives tests a real PostgreSQL: one server for a test binary,
// one database for a test, and a proxy that counts round trips.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/localdsql/engine"
)

// Variable names a server to use instead of one that the tests start. The URL
// must be a superuser's.
const Variable = "AURORA_TEST_POSTGRES"

var (
	once     sync.Once
	server   *engine.Server
	base     string
	startErr error
	count    atomic.Int64
)

// patience bounds what a test waits for. It is only there so that nothing hangs,
// and so long that a slow machine never reaches it.
const patience = 5 * time.Minute

// Main runs the tests of a package and stops the server that they started.
func Main(m *testing.M) {
	code := m.Run()
	if server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "stop the test server:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func start() {
	if base = os.Getenv(Variable); base != "" {
		return
	}
	server, startErr = engine.Start(context.Background(), engine.Config{Throwaway: true})
	if startErr == nil {
		base = server.URL("postgres")
	}
}

// URL returns the URL of a new, empty database. Tests that need PostgreSQL
// fail without one: they prove nothing otherwise.
func URL(t testing.TB) string {
	t.Helper()
	once.Do(start)
	if startErr != nil {
		t.Fatalf("no PostgreSQL to test with (install one, or name a server in %s): %v", Variable, startErr)
	}
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), count.Add(1))
	Exec(t, base, "CREATE DATABASE "+name)
	return WithDatabase(t, base, name)
}

// WithDatabase returns the URL of another database of the same server.
func WithDatabase(t testing.TB, raw, name string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatalf("parse the server's url: %v", err)
	}
	u.Path = "/" + name
	return u.String()
}

// Exec runs SQL, several statements at once if need be, and fails the test on
// an error.
func Exec(t testing.TB, url, sql string) {
	t.Helper()
	Query(t, url, sql)
}

// Query runs SQL and returns the rows of its last statement as text; NULL is
// "NULL". It is run again when it meets a conflict (SQLSTATE 40001), as on a local
// DSQL with the end of a job.
func Query(t testing.TB, url, sql string) [][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgconn.Connect(ctx, url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, sql).ReadAll()
	for pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "40001" && ctx.Err() == nil; {
		results, err = conn.Exec(ctx, sql).ReadAll()
	}
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var out [][]string
	if len(results) == 0 {
		return nil
	}
	for _, row := range results[len(results)-1].Rows {
		texts := make([]string, len(row))
		for i, v := range row {
			if texts[i] = string(v); v == nil {
				texts[i] = "NULL"
			}
		}
		out = append(out, texts)
	}
	return out
}

// One returns the single value that a query returns.
func One(t testing.TB, url, sql string) string {
	t.Helper()
	rows := Query(t, url, sql)
	if len(rows) != 1 || len(rows[0]) != 1 {
		t.Fatalf("%s: got %d rows, want one value", sql, len(rows))
	}
	return rows[0][0]
}

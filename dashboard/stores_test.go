package dashboard_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dashboard"
	"github.com/aurora-migrate/aurora/dynamo"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/postgres"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// look visits every page of a dashboard, and what all of them link to.
func look(s *site) {
	s.t.Helper()
	var l listJSON
	s.get("/api/migrations", &l)
	if len(l.Migrations) == 0 {
		s.t.Fatal("there are no migrations")
	}
	var executions struct{ Executions []struct{ ID string } }
	s.get("/api/executions", &executions)
	if len(executions.Executions) == 0 {
		s.t.Fatal("there are no executions")
	}
	paths := []string{
		"/api/session", "/api/migrations/summary", "/api/lock", "/api/events?poll=1", "/api/plan?direction=up", "/api/plan?direction=down",
		"/api/plan?direction=down&target=0", "/api/migrations?status=failed&q=b&order=asc",
	}
	for _, m := range l.Migrations {
		paths = append(paths, "/api/migrations/"+url.PathEscape(m.ID))
		if m.ExecutionID != "" {
			paths = append(paths, "/api/migrations/"+url.PathEscape(m.ID)+"/attempts/"+m.ExecutionID)
		}
	}
	for _, e := range executions.Executions {
		paths = append(paths, "/api/executions/"+e.ID)
	}
	for _, path := range paths {
		var v map[string]any
		s.get(path, &v)
	}
}

func openPostgres(t *testing.T, url string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := db.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return db
}

// With a role that may only read, every page works.
func TestReadOnlyRole(t *testing.T) {
	u := pgtest.URL(t)
	migrations := []aurora.Migration{pgtest.Migration("1", "a", "CREATE TABLE a (id int)"), pgtest.Migration("2", "b", "CREATE TABLE b (id int)", "SELECT 1/0")}
	if _, err := pgtest.Run(t, openPostgres(t, u), migrations, aurora.Request{}); err == nil {
		t.Fatal("it did not fail")
	}
	role := "viewer_" + strings.TrimPrefix(pgtest.One(t, u, "SELECT current_database()"), "test_")
	pgtest.Exec(t, u, fmt.Sprintf(`CREATE ROLE %[1]s LOGIN; GRANT USAGE ON SCHEMA aurora TO %[1]s; GRANT SELECT ON ALL TABLES IN SCHEMA aurora TO %[1]s;
		ALTER ROLE %[1]s SET default_transaction_read_only = on; REVOKE ALL ON SCHEMA public FROM PUBLIC`, role))
	parsed, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	parsed.User = url.User(role)
	state := func() string {
		return pgtest.One(t, u, "SELECT md5(string_agg(r::text, ' ' ORDER BY r::text)) FROM aurora.aurora_revisions r") +
			pgtest.One(t, u, "SELECT string_agg(l::text, ' ') FROM aurora.aurora_leases l")
	}
	before := state()
	s := newSite(t, dashboard.Config{
		Store: openPostgres(t, parsed.String()), StoreKind: "postgres", Target: parsed.String(),
		Migrations: func(context.Context) ([]aurora.Migration, error) { return migrations, nil },
	})
	look(s)
	var detail struct {
		Attempts []struct {
			Error      string
			ErrorIndex *int
			Statements []struct{ State string }
		}
	}
	s.get("/api/migrations/2_b", &detail)
	if a := detail.Attempts[0]; !strings.Contains(a.Error, "division by zero") || *a.ErrorIndex != 1 || a.Statements[0].State != "undone" || a.Statements[1].State != "failed" {
		t.Errorf("%+v", a)
	}
	if after := state(); after != before {
		t.Errorf("something was written: %s, was %s", after, before)
	}
}

// A page costs one question about the history and one about the lock, however
// long the history is.
func TestRoundTrips(t *testing.T) {
	u := pgtest.URL(t)
	files := manyFiles()[:perExecution]
	fill(t, openPostgres(t, u), files, 2)
	proxy := pgtest.NewProxy(t, u)
	store := openPostgres(t, proxy.URL)
	if _, err := store.Latest(t.Context()); err != nil { // connects
		t.Fatal(err)
	}
	get := largeHandler(t, store, files)
	before := proxy.Trips()
	get("/api/migrations")
	if n := proxy.Trips() - before; n != 2 {
		t.Errorf("the first page took %d round trips", n)
	}
	before = proxy.Trips()
	get("/api/executions")
	if n := proxy.Trips() - before; n != 2 {
		t.Errorf("the executions took %d round trips", n)
	}
	before = proxy.Trips()
	get("/api/migrations/" + files[50].ID())
	if n := proxy.Trips() - before; n != 2 && n != 4 { // two more where a second has passed
		t.Errorf("one migration took %d round trips", n)
	}
}

// BenchmarkFirstPagePostgres is BenchmarkFirstPage for a history in a database.
func BenchmarkFirstPagePostgres(b *testing.B) {
	u := pgtest.URL(b)
	store, err := postgres.Open(b.Context(), postgres.Config{URL: u})
	if err != nil {
		b.Fatal(err)
	}
	files := manyFiles()
	fill(b, store, files, manyExecutions/10)
	pgtest.Exec(b, u, `INSERT INTO aurora.aurora_revisions SELECT (jsonb_populate_record(r, jsonb_build_object('execution', r.execution || '-' || k,
		'token', r.token - k * 1000000))).* FROM aurora.aurora_revisions r, generate_series(1, 9) k; ANALYZE aurora.aurora_revisions`)
	if n := pgtest.One(b, u, "SELECT count(*) FROM aurora.aurora_revisions"); n != "100000" {
		b.Fatalf("%s revisions", n)
	}
	for _, path := range []string{"/api/migrations", "/api/migrations/summary", "/api/executions", "/api/migrations/20250000005000"} {
		b.Run(strings.ReplaceAll(path[5:], "/", "-"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				largeHandler(b, store, files)(path)
			}
		})
	}
}

// With the rights to read only, every page works, and nothing else is asked
// for.
func TestReadOnlyTable(t *testing.T) {
	proxy := dynamotest.NewProxy(t)
	store, err := dynamo.Open(t.Context(), dynamo.Config{Table: dynamotest.Table(t), Client: dynamotest.Client(proxy.URL)})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	migrations := []aurora.Migration{migration("1", "a"), migration("2", "b")}
	migrations[0].Up = []aurora.Step{aurora.Func{Name: "f", Do: func(_ context.Context, env *aurora.Env) error { env.Log.Info("done"); return nil }}}
	migrations[1].Up = []aurora.Step{aurora.Func{Name: "f", Do: func(context.Context, *aurora.Env) error { return errors.New("no") }}}
	r := aurora.Runner{Store: store, Migrations: migrations}
	if _, err := r.Run(t.Context(), aurora.Request{}); err == nil {
		t.Fatal("it did not fail")
	}
	writes := []string{"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem", "CreateTable", "UpdateTable", "UpdateTimeToLive"}
	for _, op := range writes {
		proxy.Fail(dynamotest.Fault{Op: op, Kind: dynamotest.Denied, Times: -1})
	}
	proxy.Counts()
	for _, load := range []func(context.Context) ([]aurora.Migration, error){nil, func(context.Context) ([]aurora.Migration, error) { return migrations, nil }} {
		s := newSite(t, dashboard.Config{Store: store, StoreKind: "dynamodb", Migrations: load})
		look(s)
		s.refused(s.post("/api/rollback", map[string]string{}), http.StatusConflict, "read_only")
	}
	asked := slices.Sorted(maps.Keys(proxy.Counts()))
	for _, op := range asked {
		if op != "GetItem" && op != "Query" && op != "BatchGetItem" && op != "TransactGetItems" {
			t.Errorf("the dashboard asked for %s", op)
		}
	}
	if len(asked) == 0 {
		t.Error("nothing was asked")
	}
}

// A database that does not answer is a problem that says so, without secrets,
// and is over when it is back.
func TestStoreIsAway(t *testing.T) {
	proxy := dynamotest.NewProxy(t)
	store, err := dynamo.Open(t.Context(), dynamo.Config{Table: dynamotest.Table(t), Client: dynamotest.Client(proxy.URL)})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, dashboard.Config{Store: store})
	proxy.Fail(dynamotest.Fault{Kind: dynamotest.Expired, Times: -1})
	for _, path := range []string{"/api/migrations", "/api/migrations/summary", "/api/lock", "/api/plan?direction=down", "/api/events", "/api/events?poll=1"} {
		s.refused(s.request("GET", path, ""), http.StatusServiceUnavailable, "store_unavailable")
	}
	proxy.Heal()
	var sum summaryJSON
	s.get("/api/migrations/summary", &sum)
}

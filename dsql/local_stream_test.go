package dsql_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/localdsql"
)

// Whatever a person writes for PostgreSQL and DSQL takes in its own words, and
// what it takes as it stands.
func TestMigrations(t *testing.T) {
	t.Parallel()
	url := localdsql.Start(t)
	migrations := []aurora.Migration{
		pgtest.Migration("1", "customers", "CREATE TABLE customers (id bigint PRIMARY KEY, email text)",
			"CREATE UNIQUE INDEX CONCURRENTLY customers_email ON customers USING btree (email)",
			"INSERT INTO customers VALUES (1, 'a@example.com'), (2, 'b@example.com')",
			"ALTER TABLE customers ADD CONSTRAINT customers_email_key UNIQUE USING INDEX customers_email"),
		pgtest.Migration("2", "orders", "CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint, total numeric(10,2))",
			"CREATE INDEX ASYNC orders_customer ON orders (customer)",
			"CREATE INDEX ASYNC ON orders (total)",
			"ALTER TABLE orders ADD CONSTRAINT orders_customer_fk FOREIGN KEY (customer) REFERENCES customers NOT VALID",
			"ALTER TABLE orders VALIDATE CONSTRAINT orders_customer_fk",
			"BEGIN", "INSERT INTO orders VALUES (1, 1, 10)", "UPDATE orders SET total = 11 WHERE id = 1", "COMMIT",
			"SELECT count(*) FROM orders"),
		pgtest.Migration("3", "schema", "CREATE SCHEMA shop", "SET search_path TO shop", "CREATE TABLE here (id int PRIMARY KEY)",
			"INSERT INTO here VALUES (1)", "CREATE INDEX ASYNC here_id ON here (id)"),
		pgtest.Migration("4", "back", "CREATE TABLE there (id int PRIMARY KEY)", "BEGIN", "CREATE INDEX ASYNC there_id ON there (id)", "COMMIT"),
	}
	e := pgtest.MustRun(t, openLocal(t, url), migrations, aurora.Request{})
	if len(e.Revisions) != len(migrations) {
		t.Errorf("%d revisions", len(e.Revisions))
	}
	want := `constraint customers_email_key valid=true
constraint orders_customer_fk valid=true
customers 2
here 1
index customers_email_key valid=true
index here_id valid=true
index orders_customer valid=true
index orders_total_idx valid=true
index there_id valid=true
orders 11.00
table public.there
table shop.here`
	got := pgtest.One(t, url, `SELECT string_agg(x, E'\n' ORDER BY x) FROM (
		SELECT 'customers ' || count(*) FROM customers UNION ALL SELECT 'orders ' || total FROM orders UNION ALL SELECT 'here ' || count(*) FROM shop.here
		UNION ALL SELECT 'index ' || c.relname || ' valid=' || i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
			WHERE NOT i.indisprimary AND c.relnamespace IN ('public'::regnamespace, 'shop'::regnamespace)
		UNION ALL SELECT 'constraint ' || conname || ' valid=' || convalidated FROM pg_constraint WHERE contype IN ('u', 'f') AND connamespace = 'public'::regnamespace
		UNION ALL SELECT 'table ' || n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname IN ('here', 'there')) s(x)`)
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if e := pgtest.MustRun(t, openLocal(t, url), migrations, aurora.Request{}); len(e.Revisions) != 0 {
		t.Errorf("a second run did %d", len(e.Revisions))
	}
}

// A unique build that finds duplicates says which and leaves nothing behind;
// with the data put right, or the file, the same migration runs to its end.
func TestFailedUniqueBuild(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		fix  func(t *testing.T, url string, m *aurora.Migration)
		want string
	}{
		{"the data is fixed", func(t *testing.T, url string, _ *aurora.Migration) {
			pgtest.Exec(t, url, "DELETE FROM people WHERE id = 2")
		}, "people_email true true"},
		{"the file is fixed", func(t *testing.T, _ string, m *aurora.Migration) {
			m.Up[2] = aurora.Statement{SQL: "CREATE INDEX ASYNC people_email ON people (email)", File: m.Source, Line: 3}
			m.Checksum = aurora.Checksum("fixed")
		}, "people_email false true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := localdsql.Start(t)
			m := pgtest.Migration("1", "people", "CREATE TABLE people (id int PRIMARY KEY, email text)",
				"INSERT INTO people VALUES (1, 'x'), (2, 'x'), (3, 'y')",
				"CREATE UNIQUE INDEX ASYNC people_email ON people (email)",
				"CREATE INDEX ASYNC people_id ON people (id, email)",
				"CREATE TABLE log (what text)")
			_, err := pgtest.Run(t, openLocal(t, url), []aurora.Migration{m}, aurora.Request{})
			var step *aurora.StepError
			if !errors.As(err, &step) || step.Index != 2 || !strings.HasPrefix(step.Pos, "1_people.sql:3") || step.Hint == "" {
				t.Fatalf("%#v, want a failure of statement 3 with a hint", err)
			}
			if n := pgtest.One(t, url, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"); n != "0" {
				t.Errorf("%s invalid indexes are left", n)
			}
			tt.fix(t, url, &m)
			pgtest.MustRun(t, openLocal(t, url), []aurora.Migration{m}, aurora.Request{})
			got := pgtest.One(t, url, "SELECT indexrelid::regclass || ' ' || indisunique || ' ' || indisvalid FROM pg_index WHERE indexrelid = 'people_email'::regclass")
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if n := pgtest.One(t, url, "SELECT count(*) FROM people WHERE email = 'y'"); n != "1" {
				t.Errorf("the rows are there %s times", n)
			}
		})
	}
}

// A run that pauses while a job is at work goes on with that job.
func TestPauseWhileWaiting(t *testing.T) {
	t.Parallel()
	c := localdsql.StartCluster(t, localdsql.Config{JobDelay: 10 * time.Second})
	m := pgtest.Migration("1", "a", "CREATE TABLE a (id int PRIMARY KEY, b int)", "CREATE INDEX ASYNC a_b ON a (b)")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	db := openLocal(t, c.URL())
	activity := ""
	waiting := make(chan struct{})
	r := aurora.Runner{Store: db, Migrations: []aurora.Migration{m}, Holder: aurora.CurrentHolder("test"), Report: func(e aurora.Event) {
		if e.Revision != nil && e.Revision.Activity != "" && activity == "" {
			activity = e.Revision.Activity
			close(waiting)
		}
	}}
	pausing, pause := context.WithCancelCause(ctx)
	go func() { <-waiting; pause(aurora.ErrPaused) }()
	if _, err := r.Run(pausing, aurora.Request{}); !errors.Is(err, aurora.ErrPaused) {
		t.Fatalf("%v, want ErrPaused", err)
	}
	if !strings.Contains(activity, "a_b") {
		t.Errorf("while waiting it says %q", activity)
	}
	latest, err := db.Latest(t.Context())
	if err != nil || len(latest) != 1 {
		t.Fatal(latest, err)
	}
	if r := latest[0]; r.State != aurora.Paused || r.Done != 2 || !strings.Contains(string(r.Checkpoint), "a_b") {
		t.Errorf("%s, %d done, %s; want paused after 2 with the job", r.State, r.Done, r.Checkpoint)
	}
	pgtest.MustRun(t, openLocal(t, c.URL()), []aurora.Migration{m}, aurora.Request{})
	if n := pgtest.One(t, c.URL(), "SELECT count(*) FROM sys.jobs WHERE job_type = 'INDEX_BUILD'"); n != "1" {
		t.Errorf("%s jobs, want the one of the first run", n)
	}
	if v := pgtest.One(t, c.URL(), "SELECT indisvalid::text FROM pg_index WHERE indexrelid = 'a_b'::regclass"); v != "true" {
		t.Errorf("a_b is valid: %s", v)
	}
}

// Nothing runs when a later statement of any migration is refused.
func TestRefusedBeforeAnythingRuns(t *testing.T) {
	t.Parallel()
	url := localdsql.Start(t)
	_, err := pgtest.Run(t, openLocal(t, url), []aurora.Migration{
		pgtest.Migration("1", "fine", "CREATE TABLE fine (id int PRIMARY KEY)"),
		pgtest.Migration("2", "bad", "CREATE TABLE alsofine (id int PRIMARY KEY)", "TRUNCATE fine"),
	}, aurora.Request{})
	var step *aurora.StepError
	if !errors.As(err, &step) || step.Version != "2" || step.Index != 1 || step.Hint == "" || !strings.HasPrefix(step.Pos, "2_bad.sql:2") {
		t.Fatalf("%v, want statement 2 of 2_bad refused with advice", err)
	}
	if n := pgtest.One(t, url, "SELECT count(*) FROM pg_class WHERE relname IN ('fine', 'alsofine')"); n != "0" {
		t.Errorf("%s of the tables exist", n)
	}
}

// Exactly 3,000 rows are a transaction's limit, in which there is no room for
// the place.
func TestAsManyRowsAsATransactionTakes(t *testing.T) {
	t.Parallel()
	url := localdsql.Start(t)
	m := pgtest.Migration("1", "rows", "CREATE TABLE r (id int PRIMARY KEY)",
		"INSERT INTO r SELECT generate_series(1, 3000)", "INSERT INTO r SELECT generate_series(3001, 3010)")
	pgtest.MustRun(t, openLocal(t, url), []aurora.Migration{m}, aurora.Request{})
	if n := pgtest.One(t, url, "SELECT count(*) FROM r"); n != "3010" {
		t.Errorf("%s rows", n)
	}
	bad := pgtest.Migration("2", "toomany", "INSERT INTO r SELECT generate_series(10001, 13001)")
	_, err := pgtest.Run(t, openLocal(t, url), []aurora.Migration{m, bad}, aurora.Request{})
	var step *aurora.StepError
	if !errors.As(err, &step) || !strings.Contains(step.Hint, "3,000") {
		t.Errorf("%v, want advice about 3,000 rows", err)
	}
}

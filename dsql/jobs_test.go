package dsql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

func makeJob(sql, id string) job { return newJob(3, sql, sqllex.Classify(sql), id) }

func TestNewJob(t *testing.T) {
	for _, tt := range []struct {
		sql  string
		want job
	}{
		{"CREATE UNIQUE INDEX ASYNC IF NOT EXISTS orders_email ON shop.orders (lower(email), \"No\" NULLS FIRST) INCLUDE (x) WHERE NOT gone;",
			job{ID: "id", Step: 3, Kind: indexJob, Schema: "shop", Table: "orders", Object: "orders_email", Written: "shop.orders", Unique: true,
				Keys: `lower(email), "No"`, Where: "NOT gone"}},
		{"CREATE INDEX ASYNC ON \"Orders\" (a)", job{ID: "id", Step: 3, Kind: indexJob, Table: "Orders", Written: `"Orders"`, Keys: "a"}},
		{"CREATE INDEX ASYNC i ON t (f('" + strings.Repeat("x", textLimit) + "'))", job{ID: "id", Step: 3, Kind: indexJob, Table: "t", Object: "i", Written: "t"}},
		{"ALTER TABLE ASYNC shop.orders VALIDATE CONSTRAINT positive",
			job{ID: "id", Step: 3, Kind: validateJob, Schema: "shop", Table: "orders", Object: "positive", Written: "shop.orders"}},
	} {
		info := sqllex.Classify(tt.sql)
		if !makesJob(info) {
			t.Errorf("%s makes no job", tt.sql)
		}
		got := newJob(3, tt.sql, info, "id")
		if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(job{}, "StartedAt")); diff != "" {
			t.Errorf("%s: %s", tt.sql, diff)
		}
		stored, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var back job
		if err := json.Unmarshal(stored, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, back); diff != "" {
			t.Errorf("%s: stored and read back: %s", tt.sql, diff)
		}
	}
	for _, sql := range []string{"CREATE INDEX i ON t (a)", "CREATE INDEX CONCURRENTLY i ON t (a)", "ALTER TABLE t VALIDATE CONSTRAINT c", "ANALYZE t"} {
		if makesJob(sqllex.Classify(sql)) {
			t.Errorf("%s makes a job", sql)
		}
	}
}

func TestNeededBy(t *testing.T) {
	build := makeJob("CREATE UNIQUE INDEX ASYNC orders_email ON shop.orders (email)", "id")
	validate := makeJob("ALTER TABLE ASYNC orders VALIDATE CONSTRAINT positive", "id")
	unnamed := makeJob("CREATE INDEX ASYNC ON orders (a)", "id")
	for _, tt := range []struct {
		job  job
		sql  string
		want bool
	}{
		{build, "ALTER TABLE shop.orders ADD CONSTRAINT o UNIQUE USING INDEX orders_email", true},
		{build, "INSERT INTO shop.orders (email) VALUES ('x') ON CONFLICT (email) DO NOTHING", true},
		{build, "CREATE TABLE t (email text REFERENCES shop.\"orders\" (email))", true},
		{build, "DROP INDEX ORDERS_EMAIL", true},
		{build, "ALTER INDEX orders_email RENAME TO x", true},
		{build, "COMMENT ON INDEX orders_email IS 'x'", true},
		{build, "DROP SCHEMA shop CASCADE", true},
		{build, "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT count(*) FROM orders $$", true},
		{build, "CREATE INDEX ASYNC orders_email ON shop.orders (id)", true},
		{build, "CALL sys.wait_for_job('id')", true},
		{build, "CREATE INDEX ASYNC orders_n ON shop.orders (n)", false},
		{build, "CREATE INDEX ASYNC ON shop.orders (n)", false},
		{build, "ALTER TABLE ASYNC shop.orders VALIDATE CONSTRAINT positive", false},
		{build, "COMMENT ON TABLE shop.orders IS 'x'", false},
		{build, "GRANT SELECT ON shop.orders TO app", false},
		{build, "DROP SCHEMA other CASCADE", false},
		{build, "CREATE TABLE other (orders_id bigint)", false},
		{build, "INSERT INTO other SELECT 1 -- orders", false},
		{build, "INSERT INTO other VALUES ('my orders')", false},
		{build, "SELECT count_all('shop.orders')", true},
		{build, "SELECT 1", false},
		{validate, "ALTER TABLE ASYNC orders VALIDATE CONSTRAINT positive", true},
		{validate, "ALTER TABLE ASYNC orders VALIDATE CONSTRAINT other", false},
		{validate, "ALTER TABLE orders DROP CONSTRAINT positive", true},
		{unnamed, "COMMENT ON INDEX orders_a_idx IS 'x'", true},
		{unnamed, "CREATE INDEX ASYNC ON orders (b)", false},
	} {
		if got := tt.job.neededBy(tt.sql, sqllex.Classify(tt.sql)); got != tt.want {
			t.Errorf("%s: %v, for the job of %s", tt.sql, got, tt.job.Object)
		}
	}
}

func TestPollDelay(t *testing.T) {
	if first := pollDelay(0); first != 200*time.Millisecond {
		t.Errorf("first %v", first)
	}
	for n := range 40 {
		if a, b := pollDelay(n), pollDelay(n+1); b < a || b > 5*time.Second {
			t.Fatalf("%v before %v", a, b)
		}
	}
	if last := pollDelay(1000); last != 5*time.Second {
		t.Errorf("last %v", last)
	}
}

const orders = `CREATE SCHEMA "Shop"; SET LOCAL search_path = "Shop", public;
CREATE TABLE orders (id bigint PRIMARY KEY, email text, n int); ALTER TABLE orders ADD CONSTRAINT big CHECK (n > 1) NOT VALID;
CREATE UNIQUE INDEX orders_email ON orders (email); CREATE INDEX orders_n_idx ON orders (n);
UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('orders_email'::regclass, 'orders_n_idx'::regclass);`

// jobRow is a row of sys.jobs about an index.
func jobRow(id, status, details, index string) string {
	return fmt.Sprintf("INSERT INTO sys.jobs (job_id, status, details, job_type, class_id, object_id) VALUES ('%s', '%s', nullif('%s', ''), 'INDEX_BUILD', 1259, '%s'::regclass);",
		id, status, details, index)
}

const (
	uniqueBuild  = "CREATE UNIQUE INDEX ASYNC orders_email ON orders (email)"
	unnamedBuild = "CREATE INDEX ASYNC ON orders (n)"
	validation   = "ALTER TABLE ASYNC orders VALIDATE CONSTRAINT big"
)

// A jobTest is what one poll shows of a job, and what is made of it.
type jobTest struct {
	name, setup, sql, id string
	// locates asks for the object right behind the statement.
	locates bool
	running bool
	fails   string // empty for success
	dropped bool
	advice  string
}

var jobTests = []jobTest{
	{name: "processing", setup: orders + jobRow("j", "processing", "", "orders_email"), sql: uniqueBuild, id: "j", locates: true, running: true},
	{name: "valid", setup: orders + jobRow("j", "completed", "", "orders_email") + "UPDATE pg_index SET indisvalid = true WHERE NOT indisvalid",
		sql: uniqueBuild, id: "j", locates: true},
	{name: "valid before its job says so", setup: orders + jobRow("j", "processing", "", "orders_email") + "UPDATE pg_index SET indisvalid = true WHERE NOT indisvalid",
		sql: uniqueBuild, id: "j", locates: true},
	{name: "valid and forgotten", setup: orders + "UPDATE pg_index SET indisvalid = true WHERE NOT indisvalid", sql: uniqueBuild, id: "j", locates: true},
	{name: "valid after a renaming", setup: orders + jobRow("j", "completed", "", "orders_email") + "UPDATE pg_index SET indisvalid = true WHERE NOT indisvalid",
		sql: uniqueBuild, id: "j", locates: true},
	{name: "duplicates", setup: orders + jobRow("j", "failed", "Found duplicate key while validating index for UCVs", "orders_email"),
		sql: uniqueBuild, id: "j", locates: true, fails: "index Shop.orders_email did not get ready: Found duplicate key while validating index for UCVs (the invalid index was dropped)",
		dropped: true, advice: `SELECT email, count(*) FROM "Shop"."orders" GROUP BY email HAVING count(*) > 1`},
	{name: "failed without a word", setup: orders + jobRow("j", "failed", "", "orders_email"), sql: uniqueBuild, id: "j", locates: true,
		fails: "its job failed without a reason", dropped: true},
	{name: "completed without it", setup: orders + jobRow("j", "completed", "", "orders_email"), sql: uniqueBuild, id: "j", locates: true,
		fails: "its job completed without it", dropped: true, advice: "run again"},
	{name: "unknown status", setup: orders + jobRow("j", "cancelled", "", "orders_email"), sql: uniqueBuild, id: "j", locates: true,
		fails: "its job cancelled without a reason", dropped: true},
	{name: "forgotten and invalid", setup: orders, sql: uniqueBuild, id: "j", locates: true, fails: "its job is not listed any more", dropped: true},
	{name: "the table went", setup: orders + jobRow("j", "completed", "Skipped job for nonexistent table.", "orders_email") + "DROP TABLE orders",
		sql: uniqueBuild, id: "j", fails: "Skipped job for nonexistent table."},
	{name: "without a name", setup: orders + jobRow("j", "failed", "gone wrong", "orders_n_idx"), sql: unnamedBuild, id: "j", locates: true,
		fails: "index Shop.orders_n_idx did not get ready: gone wrong", dropped: true},
	{name: "without a name and place", setup: orders + jobRow("j", "completed", "", "orders_n_idx") + "UPDATE pg_index SET indisvalid = true WHERE NOT indisvalid", sql: unnamedBuild, id: "j"},
	{name: "without a place", setup: orders + jobRow("j", "completed", "", "orders_email") + "UPDATE pg_index SET indisvalid = true WHERE NOT indisvalid", sql: uniqueBuild, id: "j"},
	{name: "validated without a place", setup: orders + "ALTER TABLE orders VALIDATE CONSTRAINT big;" + jobRow("j", "completed", "", "orders"), sql: validation, id: "j"},
	{name: "found there already", setup: orders + "UPDATE pg_index SET indisvalid = true WHERE NOT indisvalid", sql: uniqueBuild, id: "", locates: true},
	{name: "found there in building", setup: orders + jobRow("other", "processing", "", "orders_email"), sql: uniqueBuild, id: "", locates: true, running: true},
	{name: "validated", setup: orders + "ALTER TABLE orders VALIDATE CONSTRAINT big", sql: validation, id: "j", locates: true},
	{name: "violated", setup: orders + `INSERT INTO sys.jobs (job_id, status, details) VALUES ('j', 'failed', 'check constraint "big" is violated by some row')`,
		sql: validation, id: "j", locates: true, fails: `constraint Shop.big did not get ready: check constraint "big" is violated by some row`, advice: "correct the rows"},
}

// What a job came to is for the catalog to say.
func TestJobs(t *testing.T) {
	url := startPlain(t)
	for i, tt := range jobTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlain(t, url)
			ctx := context.Background()
			shop := fmt.Sprintf("Shop%d", i)
			p.run(t, "BEGIN; "+strings.ReplaceAll(tt.setup, "Shop", shop))
			defer p.run(t, "ROLLBACK")
			j := makeJob(tt.sql, tt.id)
			if tt.locates {
				query, args := j.locate()
				rows, err := p.ask(ctx, query, args...)
				if err != nil {
					t.Fatal(err)
				}
				j.located(rows)
				if j.Schema != shop || j.Object != "" && j.OID == "" {
					t.Errorf("located in schema %q with oid %q", j.Schema, j.OID)
				}
			}
			if tt.name == "valid after a renaming" {
				p.run(t, "ALTER INDEX orders_email RENAME TO renamed")
			}
			p.run(t, "SET LOCAL search_path = pg_catalog") // it may be another by now
			other := makeJob("CREATE INDEX ASYNC nothing ON nowhere (n)", "unknown")
			states, err := pollJobs(ctx, p.ask, []job{other, j})
			if err != nil {
				t.Fatal(err)
			}
			s := states[1]
			if s.running() != tt.running {
				t.Fatalf("running is %v: %s", s.running(), s)
			}
			if tt.running {
				if want := "building index " + shop + ".orders_email: processing, "; !strings.HasPrefix(s.String(), want) {
					t.Errorf("%q does not begin with %q", s, want)
				}
				return
			}
			checkSettled(t, settle(ctx, p.ask, s), strings.ReplaceAll(tt.fails, "Shop", shop), strings.ReplaceAll(tt.advice, "Shop", shop), tt.dropped)
			left, err := p.ask(ctx, "SELECT relname FROM pg_class WHERE relname = $1", s.Object)
			if err != nil {
				t.Fatal(err)
			}
			if tt.dropped && len(left) > 0 {
				t.Error("the invalid index is still there")
			}
		})
	}
	t.Run("find", func(t *testing.T) { testFindJob(t, newPlain(t, url)) })
	t.Run("leftovers", func(t *testing.T) { testDropLeftover(t, newPlain(t, url)) })
	t.Run("none", func(t *testing.T) {
		if states, err := pollJobs(context.Background(), nil, nil); err != nil || states != nil {
			t.Errorf("got %v, %v", states, err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(context.Background())
		cause := errors.New("enough of it")
		cancel(cause)
		if err := settle(ctx, nil, jobState{status: jobCompleted}); !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
	})
}

func checkSettled(t *testing.T, err error, fails, advice string, dropped bool) {
	t.Helper()
	if fails == "" {
		if err != nil {
			t.Errorf("settled as %v", err)
		}
		return
	}
	var bad *JobError
	if !errors.As(err, &bad) {
		t.Fatalf("settled as %v, want a JobError", err)
	}
	if !strings.Contains(bad.Error(), fails) {
		t.Errorf("%q does not say %q", bad, fails)
	}
	if !strings.Contains(bad.Hint(), advice) || bad.Hint() == "" {
		t.Errorf("the advice %q does not say %q", bad.Hint(), advice)
	}
	if bad.Dropped != dropped {
		t.Errorf("dropped is %v", bad.Dropped)
	}
}

// After a crash between a statement and its checkpoint, its job is taken up.
func testFindJob(t *testing.T, p plain) {
	ctx := context.Background()
	p.run(t, "BEGIN; "+orders+jobRow("j1", "processing", "", "orders_email")+jobRow("j2", "submitted", "", "orders_n_idx"))
	defer p.run(t, "ROLLBACK")
	for sql, want := range map[string][2]string{uniqueBuild: {"j1", "orders_email"}, unnamedBuild: {"j2", "orders_n_idx"}} {
		info := sqllex.Classify(sql)
		if found, err := look(ctx, p.ask, sql, info); err != nil || found != building {
			t.Fatalf("%s: %v, %v", sql, found, err)
		}
		j, err := findJob(ctx, p.ask, 7, sql, info)
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]string{j.ID, j.Object}; got != want || j.Step != 7 || j.Schema != "Shop" || j.OID == "" {
			t.Errorf("%s: found %+v", sql, j)
		}
	}
}

func testDropLeftover(t *testing.T, p plain) {
	ctx := context.Background()
	for _, tt := range []struct{ name, setup, sql, want string }{
		{"invalid", orders, uniqueBuild, `"Shop"."orders_email"`},
		{"invalid, if not exists", orders, "CREATE UNIQUE INDEX ASYNC IF NOT EXISTS orders_email ON orders (email)", `"Shop"."orders_email"`},
		{"invalid, without a name", orders, unnamedBuild, `"Shop"."orders_n_idx"`},
		{"in building", orders + jobRow("j", "processing", "", "orders_email"), uniqueBuild, ""},
		{"valid", orders + "UPDATE pg_index SET indisvalid = true WHERE NOT indisvalid", uniqueBuild, ""},
		{"none", "SET LOCAL search_path = public; CREATE TABLE orders (email text)", uniqueBuild, ""},
		{"of another table", orders + "CREATE TABLE o (email text)", "CREATE UNIQUE INDEX ASYNC orders_email ON o (email)", ""},
		{"no table", "", uniqueBuild, ""},
		{"no index", orders, "DROP INDEX orders_email", ""},
		{"not built by a job", orders, "CREATE UNIQUE INDEX orders_email ON orders (email)", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.run(t, "BEGIN; "+tt.setup)
			defer p.run(t, "ROLLBACK")
			before, _ := p.ask(ctx, "SELECT relname FROM pg_class WHERE relkind = 'i' ORDER BY 1")
			dropped, err := dropLeftover(ctx, p.ask, tt.sql, sqllex.Classify(tt.sql))
			if err != nil || dropped != tt.want {
				t.Errorf("dropped %q, %v, want %q", dropped, err, tt.want)
			}
			after, _ := p.ask(ctx, "SELECT relname FROM pg_class WHERE relkind = 'i' ORDER BY 1")
			if gone := len(before) - len(after); gone != min(1, len(tt.want)) {
				t.Errorf("%d indexes are gone", gone)
			}
			if slices.Contains(texts(after)[0], "orders_email") && strings.Contains(tt.want, "orders_email") {
				t.Error("it is still there")
			}
		})
	}
}

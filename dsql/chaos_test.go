package dsql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/localdsql"
)

// manySorts are n migrations of all sorts. Each change of rows leaves one row
// in log, and must do so once.
func manySorts(n int) []aurora.Migration {
	out := []aurora.Migration{pgtest.Migration("001", "log", "CREATE TABLE log (what text)", "CREATE TABLE data (a int, b text)")}
	for i := 2; i <= n; i++ {
		v := fmt.Sprintf("%03d", i)
		log := func(part string) string { return "INSERT INTO log VALUES ('" + v + part + "')" }
		switch i % 8 {
		case 0: // builds side by side, with rows before and behind
			out = append(out, pgtest.Migration(v, "index",
				fmt.Sprintf("CREATE TABLE x%d (a int PRIMARY KEY, b text)", i),
				log("a"),
				fmt.Sprintf("CREATE UNIQUE INDEX CONCURRENTLY x%d_b ON x%d (b)", i, i),
				fmt.Sprintf("CREATE INDEX x%d_ab ON x%d USING btree (a, b)", i, i),
				log("b"),
				fmt.Sprintf("ALTER TABLE x%d ADD CONSTRAINT x%d_key UNIQUE USING INDEX x%d_b", i, i, i)))
		case 1:
			out = append(out, pgtest.Migration(v, "block", log("a"), "BEGIN", log("b"), log("c"), "COMMIT", log("d")))
		case 2:
			out = append(out, pgtest.Migration(v, "function", log("a"), fmt.Sprintf("CREATE FUNCTION f%d() RETURNS int LANGUAGE sql AS $$ SELECT 1; $$", i)))
		case 3:
			out = append(out, pgtest.Migration(v, "column", fmt.Sprintf("ALTER TABLE data ADD COLUMN c%d int", i), fmt.Sprintf("ALTER TABLE data RENAME COLUMN c%d TO d%d", i, i), log("a")))
		case 4:
			out = append(out, pgtest.Migration(v, "drop", fmt.Sprintf("CREATE TABLE gone%d (a int)", i), log("a"), fmt.Sprintf("DROP TABLE gone%d", i), log("b")))
		case 5:
			out = append(out, pgtest.Migration(v, "check", fmt.Sprintf("ALTER TABLE data ADD CONSTRAINT k%d CHECK (a > -%d) NOT VALID", i, i),
				fmt.Sprintf("ALTER TABLE data VALIDATE CONSTRAINT k%d", i), log("a")))
		default:
			out = append(out, pgtest.Migration(v, "table", fmt.Sprintf("CREATE TABLE t%d (id int)", i), log("a"), "BEGIN", fmt.Sprintf("CREATE VIEW v%d AS SELECT * FROM t%d", i, i), "COMMIT", log("b")))
		}
	}
	return out
}

// fingerprint describes the schema and the log, so that two databases can be
// compared.
func fingerprint(t testing.TB, url string) string {
	t.Helper()
	return pgtest.One(t, url, `SELECT string_agg(x, E'\n' ORDER BY x COLLATE "C") FROM (
		SELECT 'log ' || what || ' ' || count(*) FROM log GROUP BY what
		UNION ALL SELECT c.relkind::text || ' ' || c.relname || coalesce(' valid ' || i.indisvalid, '') FROM pg_class c
			LEFT JOIN pg_index i ON i.indexrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace
		UNION ALL SELECT 'column ' || attname FROM pg_attribute WHERE attrelid = 'data'::regclass AND attnum > 0
		UNION ALL SELECT 'constraint ' || conname || ' ' || convalidated FROM pg_constraint WHERE connamespace = 'public'::regnamespace
		UNION ALL SELECT 'f ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace) s(x)`)
}

// Two runners, conflicts in a fifth of all commits and statements, jobs that
// fail and connections that drop, over 200 migrations: all of them are applied,
// each once.
func TestEverythingGoesWrong(t *testing.T) {
	t.Parallel()
	migrations := manySorts(200)
	if testing.Short() {
		migrations = migrations[:60]
	}
	want := func() string {
		url := localdsql.Start(t)
		pgtest.MustRun(t, openLocal(t, url), migrations, aurora.Request{})
		return fingerprint(t, url)
	}()
	c := localdsql.StartCluster(t, localdsql.Config{})
	url := c.URL()
	if err := c.Faults().Set("oc000=20%,oc001=20%,job-fail=10%,drop=1%,drop-after=1%"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for runs := 1; ; runs++ {
				err := oneRun(ctx, url, migrations)
				if err == nil || ctx.Err() != nil {
					t.Logf("complete after %d runs: %v", runs, err)
					return
				}
				t.Logf("%s run %d: %v", time.Now().Format("05.000"), runs, err)
				if !isExpected(err) {
					t.Errorf("run %d: %v", runs, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := c.Faults().Set(""); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(fingerprint(t, url), "\n")); diff != "" {
		t.Errorf("it differs from an undisturbed run (-want +got):\n%s", diff)
	}
	latest, err := openLocal(t, url).Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range latest {
		if r.State != aurora.Completed {
			t.Errorf("%s is %s", r.ID(), r.State)
		}
	}
	if len(latest) != len(migrations) {
		t.Errorf("%d revisions of %d", len(latest), len(migrations))
	}
}

func oneRun(ctx context.Context, url string, migrations []aurora.Migration) error {
	db, err := dsql.Open(ctx, dsql.Config{URL: url, Retry: dsql.Retry{First: 5 * time.Millisecond, Cap: 100 * time.Millisecond, Tries: 100, Budget: time.Minute}})
	if err != nil {
		return err
	}
	defer db.Close(context.WithoutCancel(ctx))
	r := aurora.Runner{Store: db, Migrations: migrations, TTL: 5 * time.Second, Holder: aurora.CurrentHolder("test")}
	_, err = r.Run(ctx, aurora.Request{})
	return err
}

// isExpected reports an end that running again is the answer to: a job that
// failed, a lease that could not be taken or kept over a broken connection.
func isExpected(err error) bool {
	var job *dsql.JobError
	return errors.As(err, &job) || errors.Is(err, aurora.ErrLeaseLost) || dsql.IsConnectionLost(err)
}

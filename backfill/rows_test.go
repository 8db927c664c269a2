package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/backfill"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

func connector(url string) func(context.Context) (*pgx.Conn, error) {
	return func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, url) }
}

// pauseAfterASecond gives a step a second until it is to pause, and long enough to do so
// on a machine that is busy.
func pauseAfterASecond(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), pauseBefore+time.Second)
}

const pauseBefore = 2 * time.Minute

// step runs one step as a migration and returns how it ended.
func step(ctx context.Context, store aurora.Store, do func(context.Context, *aurora.Env) error) (aurora.Execution, error) {
	r := &aurora.Runner{Store: store, PauseBefore: pauseBefore, Migrations: []aurora.Migration{{
		Version: "1", Name: "backfill", Up: []aurora.Step{aurora.Func{Name: "backfill", Do: do}},
	}}}
	return r.Run(ctx, aurora.Request{})
}

// numbers makes a table of n rows with a counter each.
func numbers(t testing.TB, url string, n int) {
	t.Helper()
	pgtest.Exec(t, url, fmt.Sprintf(`CREATE TABLE numbers (id bigint PRIMARY KEY, count int NOT NULL DEFAULT 0);
INSERT INTO numbers SELECT i FROM generate_series(1, %d) i; ANALYZE numbers`, n))
}

const addOne = "UPDATE numbers SET count = count + 1 WHERE {range}"

func TestRows(t *testing.T) {
	for _, tt := range []struct {
		name  string
		setup string
		rows  backfill.Rows
		want  string // of the query below
		query string
	}{
		{"bigint", "CREATE TABLE t (id bigint PRIMARY KEY, n int DEFAULT 0); INSERT INTO t SELECT i*3 FROM generate_series(-5000, 5000) i",
			backfill.Rows{SQL: "UPDATE t SET n = n + 1 WHERE {range}"}, "10001 10001", ""},
		{"uuid", "CREATE TABLE t (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), n int DEFAULT 0); INSERT INTO t (n) SELECT 0 FROM generate_series(1, 9000)",
			backfill.Rows{SQL: "UPDATE t SET n = n + 1 WHERE {range}"}, "9000 9000", ""},
		{"text with quotes", `CREATE TABLE t (id text PRIMARY KEY, n int DEFAULT 0); INSERT INTO t SELECT '''"\é' || i || E'\n' FROM generate_series(1, 5000) i`,
			backfill.Rows{SQL: "UPDATE t SET n = n + 1 WHERE {range}"}, "5000 5000", ""},
		{"composite of types", `CREATE TABLE t (a timestamptz, "B c" numeric(20,4), d char(5), n int DEFAULT 0, PRIMARY KEY (a, "B c", d));
			INSERT INTO t SELECT to_timestamp(i/1000) + interval '1 microsecond' * (i/100), i%100/7.0, chr(97 + i%26) FROM generate_series(1, 8000) i`,
			backfill.Rows{SQL: "UPDATE t SET n = n + 1 WHERE {range}"}, "8000 8000", ""},
		{"dates in another style", `CREATE TABLE t (id date PRIMARY KEY, n int DEFAULT 0); INSERT INTO t SELECT date '1999-12-01' + i FROM generate_series(1, 4000) i;
			DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET datestyle = ''SQL, DMY''', current_database()); END $$`,
			backfill.Rows{SQL: "UPDATE t SET n = n + 1 WHERE {range}"}, "4000 4000", ""},
		{"key with ties", "CREATE TABLE t (id bigint PRIMARY KEY, g int NOT NULL, n int DEFAULT 0); CREATE INDEX ON t (g); INSERT INTO t SELECT i, i/1700 FROM generate_series(1, 9000) i",
			backfill.Rows{Key: []string{"g"}, SQL: "UPDATE t SET n = n + 1 WHERE {range}"}, "9000 9000", ""},
		{"float and bytes", "CREATE TABLE t (a double precision, b bytea, n int DEFAULT 0, PRIMARY KEY (a, b)); INSERT INTO t SELECT 1/(i%50+3)::float8, decode(lpad(to_hex(i), 8, '0'), 'hex') FROM generate_series(1, 6000) i",
			backfill.Rows{SQL: "UPDATE t SET n = n + 1 WHERE {range}"}, "6000 6000", ""},
		{"restricted", "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0); INSERT INTO t SELECT i FROM generate_series(1, 9000) i",
			backfill.Rows{Where: "id % 3 = 0", SQL: "UPDATE t SET n = n + 1 WHERE {range}"}, "9000 3000", ""},
		{"alias", "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0); CREATE TABLE o (id int PRIMARY KEY, v int); INSERT INTO t SELECT i FROM generate_series(1, 4000) i; INSERT INTO o SELECT i, 1 FROM generate_series(1, 4000) i",
			backfill.Rows{Alias: "u", SQL: "UPDATE t AS u SET n = u.n + o.v FROM o WHERE o.id = u.id AND {range}"}, "4000 4000", ""},
		{"idempotent", "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0); INSERT INTO t SELECT i FROM generate_series(1, 9000) i",
			backfill.Rows{Idempotent: true, SQL: "UPDATE t SET n = n + 1 WHERE n = 0 AND {range}"}, "9000 9000", ""},
		{"enum", "CREATE TYPE e AS ENUM ('x', 'a', 'm'); CREATE TABLE t (id e, k int, n int DEFAULT 0, PRIMARY KEY (id, k)); INSERT INTO t SELECT v::e, i FROM generate_series(1, 1500) i, unnest('{x,a,m}'::text[]) v",
			backfill.Rows{SQL: "UPDATE t SET n = n + 1 WHERE {range}"}, "4500 4500", ""},
		{"empty", "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0)", backfill.Rows{SQL: "UPDATE t SET n = n + 1 WHERE {range}"}, "0 0", ""},
		{"deletes", "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 1); INSERT INTO t SELECT i FROM generate_series(1, 7000) i",
			backfill.Rows{SQL: "DELETE FROM t WHERE {range} AND id > 10"}, "10 10", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.URL(t)
			pgtest.Exec(t, url, tt.setup)
			tt.rows.Connect, tt.rows.Table = connector(url), "t"
			var result backfill.Result
			tt.rows.Report = func(r backfill.Result) { result = r }
			before := pgtest.One(t, url, "SELECT count(*) FROM t"+map[bool]string{true: " WHERE " + tt.rows.Where}[tt.rows.Where != ""])
			dry, err := tt.rows.DryRun(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := step(t.Context(), new(auroratest.Memory), tt.rows.Run); err != nil {
				t.Fatal(err)
			}
			if got := pgtest.One(t, url, "SELECT count(*) || ' ' || coalesce(sum(n), 0) FROM t"); got != tt.want {
				t.Errorf("rows and sum: %s, want %s", got, tt.want)
			}
			if got := pgtest.One(t, url, "SELECT count(*) FROM t WHERE n NOT IN (0, 1)"); got != "0" {
				t.Errorf("%s rows were changed twice", got)
			}
			if fmt.Sprint(result.Visited) != before || fmt.Sprint(dry.Rows) != before || result.Total != result.Visited || !result.Complete {
				t.Errorf("%+v and dry %+v, want %s rows", result, dry, before)
			}
		})
	}
}

func TestRowsChecks(t *testing.T) {
	url := pgtest.URL(t)
	pgtest.Exec(t, url, `CREATE TABLE good (id int PRIMARY KEY, n int, g int); CREATE INDEX ON good (g); INSERT INTO good VALUES (1, 1, NULL);
CREATE TABLE keyless (id int)`)
	connect := connector(url)
	for _, tt := range []struct {
		rows backfill.Rows
		want string
	}{
		{backfill.Rows{Table: "good", SQL: "UPDATE good SET n = 1 WHERE {range}"}, "give it a url, or set Connect"},
		{backfill.Rows{Connect: connect, SQL: "UPDATE good SET n = 1 WHERE {range}"}, "need a table"},
		{backfill.Rows{Connect: connect}, "need a table"},
		{backfill.Rows{Connect: connect, Table: "good"}, "either SQL or Do"},
		{backfill.Rows{Connect: connect, Table: "good", SQL: "UPDATE good SET n = 1"}, "{range} exactly once"},
		{backfill.Rows{Connect: connect, Table: "good", SQL: "UPDATE good SET n = 1 WHERE {range}", Options: backfill.Options{Workers: -1}}, "negative"},
		{backfill.Rows{Connect: connect, Table: "missing", SQL: "UPDATE missing SET n = 1 WHERE {range}"}, `"missing" does not exist`},
		{backfill.Rows{Connect: connect, Table: "keyless", SQL: "UPDATE keyless SET id = 1 WHERE {range}"}, "no primary key"},
		{backfill.Rows{Connect: connect, Table: "good", Key: []string{"x"}, SQL: "UPDATE good SET n = 1 WHERE {range}"}, `no column "x"`},
		{backfill.Rows{Connect: connect, Table: "good", Key: []string{"n"}, SQL: "UPDATE good SET n = 1 WHERE {range}"}, "no index that begins with (n)"},
		{backfill.Rows{Connect: connect, Table: "good", Key: []string{"g"}, SQL: "UPDATE good SET n = 1 WHERE {range}"}, "NULL in the key (g)"},
		{backfill.Rows{Connect: connect, Table: "good", SQL: "UPDATE good SET wrong = 1 WHERE {range}"}, `column "wrong" of relation "good" does not exist`},
	} {
		_, err := step(t.Context(), new(auroratest.Memory), tt.rows.Run)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.rows.Table, err, tt.want)
		}
	}
}

// Two backfills of one step, one of them a function.
func TestRowsDo(t *testing.T) {
	url := pgtest.URL(t)
	numbers(t, url, 10_000)
	do := func(ctx context.Context, tx pgx.Tx, b backfill.Batch) (int64, error) {
		rows, err := tx.Query(ctx, "SELECT id FROM numbers WHERE "+b.Range, b.Args...)
		if err != nil {
			return 0, err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return 0, err
		}
		if int64(len(ids)) != b.Rows {
			return 0, fmt.Errorf("%d rows, want %d", len(ids), b.Rows)
		}
		tag, err := tx.Exec(ctx, "UPDATE numbers SET count = count + 1 WHERE id = ANY ($1)", ids)
		return tag.RowsAffected(), err
	}
	connect := connector(url)
	first := backfill.Rows{Connect: connect, Table: "numbers", SQL: addOne, Options: backfill.Options{Name: "first"}}
	second := backfill.Rows{Connect: connect, Table: "numbers", Do: do, Options: backfill.Options{Name: "second"}}
	third := backfill.Rows{Connect: connect, Table: "numbers", Idempotent: true, SQL: addOne, Options: backfill.Options{Name: "first"}}
	var clash error
	_, err := step(t.Context(), new(auroratest.Memory), func(ctx context.Context, env *aurora.Env) error {
		if err := errors.Join(first.Run(ctx, env), second.Run(ctx, env)); err != nil {
			return err
		}
		third.SQL += " AND true"
		clash = third.Run(ctx, env)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if clash == nil || !strings.Contains(clash.Error(), "different names") {
		t.Errorf("a second change of the same name: %v", clash)
	}
	if got := pgtest.One(t, url, "SELECT min(count) || ' ' || max(count) FROM numbers"); got != "2 2" {
		t.Errorf("counts are %s, want 2 2", got)
	}
}

// A row that fails is found, named, and skipped if that is allowed; all others
// are changed.
func TestRowsThatFail(t *testing.T) {
	for _, idempotent := range []bool{false, true} {
		t.Run(fmt.Sprint("idempotent ", idempotent), func(t *testing.T) {
			url := pgtest.URL(t)
			numbers(t, url, 20_000)
			pgtest.Exec(t, url, "ALTER TABLE numbers ADD CHECK (count = 0 OR id NOT IN (1, 777, 7778, 7779, 20000))")
			rows := backfill.Rows{Connect: connector(url), Table: "numbers", SQL: addOne, Idempotent: idempotent}
			if idempotent {
				rows.SQL += " AND count = 0"
			}
			var result backfill.Result
			rows.Report = func(r backfill.Result) { result = r }
			store := new(auroratest.Memory)
			rows.SkipFailed = 3
			_, err := step(t.Context(), store, rows.Run)
			var failed *backfill.FailedError
			if !errors.As(err, &failed) || failed.Skipped != 3 || failed.Table != "numbers" || !strings.Contains(err.Error(), "numbers, id=") {
				t.Fatalf("%v, want a FailedError", err)
			}
			rows.SkipFailed = 5
			if _, err := step(t.Context(), store, rows.Run); err != nil {
				t.Fatal(err)
			}
			keys := map[string]bool{}
			for _, f := range result.Failed {
				keys[f.Key] = strings.Contains(f.Error, "numbers_check")
			}
			want := map[string]bool{"id=1": true, "id=777": true, "id=7778": true, "id=7779": true, "id=20000": true}
			if !cmp.Equal(keys, want) || result.Failures != 5 || result.Visited != 20_000 {
				t.Errorf("%+v", result)
			}
			if got := pgtest.One(t, url, "SELECT sum(count) || ' ' || max(count) FROM numbers"); got != "19995 1" {
				t.Errorf("sum and max %s, want 19995 1", got)
			}
		})
	}
}

// A callback that panics is an error of its row.
func TestRowsPanic(t *testing.T) {
	url := pgtest.URL(t)
	numbers(t, url, 100)
	rows := backfill.Rows{Connect: connector(url), Table: "numbers", Do: func(ctx context.Context, tx pgx.Tx, b backfill.Batch) (int64, error) {
		panic("oh")
	}}
	_, err := step(t.Context(), new(auroratest.Memory), rows.Run)
	var failed *backfill.FailedError
	if !errors.As(err, &failed) || failed.Key != "id=1" || !strings.Contains(err.Error(), "panic: oh") {
		t.Errorf("%v", err)
	}
}

// Near the deadline the backfill pauses, and it goes on in the next run, until
// all is done exactly once.
func TestRowsPause(t *testing.T) {
	url := pgtest.URL(t)
	numbers(t, url, 6000)
	store := new(auroratest.Memory)
	rows := backfill.Rows{Connect: connector(url), Table: "numbers", SQL: addOne, Options: backfill.Options{PerSecond: 2500}}
	var progress int64
	rows.Report = func(r backfill.Result) {
		if r.Visited < progress {
			t.Errorf("went back from %d to %d", progress, r.Visited)
		}
		progress = r.Visited
	}
	pauses := 0
	for {
		ctx, cancel := pauseAfterASecond(t)
		e, err := step(ctx, store, rows.Run)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, aurora.ErrPaused) || e.State != aurora.Paused {
			t.Fatal(err)
		}
		if got := pgtest.One(t, url, "SELECT sum(count) FROM numbers"); got != fmt.Sprint(progress) {
			t.Fatalf("%s rows are changed, and the checkpoint says %d", got, progress)
		}
		pauses++
	}
	if got := pgtest.One(t, url, "SELECT min(count) || ' ' || max(count) FROM numbers"); got != "1 1" || pauses == 0 {
		t.Errorf("counts are %s after %d pauses", got, pauses)
	}
}

// The throttle is obeyed: while it says no, nothing happens.
func TestThrottle(t *testing.T) {
	url := pgtest.URL(t)
	numbers(t, url, 5000)
	pgtest.Exec(t, url, "CREATE TABLE brake (go int); INSERT INTO brake VALUES (0)")
	var asked atomic.Int64
	query := backfill.Query(connector(url), "SELECT go FROM brake")
	rows := backfill.Rows{Connect: connector(url), Table: "numbers", SQL: addOne, Options: backfill.Options{
		Throttle: func(ctx context.Context) (float64, error) {
			share, err := query(ctx)
			if asked.Add(1) == 2 {
				if got := pgtest.One(t, url, "SELECT sum(count) FROM numbers"); got != "0" {
					t.Errorf("%s rows were changed", got)
				}
				pgtest.Exec(t, url, "UPDATE brake SET go = 1")
			}
			return share, err
		}}}
	if _, err := step(t.Context(), new(auroratest.Memory), rows.Run); err != nil {
		t.Fatal(err)
	}
	if got := pgtest.One(t, url, "SELECT sum(count) FROM numbers"); got != "5000" || asked.Load() < 3 {
		t.Errorf("%s rows were changed, and the throttle was asked %d times", got, asked.Load())
	}
	rows.Throttle = func(context.Context) (float64, error) { return 0, errors.New("no") }
	if _, err := step(t.Context(), new(auroratest.Memory), rows.Run); err == nil || !strings.Contains(err.Error(), "ask how fast to go: no") {
		t.Errorf("a throttle that fails: %v", err)
	}
}

package dsql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// The checks here need what the package keeps to itself, and a local DSQL,
// which imports the package: tests outside of it give them the URL.

// A local is a connection to a local DSQL.
type local struct{ conn *pgconn.PgConn }

func newLocal(t *testing.T, url string) local {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	defer cancel()
	c, err := newConnector(url, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := c.connect(ctx, pgconn.ConnectConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return local{conn}
}

// ask repeats what a schema conflict hit, as the store does.
func (l local) ask(ctx context.Context, sql string, args ...string) ([][][]byte, error) {
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	for {
		res := l.conn.ExecParams(ctx, sql, values, nil, nil, nil).Read()
		var pgErr *pgconn.PgError
		if errors.As(res.Err, &pgErr) && pgErr.Code == "40001" && ctx.Err() == nil {
			continue
		}
		return res.Rows, res.Err
	}
}

// run runs statements one by one, and waits for the jobs that they make.
func (l local) run(t *testing.T, p Profile, script string) error {
	t.Helper()
	statements, err := sqllex.Split(strings.ReplaceAll(script, "SET LOCAL", "SET"), sqllex.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		sql, _, err := Rewrite(s.Text, p)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := l.ask(context.Background(), sql)
		if err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
		if info := sqllex.Classify(sql); makesJob(info) && len(rows) == 1 {
			if err := l.await(newJob(0, sql, info, string(rows[0][0]))); err != nil {
				return err
			}
		}
	}
	return nil
}

// await waits for a job as the store does.
func (l local) await(j job) error {
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	defer cancel()
	query, args := j.locate()
	rows, err := l.ask(ctx, query, args...)
	if err != nil {
		return err
	}
	j.located(rows)
	for n := 0; ; n++ {
		states, err := pollJobs(ctx, l.ask, []job{j})
		if err != nil {
			return err
		}
		if !states[0].running() {
			return settle(ctx, l.ask, states[0])
		}
		time.Sleep(pollDelay(n) / 10) // a local one is faster
	}
}

// clean drops all that a test made.
func (l local) clean(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	if _, err := l.ask(ctx, "RESET search_path"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		rows, err := l.ask(ctx, `SELECT 'SCHEMA ' || quote_ident(nspname) || ' CASCADE' FROM pg_namespace
	WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'sys', 'information_schema')
UNION ALL SELECT CASE relkind WHEN 'r' THEN 'TABLE ' WHEN 'v' THEN 'VIEW ' ELSE 'SEQUENCE ' END || 'public.' || quote_ident(relname) || ' CASCADE'
	FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'S')
UNION ALL SELECT 'DOMAIN public.' || quote_ident(typname) FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype = 'd'
UNION ALL SELECT 'FUNCTION ' || oid::regprocedure FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'ROLE ' || quote_ident(rolname) FROM pg_roles WHERE rolname ~ '_x$'`)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			return
		}
		for _, r := range texts(rows) {
			_, _ = l.ask(ctx, "DROP "+r[0]) // in whatever order works
		}
	}
	t.Fatal("what a test made cannot be dropped")
}

// CheckEvidence looks for statements before and after they ran, as TestEvidence
// does, where DSQL takes them.
func CheckEvidence(t *testing.T, url string) {
	l := newLocal(t, url)
	p, err := Latest()
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range []struct {
		name   string
		tests  []evidenceTest
		beside int // how many DSQL refuses, or are for a catalog of our own
	}{
		{"create", createTests, 0}, {"alter table", alterTableTests, 0}, {"other", otherTests, 5},
	} {
		t.Run(group.name, func(t *testing.T) {
			beside := 0
			for _, tt := range group.tests {
				if refusedBy(p, tt) != "" {
					beside++
					continue
				}
				t.Run(tt.sql, func(t *testing.T) {
					defer l.clean(t)
					if err := l.run(t, p, tt.setup); err != nil {
						t.Fatal(err)
					}
					if got := lookAt(t, l.ask, tt.sql); got != tt.before {
						t.Errorf("before it ran: %v, want %v", got, tt.before)
					}
					if err := l.run(t, p, cmp.Or(tt.run, tt.sql)); err != nil {
						t.Fatal(err)
					}
					if got := lookAt(t, l.ask, tt.sql); got != tt.after {
						t.Errorf("after it ran: %v, want %v", got, tt.after)
					}
				})
			}
			if beside != group.beside {
				t.Errorf("%d of %d did not run, want %d", beside, len(group.tests), group.beside)
			}
		})
	}
}

// refusedBy says which statement of a test DSQL is known to refuse.
func refusedBy(p Profile, tt evidenceTest) string {
	statements, _ := sqllex.Split(tt.setup+";"+tt.sql, sqllex.Options{})
	for _, s := range statements {
		for _, f := range Check(p, []aurora.Statement{{SQL: strings.ReplaceAll(s.Text, "SET LOCAL", "SET")}}) {
			if !f.Rewritten {
				return f.Error()
			}
		}
	}
	if strings.Contains(tt.setup, "sys.") || strings.Contains(tt.sql, "AWS IAM") || strings.Contains(tt.sql, "CALL ") {
		return "made for a catalog of our own"
	}
	return ""
}

// CheckMappings looks for AWS IAM GRANT and REVOKE.
func CheckMappings(t *testing.T, url string) {
	l := newLocal(t, url)
	p, _ := Latest()
	const arn = "'arn:aws:iam::123456789012:role/migrator'"
	if err := l.run(t, p, "CREATE ROLE app_x WITH LOGIN"); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"AWS IAM GRANT app_x TO " + arn, "AWS IAM REVOKE app_x FROM " + arn, "DROP ROLE app_x"} {
		if got := lookAt(t, l.ask, sql); got != missing {
			t.Errorf("before %s: %v", sql, got)
		}
		if _, err := l.ask(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if got := lookAt(t, l.ask, sql); got != happened {
			t.Errorf("after %s: %v", sql, got)
		}
	}
}

// CheckJobs builds and validates in the background. The cluster's jobs must
// take a moment, to be found at work.
func CheckJobs(t *testing.T, url string) {
	l := newLocal(t, url)
	p, _ := Latest()
	ctx := context.Background()
	if err := l.run(t, p, "CREATE TABLE users (id bigint PRIMARY KEY, email text, n integer); INSERT INTO users VALUES (1, 'a', 1), (2, 'a', 2);"+
		"ALTER TABLE users ADD CONSTRAINT big CHECK (n > 1) NOT VALID"); err != nil {
		t.Fatal(err)
	}
	submit := func(sql string) job {
		t.Helper()
		info := sqllex.Classify(sql)
		if got := lookAt(t, l.ask, sql); got != missing {
			t.Errorf("before %s: %v", sql, got)
		}
		rows, err := l.ask(ctx, sql)
		if err != nil || len(rows) != 1 {
			t.Fatalf("%s: %v, %v", sql, rows, err)
		}
		if got := lookAt(t, l.ask, sql); got != building {
			t.Errorf("behind %s: %v, want building", sql, got)
		}
		found, err := findJob(ctx, l.ask, 3, sql, info)
		if err != nil || found.ID != string(rows[0][0]) {
			t.Errorf("%s: found job %q, %v, want %q", sql, found.ID, err, rows[0][0])
		}
		if dropped, err := dropLeftover(ctx, l.ask, sql, info); dropped != "" || err != nil {
			t.Errorf("%s: dropped %q, %v, while it is being built", sql, dropped, err)
		}
		return newJob(3, sql, info, string(rows[0][0]))
	}
	expect := func(sql, fails, advice string) {
		t.Helper()
		j := submit(sql)
		err := l.await(j)
		after := missing
		if fails == "" {
			after = happened
		}
		checkSettled(t, err, fails, advice, fails != "" && j.Kind == indexJob)
		if got := lookAt(t, l.ask, sql); got != after {
			t.Errorf("after %s: %v, want %v", sql, got, after)
		}
	}
	expect("CREATE INDEX ASYNC users_n ON users (n)", "", "")
	expect("CREATE INDEX ASYNC ON users (email, n)", "", "")
	const unique = "CREATE UNIQUE INDEX ASYNC IF NOT EXISTS users_email ON users (email)"
	expect(unique, "index users_email did not get ready: Found duplicate key while validating index for UCVs",
		`SELECT email, count(*) FROM "public"."users" GROUP BY email`)
	expect("ALTER TABLE ASYNC users VALIDATE CONSTRAINT big", "is violated by some row", "correct the rows")
	if err := l.run(t, p, "DELETE FROM users WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	expect(unique, "", "")
	expect("ALTER TABLE ASYNC users VALIDATE CONSTRAINT big", "", "")
	// Once more, it says that it is there, and the catalog that it is valid.
	rows, err := l.ask(ctx, unique)
	if err != nil || len(rows) > 0 {
		t.Errorf("%s again: %v, %v", unique, rows, err)
	}
	if err := l.await(newJob(3, unique, sqllex.Classify(unique), "")); err != nil {
		t.Error(err)
	}
}

// CheckLogin opens connections with tokens of each sort. faulty is a cluster
// whose first logins are refused as busy ones are.
func CheckLogin(t *testing.T, own, caFile, address, region, faulty string) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
	user := func(l local) string {
		rows, err := l.ask(context.Background(), "SELECT current_user || ' ' || current_setting('search_path')")
		if err != nil {
			t.Fatal(err)
		}
		return texts(rows)[0][0]
	}
	for _, url := range []string{
		own,
		"dsql://" + address + "?region=" + region + "&sslrootcert=" + caFile, // signed by the SDK
		"dsql://admin@" + address + "/postgres?sslmode=verify-full&sslnegotiation=direct&region=" + region + "&sslrootcert=" + caFile,
	} {
		if got := user(newLocal(t, url)); !strings.HasPrefix(got, "admin ") {
			t.Errorf("logged in as %s", got)
		}
	}
	if got := user(newLocal(t, own+"&search_path=a,public")); got != "admin a,public" {
		t.Errorf("logged in as %q", got)
	}
	c, err := newConnector("dsql://nobody@"+address+"?region="+region+"&sslrootcert="+caFile, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	var login *LoginError
	if _, err := c.connect(context.Background(), pgconn.ConnectConfig); !errors.As(err, &login) || !strings.Contains(login.Hint(), "AWS IAM GRANT") {
		t.Errorf("a role that is not mapped: %v", err)
	}
	if got := user(newLocal(t, faulty)); !strings.HasPrefix(got, "admin ") {
		t.Errorf("logged in as %s", got)
	}
}

package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/postgres"
)

// Secrets stay secret, whatever is wrong with the URL.
func TestBreakPasswordsNeverShow(t *testing.T) {
	// Each holds the secret in parts that nothing else contains.
	urls := []string{
		"postgres://user:s3cr1t@ss3cr2t:s3cr3t@127.0.0.1/db",
		"postgres://user:s3cr1t@s3cr2t@127.0.0.1:1/db",
		"postgres://user:s3cr1t/s3cr2t@127.0.0.1:1/db",
		"postgres://user:s3cr1t?s3cr2t@127.0.0.1:1/db",
		"postgres://user:s3cr1t#s3cr2t@127.0.0.1:1/db",
		"postgres://user:s3cr1t%s3cr2t@127.0.0.1:1/db",
		"postgres://user:s3cr1t%zzs3cr2t@127.0.0.1:1/db",
		"postgres://user:s3cr1t s3cr2t@127.0.0.1:1/db",
		"postgres://user:s3cr1t[s3cr2t@127.0.0.1:1/db",
		"postgres://user:s3cr1t:s3cr2t@127.0.0.1:1/db",
		"postgres://user:s3cr1t@127.0.0.1:port/db",
		"postgres://user:s3cr1t@127.0.0.1:99999/db",
		"postgres://user:s3cr1t@127.0.0.1:1/db?sslmode=nonsense",
		"postgres://user:s3cr1t@127.0.0.1:1/db?connect_timeout=x",
		"postgres://127.0.0.1:1/db?user=u&password=s3cr1t",
		"postgres://127.0.0.1:x/db?user=u&password=s3cr1t",
		"postgres://127.0.0.1:1/db?user=u&pass%77ord=s3cr1t&sslmode=nonsense",
		"postgres://127.0.0.1:1/db?user=u&password=s3cr1t&sslpassword=s3cr2t&sslcert=/nowhere&sslkey=/nowhere",
		"user=u password=s3cr1t host=127.0.0.1 port=1",
		"user=u password=s3cr1t host=127.0.0.1 port=x",
		"user=u password = s3cr1t host=127.0.0.1 port=x",
		"user=u password='s3cr1t s3cr2t' host=127.0.0.1 port=x",
		`user=u password='s3cr1t\' s3cr2t' host=127.0.0.1 port=x`,
		`user=u password=s3cr1t\ s3cr2t host=127.0.0.1 port=x`,
		"user=u password='s3cr1t s3cr2t host=127.0.0.1 port=1",
		"user=u password=s3cr1t s3cr2t host=127.0.0.1 port=1",
		"user=u PASSWORD=s3cr1t host=127.0.0.1 port=1",
		"user=u pass=s3cr1t host=127.0.0.1 port=1",
		"postgresql://user:s3cr1t@127.0.0.1:1,127.0.0.1:x/db",
		"postgresql://user:s3cr1t@[::1/db",
		"POSTGRES://user:s3cr1t@127.0.0.1:1/db",
		"postgre://user:s3cr1t@127.0.0.1:1/db",
		"user:s3cr1t@127.0.0.1:1/db",
		" postgres://user:s3cr1t@127.0.0.1:1/db",
		"\"postgres://user:s3cr1t@127.0.0.1:1/db\"",
		"postgres://user:s3cr1t\n@127.0.0.1:1/db",
	}
	for _, u := range urls {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, err := postgres.Open(ctx, postgres.Config{URL: u})
		cancel()
		if err == nil {
			t.Errorf("%s: no error", u)
			continue
		}
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Error("x", "err", err)
		text := fmt.Sprintf("%v\n%+v\n%s", err, err, log.String())
		for _, part := range []string{"s3cr1t", "s3cr2t", "s3cr3t"} {
			if strings.Contains(text, part) {
				t.Errorf("%s\n\tshows %s: %v", u, part, err)
			}
		}
	}
}

// Nor do the errors of a server that refuses the login.
func TestBreakPasswordOfAFailedLogin(t *testing.T) {
	u, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("nobody_there", "s3cr1t")
	_, err = postgres.Open(context.Background(), postgres.Config{URL: u.String()})
	if err == nil || strings.Contains(err.Error(), "s3cr1t") {
		t.Errorf("error %v", err)
	}
}

// What a role may not do is said clearly, and leaves nothing behind.
func TestBreakMissingRights(t *testing.T) {
	tests := []struct {
		name, setup, want string
		first             bool // a history is there already
	}{
		{"no CREATE on the database", "GRANT ALL ON SCHEMA public TO %[1]s", "grant CREATE", false},
		{"no CREATE on the schema", "CREATE SCHEMA aurora; GRANT USAGE ON SCHEMA aurora TO %[1]s", "grant CREATE", false},
		{"no USAGE on the schema", "CREATE SCHEMA aurora", "schema aurora", false},
		{"tables without any right", "GRANT USAGE ON SCHEMA aurora TO %[1]s", "permission denied for table aurora_revisions", true},
		{"tables without INSERT", "GRANT USAGE ON SCHEMA aurora TO %[1]s; GRANT SELECT ON ALL TABLES IN SCHEMA aurora TO %[1]s", "permission denied for table aurora_leases", true},
		{"read only by default", "ALTER ROLE %[1]s SET default_transaction_read_only = on; GRANT ALL ON SCHEMA public TO %[1]s; GRANT ALL ON DATABASE %[2]s TO %[1]s", "read-only", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := pgtest.URL(t)
			name := roleName(u)
			if tt.first {
				pgtest.MustRun(t, open(t, u), pgtest.Tables(1, 1), aurora.Request{})
			}
			pgtest.Exec(t, u, "CREATE ROLE "+name+" LOGIN; "+fmt.Sprintf(tt.setup+"; SELECT '%[2]s'", name, pgtest.One(t, u, "SELECT current_database()")))
			t.Cleanup(func() { pgtest.Exec(t, u, "DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name) })
			_, err := pgtest.Run(t, open(t, as(t, u, name)), pgtest.Tables(2, 1), aurora.Request{})
			if !errorsContain(err, tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
			if locked, err := open(t, u).Locked(context.Background()); err != nil || locked != nil {
				t.Errorf("lease %v, %v", locked, err)
			}
			if n := pgtest.One(t, u, "SELECT count(*) FROM pg_tables WHERE tableowner = '"+name+"'"); n != "0" {
				t.Errorf("%s tables were created", n)
			}
		})
	}
}

// Reading needs SELECT only, and creates nothing.
func TestBreakReadersNeedOnlySelect(t *testing.T) {
	u := pgtest.URL(t)
	name := roleName(u)
	pgtest.MustRun(t, open(t, u), pgtest.Tables(2, 1), aurora.Request{})
	pgtest.Exec(t, u, fmt.Sprintf("CREATE ROLE %[1]s LOGIN; GRANT USAGE ON SCHEMA aurora TO %[1]s; GRANT SELECT ON ALL TABLES IN SCHEMA aurora TO %[1]s; ALTER ROLE %[1]s SET default_transaction_read_only = on", name))
	t.Cleanup(func() { pgtest.Exec(t, u, "DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name) })
	db := open(t, as(t, u, name))
	if e := pgtest.MustRun(t, db, pgtest.Tables(2, 1), aurora.Request{}); len(e.Revisions) != 0 {
		t.Errorf("%d revisions", len(e.Revisions))
	}
	if _, err := (&aurora.Runner{Store: db, Migrations: pgtest.Tables(3, 1)}).Plan(context.Background(), aurora.Request{}); err != nil {
		t.Error(err)
	}
	if _, err := db.Locked(context.Background()); err != nil {
		t.Error(err)
	}
	if _, _, err := db.Executions(context.Background(), "", 10); err != nil {
		t.Error(err)
	}
}

// A history of another tool that may not be read is not "no history".
func TestBreakForeignHistoryWithoutRights(t *testing.T) {
	u := pgtest.URL(t)
	name := roleName(u)
	pgtest.Exec(t, u, atlasTable+fmt.Sprintf(`INSERT INTO atlas_schema_revisions.atlas_schema_revisions VALUES ('00001', 't', 2, 1, 1, now(), 1, '', '', 'x=', 'null', '');
		CREATE ROLE %[1]s LOGIN; GRANT ALL ON SCHEMA public TO %[1]s; GRANT ALL ON DATABASE %[2]s TO %[1]s`, name, pgtest.One(t, u, "SELECT current_database()")))
	t.Cleanup(func() { pgtest.Exec(t, u, "DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name) })
	_, err := pgtest.Run(t, open(t, as(t, u, name)), pgtest.Tables(2, 1), aurora.Request{})
	if got := tables(t, u); got != "" {
		t.Errorf("it ran %s again: %v", got, err)
	}
}

// The forms of URL that libpq takes.
func TestBreakURLForms(t *testing.T) {
	raw := pgtest.URL(t)
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	host, port := u.Hostname(), u.Port()
	if h := u.Query().Get("host"); h != "" {
		host, port = h, u.Query().Get("port")
	}
	name := strings.TrimPrefix(u.Path, "/")
	with := func(extra string) string {
		if u.RawQuery == "" {
			return raw + "?" + extra
		}
		return raw + "&" + extra
	}
	pgtest.Exec(t, raw, "CREATE SCHEMA app")
	forms := []string{
		fmt.Sprintf("host=%s port=%s user=postgres dbname=%s sslmode=disable", host, port, name),
		fmt.Sprintf("host='%s' port='%s' user=postgres dbname='%s' sslmode=disable options='-c search_path=app -c statement_timeout=60000'", host, port, name),
		with("options=-c%20search_path%3Dapp"),
		with("search_path=app"),
		with("target_session_attrs=read-write"),
		with("application_name=mine"),
		fmt.Sprintf("host=127.0.0.1,%s port=1,%s user=postgres dbname=%s sslmode=disable", host, port, name),
	}
	for i, form := range forms {
		ms := []aurora.Migration{
			pgtest.Migration("1", "a", fmt.Sprintf("CREATE TABLE a%d (id int)", i), "SELECT 1"),
			pgtest.Migration("2", "b", fmt.Sprintf("CREATE TABLE b%d (id int)", i)),
		}
		db, err := openProjectCtx(context.Background(), form, fmt.Sprint(i))
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		pgtest.MustRun(t, db, ms, aurora.Request{})
		db.Close(context.Background())
		want := "public"
		if strings.Contains(form, "search_path") {
			want = "app"
		}
		if got := pgtest.One(t, raw, fmt.Sprintf("SELECT string_agg(DISTINCT schemaname, ' ') FROM pg_tables WHERE tablename IN ('a%[1]d', 'b%[1]d')", i)); got != want {
			t.Errorf("%s: tables in %s, want %s", form, got, want)
		}
	}
}

// A runner that was stopped for longer than its lease writes nothing when it
// goes on and another has taken over.
func TestBreakStoppedProcess(t *testing.T) {
	want, took := undisturbed(t)
	for n := range 4 {
		u := pgtest.URL(t)
		cmd := shortLived(child(u), crashTTL) // the others' leases live as long as usual
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(took * time.Duration(n+1) / 6)
		_ = cmd.Process.Signal(syscall.SIGSTOP)
		// The second takes over and finishes; the first wakes in the middle.
		second := child(u)
		out := make(chan error, 1)
		var text []byte
		go func() { var err error; text, err = second.CombinedOutput(); out <- err }()
		time.Sleep(crashTTL + 100*time.Millisecond)
		_ = cmd.Process.Signal(syscall.SIGCONT)
		if err := <-out; err != nil && !strings.Contains(string(text), "does not tell") {
			t.Errorf("second run: %v\n%s", err, text)
		}
		firstErr := cmd.Wait()
		if out, err := child(u).CombinedOutput(); err != nil {
			t.Errorf("third run: %v\n%s", err, out)
		}
		if got := fingerprint(t, u); got != want {
			t.Errorf("run %d (first: %v %s): the database differs.\ngot:\n%s\nwant:\n%s", n, firstErr, stderr.String(), got, want)
		}
	}
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli"
	"github.com/aurora-migrate/aurora/localdsql"
	"github.com/aurora-migrate/aurora/localdsql/engine"
)

// password is of the role that has one; no output may show it.
const password = "s3cret-and-long"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"aurora":   func() { os.Exit(cli.Main()) },
		"goaurora": func() { os.Exit(cli.Main(goMigrations())) },
		"shop":     func() { os.Exit(cli.Main(shopMigrations())) },
	})
}

// goMigrations stand between the .sql files of the scripts that use goaurora.
func goMigrations() []aurora.Migration {
	return []aurora.Migration{{
		Version: "20250102000000", Name: "backfill", Irreversible: "it only fills in",
		Up: []aurora.Step{aurora.Func{Name: "backfill", Do: func(ctx context.Context, env *aurora.Env) error {
			env.Log.Info("filling in", "rows", 1)
			env.Progress(1, 1)
			if os.Getenv("FAIL") != "" {
				return errors.New("the backfill failed")
			}
			return env.Database.Exec(ctx, aurora.Statement{SQL: "INSERT INTO a VALUES (42)"})
		}}},
	}}
}

// TestScripts runs the program on a real PostgreSQL, and TestScriptsOnDSQL runs
// it on a local DSQL. Each script has a database of its own, whose name is $DB
// and whose URL is
//
//	$URL          of a role that may do all
//	$GUARDED_URL  the same, with a secret in it
//	$WRONG_URL    with a secret that is not let in
//	$POOR_URL     of a role without rights
//	$LATER_URL    of a database that is not there yet; on PostgreSQL only
//
// A script that begins with "# PostgreSQL only" or "# DSQL only" runs on that
// only. Besides testscript's own commands there are:
//
//	exits CODE PROGRAM ARGS…    run a program that must end with that code
//	sql STATEMENT               run SQL and print the rows, columns by tabs
//	await STATEMENT VALUE       until the SQL answers with that value
//	sleeping N                  until N sessions are in the middle of pg_sleep(300)
//	masked FILE                 print a file with times, pids and the like masked
//	faults [SPECIFICATION]      what goes wrong in the local DSQL from now on
//	restart                     the local DSQL, which gets another $URL
//	[dsql] and [postgres]       conditions: what it runs on
//	start NAME PROGRAM ARGS…    run a program in the background
//	signal NAME INT|TERM|HUP|KILL
//	ends NAME CODE              wait for it; it must end with that code
//	waitfor FILE TEXT           until the file has the text
func TestScripts(t *testing.T) {
	ctx := context.Background()
	server, err := engine.Start(ctx, engine.Config{Throwaway: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("these tests need a PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	prepareServer(t, server)
	testscript.Run(t, testscript.Params{
		Files:               scripts(t, "# DSQL only"),
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Condition:           onEngine("postgres"),
		Setup: func(env *testscript.Env) error {
			name := strings.NewReplacer("-", "_", ".", "_").Replace(filepath.Base(env.WorkDir))
			if err := server.CreateDatabase(ctx, name); err != nil {
				return err
			}
			u, err := url.Parse(server.URL(name))
			if err != nil {
				return err
			}
			env.Setenv("URL", u.String())
			env.Setenv("DB", name)
			socket := server.SocketDir()
			env.Values[masksKey{}] = strings.NewReplacer(url.QueryEscape(socket), "SOCKET", socket, "SOCKET", name, "DB", env.WorkDir, "$WORK")
			u.User = url.UserPassword("guarded", password)
			env.Setenv("GUARDED_URL", u.String())
			u.User = url.UserPassword("guarded", "wr0ng-and-l0ng")
			env.Setenv("WRONG_URL", u.String())
			u.User = url.User("poor")
			env.Setenv("POOR_URL", u.String())
			u.User, u.Path = url.User("postgres"), "/"+name+"_later"
			env.Setenv("LATER_URL", u.String())
			env.Setenv("FREE_PORT", freePort(t))
			env.Setenv("NO_COLOR", "")
			env.Values[jobsKey{}] = map[string]*exec.Cmd{}
			return nil
		},
		Cmds: commands,
	})
}

var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"exits": exits, "sql": sqlCommand, "await": await, "sleeping": sleeping, "masked": masked,
	"waitfor": waitFor, "faults": setFaults, "restart": restart, "start": start, "signal": sendSignal, "ends": ends,
}

func TestScriptsOnDSQL(t *testing.T) {
	ctx := context.Background()
	server, err := localdsql.Open(ctx, localdsql.Config{Throwaway: true})
	if err != nil {
		t.Fatalf("these tests need a PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	testscript.Run(t, testscript.Params{
		Files:               scripts(t, "# PostgreSQL only"),
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Condition:           onEngine("dsql"),
		Setup: func(env *testscript.Env) error {
			own, err := ownServer(ctx, env)
			if err != nil {
				return err
			}
			return setUpDSQL(ctx, cmp.Or(own, server), env)
		},
		Cmds: commands,
	})
}

// ownServer gives a script that has something go wrong a server of its own.
func ownServer(ctx context.Context, env *testscript.Env) (*localdsql.Server, error) {
	name := strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")
	text, err := os.ReadFile(filepath.Join("testdata", "script", name+".txtar"))
	if err != nil || !strings.Contains(string(text), "\nfaults ") {
		return nil, err
	}
	server, err := localdsql.Open(ctx, localdsql.Config{Throwaway: true})
	if err != nil {
		return nil, err
	}
	env.Defer(func() {
		if err := server.Close(context.Background()); err != nil {
			env.T().Log(err)
		}
	})
	return server, nil
}

func setUpDSQL(ctx context.Context, server *localdsql.Server, env *testscript.Env) error {
	name := strings.NewReplacer("-", "_", ".", "_").Replace(filepath.Base(env.WorkDir))
	cluster, err := server.Cluster(ctx, name)
	if err != nil {
		return err
	}
	poor := "poor_" + name // the clusters of a server share their roles
	for _, sql := range []string{"CREATE ROLE " + poor + " WITH LOGIN", "AWS IAM GRANT " + poor + " TO 'arn:aws:iam::111122223333:role/poor'"} {
		if _, err := query(ctx, cluster.URL(), sql); err != nil {
			return err
		}
	}
	u, err := url.Parse(cluster.URL())
	if err != nil {
		return err
	}
	env.Setenv("URL", cluster.URL())
	env.Setenv("GUARDED_URL", cluster.URL())
	env.Setenv("POOR_URL", cluster.URLFor(poor))
	token, err := cluster.Token(ctx, poor, 0)
	if err != nil {
		return err
	}
	host := u.Host
	u.User = url.UserPassword("admin", token)
	env.Setenv("WRONG_URL", u.String())
	env.Setenv("DB", "postgres")
	env.Setenv("NO_COLOR", "")
	env.Values[masksKey{}] = strings.NewReplacer(url.QueryEscape(cluster.CAFile()), "CERTIFICATE", cluster.CAFile(), "CERTIFICATE", host, "HOST", env.WorkDir, "$WORK")
	env.Values[clusterKey{}] = &opened{server, cluster}
	env.Values[jobsKey{}] = map[string]*exec.Cmd{}
	return nil
}

// freePort returns a port that nobody listens on just now. It is none of those
// that the system gives to whoever asks for any, as the other tests do.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		port := fmt.Sprint(10_000 + rand.N(20_000))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
}

// scripts returns the files of the scripts, without those that begin with a
// text, and without those that use no database of the test's if they run on
// PostgreSQL already.
func scripts(t *testing.T, without string) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	return slices.DeleteFunc(files, func(name string) bool {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return strings.HasPrefix(string(text), without) || without == "# PostgreSQL only" && !strings.Contains(string(text), "URL")
	})
}

// onEngine makes the conditions [dsql] and [postgres].
func onEngine(name string) func(string) (bool, error) {
	return func(cond string) (bool, error) {
		if cond != "dsql" && cond != "postgres" {
			return false, fmt.Errorf("unknown condition %q", cond)
		}
		return cond == name, nil
	}
}

// prepareServer makes a role that needs a password and one without rights.
func prepareServer(t *testing.T, server *engine.Server) {
	t.Helper()
	exec := func(sql string) string {
		out, err := query(t.Context(), server.URL("postgres"), sql)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	exec("CREATE ROLE guarded LOGIN SUPERUSER PASSWORD '" + password + "'")
	exec("CREATE ROLE poor LOGIN")
	file := exec("SHOW hba_file")
	hba, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append([]byte("local all guarded scram-sha-256\n"), hba...), 0o600); err != nil {
		t.Fatal(err)
	}
	exec("SELECT pg_reload_conf()")
}

// query runs SQL and returns the rows of the last statement.
func query(ctx context.Context, url, sql string) (string, error) {
	conn, err := pgconn.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return "", fmt.Errorf("%s: %w", sql, err)
	}
	var b strings.Builder
	for _, row := range results[len(results)-1].Rows {
		for i, col := range row {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.Write(col)
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS…")
	}
	err := ts.Exec(args[1], args[2:]...)
	if code := exitCode(err); fmt.Sprint(code) != args[0] {
		ts.Fatalf("%s exited with %d (%v), want %s", args[1], code, err, args[0])
	}
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

func sqlCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sql STATEMENT")
	}
	out, err := query(context.Background(), ts.Getenv("URL"), args[0])
	ts.Check(err)
	_, err = fmt.Fprint(ts.Stdout(), out)
	ts.Check(err)
}

// patience is far more than anything here takes.
const patience = 5 * time.Minute

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await STATEMENT VALUE")
	}
	until(ts, args[0], args[1])
}

func until(ts *testscript.TestScript, sql, want string) {
	for deadline := time.Now().Add(patience); ; {
		out, err := query(context.Background(), ts.Getenv("URL"), sql)
		if err == nil && strings.TrimSpace(out) == want {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s: got %q, %v; want %q", sql, out, err, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func sleeping(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sleeping N")
	}
	until(ts, `SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(300)%' AND state = 'active' AND pid <> pg_backend_pid()
		AND datid = (SELECT datid FROM pg_stat_activity WHERE pid = pg_backend_pid())`, args[0])
}

func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE TEXT")
	}
	for deadline := time.Now().Add(patience); ; {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(text), args[1]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s: got %q, %v; want %q", args[0], text, err, args[1])
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// masks replace what differs from run to run.
var masks = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`), "TIME"},
	{regexp.MustCompile(`\b(\d+m)?\d+(\.\d+)?(ns|µs|ms|s)\b`), "DURATION"},
	{regexp.MustCompile(`\d{14}_`), "VERSION_"},
	{regexp.MustCompile(`\S+@\S+, pid \d+`), "WHO, pid PID"},
	{regexp.MustCompile(`aurora (v\S+|\(devel\))`), "aurora RELEASE"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`), "EXECUTION"},
	{regexp.MustCompile(`"ExecutionTime":\d+`), `"ExecutionTime":0`},
	{regexp.MustCompile(`--(url|history) ('[^']*'|\S+)`), "--$1 URL"},
}

func masked(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: masked FILE")
	}
	text := ts.ReadFile(args[0])
	for _, m := range masks {
		if args[0] != "stdout" && args[0] != "stderr" || m.to != "VERSION_" {
			text = m.re.ReplaceAllString(text, m.to)
		}
	}
	_, err := fmt.Fprint(ts.Stdout(), ts.Value(masksKey{}).(*strings.Replacer).Replace(text))
	ts.Check(err)
}

// masksKey is of the names that differ from run to run.
type masksKey struct{}

type clusterKey struct{}

type opened struct {
	server  *localdsql.Server
	cluster *localdsql.Cluster
}

func setFaults(ts *testscript.TestScript, neg bool, args []string) {
	o, ok := ts.Value(clusterKey{}).(*opened)
	if neg || len(args) > 1 || !ok {
		ts.Fatalf("usage: faults [SPECIFICATION], on a local DSQL")
	}
	ts.Check(o.cluster.Faults().Set(strings.Join(args, "")))
}

func restart(ts *testscript.TestScript, neg bool, args []string) {
	o, ok := ts.Value(clusterKey{}).(*opened)
	if neg || len(args) > 0 || !ok {
		ts.Fatalf("usage: restart, on a local DSQL")
	}
	ts.Check(o.cluster.Close(context.Background()))
	cluster, err := o.server.Cluster(context.Background(), o.cluster.Name())
	ts.Check(err)
	o.cluster = cluster
	ts.Setenv("URL", cluster.URL())
}

type jobsKey struct{}

// start runs a program in the background, with its output in NAME.out and
// NAME.err.
func start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM ARGS…")
	}
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "WORK", "XDG_CACHE_HOME"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	path, err := lookPath(ts.Getenv("PATH"), args[1])
	ts.Check(err)
	cmd := exec.Command(path, args[2:]...)
	cmd.Env = env
	cmd.Dir = ts.MkAbs(".")
	stdout, err := os.Create(ts.MkAbs(args[0] + ".out"))
	ts.Check(err)
	defer stdout.Close() //nolint:errcheck // The child has its own.
	stderr, err := os.Create(ts.MkAbs(args[0] + ".err"))
	ts.Check(err)
	defer stderr.Close() //nolint:errcheck // The child has its own.
	cmd.Stdout, cmd.Stderr = stdout, stderr
	ts.Check(cmd.Start())
	jobs(ts)[args[0]] = cmd
	ts.Defer(func() { _ = cmd.Process.Kill() })
}

func lookPath(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if p := filepath.Join(dir, name); isFile(p) {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func jobs(ts *testscript.TestScript) map[string]*exec.Cmd {
	return ts.Value(jobsKey{}).(map[string]*exec.Cmd)
}

func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal NAME INT|TERM|HUP|KILL")
	}
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}
	ts.Check(jobs(ts)[args[0]].Process.Signal(signals[args[1]]))
}

func ends(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ends NAME CODE")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	cmd := jobs(ts)[args[0]]
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if code := exitCode(err); code != want {
			ts.Fatalf("%s exited with %d, want %d\n%s%s", args[0], code, want, ts.ReadFile(args[0]+".out"), ts.ReadFile(args[0]+".err"))
		}
	case <-time.After(patience):
		ts.Fatalf("%s did not end", args[0])
	}
}

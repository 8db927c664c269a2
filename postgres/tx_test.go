package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/postgres"
)

// txMigration makes a migration of a step in a transaction.
func txMigration(do func(context.Context, pgx.Tx, *aurora.Env) error) aurora.Migration {
	return aurora.Migration{Version: "1", Name: "a", Up: []aurora.Step{postgres.TxFunc{Name: "the step", Do: do}}}
}

func runTx(t *testing.T, db *postgres.DB, m aurora.Migration) (aurora.Execution, error) {
	t.Helper()
	r := aurora.Runner{Store: db, Database: db, Migrations: []aurora.Migration{m}}
	return r.Run(t.Context(), aurora.Request{})
}

func addRow(ctx context.Context, tx pgx.Tx, _ *aurora.Env) error {
	_, err := tx.Exec(ctx, "INSERT INTO log VALUES ('row')")
	return err
}

func newLog(t *testing.T) string {
	t.Helper()
	url := pgtest.URL(t)
	pgtest.Exec(t, url, "CREATE TABLE log (line text)")
	return url
}

// The transaction commits with the history, or neither does.
func TestTxFunc(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(context.Context, pgx.Tx, *aurora.Env) error
		rows string
		err  string // in the error, "" for none
	}{
		{"commits", addRow, "1", ""},
		{"an error rolls back", func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error {
			return errors.Join(addRow(ctx, tx, env), errors.New("changed its mind"))
		}, "0", "changed its mind"},
		{"the environment's database is the transaction", func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error {
			if err := env.Database.Exec(ctx, aurora.Statement{SQL: "INSERT INTO log VALUES ('by the environment')"}); err != nil {
				return err
			}
			check := aurora.Check{Statements: []aurora.Statement{{SQL: "SELECT count(*) = 1 FROM log"}}}
			if err := env.Database.Check(ctx, check); err != nil {
				return err
			}
			if err := env.Database.Check(ctx, aurora.Check{Statements: []aurora.Statement{{SQL: "SELECT 1/(count(*)-1) = 1 FROM log"}}}); !errors.Is(err, aurora.ErrCheckFailed) {
				return fmt.Errorf("a check that fails: %w", err)
			}
			return errors.New("and rolls back")
		}, "0", "and rolls back"},
		{"savepoints", func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error {
			inner, err := tx.Begin(ctx)
			if err != nil {
				return err
			}
			if err := addRow(ctx, inner, env); err != nil {
				return err
			}
			return errors.Join(inner.Rollback(ctx), addRow(ctx, tx, env))
		}, "1", ""},
		{"a snapshot", func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error {
			if _, err := tx.Exec(ctx, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"); err != nil {
				return err
			}
			return addRow(ctx, tx, env)
		}, "1", ""},
		{"another role and path", func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error {
			if _, err := tx.Exec(ctx, "SET LOCAL search_path = pg_catalog"); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "INSERT INTO public.log VALUES ('row')"); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "SET LOCAL SESSION AUTHORIZATION pg_read_all_data")
			return err
		}, "1", ""},
		{"Commit", func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error {
			return errors.Join(addRow(ctx, tx, env), tx.Commit(ctx))
		}, "0", "ends with the step"},
		{"COMMIT", func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error {
			_, err := tx.Exec(ctx, "COMMIT")
			return err
		}, "0", "leave BEGIN, COMMIT and ROLLBACK out"},
		{"an error that was overlooked", func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error {
			_, _ = tx.Exec(ctx, "SELECT nothing")
			return nil
		}, "0", "return the error"},
		{"what is checked at the commit", func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error {
			_, err := tx.Exec(ctx, "CREATE TABLE k (id int PRIMARY KEY, o int REFERENCES k DEFERRABLE INITIALLY DEFERRED); INSERT INTO k VALUES (1, 2)", pgx.QueryExecModeSimpleProtocol)
			return err
		}, "0", "commit: ERROR: insert or update"},
		{"panic", func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error {
			_ = addRow(ctx, tx, env)
			panic("no")
		}, "0", "panic: no"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := newLog(t)
			db := open(t, url)
			_, err := runTx(t, db, txMigration(tt.do))
			if tt.err == "" && err != nil || tt.err != "" && !errorsContain(err, tt.err) {
				t.Errorf("Run: %v, want %q", err, tt.err)
			}
			if got := pgtest.One(t, url, "SELECT count(*) FROM log"); got != tt.rows {
				t.Errorf("%s rows, want %s", got, tt.rows)
			}
			want := "completed 1"
			if err != nil {
				want = "failed 0"
			}
			if got := pgtest.One(t, url, "SELECT state || ' ' || done FROM aurora.aurora_revisions"); got != want {
				t.Errorf("the history says %s, want %s", got, want)
			}
			if n := pgtest.One(t, url, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"); n != "0" {
				t.Errorf("%s transactions are left open", n)
			}
		})
	}
}

// What the step's transaction stores is stored when it commits, not after: a
// look from elsewhere sees both or none.
func TestTxFuncIsOneTransaction(t *testing.T) {
	url := newLog(t)
	db := open(t, url)
	pgtest.Exec(t, url, `CREATE FUNCTION together() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.done = 1 AND NEW.state = 'running' THEN
			INSERT INTO log SELECT 'recorded in the transaction of ' || count(*) FROM log WHERE xmin::text = (txid_current() % (2::bigint^32)::bigint)::text;
		END IF; RETURN NEW; END $$`)
	m := txMigration(func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error {
		// The history's tables exist by now.
		if _, err := tx.Exec(ctx, "CREATE TRIGGER together BEFORE UPDATE ON aurora.aurora_revisions FOR EACH ROW EXECUTE FUNCTION together()"); err != nil {
			return err
		}
		return addRow(ctx, tx, env)
	})
	if _, err := runTx(t, db, m); err != nil {
		t.Fatal(err)
	}
	if got := pgtest.One(t, url, "SELECT string_agg(line, ', ' ORDER BY line) FROM log"); got != "recorded in the transaction of 1, row" {
		t.Errorf("log: %s", got)
	}
}

// Near the deadline what was done commits with the checkpoint, and the next run
// goes on from there.
func TestTxFuncPauses(t *testing.T) {
	url := newLog(t)
	db := open(t, url)
	var pause time.Time
	calls := 0
	m := txMigration(func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error {
		calls++
		place := 0
		if _, err := env.Resume(&place); err != nil {
			return err
		}
		for ; place < 4; place++ {
			if _, err := tx.Exec(ctx, "INSERT INTO log VALUES ($1)", fmt.Sprint(place)); err != nil {
				return err
			}
			if place == 1 && calls == 1 {
				time.Sleep(time.Until(pause))
			}
			if err := env.Checkpoint(ctx, place+1); err != nil {
				return err
			}
		}
		return nil
	})
	r := aurora.Runner{Store: db, Database: db, Migrations: []aurora.Migration{m}, PauseBefore: patience}
	pause = time.Now().Add(3 * time.Second)
	ctx, cancel := context.WithDeadline(t.Context(), pause.Add(patience))
	defer cancel()
	if _, err := r.Run(ctx, aurora.Request{}); !errors.Is(err, aurora.ErrPaused) {
		t.Fatalf("Run: %v, want a pause", err)
	}
	rows := pgtest.One(t, url, "SELECT count(*) FROM log")
	if got := pgtest.One(t, url, "SELECT state || ' ' || coalesce(checkpoint, 'none') FROM aurora.aurora_revisions"); got != "paused "+rows {
		t.Errorf("%s rows, and the history says %s", rows, got)
	}
	if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
		t.Fatal(err)
	}
	if got := pgtest.One(t, url, "SELECT string_agg(line, ' ' ORDER BY line) FROM log"); got != "0 1 2 3" {
		t.Errorf("log: %s after %d calls", got, calls)
	}
}

// Without the history in the same PostgreSQL nothing is done.
func TestTxFuncElsewhere(t *testing.T) {
	url := newLog(t)
	db := open(t, url)
	fake := struct{ aurora.Database }{}
	for name, tt := range map[string]struct {
		r    aurora.Runner
		want string
	}{
		"history elsewhere":  {aurora.Runner{Store: new(auroratest.Memory), Database: db}, "the history is not in the environment's database"},
		"another history":    {aurora.Runner{Store: openProject(t, url, "other"), Database: db}, "the history is not in the environment's database"},
		"no database":        {aurora.Runner{Store: new(auroratest.Memory)}, "give it a url"},
		"another database":   {aurora.Runner{Store: new(auroratest.Memory), Database: fake}, "needs a PostgreSQL database"},
		"nothing to be done": {aurora.Runner{Store: db, Database: db, Migrations: []aurora.Migration{txMigration(nil)}}, "Do is not set"},
	} {
		if tt.r.Migrations == nil {
			tt.r.Migrations = []aurora.Migration{txMigration(addRow)}
		}
		if _, err := tt.r.Run(t.Context(), aurora.Request{}); !errorsContain(err, tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	if got := pgtest.One(t, url, "SELECT count(*) FROM log"); got != "0" {
		t.Errorf("%s rows", got)
	}
}

// Once the lease is somebody else's, or nobody's, nothing commits.
func TestTxFuncWithoutTheLease(t *testing.T) {
	url := newLog(t)
	db, other := open(t, url), open(t, url)
	for _, isolation := range []string{"READ COMMITTED", "SERIALIZABLE"} {
		_, err := runTx(t, db, txMigration(func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error {
			if _, err := tx.Exec(ctx, "SET TRANSACTION ISOLATION LEVEL "+isolation); err != nil {
				return err
			}
			if err := addRow(ctx, tx, env); err != nil {
				return err
			}
			return other.Break(t.Context(), env.Token())
		}))
		if isolation == "READ COMMITTED" && !errors.Is(err, aurora.ErrLeaseLost) || err == nil {
			t.Errorf("%s: %v, want that the lease is lost", isolation, err)
		}
	}
	if got := pgtest.One(t, url, "SELECT count(*) FROM log"); got != "0" {
		t.Errorf("%s rows", got)
	}
}

// A commitProxy passes everything on and says when a COMMIT comes by: "sent" by
// the client, "forwarded" to the server, "answered" by the server, "passed" to
// the client. Where the hook returns true it cuts the connection.
type commitProxy struct {
	url      string
	listener net.Listener
	hook     func(stage string) (cut bool)

	mu      sync.Mutex
	isShut  bool
	clients []net.Conn
}

// shut lets nobody through any more, be it by a connection that is there.
func (p *commitProxy) shut() {
	p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isShut = true
	for _, c := range p.clients {
		c.Close()
	}
}

func newCommitProxy(t *testing.T, raw string, hook func(string) bool) *commitProxy {
	t.Helper()
	config, err := pgconn.ParseConfig(raw)
	if err != nil {
		t.Fatal(err)
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &commitProxy{url: fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", l.Addr(), config.Database), listener: l, hook: hook}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.clients = append(p.clients, client)
			if p.isShut {
				client.Close()
			}
			p.mu.Unlock()
			server, err := net.Dial(network, address)
			if err != nil {
				client.Close()
				continue
			}
			var committing atomic.Bool
			go pass(client, server, func(b []byte) bool { return bytes.Contains(b, []byte("COMMIT\x00")) }, func() bool { return hook("sent") },
				func() bool { committing.Store(true); return hook("forwarded") })
			go pass(server, client, func([]byte) bool { return committing.Swap(false) }, func() bool { return hook("answered") }, func() bool { return hook("passed") })
		}
	}()
	return p
}

// pass copies what one side says, with a stop before and after what is looked
// for.
func pass(from, to net.Conn, look func([]byte) bool, before, after func() bool) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		found := look(buf[:n])
		if found && before() {
			return
		}
		if found {
			// What is said before the other side hears of it comes first.
			if _, err := to.Write(buf[:n]); err != nil || after() {
				return
			}
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// When the connection breaks at the commit, the server is asked what became of
// it; only where it cannot be asked the run ends, to be told by the next.
func TestTxFuncCommitWithoutAnswer(t *testing.T) {
	for _, tt := range []struct {
		stage string
		stop  bool // nobody gets through any more
		rows  string
		err   string
		state string
	}{
		{"sent", false, "0", "rolled back, as the connection broke", "failed 0"},
		{"answered", false, "1", "", "completed 1"},
		{"sent", true, "0", "the outcome is unknown", "running 0"},
		{"answered", true, "1", "the outcome is unknown", "running 1"},
	} {
		t.Run(fmt.Sprint(tt.stage, " ", tt.stop), func(t *testing.T) {
			url := newLog(t)
			var proxy *commitProxy
			proxy = newCommitProxy(t, url, func(stage string) bool {
				if stage == tt.stage && tt.stop { // the history's connection breaks too
					proxy.shut()
				}
				return stage == tt.stage
			})
			db := open(t, proxy.url)
			_, err := runTx(t, db, txMigration(addRow))
			if tt.err == "" && err != nil || tt.err != "" && !errorsContain(err, tt.err) {
				t.Errorf("Run: %v, want %q", err, tt.err)
			}
			if tt.stop && !errors.Is(err, aurora.ErrOutcomeUnknown) {
				t.Errorf("Run: %v", err)
			}
			if got := pgtest.One(t, url, "SELECT count(*) FROM log"); got != tt.rows {
				t.Errorf("%s rows, want %s", got, tt.rows)
			}
			if got := pgtest.One(t, url, "SELECT state || ' ' || done FROM aurora.aurora_revisions"); got != tt.state {
				t.Errorf("the history says %s, want %s", got, tt.state)
			}
			if tt.stop {
				pgtest.Exec(t, url, "UPDATE aurora.aurora_leases SET expires_at = now()") // nobody could release it
			}
			// Whatever it was, the next run makes one of it.
			if _, err := runTx(t, open(t, url), txMigration(addRow)); err != nil {
				t.Error(err)
			}
			if got := pgtest.One(t, url, "SELECT count(*) FROM log"); got != "1" {
				t.Errorf("%s rows, want one", got)
			}
		})
	}
}

// txVariable makes the test binary run many steps in transactions.
const txVariable = "AURORA_TEST_TX_CHILD"

const txSteps = 60

// txMigrations add one to a row each.
func txMigrations() []aurora.Migration {
	m := aurora.Migration{Version: "1", Name: "counters"}
	for i := range txSteps {
		add := fmt.Sprintf("UPDATE counters SET n = n + 1 WHERE id = %d", i)
		m.Up = append(m.Up, postgres.TxFunc{Name: fmt.Sprint("step ", i), Do: func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error {
			_, err := tx.Exec(ctx, add)
			return err
		}})
	}
	return []aurora.Migration{m}
}

func txChild() error {
	ctx := context.Background()
	db, err := postgres.Open(ctx, postgres.Config{URL: os.Getenv(txVariable)})
	if err != nil {
		return err
	}
	r := aurora.Runner{Store: db, Database: db, Migrations: txMigrations(), TTL: childTTL()}
	if os.Getenv(talkVariable) != "" {
		r.Migrations = []aurora.Migration{{Version: "1", Name: "talks", Up: []aurora.Step{aurora.Func{Name: "talk", Do: talk}}}}
	}
	_, err = r.Run(ctx, aurora.Request{})
	return err
}

// txRun runs the steps in a process of its own, which the test may kill. Its
// lease has a time to live, or the usual one.
func txRun(t *testing.T, url string, ttl time.Duration) (cmd *exec.Cmd, stderr *strings.Builder) {
	t.Helper()
	cmd = exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), txVariable+"="+url, ttlVariable+"="+ttl.String())
	stderr = new(strings.Builder)
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, stderr
}

func kill(t *testing.T, cmd *exec.Cmd) {
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
}

// Processes that are killed when a COMMIT has been sent, has reached the server,
// was answered, or was heard of, and at other moments, have done every step once
// in the end. AURORA_TEST_TX_KILLS makes them more.
func TestTxFuncKilled(t *testing.T) {
	kills := 12
	if n, err := strconv.Atoi(os.Getenv("AURORA_TEST_TX_KILLS")); err == nil {
		kills = n
	}
	url := pgtest.URL(t)
	pgtest.Exec(t, url, fmt.Sprintf("CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO counters SELECT generate_series(0, %d)", txSteps-1))
	check := func() {
		t.Helper()
		if got := pgtest.One(t, url, "SELECT min(n) || ' ' || max(n) FROM counters"); got != "1 1" {
			t.Errorf("steps happened between %s times", got)
		}
	}
	stages := []string{"sent", "forwarded", "answered", "passed", "any"}
	all, killed, ttl := 0, map[string]int{}, crashTTL
	for i := 0; all < kills; i++ {
		if i == 20*kills {
			t.Fatalf("after %d runs only %v were killed", i, killed)
		}
		stage := stages[all%len(stages)]
		var child atomic.Pointer[exec.Cmd]
		left := int32(1 + rand.N(3)) // commits before it
		var seen atomic.Int32
		proxy := newCommitProxy(t, url, func(at string) bool {
			if at != stage || seen.Add(1) != left {
				return false
			}
			for child.Load() == nil {
				time.Sleep(time.Millisecond)
			}
			kill(t, child.Load())
			return false
		})
		cmd, stderr := txRun(t, proxy.url, ttl)
		child.Store(cmd)
		exited := make(chan error, 1)
		go func() { exited <- cmd.Wait() }()
		if stage == "any" {
			at := progress(t, url)
			for len(exited) == 0 && progress(t, url) == at {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(rand.N(5 * time.Millisecond))
			kill(t, cmd)
		}
		err := <-exited
		proxy.listener.Close()
		switch {
		case err == nil:
			t.Logf("all steps are done after %d kills: once more", all)
			check()
			pgtest.Exec(t, url, "DROP SCHEMA aurora CASCADE; UPDATE counters SET n = 0")
			continue
		case !cmd.ProcessState.Exited():
			killed[stage]++
			all++
		case strings.Contains(stderr.String(), aurora.ErrLeaseLost.Error()): // by a machine that is too busy for so short a lease
			ttl = min(2*ttl, 5*time.Second)
		default:
			t.Fatalf("run %d ended by itself: %v\n%s", i, err, stderr)
		}
		if got := pgtest.One(t, url, "SELECT max(n) || ' ' || sum(n) - (SELECT sum(done) FROM aurora.aurora_revisions WHERE token = (SELECT max(token) FROM aurora.aurora_revisions)) FROM counters"); got != "1 0" && got != "0 0" {
			t.Fatalf("after %d kills (the last one: %s) most times of a step, and steps that the history does not know of: %s", all, stage, got)
		}
	}
	if cmd, stderr := txRun(t, url, 0); cmd.Wait() != nil {
		t.Fatalf("the last run: %s", stderr)
	}
	check()
	t.Logf("killed: %v", killed)
}

// progress is how far the history says that the steps have come.
func progress(t *testing.T, url string) string {
	if pgtest.One(t, url, "SELECT to_regclass('aurora.aurora_revisions') IS NULL") == "t" {
		return "0"
	}
	return pgtest.One(t, url, "SELECT coalesce(sum(done), 0) FROM aurora.aurora_revisions")
}

package postgres_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/postgres"
)

// A step of Go code gets connections to the same database, with the same
// settings and a session of its own.
func TestConnect(t *testing.T) {
	url := pgtest.URL(t) + "&search_path=app,public&work_mem=5MB"
	pgtest.Exec(t, url, "CREATE SCHEMA app; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET statement_timeout = ''5min''', current_database()); END $$")
	db := open(t, url)
	const ask = "SELECT json_build_object('path', current_setting('search_path'), 'mem', current_setting('work_mem'), 'timeout', current_setting('statement_timeout'), 'isolation', current_setting('transaction_isolation'), 'user', session_user)::text"
	var got, same map[string]string
	_, err := runTx(t, db, aurora.Migration{Version: "1", Name: "a", Up: []aurora.Step{aurora.Func{Name: "step", Do: func(ctx context.Context, env *aurora.Env) error {
		conn, err := postgres.Connect(ctx, env)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		for to, sql := range map[*map[string]string]string{&got: ask, &same: "SELECT content FROM what"} {
			if to == &same {
				if err := env.Database.Exec(ctx, aurora.Statement{SQL: "CREATE TABLE what AS " + ask + " AS content"}); err != nil {
					return err
				}
			}
			var text string
			if err := conn.QueryRow(ctx, sql).Scan(&text); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(text), to); err != nil {
				return err
			}
		}
		// A statement ends with its context, also on the server.
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		if _, err := conn.Exec(short, "SELECT pg_sleep(60)"); err == nil {
			return errors.New("a statement outlived its context")
		}
		return env.Database.Exec(ctx, aurora.Statement{SQL: "SELECT 1/(count(*) = 0)::int FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active' AND datname = current_database()"})
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(same) || got["path"] != "app,public" || got["mem"] != "5MB" || got["timeout"] != "0" {
		t.Errorf("a step's connection has %v, the environment's %v", got, same)
	}
	for name, env := range map[string]*aurora.Env{"none": {}, "other": {Database: struct{ aurora.Database }{}}} {
		if _, err := postgres.Connect(t.Context(), env); !errorsContain(err, "database") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A password never shows.
func TestConnectRefused(t *testing.T) {
	url := pgtest.URL(t)
	db := open(t, strings.Replace(url, "@", ":se-cret@", 1))
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, pgtest.WithDatabase(t, url, "postgres"), "ALTER DATABASE "+config.Database+" ALLOW_CONNECTIONS false")
	if _, err := db.Connect(t.Context()); err == nil || strings.Contains(err.Error(), "se-cret") {
		t.Errorf("Connect: %v", err)
	}
}

// A takeover ends the sessions of the old holder's steps, and a lease that was
// given back leaves them alone.
func TestTakeoverEndsConnections(t *testing.T) {
	url := newLog(t)
	alice, bob := open(t, url), open(t, url)
	for _, released := range []bool{true, false} {
		lease, err := alice.Acquire(t.Context(), aurora.Holder{}, 300*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := alice.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE log", pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
		if released {
			if err := lease.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		var next aurora.Lease
		for next == nil {
			next, err = bob.Acquire(t.Context(), aurora.Holder{}, time.Minute)
			var locked *aurora.LockedError
			if err != nil && !errors.As(err, &locked) {
				t.Fatal(err)
			}
		}
		if _, err := conn.Exec(t.Context(), "INSERT INTO log VALUES ('late')"); released != (err == nil) {
			t.Errorf("lease released %v: the next statement of the step: %v", released, err)
		}
		if !released { // its locks are gone too
			if err := bob.Exec(t.Context(), aurora.Statement{SQL: "LOCK TABLE log NOWAIT"}); errorsContain(err, "could not obtain lock") {
				t.Error(err)
			}
		}
		if err := errors.Join(next.Release(t.Context()), conn.Close(t.Context())); err != nil {
			t.Log(err)
		}
	}
	if got := pgtest.One(t, url, "SELECT count(*) FROM log"); got != "0" {
		t.Errorf("%s rows", got)
	}
}

// talkVariable makes it run a step that talks without end.
const talkVariable = "AURORA_TEST_TALK"

// talk logs by each of the ways that are captured, numbered.
func talk(ctx context.Context, env *aurora.Env) error {
	for i := 0; ctx.Err() == nil; i += 3 {
		env.Log.Info(fmt.Sprintf("line %d.", i))
		slog.Info(fmt.Sprintf("line %d.", i+1))
		log.Printf("line %d.", i+2)
		time.Sleep(10 * time.Millisecond)
	}
	return context.Cause(ctx)
}

// What a killed process said is in the history but for the last seconds.
func TestKilledStepKeepsItsOutput(t *testing.T) {
	url := pgtest.URL(t)
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), txVariable+"="+url, talkVariable+"=1")
	said, err := cmd.StderrPipe() // where the default loggers show what they are told
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last, at := 0, map[int]time.Time{}
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if _, text, ok := strings.Cut(lines.Text(), "line "); ok {
			if last, err = strconv.Atoi(strings.TrimSuffix(text, ".")); err != nil {
				t.Fatal(err)
			}
			at[last] = time.Now()
			if at[last].Sub(at[1]) > 5*time.Second {
				break
			}
		}
	}
	kill(t, cmd)
	_, _ = io.Copy(io.Discard, said)
	_ = cmd.Wait()
	output := pgtest.One(t, url, "SELECT output FROM aurora.aurora_revisions WHERE state = 'running'")
	saved := strings.Count(output, "line ")
	for i := range saved {
		if n := strings.Count(output, fmt.Sprintf("line %d.", i)); n != 1 {
			t.Fatalf("line %d of %d that are saved is there %d times", i, saved, n)
		}
	}
	if saved == 0 {
		t.Fatal("no line was saved")
	}
	// By the clock of a machine that may be busy: half of it would be a defect.
	t.Logf("%d of %d lines are saved, all but those of the last %s", saved, last+1, at[last].Sub(at[saved-saved%3+1]).Round(100*time.Millisecond))
	if saved < last/3 {
		t.Errorf("%d of %d lines are saved", saved, last+1)
	}
}

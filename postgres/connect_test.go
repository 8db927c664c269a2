package postgres_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
		for deadline := time.Now().Add(50 * time.Second); ; time.Sleep(20 * time.Millisecond) { // then it would have ended by itself
			err := env.Database.Exec(ctx, aurora.Statement{SQL: "SELECT 1/(count(*) = 0)::int FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active' AND datname = current_database()"})
			if err == nil || time.Now().After(deadline) {
				return err
			}
		}
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
		ttl := 300 * time.Millisecond
		if released {
			ttl = time.Hour // it does not end by itself
		}
		lease, err := alice.Acquire(t.Context(), aurora.Holder{}, ttl)
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

// saved is how many lines of the talk are in the history.
func saved(t *testing.T, url string) (output string, lines int) {
	t.Helper()
	if pgtest.One(t, url, "SELECT to_regclass('aurora.aurora_revisions') IS NULL") == "t" {
		return "", 0
	}
	output = pgtest.One(t, url, "SELECT coalesce(max(output), '') FROM aurora.aurora_revisions WHERE state = 'running'")
	return output, strings.Count(output, "line ")
}

// What a killed process said is in the history, in order and without gaps, but
// for the last seconds. TestSavingOutputIsBounded of the root package has the clock.
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
	last := make(chan int, 1)
	go func() {
		n := 0
		for lines := bufio.NewScanner(said); lines.Scan(); {
			if _, text, ok := strings.Cut(lines.Text(), "line "); ok {
				n, _ = strconv.Atoi(strings.TrimSuffix(text, ".")) // the last may be cut
			}
		}
		last <- n
	}()
	// Saved twice and more, while it goes on talking.
	for deadline, times, before := time.Now().Add(patience), 0, 0; times < 3; time.Sleep(20 * time.Millisecond) {
		if _, n := saved(t, url); n > before {
			times, before = times+1, n
		}
		if time.Now().After(deadline) {
			t.Errorf("only %d lines were saved, in %d parts", before, times)
			break
		}
	}
	kill(t, cmd)
	end := <-last
	_ = cmd.Wait()
	output, n := saved(t, url)
	for i := range n {
		if times := strings.Count(output, fmt.Sprintf("line %d.", i)); times != 1 {
			t.Fatalf("line %d of %d that are saved is there %d times", i, n, times)
		}
	}
	t.Logf("%d of %d lines are saved", n, end+1)
}

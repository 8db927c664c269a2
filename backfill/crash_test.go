package backfill_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/backfill"
	"github.com/aurora-migrate/aurora/filestore"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// A childTask says what a child process is to do.
type childTask struct {
	History   string // the file
	URL       string // of PostgreSQL, or
	Endpoint  string // of DynamoDB
	Table     string
	PerSecond float64
	TTL       time.Duration // of the lease; 0 is the usual one
}

func runChild(task string) error {
	var c childTask
	if err := json.Unmarshal([]byte(task), &c); err != nil {
		return err
	}
	ctx := context.Background()
	store, err := filestore.Open(filestore.Config{Path: c.History})
	if err != nil {
		return err
	}
	do := backfill.Rows{Connect: connector(c.URL), Table: "numbers", SQL: addOne, Options: backfill.Options{PerSecond: c.PerSecond}}.Run
	if c.Endpoint != "" {
		do = backfill.Items{Client: dynamotest.Client(c.Endpoint), Table: c.Table, Change: countOnce, InFlight: 4, Options: backfill.Options{PerSecond: c.PerSecond}}.Run
	}
	r := &aurora.Runner{
		Store: store, TTL: c.TTL, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Migrations: []aurora.Migration{{Version: "1", Name: "backfill", Up: []aurora.Step{aurora.Func{Name: "backfill", Do: func(ctx context.Context, env *aurora.Env) error {
			fmt.Println("begins")
			return do(ctx, env)
		}}}}},
	}
	_, err = r.Run(ctx, aurora.Request{})
	return err
}

// killed runs the task again and again, and kills it at a random moment each
// time; the last time it lets it end. A machine that is too busy for so short a
// lease kills in its own way, and may be late with a kill: the task may end
// before the last.
func killed(t *testing.T, task childTask, kills int, lastFor time.Duration) {
	t.Helper()
	task.History, task.TTL = filepath.Join(t.TempDir(), "history.db"), time.Second
	for i := range 2 * kills {
		if i >= kills {
			task.PerSecond, task.TTL = 0, 0
		}
		arg, err := json.Marshal(task)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), childVariable+"="+string(arg))
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		began := bufio.NewScanner(out).Scan()
		if began && i < kills {
			time.Sleep(rand.N(lastFor))
			if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
		}
		err = cmd.Wait()
		switch {
		case err == nil && i > 1:
			t.Logf("complete after %d kills", i)
			return
		case err != nil && !cmd.ProcessState.Exited(), strings.Contains(stderr.String(), aurora.ErrLeaseLost.Error()):
		default:
			t.Fatalf("child %d of %d ended by itself: %v\n%s", i, kills, err, stderr.String())
		}
	}
	t.Fatal("the last child never comes to the end")
}

// Killed at random, a backfill ends with every row changed exactly once.
// AURORA_TEST_BACKFILL_ROWS and AURORA_TEST_BACKFILL_KILLS make it larger.
func TestRowsKilled(t *testing.T) {
	n, kills := size("AURORA_TEST_BACKFILL_ROWS", 60_000), size("AURORA_TEST_BACKFILL_KILLS", 5)
	url := pgtest.URL(t)
	numbers(t, url, n)
	began := time.Now()
	killed(t, childTask{URL: url, PerSecond: float64(n) / float64(kills) * 3}, kills, 400*time.Millisecond)
	if got, want := pgtest.One(t, url, "SELECT count(*) || ' ' || min(count) || ' ' || max(count) FROM numbers"), fmt.Sprintf("%d 1 1", n); got != want {
		t.Errorf("rows, least and most: %s, want %s", got, want)
	}
	t.Logf("%d rows, killed %d times, %s; %s batches", n, kills, time.Since(began).Round(time.Second),
		pgtest.One(t, url, "SELECT count(DISTINCT xmin::text) FROM numbers"))
}

// AURORA_TEST_BACKFILL_ITEMS makes it larger.
func TestItemsKilled(t *testing.T) {
	n, kills := size("AURORA_TEST_BACKFILL_ITEMS", 10_000), size("AURORA_TEST_BACKFILL_KILLS", 5)
	table := newTable(t, n)
	began := time.Now()
	killed(t, childTask{Endpoint: dynamotest.Endpoint(t), Table: table, PerSecond: float64(n) / float64(kills) * 3}, kills, 600*time.Millisecond)
	wantCounters(t, table, n)
	t.Logf("%d items, killed %d times, %s", n, kills, time.Since(began).Round(time.Second))
}

// A process that lost its lease and does not know it cannot change a row once
// another has taken over.
func TestRowsFence(t *testing.T) {
	url := pgtest.URL(t)
	numbers(t, url, 30_000)
	store := new(auroratest.Memory)
	slow := backfill.Rows{Connect: connector(url), Table: "numbers", SQL: addOne, Options: backfill.Options{PerSecond: 500}} // it takes a minute by itself
	ended := make(chan error, 1)
	go func() {
		// Nothing but the progress table tells it: it believes in a lease of an
		// hour, and what it saves is thrown away.
		_, err := step(t.Context(), &deaf{Memory: store}, slow.Run)
		ended <- err
	}()
	for deadline := time.Now().Add(5 * time.Minute); pgtest.One(t, url, "SELECT sum(count) FROM numbers") == "0"; {
		if time.Now().After(deadline) {
			t.Fatal("it does not begin")
		}
		time.Sleep(20 * time.Millisecond)
	}
	locked, err := store.Locked(t.Context())
	if err != nil || locked == nil {
		t.Fatal(locked, err)
	}
	if err := store.Break(t.Context(), locked.Token); err != nil {
		t.Fatal(err)
	}
	fast := slow
	fast.PerSecond = 0
	if _, err := step(t.Context(), store, fast.Run); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !isLeaseLost(err) {
		t.Errorf("the first run: %v, want that the lease is lost", err)
	}
	if got := pgtest.One(t, url, "SELECT min(count) || ' ' || max(count) FROM numbers"); got != "1 1" {
		t.Errorf("counts are %s", got)
	}
}

func isLeaseLost(err error) bool { return errors.Is(err, aurora.ErrLeaseLost) }

// deaf is a store whose leases never say that they are lost.
type deaf struct{ *auroratest.Memory }

func (d *deaf) Acquire(ctx context.Context, h aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	lease, err := d.Memory.Acquire(ctx, h, ttl)
	if err != nil {
		return nil, err
	}
	return deafLease{lease}, nil
}

type deafLease struct{ aurora.Lease }

func (l deafLease) Save(ctx context.Context, revs ...aurora.Revision) error {
	if err := l.Lease.Save(ctx, revs...); !isLeaseLost(err) {
		return err
	}
	return nil
}

func (l deafLease) Renew(ctx context.Context) error {
	if err := l.Lease.Renew(ctx); !isLeaseLost(err) {
		return err
	}
	return nil
}

package dynamo_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dynamo"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
)

// childVariable makes the test binary do something with a store, "task endpoint
// table", instead of running tests.
const childVariable = "AURORA_TEST_DYNAMO_CHILD"

func TestMain(m *testing.M) {
	where := os.Getenv(childVariable)
	if where == "" {
		dynamotest.Main(m)
		return
	}
	task, where, _ := strings.Cut(where, " ")
	endpoint, table, _ := strings.Cut(where, " ")
	s, err := dynamo.Open(context.Background(), dynamo.Config{Table: table, Client: dynamotest.Client(endpoint)})
	if err == nil {
		err = map[string]func(*dynamo.Store) error{"save": childSaves, "run": childRuns}[task](s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// ttlVariable is the time to live of the lease of a child that runs.
const ttlVariable = "AURORA_TEST_DYNAMO_TTL"

// child returns the test binary as a command for a task.
func child(t *testing.T, task, table string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childVariable+"="+task+" "+dynamotest.Endpoint(t)+" "+table)
	cmd.Stderr = os.Stderr
	return cmd
}

const crashBatch = 120

func childSaves(s *dynamo.Store) error {
	ctx := context.Background()
	lease, err := s.Acquire(ctx, aurora.CurrentHolder("test"), long)
	if err != nil {
		return err
	}
	fmt.Printf("token %d\n", lease.Token())
	for round := 0; ; round++ {
		execution := fmt.Sprintf("%d-%d", lease.Token(), round)
		if err := lease.Save(ctx, revisions(execution, round*crashBatch, (round+1)*crashBatch)...); err != nil {
			return err
		}
		fmt.Printf("saved %s\n", execution)
	}
}

// Killed at any moment, a process leaves all or nothing of each Save, and all
// of what it was told is saved.
func TestKilledWhileSaving(t *testing.T) {
	table := newTable(t)
	s := open(t, dynamotest.Endpoint(t), table, "")
	told := make(map[string]bool)
	for range 8 {
		cmd := child(t, "save", table)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		var token int64
		if !lines.Scan() {
			t.Fatalf("the child did not get the lease: %v", cmd.Wait())
		}
		if _, err := fmt.Sscanf(lines.Text(), "token %d", &token); err != nil {
			t.Fatal(err)
		}
		for left := 1 + rand.IntN(4); lines.Scan(); left-- {
			told[strings.TrimPrefix(lines.Text(), "saved ")] = true
			if left == 1 {
				time.AfterFunc(time.Duration(rand.Int64N(int64(100*time.Millisecond))), func() { _ = cmd.Process.Kill() })
			}
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the child ended by itself: %v", err)
		}
		checkBatches(t, s, told) // before anybody repairs anything
		if err := s.Break(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	acquire(t, s, long)
	checkBatches(t, s, told)
	t.Logf("%d batches of %d revisions", len(told), crashBatch)
}

func checkBatches(t *testing.T, s *dynamo.Store, told map[string]bool) {
	t.Helper()
	missing := len(told)
	for cursor := ""; ; {
		page, next, err := s.Executions(t.Context(), cursor, 50)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			if len(e.Revisions) != crashBatch {
				t.Errorf("execution %s has %d of %d revisions", e.ID, len(e.Revisions), crashBatch)
			}
			if told[e.ID] {
				missing--
			}
		}
		if next == "" {
			break
		}
		cursor = next
	}
	if missing != 0 {
		t.Errorf("%d of %d saves are not there", missing, len(told))
	}
}

const crashSteps = 400

// childRuns runs a migration that tells each of its steps and then saves it.
func childRuns(s *dynamo.Store) error {
	count := func(ctx context.Context, env *aurora.Env) error {
		n := 0
		if _, err := env.Resume(&n); err != nil {
			return err
		}
		for n < crashSteps {
			fmt.Println("step", n)
			n++
			if err := env.Checkpoint(ctx, n); err != nil {
				return err
			}
		}
		return nil
	}
	ttl, err := time.ParseDuration(os.Getenv(ttlVariable))
	if err != nil {
		return err
	}
	r := aurora.Runner{
		Store: s, TTL: ttl, Holder: aurora.CurrentHolder("test"),
		Migrations: []aurora.Migration{{Version: "1", Name: "count", Up: []aurora.Step{aurora.Func{Name: "count", Do: count}}}},
	}
	_, err = r.Run(context.Background(), aurora.Request{})
	return err
}

// Killed again and again, a run goes on where it was as soon as the next
// process has waited for the lease; a kill repeats at most one step.
func TestKilledRunGoesOn(t *testing.T) {
	table := newTable(t)
	told := make(map[string]int)
	kills, ttl := 0, time.Second
	for done := false; !done; {
		cmd := child(t, "run", table)
		cmd.Env = append(cmd.Env, ttlVariable+"="+ttl.String())
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		steps := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			told[lines.Text()]++
			if steps++; steps == 50+rand.IntN(50) || steps == 100 {
				_ = cmd.Process.Kill() // it may have ended
			}
		}
		switch err := cmd.Wait(); {
		case err == nil:
			done = true
		case strings.Contains(err.Error(), "killed"):
			kills++
		case strings.Contains(stderr.String(), aurora.ErrLeaseLost.Error()):
			// A machine that is too busy for so short a lease kills in its own way.
			kills++
			ttl = min(2*ttl, 5*time.Second)
		default:
			t.Fatalf("the child: %v\n%s", err, stderr.String())
		}
		if kills > crashSteps {
			t.Fatal("the run does not get on")
		}
	}
	repeated := 0
	for i := range crashSteps {
		n := told[fmt.Sprint("step ", i)]
		if n == 0 {
			t.Errorf("step %d was left out", i)
		}
		repeated += n - 1
	}
	if kills < 2 || repeated > kills {
		t.Errorf("%d steps were repeated in %d kills", repeated, kills)
	}
	attempts, _, err := open(t, dynamotest.Endpoint(t), table, "").Revisions(t.Context(), "1", "", 100)
	if err != nil || len(attempts) == 0 || attempts[0].State != aurora.Completed {
		t.Errorf("Revisions: %+v, %v", attempts, err)
	}
	t.Logf("%d kills, %d steps repeated", kills, repeated)
}

package aurora_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
)

func TestA1FailFixResume(t *testing.T) {
	store, db := new(auroratest.Memory), new(database)
	refused := errors.New("syntax error")
	db.on = map[string]func(context.Context) error{"broken": func(context.Context) error { return refused }}
	m := mig("1_a", upSQL("first", "broken", "third"))
	r := &aurora.Runner{Store: store, Database: db, Migrations: mlist{m, mig("2_b")}}

	for range 2 { // it fails the same way until it is fixed
		e, err := r.Run(t.Context(), aurora.Request{})
		var step *aurora.StepError
		if !errors.As(err, &step) || !errors.Is(err, refused) || step.Index != 1 || step.Pos != "1_a.sql:2" || step.Version != "1" {
			t.Fatalf("Run: %v", err)
		}
		if e.State != aurora.Failed || len(e.Revisions) != 1 {
			t.Errorf("execution: %+v", e)
		}
		last := e.Revisions[0]
		if last.Error != "syntax error" || last.ErrorStep != "broken" || last.ErrorPos != "1_a.sql:2" {
			t.Errorf("the failed revision: %+v", last)
		}
	}
	wantStates(t, store, "1_a up failed 1/3", "1_a up failed 1/3")
	db.wantRan(t, "first")

	// The file is fixed and has grown; success clears the failure.
	r.Migrations[0] = mig("1_a", upSQL("first", "fixed", "third", "fourth"))
	if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
		t.Fatal(err)
	}
	db.wantRan(t, "first", "fixed", "third", "fourth", "up 1 2_b", "up 2 2_b")
	latest, err := store.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, rev := range latest {
		if rev.State != aurora.Completed || rev.Error+rev.ErrorStep+rev.ErrorPos != "" || rev.Hashes != nil || rev.Done != rev.Steps {
			t.Errorf("the newest of %s: %+v", rev.ID(), rev)
		}
	}
	// And the attempts before it are still there to read.
	wantStates(t, store, "1_a up failed 1/3", "1_a up failed 1/3", "1_a up completed 4/4", "2_b up completed 2/2")
	if plan, err := r.Plan(t.Context(), aurora.Request{}); err != nil || !plan.IsEmpty() {
		t.Errorf("left to do: %s, %v", show(plan), err)
	}
}

// TestA7EditedStatementIsNamed: what ran is compared one by one.
func TestA7EditedStatementIsNamed(t *testing.T) {
	store, db := new(auroratest.Memory), new(database)
	db.on = map[string]func(context.Context) error{"c": func(context.Context) error { return errors.New("no") }}
	r := &aurora.Runner{Store: store, Database: db, Migrations: mlist{mig("1_a", upSQL("a", "b", "c"))}}
	if _, err := r.Run(t.Context(), aurora.Request{}); err == nil {
		t.Fatal("the third statement should have failed")
	}
	r.Migrations = mlist{mig("1_a", upSQL("a", "edited", "fixed"))}
	_, err := r.Run(t.Context(), aurora.Request{})
	var changed *aurora.ChangedError
	if !errors.As(err, &changed) || changed.Statement != 2 || changed.Pos != "1_a.sql:2" {
		t.Errorf("Run: %v, want a ChangedError about the second statement", err)
	}
	r.Migrations = mlist{mig("1_a", upSQL("a", "b", "fixed"))}
	if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
		t.Error(err)
	}
	db.wantRan(t, "a", "b", "fixed")
}

// TestCheckpointIsTheSteps: the next step has none of its own yet.
func TestCheckpointIsTheSteps(t *testing.T) {
	store, broken := new(auroratest.Memory), true
	m := goStep("1_a", func(ctx context.Context, env *aurora.Env) error { return env.Checkpoint(ctx, "first") })
	m.Up = append(m.Up, aurora.Func{Name: "second", Do: func(_ context.Context, env *aurora.Env) error {
		var v any
		if ok, err := env.Resume(&v); ok || err != nil {
			t.Errorf("the second step resumes from %v, %v", v, err)
		}
		if broken {
			return errors.New("no")
		}
		return nil
	}})
	r := &aurora.Runner{Store: store, Migrations: mlist{m}}
	if _, err := r.Run(t.Context(), aurora.Request{}); err == nil {
		t.Error("the second step should have failed")
	}
	broken = false
	if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
		t.Error(err)
	}
	wantStates(t, store, "1_a up failed 1/2", "1_a up completed 2/2")
}

// dying is a store for a process that dies at a certain moment: from then on
// nothing it does reaches the store.
type dying struct {
	*auroratest.Memory
	dead *bool
}

type dyingLease struct {
	aurora.Lease
	dead *bool
}

var errDead = errors.New("this process is dead")

func (d dying) Acquire(ctx context.Context, h aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	lease, err := d.Memory.Acquire(ctx, h, ttl)
	return dyingLease{lease, d.dead}, err
}

func (l dyingLease) Save(ctx context.Context, r ...aurora.Revision) error {
	if *l.dead {
		return errDead
	}
	return l.Lease.Save(ctx, r...)
}

func (l dyingLease) Renew(ctx context.Context) error {
	if *l.dead {
		return errDead
	}
	return l.Lease.Renew(ctx)
}

func (l dyingLease) Release(ctx context.Context) error {
	if *l.dead {
		return errDead
	}
	return l.Lease.Release(ctx)
}

// TestA29KilledAroundAStatement: nothing tells whether it happened, so a
// person is asked.
func TestA29KilledAroundAStatement(t *testing.T) {
	for answer, want := range map[aurora.Unsure][]string{
		aurora.UnsureRerun: {"one", "two", "two", "three"},
		aurora.UnsureSkip:  {"one", "two", "three"},
	} {
		t.Run(string(answer), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, db, dead := new(auroratest.Memory), new(database), false
				m := mig("1_a", upSQL("one", "two", "three"))
				db.on = map[string]func(context.Context) error{"three": func(context.Context) error { return errDead }}
				// It dies after "two" happened and before that was recorded.
				killed := &aurora.Runner{Store: dying{store, &dead}, Database: killer{db, "two", &dead}, Migrations: mlist{m}}
				if _, err := killed.Run(t.Context(), aurora.Request{}); !errors.Is(err, errDead) {
					t.Fatalf("the dying run: %v", err)
				}
				db.on = nil
				wantStates(t, store, "1_a up running 1/3")

				started := time.Now()
				r := &aurora.Runner{Store: store, Database: db, Migrations: mlist{m}}
				for range 2 { // asking changes nothing
					_, err := r.Run(t.Context(), aurora.Request{})
					var unsure *aurora.UnsureError
					if !errors.As(err, &unsure) || unsure.Index != 1 || unsure.Step != "two" || unsure.Pos != "1_a.sql:2" {
						t.Fatalf("Run: %v, want an UnsureError about the second statement", err)
					}
					if took := time.Since(started); took > aurora.DefaultTTL+time.Second {
						t.Errorf("the dead process cost %v", took)
					}
					wantStates(t, store, "1_a up running 1/3")
					wantFree(t, store)
				}
				if _, err := r.Run(t.Context(), aurora.Request{Unsure: answer}); err != nil {
					t.Fatal(err)
				}
				db.wantRan(t, want...)
				wantStates(t, store, "1_a up running 1/3", "1_a up completed 3/3")
			})
		})
	}
}

// A killer is a database at which the process dies after a statement.
type killer struct {
	*database
	at   string
	dead *bool
}

func (k killer) Exec(ctx context.Context, s aurora.Statement) error {
	err := k.database.Exec(ctx, s)
	if s.SQL == k.at {
		*k.dead = true
	}
	return err
}

// TestUnknownOutcomeIsUnsure: a broken connection is no proof either way, a
// plain refusal is.
func TestUnknownOutcomeIsUnsure(t *testing.T) {
	for _, tt := range []struct {
		err    error
		unsure bool
	}{
		{fmt.Errorf("%w: unexpected EOF", aurora.ErrOutcomeUnknown), true},
		{errors.New("syntax error"), false},
	} {
		store, db := new(auroratest.Memory), new(database)
		db.on = map[string]func(context.Context) error{"up 1 1_a": func(context.Context) error { return tt.err }}
		r := &aurora.Runner{Store: store, Database: db, Migrations: migs("1_a")}
		if _, err := r.Run(t.Context(), aurora.Request{}); !errors.Is(err, tt.err) {
			t.Fatalf("Run: %v", err)
		}
		db.on = nil
		_, err := r.Run(t.Context(), aurora.Request{})
		var unsure *aurora.UnsureError
		if errors.As(err, &unsure) != tt.unsure || !tt.unsure && err != nil {
			t.Errorf("after %v: %v", tt.err, err)
		}
	}
}

// TestPauseAndGoOn is a backfill of 50 minutes in a Lambda of 15.
func TestPauseAndGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(auroratest.Memory)
		var handled []int
		step := func(ctx context.Context, env *aurora.Env) error {
			from := 0
			if _, err := env.Resume(&from); err != nil {
				return err
			}
			for i := from; i < 300; i++ {
				time.Sleep(10 * time.Second)
				handled = append(handled, i)
				env.Log.Info("handled", "row", i)
				if err := env.Checkpoint(ctx, i+1); err != nil {
					return fmt.Errorf("row %d: %w", i, err)
				}
			}
			return nil
		}
		r := &aurora.Runner{Store: store, Database: new(database), Migrations: mlist{goStep("1_a", step), mig("2_b")}, PauseBefore: time.Minute}
		req := aurora.Request{ExecutionID: "the run"}
		started := time.Now()
		invocations := 0
		for {
			invocations++
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
			e, err := r.Run(ctx, req)
			cancel()
			wantFree(t, store)
			if err == nil {
				break
			}
			if !errors.Is(err, aurora.ErrPaused) || e.State != aurora.Paused || ctx.Err() == context.DeadlineExceeded {
				t.Fatalf("invocation %d: %s, %v", invocations, e.State, err)
			}
			wantStates(t, store, "1_a up paused 0/1")
			if rev := store.All()[0]; rev.Error != "" || rev.ErrorStep != "" {
				t.Errorf("a pause is recorded as an error: %+v", rev)
			}
		}
		if invocations != 4 {
			t.Errorf("%d invocations, want 4", invocations)
		}
		for i, row := range handled {
			if i != row {
				t.Fatalf("row %d was handled in place %d", row, i)
			}
		}
		// One execution, one record, with the beginning and the output of all.
		wantStates(t, store, "1_a up completed 1/1", "2_b up completed 2/2")
		first := store.All()[0]
		if !first.StartedAt.Equal(started) || first.ExecutionID != "the run" {
			t.Errorf("the record began at %v, want %v", first.StartedAt, started)
		}
		if n := strings.Count(first.Output, "row="); n != 300 || !strings.Contains(first.Output, "row=0\n") {
			t.Errorf("the output has %d of 300 lines", n)
		}
	})
}

// TestPauseBetweenSteps: a step that would not end in time is not begun.
func TestPauseBetweenSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, db := new(auroratest.Memory), new(database)
		db.on = map[string]func(context.Context) error{"up 1 1_a": sleep(8 * time.Minute), "up 2 2_b": sleep(8 * time.Minute)}
		r := &aurora.Runner{Store: store, Database: db, Migrations: migs("1_a", "2_b", "3_c"), PauseBefore: 2 * time.Minute}
		run := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			_, err := r.Run(ctx, aurora.Request{ExecutionID: "the run"})
			return err
		}
		if err := run(); !errors.Is(err, aurora.ErrPaused) {
			t.Fatalf("Run: %v, want ErrPaused", err)
		}
		wantStates(t, store, "1_a up paused 1/2")
		if err := run(); !errors.Is(err, aurora.ErrPaused) {
			t.Fatalf("Run: %v, want ErrPaused", err)
		}
		// Between two migrations nothing is left open.
		wantStates(t, store, "1_a up completed 2/2", "2_b up completed 2/2")
		if err := run(); err != nil {
			t.Fatal(err)
		}
		db.wantRan(t, "up 1 1_a", "up 2 1_a", "up 1 2_b", "up 2 2_b", "up 1 3_c", "up 2 3_c")
	})
}

func TestDownAndUpAgain(t *testing.T) {
	store, db := new(auroratest.Memory), new(database)
	r := &aurora.Runner{Store: store, Database: db, Migrations: migs("1_a", "2_b")}
	for _, req := range []aurora.Request{{}, {Direction: aurora.Down}, {}} {
		if _, err := r.Run(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	db.wantRan(t, "up 1 1_a", "up 2 1_a", "up 1 2_b", "up 2 2_b", "down 1 2_b", "down 2 2_b", "up 1 2_b", "up 2 2_b")
	wantStates(t, store, "1_a up completed 2/2", "2_b up completed 2/2", "2_b down completed 2/2", "2_b up completed 2/2")
}

func TestEvents(t *testing.T) {
	var got []string
	m := goStep("1_a", func(ctx context.Context, env *aurora.Env) error {
		env.Progress(1, 2)
		return env.Checkpoint(ctx, 1)
	})
	r := &aurora.Runner{Store: new(auroratest.Memory), Database: new(database), Migrations: mlist{m, mig("2_b")}, Report: func(e aurora.Event) {
		switch {
		case e.Plan != nil:
			got = append(got, "plan: "+show(*e.Plan))
		case e.Revision != nil:
			got = append(got, fmt.Sprintf("%s %s %d of %d", e.Revision.ID(), e.Revision.State, e.Revision.Done, e.Revision.Steps))
		case e.Progress != nil:
			got = append(got, fmt.Sprintf("%s %d/%d", e.Progress.Version, e.Progress.Done, e.Progress.Total))
		}
	}}
	e, err := r.Run(t.Context(), aurora.Request{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"plan: up 1_a, up 2_b, ->2",
		"1_a running 0 of 1", "1 1/2", "1_a running 0 of 1", "1_a completed 1 of 1",
		"2_b running 0 of 2", "2_b running 1 of 2", "2_b completed 2 of 2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if len(e.Revisions) != 2 || e.Revisions[1].State != aurora.Completed {
		t.Errorf("execution: %+v", e)
	}
}

// TestExecutionIsWhatHistorySays: the run's own answer and a later reader's.
func TestExecutionIsWhatHistorySays(t *testing.T) {
	store := new(auroratest.Memory)
	r := &aurora.Runner{Store: store, Database: new(database), Holder: alice, Operator: "aurora v1", Migrations: migs("1_a", "2_b", "3_c")}
	e, err := r.Run(t.Context(), aurora.Request{Baseline: "1"})
	if err != nil {
		t.Fatal(err)
	}
	read, err := store.Execution(t.Context(), e.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(read.Revisions, e.Revisions); diff != "" {
		t.Errorf("revisions (-history +Run):\n%s", diff)
	}
	if read.ID != e.ID || read.State != e.State || read.Holder != alice || read.Direction != e.Direction {
		t.Errorf("history says %+v, Run says %+v", read, e)
	}
	for i, rev := range read.Revisions {
		if rev.Seq != i+1 || rev.Operator != "aurora v1" || rev.StartedAt.IsZero() || rev.FinishedAt.IsZero() {
			t.Errorf("revision %d: %+v", i, rev)
		}
	}
	if read.Revisions[0].Kind != aurora.Baseline || read.Revisions[1].Kind != aurora.Applied {
		t.Errorf("kinds: %v, %v", read.Revisions[0].Kind, read.Revisions[1].Kind)
	}
}

// foreignStore shows another tool's history until there is one of its own.
type foreignStore struct {
	*auroratest.Memory
	foreign rlist
}

func (s foreignStore) Latest(ctx context.Context) ([]aurora.Revision, error) {
	latest, err := s.Memory.Latest(ctx)
	return append(slices.Clone(s.foreign), latest...), err
}

func TestImportIsRecordedOnce(t *testing.T) {
	finished := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	store := foreignStore{new(auroratest.Memory), rlist{done("1_a", foreign, func(r *aurora.Revision) {
		r.StartedAt, r.FinishedAt = finished, finished
	})}}
	r := &aurora.Runner{Store: store, Database: new(database), Migrations: migs("1_a", "2_b")}
	for range 2 {
		if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
			t.Fatal(err)
		}
	}
	wantStates(t, store.Memory, "1_a up completed 2/2", "2_b up completed 2/2")
	first := store.All()[0]
	if first.Kind != aurora.Imported || first.Foreign != "" || !first.FinishedAt.Equal(finished) || first.Name != "a" {
		t.Errorf("imported: %+v", first)
	}
}

func TestChecks(t *testing.T) {
	gated := mig("1_a", func(m *aurora.Migration) { m.Checks = []aurora.Check{{Name: "x"}, {Name: "y"}} })
	store, db := new(auroratest.Memory), new(database)
	db.fail = map[string]error{"y": fmt.Errorf("y: %w", aurora.ErrCheckFailed)}
	db.on = map[string]func(context.Context) error{"up 2 1_a": func(context.Context) error { return errors.New("no") }}
	r := &aurora.Runner{Store: store, Database: db, Migrations: mlist{gated}}
	if _, err := r.Run(t.Context(), aurora.Request{}); !errors.Is(err, aurora.ErrCheckFailed) {
		t.Errorf("Run: %v, want ErrCheckFailed", err)
	}
	db.wantRan(t, "check x", "check y")
	db.fail = nil
	if _, err := r.Run(t.Context(), aurora.Request{}); err == nil {
		t.Error("the second statement should have failed")
	}
	// What is half done may well break its own checks.
	db.on = nil
	if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
		t.Error(err)
	}
	db.wantRan(t, "check x", "check y", "check x", "check y", "up 1 1_a", "up 2 1_a")

	for _, m := range []aurora.Migration{mig("1_a"), gated} {
		r := &aurora.Runner{Store: new(auroratest.Memory), Migrations: mlist{m}}
		if _, err := r.Run(t.Context(), aurora.Request{}); err == nil || !strings.Contains(err.Error(), "no database") {
			t.Errorf("without a database: %v", err)
		}
	}
}

// streamStore is a store that runs statements itself.
type streamStore struct {
	*auroratest.Memory
	streamed *[]string
}

func (s streamStore) Stream(ctx context.Context, lease aurora.Lease, items []aurora.Item, report func(aurora.Revision)) error {
	var ids []string
	for _, it := range items {
		ids = append(ids, it.Migration.ID())
		it.Revision.End(aurora.Completed, nil, time.Now())
		if err := lease.Save(ctx, it.Revision); err != nil {
			return err
		}
		report(it.Revision)
	}
	*s.streamed = append(*s.streamed, strings.Join(ids, " "))
	return nil
}

func TestStreamerGetsStretchesOfStatements(t *testing.T) {
	var streamed []string
	store := streamStore{new(auroratest.Memory), &streamed}
	ran := func(m string) aurora.Migration {
		return goStep(m, func(context.Context, *aurora.Env) error { streamed = append(streamed, "go "+m); return nil })
	}
	r := &aurora.Runner{Store: store, Migrations: mlist{mig("1_a"), mig("2_b"), ran("3_g"), ran("4_g"), mig("5_c")}}
	e, err := r.Run(t.Context(), aurora.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1_a 2_b", "go 3_g", "go 4_g", "5_c"}, streamed); diff != "" {
		t.Errorf("stretches (-want +got):\n%s", diff)
	}
	if len(e.Revisions) != 5 {
		t.Errorf("%d revisions", len(e.Revisions))
	}
}

// TestOutputIsSavedWhileRunning: a kill loses little of it.
func TestOutputIsSavedWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(auroratest.Memory)
		var logged strings.Builder
		m := goStep("1_a", func(_ context.Context, env *aurora.Env) error {
			saves := store.Calls(auroratest.OpSave)
			env.Log.Info("before the long part", "n", 1)
			env.Log.With("user", "x").WithGroup("g").Debug("details", "k", "v")
			time.Sleep(3 * time.Second)
			if got := store.All()[0]; got.State != aurora.Running || !strings.Contains(got.Output, "before the long part") {
				t.Errorf("while running: %s, output %q", got.State, got.Output)
			}
			time.Sleep(time.Minute)
			if n := store.Calls(auroratest.OpSave) - saves; n != 1 {
				t.Errorf("%d saves for output that changed once", n)
			}
			return nil
		})
		logger := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelInfo}))
		if _, err := (&aurora.Runner{Store: store, Migrations: mlist{m}, Logger: logger}).Run(t.Context(), aurora.Request{}); err != nil {
			t.Fatal(err)
		}
		if out := store.All()[0].Output; !strings.Contains(out, "user=x g.k=v") {
			t.Errorf("output: %q", out)
		}
		if s := logged.String(); !strings.Contains(s, "before the long part") || strings.Contains(s, "details") {
			t.Errorf("the run's own logger got %q", s)
		}
	})
}

// TestStepWithManyGoroutines is for the race detector.
func TestStepWithManyGoroutines(t *testing.T) {
	store, events := new(auroratest.Memory), 0
	m := goStep("1_a", func(ctx context.Context, env *aurora.Env) error {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 20 {
					env.Progress(int64(j), 20)
					env.Log.Info("working", "worker", i)
					var seen any
					if _, err := env.Resume(&seen); err != nil {
						t.Error(err)
					}
					if err := env.Checkpoint(ctx, j); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		return nil
	})
	r := &aurora.Runner{Store: store, Migrations: mlist{m}, Report: func(aurora.Event) { events++ }}
	if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(store.All()[0].Output, "\n"); n != 160 || events != 1+1+320+1 {
		t.Errorf("%d lines of output, %d events", n, events)
	}
}

// TestSaveThatFailsIsAnError: what could not be recorded is not done.
func TestSaveThatFailsIsAnError(t *testing.T) {
	full := errors.New("disk full")
	for at := range 4 {
		store, db := new(auroratest.Memory), new(database)
		store.Fail(auroratest.OpSave, at, nil)
		store.Fail(auroratest.OpSave, 1, full)
		r := &aurora.Runner{Store: store, Database: db, Migrations: migs("1_a")}
		e, err := r.Run(t.Context(), aurora.Request{})
		if wantErr := at < 3; wantErr != errors.Is(err, full) || wantErr != (e.State != aurora.Completed) {
			t.Errorf("save %d failed: %s, %v", at, e.State, err)
		}
		wantFree(t, store)
	}
}

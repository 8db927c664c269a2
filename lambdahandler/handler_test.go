package lambdahandler_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/lambdahandler"
)

// A fake is a function whose invocations are the test's own calls.
type fake struct {
	t      *testing.T
	store  *auroratest.Memory
	runner aurora.Runner
	cfg    lambdahandler.Config
	limit  time.Duration
	sent   []lambdahandler.Event // continuations, in order
	fail   error                 // of the next continuation
	h      *lambdahandler.Handler
}

func newFake(t *testing.T, migrations ...aurora.Migration) *fake {
	f := &fake{t: t, store: &auroratest.Memory{}, limit: 15 * time.Minute}
	f.runner = aurora.Runner{Store: f.store, Migrations: migrations}
	f.cfg = lambdahandler.Config{
		Logger: slog.New(slog.DiscardHandler),
		Open: func(context.Context) (*lambdahandler.Project, error) {
			return &lambdahandler.Project{Runner: f.runner}, nil
		},
		Continue: func(_ context.Context, e lambdahandler.Event) error {
			if err := f.fail; err != nil {
				f.fail = nil
				return err
			}
			f.sent = append(f.sent, e)
			return nil
		},
	}
	return f
}

// deliver invokes the function with an event, as request.
func (f *fake) deliver(request string, event any) (lambdahandler.Response, error) {
	f.t.Helper()
	var res lambdahandler.Response
	b, err := f.invoke(request, event)
	if err == nil {
		if err := json.Unmarshal(b, &res); err != nil {
			f.t.Fatal(err)
		}
	}
	return res, err
}

func (f *fake) invoke(request string, event any) ([]byte, error) {
	f.t.Helper()
	if f.h == nil {
		f.h = lambdahandler.New(f.cfg)
	}
	payload, ok := event.(string)
	if !ok {
		b, err := json.Marshal(event)
		if err != nil {
			f.t.Fatal(err)
		}
		payload = string(b)
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), f.limit)
	defer cancel()
	ctx = lambdacontext.NewContext(ctx, &lambdacontext.LambdaContext{
		AwsRequestID: request, InvokedFunctionArn: "arn:aws:lambda:eu-west-1:111122223333:function:migrate:live",
	})
	return f.h.Invoke(ctx, []byte(payload))
}

// takeSent returns the one continuation that was sent since the last call.
func (f *fake) takeSent() lambdahandler.Event {
	f.t.Helper()
	if len(f.sent) != 1 {
		f.t.Fatalf("%d continuations were sent, want 1: %+v", len(f.sent), f.sent)
	}
	e := f.sent[0]
	f.sent = nil
	return e
}

// chain delivers continuations until there are none, and returns the last
// answer.
func (f *fake) chain(res lambdahandler.Response, err error) (lambdahandler.Response, error) {
	f.t.Helper()
	for n := 1; err == nil && res.Continued; n++ {
		res, err = f.deliver(fmt.Sprintf("request-%d", n), f.takeSent())
	}
	return res, err
}

// steps makes a migration of functions.
func steps(version string, do ...func(context.Context, *aurora.Env) error) aurora.Migration {
	m := aurora.Migration{Version: version, Name: "m" + version}
	for i, fn := range do {
		m.Up = append(m.Up, aurora.Func{Name: fmt.Sprintf("up%d", i), Do: fn})
	}
	m.Down = []aurora.Step{aurora.Func{Name: "down", Do: func(context.Context, *aurora.Env) error { return nil }}}
	return m
}

// takes is a step of n batches that take d each.
func takes(n int, d time.Duration, ran *int) func(context.Context, *aurora.Env) error {
	return func(ctx context.Context, env *aurora.Env) error {
		done := 0
		if _, err := env.Resume(&done); err != nil {
			return err
		}
		for done < n {
			select {
			case <-time.After(d):
			case <-ctx.Done():
				return ctx.Err()
			}
			*ran++
			done++
			if err := env.Checkpoint(ctx, done); err != nil {
				return err
			}
		}
		return nil
	}
}

func quick(context.Context, *aurora.Env) error { return nil }

func states(e aurora.Execution) []string {
	var out []string
	for _, r := range e.Revisions {
		out = append(out, r.ID()+" "+string(r.Direction)+" "+string(r.State))
	}
	return out
}

func wantStates(t *testing.T, e aurora.Execution, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, states(e)); diff != "" {
		t.Errorf("revisions (-want +got):\n%s", diff)
	}
}

func TestOneInvocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, steps("1", quick), steps("2", quick, quick))
		res, err := f.deliver("r1", "")
		if err != nil {
			t.Fatal(err)
		}
		if res.ID != "r1" || res.State != aurora.Completed || res.Continued || res.Hop != 0 {
			t.Errorf("got %+v", res)
		}
		wantStates(t, res.Execution, "1_m1 up completed", "2_m2 up completed")
		h := f.store.All()[0].Holder
		if h.Runtime != "lambda" || !strings.HasPrefix(h.Link, "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:") || !strings.Contains(h.Link, "r1") {
			t.Errorf("the holder is %+v", h)
		}
		if res, err = f.deliver("r2", "{}"); err != nil || len(res.Revisions) != 0 || res.State != aurora.Completed {
			t.Errorf("with nothing to do: %+v, %v", res, err)
		}
	})
}

// Between migrations and inside of them, each batch once.
func TestGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := 0
		f := newFake(t, steps("1", takes(200, 10*time.Second, &ran)), steps("2", takes(100, 10*time.Second, &ran), takes(5, 10*time.Second, &ran)), steps("3", quick))
		began := time.Now()
		res, err := f.chain(f.deliver("r", `{"executionId":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		wantStates(t, res.Execution, "1_m1 up completed", "2_m2 up completed", "3_m3 up completed")
		if ran != 305 {
			t.Errorf("%d batches ran, want 305", ran)
		}
		// The margin is 45 seconds, so that an invocation has time for 86.
		if res.Hop != 3 || time.Since(began) != 305*10*time.Second {
			t.Errorf("it took %d hops and %s", res.Hop+1, time.Since(began))
		}
		if res.ID != "x" {
			t.Errorf("the execution is %s", res.ID)
		}
	})
}

// A pause falls between two migrations, where no revision says so.
func TestGoesOnBetweenMigrations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleep := func(ctx context.Context, _ *aurora.Env) error { time.Sleep(8 * time.Minute); return nil }
		f := newFake(t, steps("1", sleep), steps("2", sleep), steps("3", sleep))
		f.limit = 10 * time.Minute
		f.cfg.Margin = 3 * time.Minute
		res, err := f.chain(f.deliver("r", `{"executionId":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		wantStates(t, res.Execution, "1_m1 up completed", "2_m2 up completed", "3_m3 up completed")
		if res.Hop != 2 {
			t.Errorf("hop %d, want 2", res.Hop)
		}
	})
}

// Every continuation is delivered twice, the second time at every later point
// of the chain: it never does anything.
func TestDuplicatesDoNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := 0
		f := newFake(t, steps("1", takes(300, 10*time.Second, &ran)))
		var old []lambdahandler.Event
		res, err := f.deliver("r0", `{"executionId":"x"}`)
		for n := 1; err == nil && res.Continued; n++ {
			next := f.takeSent()
			for i, e := range old {
				before := ran
				dup, err := f.deliver(fmt.Sprintf("r%d", i+1), e)
				// The newest one may be a retry of who died before it could hand
				// over: it is allowed to run, and then the other is not.
				if err != nil || dup.Skipped == "" && i < len(old)-1 {
					t.Fatalf("event %d again before hop %d: %+v, %v", i, next.Hop, dup, err)
				}
				if dup.Skipped == "" {
					if f.takeSent().After == next.After {
						t.Fatal("two continuations that count")
					}
					res, err := f.deliver("late", next)
					if err != nil || res.Skipped == "" {
						t.Fatalf("the continuation that was overtaken: %+v, %v", res, err)
					}
					return
				}
				if ran != before {
					t.Fatal("a duplicate ran batches")
				}
			}
			old = append(old, next)
			res, err = f.deliver(fmt.Sprintf("r%d", n), next)
		}
		t.Fatal("no duplicate came right after its twin")
	})
}

// A duplicate that comes while its twin runs waits until it sees it alive, and
// leaves.
func TestDuplicateAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := 0
		f := newFake(t, steps("1", takes(5, time.Minute, &ran)))
		type answer struct {
			res lambdahandler.Response
			err error
		}
		answers := make(chan answer)
		f.h = lambdahandler.New(f.cfg)
		for range 2 {
			go func() {
				res, err := f.deliver("same", `{"executionId":"x"}`)
				answers <- answer{res, err}
			}()
		}
		first, second := <-answers, <-answers
		if first.err != nil || first.res.Skipped == "" || second.err != nil || second.res.State != aurora.Completed || ran != 5 {
			t.Errorf("first %+v, second %+v, %d batches", first, second, ran)
		}
	})
}

// The events of Lambda's retries carry on where the killed one stopped.
func TestRetryAfterKill(t *testing.T) {
	ran := 0
	var store *auroratest.Memory
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, steps("1", takes(200, 10*time.Second, &ran)))
		f.limit = 12 * time.Minute
		res, err := f.deliver("r0", `{"executionId":"x"}`)
		if err != nil || !res.Continued {
			t.Fatalf("%+v, %v", res, err)
		}
		next := f.takeSent()
		// The next one dies at work, in which case its revision goes on saying
		// that it runs, and its lease lives on for a while.
		rev := f.store.All()[0]
		lease, err := f.store.Acquire(t.Context(), aurora.Holder{Runtime: "lambda"}, aurora.DefaultTTL)
		if err != nil {
			t.Fatal(err)
		}
		rev.State, rev.Holder, rev.Checkpoint = aurora.Running, aurora.Holder{Runtime: "lambda"}, json.RawMessage("150")
		if err := lease.Save(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
		before := ran
		time.Sleep(5 * time.Second)
		res, err = f.chain(f.deliver("r1", next))
		if err != nil || res.State != aurora.Completed || ran-before != 50 {
			t.Errorf("%+v, %v, %d batches", res, err, ran-before)
		}
		store = f.store
	})
	if n := len(store.All()); n != 1 {
		t.Errorf("%d revisions", n)
	}
}

// The function cannot invoke itself, says so, and goes on when Lambda delivers
// the event again.
func TestContinueFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := 0
		f := newFake(t, steps("1", takes(100, 10*time.Second, &ran)))
		f.fail = errors.New("429")
		_, err := f.deliver("r0", `{"executionId":"x"}`)
		var failed *lambdahandler.ContinueError
		if !errors.As(err, &failed) || failed.ExecutionID != "x" {
			t.Fatalf("got %v", err)
		}
		res, err := f.chain(f.deliver("r0", `{"executionId":"x"}`))
		if err != nil || res.State != aurora.Completed || ran != 100 {
			t.Errorf("%+v, %v, %d batches", res, err, ran)
		}
	})
}

func TestFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		f := newFake(t, steps("1", quick), steps("2", func(context.Context, *aurora.Env) error {
			calls++
			return errors.New("no such role")
		}))
		_, err := f.deliver("r0", `{}`)
		var step *aurora.StepError
		if !errors.As(err, &step) || !strings.Contains(err.Error(), "execution r0: 2_m2: no such role") {
			t.Errorf("got %v", err)
		}
		// Lambda delivers it twice more, to no effect.
		for range 2 {
			_, err = f.deliver("r0", `{}`)
			var failed *lambdahandler.FailedError
			if !errors.As(err, &failed) || failed.Migration != "2_m2" || failed.Reason != "no such role" {
				t.Errorf("got %v", err)
			}
		}
		if calls != 1 {
			t.Errorf("the step ran %d times", calls)
		}
	})
}

func TestPanicIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, steps("1", func(context.Context, *aurora.Env) error { panic("oh") }))
		_, err := f.deliver("r0", `{}`)
		if err == nil || !strings.Contains(err.Error(), "panic: oh") {
			t.Errorf("got %v", err)
		}
		if r := f.store.All()[0]; r.State != aurora.Failed || !strings.Contains(r.Output, "handler_test.go") {
			t.Errorf("the revision is %s with the output %q", r.State, r.Output)
		}
	})
}

func TestGoexitIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, steps("1", func(context.Context, *aurora.Env) error { runtime.Goexit(); return nil }))
		if _, err := f.deliver("r0", `{}`); err == nil || !strings.Contains(err.Error(), "Goexit") {
			t.Errorf("got %v", err)
		}
	})
}

// A step that stops when its context ends, but saves nothing.
func TestStepWithoutCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, steps("1", quick), steps("2", func(ctx context.Context, _ *aurora.Env) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		res, err := f.chain(f.deliver("r0", `{"executionId":"x"}`))
		var stuck *lambdahandler.StuckError
		if !errors.As(err, &stuck) {
			t.Fatalf("%+v, %v", res, err)
		}
		want := `execution x: "up0" of 2_m2 saves no checkpoint in the 15m0s of a whole invocation, so it can never finish here: ` +
			`let it save checkpoints (env.Checkpoint), give the function more time (up to 15 minutes), or run it on Fargate, which has no limit (aurora task run)`
		if err.Error() != want {
			t.Errorf("got  %s\nwant %s", err, want)
		}
		e, err := f.store.Execution(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		wantStates(t, e, "1_m1 up completed", "2_m2 up failed")
		if got := e.Revisions[1].Error; got != want {
			t.Errorf("the history says %q", got)
		}
		if locked, _ := f.store.Locked(t.Context()); locked != nil {
			t.Error("the lease is held")
		}
	})
}

// An execution that is not done within its limit ends, and says so.
func TestHopLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := 0
		f := newFake(t, steps("1", quick), steps("2", takes(1000, 10*time.Second, &ran)))
		_, err := f.chain(f.deliver("r0", `{"executionId":"x","maxHops":3}`))
		var limit *lambdahandler.LimitError
		if !errors.As(err, &limit) || limit.Hops != 3 {
			t.Fatalf("got %v", err)
		}
		e, eerr := f.store.Execution(t.Context(), "x")
		if eerr != nil {
			t.Fatal(eerr)
		}
		wantStates(t, e, "1_m1 up completed", "2_m2 up failed")
		if e.Revisions[1].Error != err.Error() {
			t.Errorf("the history says %q, the error %q", e.Revisions[1].Error, err)
		}
		// It has ended, also for what is delivered late.
		var failed *lambdahandler.FailedError
		if _, err := f.deliver("r9", `{"executionId":"x"}`); !errors.As(err, &failed) {
			t.Errorf("got %v", err)
		}
		// A new one goes on from the checkpoint.
		before := ran
		if _, err = f.chain(f.deliver("n0", `{"executionId":"y","maxHops":2}`)); !errors.As(err, &limit) || before == 0 || ran <= before {
			t.Errorf("%d and then %d batches, %v", before, ran, err)
		}
	})
}

// The limit falls between two migrations: the next one says so.
func TestHopLimitBetweenMigrations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleep := func(ctx context.Context, _ *aurora.Env) error { time.Sleep(8 * time.Minute); return nil }
		f := newFake(t, steps("1", sleep), steps("2", sleep))
		f.limit, f.cfg.Margin, f.cfg.MaxHops = 10*time.Minute, 3*time.Minute, 1
		_, err := f.deliver("r", `{"executionId":"x"}`)
		var limit *lambdahandler.LimitError
		if !errors.As(err, &limit) {
			t.Fatalf("got %v", err)
		}
		e, err := f.store.Execution(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		wantStates(t, e, "1_m1 up completed", "2_m2 up failed")
		f.cfg.MaxHops, f.h = 0, nil
		if res, err := f.deliver("r2", `{}`); err != nil || res.State != aurora.Completed {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

// "One migration down" means one, however often the event comes.
func TestRelativeRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, steps("1", quick), steps("2", quick), steps("3", quick), steps("4", quick))
		if _, err := f.deliver("up", `{"steps":3}`); err != nil {
			t.Fatal(err)
		}
		applied := func() []string {
			latest, err := f.store.Latest(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, r := range latest {
				if r.IsApplied() {
					out = append(out, r.Version)
				}
			}
			return out
		}
		for range 3 {
			if _, err := f.deliver("up", `{"steps":3}`); err != nil {
				t.Fatal(err)
			}
		}
		if got := applied(); !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Fatalf("applied %v", got)
		}
		for range 3 {
			if _, err := f.deliver("down", `{"direction":"down"}`); err != nil {
				t.Fatal(err)
			}
		}
		if got := applied(); !slices.Equal(got, []string{"1", "2"}) {
			t.Fatalf("applied %v", got)
		}
		// Somebody else was there in between: two down no longer means what it did.
		rev := f.store.All()[0]
		rev.ExecutionID, rev.Direction, rev.State, rev.Token = "half", aurora.Down, aurora.Completed, 90
		rev.Version, rev.Name = "2", "m2"
		f.store.Put(rev)
		rev.ExecutionID, rev.Version, rev.Name, rev.Token = "other", "4", "m4", 91
		rev.Direction = aurora.Up
		f.store.Put(rev)
		if _, err := f.deliver("up", `{"direction":"down","steps":2,"executionId":"half"}`); err == nil || !strings.Contains(err.Error(), "execution other has run others since") {
			t.Errorf("got %v", err)
		}
	})
}

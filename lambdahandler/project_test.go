package lambdahandler_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/lambdahandler"
)

func TestLockedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, steps("1", quick))
		lease, err := f.store.Acquire(t.Context(), aurora.Holder{User: "ada", Host: "laptop"}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = f.deliver("r0", `{}`)
		var locked *aurora.LockedError
		if !errors.As(err, &locked) || locked.Holder.User != "ada" || time.Since(began) > time.Minute+time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if res, err := f.deliver("r0", `{}`); err != nil || res.State != aurora.Completed {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

func TestOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, steps("1", quick))
		opened, closed := 0, 0
		f.cfg.Open = func(context.Context) (*lambdahandler.Project, error) {
			if opened++; opened == 1 {
				return nil, errors.New("no database")
			}
			return &lambdahandler.Project{Runner: f.runner, Close: func(context.Context) error { closed++; return nil }}, nil
		}
		if _, err := f.deliver("r0", `{}`); err == nil || err.Error() != "open the project: no database" {
			t.Errorf("got %v", err)
		}
		for range 3 {
			if _, err := f.deliver("r0", `{}`); err != nil {
				t.Error(err)
			}
		}
		if opened != 2 || closed != 0 {
			t.Errorf("opened %d times, closed %d times", opened, closed)
		}
		time.Sleep(2 * time.Minute)
		if _, err := f.deliver("r1", `{}`); err != nil || opened != 3 || closed != 1 {
			t.Errorf("after a while: opened %d times, closed %d times, %v", opened, closed, err)
		}
	})
}

// What an event leaves open is the project's, and the project may refuse.
func TestDefaultsAndCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, steps("1", quick), steps("2", quick))
		var asked []aurora.Request
		f.cfg.Open = func(context.Context) (*lambdahandler.Project, error) {
			return &lambdahandler.Project{
				Runner: f.runner, Defaults: aurora.Request{Baseline: "1", ExecOrder: aurora.NonLinear},
				Check: func(_ context.Context, req aurora.Request) error {
					if asked = append(asked, req); len(asked) == 1 {
						return errors.New("not yet")
					}
					return nil
				},
			}, nil
		}
		if _, err := f.deliver("r", `{}`); err == nil || err.Error() != "not yet" || len(f.store.All()) > 0 {
			t.Errorf("got %v", err)
		}
		res, err := f.deliver("r", `{"execOrder":"linear","by":"ada","reason":"because"}`)
		if err != nil {
			t.Fatal(err)
		}
		if asked[0].ExecOrder != aurora.NonLinear || asked[1].ExecOrder != aurora.Linear || res.Revisions[0].Kind != aurora.Baseline {
			t.Errorf("%+v %+v", asked, res.Revisions)
		}
		if h := f.store.All()[1].Holder; h.By != "ada" || h.Reason != "because" || h.Runtime != "lambda" {
			t.Errorf("the holder is %+v", h)
		}
	})
}

func TestInspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := steps("2", quick, quick)
		m.Description, m.Irreversible, m.Down = "what it does", "gone is gone", nil
		f := newFake(t, steps("1", quick), m)
		if _, err := f.deliver("r0", `{"target":"1"}`); err != nil {
			t.Fatal(err)
		}
		for event, want := range map[string]string{
			`{"command":"status"}`:               `{"current":"1","ready":false,"pending":["2_m2"],"migrations":[{"id":"1_m1","version":"1","name":"m1","down":1,"status":"applied","executionId":"r0"},{"id":"2_m2","version":"2","name":"m2","description":"what it does","irreversible":"gone is gone","status":"pending"}]}`,
			`{"command":"list"}`:                 `{"migrations":[{"id":"1_m1","version":"1","name":"m1","down":1,"steps":1},{"id":"2_m2","version":"2","name":"m2","description":"what it does","irreversible":"gone is gone","steps":2}]}`,
			`{"command":"plan"}`:                 `{"direction":"up","current":"1","target":"2","items":[{"id":"2_m2","steps":["up0","up1"]}]}`,
			`{"dryRun":true,"direction":"down"}`: `{"direction":"down","current":"1","target":"","items":[{"id":"1_m1","steps":["down"]}]}`,
		} {
			got, err := f.invoke("r1", event)
			if err != nil {
				t.Errorf("%s: %v", event, err)
			}
			if diff := gocmp.Diff(want, string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", event, diff)
			}
		}
		if n := len(f.store.All()); n != 1 {
			t.Errorf("%d revisions, want 1", n)
		}
	})
}

// Two deliveries of one event wait for somebody else's lease. Whoever comes
// second finds that the history has moved.
func TestTwinsWaitForTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, steps("1", quick), steps("2", quick), steps("3", quick))
		if _, err := f.deliver("up", `{}`); err != nil {
			t.Fatal(err)
		}
		lease, err := f.store.Acquire(t.Context(), aurora.Holder{User: "ada"}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		errs := make(chan error)
		for range 2 {
			go func() {
				_, err := f.deliver("down", `{"direction":"down"}`)
				errs <- err
			}()
		}
		time.Sleep(5 * time.Second)
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(<-errs, <-errs); err != nil {
			t.Error(err)
		}
		rolledBack := 0
		for _, r := range f.store.All() {
			if r.Direction == aurora.Down {
				rolledBack++
			}
		}
		if rolledBack != 1 {
			t.Errorf("%d migrations were rolled back, want 1", rolledBack)
		}
	})
}

// A continuation that comes late, or that waited for the lease, does not undo
// what others have done since.
func TestStaleContinuation(t *testing.T) {
	for name, tt := range map[string]struct {
		asked   aurora.Request
		others  aurora.Direction
		refused bool
	}{
		"three down":             {aurora.Request{Direction: aurora.Down, Steps: 3}, aurora.Up, true},
		"all down":               {aurora.Request{Direction: aurora.Down, All: true}, aurora.Up, true},
		"down to a target":       {aurora.Request{Direction: aurora.Down, To: "1"}, aurora.Up, true},
		"up behind who went up":  {aurora.Request{}, aurora.Up, false},
		"up behind who is down":  {aurora.Request{ExecOrder: aurora.NonLinear}, aurora.Down, true},
		"two up behind up":       {aurora.Request{Steps: 2}, aurora.Up, true},
		"all down behind a down": {aurora.Request{Direction: aurora.Down, All: true}, aurora.Down, false},
	} {
		for _, waits := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", it waits: ", waits), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFake(t, steps("1", quick), steps("2", quick), steps("3", quick), steps("4", quick))
					if _, err := f.deliver("before", `{"target":"3"}`); err != nil {
						t.Fatal(err)
					}
					// It did one of its migrations, and paused.
					did := f.store.All()[2]
					did.ExecutionID, did.Direction, did.Token, did.State, did.Kind = "late", cmp.Or(tt.asked.Direction, aurora.Up), 2, aurora.Completed, aurora.Applied
					f.store.Put(did)
					tt.asked.ExecutionID = "late"
					event := lambdahandler.Event{Request: tt.asked, Hop: 1, After: 2}
					lease, err := f.store.Acquire(t.Context(), aurora.Holder{User: "ada"}, time.Hour)
					if err != nil {
						t.Fatal(err)
					}
					write := func() {
						did.ExecutionID, did.Direction, did.Version, did.Name = "other", tt.others, "2", "m2"
						if err := errors.Join(lease.Save(t.Context(), did), lease.Release(t.Context())); err != nil {
							t.Fatal(err)
						}
					}
					if !waits {
						write()
					}
					errs := make(chan error)
					go func() {
						_, err := f.deliver("r1", event)
						errs <- err
					}()
					if waits {
						time.Sleep(5 * time.Second)
						write()
					}
					err = <-errs
					if refused := err != nil && strings.Contains(err.Error(), "execution other has run others since"); refused != tt.refused || !refused && err != nil {
						t.Errorf("got %v", err)
					}
					if n := len(f.store.All()); tt.refused && n != 5 {
						t.Errorf("%d revisions, want 5", n)
					}
					if locked, err := f.store.Locked(t.Context()); locked != nil || err != nil {
						t.Errorf("the lease is held: %v %v", locked, err)
					}
				})
			})
		}
	}
}

// Also where the whole invocation is shorter than a lease lives.
func TestDuplicateInAShortInvocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := 0
		f := newFake(t, steps("1", takes(3, 2*time.Second, &ran)))
		f.limit = 12 * time.Second
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
		if first.err != nil || first.res.Skipped == "" || second.err != nil || second.res.State != aurora.Completed || ran != 3 {
			t.Errorf("first %+v, second %+v, %d batches", first, second, ran)
		}
	})
}

// The event whose hand-over failed comes again after its alias has moved.
func TestRepeatedBehindAnotherVersion(t *testing.T) {
	old := lambdacontext.FunctionVersion
	defer func() { lambdacontext.FunctionVersion = old }()
	synctest.Test(t, func(t *testing.T) {
		ran := 0
		f := newFake(t, steps("1", takes(100, 10*time.Second, &ran)))
		f.fail = errors.New("429")
		lambdacontext.FunctionVersion = "1"
		if _, err := f.deliver("r0", `{"executionId":"x"}`); err == nil {
			t.Fatal("it handed over")
		}
		lambdacontext.FunctionVersion = "2"
		res, err := f.chain(f.deliver("r0", `{"executionId":"x"}`))
		if err != nil || res.State != aurora.Completed || ran != 100 {
			t.Errorf("%+v, %v, %d batches", res, err, ran)
		}
	})
}

// Everything, and anything of a protected environment, is only rolled back for
// who confirms it. Continuations confirm as the first event did.
func TestConfirm(t *testing.T) {
	old := lambdacontext.FunctionName
	defer func() { lambdacontext.FunctionName = old }()
	lambdacontext.FunctionName = "migrate"
	for name, tt := range map[string]struct {
		confirm   string
		protected bool
		event     string
		want      string // part of the error, if any
	}{
		"everything":              {"shop", false, `{"direction":"down","all":true}`, `rolling back everything needs a confirmation: if that is what you want, add "confirm": "shop"`},
		"confirmed":               {"shop", false, `{"direction":"down","all":true,"confirm":"shop"}`, ""},
		"by the function's name":  {"shop", false, `{"direction":"down","all":true,"confirm":"migrate"}`, ""},
		"another name":            {"shop", false, `{"direction":"down","all":true,"confirm":"other"}`, `"other" is not that`},
		"a later hop":             {"shop", false, `{"direction":"down","all":true,"executionId":"x","hop":1}`, "needs a confirmation"},
		"one":                     {"shop", false, `{"direction":"down"}`, ""},
		"one, protected":          {"shop", true, `{"direction":"down"}`, "rolling back in a protected environment needs a confirmation"},
		"one, confirmed":          {"shop", true, `{"direction":"down","confirm":"shop"}`, ""},
		"up, protected":           {"shop", true, `{}`, ""},
		"a plan, protected":       {"shop", true, `{"direction":"down","all":true,"dryRun":true}`, ""},
		"nothing to confirm with": {"", true, `{"direction":"down","all":true}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, steps("1", quick), steps("2", quick))
			f.cfg.Open = func(context.Context) (*lambdahandler.Project, error) {
				return &lambdahandler.Project{Runner: f.runner, Confirm: tt.confirm, Protected: tt.protected}, nil
			}
			if _, err := f.deliver("up", `{}`); err != nil {
				t.Fatal(err)
			}
			_, err := f.invoke("r", tt.event)
			var bad *lambdahandler.EventError
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (!errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) || len(f.store.All()) != 2):
				t.Errorf("got %v and %d revisions, want %q", err, len(f.store.All()), tt.want)
			}
		})
	}
}

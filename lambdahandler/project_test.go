package lambdahandler_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

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
			if diff := cmp.Diff(want, string(got)); diff != "" {
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

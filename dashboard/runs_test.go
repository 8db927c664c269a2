package dashboard_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/dashboard"
)

// Another tool's history is no reason to roll back: nothing is asked for, and
// nothing written.
func TestRollbackOfForeignHistory(t *testing.T) {
	store := new(auroratest.Memory)
	foreign := &foreignStore{Memory: store, revisions: []aurora.Revision{
		{Version: "1", Name: "a", State: aurora.Completed, Direction: aurora.Up, Kind: aurora.Imported, Foreign: "other", Seq: 1},
		{Version: "2", Name: "b", State: aurora.Completed, Direction: aurora.Up, Kind: aurora.Imported, Foreign: "other", Seq: 2},
	}}
	d := &directory{}
	d.set(migration("1", "a", "A"), migration("2", "b", "B"))
	for _, protected := range []bool{false, true} {
		s := newSite(t, dashboard.Config{Store: foreign, Migrations: d.load, Protected: protected, Start: func(context.Context, aurora.Request) error {
			t.Error("started")
			return nil
		}})
		var plan struct {
			Head     string
			Possible bool
			Blocked  *problem
		}
		if s.get("/api/plan?direction=down&target=2", &plan); plan.Possible || plan.Blocked == nil || plan.Blocked.Code != "nothing_to_do" {
			t.Errorf("%+v", plan)
		}
		body := map[string]string{"target": "2", "expectedHead": plan.Head, "confirm": "2_b", "reason": "x"}
		s.refused(s.post("/api/rollback", body), http.StatusConflict, "nothing_to_do")
	}
}

// A foreignStore also shows what another tool recorded.
type foreignStore struct {
	*auroratest.Memory
	revisions []aurora.Revision
}

func (f *foreignStore) Latest(context.Context) ([]aurora.Revision, error) {
	return slices.Clone(f.revisions), nil
}

// A run that has ended is over, whoever holds the lock then.
func TestOthersLockIsNotTheRuns(t *testing.T) {
	store := new(auroratest.Memory)
	d := &directory{}
	done := migration("1", "a")
	done.Up = []aurora.Step{aurora.Func{Name: "f", Do: func(context.Context, *aurora.Env) error { return nil }}}
	d.set(done)
	var asked aurora.Request
	s := newSite(t, dashboard.Config{Store: store, Migrations: d.load, User: "ada@h", Start: func(_ context.Context, r aurora.Request) error { asked = r; return nil }})
	s.start("/api/up", map[string]string{"reason": "release"})
	if asked.By != "ada@h" {
		t.Errorf("asked for by %q", asked.By)
	}
	r := aurora.Runner{Store: store, Migrations: d.migrations}
	if _, err := r.Run(t.Context(), asked); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		t.Helper()
		var plan struct{ Head string }
		s.get("/api/plan?direction=up", &plan) // reads anew
		var sum summaryJSON
		s.get("/api/migrations/summary", &sum)
		return sum.Run.State
	}
	for _, tt := range []struct {
		holder aurora.Holder
		want   string
	}{
		{aurora.Holder{User: "bob"}, "completed"},
		{aurora.Holder{By: "ada@h", Reason: "another"}, "completed"},
		{aurora.Holder{By: asked.By, Reason: asked.Reason}, "running"}, // it goes on in another process
	} {
		lease, err := store.Acquire(t.Context(), tt.holder, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if got := state(); got != tt.want {
			t.Errorf("while %s holds the lock: %s, want %s", tt.holder, got, tt.want)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// Between two migrations the run has the lease with which it wrote the first.
	lease, err := store.Acquire(t.Context(), aurora.Holder{User: "lambda"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	rev := aurora.Revision{ExecutionID: asked.ExecutionID, Version: "1", Name: "a", State: aurora.Completed, Direction: aurora.Up, Kind: aurora.Applied, Seq: 1}
	if err := lease.Save(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	if got := state(); got != "running" {
		t.Errorf("between two migrations: %s", got)
	}
}

// Whoever has proved no name is recorded as what the configuration says.
func TestUserWithoutName(t *testing.T) {
	d := &directory{}
	d.set(migration("1", "a", "A"))
	s := project(t, d, func(c *dashboard.Config) { c.User = "token holder" })
	var session struct{ User string }
	if s.get("/api/session", &session); session.User != "token holder" {
		t.Errorf("%+v", session)
	}
	s.start("/api/up", map[string]string{})
	latest, err := s.store.Latest(t.Context())
	if err != nil || latest[0].Holder.By != "token holder" {
		t.Errorf("%+v, %v", latest, err)
	}
}

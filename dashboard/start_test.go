package dashboard_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/dashboard"
)

func TestReadOnly(t *testing.T) {
	d := &directory{}
	d.set(migration("1", "a", "A"))
	for name, change := range map[string]func(*dashboard.Config){
		"no starter": func(c *dashboard.Config) { c.Local = nil },
		"asked for":  func(c *dashboard.Config) { c.ReadOnly = "as asked" },
	} {
		s := project(t, d, change)
		var session struct {
			ReadOnly       bool
			ReadOnlyReason string
		}
		s.get("/api/session", &session)
		if !session.ReadOnly || session.ReadOnlyReason == "" {
			t.Errorf("%s: %+v", name, session)
		}
		for _, path := range []string{"/api/up", "/api/rollback"} {
			s.refused(s.post(path, map[string]string{}), http.StatusConflict, "read_only")
		}
	}
}

func TestProtected(t *testing.T) {
	d := &directory{}
	d.set(migration("1", "a", "A"), migration("2", "b", "B"), migration("3", "c", "C"))
	s := project(t, d, func(c *dashboard.Config) { c.Protected = true })
	s.start("/api/up", map[string]string{})
	var plan struct {
		Head, Target, Confirm string
		NeedsReason           bool
	}
	s.get("/api/plan?direction=down&through=2_b", &plan)
	if plan.Confirm != "2_b" || !plan.NeedsReason || plan.Target != "1" {
		t.Fatalf("%+v", plan)
	}
	body := map[string]string{"target": plan.Target, "confirm": plan.Confirm, "reason": "why"}
	s.refused(s.post("/api/rollback", body), http.StatusBadRequest, "bad_request") // which state?
	body["expectedHead"] = plan.Head
	for _, typed := range []string{"", "3_c", "prod", "2_B", "2_b "} {
		body["confirm"] = typed
		if p := s.refused(s.post("/api/rollback", body), http.StatusUnprocessableEntity, "confirmation_required"); p.Confirm != "2_b" {
			t.Errorf("%q: %+v", typed, p)
		}
	}
	body["confirm"], body["reason"] = "b", " \n"
	s.refused(s.post("/api/rollback", body), http.StatusUnprocessableEntity, "reason_required")
	body["reason"] = "the checkout is broken"
	s.start("/api/rollback", body)
	var sum summaryJSON
	if s.get("/api/migrations/summary", &sum); sum.RolledBack != 2 || sum.Current != "1_a" {
		t.Errorf("%+v", sum)
	}
}

func TestPlanSaysWhyNot(t *testing.T) {
	once := migration("2", "b", "B")
	once.Down, once.Irreversible = nil, "the data is gone"
	d := &directory{}
	d.set(migration("1", "a", "A"), once, migration("3", "c", "C"))
	s := project(t, d, nil)
	type planJSON struct {
		Possible bool
		Blocked  *problem
		Items    []struct{ ID, Irreversible string }
		Target   string
	}
	var plan planJSON
	s.get("/api/plan?direction=down", &plan)
	if plan.Possible || plan.Blocked.Code != "nothing_to_do" {
		t.Errorf("%+v", plan)
	}
	s.refused(s.post("/api/rollback", map[string]string{}), http.StatusConflict, "nothing_to_do")
	s.start("/api/up", map[string]string{})
	s.refused(s.post("/api/up", map[string]string{}), http.StatusConflict, "nothing_to_do")
	plan = planJSON{}
	s.get("/api/plan?direction=down&through=1_a", &plan)
	if plan.Possible || plan.Blocked.Code != "irreversible" || plan.Blocked.Migration != "2_b" || len(plan.Items) != 3 || plan.Items[1].Irreversible != "the data is gone" || plan.Target != "0" {
		t.Errorf("%+v %+v", plan, plan.Blocked)
	}
	s.refused(s.post("/api/rollback", map[string]string{"target": "1"}), http.StatusConflict, "irreversible")
	changed := migration("1", "a", "other")
	d.set(changed, once, migration("3", "c", "C"))
	plan = planJSON{}
	if s.get("/api/plan?direction=down", &plan); plan.Possible || plan.Blocked.Code != "changed" || len(plan.Items) != 1 {
		t.Errorf("%+v %+v", plan, plan.Blocked)
	}
	var l listJSON
	if s.get("/api/migrations?status=edited", &l); len(l.Migrations) != 1 || !l.Migrations[0].Edited {
		t.Errorf("%+v", l)
	}
	s.refused(s.request("GET", "/api/plan?direction=down&through=9", ""), http.StatusBadRequest, "unknown_target")
	s.refused(s.request("GET", "/api/plan?direction=sideways", ""), http.StatusBadRequest, "bad_request")
}

// Two pages that have seen the same state press the button at the same moment.
func TestOnlyOneOfTwoTabsStarts(t *testing.T) {
	for _, remote := range []bool{false, true} {
		d := &directory{}
		hold := make(chan struct{})
		slow := migration("1", "a")
		slow.Up = []aurora.Step{aurora.Func{Name: "wait", Do: func(ctx context.Context, _ *aurora.Env) error {
			select {
			case <-hold:
			case <-ctx.Done():
			}
			return nil
		}}}
		d.set(slow)
		var mu sync.Mutex
		var asked []aurora.Request
		s := project(t, d, func(c *dashboard.Config) {
			if remote {
				c.Local = nil
				c.Start = func(_ context.Context, r aurora.Request) error {
					mu.Lock()
					defer mu.Unlock()
					asked = append(asked, r)
					return nil
				}
			}
		})
		codes := make(chan string, 8)
		var wg sync.WaitGroup
		for range 8 {
			req := s.post("/api/up", map[string]string{"expectedHead": "0"})
			wg.Go(func() {
				resp, err := s.client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = resp.Body.Close() }()
				var p problem
				if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
					t.Error(err)
				}
				if resp.StatusCode == http.StatusAccepted {
					p.Code = "accepted"
				}
				codes <- p.Code
			})
		}
		wg.Wait()
		close(hold)
		close(codes)
		count := make(map[string]int)
		for c := range codes {
			count[c]++
		}
		if count["accepted"] != 1 || count["busy"] != 7 {
			t.Errorf("remote %v: %v", remote, count)
		}
		if remote && len(asked) != 1 {
			t.Errorf("%d runs were asked for", len(asked))
		}
		s.wait()
	}
}

func TestLockedElsewhere(t *testing.T) {
	d := &directory{}
	d.set(migration("1", "a", "A"))
	s := project(t, d, nil)
	lease, err := s.store.Acquire(t.Context(), aurora.Holder{Host: "ci", User: "bob", Link: "https://ci.example.com/1"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	s.refused(s.post("/api/up", map[string]string{}), http.StatusConflict, "locked")
	var lock struct {
		Held      bool
		ExpiresAt time.Time
		Holder    struct{ Text, Link string }
	}
	if s.get("/api/lock", &lock); !lock.Held || lock.Holder.Text != "bob@ci, https://ci.example.com/1" || lock.ExpiresAt.Before(time.Now()) {
		t.Errorf("%+v", lock)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.start("/api/up", map[string]string{})
}

// A run elsewhere shows first as requested, then as what the history says.
func TestRemoteRun(t *testing.T) {
	store := new(auroratest.Memory)
	ms := []aurora.Migration{migration("1", "a"), migration("2", "b")}
	ms[0].Up = []aurora.Step{aurora.Func{Name: "f", Do: func(context.Context, *aurora.Env) error { return nil }}}
	ms[1].Up = []aurora.Step{aurora.Func{Name: "f", Do: func(context.Context, *aurora.Env) error { return errors.New("no") }}}
	var asked aurora.Request
	fail := true
	s := newSite(t, dashboard.Config{Store: store, Migrations: func(context.Context) ([]aurora.Migration, error) { return ms, nil }, Start: func(_ context.Context, r aurora.Request) error {
		if fail {
			return errors.New("AccessDenied for postgres://u:sesame123@h/d")
		}
		asked = r
		return nil
	}})
	if p := s.refused(s.post("/api/up", map[string]string{}), http.StatusBadGateway, "start_failed"); strings.Contains(p.Detail, "sesame123") {
		t.Error(p.Detail)
	}
	fail = false
	id := s.start("/api/up", map[string]string{})
	var sum summaryJSON
	if s.get("/api/migrations/summary", &sum); sum.Run == nil || sum.Run.State != "requested" || sum.Run.ExecutionID != id || asked.ExecutionID != id {
		t.Fatalf("%+v", sum.Run)
	}
	r := aurora.Runner{Store: store, Migrations: ms}
	if _, err := r.Run(t.Context(), asked); err == nil {
		t.Fatal("it did not fail")
	}
	var plan struct{ Head string }
	s.get("/api/plan?direction=up", &plan) // reads anew
	if s.get("/api/migrations/summary", &sum); sum.Run.State != "failed" || sum.Run.Error != "no" {
		t.Errorf("%+v", sum.Run)
	}
}

// A process that was killed leaves a revision that says running.
func TestDiedRun(t *testing.T) {
	store := new(auroratest.Memory)
	lease, err := store.Acquire(t.Context(), aurora.Holder{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	rev := aurora.Revision{ExecutionID: "e", Version: "1", Name: "a", Direction: aurora.Up, State: aurora.Running, Kind: aurora.Applied, Seq: 1, Steps: 3, Done: 1, Begun: 2, StartedAt: time.Now()}
	if err := lease.Save(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	d := &directory{}
	d.set(migration("1", "a", "A", "B", "C"))
	s := newSite(t, dashboard.Config{Store: store, Migrations: d.load})
	var l listJSON
	if s.get("/api/migrations", &l); l.Migrations[0].Status != "running" || l.Migrations[0].Died {
		t.Errorf("%+v", l.Migrations)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	var plan struct{ Head string }
	s.get("/api/plan?direction=up", &plan) // reads anew
	if s.get("/api/migrations?status=interrupted", &l); len(l.Migrations) != 1 || !l.Migrations[0].Died {
		t.Errorf("%+v", l.Migrations)
	}
	var detail struct {
		Attempts []struct {
			Died       bool
			Statements []struct{ State string }
		}
	}
	s.get("/api/migrations/1_a", &detail)
	if a := detail.Attempts[0]; !a.Died || a.Statements[0].State != "done" || a.Statements[1].State != "unsure" || a.Statements[2].State != "pending" {
		t.Errorf("%+v", a)
	}
	var e struct {
		Execution struct {
			Died   bool
			Counts struct{ Interrupted int }
		}
	}
	if s.get("/api/executions/e", &e); !e.Execution.Died || e.Execution.Counts.Interrupted != 1 {
		t.Errorf("%+v", e)
	}
}

// Pages hear of what others do, and one reader serves all of them.
func TestEvents(t *testing.T) {
	store := new(auroratest.Memory)
	d := &directory{}
	d.set(migration("1", "a"))
	s := newSite(t, dashboard.Config{Store: store, Migrations: d.load})
	const pages = 10
	type state struct {
		ETag       string
		Migrations []string
		Summary    summaryJSON
	}
	got := make([]chan state, pages)
	for i := range got {
		got[i] = make(chan state, 10)
		resp, err := s.client.Do(s.request("GET", "/api/events", ""))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
			t.Fatal(kind)
		}
		go func() {
			for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
				if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
					var st state
					if json.Unmarshal([]byte(data), &st) == nil {
						got[i] <- st
					}
				}
			}
			close(got[i])
		}()
	}
	for i := range got {
		if st := <-got[i]; st.Summary.Pending != 1 || len(st.Migrations) != 0 {
			t.Fatalf("at first: %+v", st)
		}
	}
	before, started := store.Calls(auroratest.OpLatest), time.Now()
	lease, err := store.Acquire(t.Context(), aurora.Holder{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Save(t.Context(), aurora.Revision{ExecutionID: "e", Version: "1", Name: "a", State: aurora.Completed, Direction: aurora.Up, Seq: 1}); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		for st := range got[i] {
			if st.Summary.Completed == 1 {
				if len(st.Migrations) != 1 || st.Migrations[0] != "1_a" || !st.Summary.Lock.Held {
					t.Errorf("%+v", st)
				}
				break
			}
		}
	}
	// One reader looks every second, however many pages there are.
	if n, took := store.Calls(auroratest.OpLatest)-before, time.Since(started); n > int(took/time.Second)+2 {
		t.Errorf("the history was read %d times in %s for %d pages", n, took, pages)
	}
}

func TestPolling(t *testing.T) {
	store := new(auroratest.Memory)
	s := newSite(t, dashboard.Config{Store: store, Polling: true})
	resp, body := s.do(s.request("GET", "/api/events", ""))
	tag := resp.Header.Get("ETag")
	if resp.StatusCode != http.StatusOK || tag == "" || !contains(body, `"summary"`) {
		t.Fatalf("%s %s", resp.Status, body)
	}
	req := s.request("GET", "/api/events?poll=1", "")
	req.Header.Set("If-None-Match", tag)
	if resp, body := s.do(req); resp.StatusCode != http.StatusNotModified || len(body) > 0 {
		t.Errorf("%s %s", resp.Status, body)
	}
}

// Closing interrupts the run, which goes on later.
func TestLocalClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(auroratest.Memory)
		begun := make(chan struct{})
		m := migration("1", "a")
		m.Up = []aurora.Step{aurora.Func{Name: "wait", Do: func(ctx context.Context, env *aurora.Env) error {
			env.Progress(10, 100)
			time.Sleep(5 * time.Second)
			env.Progress(60, 100)
			close(begun)
			<-ctx.Done()
			return ctx.Err()
		}}}
		l := &dashboard.Local{Open: func(context.Context, aurora.Request) (*aurora.Runner, func(context.Context) error, error) {
			return &aurora.Runner{Store: store, Migrations: []aurora.Migration{m}}, func(context.Context) error { return nil }, nil
		}}
		if err := l.Start(t.Context(), aurora.Request{ExecutionID: "e"}); err != nil {
			t.Fatal(err)
		}
		<-begun
		if err := l.Start(t.Context(), aurora.Request{}); !errors.Is(err, dashboard.ErrBusy) {
			t.Errorf("a second run: %v", err)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		latest, err := store.Latest(t.Context())
		if err != nil || len(latest) != 1 || latest[0].State != aurora.Interrupted {
			t.Errorf("%+v, %v", latest, err)
		}
		if err := l.Start(t.Context(), aurora.Request{}); err == nil {
			t.Error("it started after its end")
		}
	})
}

// Who and why are kept with the execution, also by a run that goes on later,
// and the state that was seen goes along to where it runs.
func TestWhoAndWhy(t *testing.T) {
	d := &directory{}
	d.set(migration("1", "a", "A"))
	s := project(t, d, func(c *dashboard.Config) {
		c.Hosts = []string{}
		c.Auth.Identify = func(*http.Request) (string, error) { return "ada@example.com", nil }
		c.Auth.Token = onceToken
	})
	var session struct{ CSRF, User string }
	s.get("/api/session", &session)
	s.csrf = session.CSRF
	id := s.start("/api/up", map[string]string{"reason": "  release 7, see postgres://u:sesame123@h/d  "})
	var e struct {
		Execution struct {
			Reason string
			Holder struct{ By, Text string }
		}
		Run struct{ Reason, By string }
	}
	s.get("/api/executions/"+id, &e)
	const reason = "release 7, see postgres://u:xxxxx@h/d"
	if e.Execution.Reason != reason || e.Execution.Holder.By != "ada@example.com" || e.Run.Reason != reason || e.Run.By != "ada@example.com" {
		t.Errorf("%+v", e)
	}
	latest, err := s.store.Latest(t.Context())
	if err != nil || latest[0].Holder.By != "ada@example.com" {
		t.Errorf("%+v, %v", latest, err)
	}
}

// The check under the lease, which counts where several dashboards are open.
func TestHeadMovesBeforeTheRun(t *testing.T) {
	d := &directory{}
	d.set(migration("1", "a", "A"))
	store, db := openFile(t), &recordingDatabase{}
	var mu sync.Mutex
	opened := func() {}
	local := &dashboard.Local{Open: func(context.Context, aurora.Request) (*aurora.Runner, func(context.Context) error, error) {
		mu.Lock()
		defer mu.Unlock()
		opened()
		migrations, err := d.load(t.Context())
		return &aurora.Runner{Store: store, Database: db, Migrations: migrations}, func(context.Context) error { return nil }, err
	}}
	s := newSite(t, dashboard.Config{Store: store, Migrations: d.load, Local: local})
	s.start("/api/up", map[string]string{})
	mu.Lock()
	opened = func() { // somebody else is faster
		d.set(migration("1", "a", "A"), migration("2", "b", "B"))
		other := aurora.Runner{Store: store, Database: db, Migrations: d.migrations}
		if _, err := other.Run(t.Context(), aurora.Request{}); err != nil {
			t.Error(err)
		}
	}
	mu.Unlock()
	s.start("/api/rollback", map[string]string{"reason": "x"})
	var sum struct {
		RolledBack int
		Run        struct {
			State   string
			Problem struct{ Code string }
		}
	}
	if s.get("/api/migrations/summary", &sum); sum.Run.Problem.Code != "head_moved" || sum.RolledBack != 0 {
		t.Errorf("%+v", sum)
	}
}

// What the environment asks for counts, and a history that only begins is
// something to do.
func TestDefaults(t *testing.T) {
	d := &directory{}
	d.set(migration("1", "a", "A"), migration("2", "b", "B"))
	s := project(t, d, func(c *dashboard.Config) {
		c.Defaults = aurora.Request{Baseline: "2", ExecOrder: aurora.NonLinear, Reason: "not this"}
	})
	var plan struct {
		Possible bool
		Baseline string
		Items    []struct{ ID string }
	}
	s.get("/api/plan?direction=up", &plan)
	if !plan.Possible || plan.Baseline != "2_b" || len(plan.Items) != 0 {
		t.Errorf("%+v", plan)
	}
	s.start("/api/up", map[string]string{})
	var l listJSON
	if s.get("/api/migrations", &l); strings.Join(statuses(l), " ") != "2_b applied 1_a covered" {
		t.Errorf("%v", statuses(l))
	}
	d.set(migration("1", "a", "A"), migration("2", "b", "B"), migration("4", "d", "D"))
	s.start("/api/up", map[string]string{})
	d.set(migration("1", "a", "A"), migration("2", "b", "B"), migration("3", "c", "C"), migration("4", "d", "D"))
	s.start("/api/up", map[string]string{}) // behind 4
	if s.get("/api/migrations?status=completed", &l); l.Total != 3 {
		t.Errorf("%v", statuses(l))
	}
}

// A reviewer is a database that sends something else.
type reviewer struct{}

func (reviewer) Review(m aurora.Migration, d aurora.Direction) []aurora.Review {
	if d == aurora.Down {
		return []aurora.Review{{Statement: 0, Err: errors.New("not here")}, {Statement: 99}}
	}
	return []aurora.Review{{Statement: 1, SQL: "CREATE INDEX ASYNC", Changes: []string{"an index is built in the background"}}}
}

func TestStatementsAsSent(t *testing.T) {
	d := &directory{}
	d.set(migration("1", "a", "CREATE TABLE", "CREATE INDEX", "UPDATE users SET password='x'"))
	s := project(t, d, func(c *dashboard.Config) { c.Reviewer = reviewer{} })
	var v struct {
		Statements struct {
			Up, Down []struct {
				SQL, Sent, Refused, Pos string
				Changes                 []string
			}
		}
	}
	s.get("/api/migrations/1_a", &v)
	up, down := v.Statements.Up, v.Statements.Down
	if len(up) != 3 || up[0].Sent != "" || up[1].Sent != "CREATE INDEX ASYNC" || len(up[1].Changes) != 1 || up[1].Pos != "1_a.sql:2" || up[2].SQL != "UPDATE users SET password='x'" || down[0].Refused != "not here" {
		t.Errorf("%+v", v)
	}
}

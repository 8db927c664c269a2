package dashboard_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type migrationJSON struct {
	ID, Version, Name, Status, State, Direction, ExecutionID, Error, Language string
	Edited, Died                                                              bool
	Reversible                                                                *bool
}

type listJSON struct {
	Migrations []migrationJSON
	Next, Head string
	Total      int
}

func statuses(l listJSON) []string {
	out := []string{}
	for _, m := range l.Migrations {
		out = append(out, m.ID+" "+m.Status)
	}
	return out
}

type summaryJSON struct {
	Pending, Completed, Failed, Total, Running, Interrupted, RolledBack, Edited int
	Ready                                                                       bool
	Current, Head                                                               string
	Lock                                                                        struct{ Held bool }
	Active                                                                      []migrationJSON
	Run                                                                         *struct{ ExecutionID, State, Error string }
}

// A failed deploy is found, read, fixed and run again, and rolled back.
func TestStory(t *testing.T) {
	d := &directory{}
	d.set(migration("1", "users", "CREATE users"), migration("2", "orders", "CREATE orders", "BROKEN <script>", "CREATE more"), migration("3", "items", "CREATE items"))
	s := project(t, d, nil)
	var sum summaryJSON
	s.get("/api/migrations/summary", &sum)
	if sum.Pending != 3 || sum.Total != 3 || sum.Head != "0" {
		t.Fatalf("before: %+v", sum)
	}
	failed := s.start("/api/up", map[string]any{"expectedHead": "0"})
	s.get("/api/migrations/summary", &sum)
	if sum.Failed != 1 || sum.Completed != 1 || sum.Pending != 1 || sum.Current != "1_users" || len(sum.Active) != 1 || sum.Active[0].ID != "2_orders" || sum.Run.State != "failed" {
		t.Fatalf("after a failure: %+v", sum)
	}
	var l listJSON
	s.get("/api/migrations", &l)
	if diff := cmp.Diff([]string{"3_items pending", "2_orders failed", "1_users applied"}, statuses(l)); diff != "" {
		t.Fatal(diff)
	}
	var detail struct {
		Migration migrationJSON
		Attempts  []struct {
			ExecutionID, State, Error, ErrorStep, ErrorPos string
			ErrorIndex                                     *int
			Statements                                     []struct{ SQL, State string }
		}
	}
	s.get("/api/migrations/2_orders", &detail)
	a := detail.Attempts[0]
	if a.ExecutionID != failed || a.ErrorIndex == nil || *a.ErrorIndex != 1 || a.Statements[0].State != "done" || a.Statements[1].State != "failed" || a.Statements[2].State != "pending" || a.Error != "this is broken" {
		t.Fatalf("%+v", a)
	}
	d.set(migration("1", "users", "CREATE users"), migration("2", "orders", "CREATE orders", "FIXED", "CREATE more"), migration("3", "items", "CREATE items"))
	s.start("/api/up", map[string]any{"expectedHead": sum.Head})
	sum = summaryJSON{}
	s.get("/api/migrations/summary", &sum)
	if sum.Completed != 3 || !sum.Ready {
		t.Fatalf("after the fix: %+v %s", sum, sum.Run.Error)
	}
	var plan struct {
		Head, Target, TargetID string
		Possible               bool
		Items                  []struct{ ID string }
	}
	s.get("/api/plan"+query("direction", "down", "through", "2_orders"), &plan)
	if got := fmt.Sprint(plan.Items, plan.Target, plan.TargetID, plan.Possible); got != "[{3_items} {2_orders}]11_userstrue" {
		t.Fatal(got)
	}
	undone := s.start("/api/rollback", map[string]any{"target": plan.Target, "expectedHead": plan.Head, "reason": "broken checkout"})
	s.get("/api/migrations", &l)
	if diff := cmp.Diff([]string{"3_items rolled_back", "2_orders rolled_back", "1_users applied"}, statuses(l)); diff != "" {
		t.Fatal(diff)
	}
	s.checkExecutions(undone, failed)
	// What was planned before the rollback is no longer so.
	p := s.refused(s.post("/api/rollback", map[string]any{"target": plan.Target, "expectedHead": plan.Head, "reason": ""}), http.StatusConflict, "head_moved")
	if p.Head == "" || p.Head == plan.Head {
		t.Error(p)
	}
	s.refused(s.post("/api/rollback", map[string]any{"target": "9"}), http.StatusBadRequest, "unknown_target")
	s.refused(s.request(http.MethodGet, "/api/migrations/nobody", ""), http.StatusNotFound, "not_found")
	s.refused(s.request(http.MethodGet, "/api/executions/nobody", ""), http.StatusNotFound, "not_found")
	_, raw := s.do(s.request(http.MethodGet, "/api/migrations/2_orders", ""))
	if !json.Valid(raw) || contains(raw, "<script>") {
		t.Errorf("a script is in the answer as it stands: %s", raw)
	}
}

// checkExecutions pages through three executions: the newest is a rollback, and
// the oldest has failed.
func (s *site) checkExecutions(undone, failed string) {
	s.t.Helper()
	t := s.t
	var executions struct {
		Executions []struct {
			ID, Direction, State string
			Counts               struct{ Total, Completed, Failed int }
		}
		Next string
	}
	s.get("/api/executions?limit=2", &executions)
	if len(executions.Executions) != 2 || executions.Executions[0].ID != undone || executions.Executions[0].Direction != "down" || executions.Next == "" {
		t.Fatalf("%+v", executions)
	}
	s.get("/api/executions"+query("cursor", executions.Next), &executions)
	if len(executions.Executions) != 1 || executions.Executions[0].ID != failed || executions.Executions[0].Counts.Failed != 1 || executions.Next != "" {
		t.Fatalf("%+v", executions)
	}
	var execution struct{ Migrations []struct{ ID, State string } }
	s.get("/api/executions/"+failed, &execution)
	if fmt.Sprint(execution.Migrations) != "[{1_users completed} {2_orders failed}]" {
		t.Fatal(execution.Migrations)
	}
}

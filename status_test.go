package aurora_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
)

// showStatus writes a status in a line.
func showStatus(s aurora.Status) string {
	var parts []string
	for _, m := range s.Migrations {
		part := m.Migration.ID() + " " + m.Status
		if m.Edited {
			part += "!"
		}
		parts = append(parts, part)
	}
	line := strings.Join(parts, ", ")
	var ids []string
	for _, m := range s.Pending {
		ids = append(ids, m.Version)
	}
	line += fmt.Sprintf("; at %s; pending %v", s.Current, ids)
	if len(s.OutOfOrder) > 0 {
		line += fmt.Sprintf("; late %d", len(s.OutOfOrder))
	}
	if s.Last != nil {
		line += fmt.Sprintf("; last %s %s %s", s.Last.ID(), s.Last.Direction, s.Last.State)
	}
	if s.Ready() {
		line += "; ready"
	}
	return line
}

func at(token int64) func(*aurora.Revision) {
	return func(r *aurora.Revision) { r.Token = token }
}

func TestNewStatus(t *testing.T) {
	abc := migs("1_a", "2_b", "3_c")
	snap := mlist{mig("1_a"), mig("2_b"), mig("3_s", snapshot), mig("4_d")}
	for _, tt := range []struct {
		name       string
		migrations []aurora.Migration
		latest     []aurora.Revision
		order      aurora.ExecOrder
		want       string
	}{
		{"nothing", nil, nil, "", "; at ; pending []; ready"},
		{"A34 new", abc, nil, "", "1_a pending, 2_b pending, 3_c pending; at ; pending [1 2 3]"},
		{"all applied", abc, rlist{done("1_a"), done("2_b"), done("3_c")}, "", "1_a applied, 2_b applied, 3_c applied; at 3; pending []; ready"},
		{"A12 half applied is not ready", abc, rlist{done("1_a"), done("2_b"), done("3_c", failed(1))}, "", "1_a applied, 2_b applied, 3_c failed; at 2; pending [3]; last 3_c up failed"},
		{"A12 failed at once is not ready", migs("1_a"), rlist{done("1_a", failed(0))}, "", "1_a failed; at ; pending [1]; last 1_a up failed"},
		{"running", migs("1_a"), rlist{done("1_a", killed(0))}, "", "1_a running; at ; pending [1]; last 1_a up running"},
		{"paused", migs("1_a"), rlist{done("1_a", checkpoint("1"))}, "", "1_a paused; at ; pending [1]; last 1_a up paused"},
		{"A13 pending is a set", abc, rlist{done("3_c"), done("2_b")}, aurora.NonLinear, "1_a pending, 2_b applied, 3_c applied; at 3; pending [1]"},
		{"late", abc, rlist{done("3_c"), done("1_a")}, aurora.Linear, "1_a applied, 2_b out_of_order, 3_c applied; at 3; pending []; late 1"},
		{"late and skipped", abc, rlist{done("3_c"), done("1_a")}, aurora.LinearSkip, "1_a applied, 2_b covered, 3_c applied; at 3; pending []; ready"},
		{"late and failed", abc, rlist{done("3_c"), done("1_a"), done("2_b", failed(0))}, "", "1_a applied, 2_b out_of_order, 3_c applied; at 3; pending []; late 1; last 2_b up failed"},
		{"late and half applied", abc, rlist{done("3_c"), done("1_a"), done("2_b", failed(1))}, "", "1_a applied, 2_b failed, 3_c applied; at 3; pending [2]; last 2_b up failed"},
		{"rolled back", abc, rlist{done("1_a"), done("2_b", down)}, "", "1_a applied, 2_b rolled_back, 3_c pending; at 1; pending [2 3]"},
		{"half rolled back", migs("1_a"), rlist{done("1_a", down, failed(1))}, "", "1_a failed; at ; pending [1]; last 1_a down failed"},
		{"a rollback that failed at once", migs("1_a"), rlist{done("1_a", down, failed(0))}, "", "1_a applied; at 1; pending []; last 1_a down failed; ready"},
		{"edited", mlist{mig("1_a", edited)}, rlist{done("1_a")}, "", "1_a applied!; at 1; pending []"},
		{"missing", migs("2_b"), rlist{done("1_a"), done("2_b")}, "", "1_a missing, 2_b applied; at 2; pending []"},
		{"missing but imported or rolled back", migs("2_b"), rlist{done("1_a", imported), done("2_b"), done("3_c", down)}, "", "2_b applied; at 2; pending []; ready"},
		{"baseline", abc, rlist{done("2_b", baseline)}, "", "1_a covered, 2_b applied, 3_c pending; at 2; pending [3]"},
		{"baseline after a failed try", abc, rlist{done("1_a", failed(0)), done("3_c", baseline)}, "", "1_a covered, 2_b covered, 3_c applied; at 3; pending []; ready"},
		{"baseline without files", migs("1_a"), rlist{done("2_b", baseline)}, "", "1_a covered; at 2; pending []; ready"},
		{"snapshot, new", snap, nil, "", "1_a covered, 2_b covered, 3_s pending, 4_d pending; at ; pending [3 4]"},
		{"snapshot, half applied", snap, rlist{done("3_s", failed(1))}, "", "1_a covered, 2_b covered, 3_s failed, 4_d pending; at ; pending [3 4]; last 3_s up failed"},
		{"snapshot with history", snap, rlist{done("1_a"), done("2_b"), done("4_d")}, "", "1_a applied, 2_b applied, 3_s covered, 4_d applied; at 4; pending []; ready"},
		{"foreign", abc, rlist{done("1_a", foreign), done("2_b", foreign, otherName)}, "", "1_a applied, 2_b pending, 3_c pending; at 1; pending [2 3]"},
		{"the newest that did not end", abc, rlist{done("1_a", failed(1), at(7)), done("2_b", failed(1), at(6))}, "", "1_a failed, 2_b failed, 3_c pending; at ; pending [1 2 3]; last 1_a up failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := aurora.NewStatus(tt.migrations, tt.latest, tt.order)
			if err != nil {
				t.Fatal(err)
			}
			if got := showStatus(s); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	if _, err := aurora.NewStatus(migs("1_a", "1_b"), nil, ""); err == nil {
		t.Error("a version that appears twice is no error")
	}
}

// TestStatusAgreesWithPlan: what status calls pending is what a plan would run.
func TestStatusAgreesWithPlan(t *testing.T) {
	kinds := []func(string) []aurora.Revision{
		func(string) []aurora.Revision { return nil },
		func(id string) []aurora.Revision { return rlist{done(id)} },
		func(id string) []aurora.Revision { return rlist{done(id, failed(0))} },
		func(id string) []aurora.Revision { return rlist{done(id, failed(1))} },
		func(id string) []aurora.Revision { return rlist{done(id, down)} },
		func(id string) []aurora.Revision { return rlist{done(id, down, failed(0))} },
		func(id string) []aurora.Revision { return rlist{done(id, baseline)} },
	}
	ids := []string{"1_a", "2_b", "3_c", "4_d"}
	orders := []aurora.ExecOrder{aurora.Linear, aurora.LinearSkip, aurora.NonLinear}
	n := len(kinds)
	for snapshotAt := range len(ids) + 1 {
		migrations := migs(ids...)
		if snapshotAt < len(ids) {
			migrations[snapshotAt].Snapshot = true
		}
		for code := range n * n * n * n {
			var latest []aurora.Revision
			for i, rest := 0, code; i < len(ids); i, rest = i+1, rest/n {
				latest = append(latest, kinds[rest%n](ids[i])...)
			}
			for _, order := range orders {
				checkAgreement(t, migrations, latest, order)
			}
		}
	}
}

func checkAgreement(t *testing.T, migrations []aurora.Migration, latest []aurora.Revision, order aurora.ExecOrder) {
	t.Helper()
	s, err := aurora.NewStatus(migrations, latest, order)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := aurora.NewPlan(migrations, latest, aurora.Request{ExecOrder: order})
	var want []string
	for _, it := range plan.Items {
		want = append(want, it.Migration.ID())
	}
	var got []string
	for _, m := range s.Pending {
		got = append(got, m.ID())
	}
	late := err != nil
	if late != (len(s.OutOfOrder) > 0) || !late && !cmp.Equal(want, got) || s.Ready() != (!late && len(want) == 0) {
		t.Errorf("history %v, order %s: plan %s, %v; status %s", describe(latest), order, show(plan), err, showStatus(s))
	}
}

func describe(revisions []aurora.Revision) []string {
	var out []string
	for _, r := range revisions {
		out = append(out, fmt.Sprintf("%s %s %s %s %d", r.ID(), r.Direction, r.Kind, r.State, r.Done))
	}
	return out
}

func TestNewSet(t *testing.T) {
	abcd := migs("1_a", "2_b", "3_c", "4_d")
	snap := mlist{mig("1_a"), mig("2_b"), mig("3_s", snapshot), mig("4_d")}
	for _, tt := range []struct {
		name       string
		migrations []aurora.Migration
		latest     []aurora.Revision
		version    string
		want       string
	}{
		{"empty history", abcd, nil, "2", "up 1_a, up 2_b"},
		{"by name", abcd, nil, "b", "up 1_a, up 2_b"},
		{"as it is", abcd, rlist{done("1_a"), done("2_b")}, "2", ""},
		{"forward", abcd, rlist{done("1_a")}, "3", "up 2_b, up 3_c"},
		{"back", abcd, rlist{done("1_a"), done("2_b"), done("3_c")}, "1", "down 2_b, down 3_c"},
		{"half applied counts as applied", abcd, rlist{done("1_a"), done("2_b", failed(1))}, "2", "up 2_b"},
		{"half applied counts as not applied", abcd, rlist{done("1_a"), done("2_b", failed(1))}, "1", "down 2_b"},
		{"half rolled back counts as applied", abcd, rlist{done("1_a", down, failed(1))}, "1", "up 1_a"},
		{"rolled back counts as applied", abcd, rlist{done("1_a", down)}, "1", "up 1_a"},
		{"edited is accepted", mlist{mig("1_a", edited), mig("2_b")}, rlist{done("1_a"), done("2_b")}, "2", "up 1_a"},
		{"missing is forgotten", migs("1_a"), rlist{done("1_a"), done("2_b")}, "1", "down 2_b"},
		{"out of order is accepted", abcd, rlist{done("1_a"), done("3_c")}, "3", "up 2_b"},

		{"snapshot not reached", snap, nil, "2", "up 1_a, up 2_b"},
		{"snapshot reached", snap, nil, "4", "up 3_s, up 4_d"},
		{"snapshot on a database with history", snap, rlist{done("1_a")}, "4", "up 2_b, up 4_d"},
		{"back behind an applied snapshot", snap, rlist{done("3_s"), done("4_d")}, "2", "up 1_a, up 2_b, down 3_s, down 4_d"},
		{"covered by a snapshot", snap, rlist{done("3_s")}, "4", "up 4_d"},

		{"covered by a baseline", abcd, rlist{done("2_b", baseline)}, "3", "up 3_c"},
		{"back behind a baseline", abcd, rlist{done("3_c", baseline)}, "2", "up 1_a, up 2_b, down 3_c"},
		{"an edited baseline stays", mlist{mig("1_a"), mig("2_b", edited), mig("3_c")}, rlist{done("2_b", baseline)}, "3", "up 3_c"},
		{"a baseline without a file stays", migs("1_a", "3_c"), rlist{done("2_b", baseline)}, "3", "up 3_c"},
		{"a baseline without a file goes", migs("1_a", "3_c"), rlist{done("2_b", baseline)}, "1", "up 1_a, down 2_b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			revisions, err := aurora.NewSet(tt.migrations, tt.latest, tt.version)
			if err != nil {
				t.Fatal(err)
			}
			var parts []string
			for i := range revisions {
				r := &revisions[i]
				parts = append(parts, fmt.Sprintf("%s %s", r.Direction, r.ID()))
				if r.Kind != aurora.Resolved || r.State != aurora.Completed {
					t.Errorf("%s: %s %s", r.ID(), r.Kind, r.State)
				}
				r.Token, r.Seq = 99, i // newer than all
			}
			if got := strings.Join(parts, ", "); got != tt.want {
				t.Fatalf("got  %s\nwant %s", got, tt.want)
			}
			checkSet(t, tt.migrations, aurora.Newest(append(tt.latest, revisions...)), tt.version)
		})
	}
	if _, err := aurora.NewSet(abcd, nil, "9"); err == nil {
		t.Error("an unknown version is no error")
	}
}

// checkSet checks that after a set nothing up to the version is left to do,
// and that it is done with once.
func checkSet(t *testing.T, migrations []aurora.Migration, latest []aurora.Revision, version string) {
	t.Helper()
	plan, err := aurora.NewPlan(migrations, latest, aurora.Request{To: version})
	if err != nil || len(plan.Items) != 0 {
		t.Errorf("a plan to %s afterwards: %s, %v", version, show(plan), err)
	}
	for _, m := range migrations {
		if m.Name == version {
			version = m.Version
		}
	}
	if plan.Current != version {
		t.Errorf("the current version is %s, want %s", plan.Current, version)
	}
	again, err := aurora.NewSet(migrations, latest, version)
	if err != nil || len(again) != 0 {
		t.Errorf("setting it again gives %v, %v", describe(again), err)
	}
}

package aurora

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A file that was renamed so that names sort as versions do is the same
// migration, in both directions and however often.
func TestRenamedVersionIsTheSame(t *testing.T) {
	revision := func(version string, token int64, d Direction) Revision {
		return Revision{Version: version, Name: "a", Direction: d, State: Completed, Kind: Applied, Token: token}
	}
	migrations := []Migration{{Version: "02", Name: "a", Up: []Step{Statement{SQL: "SELECT 1"}}, Down: []Step{Statement{SQL: "SELECT 2"}}}, {Version: "10", Name: "b"}}
	plan, err := NewPlan(migrations, []Revision{revision("2", 1, Up)}, Request{})
	if err != nil || len(plan.Items) != 1 || plan.Items[0].Migration.Version != "10" {
		t.Errorf("up: %v, %v", plan.Items, err)
	}
	plan, err = NewPlan(migrations, []Revision{revision("2", 1, Up)}, Request{Direction: Down})
	if err != nil || len(plan.Items) != 1 || plan.Items[0].Migration.Version != "02" {
		t.Errorf("down: %v, %v", plan.Items, err)
	}
	// The newest word counts, whichever spelling it was written under.
	status, err := NewStatus(migrations, []Revision{revision("2", 1, Up), revision("02", 2, Down)}, "")
	if err != nil || len(status.Pending) != 2 || len(status.Missing) != 0 {
		t.Errorf("status: %+v, %v", status, err)
	}
}

func TestCanonicalVersion(t *testing.T) {
	versions := []string{"", "0", "00", "1", "01", "10", "010", "1.0", "1.00", "v1", "v01", "v10", "1a0", "1a00b", "20250601120000"}
	for _, a := range versions {
		for _, b := range versions {
			if same := canonicalVersion(a) == canonicalVersion(b); same != (CompareVersions(a, b) == 0) {
				t.Errorf("%q and %q: canonical equal %v, compare %d", a, b, same, CompareVersions(a, b))
			}
		}
	}
}

// Setting a version by hand must not lose what another tool has applied.
func TestSetKeepsAnotherToolsHistory(t *testing.T) {
	migrations := []Migration{{Version: "1", Name: "a"}, {Version: "2", Name: "b"}, {Version: "3", Name: "c"}}
	foreign := func(version, name string) Revision {
		return Revision{Version: version, Name: name, Direction: Up, State: Completed, Kind: Imported, Foreign: "x", Operator: "Atlas"}
	}
	set, err := NewSet(migrations, []Revision{foreign("1", "a")}, "2")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Kind{}
	for _, r := range set {
		got[r.Version] = r.Kind
		if r.Foreign != "" {
			t.Errorf("%s is still foreign", r.Version)
		}
	}
	if diff := cmp.Diff(map[string]Kind{"1": Imported, "2": Resolved}, got); diff != "" {
		t.Errorf("set (-want +got):\n%s", diff)
	}
	status, err := NewStatus(migrations, set, "")
	if err != nil || len(status.Pending) != 1 || status.Pending[0].Version != "3" {
		t.Errorf("%+v, %v", status, err)
	}
}

// An older release may come back while the database is ahead: its pods start,
// and only running it is refused.
func TestDatabaseAhead(t *testing.T) {
	applied := func(version string) Revision {
		return Revision{Version: version, Direction: Up, State: Completed, Kind: Applied, Token: 1}
	}
	latest := []Revision{applied("1"), applied("2"), applied("3")}
	status, err := NewStatus([]Migration{{Version: "1"}}, latest, "")
	if err != nil || !status.Ready() || len(status.Ahead) != 2 || len(status.Missing) != 0 {
		t.Errorf("%+v, %v", status, err)
	}
	// A hole is no release that went by.
	status, err = NewStatus([]Migration{{Version: "1"}, {Version: "3"}}, latest, "")
	if err != nil || status.Ready() || len(status.Missing) != 1 {
		t.Errorf("%+v, %v", status, err)
	}
	if _, err := NewPlan([]Migration{{Version: "1"}}, latest, Request{}); err == nil {
		t.Error("a run from an older directory was accepted")
	}
	// Version 0 forgets everything, also with no file left.
	for _, migrations := range [][]Migration{nil, {{Version: "1"}}} {
		set, err := NewSet(migrations, latest, "0")
		if err != nil || len(set) != 3 {
			t.Errorf("set 0: %+v, %v", set, err)
		}
		for _, r := range set {
			if r.Direction != Down || r.State != Completed {
				t.Errorf("set 0: %+v", r)
			}
		}
	}
}

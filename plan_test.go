package aurora_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
)

// mig returns a migration of "version_name" with two statements up and two
// down, changed by the functions.
func mig(id string, change ...func(*aurora.Migration)) aurora.Migration {
	version, name, _ := strings.Cut(id, "_")
	m := aurora.Migration{
		Version: version, Name: name, Source: id + ".sql", Checksum: aurora.Checksum(id),
		Up:   []aurora.Step{aurora.Statement{SQL: "up 1 " + id, File: id + ".sql", Line: 1}, aurora.Statement{SQL: "up 2 " + id, File: id + ".sql", Line: 2}},
		Down: []aurora.Step{aurora.Statement{SQL: "down 1 " + id}, aurora.Statement{SQL: "down 2 " + id}},
	}
	for _, c := range change {
		c(&m)
	}
	return m
}

func migs(ids ...string) []aurora.Migration {
	out := make([]aurora.Migration, len(ids))
	for i, id := range ids {
		out[i] = mig(id)
	}
	return out
}

func snapshot(m *aurora.Migration) { m.Snapshot = true }
func noDown(m *aurora.Migration)   { m.Down = nil }
func edited(m *aurora.Migration)   { m.Checksum = aurora.Checksum("edited") }
func because(why string) func(*aurora.Migration) {
	return func(m *aurora.Migration) { m.Down, m.Irreversible = nil, why }
}
func txMode(mode aurora.TxMode) func(*aurora.Migration) {
	return func(m *aurora.Migration) { m.TxMode = mode }
}
func upSQL(statements ...string) func(*aurora.Migration) {
	return func(m *aurora.Migration) {
		m.Up, m.Checksum = nil, aurora.Checksum(strings.Join(statements, ";"))
		for i, s := range statements {
			m.Up = append(m.Up, aurora.Statement{SQL: s, File: m.Source, Line: i + 1})
		}
	}
}

// done returns the completed revision of mig(id).
func done(id string, change ...func(*aurora.Revision)) aurora.Revision {
	m := mig(id)
	r := aurora.Revision{
		ExecutionID: "old", Version: m.Version, Name: m.Name, Checksum: m.Checksum, Direction: aurora.Up,
		State: aurora.Completed, Kind: aurora.Applied, Token: 1, Seq: 1, Steps: 2, Done: 2,
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func down(r *aurora.Revision)      { r.Direction = aurora.Down }
func baseline(r *aurora.Revision)  { r.Kind, r.Steps, r.Done = aurora.Baseline, 0, 0 }
func imported(r *aurora.Revision)  { r.Kind = aurora.Imported }
func foreign(r *aurora.Revision)   { r.Kind, r.Foreign, r.Checksum = aurora.Imported, "atlas", "h1:x" }
func otherName(r *aurora.Revision) { r.Name = "other" }
func noName(r *aurora.Revision)    { r.Name = "" }

// failed makes a revision one that stopped after n of its statements.
func failed(n int) func(*aurora.Revision) {
	return func(r *aurora.Revision) {
		r.State, r.Done, r.Begun, r.Error = aurora.Failed, n, n, "no"
		for i := range n {
			sql := fmt.Sprintf("%s %d %s", r.Direction, i+1, r.ID())
			r.Hashes = append(r.Hashes, aurora.StepHash(aurora.Statement{SQL: sql}))
		}
	}
}

// killed makes it one whose process died during statement n+1.
func killed(n int) func(*aurora.Revision) {
	return func(r *aurora.Revision) {
		failed(n)(r)
		r.State, r.Begun = aurora.Running, n+1
	}
}

func checkpoint(text string) func(*aurora.Revision) {
	return func(r *aurora.Revision) {
		failed(0)(r)
		r.State, r.Checkpoint = aurora.Paused, json.RawMessage(text)
	}
}

// show writes a plan in a line.
func show(p aurora.Plan) string {
	var parts []string
	for _, r := range p.Import {
		parts = append(parts, "import "+r.ID())
	}
	for _, r := range p.Baseline {
		parts = append(parts, "baseline "+r.ID())
	}
	for _, it := range p.Items {
		s := string(it.Direction) + " " + it.Migration.ID()
		if it.Resumes {
			s += fmt.Sprintf(" from %d", it.Revision.Done)
		}
		parts = append(parts, s)
	}
	for _, s := range p.Skipped {
		parts = append(parts, fmt.Sprintf("skip %s (%s)", s.Migration.ID(), s.Reason))
	}
	if p.Current != p.Target {
		parts = append(parts, fmt.Sprintf("%s->%s", p.Current, p.Target))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// showError writes an error of NewPlan in a line, its type first.
func showError(err error) string {
	var request *aurora.RequestError
	var changed *aurora.ChangedError
	var order *aurora.OutOfOrderError
	var irreversible *aurora.IrreversibleError
	switch {
	case errors.As(err, &request):
		return "request: " + err.Error()
	case errors.As(err, &changed) && changed.Migration != "":
		return fmt.Sprintf("changed: statement %d of %s at %s", changed.Statement, changed.Migration, changed.Pos)
	case errors.As(err, &changed):
		return fmt.Sprintf("changed: edited %v missing %v ahead %v, set %s", changed.Edited, changed.Missing, changed.Ahead, changed.Current)
	case errors.As(err, &order):
		return fmt.Sprintf("out of order: %v behind %s", order.Late, order.Current)
	case errors.As(err, &irreversible):
		return fmt.Sprintf("irreversible: %s, %s", irreversible.Migration, irreversible.Reason)
	}
	return fmt.Sprintf("%T: %v", err, err)
}

type planTest struct {
	name       string
	migrations []aurora.Migration
	latest     []aurora.Revision
	req        aurora.Request
	want       string // the plan, or the error
}

func runPlanTests(t *testing.T, tests []planTest) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := aurora.NewPlan(tt.migrations, tt.latest, tt.req)
			got := show(plan)
			if err != nil {
				got = showError(err)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

type (
	mlist = []aurora.Migration
	rlist = []aurora.Revision
)

const (
	cli        = "; list them with: aurora migrate list"
	snapshotNo = "a checkpoint, which only a database without history starts from"
)

func TestNewPlanUp(t *testing.T) {
	abc := migs("1_a", "2_b", "3_c")
	runPlanTests(t, []planTest{
		{"nothing at all", nil, nil, aurora.Request{}, "nothing"},
		{"all pending", abc, nil, aurora.Request{}, "up 1_a, up 2_b, up 3_c, ->3"},
		{"all applied", abc, rlist{done("1_a"), done("2_b"), done("3_c")}, aurora.Request{}, "nothing"},
		{"the rest", abc, rlist{done("1_a")}, aurora.Request{}, "up 2_b, up 3_c, 1->3"},
		{"A26 numbers sort as numbers", migs("10_b", "9_a", "100_c"), nil, aurora.Request{}, "up 9_a, up 10_b, up 100_c, ->100"},
		{"A18 same version twice", migs("1_a", "1_b"), nil, aurora.Request{}, "request: version 1 appears twice: 1_a.sql and 1_b.sql; rename one of them"},
		{"same version but for zeros", migs("1_a", "001_b"), nil, aurora.Request{}, "request: version 001 appears twice: 1_a.sql and 001_b.sql; rename one of them"},
		{"no version", mlist{{Name: "x"}}, nil, aurora.Request{}, "request: x has no version"},
		{"zeros added to an applied file's name", migs("001_a"), rlist{done("1_a")}, aurora.Request{}, "changed: edited [001_a] missing [] ahead [], set 001"},

		{"one", abc, nil, aurora.Request{Steps: 1}, "up 1_a, ->1"},
		{"more than there are", abc, rlist{done("1_a")}, aurora.Request{Steps: 9}, "up 2_b, up 3_c, 1->3"},
		{"to a version", abc, nil, aurora.Request{To: "2"}, "up 1_a, up 2_b, ->2"},
		{"to an ID", abc, nil, aurora.Request{To: "2_b"}, "up 1_a, up 2_b, ->2"},
		{"to a name", abc, nil, aurora.Request{To: "b"}, "up 1_a, up 2_b, ->2"},
		{"to a file", abc, nil, aurora.Request{To: "2_b.sql"}, `request: no migration has the version or name "2_b.sql"` + cli},
		{"to an ambiguous name", migs("1_a", "2_a"), nil, aurora.Request{To: "a"}, `request: the name "a" is ambiguous: 1_a, 2_a; give the version`},
		{"a version wins over a name", migs("1_2", "2_a"), nil, aurora.Request{To: "2"}, "up 1_2, up 2_a, ->2"},
		{"to what does not exist", abc, nil, aurora.Request{To: "4"}, `request: no migration has the version or name "4"` + cli},
		{"to what is applied", abc, rlist{done("1_a"), done("2_b")}, aurora.Request{To: "1"}, "nothing"},
		{"to before the pending ones", abc, rlist{done("1_a")}, aurora.Request{To: "1_a"}, "nothing"},

		{"late", migs("1_a", "2_b", "3_c"), rlist{done("1_a"), done("3_c")}, aurora.Request{}, "out of order: [2_b] behind 3"},
		{"two late, both named", abc, rlist{done("3_c")}, aurora.Request{}, "out of order: [1_a 2_b] behind 3"},
		{"late, skip", abc, rlist{done("1_a"), done("3_c")}, aurora.Request{ExecOrder: aurora.LinearSkip}, "skip 2_b (out of order)"},
		{"late, run", abc, rlist{done("1_a"), done("3_c")}, aurora.Request{ExecOrder: aurora.NonLinear}, "up 2_b"},
		{"late, beyond the target", abc, rlist{done("1_a"), done("3_c")}, aurora.Request{To: "1"}, "nothing"},
		{"behind what failed before it did anything", abc, rlist{done("1_a"), done("3_c", failed(0))}, aurora.Request{}, "up 2_b, up 3_c, 1->3"},
		{"behind what is half applied", abc, rlist{done("1_a"), done("3_c", failed(1))}, aurora.Request{}, "out of order: [2_b] behind 3"},
		{"behind what is half applied, run", abc, rlist{done("1_a"), done("3_c", failed(1))}, aurora.Request{ExecOrder: aurora.NonLinear}, "up 2_b, up 3_c from 1, 1->3"},
		{"failed without a trace, and late now", abc, rlist{done("1_a"), done("2_b", failed(0)), done("3_c")}, aurora.Request{}, "out of order: [2_b] behind 3"},
		{"half applied is finished, late or not", abc, rlist{done("1_a"), done("2_b", failed(1)), done("3_c")}, aurora.Request{}, "up 2_b from 1"},
		{"rolled back, then up again", abc, rlist{done("1_a"), done("2_b", down), done("3_c", down)}, aurora.Request{}, "up 2_b, up 3_c, 1->3"},
		{"all rolled back, then up again", abc, rlist{done("1_a", down), done("2_b", down)}, aurora.Request{Steps: 1}, "up 1_a, ->1"},
		{"rolled back behind an applied one", abc, rlist{done("1_a"), done("2_b", down), done("3_c")}, aurora.Request{}, "out of order: [2_b] behind 3"},

		{"both limits", abc, nil, aurora.Request{Steps: 1, To: "2"}, "request: a number of migrations and a target version exclude each other"},
		{"negative", abc, nil, aurora.Request{Steps: -1}, "request: the number of migrations must be at least 1, not -1"},
		{"direction", abc, nil, aurora.Request{Direction: "sideways"}, `request: unknown direction "sideways": want up or down`},
		{"tx mode", abc, nil, aurora.Request{TxMode: "some"}, `request: unknown transaction mode "some": want file, all or none`},
		{"exec order", abc, nil, aurora.Request{ExecOrder: "some"}, `request: unknown execution order "some": want linear, linear-skip or non-linear`},
		{"unsure", abc, nil, aurora.Request{Unsure: "some"}, `request: unknown answer "some": want rerun or skip`},
		{
			"one transaction for all", mlist{mig("1_a"), mig("2_b", txMode(aurora.TxNone))}, nil, aurora.Request{TxMode: aurora.TxAll},
			"request: 2_b.sql asks for transaction mode none, which one transaction for all files cannot give; use --tx-mode file",
		},
		{"one transaction for all that are left", mlist{mig("1_a", txMode(aurora.TxNone)), mig("2_b")}, rlist{done("1_a")}, aurora.Request{TxMode: aurora.TxAll}, "up 2_b, 1->2"},
	})
}

func TestNewPlanDrift(t *testing.T) {
	abc := migs("1_a", "2_b", "3_c")
	half := func(r *aurora.Revision) { failed(1)(r) }
	runPlanTests(t, []planTest{
		{"A7 edited", mlist{mig("1_a", edited), mig("2_b")}, rlist{done("1_a"), done("2_b")}, aurora.Request{}, "changed: edited [1_a] missing [] ahead [], set 2"},
		{"edited and missing", mlist{mig("1_a", edited)}, rlist{done("1_a"), done("2_b")}, aurora.Request{}, "changed: edited [1_a] missing [] ahead [2_b], set 1"},
		{"all missing", nil, rlist{done("1_a")}, aurora.Request{}, "changed: edited [] missing [1_a] ahead [], set "},
		{"down looks too", mlist{mig("1_a", edited)}, rlist{done("1_a")}, aurora.Request{Direction: aurora.Down}, "changed: edited [1_a] missing [] ahead [], set 1"},
		{"unknown checksum", abc, rlist{done("1_a", func(r *aurora.Revision) { r.Checksum = "" })}, aurora.Request{Steps: 1}, "up 2_b, 1->2"},
		{"checksum of another algorithm", abc, rlist{done("1_a", func(r *aurora.Revision) { r.Checksum = "sha256-v0:1" })}, aurora.Request{Steps: 1}, "up 2_b, 1->2"},
		{"rolled back may be edited", mlist{mig("1_a", edited)}, rlist{done("1_a", down)}, aurora.Request{}, "up 1_a, ->1"},
		{"rolled back may be removed", migs("1_a"), rlist{done("1_a"), done("2_b", down)}, aurora.Request{}, "nothing"},
		{"what failed may be edited", mlist{mig("1_a", edited)}, rlist{done("1_a", failed(0))}, aurora.Request{}, "up 1_a, ->1"},
		{"imported may be missing", migs("2_b"), rlist{done("1_a", imported)}, aurora.Request{}, "up 2_b, 1->2"},
		{"a rollback that failed leaves it applied", mlist{mig("1_a", edited)}, rlist{done("1_a", down, failed(0))}, aurora.Request{}, "changed: edited [1_a] missing [] ahead [], set 1"},

		{"A1 the failing statement is fixed", mlist{mig("1_a", upSQL("up 1 1_a", "fixed"))}, rlist{done("1_a", half)}, aurora.Request{}, "up 1_a from 1, ->1"},
		{"A7 statements are added at the end", mlist{mig("1_a", upSQL("up 1 1_a", "up 2 1_a", "up 3 1_a"))}, rlist{done("1_a", half)}, aurora.Request{}, "up 1_a from 1, ->1"},
		{"a statement that ran was edited", mlist{mig("1_a", upSQL("edited", "up 2 1_a"))}, rlist{done("1_a", half)}, aurora.Request{}, "changed: statement 1 of 1_a at 1_a.sql:1"},
		{"one was put before it", mlist{mig("1_a", upSQL("new", "up 1 1_a", "up 2 1_a"))}, rlist{done("1_a", half)}, aurora.Request{}, "changed: statement 1 of 1_a at 1_a.sql:1"},
		{"statements that ran were removed", mlist{mig("1_a", upSQL())}, rlist{done("1_a", half)}, aurora.Request{}, "changed: statement 1 of 1_a at "},
		{"and there are no hashes", mlist{mig("1_a", upSQL("up 1 1_a"))}, rlist{done("1_a", failed(2), func(r *aurora.Revision) { r.Hashes = nil })}, aurora.Request{}, "changed: statement 2 of 1_a at "},
		{"nothing is left to do", mlist{mig("1_a", upSQL("up 1 1_a"))}, rlist{done("1_a", half)}, aurora.Request{}, "up 1_a from 1, ->1"},
		{"killed in the first statement", migs("1_a"), rlist{done("1_a", killed(0))}, aurora.Request{}, "up 1_a from 0, ->1"},
		{"paused in the first step", migs("1_a"), rlist{done("1_a", checkpoint("null"))}, aurora.Request{}, "up 1_a from 0, ->1"},
	})
}

func TestNewPlanBaselineAndSnapshot(t *testing.T) {
	abcd := migs("1_a", "2_b", "3_c", "4_d")
	snap := mlist{mig("1_a"), mig("2_b"), mig("3_s", snapshot), mig("4_d")}
	two := mlist{mig("1_a"), mig("2_s", snapshot), mig("3_c"), mig("4_s", snapshot), mig("5_e")}
	base2 := aurora.Request{Baseline: "2"}
	covered := func(by string, ids ...string) string {
		var parts []string
		for _, id := range ids {
			parts = append(parts, fmt.Sprintf("skip %s (covered by %s)", id, by))
		}
		return strings.Join(parts, ", ")
	}
	runPlanTests(t, []planTest{
		{"baseline", abcd, nil, base2, "baseline 2_b, up 3_c, up 4_d, " + covered("2_b", "1_a") + ", ->4"},
		{"baseline by name", abcd, nil, aurora.Request{Baseline: "d"}, "baseline 4_d, " + covered("4_d", "1_a", "2_b", "3_c") + ", ->4"},
		{"baseline that does not exist", abcd, nil, aurora.Request{Baseline: "9"}, `request: no migration has the version or name "9"` + cli},
		{"baseline, then resume after it", abcd, rlist{done("2_b", baseline), done("3_c", failed(1))}, base2, "up 3_c from 1, up 4_d, " + covered("2_b", "1_a") + ", 2->4"},
		{"baseline with a history is ignored", abcd, rlist{done("1_a")}, base2, "up 2_b, up 3_c, up 4_d, 1->4"},
		{"baseline after a first try that did nothing", abcd, rlist{done("1_a", failed(0))}, base2, "baseline 2_b, up 3_c, up 4_d, " + covered("2_b", "1_a") + ", ->4"},
		{"baseline on the very one that failed", abcd, rlist{done("2_b", failed(0))}, base2, "baseline 2_b, up 3_c, up 4_d, " + covered("2_b", "1_a") + ", ->4"},
		{"baseline after a first try that did something", abcd, rlist{done("1_a", failed(1))}, base2, "up 1_a from 1, up 2_b, up 3_c, up 4_d, ->4"},
		{"baseline after all was rolled back is ignored", abcd, rlist{done("1_a", down)}, base2, "up 1_a, up 2_b, up 3_c, up 4_d, ->4"},
		{"baseline whose file and successors are gone", migs("1_a", "2_b"), rlist{done("5_e", baseline)}, aurora.Request{}, covered("5_e", "1_a", "2_b")},
		{"baseline may be edited", mlist{mig("1_a", edited), mig("2_b")}, rlist{done("1_a", baseline)}, aurora.Request{}, "up 2_b, 1->2"},

		{"snapshot on an empty database", snap, nil, aurora.Request{}, "up 3_s, up 4_d, " + covered("3_s", "1_a", "2_b") + ", ->4"},
		{"the newest snapshot counts", two, nil, aurora.Request{}, "up 4_s, up 5_e, " + covered("4_s", "1_a", "2_s", "3_c") + ", ->5"},
		{"the newest that is not beyond the target", two, nil, aurora.Request{To: "3"}, "up 2_s, up 3_c, " + covered("2_s", "1_a") + ", ->3"},
		{"target before any snapshot", snap, nil, aurora.Request{To: "2"}, "up 1_a, up 2_b, ->2"},
		{"snapshot on a database with history", snap, rlist{done("1_a")}, aurora.Request{}, "up 2_b, up 4_d, skip 3_s (" + snapshotNo + "), 1->4"},
		{"snapshot among applied ones", snap, rlist{done("1_a"), done("2_b"), done("4_d")}, aurora.Request{}, "skip 3_s (" + snapshotNo + ")"},
		{"snapshot applied", snap, rlist{done("3_s")}, aurora.Request{}, "up 4_d, " + covered("3_s", "1_a", "2_b") + ", 3->4"},
		{"snapshot half applied", snap, rlist{done("3_s", failed(1))}, aurora.Request{}, "up 3_s from 1, up 4_d, " + covered("3_s", "1_a", "2_b") + ", ->4"},
		{"snapshot killed in its first statement", snap, rlist{done("3_s", killed(0))}, aurora.Request{}, "up 3_s from 0, up 4_d, " + covered("3_s", "1_a", "2_b") + ", ->4"},
		{"snapshot half applied, and a newer one appears", two, rlist{done("2_s", failed(1))}, aurora.Request{}, "up 2_s from 1, up 3_c, up 5_e, " + covered("2_s", "1_a") + ", skip 4_s (" + snapshotNo + "), ->5"},
		{"snapshot failed at once, and a newer one appears", two, rlist{done("2_s", failed(0))}, aurora.Request{}, "up 4_s, up 5_e, " + covered("4_s", "1_a", "2_s", "3_c") + ", ->5"},
		{"snapshot failed at once, then a baseline", snap, rlist{done("3_s", failed(0)), done("2_b", baseline)}, aurora.Request{}, "up 4_d, " + covered("2_b", "1_a") + ", skip 3_s (" + snapshotNo + "), 2->4"},
		{"snapshot rolled back", snap, rlist{done("3_s", down)}, aurora.Request{}, "up 3_s, up 4_d, " + covered("3_s", "1_a", "2_b") + ", ->4"},
		{"a late file behind a snapshot is covered", snap, rlist{done("3_s"), done("4_d")}, aurora.Request{}, covered("3_s", "1_a", "2_b")},
		{"baseline before a snapshot", snap, nil, base2, "baseline 2_b, up 4_d, " + covered("2_b", "1_a") + ", skip 3_s (" + snapshotNo + "), ->4"},
		{"baseline on the snapshot", snap, nil, aurora.Request{Baseline: "3"}, "baseline 3_s, up 4_d, " + covered("3_s", "1_a", "2_b") + ", ->4"},
	})
}

func TestNewPlanDown(t *testing.T) {
	abc := migs("1_a", "2_b", "3_c")
	all := rlist{done("1_a"), done("2_b"), done("3_c")}
	req := func(change ...func(*aurora.Request)) aurora.Request {
		r := aurora.Request{Direction: aurora.Down}
		for _, c := range change {
			c(&r)
		}
		return r
	}
	to := func(v string) func(*aurora.Request) { return func(r *aurora.Request) { r.To = v } }
	steps := func(n int) func(*aurora.Request) { return func(r *aurora.Request) { r.Steps = n } }
	everything := func(r *aurora.Request) { r.All = true }
	runPlanTests(t, []planTest{
		{"one by default", abc, all, req(), "down 3_c, 3->2"},
		{"two", abc, all, req(steps(2)), "down 3_c, down 2_b, 3->1"},
		{"more than there are", abc, all, req(steps(9)), "down 3_c, down 2_b, down 1_a, 3->"},
		{"all", abc, all, req(everything), "down 3_c, down 2_b, down 1_a, 3->"},
		{"to", abc, all, req(to("1_a")), "down 3_c, down 2_b, 3->1"},
		{"to where it is", abc, all, req(to("3")), "nothing"},
		{"to nothing", abc, all, req(to("0")), "down 3_c, down 2_b, down 1_a, 3->"},
		{"to version 0, which exists", migs("0_z", "1_a"), rlist{done("0_z"), done("1_a")}, req(to("0")), "down 1_a, 1->0"},
		{"to what is not applied", abc, rlist{done("1_a")}, req(to("2")), "request: 2_b is not applied, so nothing can be rolled back to it"},
		{"to what does not exist", abc, all, req(to("4")), `request: no migration has the version or name "4"` + cli},
		{"all and to", abc, all, req(everything, to("1")), "request: all excludes a number of migrations and a target version"},
		{"nothing applied", abc, nil, req(), "nothing"},
		{"the newest is rolled back already", abc, rlist{done("1_a"), done("2_b"), done("3_c", down)}, req(), "down 2_b, 2->1"},
		{"the newest failed without a trace", abc, rlist{done("1_a"), done("2_b"), done("3_c", failed(0))}, req(), "down 2_b, 2->1"},
		{"the newest is half applied", abc, rlist{done("1_a"), done("2_b", failed(1))}, req(), "request: 2_b is half applied (1 of 2 statements); finish it first with: aurora migrate apply"},
		{"the newest was killed in its first statement", abc, rlist{done("1_a"), done("2_b", killed(0))}, req(), "request: 2_b is half applied (0 of 2 statements); finish it first with: aurora migrate apply"},
		{"the newest paused in its first step", abc, rlist{done("1_a"), done("2_b", checkpoint("1"))}, req(), "request: 2_b is half applied (0 of 2 statements); finish it first with: aurora migrate apply"},
		{"half rolled back goes on", abc, rlist{done("1_a"), done("2_b", down, failed(1))}, req(), "down 2_b from 1"},
		{"a rollback that failed at once starts again", abc, rlist{done("1_a"), done("2_b", down, failed(0))}, req(), "down 2_b, 2->1"},
		{"half rolled back, and a statement that ran edited", mlist{mig("1_a", func(m *aurora.Migration) { m.Down = m.Down[1:] })}, rlist{done("1_a", down, failed(1))}, req(), "changed: statement 1 of 1_a at line 0"},
		{"up while half rolled back", abc, rlist{done("1_a"), done("2_b", down, failed(1))}, aurora.Request{}, "request: the rollback of 2_b is half done; finish it first with: aurora migrate down --to 1"},
		{"up while the first is half rolled back", abc, rlist{done("1_a", down, killed(0))}, aurora.Request{}, "request: the rollback of 1_a is half done; finish it first with: aurora migrate down --all"},
		{"no down part", mlist{mig("1_a", noDown)}, rlist{done("1_a")}, req(), "irreversible: 1_a, it has no down part; write one as 1_a.down.sql"},
		{"irreversible", mlist{mig("1_a", because("the mails are sent"))}, rlist{done("1_a")}, req(), "irreversible: 1_a, the mails are sent"},
		{"irreversible further down", mlist{mig("1_a", because("x")), mig("2_b")}, rlist{done("1_a"), done("2_b")}, req(everything), "irreversible: 1_a, x"},
		{"irreversible but it stays", mlist{mig("1_a", because("x")), mig("2_b")}, rlist{done("1_a"), done("2_b")}, req(to("1")), "down 2_b, 2->1"},
		{"no file", migs("2_b"), rlist{done("1_a", imported)}, req(), "irreversible: 1_a, its file is not in the directory"},
		{"missing", migs("1_a"), rlist{done("1_a"), done("2_b")}, req(), "changed: edited [] missing [] ahead [2_b], set 1"},
		{"the baseline", abc, rlist{done("2_b", baseline)}, req(), "irreversible: 2_b, it is the baseline, of which nothing ran here"},
		{"down to the baseline", abc, rlist{done("2_b", baseline), done("3_c")}, req(), "down 3_c, 3->2"},
		{"all stops at the baseline", abc, rlist{done("2_b", baseline), done("3_c")}, req(everything), "down 3_c, 3->2"},
		{"by hand", abc, rlist{done("1_a", func(r *aurora.Revision) { r.Kind = aurora.Resolved })}, req(), "down 1_a, 1->"},
		{"snapshot", mlist{mig("1_a"), mig("2_s", snapshot)}, rlist{done("2_s")}, req(), "down 2_s, 2->"},
	})
}

func TestNewPlanForeign(t *testing.T) {
	abc := migs("1_a", "2_b", "3_c")
	runPlanTests(t, []planTest{
		{"imported before the rest", abc, rlist{done("1_a", foreign), done("2_b", foreign)}, aurora.Request{}, "import 1_a, import 2_b, up 3_c, 2->3"},
		{"imported though nothing is to do", abc[:1], rlist{done("1_a", foreign)}, aurora.Request{}, "import 1_a"},
		{"another project's file of that version", abc, rlist{done("1_a", foreign, otherName)}, aurora.Request{Steps: 1}, "up 1_a, ->1"},
		{"the other tool keeps no names", abc, rlist{done("1_a", foreign, noName)}, aurora.Request{Steps: 1}, "import 1_a, up 2_b, 1->2"},
		{"another project's version", abc, rlist{done("0_z", foreign), done("9_z", foreign)}, aurora.Request{Steps: 1}, "up 1_a, ->1"},
		{"half applied by the other tool", abc, rlist{done("1_a", foreign), done("2_b", foreign, failed(1))}, aurora.Request{}, "request: 2_b is half applied (1 of 2 statements) according to atlas; finish it with the tool that began it, or finish it by hand and record it with: aurora migrate set 2"},
		{"failed at once in the other tool", abc[:1], rlist{done("1_a", foreign, failed(0))}, aurora.Request{}, "up 1_a, ->1"},
		{"our own record wins", abc, rlist{done("1_a", foreign), done("1_a", down)}, aurora.Request{Steps: 1}, "up 1_a, ->1"},
		{"our own record wins in the other order too", abc, rlist{done("1_a", down), done("1_a", foreign)}, aurora.Request{Steps: 1}, "up 1_a, ->1"},
		{"late behind the import", abc, rlist{done("3_c", foreign)}, aurora.Request{}, "out of order: [1_a 2_b] behind 3"},
		{"down imports too", abc, rlist{done("1_a", foreign), done("2_b", foreign)}, aurora.Request{Direction: aurora.Down}, "import 1_a, import 2_b, down 2_b, 2->1"},
	})
}

// TestNewPlanResume looks at what an item carries over.
func TestNewPlanResume(t *testing.T) {
	half := done("1_a", killed(1), func(r *aurora.Revision) {
		r.Checkpoint, r.Description, r.Output = json.RawMessage(`7`), "old", "old output"
		r.StartedAt = r.StartedAt.AddDate(2024, 0, 0)
	})
	m := mig("1_a", upSQL("up 1 1_a", "fixed", "more"), txMode(aurora.TxNone))
	m.Description = "new"
	want := aurora.Item{
		Migration: m, Direction: aurora.Up, Resumes: true, TxMode: aurora.TxNone, Unsure: aurora.UnsureSkip,
		Revision: aurora.Revision{
			Version: "1", Name: "a", Description: "new", Checksum: m.Checksum, Direction: aurora.Up, Kind: aurora.Applied,
			State: aurora.Running, Steps: 3, Done: 1, Begun: 2, Hashes: half.Hashes, Checkpoint: json.RawMessage(`7`),
		},
	}
	for _, execution := range []string{"", "new", "old"} {
		req := aurora.Request{ExecutionID: execution, TxMode: aurora.TxFile, Unsure: aurora.UnsureSkip}
		plan, err := aurora.NewPlan(mlist{m}, rlist{half}, req)
		if err != nil {
			t.Fatal(err)
		}
		// Only the same execution goes on with the same record.
		want.Revision.StartedAt = aurora.Revision{}.StartedAt
		if execution == "old" {
			want.Revision.StartedAt = half.StartedAt
		}
		if diff := cmp.Diff([]aurora.Item{want}, plan.Items); diff != "" {
			t.Errorf("execution %q (-want +got):\n%s", execution, diff)
		}
	}
}

// TestNewPlanIsPure: it neither sorts nor fills what it was given.
func TestNewPlanIsPure(t *testing.T) {
	migrations := migs("3_c", "1_a", "2_b")
	latest := rlist{done("2_b", foreign, noName), done("1_a")}
	if _, err := aurora.NewPlan(migrations, latest, aurora.Request{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(migs("3_c", "1_a", "2_b"), migrations); diff != "" {
		t.Errorf("migrations changed:\n%s", diff)
	}
	if diff := cmp.Diff(rlist{done("2_b", foreign, noName), done("1_a")}, latest); diff != "" {
		t.Errorf("history changed:\n%s", diff)
	}
}

func TestErrorsNameTheCommand(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&aurora.ChangedError{Edited: []string{"1_a"}, Current: "3"}, "aurora migrate set 3"},
		{&aurora.ChangedError{Missing: []string{"1_a"}}, "aurora migrate set 0"},
		{&aurora.ChangedError{Ahead: []string{"4_d"}, Current: "3"}, "the database is ahead of the directory, no file of which is as new as 4_d. Use the directory that has them, or put the files back, or accept the directory as it is with: aurora migrate set 3"},
		{&aurora.OutOfOrderError{Late: []string{"1_a"}, Current: "3"}, "aurora migrate apply --exec-order non-linear"},
		{&aurora.UnsureError{Migration: "1_a", Index: 1, Pos: "1_a.sql:3"}, "1_a.sql:3: an earlier run ended while it ran statement 2 of 1_a"},
		{&aurora.UnsureError{}, "--unsure skip"},
	} {
		if got := tt.err.Error(); !strings.Contains(got, tt.want) {
			t.Errorf("%T: %q does not contain %q", tt.err, got, tt.want)
		}
	}
}

func TestFind(t *testing.T) {
	all := migs("1_users", "2_orders", "3_users")
	all[1].Source = "002-orders.sql"
	for what, want := range map[string]string{
		"1": "1_users", "2": "2_orders", "orders": "2_orders", "3_users": "3_users", "002-orders": "2_orders",
		"users": `the name "users" is ambiguous: 1_users, 3_users; give the version`, "4": `no migration has the version or name "4"`, "": `no migration has the version or name ""`,
	} {
		m, err := aurora.Find(all, what)
		var refused *aurora.RequestError
		if err != nil && (!errors.As(err, &refused) || !strings.Contains(err.Error(), want)) || err == nil && m.ID() != want {
			t.Errorf("%q: %s, %v; want %s", what, m.ID(), err, want)
		}
	}
}

// A request that was made for another place of the history runs nothing, unless
// it is the run itself that has moved it.
func TestExpectedHead(t *testing.T) {
	store, db := new(auroratest.Memory), new(database)
	latest := func() []aurora.Revision {
		revisions, err := store.Latest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return revisions
	}
	r := &aurora.Runner{Store: store, Database: db, Migrations: migs("1_a", "2_b", "3_c")}
	empty := aurora.Head(latest())
	if empty != "0" {
		t.Errorf("the head of an empty history is %s", empty)
	}
	ask := aurora.Request{Steps: 1, ExpectedHead: empty, ExecutionID: aurora.NewExecutionID(), By: "alice", Reason: "a ticket"}
	if _, err := r.Run(t.Context(), ask); err != nil {
		t.Fatal(err)
	}
	first := aurora.Head(latest())
	if rev := store.All()[0]; first == empty || rev.Holder.By != "alice" || rev.Holder.Reason != "a ticket" {
		t.Errorf("head %s, %+v", first, rev.Holder)
	}
	// The same run may go on; another may not.
	if _, err := r.Run(t.Context(), ask); err != nil {
		t.Error(err)
	}
	ask.ExecutionID = aurora.NewExecutionID()
	saves := store.Calls(auroratest.OpAcquire)
	_, err := r.Run(t.Context(), ask)
	var moved *aurora.MovedError
	if !errors.As(err, &moved) || moved.Expected != empty || moved.Head == first || moved.Hint() == "" || store.Calls(auroratest.OpAcquire) != saves {
		t.Errorf("%v (%+v)", err, moved)
	}
	// It is looked at again under the lease: somebody else was first meanwhile.
	ask.ExpectedHead = aurora.Head(latest())
	other := &aurora.Runner{Store: store, Database: db, Migrations: r.Migrations}
	late := &aurora.Runner{Store: firstLooks{store, func() {
		if _, err := other.Run(t.Context(), aurora.Request{}); err != nil {
			t.Error(err)
		}
	}}, Database: db, Migrations: migs("1_a", "2_b", "3_c", "4_d")}
	if _, err := late.Run(t.Context(), ask); !errors.As(err, &moved) {
		t.Errorf("%v, want that the history moved", err)
	}
	db.wantRan(t, "up 1 1_a", "up 2 1_a", "up 1 2_b", "up 2 2_b", "up 1 3_c", "up 2 3_c")
}

// firstLooks is a store at which something happens before a lease is taken.
type firstLooks struct {
	*auroratest.Memory
	before func()
}

func (f firstLooks) Acquire(ctx context.Context, h aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	f.before()
	return f.Memory.Acquire(ctx, h, ttl)
}

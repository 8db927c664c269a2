package auroratest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/aurora-migrate/aurora"
)

// TestStore tests what [aurora.Store] says about revisions.
func TestStore(t *testing.T, open Open) {
	suite{
		"EmptyStoreReadsNothing":      testEmpty,
		"EveryFieldSurvives":          testRoundTrip,
		"OddTextSurvives":             testOddText,
		"CheckpointsOfAnyJSON":        testCheckpoints,
		"SaveReplacesItsOwn":          testUpsert,
		"NewestIsByTokenNotByClock":   testNewestByToken,
		"NewestIsBySeqInOneLease":     testNewestBySeq,
		"TokenIsTheLeases":            testTokenIsSet,
		"CancelledSaveIsAllOrNone":    testSaveAllOrNone,
		"ProjectsAreSeparate":         testProjects,
		"TenThousandRevisions":        testTenThousand,
		"VersionsThatLookLikeNumbers": testVersionIdentity,
	}.run(t, open)
}

func testEmpty(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	ctx := t.Context()
	if got := latest(t, s); len(got) != 0 {
		t.Errorf("Latest: %v", got)
	}
	if locked, err := locker(t, s).Locked(ctx); locked != nil || err != nil {
		t.Errorf("Locked: %v, %v; want nil, nil", locked, err)
	}
	if err := locker(t, s).Break(ctx, 1); !errors.Is(err, aurora.ErrNotFound) {
		t.Errorf("Break: %v, want ErrNotFound", err)
	}
	if got, cursor, err := history(t, s).Revisions(ctx, "1", "", 10); len(got) != 0 || cursor != "" || err != nil {
		t.Errorf("Revisions: %v, %q, %v; want none", got, cursor, err)
	}
	if _, err := history(t, s).Revision(ctx, "x", "1"); !errors.Is(err, aurora.ErrNotFound) {
		t.Errorf("Revision: %v, want ErrNotFound", err)
	}
	if got, cursor, err := history(t, s).Executions(ctx, "", 10); len(got) != 0 || cursor != "" || err != nil {
		t.Errorf("Executions: %v, %q, %v; want none", got, cursor, err)
	}
	if _, err := history(t, s).Execution(ctx, "x"); !errors.Is(err, aurora.ErrNotFound) {
		t.Errorf("Execution: %v, want ErrNotFound", err)
	}
}

// full returns a revision with something in every field.
func full() aurora.Revision {
	return aurora.Revision{
		ExecutionID: "0197-full", Version: "20250601120000", Name: "backfill_users",
		Description: "# Why\n\nBecause.", Checksum: "sha256-v1:00ff", Direction: aurora.Down,
		State: aurora.Failed, Kind: aurora.Applied, Seq: 3,
		Steps: 9, Done: 2, Begun: 3, Hashes: []string{"aa", "bb"}, Checkpoint: json.RawMessage(`{"after":"k"}`),
		Error: "duplicate key", ErrorStep: "CREATE INDEX i ON t (a)", ErrorPos: "1_a.sql:7",
		StartedAt: epoch, FinishedAt: epoch.Add(90 * time.Minute), Holder: alice, Operator: "aurora v1.2.3",
		Output: "line 1\nline 2\n", OutputDropped: 7,
	}
}

// checkEverywhere compares what each way of reading gives with what was saved.
func checkEverywhere(t *testing.T, s aurora.Store, token int64, saved aurora.Revision) {
	t.Helper()
	saved.Token = token
	whole, err := history(t, s).Revision(t.Context(), saved.ExecutionID, saved.Version)
	if err != nil {
		t.Fatalf("Revision: %v", err)
	}
	if diff := cmp.Diff(saved, whole, sameRevisions); diff != "" {
		t.Errorf("Revision (-saved +read):\n%s", diff)
	}
	got := attempts(t, s, saved.Version)
	if len(got) != 1 {
		t.Fatalf("Revisions: %v; want one", versions(got))
	}
	if diff := cmp.Diff(bare(saved), got[0], sameRevisions); diff != "" {
		t.Errorf("Revisions (-saved +read):\n%s", diff)
	}
	e, err := history(t, s).Execution(t.Context(), saved.ExecutionID)
	if err != nil || len(e.Revisions) != 1 {
		t.Fatalf("Execution: %v, %v; want one revision", versions(e.Revisions), err)
	}
	if diff := cmp.Diff(bare(saved), e.Revisions[0], sameRevisions); diff != "" {
		t.Errorf("Execution (-saved +read):\n%s", diff)
	}
	for _, r := range latest(t, s) {
		if r.Version != saved.Version {
			continue
		}
		if r.Description != "" || r.Output != "" {
			t.Errorf("Latest brings the description (%d bytes) and the output (%d bytes), which it should leave out",
				len(r.Description), len(r.Output))
		}
		ignore := cmpopts.IgnoreFields(aurora.Revision{}, "Description", "Output", "OutputDropped")
		if diff := cmp.Diff(saved, r, sameRevisions, ignore); diff != "" {
			t.Errorf("Latest (-saved +read):\n%s", diff)
		}
		return
	}
	t.Errorf("Latest does not have version %q", saved.Version)
}

func testRoundTrip(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	revision := full()
	save(t, lease, revision)
	checkEverywhere(t, handle("shop"), lease.Token(), revision)

	// As little as a revision can have: empty stays empty, and a time that was
	// never set stays unset.
	small := aurora.Revision{
		ExecutionID: "0197-small", Version: "2", Direction: aurora.Up, State: aurora.Running, Kind: aurora.Applied,
		StartedAt: epoch,
	}
	save(t, lease, small)
	checkEverywhere(t, handle("shop"), lease.Token(), small)
	got, err := history(t, s).Revision(t.Context(), small.ExecutionID, "2")
	if err != nil {
		t.Fatalf("Revision: %v", err)
	}
	if !got.FinishedAt.IsZero() {
		t.Errorf("a revision that has not finished says that it finished at %v", got.FinishedAt)
	}
	if got.Checkpoint != nil {
		t.Errorf("a revision without a checkpoint came back with %q", got.Checkpoint)
	}

	for _, state := range []aurora.State{aurora.Running, aurora.Paused, aurora.Completed, aurora.Failed, aurora.Interrupted} {
		for _, kind := range []aurora.Kind{aurora.Applied, aurora.Baseline, aurora.Resolved, aurora.Imported} {
			small.Version, small.ExecutionID = "3-"+string(state)+"-"+string(kind), "x-"+string(state)+string(kind)
			small.State, small.Kind = state, kind
			save(t, lease, small)
			checkEverywhere(t, s, lease.Token(), small)
		}
	}
}

func testOddText(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	for i, text := range []string{
		" ", "NULL", `\N`, `''`, `'; DROP TABLE aurora_revisions; --`, `"quoted" \ and 'quoted'`, "$1 %s {{.}} ${x}",
		"tab\there, line\nthere\r\n\r", "  spaces around  ", "Grüße, 世界, 🚀, e\u0301, \u202eright to left",
		"\u0001\u001f\u007f\u0085\u2028\ufeff\ufffd", `{"json":[1,2]}`, `[1]`, "null", "true", "a,b;c|d#e/f:g%h_i*j",
		strings.Repeat("long ", 2000),
	} {
		r := full()
		// The version and the execution are keys: no text in them may
		// look like another one's.
		r.Version, r.ExecutionID = fmt.Sprintf("%d#%.40s", i, text), fmt.Sprintf("e%d#%.40s", i, text)
		r.Name, r.Description, r.Checksum, r.Hashes = text, text, text, []string{text, "", text}
		r.Error, r.ErrorStep, r.ErrorPos, r.Operator, r.Output = text, text, text, text, text
		r.Holder = aurora.Holder{Host: text, User: text, Runtime: text, Link: text}
		b, err := json.Marshal(map[string]string{text: text})
		if err != nil {
			t.Fatal(err)
		}
		r.Checkpoint = b
		save(t, lease, r)
		checkEverywhere(t, s, lease.Token(), r)
	}
}

func testCheckpoints(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	big := make([]string, 20_000)
	for i := range big {
		big[i] = fmt.Sprintf("key-%d", i)
	}
	bigJSON, err := json.Marshal(big)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{
		`null`, `0`, `""`, `false`, `[]`, `{}`, `"x"`, `9007199254740993`, `-0.1`, `12345678901234567890123`,
		`{"z":1,"a":{"b":[null,true,{"c":"\u0000\n\""}]}}`, `{"S":"typed"}`, `"\ud83d\ude80"`, `{"":""}`, string(bigJSON),
	} {
		r := full()
		r.Version, r.ExecutionID, r.Checkpoint = fmt.Sprint(i), fmt.Sprint("e", i), json.RawMessage(text)
		save(t, lease, r)
		checkEverywhere(t, s, lease.Token(), r)
	}
}

func testUpsert(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	r := full()
	save(t, lease, r)
	other := completed("0198-other", r.Version, 4)
	save(t, lease, other)
	// Everything that was set is empty now, and nothing of it may stay.
	r = aurora.Revision{
		ExecutionID: r.ExecutionID, Version: r.Version, Direction: aurora.Up, State: aurora.Running,
		Kind: aurora.Applied, Seq: 9, StartedAt: epoch.Add(time.Hour),
	}
	save(t, lease, r)
	got := attempts(t, s, r.Version)
	r.Token, other.Token = lease.Token(), lease.Token()
	if diff := cmp.Diff([]aurora.Revision{r, other}, got, sameRevisions); diff != "" {
		t.Errorf("after replacing one of two (-want +got):\n%s", diff)
	}

	// A later lease goes on with the same execution.
	release(t, lease)
	lease = acquire(t, handle("shop"), bob, long)
	other.State = aurora.Paused
	save(t, lease, other)
	other.Token = lease.Token()
	got = attempts(t, s, r.Version)
	if diff := cmp.Diff([]aurora.Revision{other, r}, got, sameRevisions); diff != "" {
		t.Errorf("after going on under a later lease (-want +got):\n%s", diff)
	}
}

func testNewestByToken(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	// Clocks of two machines that differ by years, identifiers the other way
	// round, and a place within the lease that is lower.
	first := completed("9-sorts-last", "1", 50)
	first.StartedAt, first.FinishedAt = epoch.AddDate(9, 0, 0), epoch.AddDate(9, 0, 0)
	second := completed("0-sorts-first", "1", 1)
	second.Direction = aurora.Down
	lease := acquire(t, s, alice, long)
	save(t, lease, first)
	release(t, lease)
	lease = acquire(t, s, bob, long)
	save(t, lease, second)
	if diff := cmp.Diff([]string{"1/0-sorts-first"}, versions(latest(t, s))); diff != "" {
		t.Errorf("Latest (-want +got):\n%s", diff)
	}
}

func testNewestBySeq(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	save(t, lease, completed("a", "1", 10), completed("b", "2", 2))
	save(t, lease, completed("c", "1", 9), completed("d", "2", 11))
	got := latest(t, s)
	want := map[string]string{"1": "a", "2": "d"}
	for _, r := range got {
		if want[r.Version] != r.ExecutionID {
			t.Errorf("newest of version %s is of execution %s, want %s", r.Version, r.ExecutionID, want[r.Version])
		}
	}
	if len(got) != 2 {
		t.Errorf("Latest: %v, want two", versions(got))
	}
}

func testTokenIsSet(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	if lease.Token() <= 0 {
		t.Errorf("token %d, want a positive one", lease.Token())
	}
	r := completed("a", "1", 1)
	r.Token = 1 << 40 // what it was read with, for example
	save(t, lease, r)
	if got := latest(t, s); len(got) != 1 || got[0].Token != lease.Token() {
		t.Errorf("saved with token %d: %+v", lease.Token(), got)
	}
}

func testSaveAllOrNone(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	const size = 120
	counts := make(map[string]int)
	outcome := make(map[string]error)
	var took time.Duration
	for round := range 12 {
		execution := fmt.Sprint("e", round)
		batch := make([]aurora.Revision, size)
		for i := range batch {
			batch[i] = completed(execution, fmt.Sprintf("%d-%d", round, i), i)
		}
		ctx, cancel := context.WithCancel(t.Context())
		switch round {
		case 0: // tells how long it takes when nothing disturbs
		case 1:
			cancel()
		default:
			time.AfterFunc(time.Duration(rand.Int64N(int64(took)+1)), cancel)
		}
		started := time.Now()
		outcome[execution] = lease.Save(ctx, batch...)
		if round == 0 {
			took = time.Since(started)
		}
		cancel()
	}
	for _, r := range latest(t, s) {
		counts[r.ExecutionID]++
	}
	for execution, err := range outcome {
		switch n := counts[execution]; {
		case n != 0 && n != size:
			t.Errorf("%s: %d of %d revisions were saved (Save said: %v)", execution, n, size, err)
		case err == nil && n == 0:
			t.Errorf("%s: Save said nil and saved nothing", execution)
		}
	}
	if outcome["e0"] != nil {
		t.Errorf("Save without a disturbance: %v", outcome["e0"])
	}
	if outcome["e1"] == nil || counts["e1"] != 0 {
		t.Errorf("Save with a context that has ended: error %v, %d saved", outcome["e1"], counts["e1"])
	}
	// And the lease must still work.
	save(t, lease, completed("last", "last", 1))
}

func testProjects(t *testing.T, handle func(string) aurora.Store) {
	names := []string{"shop", "shop_2", "shop-2", "shop2", "Shop", "sho"}
	leases := make(map[string]aurora.Lease)
	for _, name := range names {
		// All at once: one project's lease is no other's business.
		leases[name] = acquire(t, handle(name), aurora.Holder{Host: name}, long)
	}
	for _, name := range names {
		r := completed("same execution", "1", 1)
		r.Name = name
		save(t, leases[name], r, completed("of "+name, "2", 2))
	}
	for _, name := range names {
		s := handle(name)
		got := latest(t, s)
		if diff := cmp.Diff([]string{"1/same execution", "2/of " + name}, versions(got)); diff != "" {
			t.Errorf("%s: Latest (-want +got):\n%s", name, diff)
			continue
		}
		if got[0].Name != name {
			t.Errorf("%s: Latest shows a revision of %s", name, got[0].Name)
		}
		if r, err := history(t, s).Revision(t.Context(), "same execution", "1"); err != nil || r.Name != name {
			t.Errorf("%s: Revision: %v, %v", name, r, err)
		}
		if rs := attempts(t, s, "1"); len(rs) != 1 || rs[0].Name != name {
			t.Errorf("%s: Revisions: %v", name, rs)
		}
		if e, err := history(t, s).Execution(t.Context(), "same execution"); err != nil || len(e.Revisions) != 1 || e.Revisions[0].Name != name {
			t.Errorf("%s: Execution: %v, %v", name, e.Revisions, err)
		}
		if es, _, err := history(t, s).Executions(t.Context(), "", 100); err != nil || len(es) != 2 {
			t.Errorf("%s: %d executions, %v; want 2", name, len(es), err)
		}
		locked, err := locker(t, s).Locked(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		checkLocked(t, locked, aurora.Holder{Host: name}, leases[name].Token())
	}
}

func testTenThousand(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	const size, batch = 10_000, 500
	lease := acquire(t, s, alice, long)
	want := make(map[string]string, size)
	revisions := make([]aurora.Revision, 0, size)
	for i := range size {
		// Every fifth version has been tried twice.
		version, execution := fmt.Sprintf("%014d", i-i%5%2), fmt.Sprintf("e%d", i/100)
		if i%5 == 1 {
			execution += "-again"
		}
		revisions = append(revisions, completed(execution, version, i+1))
		want[version] = execution
	}
	for len(revisions) > 0 {
		n := min(batch, len(revisions))
		save(t, lease, revisions[:n]...)
		revisions = revisions[n:]
	}
	got := make(map[string]string, size)
	for _, r := range latest(t, s) {
		if _, twice := got[r.Version]; twice {
			t.Fatalf("Latest has version %s twice", r.Version)
		}
		got[r.Version] = r.ExecutionID
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("newest execution of each version (-want +got):\n%s", diff)
	}
}

// testVersionIdentity: versions are text, and only the text is the key.
func testVersionIdentity(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	var want []string
	for i, version := range []string{"1", "01", "1.0", "1e0", "a", "A", "a ", "20250601120000", "99999999999999999999999999"} {
		save(t, lease, completed(fmt.Sprint("e", i), version, i))
		want = append(want, fmt.Sprintf("%s/e%d", version, i))
	}
	sorted := cmpopts.SortSlices(strings.Compare)
	if diff := cmp.Diff(want, versions(latest(t, s)), sorted); diff != "" {
		t.Errorf("Latest (-want +got):\n%s", diff)
	}
}

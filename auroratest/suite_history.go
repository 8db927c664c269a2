package auroratest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/aurora-migrate/aurora"
)

// TestHistory tests what [aurora.History] says.
func TestHistory(t *testing.T, open Open) {
	suite{
		"OneRevisionWhole":            testRevision,
		"RevisionsNewestFirst":        testRevisions,
		"RevisionsInPages":            testRevisionPages,
		"AttemptsStayWhileOthersCome": testStableAttempts,
		"ExecutionOldestFirst":        testExecution,
		"ExecutionsInPages":           testExecutions,
		"PagesStayWhileRunsCome":      testStablePages,
		"OddCursorIsAnError":          testOddCursor,
	}.run(t, open)
}

func testRevisions(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	var want []aurora.Revision
	for i := range 4 {
		lease := acquire(t, s, alice, long)
		for j := range 2 {
			r := full()
			r.ExecutionID, r.Seq = fmt.Sprintf("e%d", 9-2*i-j), j+1
			// Clocks that go backwards must not matter.
			r.StartedAt = epoch.Add(-time.Duration(2*i+j) * time.Hour)
			r.FinishedAt = r.StartedAt
			r.Output = fmt.Sprintf("attempt %d.%d\n", i, j)
			save(t, lease, r, completed(r.ExecutionID, "another", j+1))
			r.Token = lease.Token()
			want = append([]aurora.Revision{bare(r)}, want...)
		}
		release(t, lease)
	}
	if diff := cmp.Diff(want, attempts(t, handle("shop"), full().Version), sameRevisions); diff != "" {
		t.Errorf("Revisions (-want +got):\n%s", diff)
	}
	if got := attempts(t, s, "unknown"); len(got) != 0 {
		t.Errorf("Revisions of an unknown version: %v; want none", versions(got))
	}
}

func testRevision(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	var want []aurora.Revision
	for i, key := range [][2]string{{"run", "1"}, {"run", "2"}, {"again", "1"}, {"1", "run"}} {
		r := full()
		r.ExecutionID, r.Version, r.Seq, r.Output = key[0], key[1], i+1, fmt.Sprintf("the output of attempt %d\n", i)
		save(t, lease, r)
		r.Token = lease.Token()
		want = append(want, r)
	}
	for _, r := range want {
		got, err := history(t, handle("shop")).Revision(t.Context(), r.ExecutionID, r.Version)
		if err != nil {
			t.Fatalf("Revision(%q, %q): %v", r.ExecutionID, r.Version, err)
		}
		if diff := cmp.Diff(r, got, sameRevisions); diff != "" {
			t.Errorf("Revision (-want +got):\n%s", diff)
		}
	}
	for _, key := range [][2]string{{"", ""}, {"run", ""}, {"", "1"}, {"run", "3"}, {"again", "2"}, {"unknown", "1"}, {"ru", "n1"}, {"run ", "1"}} {
		if got, err := history(t, s).Revision(t.Context(), key[0], key[1]); !errors.Is(err, aurora.ErrNotFound) {
			t.Errorf("Revision(%q, %q): %+v, %v; want ErrNotFound", key[0], key[1], got, err)
		}
	}
}

// addAttempts saves attempts from..to at version 1, two of one lease at a time,
// and returns them newest first, as they come in numbers.
func addAttempts(t *testing.T, s aurora.Store, from, to int) []aurora.Revision {
	t.Helper()
	var added []aurora.Revision
	for i := from; i < to; i += 2 {
		lease := acquire(t, s, alice, long)
		for j := i; j < min(i+2, to); j++ {
			r := full()
			r.Version, r.ExecutionID, r.Seq = "1", fmt.Sprintf("e%d.%d", j%3, j), 1+j-i
			save(t, lease, r, completed(r.ExecutionID, "10", 9))
			r.Token = lease.Token()
			added = append(added, bare(r))
		}
		release(t, lease)
	}
	slices.Reverse(added)
	return added
}

// attemptPages reads all pages of a size from a cursor on.
func attemptPages(t *testing.T, h aurora.History, cursor string, limit int) []aurora.Revision {
	t.Helper()
	return allPages(t, "attempts", cursor, limit, func(cursor string) ([]aurora.Revision, string, error) {
		return h.Revisions(t.Context(), "1", cursor, limit)
	})
}

func testRevisionPages(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	want := addAttempts(t, s, 0, 11)
	for _, limit := range []int{1, 2, 5, 10, 11, 12, 1_000_000} {
		if diff := cmp.Diff(want, attemptPages(t, history(t, s), "", limit), sameRevisions); diff != "" {
			t.Errorf("in pages of %d (-want +got):\n%s", limit, diff)
		}
	}
	for _, limit := range []int{0, -1} {
		if _, _, err := history(t, s).Revisions(t.Context(), "1", "", limit); err == nil {
			t.Errorf("a page of %d attempts is no error", limit)
		}
	}
}

func testStableAttempts(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	want := addAttempts(t, s, 0, 7)
	first, cursor, err := history(t, s).Revisions(t.Context(), "1", "", 3)
	if err != nil {
		t.Fatal(err)
	}
	if cursor == "" {
		t.Fatal("no cursor after 3 of 7")
	}
	newer := addAttempts(t, s, 7, 10)
	rest := attemptPages(t, history(t, handle("shop")), cursor, 3)
	if diff := cmp.Diff(want, append(first, rest...), sameRevisions); diff != "" {
		t.Errorf("from before others came (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(append(newer, want...), attemptPages(t, history(t, s), "", 4), sameRevisions); diff != "" {
		t.Errorf("after others came (-want +got):\n%s", diff)
	}
}

func testExecution(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	// One run over two leases: it paused and went on.
	lease := acquire(t, s, alice, long)
	one, two := completed("run", "2", 1), full()
	two.ExecutionID, two.Version, two.Seq, two.State = "run", "10", 2, aurora.Paused
	save(t, lease, one, two, completed("other", "1", 3))
	release(t, lease)
	one.Token = lease.Token()
	lease = acquire(t, s, bob, long)
	two.Seq, two.State, two.Holder = 1, aurora.Failed, bob
	save(t, lease, two)
	two.Token = lease.Token()
	got, err := history(t, handle("shop")).Execution(t.Context(), "run")
	if err != nil {
		t.Fatal(err)
	}
	want := aurora.ExecutionOf([]aurora.Revision{bare(one), bare(two)})
	if want.State != aurora.Failed || want.Revisions[1].Version != "10" {
		t.Fatalf("the test's own execution: %+v", want)
	}
	if diff := cmp.Diff(want, got, sameRevisions, cmpopts.IgnoreFields(aurora.Execution{}, "Plan")); diff != "" {
		t.Errorf("Execution (-want +got):\n%s", diff)
	}
	for _, id := range []string{"", "unknown", "run ", "ru"} {
		if e, err := history(t, s).Execution(t.Context(), id); !errors.Is(err, aurora.ErrNotFound) {
			t.Errorf("Execution(%q): %+v, %v; want ErrNotFound", id, e, err)
		}
	}
}

// addExecutions saves runs from..to, each under a lease of its own with three
// revisions, and returns them newest first.
func addExecutions(t *testing.T, s aurora.Store, from, to int) []aurora.Execution {
	t.Helper()
	var added []aurora.Execution
	for i := from; i < to; i++ {
		lease := acquire(t, s, alice, long)
		var revisions []aurora.Revision
		for j := range 3 {
			r := completed(fmt.Sprintf("run-%04d", i), fmt.Sprintf("%d-%d", i, j), j+1)
			r.StartedAt = epoch.Add(time.Duration(i) * time.Hour)
			r.FinishedAt = r.StartedAt.Add(time.Minute)
			r.Description, r.Output = "what it is about", "said\n"
			if i%3 == 2 && j == 2 {
				r.State, r.Error = aurora.Failed, "no"
			}
			revisions = append(revisions, r)
		}
		save(t, lease, revisions...)
		release(t, lease)
		for j := range revisions {
			revisions[j] = bare(revisions[j])
			revisions[j].Token = lease.Token()
		}
		added = append(added, aurora.ExecutionOf(revisions))
	}
	slices.Reverse(added)
	return added
}

func checkExecutions(t *testing.T, want, got []aurora.Execution) {
	t.Helper()
	if diff := cmp.Diff(want, got, sameRevisions, cmpopts.IgnoreFields(aurora.Execution{}, "Plan")); diff != "" {
		t.Errorf("Executions (-want +got):\n%s", diff)
	}
}

// pages reads all pages of a size from a cursor on.
func pages(t *testing.T, h aurora.History, cursor string, limit int) []aurora.Execution {
	t.Helper()
	return allPages(t, "executions", cursor, limit, func(cursor string) ([]aurora.Execution, string, error) {
		return h.Executions(t.Context(), cursor, limit)
	})
}

func testExecutions(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	want := addExecutions(t, s, 0, 12)
	for _, limit := range []int{1, 5, 6, 11, 12, 13, 100} {
		checkExecutions(t, want, pages(t, history(t, s), "", limit))
	}
	for _, limit := range []int{0, -1} {
		if _, _, err := history(t, s).Executions(t.Context(), "", limit); err == nil {
			t.Errorf("a page of %d executions is no error", limit)
		}
	}
}

func testStablePages(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	want := addExecutions(t, s, 0, 7)
	first, cursor, err := history(t, s).Executions(t.Context(), "", 3)
	if err != nil {
		t.Fatal(err)
	}
	if cursor == "" {
		t.Fatal("no cursor after 3 of 7")
	}
	newer := addExecutions(t, s, 7, 10)
	// A cursor is text that travels to a browser and back, to another process.
	rest := pages(t, history(t, handle("shop")), cursor, 3)
	checkExecutions(t, want, append(first, rest...))
	checkExecutions(t, append(newer, want...), pages(t, history(t, s), "", 4))
}

func testOddCursor(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	addExecutions(t, s, 0, 2)
	for _, cursor := range []string{"nonsense", "'", "-", "🚀", "\xff", `{"a":1}`} {
		if page, next, err := history(t, s).Executions(t.Context(), cursor, 3); err == nil {
			t.Errorf("cursor %q: %d executions, next %q, and no error", cursor, len(page), next)
		}
		if page, next, err := history(t, s).Revisions(t.Context(), "0-1", cursor, 3); err == nil {
			t.Errorf("cursor %q: %d attempts, next %q, and no error", cursor, len(page), next)
		}
	}
}

// allPages reads page after page from a cursor on, and checks that each leads on.
func allPages[T any](t *testing.T, what, cursor string, limit int, read func(cursor string) ([]T, string, error)) []T {
	t.Helper()
	var all []T
	for range 1000 {
		page, next, err := read(cursor)
		if err != nil {
			t.Fatalf("%s behind %q, %d at a time: %v", what, cursor, limit, err)
		}
		if len(page) > limit {
			t.Fatalf("a page of %d has %d %s", limit, len(page), what)
		}
		all = append(all, page...)
		if next == "" {
			return all
		}
		if len(page) == 0 || next == cursor {
			t.Fatalf("the cursor %q leads nowhere: %d %s, then %q", cursor, len(page), what, next)
		}
		cursor = next
	}
	t.Fatal("the pages have no end")
	return nil
}

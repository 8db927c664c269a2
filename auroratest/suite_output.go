package auroratest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aurora-migrate/aurora"
)

// TestOutput tests that a store keeps the output of revisions whole, at its
// full size, while it grows and after.
func TestOutput(t *testing.T, open Open) {
	suite{
		"FullSizeWithDropCount": testFullOutput,
		"GrowsWhileRunning":     testGrowingOutput,
		"OfSeveralAtOnce":       testManyOutputs,
		"StaysWithCheckpoints":  testStayingOutput,
	}.run(t, open)
}

// fullOutput returns output of the largest size there is, in characters of one
// to four bytes, and how many lines went missing.
func fullOutput(seed string) (string, int) {
	var out aurora.Output
	for i := 0; i < 6000; i++ {
		out.Add(fmt.Sprintf("level=INFO msg=\"row %d %s\" text=\"ä 世 🚀 '\\\"\" \t.", i, seed))
	}
	return out.Text()
}

func testFullOutput(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	r := completed("e", "1", 1)
	r.Output, r.OutputDropped = fullOutput("x")
	if len(r.Output) < aurora.OutputLimit-200 || r.OutputDropped == 0 {
		t.Fatalf("the test's own output has %d bytes, %d lines dropped", len(r.Output), r.OutputDropped)
	}
	r.Description = strings.Repeat("# A long description\n", 1000)
	save(t, lease, r)
	checkEverywhere(t, s, lease.Token(), r)
}

func testGrowingOutput(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	r := completed("e", "1", 1)
	r.State = aurora.Running
	for i := range 5 {
		r.Output += strings.Repeat(fmt.Sprintf("line %d\n", i), 1000)
		save(t, lease, r)
		// A reader sees it before the step ends.
		checkEverywhere(t, handle("shop"), lease.Token(), r)
	}
	r.Output, r.OutputDropped = "", 0
	save(t, lease, r)
	checkEverywhere(t, s, lease.Token(), r)
}

func testManyOutputs(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	var revisions []aurora.Revision
	for i := range 12 {
		r := completed(fmt.Sprint("e", i), fmt.Sprint(i), i)
		r.Output, r.OutputDropped = fullOutput(fmt.Sprint(i))
		revisions = append(revisions, r)
	}
	save(t, lease, revisions...)
	for _, r := range revisions {
		checkEverywhere(t, s, lease.Token(), r)
	}
}

// testStayingOutput saves the same output again and again, as steps do with
// their checkpoints, also in turns with another that says the same.
func testStayingOutput(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	a, b := completed("e", "1", 1), completed("f", "2", 2)
	a.State, b.State = aurora.Running, aurora.Running
	a.Output, a.OutputDropped = fullOutput("a")
	b.Output, b.OutputDropped = a.Output, a.OutputDropped
	for i := range 3 {
		a.Checkpoint, a.Done = fmt.Appendf(nil, `{"place":%d}`, i), i
		save(t, lease, a)
		save(t, lease, a)
		save(t, lease, b)
		checkEverywhere(t, handle("shop"), lease.Token(), a)
		checkEverywhere(t, handle("shop"), lease.Token(), b)
	}
	a.Output, a.OutputDropped, a.Description = "what it says now\n", 0, ""
	save(t, lease, a, b)
	checkEverywhere(t, s, lease.Token(), a)
	checkEverywhere(t, s, lease.Token(), b)
}

package auroratest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/aurora-migrate/aurora"
)

func contextThatEnded(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx, cancel
}

// checkFenced checks that a lost lease can do nothing any more, and that the
// store holds no more than it did.
func checkFenced(t *testing.T, s aurora.Store, lost aurora.Lease) {
	t.Helper()
	before := latest(t, s)
	late := completed("late", "late", 1)
	wantLost(t, "Save", lost.Save(t.Context(), late))
	wantLost(t, "Save of two", lost.Save(t.Context(), completed("late", "1", 2), late))
	wantLost(t, "Renew", lost.Renew(t.Context()))
	wantLost(t, "Save after Renew", lost.Save(t.Context(), late))
	if diff := cmp.Diff(before, latest(t, s), sameRevisions); diff != "" {
		t.Errorf("a lease that was lost wrote history (-before +after):\n%s", diff)
	}
	if _, err := history(t, s).Execution(t.Context(), "late"); !errors.Is(err, aurora.ErrNotFound) {
		t.Errorf("a lease that was lost wrote an execution: %v, want ErrNotFound", err)
	}
}

func testExpiry(t *testing.T, handle func(string) aurora.Store) {
	one, two := handle("shop"), handle("shop")
	old := acquire(t, one, alice, short)
	for ttl := 2 * short; ; ttl *= 2 {
		err := old.Save(t.Context(), completed("e", "1", 1))
		if err == nil {
			break
		}
		// A machine that is too busy for so short a lease.
		if !errors.Is(err, aurora.ErrLeaseLost) || ttl > patience {
			t.Fatalf("Save: %v", err)
		}
		old = takeOver(t, one, alice, ttl)
	}
	next := takeOver(t, two, bob, long)
	if next.Token() <= old.Token() {
		t.Errorf("token %d after %d", next.Token(), old.Token())
	}
	checkFenced(t, one, old)
	locked, err := locker(t, one).Locked(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkLocked(t, locked, bob, next.Token())
	save(t, next, completed("f", "2", 1))
}

// testExpired: nobody took the lease over, and still it has ended.
func testExpired(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, short)
	eventually(t, "the lease to expire", func() bool {
		locked, err := locker(t, s).Locked(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return locked == nil
	})
	checkFenced(t, s, lease)
	release(t, lease)
	acquire(t, s, bob, long)
}

func testReleased(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	save(t, lease, completed("e", "1", 1))
	release(t, lease)
	checkFenced(t, s, lease)
	next := acquire(t, s, bob, long)
	checkFenced(t, s, lease)
	release(t, lease)
	save(t, next, completed("f", "2", 1))
}

func testBroken(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	save(t, lease, completed("e", "1", 1))
	if err := locker(t, handle("shop")).Break(t.Context(), lease.Token()); err != nil {
		t.Fatalf("Break: %v", err)
	}
	checkFenced(t, s, lease)
	next := acquire(t, s, bob, long)
	checkFenced(t, s, lease)
	release(t, lease)
	save(t, next, completed("f", "2", 1))
}

// testLateRelease: who was late must not free the next runner's lock (A4).
func testLateRelease(t *testing.T, handle func(string) aurora.Store) {
	one, two := handle("shop"), handle("shop")
	old := acquire(t, one, alice, short)
	// Even the same holder: only the token tells one lease from the next.
	next := takeOver(t, two, alice, long)
	release(t, old)
	_, err := one.Acquire(t.Context(), bob, long)
	wantLocked(t, err, alice, next.Token())
	if err := next.Renew(t.Context()); err != nil {
		t.Errorf("Renew of the present lease after a late Release: %v", err)
	}
	save(t, next, completed("e", "1", 1))
}

// testTurn writes without pause while the lease changes hands: what the old
// holder was told is saved must be there, and nothing else, from the moment
// on at which the new one has the lease.
func testTurn(t *testing.T, handle func(string) aurora.Store) {
	one, two := handle("shop"), handle("shop")
	old := acquire(t, one, alice, short)
	var told []string
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; failed == nil; i++ {
			r := completed("e", fmt.Sprint(i), i)
			if failed = old.Save(t.Context(), r); failed == nil {
				told = append(told, r.Version+"/e")
			}
			time.Sleep(time.Millisecond) // a store in memory would save a million
		}
	}()
	next := takeOver(t, two, bob, long)
	seen := versions(latest(t, two))
	<-done
	wantLost(t, "Save", failed)
	slices.Sort(told)
	if diff := cmp.Diff(told, seen, cmpopts.SortSlices(func(a, b string) bool { return a < b }), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("what the new holder saw (-what the old one was told +seen):\n%s", diff)
	}
	if diff := cmp.Diff(seen, versions(latest(t, two))); diff != "" {
		t.Errorf("history changed under the new holder (-before +after):\n%s", diff)
	}
	save(t, next, completed("f", "new", 1))
}

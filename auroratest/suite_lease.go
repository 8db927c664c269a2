package auroratest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/aurora-migrate/aurora"
)

// TestLease tests what [aurora.Store] and [aurora.Locker] say about the lease.
func TestLease(t *testing.T, open Open) {
	suite{
		"HeldLeaseSaysByWhom":       testLocked,
		"ReleasedLeaseIsFree":       testRelease,
		"TokensGrow":                testTokensGrow,
		"RenewMovesTheEnd":          testRenewMoves,
		"TwentyFirstAcquires":       testFirstAcquires,
		"TwentyFirstProjects":       testFirstProjects,
		"OneAtATime":                testOneAtATime,
		"RenewBesideSave":           testRenewBesideSave,
		"BreakEndsTheLease":         testBreak,
		"EndedContextTakesNothing":  testEndedContext,
		"HolderWithEmptyFields":     testEmptyHolder,
		"ReadersNeedNoLease":        testReadersWhileHeld,
		"ReleaseTwiceIsNotAnError":  testReleaseTwice,
		"RenewKeepsTheLeaseForLong": testRenewKeeps,
	}.run(t, open)
}

// TestFencing tests that whoever lost the lease can no longer write.
func TestFencing(t *testing.T, open Open) {
	suite{
		"ExpiredLeaseIsHandedOver":   testExpiry,
		"ExpiredLeaseCannotWrite":    testExpired,
		"ReleasedLeaseCannotWrite":   testReleased,
		"BrokenLeaseCannotWrite":     testBroken,
		"LateReleaseSparesTheNext":   testLateRelease,
		"NothingSlipsThroughTheTurn": testTurn,
	}.run(t, open)
}

func testLocked(t *testing.T, handle func(string) aurora.Store) {
	one, two := handle("shop"), handle("shop")
	lease := acquire(t, one, alice, long)
	_, err := two.Acquire(t.Context(), bob, long)
	locked := wantLocked(t, err, alice, lease.Token())
	// The same process asking again is no exception: it has no lease to give.
	_, err = one.Acquire(t.Context(), alice, long)
	wantLocked(t, err, alice, lease.Token())
	read, err := locker(t, two).Locked(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkLocked(t, read, alice, lease.Token())
	if diff := cmp.Diff(locked, read, cmpopts.IgnoreFields(aurora.LockedError{}, "Waited")); diff != "" {
		t.Errorf("Acquire and Locked tell different things (-Acquire +Locked):\n%s", diff)
	}
}

func testRelease(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	release(t, lease)
	if locked, err := locker(t, s).Locked(t.Context()); locked != nil || err != nil {
		t.Errorf("Locked after Release: %v, %v", locked, err)
	}
	next := acquire(t, handle("shop"), bob, long)
	if next.Token() <= lease.Token() {
		t.Errorf("token %d after %d", next.Token(), lease.Token())
	}
}

func testTokensGrow(t *testing.T, handle func(string) aurora.Store) {
	var last int64
	for i := range 8 {
		s := handle("shop")
		lease := acquire(t, s, alice, long)
		if lease.Token() <= last {
			t.Fatalf("token %d after %d", lease.Token(), last)
		}
		last = lease.Token()
		if i%2 == 0 {
			release(t, lease)
		} else if err := locker(t, s).Break(t.Context(), last); err != nil {
			t.Fatalf("Break: %v", err)
		}
	}
}

func testRenewMoves(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	end := func() time.Time {
		locked, err := locker(t, s).Locked(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		checkLocked(t, locked, alice, lease.Token())
		return locked.ExpiresAt
	}
	before := end()
	// The store may count in whole seconds.
	for range 30 {
		time.Sleep(100 * time.Millisecond)
		if err := lease.Renew(t.Context()); err != nil {
			t.Fatalf("Renew: %v", err)
		}
		if end().After(before) {
			return
		}
	}
	t.Errorf("the end of the lease stays at %v however often it is renewed", before)
}

func testRenewKeeps(t *testing.T, handle func(string) aurora.Store) {
	s, other := handle("shop"), handle("shop")
	const ttl = 6 * time.Second
	lease := acquire(t, s, alice, ttl)
	// Longer than the lease would have lived by itself.
	for range 10 {
		time.Sleep(ttl / 8)
		if err := lease.Renew(t.Context()); err != nil {
			t.Fatalf("Renew: %v", err)
		}
		_, err := other.Acquire(t.Context(), bob, ttl)
		wantLocked(t, err, alice, lease.Token())
	}
	save(t, lease, completed("e", "1", 1))
}

// raceAcquire lets every store ask at the same moment. One that was too busy to
// learn who has the lease, and says so with an error without a token, asks again.
func raceAcquire(t *testing.T, stores []aurora.Store) (leases []aurora.Lease, errs []error) {
	t.Helper()
	leases, errs = make([]aurora.Lease, len(stores)), make([]error, len(stores))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() {
			<-start
			for deadline := time.Now().Add(patience); ; {
				leases[i], errs[i] = s.Acquire(t.Context(), aurora.Holder{PID: i + 1}, long)
				var locked *aurora.LockedError
				if !errors.As(errs[i], &locked) || locked.Token != 0 || time.Now().After(deadline) {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	close(start)
	wg.Wait()
	return leases, errs
}

// testFirstAcquires is the first deployment of a service with 20 replicas: the
// store does not even exist yet (A33).
func testFirstAcquires(t *testing.T, handle func(string) aurora.Store) {
	stores := make([]aurora.Store, 20)
	for i := range stores {
		stores[i] = handle("shop")
	}
	leases, errs := raceAcquire(t, stores)
	winner := -1
	for i, err := range errs {
		if err != nil {
			continue
		}
		if winner >= 0 {
			t.Errorf("both %d and %d have the lease, with tokens %d and %d", winner, i, leases[winner].Token(), leases[i].Token())
		}
		winner = i
	}
	if winner < 0 {
		t.Fatalf("nobody has the lease: %v", errors.Join(errs...))
	}
	for i, err := range errs {
		if i != winner && err != nil {
			wantLocked(t, err, aurora.Holder{PID: winner + 1}, leases[winner].Token())
		}
	}
	save(t, leases[winner], completed("e", "1", 1))
}

func testFirstProjects(t *testing.T, handle func(string) aurora.Store) {
	stores := make([]aurora.Store, 20)
	for i := range stores {
		stores[i] = handle(fmt.Sprint("service-", i))
	}
	leases, errs := raceAcquire(t, stores)
	for i, err := range errs {
		if err != nil {
			t.Errorf("service-%d: %v", i, err)
			continue
		}
		save(t, leases[i], completed(fmt.Sprint(i), "1", 1))
	}
	for i, s := range stores {
		if diff := cmp.Diff([]string{fmt.Sprint("1/", i)}, versions(latest(t, s))); diff != "" {
			t.Errorf("service-%d: Latest (-want +got):\n%s", i, diff)
		}
	}
}

func testOneAtATime(t *testing.T, handle func(string) aurora.Store) {
	var inside atomic.Int32
	var last atomic.Int64
	var wg sync.WaitGroup
	deadline := time.Now().Add(patience)
	for i := range 6 {
		s := handle("shop")
		wg.Go(func() {
			for round := 0; round < 3; {
				lease, err := s.Acquire(t.Context(), aurora.Holder{PID: i + 1}, long)
				var locked *aurora.LockedError
				switch {
				case errors.As(err, &locked) && time.Now().Before(deadline):
					time.Sleep(5 * time.Millisecond)
					continue
				case err != nil:
					t.Errorf("Acquire: %v", err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d have the lease at once", n)
				}
				if before := last.Swap(lease.Token()); lease.Token() <= before {
					t.Errorf("token %d after %d", lease.Token(), before)
				}
				if err := lease.Save(t.Context(), completed(fmt.Sprintf("e%d-%d", i, round), "1", 1)); err != nil {
					t.Errorf("Save: %v", err)
				}
				inside.Add(-1)
				if err := lease.Release(t.Context()); err != nil {
					t.Errorf("Release: %v", err)
				}
				round++
			}
		})
	}
	wg.Wait()
	if rs := attempts(t, handle("shop"), "1"); len(rs) != 18 {
		t.Errorf("%d revisions; want 18", len(rs))
	}
}

func testRenewBesideSave(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	var wg sync.WaitGroup
	const each = 25
	for g := range 2 {
		wg.Go(func() {
			for i := range each {
				if err := lease.Save(t.Context(), completed(fmt.Sprint("e", g), fmt.Sprint(i), g*each+i)); err != nil {
					t.Errorf("Save: %v", err)
				}
			}
		})
		wg.Go(func() {
			for range each {
				if err := lease.Renew(t.Context()); err != nil {
					t.Errorf("Renew: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for g := range 2 {
		e, err := history(t, s).Execution(t.Context(), fmt.Sprint("e", g))
		if err != nil || len(e.Revisions) != each {
			t.Errorf("execution %d has %d revisions, %v; want %d", g, len(e.Revisions), err, each)
		}
	}
}

func testBreak(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, alice, long)
	other := locker(t, handle("shop"))
	for _, token := range []int64{0, -1, lease.Token() - 1, lease.Token() + 1} {
		if err := other.Break(t.Context(), token); !errors.Is(err, aurora.ErrNotFound) {
			t.Errorf("Break(%d) while %d holds: %v, want ErrNotFound", token, lease.Token(), err)
		}
	}
	locked, err := other.Locked(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkLocked(t, locked, alice, lease.Token())
	if err := other.Break(t.Context(), lease.Token()); err != nil {
		t.Fatalf("Break: %v", err)
	}
	if locked, err := other.Locked(t.Context()); locked != nil || err != nil {
		t.Errorf("Locked after Break: %v, %v", locked, err)
	}
	if err := other.Break(t.Context(), lease.Token()); !errors.Is(err, aurora.ErrNotFound) {
		t.Errorf("Break of a free lease: %v, want ErrNotFound", err)
	}
	next := acquire(t, s, bob, long)
	// The person who breaks a lock looked at it some time ago.
	if err := other.Break(t.Context(), lease.Token()); !errors.Is(err, aurora.ErrNotFound) {
		t.Errorf("Break of the lease before: %v, want ErrNotFound", err)
	}
	save(t, next, completed("e", "1", 1))
}

func testEndedContext(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	ctx, cancel := contextThatEnded(t)
	defer cancel()
	if lease, err := s.Acquire(ctx, alice, long); err == nil {
		t.Errorf("Acquire with a context that has ended gave lease %d", lease.Token())
	}
	lease := acquire(t, s, bob, long)
	if err := lease.Renew(ctx); err == nil || errors.Is(err, aurora.ErrLeaseLost) {
		t.Errorf("Renew with a context that has ended: %v; want its error, for the lease is not lost", err)
	}
	if _, err := s.Latest(ctx); err == nil {
		t.Error("Latest with a context that has ended gave no error")
	}
	save(t, lease, completed("e", "1", 1))
}

func testEmptyHolder(t *testing.T, handle func(string) aurora.Store) {
	s := handle("shop")
	lease := acquire(t, s, aurora.Holder{}, long)
	_, err := s.Acquire(t.Context(), bob, long)
	wantLocked(t, err, aurora.Holder{}, lease.Token())
}

func testReadersWhileHeld(t *testing.T, handle func(string) aurora.Store) {
	s, reader := handle("shop"), handle("shop")
	lease := acquire(t, s, alice, long)
	save(t, lease, completed("e", "1", 1))
	if diff := cmp.Diff([]string{"1/e"}, versions(latest(t, reader))); diff != "" {
		t.Errorf("Latest (-want +got):\n%s", diff)
	}
	if _, err := history(t, reader).Execution(t.Context(), "e"); err != nil {
		t.Errorf("Execution: %v", err)
	}
}

func testReleaseTwice(t *testing.T, handle func(string) aurora.Store) {
	lease := acquire(t, handle("shop"), alice, long)
	release(t, lease)
	release(t, lease)
}

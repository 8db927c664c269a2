package auroratest

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
)

// An Open prepares one empty data set, a database for example, and returns a
// function that opens a store of one project in it. Calling that twice with
// the same project gives two handles on the same data, as two processes would
// have. The stores must also be an [aurora.History] and an [aurora.Locker].
// What has to be closed belongs into t.Cleanup; the function that is returned
// is not called after its test has ended.
type Open func(t *testing.T) (handle func(project string) aurora.Store)

// Run runs all suites, in parallel. Each test asks for a data set of its own.
func Run(t *testing.T, open Open) {
	t.Run("Store", func(t *testing.T) { TestStore(t, open) })
	t.Run("Output", func(t *testing.T) { TestOutput(t, open) })
	t.Run("History", func(t *testing.T) { TestHistory(t, open) })
	t.Run("Lease", func(t *testing.T) { TestLease(t, open) })
	t.Run("Fencing", func(t *testing.T) { TestFencing(t, open) })
}

// A test of a suite gets a function that opens handles on a fresh data set.
type suite map[string]func(t *testing.T, handle func(project string) aurora.Store)

func (s suite) run(t *testing.T, open Open) {
	for name, test := range s {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

const (
	// long is a time to live that no test outlasts.
	long = 10 * time.Minute
	// short is one that a test waits for. The store's clock decides when it is
	// over; the test only asks again and again.
	short = 500 * time.Millisecond
	// patience bounds the asking. Only a store that is broken exhausts it.
	patience = 5 * time.Minute
)

var (
	alice = aurora.Holder{Host: "build-7", PID: 4711, PIDNamespace: "0a1b-boot pid:[4026531836]", User: "alice", Runtime: "cli", Link: "https://ci.example.com/jobs/1?a=b&c=d"}
	bob   = aurora.Holder{Host: "10.0.0.9", PID: 1, User: "bob ünïcode", Runtime: "fargate"}
)

// epoch is when the histories of the suites happened. Microseconds are the
// finest that every store keeps.
var epoch = time.Date(2025, 6, 1, 12, 0, 0, 123456000, time.UTC)

// completed returns a plain revision.
func completed(execution, version string, seq int) aurora.Revision {
	return aurora.Revision{
		ExecutionID: execution, Version: version, Name: "m" + version, Direction: aurora.Up,
		State: aurora.Completed, Kind: aurora.Applied, Seq: seq, Steps: 1, Done: 1,
		StartedAt: epoch, FinishedAt: epoch.Add(time.Second), Holder: alice,
	}
}

func acquire(t *testing.T, s aurora.Store, h aurora.Holder, ttl time.Duration) aurora.Lease {
	t.Helper()
	lease, err := s.Acquire(t.Context(), h, ttl)
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	if lease == nil {
		t.Fatal("Acquire returned neither a lease nor an error")
	}
	return lease
}

func release(t *testing.T, l aurora.Lease) {
	t.Helper()
	if err := l.Release(t.Context()); err != nil {
		t.Fatalf("Release: %v", err)
	}
}

func save(t *testing.T, l aurora.Lease, revisions ...aurora.Revision) {
	t.Helper()
	if err := l.Save(t.Context(), revisions...); err != nil {
		t.Fatalf("Save: %v", err)
	}
}

// latest reads Latest, sorted by the text of the version.
func latest(t *testing.T, s aurora.Store) []aurora.Revision {
	t.Helper()
	revisions, err := s.Latest(t.Context())
	if err != nil {
		t.Fatalf("Latest: %v", err)
	}
	if len(revisions) == 0 {
		return nil
	}
	// The contract names no order.
	slices.SortFunc(revisions, func(a, b aurora.Revision) int { return strings.Compare(a.Version, b.Version) })
	return revisions
}

// versions returns "version/execution" of each revision.
func versions(revisions []aurora.Revision) []string {
	out := make([]string, len(revisions))
	for i, r := range revisions {
		out[i] = r.Version + "/" + r.ExecutionID
	}
	return out
}

// attempts reads the attempts at a migration, of which there are few.
func attempts(t *testing.T, s aurora.Store, version string) []aurora.Revision {
	t.Helper()
	found, next, err := history(t, s).Revisions(t.Context(), version, "", 100)
	if err != nil || next != "" {
		t.Fatalf("Revisions of %q: %v, next %q, %v; want one page", version, versions(found), next, err)
	}
	return found
}

func history(t *testing.T, s aurora.Store) aurora.History {
	t.Helper()
	h, ok := s.(aurora.History)
	if !ok {
		t.Fatalf("%T is not an aurora.History", s)
	}
	return h
}

func locker(t *testing.T, s aurora.Store) aurora.Locker {
	t.Helper()
	l, ok := s.(aurora.Locker)
	if !ok {
		t.Fatalf("%T is not an aurora.Locker", s)
	}
	return l
}

func wantLost(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, aurora.ErrLeaseLost) {
		t.Errorf("%s after the lease was lost: %v, want ErrLeaseLost", what, err)
	}
}

// wantLocked checks that err says that h holds the lease, and returns it.
func wantLocked(t *testing.T, err error, h aurora.Holder, token int64) *aurora.LockedError {
	t.Helper()
	var locked *aurora.LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("got %v, want a *LockedError", err)
	}
	checkLocked(t, locked, h, token)
	return locked
}

func checkLocked(t *testing.T, locked *aurora.LockedError, h aurora.Holder, token int64) {
	t.Helper()
	if locked == nil {
		t.Fatal("the lease is said to be free")
	}
	if diff := cmp.Diff(h, locked.Holder); diff != "" {
		t.Errorf("holder (-want +got):\n%s", diff)
	}
	if locked.Token != token {
		t.Errorf("token %d, want %d", locked.Token, token)
	}
	if locked.ExpiresAt.IsZero() {
		t.Error("it does not say when the lease ends")
	}
}

// eventually asks until ok says yes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// takeOver asks for the lease until its present holder's time is over.
func takeOver(t *testing.T, s aurora.Store, h aurora.Holder, ttl time.Duration) aurora.Lease {
	t.Helper()
	var lease aurora.Lease
	eventually(t, "the lease to expire", func() bool {
		l, err := s.Acquire(t.Context(), h, ttl)
		var locked *aurora.LockedError
		if err != nil && !errors.As(err, &locked) {
			t.Fatalf("Acquire: %v", err)
		}
		lease = l
		return err == nil
	})
	return lease
}

// sameRevisions compares revisions; times by instant, checkpoints by value,
// numbers in them digit by digit.
var sameRevisions = cmp.Options{
	cmp.Comparer(slices.Equal[[]string]), // no hashes are an empty list
	cmp.Comparer(func(a, b json.RawMessage) bool {
		return reflect.DeepEqual(decode(a), decode(b))
	}),
}

func decode(raw json.RawMessage) any {
	if raw == nil {
		return nil
	}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return err.Error()
	}
	// JSON's null is a checkpoint, no bytes are none.
	return [1]any{v}
}

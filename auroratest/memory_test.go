package auroratest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
)

// defectVariable makes TestMemory run the suites on a store that is broken in
// the way its value says.
const defectVariable = "AURORATEST_DEFECT"

func TestMemory(t *testing.T) {
	defect := os.Getenv(defectVariable)
	auroratest.Run(t, func(t *testing.T) func(string) aurora.Store {
		var mu sync.Mutex
		projects := make(map[string]*auroratest.Memory)
		return func(project string) aurora.Store {
			if defect == "mixes projects" {
				project = strings.ToLower(project)
			}
			mu.Lock()
			defer mu.Unlock()
			if projects[project] == nil {
				projects[project] = new(auroratest.Memory)
			}
			if defect != "" {
				return &broken{Memory: projects[project], defect: defect}
			}
			return projects[project]
		}
	})
}

// TestSuitesFindDefects runs the suites on stores with one defect each.
func TestSuitesFindDefects(t *testing.T) {
	if os.Getenv(defectVariable) != "" {
		return // this is the inner run
	}
	for defect, test := range map[string]string{
		"mixes projects":              "Store/ProjectsAreSeparate",
		"Latest brings output":        "Store/EveryFieldSurvives",
		"newest by clock":             "Store/NewestIsByTokenNotByClock",
		"forgets the checkpoint":      "Store/CheckpointsOfAnyJSON",
		"trims text":                  "Store/OddTextSurvives",
		"saves one by one":            "Store/CancelledSaveIsAllOrNone",
		"keeps the caller's token":    "Store/TokenIsTheLeases",
		"cuts output":                 "Output/FullSizeWithDropCount",
		"oldest first":                "History/RevisionsNewestFirst",
		"attempts without an end":     "History/RevisionsInPages",
		"attempts are skipped":        "History/RevisionsInPages",
		"attempts by offset":          "History/AttemptsStayWhileOthersCome",
		"attempts bring output":       "History/RevisionsNewestFirst",
		"executions bring output":     "History/ExecutionOldestFirst",
		"knows every revision":        "History/OneRevisionWhole",
		"offset cursor":               "History/PagesStayWhileRunsCome",
		"knows every execution":       "History/ExecutionOldestFirst",
		"locked is a plain error":     "Lease/HeldLeaseSaysByWhom",
		"two winners":                 "Lease/TwentyFirstAcquires",
		"breaks any lease":            "Lease/BreakEndsTheLease",
		"renew does nothing":          "Lease/RenewMovesTheEnd",
		"saves without fence":         "Fencing/ExpiredLeaseIsHandedOver",
		"expired lease saves":         "Fencing/ExpiredLeaseCannotWrite",
		"renews what is lost":         "Fencing/BrokenLeaseCannotWrite",
		"late release frees the next": "Fencing/LateReleaseSparesTheNext",
	} {
		t.Run(defect, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMemory$/^"+strings.ReplaceAll(test, "/", "$/^")+"$")
			cmd.Env = append(os.Environ(), defectVariable+"="+defect)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestMemory/"+test) {
				t.Errorf("%s passes a store with this defect: %v\n%s", test, err, out)
			}
		})
	}
}

// A broken store is a Memory with a defect.
type broken struct {
	*auroratest.Memory
	defect string
}

func (b *broken) Latest(ctx context.Context) ([]aurora.Revision, error) {
	latest, err := b.Memory.Latest(ctx)
	if b.defect != "Latest brings output" && b.defect != "newest by clock" {
		return latest, err
	}
	for i, r := range latest {
		for _, other := range b.All() {
			switch {
			case other.Version != r.Version:
			case b.defect == "Latest brings output" && other.ExecutionID == r.ExecutionID:
				latest[i] = other
			case b.defect == "newest by clock" && other.StartedAt.After(latest[i].StartedAt):
				latest[i] = other
			}
		}
	}
	return latest, err
}

func (b *broken) Acquire(ctx context.Context, h aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	lease, err := b.Memory.Acquire(ctx, h, ttl)
	var locked *aurora.LockedError
	if errors.As(err, &locked) {
		switch b.defect {
		case "locked is a plain error":
			return nil, errors.New("busy")
		case "two winners":
			return &brokenLease{store: b}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return &brokenLease{lease, b, h}, nil
}

func (b *broken) Break(ctx context.Context, token int64) error {
	if locked, _ := b.Locked(ctx); locked != nil && b.defect == "breaks any lease" {
		token = locked.Token
	}
	return b.Memory.Break(ctx, token)
}

func (b *broken) Revision(ctx context.Context, execution, version string) (aurora.Revision, error) {
	r, err := b.Memory.Revision(ctx, execution, version)
	if b.defect == "knows every revision" && errors.Is(err, aurora.ErrNotFound) {
		return r, nil
	}
	return r, err
}

func (b *broken) Revisions(ctx context.Context, version, cursor string, limit int) ([]aurora.Revision, string, error) {
	found, next, err := b.Memory.Revisions(ctx, version, cursor, limit)
	switch b.defect {
	case "oldest first":
		slices.Reverse(found)
	case "attempts without an end":
		found, _, err = b.Memory.Revisions(ctx, version, "", 1000)
		next = ""
	case "attempts are skipped":
		if next != "" && len(found) > 1 {
			found = found[:len(found)-1]
		}
	case "attempts by offset":
		found, _, err = b.Memory.Revisions(ctx, version, "", 1000)
		if found = found[min(len(cursor), len(found)):]; len(found) > limit {
			return found[:limit], cursor + strings.Repeat("x", limit), err
		}
		next = ""
	case "attempts bring output":
		for i, r := range found {
			found[i], _ = b.Memory.Revision(ctx, r.ExecutionID, r.Version)
		}
	}
	return found, next, err
}

func (b *broken) Execution(ctx context.Context, id string) (aurora.Execution, error) {
	e, err := b.Memory.Execution(ctx, id)
	if b.defect == "knows every execution" && errors.Is(err, aurora.ErrNotFound) {
		return e, nil
	}
	if b.defect == "executions bring output" {
		for i, r := range e.Revisions {
			e.Revisions[i], _ = b.Memory.Revision(ctx, r.ExecutionID, r.Version)
		}
	}
	return e, err
}

func (b *broken) Executions(ctx context.Context, cursor string, limit int) ([]aurora.Execution, string, error) {
	if b.defect != "offset cursor" {
		return b.Memory.Executions(ctx, cursor, limit)
	}
	all, _, err := b.Memory.Executions(ctx, "", 1000)
	all = all[min(len(cursor), len(all)):]
	if len(all) > limit {
		return all[:limit], cursor + strings.Repeat("x", limit), err
	}
	return all, "", err
}

type brokenLease struct {
	aurora.Lease
	store  *broken
	holder aurora.Holder
}

func (l *brokenLease) Token() int64 {
	if l.Lease == nil {
		return 0
	}
	return l.Lease.Token()
}

func (l *brokenLease) Save(ctx context.Context, revisions ...aurora.Revision) error {
	for i, r := range revisions {
		switch l.store.defect {
		case "forgets the checkpoint":
			r.Checkpoint = nil
		case "trims text":
			r.Output = strings.TrimSpace(r.Output)
		case "cuts output":
			r.Output = r.Output[:min(len(r.Output), 64*1024)]
		case "keeps the caller's token":
			defer l.store.Put(r)
		case "saves one by one":
			if i == 3 && ctx.Err() != nil {
				return ctx.Err()
			}
			l.store.Put(r)
		case "expired lease saves":
			if locked, err := l.store.Locked(ctx); locked == nil && err == nil {
				l.store.Put(r)
			}
		case "saves without fence":
			l.store.Put(r)
		}
		revisions[i] = r
	}
	return l.Lease.Save(ctx, revisions...)
}

func (l *brokenLease) Renew(ctx context.Context) error {
	if l.store.defect == "renew does nothing" {
		return nil
	}
	err := l.Lease.Renew(ctx)
	if l.store.defect == "renews what is lost" && errors.Is(err, aurora.ErrLeaseLost) {
		return nil
	}
	return err
}

func (l *brokenLease) Release(ctx context.Context) error {
	if l.store.defect == "late release frees the next" {
		if locked, _ := l.store.Locked(ctx); locked != nil {
			return l.store.Break(ctx, locked.Token)
		}
	}
	return l.Lease.Release(ctx)
}

func TestMemoryFail(t *testing.T) {
	ctx := t.Context()
	var m auroratest.Memory
	lease, err := m.Acquire(ctx, aurora.Holder{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	wire := errors.New("the wire broke")
	m.Fail(auroratest.OpSave, 2, wire)
	m.Fail(auroratest.OpRenew, 1, wire)
	for i, want := range []error{wire, wire, nil} {
		if err := lease.Save(ctx, aurora.Revision{ExecutionID: "e", Version: "1"}); err != want {
			t.Errorf("Save %d: %v, want %v", i, err, want)
		}
		if stored := len(m.All()) == 1; stored != (want == nil) {
			t.Errorf("Save %d said %v and stored %v", i, want, m.All())
		}
	}
	if err := lease.Renew(ctx); err != wire {
		t.Errorf("Renew: %v, want %v", err, wire)
	}
	if err := lease.Renew(ctx); err != nil {
		t.Errorf("second Renew: %v", err)
	}
	if saves, renews := m.Calls(auroratest.OpSave), m.Calls(auroratest.OpRenew); saves != 3 || renews != 2 {
		t.Errorf("%d saves, %d renews; want 3 and 2", saves, renews)
	}
}

func TestMemoryClock(t *testing.T) {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	m := auroratest.Memory{Clock: func() time.Time { return now }}
	lease, err := m.Acquire(t.Context(), aurora.Holder{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute - 1)
	if err := lease.Renew(t.Context()); err != nil {
		t.Errorf("Renew just in time: %v", err)
	}
	now = now.Add(time.Minute)
	if err := lease.Renew(t.Context()); !errors.Is(err, aurora.ErrLeaseLost) {
		t.Errorf("Renew at the end: %v, want ErrLeaseLost", err)
	}
}

// TestMemoryKeepsCopies: a caller that goes on using what it saved or read
// does not change history.
func TestMemoryKeepsCopies(t *testing.T) {
	var m auroratest.Memory
	r := aurora.Revision{ExecutionID: "e", Version: "1", Hashes: []string{"a"}, Checkpoint: []byte(`1`)}
	m.Put(r)
	r.Hashes[0], r.Checkpoint[0] = "changed", '2'
	read := m.All()[0]
	read.Hashes[0], read.Checkpoint[0] = "changed", '2'
	if got := m.All()[0]; got.Hashes[0] != "a" || string(got.Checkpoint) != "1" {
		t.Errorf("stored revision changed: %+v", got)
	}
}

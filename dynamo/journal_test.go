package dynamo_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dynamo"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
)

// seen is what every way of reading says of one execution.
func seen(t *testing.T, s *dynamo.Store, execution, version string) map[string]int {
	t.Helper()
	out := make(map[string]int)
	latest, err := s.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range latest {
		if r.ExecutionID == execution {
			out["Latest"]++
		}
	}
	e, err := s.Execution(t.Context(), execution)
	if err != nil && !errors.Is(err, aurora.ErrNotFound) {
		t.Fatal(err)
	}
	out["Execution"] = len(e.Revisions)
	page, _, err := s.Executions(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page {
		if e.ID == execution {
			out["Executions"] = len(e.Revisions)
		}
	}
	attempts, _, err := s.Revisions(t.Context(), version, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range attempts {
		if r.ExecutionID == execution {
			out["Revisions"]++
		}
	}
	return out
}

// A Save that takes many transactions ends after any of them: readers see all
// of it or nothing, the next holder finishes it, and so does the same one.
func TestLargeSaveEndsAnywhere(t *testing.T) {
	t.Parallel()
	const size = 200 // 401 items: the journal, five times 99, and its end
	for steps := range 8 {
		for _, next := range []string{"another holder", "the same holder"} {
			t.Run(fmt.Sprintf("%d transactions, then %s", steps, next), func(t *testing.T) {
				t.Parallel()
				proxy := dynamotest.NewProxy(t)
				table := newTable(t)
				s := open(t, proxy.URL, table, "")
				reader := open(t, dynamotest.Endpoint(t), table, "")
				lease := acquire(t, s, long)
				save(t, lease, revisions("before", 100, 150)...)
				batch := revisions("large", 0, size)
				for i := range batch {
					batch[i].Seq += 1000
				}
				batch[120].Output = "what it said\n"
				proxy.Fail(dynamotest.Fault{Op: "TransactWriteItems", Kind: dynamotest.Denied, Skip: steps, Times: always})
				err := lease.Save(t.Context(), batch...)
				if (err != nil) != (steps == 0) {
					t.Fatalf("Save: %v", err)
				}
				check := func() {
					t.Helper()
					want := map[string]int{"Execution": 0}
					if steps > 0 {
						want = map[string]int{"Latest": size, "Execution": size, "Executions": size, "Revisions": 1}
					}
					if diff := cmp.Diff(want, seen(t, reader, "large", version(120))); diff != "" {
						t.Errorf("what readers see (-want +got):\n%s", diff)
					}
				}
				check()
				proxy.Heal()
				if next == "another holder" {
					if err := reader.Break(t.Context(), lease.Token()); err != nil {
						t.Fatal(err)
					}
					lease = acquire(t, reader, long)
					if n := countItems(t, table, "journal#"); n != 0 {
						t.Errorf("%d items of journals are left to a new holder", n)
					}
				}
				save(t, lease, revision("after", "1", 2000))
				check()
				if n := countItems(t, table, "journal#"); n != 0 {
					t.Errorf("%d items of journals are left", n)
				}
				if n, want := countItems(t, table, "run#large"), map[bool]int{true: size + 1}[steps > 0]; n != want {
					t.Errorf("%d items of the execution are in their places, want %d", n, want)
				}
				got, _, err := reader.Revisions(t.Context(), version(120), "", 10)
				if err != nil || steps > 0 && len(got) != 2 {
					t.Errorf("Revisions: %+v, %v", got, err)
				}
				if steps > 0 {
					if r, err := reader.Revision(t.Context(), "large", version(120)); err != nil || r.Output != "what it said\n" {
						t.Errorf("Revision: %+v, %v", r, err)
					}
				}
			})
		}
	}
}

// A Save of more than a transaction's megabytes, of texts that no compression
// makes small.
func TestSaveOfManyMegabytes(t *testing.T) {
	t.Parallel()
	s := open(t, dynamotest.Endpoint(t), newTable(t), "")
	lease := acquire(t, s, long)
	random := rand.NewChaCha8([32]byte{1})
	var batch []aurora.Revision
	for i := range 14 {
		r := revision("e", version(i), i+1)
		b := make([]byte, 150_000)
		_, _ = random.Read(b) // never fails
		r.Output = fmt.Sprintf("%x\n", b)[:aurora.OutputLimit]
		r.Description = strings.Repeat(r.Output, 3) // several items
		batch = append(batch, r)
	}
	save(t, lease, batch...)
	e, err := s.Execution(t.Context(), "e")
	if err != nil || len(e.Revisions) != len(batch) {
		t.Fatalf("Execution: %d, %v", len(e.Revisions), err)
	}
	for _, want := range batch {
		r, err := s.Revision(t.Context(), "e", want.Version)
		if err != nil || r.Output != want.Output || r.Description != want.Description {
			t.Errorf("%s came back with other texts, %v", want.Version, err)
		}
	}
	// A checkpoint and a migration of very many steps.
	r := revision("e", "z", 100)
	for i := range 12_000 {
		r.Hashes = append(r.Hashes, aurora.StepHash(aurora.Statement{SQL: fmt.Sprint(i)}))
	}
	save(t, lease, r)
	latest, err := s.Latest(t.Context())
	if err != nil || len(latest) != 15 || len(latest[14].Hashes) != 12_000 {
		t.Errorf("Latest: %d, %v", len(latest), err)
	}
}

func TestKeysThatAreTooLong(t *testing.T) {
	s := open(t, dynamotest.Endpoint(t), newTable(t), "")
	lease := acquire(t, s, long)
	save(t, lease, revision(strings.Repeat("e", 400), strings.Repeat("v", 400), 1))
	for _, r := range []aurora.Revision{revision(strings.Repeat("e", 401), "1", 1), revision("e", strings.Repeat("#", 134), 1)} {
		if err := lease.Save(t.Context(), r); err == nil || !strings.Contains(err.Error(), "more than 400 bytes") {
			t.Errorf("Save: %v, want that it is too long", err)
		}
	}
}

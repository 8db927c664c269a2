package dashboard_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/dashboard"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// retry saves attempts at a migration, each a run of its own.
func retry(t *testing.T, store aurora.Store, version, prefix string, n int, output string) {
	t.Helper()
	for i := range n {
		lease, err := store.Acquire(t.Context(), aurora.Holder{}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		saveAttempt(t, lease, fmt.Sprintf("%s%04d", prefix, i), version, 1, output)
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func saveAttempt(t *testing.T, lease aurora.Lease, execution, version string, seq int, output string) {
	t.Helper()
	at := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	err := lease.Save(t.Context(), aurora.Revision{
		ExecutionID: execution, Version: version, Name: "fill", Description: "# What it is for", Direction: aurora.Up, State: aurora.Failed, Kind: aurora.Applied,
		Seq: seq, Steps: 1, StartedAt: at, FinishedAt: at.Add(time.Second), Error: "no", Output: output,
	})
	if err != nil {
		t.Fatal(err)
	}
}

type attemptsJSON struct {
	Description string
	Attempts    []struct {
		ExecutionID, Version, Output string
		OutputOmitted                bool
	}
	Next string
}

// The attempts at a migration come in pages, also where its file was renamed
// meanwhile. The newest has its output with it; that of others is there for
// whoever asks.
func TestAttemptsInPages(t *testing.T) {
	for _, knowsFiles := range []bool{true, false} {
		t.Run(fmt.Sprintf("files %t", knowsFiles), func(t *testing.T) {
			store := new(auroratest.Memory)
			retry(t, store, "2", "old", 23, "of the old\n")
			retry(t, store, "02", "new", 40, "of the new\n")
			cfg := dashboard.Config{Store: store}
			id := "2_fill"
			if knowsFiles {
				cfg.Migrations, id = (&directory{migrations: []aurora.Migration{migration("02", "fill")}}).load, "02_fill"
			}
			s := newSite(t, cfg)
			path := "/api/migrations/" + id
			var want, got []string
			for i := range 40 {
				want = append(want, fmt.Sprintf("new%04d", 39-i))
			}
			for i := range 23 {
				want = append(want, fmt.Sprintf("old%04d", 22-i))
			}
			if !knowsFiles {
				want = want[40:] // they are two migrations then
			}
			cursor := ""
			for pages := 1; ; pages++ {
				var page attemptsJSON
				s.get(path+query("cursor", cursor), &page)
				for i, a := range page.Attempts {
					got = append(got, a.ExecutionID)
					if isNewest := len(got) == 1; (a.Output != "") != isNewest || a.OutputOmitted == isNewest {
						t.Errorf("attempt %d of page %d: output %q, omitted %t", i, pages, a.Output, a.OutputOmitted)
					}
				}
				if !knowsFiles && pages == 1 && page.Description == "" {
					t.Error("the description of its last attempt is missing")
				}
				if cursor = page.Next; cursor == "" {
					break
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the attempts (-want +got):\n%s", diff)
			}
			for _, execution := range []string{"old0007", "new0007"} {
				if !knowsFiles && execution == "new0007" {
					continue
				}
				var a struct{ ExecutionID, Output string }
				s.get(path+"/attempts/"+execution, &a)
				if a.ExecutionID != execution || a.Output != "of the "+execution[:3]+"\n" {
					t.Errorf("attempt %s: %+v", execution, a)
				}
			}
			s.refused(s.request(http.MethodGet, path+"/attempts/nobody", ""), http.StatusNotFound, "not_found")
			for _, cursor := range []string{"20", "nonsense", "2:nonsense", "77:", "%zz:", ":"} {
				s.refused(s.request(http.MethodGet, path+query("cursor", cursor), ""), http.StatusBadRequest, "bad_cursor")
			}
		})
	}
}

// Runs whose processes died cost one more look at the lock, however many they
// are; a run that has the lock is not one of them.
func TestDeadExecutions(t *testing.T) {
	store := new(auroratest.Memory)
	for i := range 6 {
		store.Put(aurora.Revision{ExecutionID: fmt.Sprint("e", i), Version: "1", Direction: aurora.Up, State: aurora.Running, Kind: aurora.Applied, Token: int64(i + 1), Seq: 1, Steps: 1})
	}
	lease, err := store.Acquire(t.Context(), aurora.Holder{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Save(t.Context(), aurora.Revision{ExecutionID: "alive", Version: "2", Direction: aurora.Up, State: aurora.Running, Kind: aurora.Applied, Seq: 1, Steps: 1}); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, dashboard.Config{Store: store})
	before := store.Calls(auroratest.OpRead)
	var list struct {
		Executions []struct {
			ID   string
			Died bool
		}
	}
	s.get("/api/executions", &list)
	if n := store.Calls(auroratest.OpRead) - before; n != 3 { // the lock, the executions, the lock
		t.Errorf("%d readings", n)
	}
	for _, e := range list.Executions {
		if e.Died != (e.ID != "alive") {
			t.Errorf("%s: died %t", e.ID, e.Died)
		}
	}
	if len(list.Executions) != 7 {
		t.Errorf("%d executions", len(list.Executions))
	}
}

// What a page costs in memory does not grow with how often a migration was
// tried, how many runs there were, or what they have written.
func TestManyAttemptsCostNothing(t *testing.T) {
	output := strings.Repeat("a line that the migration has written\n", aurora.OutputLimit)[:200<<10]
	stores := map[string]func() aurora.Store{
		"postgres": func() aurora.Store { return openPostgres(t, pgtest.URL(t)) },
		"file":     func() aurora.Store { return openFile(t) },
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			store := open()
			get := largeHandler(t, store, []aurora.Migration{migration("1", "fill")})
			costs := func(newest string) map[string]uint64 {
				t.Helper()
				out := make(map[string]uint64)
				paths := []string{"/api/migrations/1_fill", "/api/migrations/1_fill/attempts/" + newest, "/api/migrations", "/api/executions", "/api/executions/" + newest, "/api/executions/large"}
				for _, path := range paths {
					// Other goroutines allocate, too, and with the race detector
					// a sync.Pool forgets every fourth buffer.
					least := uint64(1 << 62)
					for range 10 {
						least = min(least, allocated(func() { get(path) }))
					}
					out[path] = least
				}
				return out
			}
			large := func(output string) {
				t.Helper()
				lease, err := store.Acquire(t.Context(), aurora.Holder{}, time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				for i := range 40 {
					saveAttempt(t, lease, "large", fmt.Sprint(100+i), i+1, output)
				}
				if err := lease.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			large("a line\n")
			retry(t, store, "1", "few", 24, "a line\n")
			retry(t, store, "1", "last", 1, output)
			few := costs("last0000")
			large(output)
			retry(t, store, "1", "many", 250, output) // 50 MB
			many := costs("many0249")
			for path, n := range few {
				more, ok := many[path]
				if !ok {
					path = strings.Replace(path, "last0000", "many0249", 1)
					more = many[path]
				}
				t.Logf("%s: %d KB, with many %d KB", path, n>>10, more>>10)
				if more > n+256<<10 {
					t.Errorf("%s: %d KB are allocated, and with many attempts %d KB", path, n>>10, more>>10)
				}
			}
		})
	}
}

package dashboard_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dashboard"
	"github.com/aurora-migrate/aurora/filestore"
)

const (
	manyMigrations = 10_000
	manyExecutions = 200
	perExecution   = 500 // revisions
)

func manyFiles() []aurora.Migration {
	out := make([]aurora.Migration, manyMigrations)
	for i := range out {
		out[i] = migration(fmt.Sprintf("2025%010d", i), "change_of_the_schema", "CREATE TABLE t (id bigint)", "CREATE INDEX ON t (id)")
		out[i].Description = "What this is good for, in a sentence or two of some length."
	}
	return out
}

// fill saves the revisions of some executions.
func fill(tb testing.TB, store aurora.Store, files []aurora.Migration, executions int) {
	tb.Helper()
	seq, at := 0, time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for e := range executions {
		lease, err := store.Acquire(tb.Context(), aurora.Holder{Host: "ci-runner-17", User: "deploy", Runtime: "cli", Link: "https://ci.example.com/runs/1"}, time.Minute)
		if err != nil {
			tb.Fatal(err)
		}
		revisions := make([]aurora.Revision, perExecution)
		for i := range revisions {
			m := files[seq%len(files)]
			at = at.Add(time.Second)
			revisions[i] = aurora.Revision{
				ExecutionID: fmt.Sprintf("01900000-0000-7000-8000-%012d", e), Version: m.Version, Name: m.Name, Description: m.Description, Checksum: m.Checksum,
				Direction: aurora.Up, State: aurora.Completed, Kind: aurora.Applied, Seq: i + 1, Steps: 2, Done: 2, StartedAt: at, FinishedAt: at.Add(time.Second),
				Holder: aurora.Holder{Host: "ci-runner-17", User: "deploy", Runtime: "cli"}, Operator: "aurora v1.0.0", Output: "created a table\ncreated an index\n",
			}
			seq++
		}
		if err := lease.Save(tb.Context(), revisions...); err != nil {
			tb.Fatal(err)
		}
		if err := lease.Release(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
}

func largeHandler(tb testing.TB, store aurora.Store, files []aurora.Migration) func(path string) []byte {
	tb.Helper()
	handler, err := dashboard.New(dashboard.Config{
		Store: store, Auth: dashboard.Auth{Token: onceToken}, Files: pages,
		Migrations: func(context.Context) ([]aurora.Migration, error) { return files, nil },
	})
	if err != nil {
		tb.Fatal(err)
	}
	return func(path string) []byte {
		tb.Helper()
		r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
		r.Header.Set("Authorization", "Bearer "+onceToken)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			tb.Fatalf("%s: %d %s", path, w.Code, clipped(w.Body.Bytes()))
		}
		return w.Body.Bytes()
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A countingStore counts how often all is read.
type countingStore struct {
	*filestore.Store
	latest atomic.Int64
}

func (c *countingStore) Latest(ctx context.Context) ([]aurora.Revision, error) {
	c.latest.Add(1)
	return c.Store.Latest(ctx)
}

// Pages of a large history are short, and all of them come from one reading.
// Here every migration ran once; the benchmarks have ten times that.
func TestLargeHistory(t *testing.T) {
	store, files := &countingStore{Store: openFile(t)}, manyFiles()
	fill(t, store, files, manyMigrations/perExecution)
	get := largeHandler(t, store, files)
	first := allocated(func() { get("/api/migrations") })
	reads, started := store.latest.Load(), time.Now()
	paths := []string{"/api/migrations?limit=50", "/api/migrations?cursor=20250000005000", "/api/migrations?q=schema+0004999", "/api/migrations?status=pending,failed", "/api/migrations/summary"}
	for _, path := range paths {
		var body []byte
		var n uint64
		for again := true; again; {
			before := store.latest.Load()
			n = allocated(func() { body = get(path) })
			again = store.latest.Load() > before // what was read had become too old
		}
		if len(body) > 64<<10 || n > 8<<20 {
			t.Errorf("%s: an answer of %d bytes, %d bytes allocated", path, len(body), n)
		}
		t.Logf("%s: %d bytes, %d KB allocated", path, len(body), n>>10)
	}
	t.Logf("first page: %d KB allocated", first>>10)
	if n := store.latest.Load() - reads; n > int64(time.Since(started)/time.Second)+1 {
		t.Errorf("the history was read %d times in %s", n, time.Since(started))
	}
	// What stays is one snapshot, whoever asks how often.
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range 100 {
		get(fmt.Sprintf("/api/migrations?cursor=2025%010d", 9000-i*50))
		if i%20 == 0 {
			get("/api/plan?direction=up") // reads anew
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d KB", grown>>10)
	}
}

// BenchmarkFirstPage is the first request to a new dashboard, for each of the
// lists, with the history in a file.
func BenchmarkFirstPage(b *testing.B) {
	store, files := openFileIn(b), manyFiles()
	fill(b, store, files, manyExecutions)
	for _, path := range []string{"/api/migrations", "/api/migrations/summary", "/api/executions", "/api/migrations/20250000005000"} {
		b.Run(strings.ReplaceAll(path[5:], "/", "-"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				largeHandler(b, store, files)(path)
			}
		})
	}
}

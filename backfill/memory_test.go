package backfill_test

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/backfill"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// heapDuring returns the most of the heap that was in use while f ran, in bytes.
func heapDuring(f func()) (before, most uint64) {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before = m.HeapInuse
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapInuse)
		select {
		case <-done:
			return before, most
		case <-tick.C:
		}
	}
}

// liveDuring returns the most of the heap that could be reached while f ran, in
// bytes, above what could be reached before.
func liveDuring(f func()) uint64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}} // of the last collection, whatever was allocated since
	measure := func() uint64 {
		runtime.GC()
		metrics.Read(live)
		return live[0].Value.Uint64()
	}
	before := measure()
	most := before
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return most - before
		case <-tick.C:
			most = max(most, measure())
		}
	}
}

// Of items, two pages for each worker are in memory, however many there are:
// AURORA_TEST_BACKFILL_ITEMS makes them more.
func TestItemsMemory(t *testing.T) {
	const page, workers = 200, 2
	n := size("AURORA_TEST_BACKFILL_ITEMS", 16_000)
	var most [2]uint64
	for i, n := range []int{n / 8, n} {
		table := newTable(t, n)
		it := backfill.Items{Client: bclient(t), Table: table, Change: countOnce, Options: backfill.Options{Workers: workers, Batch: page}}
		most[i] = liveDuring(func() {
			if _, err := step(t.Context(), new(auroratest.Memory), it.Run); err != nil {
				t.Error(err)
			}
		})
		wantCounters(t, table, n)
		t.Logf("%d items: at most %.1f MiB live", n, float64(most[i])/(1<<20))
	}
	// An item takes about a kilobyte as a Go value; the pages are 800 of them.
	if most[1] > most[0]+2<<20 || most[1] > 8<<20 {
		t.Errorf("%d bytes with eight times the items of %d bytes", most[1], most[0])
	}
}

// Memory is bounded by workers and batches, not by the rows:
// AURORA_TEST_BACKFILL_ROWS makes them more.
func TestRowsMemory(t *testing.T) {
	const bound = 24 << 20
	n := size("AURORA_TEST_BACKFILL_ROWS", 60_000)
	url := pgtest.URL(t)
	numbers(t, url, n)
	rows := backfill.Rows{Connect: connector(url), Table: "numbers", SQL: addOne}
	before, most := heapDuring(func() {
		if _, err := step(t.Context(), new(auroratest.Memory), rows.Run); err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d rows: %.1f MiB of heap before, at most %.1f MiB", n, float64(before)/(1<<20), float64(most)/(1<<20))
	if most > before+bound {
		t.Errorf("%d bytes more than before", most-before)
	}
	if got := pgtest.One(t, url, "SELECT min(count) || ' ' || max(count) FROM numbers"); got != "1 1" {
		t.Errorf("counts are %s", got)
	}
}

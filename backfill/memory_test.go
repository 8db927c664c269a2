package backfill_test

import (
	"runtime"
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

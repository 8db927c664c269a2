package backfill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"time"

	"github.com/aurora-migrate/aurora"
)

// Defaults and bounds of [Options].
const (
	// DefaultWorkers is how many parts are worked at the same time.
	DefaultWorkers = 4
	// DefaultTarget is how long a batch should take.
	DefaultTarget = 250 * time.Millisecond
	// MaxFailed bounds the list of failed rows or items that is kept; those
	// beyond it are only counted, and logged.
	MaxFailed = 100
)

// Options are what Rows and Items have in common. The zero value of every field
// is a good one.
type Options struct {
	// Name tells the backfills of one step apart, in its checkpoint and in
	// messages: a second one under the same name is an error. Defaults to the
	// table's.
	Name string
	// Workers is how many parts are worked at the same time, each over its own
	// connection where there are such. Defaults to [DefaultWorkers].
	Workers int
	// Batch is the largest batch, in rows or items. Defaults to what the
	// database allows: see Rows and Items.
	Batch int
	// Target is how long a batch should take: batches grow and shrink towards
	// it. Defaults to [DefaultTarget].
	Target time.Duration
	// PerSecond is the most rows or items to be visited in a second, all workers
	// together. Zero means no limit.
	PerSecond float64
	// Throttle is asked about once a second how fast to go: 1 is full speed,
	// 0.5 half of the time at work, 0 or less not at all until it says something
	// else. See [Query]. An error ends the backfill. Defaults to full speed.
	Throttle func(context.Context) (float64, error)
	// SkipFailed is how many rows or items may fail and be left as they are.
	// One more ends the backfill with a [*FailedError]. Defaults to none.
	SkipFailed int
	// Report, if set, is called once when Run ends, in whatever way.
	Report func(Result)
}

// A Result says what a backfill did, together with the runs before that it went
// on from.
type Result struct {
	// Visited counts the rows or items that are done with, Total those there
	// are, as counted at the start; for items it is what DynamoDB knows, which
	// may be hours old, or 0.
	Visited, Total int64
	// Changed counts what was changed. What happened within the last second
	// before a process was killed may be missing from it.
	Changed int64
	// Failures counts the rows or items that failed and were skipped; Failed
	// has the first of them, up to [MaxFailed].
	Failures int64
	Failed   []Failed
	// Took is the time at work, over all runs.
	Took time.Duration
	// Complete says that nothing is left to do.
	Complete bool
}

// A Failed is a row or an item that could not be changed.
type Failed struct {
	// Key is its key, "id=42".
	Key string `json:"key"`
	// Error is why.
	Error string `json:"error"`
}

// A FailedError says which row or item ended a backfill.
type FailedError struct {
	Table string
	Key   string // "id=42"
	// Skipped is how many others had failed before and were skipped.
	Skipped int64
	Err     error
}

// Error names the row and the reason.
func (e *FailedError) Error() string {
	s := fmt.Sprintf("%s, %s: %v", e.Table, e.Key, e.Err)
	if e.Skipped > 0 {
		s += fmt.Sprintf(" (%d failed before and were skipped)", e.Skipped)
	}
	return s
}

// Unwrap returns the reason.
func (e *FailedError) Unwrap() error { return e.Err }

// A Count is what [Rows.DryRun] or [Items.DryRun] found.
type Count struct {
	// Rows are the rows or items that Run would visit.
	Rows int64
	// Tried is how many of them were tried, and Changed how many of those would
	// have been changed.
	Tried, Changed int64
}

func (o *Options) check() error {
	switch {
	case o.Workers < 0 || o.Batch < 0 || o.Target < 0 || o.PerSecond < 0 || o.SkipFailed < 0:
		return errors.New("backfill: workers, batch, target, rate and failures to skip cannot be negative")
	case math.IsNaN(o.PerSecond) || math.IsInf(o.PerSecond, 1):
		return fmt.Errorf("backfill: a rate of %v is none: leave PerSecond at 0 for no limit", o.PerSecond)
	case o.Workers > 1000:
		return fmt.Errorf("backfill: %d workers are more than the 1000 allowed", o.Workers)
	}
	o.Workers = cmp.Or(o.Workers, DefaultWorkers)
	o.Target = cmp.Or(o.Target, DefaultTarget)
	return nil
}

// partsPerWorker makes parts small enough for workers to end at about the same
// time, and few enough for a checkpoint that is written every second.
const partsPerWorker = 4

func (o *Options) parts() int { return min(o.Workers*partsPerWorker, 256) }

// newLogger returns the step's log, or one that is silent.
func newLogger(env *aurora.Env) *slog.Logger {
	if env.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return env.Log
}

// guarded turns a panic into an error: that of a worker's goroutine would end
// the program, and with it the record of what was done.
func guarded(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			stack := make([]byte, 8<<10)
			err = fmt.Errorf("panic: %v\n\n%s", v, strings.TrimSpace(string(stack[:runtime.Stack(stack, false)])))
		}
	}()
	return f()
}

// sleep waits unless the context or the backfill ends.
func sleep(ctx context.Context, halt <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-halt:
	case <-ctx.Done():
	}
}

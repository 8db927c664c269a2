package aurora

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// An Env is what a step gets besides its context.
type Env struct {
	// Log captures what the step says, at all levels, for the revision's output.
	// What goes to the default loggers of packages slog and log meanwhile is
	// captured too.
	Log *slog.Logger
	// Database is the environment's database, or nil.
	Database Database

	token int64 // of the lease

	mu         sync.Mutex
	checkpoint json.RawMessage
	pauseAt    time.Time // zero means never
	save       func(context.Context, json.RawMessage) error
	progress   func(done, total int64)
	atomically func(*Env, func(*Env) error, func(Revision) error) error
}

// Token returns the fencing token of the lease under which the step runs, 0
// outside of a run. A system that remembers the greatest token that it was shown
// and refuses smaller ones is safe from a step whose lease was lost.
func (e *Env) Token() int64 { return e.token }

// Resume reads the step's last checkpoint into v and reports whether there is
// one. A step calls it first.
func (e *Env) Resume(v any) (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.checkpoint == nil {
		return false, nil
	}
	if err := json.Unmarshal(e.checkpoint, v); err != nil {
		return false, fmt.Errorf("read the checkpoint: %w", err)
	}
	return true, nil
}

// Checkpoint saves v, any JSON value, as the place to go on from. Near the
// deadline it returns an error that wraps [ErrPaused] after saving, which the
// step must return; the next run hands v back through [Env.Resume].
func (e *Env) Checkpoint(ctx context.Context, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the checkpoint: %w", err)
	}
	e.mu.Lock()
	e.checkpoint = b
	pauseAt := e.pauseAt
	e.mu.Unlock()
	if e.save != nil {
		if err := e.save(ctx, b); err != nil {
			return fmt.Errorf("save the checkpoint: %w", err)
		}
	}
	if !pauseAt.IsZero() && !time.Now().Before(pauseAt) {
		return ErrPaused
	}
	return context.Cause(ctx)
}

// Progress reports how much of the step is done; total is 0 when unknown.
func (e *Env) Progress(done, total int64) {
	if e.progress != nil {
		e.progress(done, total)
	}
}

// Atomically is for packages whose database is also the history's, such as
// package postgres for its TxFunc; steps use those. It calls do with an
// environment whose checkpoints are kept back, and then commit with the revision
// to store in the step's own transaction: one in which the step is done or,
// where do returned an error that wraps [ErrPaused] after a checkpoint, one with
// that checkpoint. Nothing else writes the revision while commit runs.
//
// It returns the error of do, without having called commit unless do only
// pauses, or else that of commit. An error of commit that wraps
// [ErrOutcomeUnknown] ends the run without another write, so that the next one
// finds what was stored. Outside of a run it returns an error at once.
func (e *Env) Atomically(do func(*Env) error, commit func(Revision) error) error {
	if e.atomically == nil {
		return errors.New("nothing to commit with: this is not a step of a run")
	}
	return e.atomically(e, do, commit)
}

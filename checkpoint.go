package aurora

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// An Env is what a step gets besides its context.
type Env struct {
	// Log captures what the step says, for the revision's output.
	Log *slog.Logger
	// Database is the environment's database, or nil.
	Database Database

	mu         sync.Mutex
	checkpoint json.RawMessage
	pauseAt    time.Time // zero means never
	save       func(context.Context, json.RawMessage) error
	progress   func(done, total int64)
}

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

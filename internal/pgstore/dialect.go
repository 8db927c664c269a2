package pgstore

import (
	"context"
	"math/rand/v2"
	"time"
)

// A Dialect says what the history's database does its own way. The zero value
// has the least abilities, no retries and no end of a connection's life.
type Dialect struct {
	// Sessions says that the server tells which sessions there are and ends
	// one on request, so that a takeover can end the old holder's.
	Sessions bool
	// Settings says that a session's time limits and the like can be set.
	Settings bool
	// SeparateDDL says that a transaction holds one definition at most.
	SeparateDDL bool
	// Conflicts bounds how often a query of the history is sent again that lost
	// against another transaction (SQLSTATE 40001). Zero means never.
	Conflicts Backoff
	// MaxAge is the age from which on a connection is replaced before its next
	// use, up to a tenth later so that a fleet does not do so at once. Zero
	// means never.
	MaxAge time.Duration
}

// A Backoff says how to go on trying: with exponential waits of full jitter,
// within a number of tries and a span of time.
type Backoff struct {
	First  time.Duration // the longest wait after the first try
	Cap    time.Duration // the longest wait of all
	Tries  int           // with the first; 0 means one
	Budget time.Duration // from the first try on; 0 means no limit
}

// Wait waits after the try of that number, from 0, of a series that began at
// started. It returns false at once when there is to be no other, or when ctx
// ends.
func (b Backoff) Wait(ctx context.Context, try int, started time.Time) bool {
	if try+1 >= b.Tries || b.Budget > 0 && time.Since(started) >= b.Budget {
		return false
	}
	longest := b.Cap
	if try < 30 && b.First<<try < b.Cap {
		longest = b.First << try
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(rand.N(max(longest, 1))):
		return true
	}
}

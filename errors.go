package aurora

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The states an operation can end in. Wrap them; ask with [errors.Is].
var (
	// ErrLeaseLost says that the lease has ended or is somebody else's.
	ErrLeaseLost = errors.New("the lock was lost to another run, or could not be renewed in time")
	// ErrPaused says that a run stopped in good order, to be continued.
	ErrPaused = errors.New("paused before the deadline")
	// ErrInterrupted says that a run was asked to stop, by a signal usually.
	ErrInterrupted = errors.New("interrupted")
	// ErrNotFound says that what was asked for is not in the history.
	ErrNotFound = errors.New("not found")
	// ErrOutcomeUnknown says that the connection broke while a step ran, so that
	// it may or may not have happened.
	ErrOutcomeUnknown = errors.New("the connection broke, so the outcome is unknown")
	// ErrCheckFailed says that a migration's check did not hold.
	ErrCheckFailed = errors.New("the check did not hold")
)

// A LockedError says that somebody else holds the lease.
type LockedError struct {
	Holder    Holder
	Token     int64
	ExpiresAt time.Time // by the store's clock
	Waited    time.Duration
}

// Error names the holder.
func (e *LockedError) Error() string {
	s := "locked by " + e.Holder.String()
	if !e.ExpiresAt.IsZero() {
		s += ", until " + e.ExpiresAt.UTC().Format(time.RFC3339) + " unless renewed"
	}
	if e.Waited > 0 {
		s = fmt.Sprintf("gave up after waiting %s: %s", e.Waited.Round(time.Second/10), s)
	}
	return s
}

// A StepError says which step of which migration failed.
type StepError struct {
	Migration string // its ID
	Version   string
	Index     int    // of the step, from 0; -1 when the commit itself failed
	Step      string // its text
	Pos       string // file:line, when it was read from a file
	// Hint is what to do next, when there is something worth saying.
	Hint string
	Err  error
}

// Error names the place and the reason.
func (e *StepError) Error() string {
	where := e.Pos
	if where == "" {
		where = e.Migration
	}
	if e.Index < 0 {
		return fmt.Sprintf("%s: commit: %v", where, e.Err)
	}
	return fmt.Sprintf("%s: %v", where, e.Err)
}

// Unwrap returns the reason.
func (e *StepError) Unwrap() error { return e.Err }

// A ChangedError says that what was applied is no longer what the directory
// holds.
type ChangedError struct {
	Edited  []string // IDs of applied migrations whose source was edited
	Missing []string // IDs of applied migrations whose source is gone
	Ahead   []string // IDs of applied migrations newer than the newest source
	// Statement is set instead when a statement that already ran, of a
	// migration that is half applied, was edited or removed.
	Migration string
	Statement int // from 1
	Pos       string
	// Current is the newest applied version that the directory has, or 0, for
	// the command that accepts it.
	Current string
}

// Error says what changed and how to accept it.
func (e *ChangedError) Error() string {
	if e.Migration != "" {
		where := e.Migration
		if e.Pos != "" {
			where = e.Pos
		}
		return fmt.Sprintf("%s: statement %d of %s already ran and was changed since; put its text back (statements after it may be edited)",
			where, e.Statement, e.Migration)
	}
	var parts []string
	if len(e.Edited) > 0 {
		parts = append(parts, "edited since applied: "+strings.Join(e.Edited, ", "))
	}
	if len(e.Missing) > 0 {
		parts = append(parts, "applied but no longer in the directory: "+strings.Join(e.Missing, ", "))
	}
	advice := "Put the files back"
	if len(e.Ahead) > 0 {
		parts = append(parts, "the database is ahead of the directory, no file of which is as new as "+strings.Join(e.Ahead, ", "))
		if len(parts) == 1 {
			advice = "Use the directory that has them, or put the files back"
		}
	}
	return strings.Join(parts, "; ") + ". " + advice + ", or accept the directory as it is with: aurora migrate set " + cmp.Or(e.Current, "0")
}

// An OutOfOrderError says that migrations appeared behind the newest applied
// one.
type OutOfOrderError struct {
	Late    []string // their IDs
	Current string   // the newest version that is applied, or half applied
}

// Error says which, and how to accept them.
func (e *OutOfOrderError) Error() string {
	return fmt.Sprintf("out of order: %s came after version %s was applied. Rename to a newer version, or apply anyway with: aurora migrate apply --exec-order non-linear",
		strings.Join(e.Late, ", "), e.Current)
}

// A MovedError says that the history is no longer where it was when a run was
// asked for: another run was there in between.
type MovedError struct{ Expected, Head string }

// Error names both places.
func (e *MovedError) Error() string {
	return fmt.Sprintf("nothing ran: the history has moved since the plan was made, from %s to %s", e.Expected, e.Head)
}

// Hint says what to do.
func (e *MovedError) Hint() string { return "look at the plan again, then ask again" }

// An IrreversibleError says that a migration cannot be rolled back.
type IrreversibleError struct {
	Migration string
	Reason    string
}

// Error says why.
func (e *IrreversibleError) Error() string {
	return fmt.Sprintf("%s cannot be rolled back: %s", e.Migration, e.Reason)
}

// An UnsureError says that a process died around a step, and that nothing in
// the database tells whether the step happened.
type UnsureError struct {
	Migration string
	Index     int // from 0
	Step      string
	Pos       string
}

// Error asks the person, with the commands that answer.
func (e *UnsureError) Error() string {
	return fmt.Sprintf("%s: an earlier run ended while it ran statement %d of %s, and the database does not tell whether it happened. Look, then answer with: aurora migrate apply --unsure skip (it happened) or --unsure rerun (it did not)",
		e.Pos, e.Index+1, e.Migration)
}

// A RequestError says that the request itself cannot be met: a target that
// does not exist, a version that appears twice. It is a usage error.
type RequestError struct{ Reason string }

// Error returns the reason.
func (e *RequestError) Error() string { return e.Reason }

func requestErrorf(format string, args ...any) error {
	return &RequestError{Reason: fmt.Sprintf(format, args...)}
}

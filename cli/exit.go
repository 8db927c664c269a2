package cli

import (
	"context"
	"errors"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli/internal/report"
)

// A usageError is a mistake on the command line, in the configuration or in
// the migration directory, found before anything was done.
type usageError struct {
	Err  error
	Hint string
}

func (e *usageError) Error() string { return e.Err.Error() }
func (e *usageError) Unwrap() error { return e.Err }

// A hintError says what to do about an error.
type hintError struct {
	Err  error
	Hint string
}

func (e *hintError) Error() string { return e.Err.Error() }
func (e *hintError) Unwrap() error { return e.Err }

// A pendingError is an error because of which it is not known that everything
// is applied.
type pendingError struct{ Err error }

func (e *pendingError) Error() string { return e.Err.Error() }
func (e *pendingError) Unwrap() error { return e.Err }

// Is makes it count as errPending.
func (e *pendingError) Is(target error) bool { return target == errPending }

func withHint(err error, hint string) error { return &hintError{err, hint} }

// exitCode says with which code a run ends that returned err. The order
// matters: an interrupted run may have failed in several ways because of it.
func exitCode(ctx context.Context, err error) int {
	var (
		changed *aurora.ChangedError
		locked  *aurora.LockedError
	)
	switch {
	case err == nil:
		return ExitDone
	case errors.Is(err, errPending):
		return ExitPending
	case errors.Is(err, aurora.ErrInterrupted), ctx.Err() != nil:
		return ExitInterrupted
	case errors.As(err, &changed), isSumError(err):
		return ExitChanged
	case errors.As(err, &locked):
		return ExitLocked
	case isUsage(err):
		return ExitUsage
	}
	return ExitFailed
}

func isUsage(err error) bool {
	var (
		usage   *usageError
		request *aurora.RequestError
		format  *report.FormatError
	)
	return errors.As(err, &usage) || errors.As(err, &request) || errors.As(err, &format) ||
		isBadURL(err)
}

package lambdahandler

import (
	"fmt"
	"time"
)

// A LimitError says that an execution used up its invocations. The history has
// it too; what was done stays done.
type LimitError struct {
	ExecutionID string
	Hops        int
}

// Error names the limit and what to do.
func (e *LimitError) Error() string {
	return fmt.Sprintf("execution %s is not done after %d invocations, which is its limit: start again to go on from where it stands, with a greater maxHops in the event if that is too few, or run it on Fargate (aurora task run)",
		e.ExecutionID, e.Hops)
}

// A StuckError says that a step got no further in whole invocations, and so
// never will in Lambda, or that it did not stop in time. The history has it too.
type StuckError struct {
	ExecutionID string
	Migration   string // its ID
	Step        string
	Limit       time.Duration // the invocation's time
	// Deaf says that the step did not stop either when its context ended, so
	// that the process had to end.
	Deaf bool
	// Moved says that the execution did get further before a deaf step was ended:
	// it resumes from what was saved.
	Moved bool
}

// Error names the step and what to do.
func (e *StuckError) Error() string {
	if e.Moved {
		return fmt.Sprintf("execution %s got further, but %q of %s did not stop when its context ended, so its process was ended; the execution resumes from what was saved (smaller batches stop sooner)",
			e.ExecutionID, e.Step, e.Migration)
	}
	why := "saves no checkpoint in"
	if e.Deaf {
		why = "neither saves a checkpoint nor stops when its context ends in"
	}
	return fmt.Sprintf("execution %s: %q of %s %s the %s of a whole invocation, so it can never finish here: let it save checkpoints (env.Checkpoint), give the function more time (up to 15 minutes), or run it on Fargate, which has no limit (aurora task run)",
		e.ExecutionID, e.Step, e.Migration, why, e.Limit.Round(time.Millisecond))
}

// A ContinueError says that the function could not invoke itself. All that was
// done is saved; an event that failed so is delivered again by Lambda, and then
// goes on.
type ContinueError struct {
	ExecutionID string
	Err         error
}

// Error says why.
func (e *ContinueError) Error() string {
	return fmt.Sprintf("execution %s is saved but cannot go on in another invocation: %v", e.ExecutionID, e.Err)
}

// Unwrap returns the reason.
func (e *ContinueError) Unwrap() error { return e.Err }

// A FailedError says that the execution which an event belongs to has failed
// already.
type FailedError struct {
	ExecutionID string
	Migration   string // its ID
	Reason      string // as the history has it
}

// Error says with what.
func (e *FailedError) Error() string {
	return fmt.Sprintf("execution %s has failed at %s: %s (fix it and start a new execution)", e.ExecutionID, e.Migration, e.Reason)
}

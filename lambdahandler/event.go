package lambdahandler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aurora-migrate/aurora"
)

// A Command is what an event asks for.
type Command string

// The commands. The zero value runs migrations.
const (
	Run    Command = ""
	Plan   Command = "plan"   // what a run would do; also dryRun
	Status Command = "status" // where the migrations stand
	List   Command = "list"   // which migrations the program has; reads no history
)

// An Event is what the function is invoked with. An empty one applies all
// pending migrations.
type Event struct {
	aurora.Request
	Command Command `json:"command,omitempty"`
	// DryRun is another word for the command [Plan].
	DryRun bool `json:"dryRun,omitempty"`
	// MaxHops is how many invocations this execution may take, where it differs
	// from the function's own limit.
	MaxHops int `json:"maxHops,omitempty"`
	// Confirm is what [Project.Confirm] asks for, or the function's name. It
	// must be there to roll back everything, or anything that is protected.
	Confirm string `json:"confirm,omitempty"`

	// What follows is for continuations, which the function sends itself.

	// Hop counts the invocations before this one.
	Hop int `json:"hop,omitempty"`
	// After is the fencing token of the lease under which the execution was
	// last written. The event counts only as long as that is so.
	After int64 `json:"after,omitempty"`
	// Idle counts the invocations right before this one that got no further.
	Idle int `json:"idle,omitempty"`
}

// An EventError says what is wrong with an event.
type EventError struct{ Reason string }

// Error returns the reason.
func (e *EventError) Error() string { return "the event: " + e.Reason }

// identifierLimit bounds an execution's identifier in an event, in bytes: it becomes
// part of keys.
const identifierLimit = 128

// hopLimit bounds what counts invocations, far beyond what anybody needs.
const hopLimit = 1_000_000

// ParseEvent reads an event. Nothing and null are an empty one. A key that it
// does not know is an [*EventError]: with a misspelt "target" or "direction" a
// run would do what nobody asked for.
func ParseEvent(payload []byte) (Event, error) {
	var e Event
	payload = bytes.TrimSpace(payload)
	if len(payload) == 0 {
		return e, nil
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return Event{}, &EventError{eventReason(err)}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Event{}, &EventError{"there is more after the first JSON value"}
	}
	if err := e.check(); err != nil {
		return Event{}, err
	}
	if e.DryRun {
		e.Command = Plan
	}
	return e, nil
}

// eventReason says what is wrong in the words of an event's author.
func eventReason(err error) string {
	var kind *json.UnmarshalTypeError
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Sprintf("unknown key %s; there are direction, target, steps, all, executionId, dryRun, command, maxHops and confirm, and those of docs/lambda.md", name)
	}
	if errors.As(err, &kind) && kind.Field == "" {
		return fmt.Sprintf("want a JSON object (%s)", kind.Value)
	}
	if errors.As(err, &kind) {
		field := strings.TrimPrefix(kind.Field, "Request.")
		return fmt.Sprintf("%s cannot be a %s", field, kind.Value)
	}
	return err.Error()
}

// check refuses what the plan would not refuse by itself.
func (e Event) check() error {
	bad := func(format string, args ...any) error { return &EventError{fmt.Sprintf(format, args...)} }
	switch e.Command {
	case Run, Plan, Status, List:
	default:
		return bad("unknown command %q: want plan, status or list, or none to run migrations", e.Command)
	}
	switch {
	case e.DryRun && e.Command != Run && e.Command != Plan:
		return bad("dryRun and the command %q exclude each other", e.Command)
	case e.MaxHops < 0:
		return bad("maxHops must not be negative")
	case e.Hop < 0 || e.After < 0 || e.Idle < 0:
		return bad("hop, after and idle must not be negative; only the function itself sends them")
	case e.MaxHops > hopLimit || e.Hop > hopLimit || e.Idle > hopLimit:
		return bad("maxHops, hop and idle must not be more than %d", hopLimit)
	case e.Hop > 0 && e.ExecutionID == "":
		return bad("a continuation (hop %d) needs the executionId that it continues", e.Hop)
	case e.Hop == 0 && (e.After > 0 || e.Idle > 0):
		return bad("after and idle belong to continuations, and this is none: hop is 0")
	case len(e.ExecutionID) > identifierLimit:
		return bad("executionId has more than %d bytes", identifierLimit)
	case strings.ContainsFunc(e.ExecutionID, func(r rune) bool { return r <= ' ' || r > '~' }):
		return bad("executionId may have letters, digits and punctuation of ASCII only, without spaces")
	}
	return nil
}

// isRelative reports whether what the request asks for depends on where the
// history stands, so that asking twice does it twice.
func isRelative(r aurora.Request) bool {
	return r.Steps > 0 || r.Direction == aurora.Down && r.To == "" && !r.All
}

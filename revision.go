package aurora

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// A State is how far a revision has come. docs/states.md draws the ways
// between them.
type State string

// The states of a revision. A revision that says [Running] while nobody holds
// the lease is one whose process died.
const (
	Running     State = "running"
	Paused      State = "paused"
	Completed   State = "completed"
	Failed      State = "failed"
	Interrupted State = "interrupted"
)

// A Kind says how a revision came to be.
type Kind string

// The kinds of revisions.
const (
	Applied  Kind = "applied"  // the steps ran
	Baseline Kind = "baseline" // taken as the start; nothing ran
	Resolved Kind = "resolved" // recorded by hand with "migrate set"
	Imported Kind = "imported" // taken over from another tool's history
)

// A Revision is the record of one attempt at one migration in one direction.
// Its key within a project is the execution and the version.
type Revision struct {
	ExecutionID string `json:"executionId"`
	Version     string `json:"version"`
	Name        string `json:"name,omitempty"`
	// Description is the migration's, as it was when this ran.
	Description string    `json:"description,omitempty"`
	Checksum    string    `json:"checksum,omitempty"`
	Direction   Direction `json:"direction"`
	State       State     `json:"state"`
	Kind        Kind      `json:"kind"`
	// Token is the fencing token of the lease under which it was last written,
	// and Seq its place within that lease: together they order revisions
	// without trusting any clock. Stores set Token.
	Token int64 `json:"token,omitempty"`
	Seq   int   `json:"seq,omitempty"`
	// Steps is how many steps there are, Done how many are finished, Begun how
	// many were announced before they ran. Where Begun is greater than Done the
	// process died in between, and the step at index Done may have happened.
	Steps int `json:"steps"`
	Done  int `json:"done"`
	Begun int `json:"begun,omitempty"`
	// Hashes are those of the finished steps while the revision is unfinished.
	// An empty one is that of a step which is to run again, whatever its text
	// is then, although others behind it are finished.
	Hashes []string `json:"hashes,omitempty"`
	// Checkpoint is what the step at index Done saved of its own.
	Checkpoint json.RawMessage `json:"checkpoint,omitempty"`
	// Activity is what it is doing just now, for whoever watches: "waiting for
	// the build of orders_idx". It is never stored.
	Activity string `json:"-"`
	// Error is the failure, ErrorStep the step's text and ErrorPos its place.
	Error     string `json:"error,omitempty"`
	ErrorStep string `json:"errorStep,omitempty"`
	ErrorPos  string `json:"errorPos,omitempty"`

	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
	// Holder is who ran it, Operator the program's version.
	Holder   Holder `json:"holder"`
	Operator string `json:"operator,omitempty"`
	// Output is what the attempt logged: at most the last [OutputLimit] bytes,
	// whole lines. OutputDropped counts the lines that fell out.
	Output        string `json:"output,omitempty"`
	OutputDropped int    `json:"outputDropped,omitempty"`
	// Foreign names the other tool's table the revision was read from, while
	// it has not been imported.
	Foreign string `json:"foreign,omitempty"`
}

// ID returns "<version>_<name>".
func (r Revision) ID() string { return migrationID(r.Version, r.Name) }

// IsApplied reports whether the migration counts as applied: its newest
// revision is a finished way up, or a way down that has not undone anything.
func (r Revision) IsApplied() bool {
	if r.Direction == Down {
		return r.State != Completed && !r.isHalfDone()
	}
	return r.State == Completed
}

// isHalfDone reports whether an unfinished attempt did some of its work, or
// may have.
func (r Revision) isHalfDone() bool {
	return r.State != Completed && (r.Done > 0 || r.Begun > 0 || r.Checkpoint != nil)
}

// Compare orders revisions by the lease they were written under.
func (r Revision) Compare(other Revision) int {
	if r.Token != other.Token {
		if r.Token < other.Token {
			return -1
		}
		return 1
	}
	return r.Seq - other.Seq
}

// Newest returns the newest revision of every version, sorted by version. It
// is what [Store.Latest] returns of all revisions; stores without a query
// language use it.
func Newest(all []Revision) []Revision {
	newest := make(map[string]Revision, len(all))
	for _, r := range all {
		if old, ok := newest[r.Version]; !ok || old.Compare(r) < 0 {
			newest[r.Version] = r
		}
	}
	out := make([]Revision, 0, len(newest))
	for _, r := range newest {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Revision) int { return CompareVersions(a.Version, b.Version) })
	return out
}

// Head names where a history stands, of which latest are the newest revisions of
// every migration: it changes with every run, and with every state that a run
// comes to. It is "0" of an empty history, and otherwise not to be taken apart.
func Head(latest []Revision) string {
	newest, ok := newestOf(latest)
	if !ok {
		return "0"
	}
	return fmt.Sprintf("%d.%d.%s", newest.Token, newest.Seq, newest.State)
}

// newestOf returns the newest revision that was written under a lease.
func newestOf(latest []Revision) (newest Revision, ok bool) {
	for _, r := range latest {
		if newest.Compare(r) < 0 {
			newest = r
		}
	}
	return newest, newest.Token > 0
}

// checkHead refuses a request for a history that has moved meanwhile. A run that
// goes on has moved it itself.
func checkHead(latest []Revision, req Request) error {
	if req.ExpectedHead == "" {
		return nil
	}
	head := Head(latest)
	newest, _ := newestOf(latest)
	if head == req.ExpectedHead || req.ExecutionID != "" && newest.ExecutionID == req.ExecutionID {
		return nil
	}
	return &MovedError{Expected: req.ExpectedHead, Head: head}
}

// An Execution is one run, with the revisions it made.
type Execution struct {
	ID        string     `json:"id"`
	Direction Direction  `json:"direction"`
	State     State      `json:"state"`
	Holder    Holder     `json:"holder"`
	StartedAt time.Time  `json:"startedAt"`
	EndedAt   time.Time  `json:"endedAt,omitzero"`
	Revisions []Revision `json:"revisions"`
	// Plan is what was to be done.
	Plan Plan `json:"-"`
}

// ExecutionOf puts the revisions of one execution together, oldest first. Its
// state is that of the run as far as the revisions tell: the first that is not
// completed decides.
func ExecutionOf(revisions []Revision) Execution {
	revisions = slices.Clone(revisions)
	slices.SortFunc(revisions, Revision.Compare)
	var e Execution
	e.State = Completed
	e.Revisions = revisions
	for i, r := range revisions {
		if i == 0 {
			e.ID, e.Direction, e.Holder, e.StartedAt = r.ExecutionID, r.Direction, r.Holder, r.StartedAt
		}
		if r.FinishedAt.After(e.EndedAt) {
			e.EndedAt = r.FinishedAt
		}
		if e.State == Completed {
			e.State = r.State
		}
	}
	if e.State == Running {
		e.EndedAt = time.Time{}
	}
	return e
}

// NewExecutionID returns a new identifier, a UUID of version 7 (RFC 9562,
// section 5.7): identifiers sort by the time they were made.
func NewExecutionID() string {
	var b [16]byte
	// crypto/rand.Read never fails since Go 1.24.
	rand.Read(b[:])
	ms := uint64(time.Now().UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

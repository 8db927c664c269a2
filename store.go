package aurora

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"
)

// A Store keeps the revisions of one project and its lease. The conformance
// suites of package auroratest say in code what is written here.
type Store interface {
	// Latest returns the newest revision of every migration, without
	// descriptions and output. It only reads, creates nothing, and costs one
	// round trip; a store that was never written to has none.
	Latest(ctx context.Context) ([]Revision, error)
	// Acquire takes the lease for ttl, or returns a [*LockedError] at once
	// when somebody else holds it. It creates what the store needs on first
	// use, and survives others doing the same at the same time. Every lease
	// has a token greater than all before it.
	Acquire(ctx context.Context, holder Holder, ttl time.Duration) (Lease, error)
}

// A Lease is the right to run, with an end. The store's clock decides when
// that is. Only its holder can write history.
type Lease interface {
	// Token returns the fencing token.
	Token() int64
	// Save writes revisions, all or none, replacing those with the same
	// execution and version. It returns [ErrLeaseLost] and writes nothing when
	// the lease has ended or somebody else has it.
	Save(ctx context.Context, revisions ...Revision) error
	// Renew moves the end to a full time to live from now, or returns
	// [ErrLeaseLost]. It may be called while Save or a step is at work.
	Renew(ctx context.Context) error
	// Release gives the lease back. Releasing one that is lost is not an error,
	// and does not touch the next holder's.
	Release(ctx context.Context) error
}

// A History looks back. Stores implement it beside [Store]; all methods only
// read. What they return many of has no descriptions and no output, of which one
// revision may have [OutputLimit] bytes: Revision alone returns those.
//
// Pages have a cursor for the next one, empty at the end. The first page has an
// empty cursor; limit is at least 1.
type History interface {
	// Revision returns one attempt at a migration, whole. It returns
	// [ErrNotFound] when there is none.
	Revision(ctx context.Context, execution, version string) (Revision, error)
	// Revisions returns a page of the attempts at one migration, newest first.
	Revisions(ctx context.Context, version, cursor string, limit int) ([]Revision, string, error)
	// Execution returns one run with its revisions, oldest first. It returns
	// [ErrNotFound] when there is none.
	Execution(ctx context.Context, id string) (Execution, error)
	// Executions returns a page of runs, newest first.
	Executions(ctx context.Context, cursor string, limit int) ([]Execution, string, error)
}

// A Locker tells who holds the lease, and can take it from somebody who is
// known to be dead.
type Locker interface {
	// Locked returns the holder, or nil when the lease is free. It only reads.
	Locked(ctx context.Context) (*LockedError, error)
	// Break ends the lease with that token. It returns [ErrNotFound] when the
	// lease is free or another one.
	Break(ctx context.Context, token int64) error
}

// A Streamer is a store that is also the database the statements run on, and
// can therefore run a stretch of migrations together with their revisions in
// a few round trips.
type Streamer interface {
	// Stream runs the items in order, each with its revision, under the lease.
	// It calls report for each revision whose state is stored, and for those
	// that are running where progress can be seen. It stops at the first item
	// that fails and returns a [*StepError] for it; nothing after it has run,
	// and nothing of it has run if its transaction was atomic. It stores the
	// failure too, if it can.
	Stream(ctx context.Context, lease Lease, items []Item, report func(Revision)) error
}

// A Reviewer is a store that can tell, without running anything, how it would
// send the statements of a migration, for dry runs.
type Reviewer interface {
	// Review returns what is worth saying of the statements of one direction,
	// in their order: nothing for one that is sent as it stands, and several
	// reviews for one that is refused for several reasons.
	Review(m Migration, d Direction) []Review
}

// A Review is what is worth knowing of a statement before it runs.
type Review struct {
	Statement int // its index among the steps
	// SQL is what is sent instead of the statement, empty where that is the
	// statement itself, and Changes say what is different, each in a few words.
	SQL     string
	Changes []string
	// Err is why the statement would be refused, usually a [*StepError].
	Err error
}

// A Database runs single statements for a runner whose history is elsewhere.
type Database interface {
	// Exec runs a statement. The error wraps [ErrOutcomeUnknown] when the
	// connection broke before the answer came.
	Exec(ctx context.Context, s Statement) error
	// Check returns an error that wraps [ErrCheckFailed] unless c holds.
	Check(ctx context.Context, c Check) error
}

// A SessionDatabase is a database whose statements share a session, with
// settings that statements change.
type SessionDatabase interface {
	Database
	// BeginMigration is called before the statements of a migration run. It
	// brings the session to where every migration starts, whatever was set
	// before, and then repeats what the finished statements of a migration that
	// goes on had set.
	BeginMigration(ctx context.Context, finished []Statement) error
}

// A Holder says who holds the lease, for the person who waits for it.
type Holder struct {
	Host string `json:"host,omitempty"`
	PID  int    `json:"pid,omitempty"`
	// PIDNamespace says among which processes PID counts: where two holders have
	// the same, the same PID is the same process. It is known on Linux only,
	// where it is the boot's random number and the namespace; host names repeat,
	// and a container counts for itself.
	PIDNamespace string `json:"pidNamespace,omitempty"`
	User         string `json:"user,omitempty"`
	Runtime      string `json:"runtime,omitempty"` // cli, lambda, fargate
	Link         string `json:"link,omitempty"`    // the CI job's page, when known
	// By is who asked for the run, where that is not who runs it, and Reason why:
	// see [Request].
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// CurrentHolder describes this process. The runtime is the caller's word for
// its door; the link comes from the variables that GitHub Actions and GitLab
// CI set.
func CurrentHolder(runtime string) Holder {
	h := Holder{PID: os.Getpid(), PIDNamespace: pidNamespace(), Runtime: runtime}
	h.Host, _ = os.Hostname()
	if u, err := user.Current(); err == nil {
		h.User = u.Username
	}
	switch {
	case os.Getenv("GITHUB_RUN_ID") != "":
		h.Link = os.Getenv("GITHUB_SERVER_URL") + "/" + os.Getenv("GITHUB_REPOSITORY") + "/actions/runs/" + os.Getenv("GITHUB_RUN_ID")
	case os.Getenv("CI_JOB_URL") != "":
		h.Link = os.Getenv("CI_JOB_URL")
	}
	return h
}

// pidNamespace returns a [Holder]'s PIDNamespace: the boot_id of random(4) and
// the link of namespaces(7), which is a number of its own only within one boot.
// It is empty where the system does not tell both.
func pidNamespace() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + " " + namespace
}

// String returns "user@host, pid 4711, cli, link, for somebody", as far as known.
func (h Holder) String() string {
	var parts []string
	switch {
	case h.User != "" && h.Host != "":
		parts = append(parts, h.User+"@"+h.Host)
	case h.Host != "":
		parts = append(parts, h.Host)
	case h.User != "":
		parts = append(parts, h.User)
	}
	if h.PID != 0 {
		parts = append(parts, fmt.Sprintf("pid %d", h.PID))
	}
	for _, s := range []string{h.Runtime, h.Link} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if h.By != "" {
		parts = append(parts, "for "+h.By)
	}
	if len(parts) == 0 {
		return "somebody unknown"
	}
	return strings.Join(parts, ", ")
}

// Package report has what the migrate commands say, in Atlas's shapes: the
// values that --format templates and {{ json . }} see, and the default text.
//
// Names of fields, methods and template functions are those of Atlas's
// cmd/atlas/internal/cmdlog (v1.2) and of the types that
// ariga.io/atlas/atlasexec decodes, so that tools written for Atlas read
// aurora's output. Fields that Atlas does not have come last.
package report

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// An Env says which database and which directory a report is about.
type Env struct {
	Driver string `json:"Driver,omitempty"`
	URL    *URL   `json:"URL,omitempty"`
	Dir    string `json:"Dir,omitempty"`
}

// A URL is a database's URL without its secrets.
type URL struct {
	*url.URL
	// Schema is the one the connection is bound to by search_path.
	Schema string
}

// NewURL returns the URL of a redacted connection string: the user without
// the password, and no query values that may be secret. It returns nil for a
// string that is no URL.
func NewURL(redacted string) *URL {
	u, err := url.Parse(redacted)
	if err != nil {
		return nil
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	return &URL{URL: u, Schema: u.Query().Get("search_path")}
}

// A File is a migration.
type File struct {
	Name        string `json:"Name,omitempty"`
	Version     string `json:"Version,omitempty"`
	Description string `json:"Description,omitempty"`
}

// Desc returns the description, by the name that Atlas's templates use.
func (f File) Desc() string { return f.Description }

// A StmtError is a statement and what the database said of it.
type StmtError struct {
	Stmt string `json:"Stmt,omitempty"`
	Text string `json:"Text,omitempty"`
}

// A Check is one assertion and its outcome.
type Check struct {
	Stmt  string  `json:"Stmt,omitempty"`
	Error *string `json:"Error,omitempty"`
}

// FileChecks is a group of assertions that ran before a file.
type FileChecks struct {
	Name  string     `json:"Name,omitempty"`
	Stmts []*Check   `json:"Stmts,omitempty"`
	Error *StmtError `json:"Error,omitempty"`
}

// An AppliedFile is a migration that ran, or began to.
type AppliedFile struct {
	File
	Start   time.Time
	End     time.Time
	Skipped int      `json:"Skipped,omitempty"` // statements an earlier run did
	Applied []string `json:"Applied,omitempty"` // statements that ran, the failed one included
	// Functions are the indexes of those in Applied that are functions in Go.
	Functions map[int]bool `json:"-"`
	// Rewrites are the statements that the database was sent in other words.
	Rewrites []*Rewrite `json:"Rewrites,omitempty"`
	// Refused are, in a dry run, the statements that the database would not take.
	Refused []*Refusal    `json:"Refused,omitempty"`
	Checks  []*FileChecks `json:"Checks,omitempty"`
	Error   *StmtError    `json:"Error,omitempty"`
}

// A Rewrite is a statement that the database takes in other words.
type Rewrite struct {
	Index   int      `json:"-"` // among the file's Applied
	Stmt    string   // as the file has it
	Sent    string   // as it is sent
	Changes []string // what is different
}

// A Refusal is a reason for which a statement, and with it everything, would
// not run.
type Refusal struct {
	Index int    `json:"-"` // among the file's Applied
	Stmt  string // as the file has it
	Pos   string // "file:line:col"
	Text  string // the reason
	Hint  string `json:"Hint,omitempty"` // what to write instead
}

// refused returns how many statements were refused.
func (f *AppliedFile) refused() int {
	statements := make(map[int]bool)
	for _, r := range f.Refused {
		statements[r.Index] = true
	}
	return len(statements)
}

// checksFailed reports whether no statement ran because a check did not hold.
func (f *AppliedFile) checksFailed() bool {
	return len(f.Checks) > 0 && f.Checks[len(f.Checks)-1].Error != nil
}

// An Apply is what "migrate apply" did, or would do.
type Apply struct {
	Paint  Paint `json:"-"`
	DryRun bool  `json:"-"`
	Env
	Pending []File         `json:"Pending,omitempty"`
	Applied []*AppliedFile `json:"Applied,omitempty"`
	Current string         `json:"Current,omitempty"`
	Target  string         `json:"Target,omitempty"`
	Start   time.Time
	End     time.Time
	Error   string `json:"Error,omitempty"`
}

const nothing = "No migration files to execute"

// Header returns the first line of the text.
func (a *Apply) Header() string {
	if len(a.Pending) == 0 {
		return nothing
	}
	from := ""
	if a.Current != "" {
		from = " from " + a.Paint.Cyan(a.Current)
	}
	// Word by word as Atlas has it, also for one migration.
	return fmt.Sprintf("Migrating to version %s%s (%d migrations in total):", a.Paint.Cyan(a.Target), from, len(a.Pending))
}

// Summary returns the last lines of the text, each but the first after indent.
func (a *Apply) Summary(indent string) string {
	return a.Paint.summary(indent, a.End.Sub(a.Start), a.Applied, a.DryRun)
}

// MarshalJSON adds the message that sums up a run without error.
func (a *Apply) MarshalJSON() ([]byte, error) {
	type plain Apply
	v := struct {
		*plain
		Message string `json:"Message,omitempty"`
	}{plain: (*plain)(a)}
	switch {
	case a.Error != "":
	case len(a.Applied) == 0:
		v.Message = nothing
	default:
		// This too is word by word Atlas's.
		v.Message = fmt.Sprintf("Migrated to version %s from %s (%d migrations in total)", a.Target, a.Current, len(a.Pending))
	}
	return json.Marshal(v)
}

// A Down is what "migrate down" did, or would do.
type Down struct {
	Paint    Paint          `json:"-"`
	DryRun   bool           `json:"-"`
	Planned  []File         `json:"Planned,omitempty"`
	Reverted []*AppliedFile `json:"Reverted,omitempty"`
	Current  string         `json:"Current,omitempty"`
	Target   string         `json:"Target,omitempty"`
	Total    int            `json:"Total,omitempty"`
	Start    time.Time
	End      time.Time
	Status   string `json:"Status,omitempty"`
	Error    string `json:"Error,omitempty"`
}

// Header returns the first line of the text.
func (d *Down) Header() string {
	if len(d.Planned) == 0 {
		return "No migrations to roll back"
	}
	target := d.Target
	if target == "" {
		target = "0"
	}
	return fmt.Sprintf("Migrating down from version %s to %s (%d %s in total):",
		d.Paint.Cyan(d.Current), d.Paint.Cyan(target), d.Total, plural(d.Total, "migration"))
}

// Summary returns the last lines of the text, each but the first after indent.
func (d *Down) Summary(indent string) string {
	return d.Paint.summary(indent, d.End.Sub(d.Start), d.Reverted, d.DryRun)
}

// A Revision is a row of the history as Atlas shows it.
type Revision struct {
	Version         string        `json:"Version"`
	Description     string        `json:"Description"`
	Type            string        `json:"Type"`
	Applied         int           `json:"Applied"`
	Total           int           `json:"Total"`
	ExecutedAt      time.Time     `json:"ExecutedAt"`
	ExecutionTime   time.Duration `json:"ExecutionTime"` // nanoseconds
	Error           string        `json:"Error,omitempty"`
	ErrorStmt       string        `json:"ErrorStmt,omitempty"`
	OperatorVersion string        `json:"OperatorVersion"`
}

// The statuses of a [Status]. Atlas has the first two.
const (
	OK      = "OK"
	Pending = "PENDING"
	Changed = "CHANGED" // nothing is pending, but applied files were edited or are missing
)

// A Status is where a database stands.
type Status struct {
	Paint      Paint `json:"-"`
	Env        `json:"Env"`
	Available  []File      `json:"Available,omitempty"`
	OutOfOrder []File      `json:"OutOfOrder,omitempty"`
	Pending    []File      `json:"Pending,omitempty"`
	Applied    []*Revision `json:"Applied,omitempty"`
	Current    string      `json:"Current,omitempty"`
	Next       string      `json:"Next,omitempty"`
	// Count and Total are the statements done and present of a migration that
	// is half applied; both are 0 when there is none.
	Count  int    `json:"Count,omitempty"`
	Total  int    `json:"Total,omitempty"`
	Status string `json:"Status,omitempty"`
	Error  string `json:"Error,omitempty"`
	SQL    string `json:"SQL,omitempty"`

	// Edited and Missing are applied migrations whose source changed or is gone.
	Edited  []string `json:"Edited,omitempty"`
	Missing []string `json:"Missing,omitempty"`
	// Ahead are applied migrations newer than all of the directory.
	Ahead []string `json:"Ahead,omitempty"`
	// LastState is the state of the newest unfinished attempt, and LastHolder
	// who ran it.
	LastState  string `json:"LastState,omitempty"`
	LastHolder string `json:"LastHolder,omitempty"`
	// Activity is what goes on in the database because of that attempt.
	Activity string `json:"Activity,omitempty"`
	// History says where the history is kept when it is not the database.
	History string `json:"History,omitempty"`
	// LockedBy is who holds the lock, where it was asked for.
	LockedBy string `json:"LockedBy,omitempty"`

	// Code says that the migration with Count and Total has functions in Go, and
	// so that what failed need not be SQL.
	Code bool `json:"-"`
	// About is the first line of what the next migration says of itself.
	About string `json:"About,omitempty"`
	// Checkpoint says that Next is a snapshot to start from.
	Checkpoint bool `json:"-"`
}

// Left returns how many statements of the half applied migration are left.
func (s *Status) Left() int { return s.Total - s.Count }

// FromCheckpoint reports whether the database will start from a snapshot.
func (s *Status) FromCheckpoint() bool { return s.Checkpoint && len(s.Applied) == 0 }

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// counted returns "3 migrations", "2 migrations ok, 1 with errors" and the
// like, or "" when there is nothing to count.
func counted(word string, ok, failed int) string {
	switch {
	case ok > 0 && failed > 0:
		return fmt.Sprintf("%d %s ok, %d with errors", ok, plural(ok, word), failed)
	case ok > 0:
		return fmt.Sprintf("%d %s", ok, plural(ok, word))
	case failed > 0:
		return fmt.Sprintf("%d %s with errors", failed, plural(failed, word))
	}
	return ""
}

func (p Paint) summary(indent string, took time.Duration, files []*AppliedFile, dryRun bool) string {
	var filesOK, filesFailed, stmtsOK, stmtsFailed, funcsOK, funcsFailed, checksOK, checksFailed int
	for _, f := range files {
		for _, c := range f.Checks {
			for _, s := range c.Stmts {
				if s.Error != nil {
					checksFailed++
				} else {
					checksOK++
				}
			}
		}
		stmtsOK += len(f.Applied) - len(f.Functions)
		funcsOK += len(f.Functions)
		if f.Error == nil {
			filesOK++
			continue
		}
		filesFailed++
		switch {
		case f.checksFailed() || len(f.Applied) == 0:
		case f.Functions[len(f.Applied)-1] && f.refused() == 0:
			funcsOK--
			funcsFailed++
		default:
			n := max(1, f.refused())
			stmtsOK -= n
			stmtsFailed += n
		}
	}
	first := took.String()
	if dryRun {
		first = "dry run: nothing was executed"
	}
	lines := []string{first}
	for _, s := range []string{
		counted("migration", filesOK, filesFailed), checks(checksOK, checksFailed), counted("sql statement", stmtsOK, stmtsFailed),
		counted("function", funcsOK, funcsFailed),
	} {
		if s != "" {
			lines = append(lines, s)
		}
	}
	for i, l := range lines {
		lines[i] = p.Yellow("--") + " " + l
	}
	return strings.Join(lines, "\n"+indent)
}

func checks(ok, failed int) string {
	switch {
	case ok > 0 && failed > 0:
		return fmt.Sprintf("%d %s ok, %d %s", ok, plural(ok, "check"), failed, plural(failed, "failure"))
	case ok > 0:
		return fmt.Sprintf("%d %s", ok, plural(ok, "check"))
	case failed > 0:
		return fmt.Sprintf("%d check %s", failed, plural(failed, "error"))
	}
	return ""
}

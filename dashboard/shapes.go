package dashboard

import (
	"encoding/json"
	"time"

	"github.com/aurora-migrate/aurora"
)

// What the API answers with. docs/dashboard.md describes it for people.

type sessionJSON struct {
	Project        string    `json:"project"`
	Env            string    `json:"env"`
	Protected      bool      `json:"protected"`
	ReadOnly       bool      `json:"readOnly"`
	ReadOnlyReason string    `json:"readOnlyReason,omitempty"`
	Store          string    `json:"store"`
	Target         string    `json:"target,omitempty"`
	User           string    `json:"user,omitempty"`
	CSRF           string    `json:"csrf"`
	Events         string    `json:"events"`
	KnowsFiles     bool      `json:"knowsFiles"`
	Runtime        string    `json:"runtime"`
	Version        string    `json:"version"`
	Now            time.Time `json:"now"`
}

type holderJSON struct {
	aurora.Holder
	Text string `json:"text"`
}

type lockJSON struct {
	Held      bool        `json:"held"`
	Holder    *holderJSON `json:"holder,omitempty"`
	Token     int64       `json:"token,omitempty"`
	ExpiresAt time.Time   `json:"expiresAt,omitzero"`
}

type progressJSON struct {
	Done          int64   `json:"done"`
	Total         int64   `json:"total,omitempty"`
	RatePerSecond float64 `json:"ratePerSecond,omitempty"`
	EtaSeconds    float64 `json:"etaSeconds,omitempty"`
	Activity      string  `json:"activity,omitempty"`
}

type migrationJSON struct {
	ID           string        `json:"id"`
	Version      string        `json:"version"`
	Name         string        `json:"name"`
	Status       string        `json:"status"`
	Language     string        `json:"language,omitempty"`
	Source       string        `json:"source,omitempty"`
	Edited       bool          `json:"edited,omitempty"`
	Reversible   *bool         `json:"reversible,omitempty"`
	Irreversible string        `json:"irreversible,omitempty"`
	Statements   int           `json:"statements,omitempty"`
	Kind         aurora.Kind   `json:"kind,omitempty"`
	Foreign      string        `json:"foreign,omitempty"`
	State        aurora.State  `json:"state,omitempty"`
	Direction    string        `json:"direction,omitempty"`
	ExecutionID  string        `json:"executionId,omitempty"`
	StartedAt    time.Time     `json:"startedAt,omitzero"`
	FinishedAt   time.Time     `json:"finishedAt,omitzero"`
	DurationMs   *float64      `json:"durationMs,omitempty"`
	Steps        *int          `json:"steps,omitempty"`
	Done         *int          `json:"done,omitempty"`
	Died         bool          `json:"died,omitempty"`
	Error        string        `json:"error,omitempty"`
	Holder       *holderJSON   `json:"holder,omitempty"`
	Operator     string        `json:"operator,omitempty"`
	Progress     *progressJSON `json:"progress,omitempty"`
}

type attemptJSON struct {
	ID          string           `json:"id"`
	Version     string           `json:"version"`
	Name        string           `json:"name"`
	ExecutionID string           `json:"executionId"`
	Direction   aurora.Direction `json:"direction"`
	State       aurora.State     `json:"state"`
	Died        bool             `json:"died,omitempty"`
	Kind        aurora.Kind      `json:"kind"`
	Foreign     string           `json:"foreign,omitempty"`
	StartedAt   time.Time        `json:"startedAt,omitzero"`
	FinishedAt  time.Time        `json:"finishedAt,omitzero"`
	DurationMs  *float64         `json:"durationMs,omitempty"`
	Description string           `json:"description,omitempty"`
	Checksum    string           `json:"checksum,omitempty"`
	Steps       int              `json:"steps"`
	Done        int              `json:"done"`
	Begun       int              `json:"begun,omitempty"`
	Checkpoint  json.RawMessage  `json:"checkpoint,omitempty"`
	Error       string           `json:"error,omitempty"`
	ErrorStep   string           `json:"errorStep,omitempty"`
	ErrorPos    string           `json:"errorPos,omitempty"`
	ErrorIndex  *int             `json:"errorIndex,omitempty"`
	Holder      holderJSON       `json:"holder"`
	Operator    string           `json:"operator,omitempty"`
	Reason      string           `json:"reason,omitempty"`

	Output          string          `json:"output,omitempty"`
	OutputDropped   int             `json:"outputDropped,omitempty"`
	OutputTruncated bool            `json:"outputTruncated"`
	OutputOmitted   bool            `json:"outputOmitted,omitempty"`
	Statements      []statementJSON `json:"statements,omitempty"`
	StatementsFrom  string          `json:"statementsFrom,omitempty"`
	Progress        *progressJSON   `json:"progress,omitempty"`
}

// The states of a statement in an attempt.
const (
	stepDone    = "done"
	stepRunning = "running"
	stepFailed  = "failed"
	stepUndone  = "undone" // it ran, and went back with its transaction
	stepUnsure  = "unsure" // a process died around it
	stepPending = "pending"
)

type statementJSON struct {
	Index      int       `json:"index"`
	SQL        string    `json:"sql"`
	Pos        string    `json:"pos,omitempty"`
	Sent       string    `json:"sent,omitempty"`
	Changes    []string  `json:"changes,omitempty"`
	Refused    string    `json:"refused,omitempty"`
	State      string    `json:"state,omitempty"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	DurationMs *float64  `json:"durationMs,omitempty"`
	Go         bool      `json:"go,omitempty"`
	Truncated  bool      `json:"truncated,omitempty"`
}

type executionJSON struct {
	ID         string           `json:"id"`
	Direction  aurora.Direction `json:"direction"`
	State      aurora.State     `json:"state"`
	Died       bool             `json:"died,omitempty"`
	StartedAt  time.Time        `json:"startedAt"`
	EndedAt    time.Time        `json:"endedAt,omitzero"`
	DurationMs *float64         `json:"durationMs,omitempty"`
	Holder     holderJSON       `json:"holder"`
	Operator   string           `json:"operator,omitempty"`
	Reason     string           `json:"reason,omitempty"`
	Counts     countsJSON       `json:"counts"`
	First      string           `json:"first,omitempty"`
	Last       string           `json:"last,omitempty"`
	Error      string           `json:"error,omitempty"`
	ErrorID    string           `json:"errorMigration,omitempty"`
}

type countsJSON struct {
	Total       int `json:"total"`
	Completed   int `json:"completed"`
	Failed      int `json:"failed"`
	Running     int `json:"running"`
	Paused      int `json:"paused"`
	Interrupted int `json:"interrupted"`
}

type summaryJSON struct {
	Pending     int             `json:"pending"`
	Completed   int             `json:"completed"`
	Failed      int             `json:"failed"`
	Total       int             `json:"total"`
	Running     int             `json:"running"`
	Paused      int             `json:"paused"`
	Interrupted int             `json:"interrupted"`
	RolledBack  int             `json:"rolledBack"`
	OutOfOrder  int             `json:"outOfOrder"`
	Covered     int             `json:"covered"`
	Edited      int             `json:"edited"`
	Missing     int             `json:"missing"`
	Ahead       int             `json:"ahead"`
	Ready       bool            `json:"ready"`
	Current     string          `json:"current"`
	Head        string          `json:"head"`
	Lock        lockJSON        `json:"lock"`
	Active      []migrationJSON `json:"active"`
	Run         *runJSON        `json:"run,omitempty"`
	KnowsFiles  bool            `json:"knowsFiles"`
	FilesError  string          `json:"filesError,omitempty"`
	Now         time.Time       `json:"now"`
}

type runJSON struct {
	ExecutionID string           `json:"executionId"`
	Direction   aurora.Direction `json:"direction"`
	Target      string           `json:"target,omitempty"`
	Reason      string           `json:"reason,omitempty"`
	By          string           `json:"by,omitempty"`
	State       string           `json:"state"`
	WaitingFor  *lockJSON        `json:"waitingFor,omitempty"`
	Error       string           `json:"error,omitempty"`
	Problem     *problem         `json:"problem,omitempty"`
	StartedAt   time.Time        `json:"startedAt"`
	EndedAt     time.Time        `json:"endedAt,omitzero"`
	Planned     int              `json:"planned,omitempty"`
	Completed   int              `json:"completed,omitempty"`
	Migration   string           `json:"migration,omitempty"`
	Progress    *progressJSON    `json:"progress,omitempty"`
}

type planJSON struct {
	Direction   aurora.Direction `json:"direction"`
	Head        string           `json:"head"`
	Current     string           `json:"current"`
	Target      string           `json:"target"`
	CurrentID   string           `json:"currentId,omitempty"`
	TargetID    string           `json:"targetId,omitempty"`
	Count       int              `json:"count"`
	Items       []planItemJSON   `json:"items"`
	Possible    bool             `json:"possible"`
	Blocked     *problem         `json:"blocked,omitempty"`
	Confirm     string           `json:"confirm,omitempty"`
	NeedsReason bool             `json:"needsReason"`
	Skipped     []skippedJSON    `json:"skipped,omitempty"`
	Baseline    string           `json:"baseline,omitempty"` // recorded first
	Import      int              `json:"import,omitempty"`   // of another tool's history, recorded first
}

type planItemJSON struct {
	ID           string           `json:"id"`
	Version      string           `json:"version"`
	Name         string           `json:"name"`
	Direction    aurora.Direction `json:"direction"`
	Steps        int              `json:"steps"`
	Resumes      bool             `json:"resumes,omitempty"`
	Irreversible string           `json:"irreversible,omitempty"`
	Description  string           `json:"description,omitempty"`
	Language     string           `json:"language,omitempty"`
	Statements   []statementJSON  `json:"statements,omitempty"`
}

type skippedJSON struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

func between(start, end time.Time) *float64 {
	if start.IsZero() || end.Before(start) {
		return nil
	}
	ms := float64(end.Sub(start).Microseconds()) / 1000
	return &ms
}

package aurora

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// A Direction says whether migrations are applied or rolled back.
type Direction string

// The two directions. The zero value of a [Request] means [Up].
const (
	Up   Direction = "up"
	Down Direction = "down"
)

// A TxMode says how the statements of a migration are grouped in transactions
// where the database can choose. The words are Atlas's.
type TxMode string

// The transaction modes. The zero value leaves the choice to the request, and
// after that to the database: one transaction a migration on PostgreSQL.
const (
	TxFile TxMode = "file" // one transaction for each migration and its revision
	TxAll  TxMode = "all"  // one transaction for the whole run
	TxNone TxMode = "none" // each statement commits alone
)

// A Migration is one versioned change, up and perhaps down.
type Migration struct {
	// Version orders the migration: digits compare as numbers, the rest as
	// bytes. See [CompareVersions].
	Version string
	// Name says in a word or two what it does; [Migration.ID] joins both.
	Name string
	// Description is markdown. Every revision keeps the one that was true when
	// it ran.
	Description string
	// Checksum is the fingerprint of the source, as [Checksum] makes it. Empty
	// means unknown, and is never compared.
	Checksum string
	// Source names the file it came from, for messages.
	Source string
	// TxMode is the migration's own wish; it overrides the request's.
	TxMode TxMode
	// Snapshot marks a migration that stands for all before it on a database
	// without history, and is skipped on any other. Atlas calls it a
	// checkpoint, a word that means progress here.
	Snapshot bool
	// Checks gate the way up: unless each holds, no step runs.
	Checks []Check
	// Up and Down are the steps in the order in which they run.
	Up, Down []Step
	// Irreversible says why there is no Down.
	Irreversible string
}

// ID returns the file stem, "<version>_<name>", or the version alone.
func (m Migration) ID() string { return migrationID(m.Version, m.Name) }

func migrationID(version, name string) string {
	if name == "" {
		return version
	}
	return version + "_" + name
}

// Steps returns the steps of one direction.
func (m Migration) Steps(d Direction) []Step {
	if d == Down {
		return m.Down
	}
	return m.Up
}

// Statements returns the steps of one direction as statements, and false when
// one of them is something else.
func (m Migration) Statements(d Direction) ([]Statement, bool) {
	steps := m.Steps(d)
	out := make([]Statement, len(steps))
	for i, step := range steps {
		s, ok := step.(Statement)
		if !ok {
			return nil, false
		}
		out[i] = s
	}
	return out, true
}

// A Check is a group of SQL queries that must hold before a migration runs.
// Each query returns one row of one boolean column.
type Check struct {
	Name       string // the file's name within the archive
	Statements []Statement
	OneOf      bool // one true query is enough; otherwise all must be true
}

// A Step is one part of a migration: a [Statement], a [Func], or what another
// package makes of it, such as the TxFunc of package postgres.
type Step interface {
	// Run does the step's work. An error stops the run; an error that wraps
	// [ErrPaused] stops it until the next run goes on from the checkpoint.
	Run(ctx context.Context, env *Env) error
	// String describes the step in a line: the SQL text, or the function's name.
	String() string
}

// A Statement is a step of one SQL statement.
type Statement struct {
	SQL  string // the text as it is sent, without the closing semicolon
	File string // where it was read
	Line int    // the line of its first character, from 1
}

// Run hands the statement to the environment's database.
func (s Statement) Run(ctx context.Context, env *Env) error {
	if env.Database == nil {
		return fmt.Errorf("%s: no database to run the statement on", s.Pos())
	}
	return env.Database.Exec(ctx, s)
}

// String returns the SQL text.
func (s Statement) String() string { return s.SQL }

// Pos returns "file:line", or what is known of it.
func (s Statement) Pos() string {
	switch {
	case s.File == "":
		return fmt.Sprintf("line %d", s.Line)
	case s.Line == 0:
		return s.File
	}
	return fmt.Sprintf("%s:%d", s.File, s.Line)
}

// A Func is a step of Go code. It must be idempotent from its last checkpoint
// on: a process that was killed runs it again from there.
type Func struct {
	Name string
	Do   func(ctx context.Context, env *Env) error
}

// Run calls the function.
func (f Func) Run(ctx context.Context, env *Env) error { return f.Do(ctx, env) }

// String returns the function's name.
func (f Func) String() string { return f.Name }

// StepHash returns the fingerprint of a step, which a later run compares with
// what already ran. A function's is its name: code has no text to compare.
func StepHash(s Step) string {
	sum := sha256.Sum256([]byte(s.String()))
	return hex.EncodeToString(sum[:16])
}

// checksumPrefix names the algorithm and its version, so that a later one can
// tell rows that it must not recompute.
const checksumPrefix = "sha256-v1:"

// Checksum returns the fingerprint of a migration's source as "sha256-v1:…".
// A byte order mark and the kind of line ends do not count, so that a checkout
// on another system is not a change.
func Checksum(source string) string {
	source = strings.TrimPrefix(source, "\ufeff")
	source = strings.ReplaceAll(source, "\r\n", "\n")
	sum := sha256.Sum256([]byte(source))
	return checksumPrefix + hex.EncodeToString(sum[:])
}

// checksumsDiffer reports a change that is certain: checksums of another
// algorithm, or none at all, prove nothing.
func checksumsDiffer(a, b string) bool {
	return strings.HasPrefix(a, checksumPrefix) && strings.HasPrefix(b, checksumPrefix) && a != b
}

package wire

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

// Config says how the connections to one cluster are served.
type Config struct {
	// TLS has the certificate that clients see. They cannot log in without TLS.
	TLS *tls.Config
	// Auth says whether a client may log in and where its backend is. A refusal
	// is sent as FATAL. It may be called from several goroutines.
	Auth func(context.Context, Login) (Backend, *policy.Refusal)
	// Policy decides about statements; *policy.Policy is one.
	Policy Policy
	Limits Limits
	// Hooks are the faults of all sessions whose Backend has none; nil for none.
	Hooks Hooks
	// Conflicts says which statements meet a change of the schema.
	Conflicts Conflicts
	// Changed is called after each commit that changed the schema or made a
	// job, before its client knows. It must not block.
	Changed func()
	// SyntaxHint is the HINT of syntax errors that have none.
	SyntaxHint string
	// Logger is told why connections end; nil means nobody is.
	Logger *slog.Logger
}

// Policy is what the proxy asks about statements and start parameters; see
// [policy.Policy].
type Policy interface {
	Decide(sql string) *policy.Decision
	Split(sql string) []string
	CheckParameter(name, value string) *policy.Refusal
}

// Conflicts says which statements fail with OC001 because another session has
// changed the schema.
type Conflicts uint8

// The ways to find conflicts with changes of the schema.
const (
	Touching    Conflicts = iota // those that mention a changed object
	Strict                       // the next one of every session
	NoConflicts                  // none
)

// Limits are DSQL's limits of transactions and connections. A zero field means
// DSQL's own, a negative one no limit.
type Limits struct {
	Rows       int64         // changed by a transaction; 3,000
	Bytes      int64         // changed by a transaction, about; 10 MiB
	Age        time.Duration // of a transaction; 5 minutes
	Connection time.Duration // life of a connection; 60 minutes
	Message    int64         // size of a message in bytes; 10 MiB
}

// The limits of DSQL, of which dsql-facts says where they come from.
const (
	limitRows       = 3000
	limitBytes      = 10 << 20
	limitAge        = 5 * time.Minute
	limitConnection = 60 * time.Minute
	limitMessage    = 10 << 20
)

func (l Limits) filled() Limits {
	fill(&l.Rows, limitRows)
	fill(&l.Bytes, limitBytes)
	fill(&l.Age, limitAge)
	fill(&l.Connection, limitConnection)
	fill(&l.Message, limitMessage)
	return l
}

func fill[T int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// exceeds reports whether a value is over a limit, of which a negative one is
// none.
func exceeds[T int64 | time.Duration](value, limit T) bool { return limit >= 0 && value > limit }

// Login is what a client says when it connects.
type Login struct {
	ServerName string // of TLS; empty when the client did not send one
	User       string
	Database   string // the user's name when the client did not say
	Password   string
	// Parameters are the other start parameters, with those in options, by their
	// names in lower case.
	Parameters map[string]string
}

// Backend is where a session goes on.
type Backend struct {
	// Config says how to reach PostgreSQL, and as which role. Its RuntimeParams
	// win over what the client asked for.
	Config *pgconn.Config
	// Hooks are the faults of this session; nil for those of the [Config].
	Hooks Hooks
}

// Hooks are faults on demand. The methods are called from many goroutines.
type Hooks interface {
	// Commit is called before each commit that wrote something, of a statement
	// outside of a block too. A refusal makes that commit fail.
	Commit() *policy.Refusal
	// Statement is called before a statement runs, with the client's text.
	Statement(sql string) Fault
}

// Fault is what shall happen to a statement. The zero value lets it run.
type Fault struct {
	Refusal    *policy.Refusal // it fails so
	DropBefore bool            // the connection ends before it has run
	DropAfter  bool            // the connection ends after it has, its answer is lost
	Delay      time.Duration   // before it runs
}

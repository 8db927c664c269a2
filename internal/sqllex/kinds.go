package sqllex

// StatementKind says what a statement does, as far as running it goes.
type StatementKind uint8

// The kinds of statements.
const (
	Other StatementKind = iota // not known, or not SQL
	Empty                      // nothing but space, comments and semicolons

	// Definitions. Info.Object names what CreateOther, AlterOther and DropOther
	// are about.
	CreateTable
	CreateTableAs // also SELECT … INTO
	CreateIndex
	CreateOther
	AlterTable
	AlterOther
	DropTable
	DropIndex
	DropOther
	Reindex
	RefreshMaterializedView
	Cluster
	CommentOn
	SecurityLabel
	Grant
	Revoke
	ReassignOwned
	DropOwned
	ImportForeignSchema

	// Data.
	Select // also VALUES, TABLE, and WITH in front of them
	Insert
	Update
	Delete
	Merge
	Truncate
	CopyFrom
	CopyTo

	// Transactions.
	Begin // also START TRANSACTION
	Commit
	Rollback // also ABORT
	Savepoint
	ReleaseSavepoint
	RollbackToSavepoint
	PrepareTransaction
	CommitPrepared
	RollbackPrepared

	// The session.
	Set            // also SET SESSION
	SetLocal       // for the transaction only
	SetTransaction // also SET SESSION CHARACTERISTICS
	SetConstraints
	Reset
	Show
	Discard
	Prepare
	Execute
	Deallocate
	Declare
	Fetch // also MOVE
	Close
	Listen
	Notify
	Unlisten
	Load

	// Everything else.
	Call
	Do
	Explain
	Lock
	Vacuum
	Analyze
	Checkpoint
)

var statementKindNames = [...]string{
	"Other", "Empty",
	"CreateTable", "CreateTableAs", "CreateIndex", "CreateOther", "AlterTable", "AlterOther",
	"DropTable", "DropIndex", "DropOther", "Reindex", "RefreshMaterializedView", "Cluster",
	"CommentOn", "SecurityLabel", "Grant", "Revoke", "ReassignOwned", "DropOwned", "ImportForeignSchema",
	"Select", "Insert", "Update", "Delete", "Merge", "Truncate", "CopyFrom", "CopyTo",
	"Begin", "Commit", "Rollback", "Savepoint", "ReleaseSavepoint", "RollbackToSavepoint",
	"PrepareTransaction", "CommitPrepared", "RollbackPrepared",
	"Set", "SetLocal", "SetTransaction", "SetConstraints", "Reset", "Show", "Discard",
	"Prepare", "Execute", "Deallocate", "Declare", "Fetch", "Close", "Listen", "Notify", "Unlisten", "Load",
	"Call", "Do", "Explain", "Lock", "Vacuum", "Analyze", "Checkpoint",
}

// String gives the name of the constant.
func (k StatementKind) String() string {
	if int(k) < len(statementKindNames) {
		return statementKindNames[k]
	}
	return "StatementKind?"
}

// ActionKind is what one part of an ALTER TABLE does.
type ActionKind uint8

// The kinds of ALTER TABLE actions.
const (
	OtherAction ActionKind = iota
	AddColumn
	DropColumn
	AlterColumnType
	SetDefault
	DropDefault
	SetNotNull
	DropNotNull
	AlterColumn // any other ALTER COLUMN
	AddConstraint
	DropConstraint
	AlterConstraint
	ValidateConstraint
	RenameTable
	RenameColumn
	RenameConstraint
	SetSchema
	OwnerTo
	AttachPartition
	DetachPartition
)

var actionKindNames = [...]string{
	"OtherAction", "AddColumn", "DropColumn", "AlterColumnType", "SetDefault", "DropDefault",
	"SetNotNull", "DropNotNull", "AlterColumn", "AddConstraint", "DropConstraint", "AlterConstraint",
	"ValidateConstraint", "RenameTable", "RenameColumn", "RenameConstraint", "SetSchema", "OwnerTo",
	"AttachPartition", "DetachPartition",
}

// String gives the name of the constant.
func (k ActionKind) String() string {
	if int(k) < len(actionKindNames) {
		return actionKindNames[k]
	}
	return "ActionKind?"
}

// Info is what [Classify] found out about a statement. Offsets and spans are
// those of the statement's text.
type Info struct {
	Kind StatementKind
	// Object is what CREATE, ALTER, DROP, COMMENT ON and REINDEX are about, in
	// upper case: "TABLE", "MATERIALIZED VIEW", "FOREIGN TABLE".
	Object string
	// Name is the object: the table, the index (empty when the server is to
	// choose one), the setting of SET.
	Name Name
	// Names are all objects of a DROP or TRUNCATE; Name is the first of them.
	Names []Name

	IfExists, IfNotExists bool
	OrReplace             bool // CREATE OR REPLACE
	Temporary             bool // CREATE TEMP TABLE and the like
	Cascade               bool // DROP … CASCADE

	// Table is the table of CREATE INDEX, CREATE TRIGGER, CREATE POLICY and
	// CREATE RULE.
	Table Name
	// Index is set for CreateIndex.
	Index Index
	// Actions are the parts of AlterTable, in order.
	Actions []Action

	// Concurrently and Async say that the word stands there; Mode is where.
	// Async is meant for Aurora DSQL: PostgreSQL takes "CREATE INDEX async ON
	// t (a)" for an index of that name.
	Concurrently, Async bool
	Mode                Span
	// ModeAt is where CONCURRENTLY or ASYNC would have to be inserted, with a
	// space before it: right behind INDEX of CREATE INDEX, DROP INDEX and
	// REINDEX INDEX, or behind TABLE of ALTER TABLE. It is 0 elsewhere.
	ModeAt int

	// WritesInWith: a WITH query contains INSERT, UPDATE, DELETE or MERGE.
	WritesInWith bool
	// LocksRows: SELECT … FOR UPDATE, FOR SHARE and the like.
	LocksRows bool
	// Stdio: COPY reads from or writes to the client.
	Stdio bool

	// alone: PostgreSQL refuses the statement in a transaction block.
	alone bool
}

// Index is what a CREATE INDEX says.
type Index struct {
	Unique  bool
	Only    bool   // ON ONLY
	Partial bool   // has WHERE
	Method  string // of USING, in lower case; empty when it is not said
	Using   Span   // USING and the method
}

// Action is one part of an ALTER TABLE.
type Action struct {
	Kind ActionKind
	// Name is the column, constraint, partition, or new table name, schema or
	// owner. It is empty for a constraint that the server is to name.
	Name string
	// NewName is what RenameColumn and RenameConstraint end in.
	NewName               string
	IfExists, IfNotExists bool
	NotValid              bool // ADD CONSTRAINT … NOT VALID
	Concurrently          bool // DETACH PARTITION … CONCURRENTLY
	Span                  Span // the action, without the comma behind it
}

// CannotRunInTransaction reports whether PostgreSQL refuses the statement in a
// transaction block (its sources call PreventInTransactionBlock for it). Some
// statements are refused for what the catalog says, which is not known here:
// REINDEX or CLUSTER of a partitioned table, and CALL or DO of code that
// commits. DROP SUBSCRIPTION counts as refused, as it is unless its slot was
// detached. ASYNC of Aurora DSQL is not refused.
func (i Info) CannotRunInTransaction() bool { return i.alone }

// IsDDL reports whether the statement defines things: what PostgreSQL logs with
// log_statement = ddl (src/backend/tcop/utility.c), and REINDEX.
func (i Info) IsDDL() bool {
	return i.Kind >= CreateTable && i.Kind <= ImportForeignSchema
}

// IsDML reports whether the statement changes rows: what PostgreSQL logs with
// log_statement = mod besides DDL, and SELECT with such a WITH query.
func (i Info) IsDML() bool {
	switch i.Kind {
	case Insert, Update, Delete, Merge, Truncate, CopyFrom:
		return true
	}
	return i.WritesInWith
}

// IsReadOnlyQuery reports whether the statement is a SELECT, VALUES or TABLE
// that changes no rows and takes no row locks by itself; what the functions do
// that it calls is not known.
func (i Info) IsReadOnlyQuery() bool {
	return i.Kind == Select && !i.WritesInWith && !i.LocksRows
}

// IsTransactionControl reports whether the statement begins or ends a
// transaction or works on savepoints.
func (i Info) IsTransactionControl() bool {
	return i.Kind >= Begin && i.Kind <= RollbackPrepared
}

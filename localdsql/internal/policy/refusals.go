package policy

// What is refused for the state of a session, not for the text of a statement.
// The texts are those of the rules; docs/dsql.md says where they come from.
var (
	// SecondDDL is for a second DDL statement in a transaction.
	SecondDDL = Refusal{Code: "0A000", Message: "multiple ddl statements not supported in a transaction"}
	// DDLWithDML is for DDL and DML in one transaction, in either order.
	DDLWithDML = Refusal{Code: "0A000", Message: "ddl and dml are not supported in the same transaction"}
	// TooManyRows is for the statement that changes the 3,001st row.
	TooManyRows = Refusal{Code: "54000", Message: "transaction row limit exceeded"}
	// TooManyBytes is for a commit of more than 10 MiB; its Detail names the MiB.
	TooManyBytes = Refusal{Code: "54000", Message: "transaction size limit 10mb exceeded"}
	// TooOld is for a transaction of more than 300 s; its Detail names them.
	TooOld = Refusal{Code: "54000", Message: "transaction age limit of 300s exceeded"}
	// DataConflict is for the commit that comes second.
	DataConflict = Refusal{Code: "40001", Message: "change conflicts with another transaction (OC000)"}
	// SchemaConflict is for the next statement of a session that has not seen a
	// change of the schema.
	SchemaConflict = Refusal{Code: "40001", Message: "schema has been updated by another transaction (OC001)"}
	// WaitInBlock is for CALL sys.wait_for_job between BEGIN and COMMIT. That it
	// is refused is known; the words are PostgreSQL's for other statements.
	WaitInBlock = Refusal{Code: "25001", Message: "CALL sys.wait_for_job cannot run inside a transaction block"}
)

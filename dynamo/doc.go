// Package dynamo keeps the history and the lease of projects in one DynamoDB
// table, for migrations that do not run on a database that could keep them.
//
// # The table
//
// The key is PK and SK; two indexes hold nothing but keys. All are texts, and
// [Names] can rename them. The table is paid by request, or has the capacity
// for some writes a second. Time to live must be off. [Store.CreateTable] makes
// one for development.
//
// Every item of a project has the PK "aurora#<project>":
//
//	SK                                        what                             indexes
//	lease                                     the lease
//	latest#<version>                          newest revision of a migration,
//	                                          without description and output
//	run#<execution>                           a run                            GSI1
//	run#<execution>#<version>                 a revision, without description
//	                                          and output                       GSI2
//	text#<execution>#<version>#output#0000    a revision's output
//	text#<execution>#<version>#description#0000
//	journal#<save>#0000                       a large Save that is under way
//
// A "#" or "%" within a name is written %23 or %25; a name, a version and an
// identifier may have 400 bytes so written. GSI1 lists runs: its PK is the
// table's, its SK "<token>#<seq>#<execution>" of the newest revision, in 19 and
// 10 digits. GSI2 lists the attempts at a migration: PK
// "aurora#<project>#<version>", SK the same.
//
// The attribute data is the revision as JSON. A content of more than 4 KB is
// gzip in the attribute gz instead, and one that still has more than 300 KB goes
// on in items "…#0001" and so on: parts, outputParts and descriptionParts count
// them. The lease has fencingToken, held, holder (JSON), ttlMillis, endsMillis,
// dated, beat, mark, saves, lastSave and journal, which are explained below.
//
// # The lease
//
// DynamoDB compares what a condition names, but no condition can name the time.
// So nothing that must hold depends on any clock: who takes the lease raises
// fencingToken under the condition that nothing changed, and each write of the
// history is a transaction that fails unless the lease still has the writer's
// token. An old holder can be late by an hour and write nothing.
//
// What clocks decide is only when somebody else may take the lease, and none
// is compared with that of another machine. Renewing changes beat. The holder
// counts the time to live on its own monotonic clock, from before it asked to
// renew, and stops at its end. A waiter counts on its own too, from after it
// first saw this token and this beat, and takes the lease if both still stand a
// time to live later. The holder's count began first, so it ends first. This is
// how AWS's own lock client for DynamoDB works; it assumes that the monotonic
// clocks of two machines run equally fast. One that stands still, of a
// suspended machine, makes a waiter wait longer, and a holder go on that is
// already fenced off, until its next write or renewal.
//
// A process that has only just come, a day after the holder died, would have to
// watch for a time to live as well. It need not: DynamoDB's answers have a Date,
// which is a clock that all see alike (the SDK and signatures rely on it). The
// holder writes down by that clock when its lease will have ended (endsMillis;
// dated says that an answer had told the time), and a lease is also free when
// the Date of the answer that shows it is past its end by another time to live,
// ten seconds at least. That margin is wide because the Date has whole seconds
// and AWS promises nothing about it.
//
// Until one of the two is the case, [Store.Locked] and [Store.Acquire] say that
// a dead holder's lease is held: at most for a time to live that a process
// looks on. [Store.Break] ends it at once.
//
// # Saving
//
// A Save is one TransactWriteItems request: the lease, which counts saves, and
// for each revision its item, that of its migration, and those of texts that
// changed. The count is also a condition, so that a request which was given up
// and arrives later changes nothing; lastSave tells, when answers were lost,
// whether the request itself was. Whoever asks for the lease or breaks it
// leaves a mark there for the same purpose.
//
// A transaction takes 100 items and 4 MB. A larger Save is first written as a
// journal, compressed. It has happened when the lease's item names that
// journal, which is one transaction; its items are then put in their places,
// in transactions of 99, and the name is removed. Readers that find a name read
// the journal with the rest. Whoever takes the lease finishes what it finds. So
// a Save of any size is all or none, whenever its process is killed.
//
// # Reading
//
// All reads are strongly consistent, but for the indexes, which only say where
// to look: [Store.Executions] may miss a run that wrote moments ago, and
// [Store.Revisions] knows the newest attempt without them. A read of several
// pages is no snapshot: without the lease it may see some revisions of a Save
// that happens meanwhile before the others.
//
// # Requests
//
// Reading the newest revisions is one query for each megabyte, about 2,000
// migrations. Taking the lease costs a read and a write, waiting for it one
// read each time, renewing and releasing it a write each; a checkpoint is one
// transaction. Throttling, conflicts between transactions, the server's own
// errors and lost connections are retried up to 12 times within about ten
// seconds. Credentials that have expired are asked for anew, once.
//
// # Rights
//
// A run needs dynamodb:GetItem, Query, UpdateItem, PutItem and DeleteItem on the
// table and Query on its indexes; a look at the history GetItem and Query.
// DescribeTable makes errors about the table's shape precise.
package dynamo

// Package wire speaks the PostgreSQL protocol with the clients of local DSQL
// and stands between them and a PostgreSQL server: it asks a policy about every
// statement and adds the rules that need the state of a session, such as one
// DDL per transaction, 3,000 rows and conflicts.
//
// # Refusing
//
// The proxy never answers a statement by itself, because its answer could
// arrive out of order and the server would not know of it. What is refused is
// poisoned: the server is sent a query that must fail, and the client sees the
// refusal in place of that error. The server thereby keeps all state of the
// protocol: the order of the answers in a pipeline, what is skipped until the
// next Sync, the failed transaction, and that a failed transaction refuses
// everything (25P02) before anything else is looked at.
//
// # Waiting
//
// Every message that will be answered is an entry in a queue, which the reader
// of the answers takes from. What a session is in the middle of (a transaction
// block, with DDL, with how many rows) is never predicted from what was sent:
// when a statement that changes it was sent, nothing else is forwarded until
// its completion is back. Queries that only read pass without waiting.
//
// The completion of a statement that changes rows is kept back until they are
// counted. A commit that must fail is replaced by a ROLLBACK that the client
// does not see and a poisoned statement; the implicit commit of a Sync by a
// poisoned statement in front of it.
package wire

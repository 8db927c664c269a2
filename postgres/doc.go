// Package postgres runs migrations on PostgreSQL and keeps their history and
// lease in the same database, through pgx.
//
// A migration is one transaction together with its revision. All that are
// pending stream through one pipeline: each is an implicit transaction that
// begins with a guard and ends with the revision,
//
//	guard  fails unless the lease is ours and the migration before completed
//	…      the migration's checks and statements
//	save   the revision; fails unless the lease is still ours, and holds it
//	Sync   commits
//
// so that nobody waits for answers in between and yet one failure makes every
// later transaction of the stream fail at its guard, on the server. A migration
// with "atlas:txmode none", or with a statement that PostgreSQL refuses inside
// a transaction, leaves the stream and runs statement by statement instead.
//
// The save takes a share lock on the lease's row for the instant until the
// commit. Taking the lease over needs that row exclusively, so no transaction
// of an old holder commits after a new one has begun.
package postgres

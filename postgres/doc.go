// Package postgres runs migrations on PostgreSQL and keeps their history and
// lease in the same database, through pgx.
//
// A migration is one transaction together with its revision. All that are
// pending stream through one pipeline,
//
//	BEGIN
//	guard   fails unless the lease is ours and the migration before completed
//	…       the migration's checks and statements
//	…       what brings settings and role back, if they may have changed
//	save    the revision; fails unless the lease is still ours, and locks it
//	COMMIT
//	Sync
//
// so that nobody waits for answers in between and yet one failure makes every
// later transaction of the stream fail too, on the server. The transaction is
// an explicit one: in the implicit one that a pipeline has anyway, a DO block
// may commit half of a migration. A migration with "atlas:txmode none", or with
// a statement that PostgreSQL refuses inside a transaction, leaves the stream
// and runs statement by statement instead.
//
// The save locks the lease's row for the instant until the commit, against
// takeovers but not against renewals. A takeover first ends the old holder's
// session, if it is still there, and waits for that lock; so no transaction of
// an old holder commits after a new one has begun.
package postgres

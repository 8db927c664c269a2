// Package backfill changes data in batches, from inside a step of a migration
// written in Go: [Rows] those of a table of PostgreSQL or Aurora DSQL, [Items]
// those of a DynamoDB table. Their method Run is such a step:
//
//	aurora.Func{Name: "fill full_name", Do: backfill.Rows{
//		Table: "users",
//		SQL:   `UPDATE users SET full_name = first_name || ' ' || last_name WHERE {range}`,
//	}.Run}
//
// Rows connects to the environment's database unless told otherwise.
//
// Several workers go through parts of the key, batch by batch, at a size that
// follows the time a batch takes. They stop for the deadline between two
// batches, and the next run goes on where they were.
//
// # What happens exactly once
//
// Rows moves a row of a small table of its own, aurora_backfills, in the
// transaction of every batch. A batch therefore happens once or not at all,
// whatever is killed and whenever: an UPDATE that adds one to a counter adds
// one. The same row refuses the batches of a process that lost its lease and
// does not know it yet, so two processes never work the same part. A callback
// ([Rows.Do]) is held to the same as long as what it does goes through its
// transaction.
//
// With [Rows.Idempotent] there is no such table and one statement less for each
// batch, and what a second run of SQL would do again is the caller's business:
// what was done since the last checkpoint, about a second, is done again after
// a kill.
//
// Items has no transaction to put its place into. It goes on from the last
// checkpoint, a second old at most and a page at least, and visits those items
// again: an update that must happen once says so in its condition, and an item
// whose condition does not hold counts as one that needs nothing. See the
// example of Items.
//
// # Checkpoints
//
// The place of every part is saved through [aurora.Env.Checkpoint] about once a
// second and when Run ends for whatever reason. A step may run several
// backfills one after the other, under different names, and keeps no checkpoint
// of its own beside them.
package backfill

// Package dsql runs migrations on Aurora DSQL and keeps their history and lease
// in the same cluster. It knows what DSQL does its own way: which statements it
// refuses, and which it takes if they are spelt its way.
//
// On DSQL a transaction holds one definition at most, and no changes of rows
// with it, so each statement commits alone and the place that a migration has
// reached is saved beside it. [DB.Stream] sends one flush a statement,
//
//	save        the place, and that the statement is about to run
//	Sync
//	statement
//	Sync
//
// and what changes rows in one transaction with its place, so that it happens
// exactly once:
//
//	BEGIN
//	statements
//	save        fails unless the lease is ours and the place is not saved yet
//	COMMIT
//	Sync
//
// A process that dies in between leaves a statement of which it is not known
// whether it ran; the next one looks in the catalog. So does a process that
// lost its connection. Whatever lost against another transaction (40001) is
// sent again. The jobs that build indexes and validate constraints are stored
// in the revision, and awaited by the first statement that needs what they
// make, or else at the migration's end; what the catalog says of it counts.
//
// The rules are data, in rules/*.json, with the dates between which they hold:
// DSQL learns something nearly every month, and every table of refusals that is
// code gets old. [Builtin] gives them, [ReadRules] reads others, and
// [Rules.At] makes a [Profile] of what holds on a day.
//
// Code and data meet in features. The code reads the tokens of a statement,
// never its text, and names what is special in it, such as "create table/temp",
// "type/inet" or "set/lock_timeout". The data says which features are refused,
// since when and until when, with which SQLSTATE and message. A feature that no
// rule matches passes, as does all that the code has no name for: the server
// decides, and a refusal that is wrong costs more than one that comes late.
//
// [Check] reports what a profile refuses. [Rewrite] replaces what can be spelt
// differently without meaning something else: it replaces ranges of tokens and
// reports each as a [Change].
package dsql

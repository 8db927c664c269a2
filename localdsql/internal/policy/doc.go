// Package policy decides about every statement that a client sends to a local
// DSQL: whether Aurora DSQL would refuse it, and with which words; what the
// PostgreSQL behind it is sent instead of what PostgreSQL cannot read or would
// do differently; and what the statement counts as in a transaction.
//
// It knows the text of one statement and nothing else. What depends on the
// catalog is decided by triggers in the database, what depends on the
// transaction by the wire protocol's proxy. The refusals are data: those of
// package dsql that hold on the [dsql.Profile]'s day.
//
// A text that no server could read is passed on as it is, so that PostgreSQL
// says what is wrong with it.
package policy

// Package dsql knows what Aurora DSQL does its own way. So far it holds the
// part that needs no connection: which statements DSQL refuses, and the few it
// would take if they were spelt its way.
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
// differently without meaning something else, [ForPostgreSQL] does the reverse.
// Both replace ranges of tokens and report each as a [Change].
package dsql

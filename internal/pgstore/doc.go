// Package pgstore is what a history in PostgreSQL and one in Aurora DSQL have
// in common: connections that are opened again when they broke, the tables and
// queries of the history, the lease, what other tools left behind, and the
// errors of statements and checks. A [Dialect] says what differs; how
// statements run is the business of the packages postgres and dsql.
package pgstore

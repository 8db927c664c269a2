// Package aurora is the vocabulary and the loop of aurora, which runs
// migrations for AWS's serverless databases.
//
// A [Migration] is one versioned change: a list of [Step] values up and a list
// down. A [Request] says what is wanted; [NewPlan], a pure function, turns the
// migrations, the newest [Revision] of each and the request into a [Plan].
// A [Runner] takes the [Lease] from a [Store], makes the plan, runs each step
// and saves the checkpoint; what it did is an [Execution].
//
// The package imports only the standard library. Where migrations come from
// (package sqlfile, or a slice of Go values), what keeps their history
// (packages postgres and auroratest, for example) and which door a request
// came through (package cli) are other packages' business.
//
// The states of a revision and the life of a lease are drawn in docs/states.md;
// docs/architecture.md explains the layers.
package aurora

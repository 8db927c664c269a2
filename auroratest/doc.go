// Package auroratest helps to test what is built on package aurora.
//
// [Memory] is a store that lives in memory: give it to an [aurora.Runner] to
// test migrations written in Go without a database. Its clock can be set, and
// its operations can be made to fail.
//
// [Run] is the contract of [aurora.Store], [aurora.Lease], [aurora.History] and
// [aurora.Locker] in code. A new kind of store is done when it passes.
package auroratest

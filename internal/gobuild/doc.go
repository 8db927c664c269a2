// Package gobuild knows about migration directories that are Go packages: what
// is in them, what is wrong with them, how one is added, and how a program is
// built around one with the user's Go toolchain.
//
// A migration in Go is a value of type aurora.Migration that the package lists
// in a slice, var Migrations. Its file is named <version>_<name>.go, as a .sql
// file would be. [Read] looks at a directory without compiling it, [Package.Check]
// compares the slice with the files, [New] writes a migration's files and its
// line in the slice, and [Build] makes the program.
package gobuild

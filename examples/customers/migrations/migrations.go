// Package migrations lists the migrations of this directory that are written in
// Go. The .sql files run before, between and after them.
package migrations

import "github.com/aurora-migrate/aurora"

// Migrations are in the order of their versions.
var Migrations = []aurora.Migration{
	fillFullName,
}

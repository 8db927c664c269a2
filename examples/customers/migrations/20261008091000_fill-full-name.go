package migrations

import (
	_ "embed"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/backfill"
)

//go:embed 20261008091000_fill-full-name.go
var fillFullNameSource string

var fillFullName = aurora.Migration{
	Version:  "20261008091000",
	Name:     "fill-full-name",
	Checksum: aurora.Checksum(fillFullNameSource),
	Description: `# Fills full_name

In batches, since a transaction of Aurora DSQL may change 3,000 rows. It may be
stopped at any time and goes on where it was.

- Names that the new release has written already stay as they are.
- The contract (20261015090000) needs it.`,
	Up: []aurora.Step{aurora.Func{Name: "fill full_name", Do: backfill.Rows{
		Table: "customers",
		SQL:   `UPDATE customers SET full_name = first_name || ' ' || last_name WHERE {range} AND full_name IS NULL`,
	}.Run}},
	Down: []aurora.Step{aurora.Func{Name: "clear full_name", Do: backfill.Rows{
		Table: "customers",
		SQL:   `UPDATE customers SET full_name = NULL WHERE {range}`,
	}.Run}},
}

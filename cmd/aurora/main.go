// The program aurora runs migrations for Aurora DSQL and PostgreSQL. All of it
// is package cli.
package main

import (
	"os"

	"github.com/aurora-migrate/aurora/cli"
)

func main() { os.Exit(cli.Main()) }

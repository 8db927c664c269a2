// Program lambda is a project with one Go migration and a history in DynamoDB:
// the smallest that has every door.
package main

import (
	"context"
	"embed"
	"os"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli"
)

//go:embed aurora.hcl all:migrations
var files embed.FS

var migrations = []aurora.Migration{{
	Version: "20250601120000", Name: "add-user-roles", Description: "Adds default roles.",
	Up: []aurora.Step{aurora.Func{Name: "up", Do: func(ctx context.Context, env *aurora.Env) error {
		env.Log.InfoContext(ctx, "added a role", "role", "admin")
		return nil
	}}},
	Down: []aurora.Step{aurora.Func{Name: "down", Do: func(context.Context, *aurora.Env) error { return nil }}},
}}

func main() { os.Exit(cli.Program{Migrations: migrations, Files: files}.Main()) }

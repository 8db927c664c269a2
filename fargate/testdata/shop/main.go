// Command shop is a bundle with a migration that takes its time, for tests.
package main

import (
	"context"
	"embed"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli"
)

//go:embed aurora.hcl migrations/*.sql
var files embed.FS

func main() {
	os.Exit(cli.Program{Migrations: []aurora.Migration{fill}, Files: files, Env: "production"}.Main())
}

var fill = aurora.Migration{
	Version: "2", Name: "fill", Irreversible: "there is nothing to take back",
	Up: []aurora.Step{aurora.Func{Name: "fill", Do: fillUp}},
}

// fillUp counts how often each batch was done. After batch 4 it waits for a
// signal, the first time.
func fillUp(ctx context.Context, env *aurora.Env) error {
	batches, err := strconv.Atoi(os.Getenv("BATCHES"))
	if err != nil {
		return err
	}
	var next int
	resumed, err := env.Resume(&next)
	if err != nil {
		return err
	}
	env.Log.InfoContext(ctx, "begins", "batch", next)
	for ; next < batches; next++ {
		insert := fmt.Sprintf("INSERT INTO batches VALUES (%d, 1) ON CONFLICT (n) DO UPDATE SET times = batches.times + 1", next)
		if err := env.Database.Exec(ctx, aurora.Statement{SQL: insert}); err != nil {
			return err
		}
		if err := env.Checkpoint(ctx, next+1); err != nil {
			return err
		}
		if next == 4 && !resumed {
			env.Log.InfoContext(ctx, "waits")
			select {
			case <-ctx.Done():
			case <-time.After(time.Hour):
			}
		}
	}
	return nil
}

// Command shop is an aurora with migrations in Go, for the browser tests. Its
// backfill goes on until the file "go" is there, so that a test can watch.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli"
)

func main() {
	os.Exit(cli.Program{Migrations: migrations()}.Main())
}

func migrations() []aurora.Migration {
	nothing := func(context.Context, *aurora.Env) error { return nil }
	return []aurora.Migration{
		{
			Version: "20260901090000", Name: "first",
			Up:   []aurora.Step{aurora.Func{Name: "first", Do: nothing}},
			Down: []aurora.Step{aurora.Func{Name: "undo first", Do: nothing}},
		},
		{
			Version: "20260918101500", Name: "backfill_country",
			Description:  "Fills in the **country** of each user.",
			Up:           []aurora.Step{aurora.Func{Name: "backfillCountry", Do: backfill}},
			Irreversible: "nobody knows which countries were empty",
		},
	}
}

func backfill(ctx context.Context, env *aurora.Env) error {
	const total = 1000
	for n := 1; ; n++ {
		done := min(10*n, total-1)
		env.Log.Info("batch done", "rows", done, "last", fmt.Sprintf("user-%d", done))
		env.Progress(int64(done), total)
		if err := env.Checkpoint(ctx, map[string]any{"last": done}); err != nil {
			return err
		}
		if _, err := os.Stat("go"); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(250 * time.Millisecond):
		}
	}
}

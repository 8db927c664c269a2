package migrations

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"time"

	"github.com/aurora-migrate/aurora"
)

//go:embed 2_count.go
var countSource string

// Migrations lists the migrations of this directory that are written in Go.
var Migrations = []aurora.Migration{{
	Version:      "2",
	Name:         "count",
	Checksum:     aurora.Checksum(countSource),
	Irreversible: "the numbers go with their table",
	Up:           []aurora.Step{aurora.Func{Name: "count", Do: count}},
}}

const total = 40

// count writes numbers, and how often it came to each. A pause in the
// environment makes it take long enough to be interrupted.
func count(ctx context.Context, env *aurora.Env) error {
	pause, _ := time.ParseDuration(os.Getenv("PAUSE"))
	next := 1
	if resumed, err := env.Resume(&next); err != nil {
		return err
	} else if resumed {
		env.Log.InfoContext(ctx, "resumed", "at", next)
	}
	for ; next <= total; next++ {
		insert := fmt.Sprintf("INSERT INTO numbers VALUES (%d) ON CONFLICT (n) DO UPDATE SET times = numbers.times + 1", next)
		if err := env.Database.Exec(ctx, aurora.Statement{SQL: insert}); err != nil {
			return err
		}
		if err := env.Checkpoint(ctx, next+1); err != nil {
			return err
		}
		time.Sleep(pause)
	}
	return nil
}

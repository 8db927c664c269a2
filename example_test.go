package aurora_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
)

// A migration written in Go has steps up and, if it can be undone, down. The
// store here is one in memory; programs use that of package postgres or
// dynamo.
func Example() {
	users := []string{"ada", "grace"}
	migrations := []aurora.Migration{{
		Version: "20250601120000", Name: "greet_users",
		Up: []aurora.Step{aurora.Func{Name: "greet", Do: func(ctx context.Context, env *aurora.Env) error {
			for _, user := range users {
				fmt.Println("hello", user)
			}
			return nil
		}}},
		Irreversible: "a greeting cannot be taken back",
	}}
	runner := &aurora.Runner{Store: new(auroratest.Memory), Migrations: migrations}
	for range 2 { // the second run has nothing to do
		execution, err := runner.Run(context.Background(), aurora.Request{})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(execution.State, len(execution.Revisions))
	}
	// Output:
	// hello ada
	// hello grace
	// completed 1
	// completed 0
}

// A step that handles much saves its place, and the next run goes on from
// there: after a failure, after a signal, or after a pause, which is what
// Checkpoint asks for when the context's deadline is near.
func ExampleEnv_Checkpoint() {
	users := []string{"ada", "barbara", "edsger"}
	online := false
	convert := func(ctx context.Context, env *aurora.Env) error {
		next := 0
		if _, err := env.Resume(&next); err != nil {
			return err
		}
		for ; next < len(users); next++ {
			if users[next] == "barbara" && !online {
				return errors.New("barbara cannot be reached")
			}
			fmt.Println("convert", users[next])
			env.Progress(int64(next+1), int64(len(users)))
			if err := env.Checkpoint(ctx, next+1); err != nil {
				return err
			}
		}
		return nil
	}
	runner := &aurora.Runner{Store: new(auroratest.Memory), Migrations: []aurora.Migration{{
		Version: "1", Name: "convert_users",
		Up: []aurora.Step{aurora.Func{Name: "convert", Do: convert}},
	}}}
	for range 2 {
		execution, err := runner.Run(context.Background(), aurora.Request{})
		fmt.Println(execution.State, err)
		online = true
	}
	// Output:
	// convert ada
	// failed 1_convert_users: barbara cannot be reached
	// convert barbara
	// convert edsger
	// completed <nil>
}

// NewPlan needs neither a store nor a database: it shows what would be done.
func ExampleNewPlan() {
	migrations := []aurora.Migration{
		{Version: "1", Name: "create_users"},
		{Version: "2", Name: "create_orders"},
		{Version: "10", Name: "index_orders"},
	}
	history := []aurora.Revision{{Version: "1", Name: "create_users", Direction: aurora.Up, State: aurora.Completed}}
	plan, err := aurora.NewPlan(migrations, history, aurora.Request{To: "index_orders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, item := range plan.Items {
		fmt.Println(item.Direction, item.Migration.ID())
	}
	fmt.Println("from", plan.Current, "to", plan.Target)

	// A file that arrives late is refused, with the way out.
	migrations = append(migrations, aurora.Migration{Version: "0", Name: "late"})
	_, err = aurora.NewPlan(migrations, history, aurora.Request{})
	fmt.Println(err)
	// Output:
	// up 2_create_orders
	// up 10_index_orders
	// from 1 to 10
	// out of order: 0_late came after version 1 was applied. Rename to a newer version, or apply anyway with: aurora migrate apply --exec-order non-linear
}

// NewStatus says whether an application may start.
func ExampleNewStatus() {
	migrations := []aurora.Migration{{Version: "1", Name: "create_users"}, {Version: "2", Name: "create_orders"}}
	history := []aurora.Revision{{Version: "1", Direction: aurora.Up, State: aurora.Completed}}
	status, err := aurora.NewStatus(migrations, history, aurora.Linear)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range status.Migrations {
		fmt.Println(m.Migration.ID(), m.Status)
	}
	fmt.Println("ready:", status.Ready())
	// Output:
	// 1_create_users applied
	// 2_create_orders pending
	// ready: false
}

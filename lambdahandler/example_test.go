package lambdahandler_test

import (
	"context"
	"fmt"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/lambdahandler"
)

// The handler can be called by hand, as the Lambda runtime calls it.
func ExampleHandler_Invoke() {
	migrations := []aurora.Migration{{
		Version: "20250601120000", Name: "add-user-roles", Irreversible: "an example",
		Up: []aurora.Step{aurora.Func{Name: "up", Do: func(context.Context, *aurora.Env) error { return nil }}},
	}}
	h := lambdahandler.New(lambdahandler.Config{
		Open: func(context.Context) (*lambdahandler.Project, error) {
			return &lambdahandler.Project{Runner: aurora.Runner{Store: &auroratest.Memory{}, Migrations: migrations}}, nil
		},
	})
	answer, err := h.Invoke(context.Background(), []byte(`{"command":"plan"}`))
	fmt.Println(string(answer), err)
	// Output:
	// {"direction":"up","current":"","target":"20250601120000","items":[{"id":"20250601120000_add-user-roles","steps":["up"]}]} <nil>
}

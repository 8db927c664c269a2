package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dynamo"
)

type adviser struct{ hint string }

func (e *adviser) Error() string { return "it broke" }
func (e *adviser) Hint() string  { return e.hint }

// Whatever package an error is of: what it advises is said, once.
func TestHints(t *testing.T) {
	below := &adviser{"mend it"}
	tests := []struct {
		name, want string
		err        error
	}{
		{"of a package below", "Error: run: it broke\nhint: mend it\n", fmt.Errorf("run: %w", below)},
		{"nothing to say", "Error: it broke\n", &adviser{}},
		{"a step's own", "Error: 1_a: do: it broke\nhint: its own\n",
			&aurora.StepError{Migration: "1_a", Step: "do", Hint: "its own", Err: below}},
		{"of what a step returned", "Error: 1_a: do: it broke\nhint: mend it\n",
			fmt.Errorf("run: %w", &aurora.StepError{Migration: "1_a", Step: "do", Err: fmt.Errorf("%w", below)})},
		{"the command's own", "Error: run: it broke\nhint: another\n", withHint(fmt.Errorf("run: %w", below), "another")},
		{"a missing table", "Error: DynamoDB table t: none\nhint: for development: aurora migrate --env x history create; ", noTable{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			a := newApp(Streams{Out: &b, Err: &b})
			a.given = []givenFlag{{"env", "x"}}
			a.printError(t.Context(), tt.err)
			if got := b.String(); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

type noTable struct{}

func (noTable) Error() string        { return "DynamoDB table t: none" }
func (noTable) Is(target error) bool { return errors.Is(target, dynamo.ErrNoTable) }

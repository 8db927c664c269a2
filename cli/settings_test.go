package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/aurora-migrate/aurora/internal/config"
)

// Who has no database is told of the flag that keeps the history elsewhere, in a
// project with a project file and without one.
func TestHintWithoutDatabase(t *testing.T) {
	t.Chdir(t.TempDir())
	a := &app{secrets: &secrets{}, lookupEnv: func(string) (string, bool) { return "", false }}
	_, none := a.settings(t.Context(), projectOptions{}, directoryOptions{}, &databaseOptions{})
	_, noURL := a.checked([]settings{{env: &config.Env{}}}, true)
	for _, err := range []error{none, noURL} {
		if hint := hintOf(err); !strings.Contains(hint, "--history file://.aurora/history.db") {
			t.Errorf("%v; hint: %s", err, hint)
		}
	}
}

// What would be passed over in silence is refused.
func TestSettingsThatMeanNothing(t *testing.T) {
	tests := []struct {
		name string
		in   settings
		want string
	}{
		{"a parameter of local://", settings{url: "local://?engin=postgres"}, `local:// has no parameter "engin"`},
		{"an engine of local://", settings{url: "local://?engine=oracle"}, `local:// has no engine "oracle"`},
		{"a history in SQL", settings{url: "local://", history: "postgres://h/d"}, `a history cannot be kept at "postgres://h/d"`},
		{"a history without a scheme", settings{url: "local://", history: "history.db"}, `a history cannot be kept at "history.db"`},
		{"two projects", settings{history: "file://h.db?project=a", name: "b"}, `two names for the project: "a" in the history's url, and "b"`},
		{"a schema of a history elsewhere", settings{history: "file://h.db", schema: "x"}, `the schema "x" for the history's tables means nothing`},
		{"a database that is a history", settings{url: "dynamodb://migrations"}, "a history can be kept at dynamodb://, and migrations cannot run there"},
		{"no url", settings{}, "no database url"},
		{"no url, but a history", settings{history: "file://h.db"}, ""},
		{"nothing", settings{url: "local://shop?engine=postgres", env: &config.Env{}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := (&app{secrets: &secrets{}}).checked([]settings{tt.in}, true)
			if err == nil && tt.in.url != "" {
				_, err = parseLocal(tt.in)
			}
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var usage *usageError
			if !errors.As(err, &usage) || usage.Hint == "" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s, with a hint", err, tt.want)
			}
		})
	}
}

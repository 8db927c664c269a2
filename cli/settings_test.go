package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/aurora-migrate/aurora/internal/config"
)

// What would be passed over in silence is refused.
func TestSettingsThatMeanNothing(t *testing.T) {
	history := config.History{URL: config.Setting[string]{Value: "dynamodb://migrations", Set: true}}
	tests := []struct {
		name string
		in   settings
		want string
	}{
		{"a parameter of local://", settings{url: "local://?engin=postgres"}, `local:// has no parameter "engin"`},
		{"an engine of local://", settings{url: "local://?engine=oracle"}, `local:// has no engine "oracle"`},
		{"a history block", settings{url: "local://", env: &config.Env{History: history}}, "history block is not supported"},
		{"nothing", settings{url: "local://shop?engine=postgres", env: &config.Env{}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := (&app{}).checked([]settings{tt.in}, true)
			if err == nil {
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

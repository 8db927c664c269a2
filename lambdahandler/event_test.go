package lambdahandler_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/lambdahandler"
)

func TestParseEvent(t *testing.T) {
	for payload, want := range map[string]lambdahandler.Event{
		"": {}, "null": {}, " {} \n": {},
		`{"direction":"down","target":"20250601120000"}`: {Request: aurora.Request{Direction: aurora.Down, To: "20250601120000"}},
		`{"steps":2,"executionId":"x","dryRun":true}`:    {Request: aurora.Request{Steps: 2, ExecutionID: "x"}, DryRun: true, Command: lambdahandler.Plan},
		`{"executionId":"x","hop":3,"after":7,"idle":1}`: {Request: aurora.Request{ExecutionID: "x"}, Hop: 3, After: 7, Idle: 1},
		`{"command":"status","maxHops":5}`:               {Command: lambdahandler.Status, MaxHops: 5},
	} {
		got, err := lambdahandler.ParseEvent([]byte(payload))
		if err != nil {
			t.Errorf("%s: %v", payload, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", payload, diff)
		}
	}
}

func TestParseEventRefuses(t *testing.T) {
	for payload, want := range map[string]string{
		`{"dircetion":"down"}`:             `the event: unknown key "dircetion"; there are direction, target,`,
		`{"version":"2.0","rawPath":"/"}`:  `unknown key "version"`,
		`[]`:                               "want a JSON object (array)",
		`"up"`:                             "want a JSON object (string)",
		`{"steps":"two"}`:                  "steps cannot be a string",
		`{`:                                "unexpected EOF",
		`{} {}`:                            "more after the first",
		`{"command":"down"}`:               `unknown command "down": want plan, status or list`,
		`{"command":"list","dryRun":true}`: "exclude each other",
		`{"hop":1}`:                        "needs the executionId",
		`{"hop":-1}`:                       "must not be negative",
		`{"maxHops":-1}`:                   "maxHops must not be negative",
		`{"after":3,"executionId":"x"}`:    "hop is 0",
		`{"hop":9223372036854775807,"executionId":"x"}`:      "must not be more than 1000000",
		`{"maxHops":1000001}`:                                "must not be more than 1000000",
		`{"executionId":"a b"}`:                              "without spaces",
		`{"executionId":"ä"}`:                                "ASCII",
		`{"executionId":"` + strings.Repeat("x", 129) + `"}`: "more than 128 bytes",
	} {
		_, err := lambdahandler.ParseEvent([]byte(payload))
		var bad *lambdahandler.EventError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", payload, err, want)
		}
	}
}

// Whatever the payload, there is an event that reads back the same, or an
// error of the right type.
func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"direction":"down","target":"x","executionId":"e","hop":1,"after":2}`))
	f.Add([]byte(`{"dryRun":true}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		e, err := lambdahandler.ParseEvent(payload)
		var bad *lambdahandler.EventError
		if err != nil {
			if !errors.As(err, &bad) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		again, err := lambdahandler.ParseEvent(b)
		if err != nil || !cmp.Equal(e, again) {
			t.Fatalf("%s: %v\n%s", b, err, cmp.Diff(e, again))
		}
	})
}

package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
)

func TestShowText(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	done := aurora.Revision{
		Version: "1", Name: "roles", Direction: aurora.Up, State: aurora.Completed, Kind: aurora.Applied,
		Steps: 1, Done: 1, StartedAt: at, FinishedAt: at.Add(1500 * time.Millisecond), ExecutionID: "e2",
		Holder: aurora.Holder{Host: "h", Reason: "a ticket"}, Description: "# New", Operator: "aurora v1",
	}
	failed := done
	failed.State, failed.Done, failed.ExecutionID, failed.Description, failed.FinishedAt = aurora.Failed, 0, "e1", "*Old*\nlines", time.Time{}
	failed.Error, failed.ErrorPos, failed.ErrorStep = "no\x1b[2J", "1_roles.sql:3", "SELECT\n 1"
	failed.Output, failed.OutputDropped, failed.Checkpoint = "a\nb\n", 7, json.RawMessage(`{"at":[1]}`)
	foreign := done
	foreign.Kind, foreign.Description = aurora.Imported, ""
	tests := []struct {
		name string
		in   biography
		want string
	}{
		{"nothing ran", biography{Version: "1", Name: "roles", Status: "pending"}, `
1_roles  pending
  (it has not run yet)`},
		{"without a description", biography{Version: "1", Name: "roles", Status: "applied", Attempts: []attempt{{Revision: foreign}}}, `
1_roles  up completed (imported)
  started    2026-01-02T03:04:05Z
  took       1.5s
  by         h
  reason     a ticket
  with       aurora v1
  execution  e2
  steps      1 of 1`},
		{"two attempts", biography{
			Version: "1", Name: "roles", Status: "rolled_back", Description: "# New", Next: "do it", History: "file f",
			Attempts: []attempt{{Revision: done}, {Revision: failed}},
		}, `
1_roles  rolled back
  New

1_roles  up completed
  started    2026-01-02T03:04:05Z
  took       1.5s
  by         h
  reason     a ticket
  with       aurora v1
  execution  e2
  steps      1 of 1

1_roles  up failed
  started    2026-01-02T03:04:05Z
  by         h
  reason     a ticket
  with       aurora v1
  execution  e1
  steps      0 of 1
  checkpoint {
               "at": [
                 1
               ]
             }
  at         1_roles.sql:3
  statement  SELECT
              1
  error      no�[2J
  about      Old
             lines
  output     (7 older lines are gone: the last 200 KB are kept)
             a
             b

next         do it
history      file f`},
		{"older ones", biography{
			Version: "1", Name: "roles", Status: "failed", Next: "do it", Attempts: []attempt{{Revision: foreign}, {failed, true}, {foreign, true}},
		}, `
1_roles  up completed (imported)
  started    2026-01-02T03:04:05Z
  took       1.5s
  by         h
  reason     a ticket
  with       aurora v1
  execution  e2
  steps      1 of 1

older attempts, 2 (whole with --attempts 0)
  2026-01-02T03:04:05Z  up failed, 0 of 1 steps, by h: no�[2J
  2026-01-02T03:04:05Z  up completed (imported), 1 of 1 steps, by h

next         do it`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), tt.in.text(false)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNext(t *testing.T) {
	locked := &aurora.LockedError{Holder: aurora.Holder{Host: "h"}}
	tests := []struct {
		name   string
		in     aurora.Revision
		locked *aurora.LockedError
		want   string
	}{
		{"done", aurora.Revision{State: aurora.Completed}, nil, ""},
		{"running", aurora.Revision{State: aurora.Running}, locked, "it is running, by h"},
		{"killed", aurora.Revision{State: aurora.Running, Done: 2, Steps: 5}, nil, "its process died; go on with: aurora migrate apply (at step 3 of 5)"},
		{"failed", aurora.Revision{State: aurora.Failed, Steps: 5}, nil, "put right what failed, then go on with: aurora migrate apply (from the beginning)"},
		{"paused", aurora.Revision{State: aurora.Paused, Steps: 1, Checkpoint: json.RawMessage(`1`)}, nil, "go on with: aurora migrate apply (at step 1 of 1, behind its checkpoint)"},
		{"a way down", aurora.Revision{State: aurora.Interrupted, Direction: aurora.Down, Done: 1, Steps: 2}, nil, "go on with: aurora migrate down (at step 2 of 2)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := next(tt.in, tt.locked, ""); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Of many attempts only the newest are read whole, one by one; the others come
// by the hundred, and are one line each.
func TestShowReadsTheNewestWhole(t *testing.T) {
	var store auroratest.Memory
	for i := range 250 {
		r := up("1", aurora.Failed)
		r.ExecutionID, r.Token, r.Seq, r.Error, r.Output = fmt.Sprintf("e%d", i), int64(i+1), 1, "no\nat all", "tried\n"
		store.Put(r)
	}
	dir := migrationDir(t, map[string]string{"1_a.sql": "SELECT 1;"})
	run := func(code int, args ...string) (string, int) {
		t.Helper()
		before := store.Calls(auroratest.OpRead)
		a, stdout, stderr := testApp(t, func() (aurora.Store, error) { return &store, nil })
		if got := a.run(t.Context(), append([]string{"migrate", "show", "1", "--url", "postgres://h/db", "--dir", dir}, args...)); got != code {
			t.Fatalf("%v: exit code %d: %s", args, got, stderr)
		}
		return stdout.String(), store.Calls(auroratest.OpRead) - before
	}
	for _, tt := range []struct {
		args         []string
		whole, reads int
	}{
		{nil, 10, 3 + 10},
		{[]string{"--attempts", "2"}, 2, 3 + 2},
		{[]string{"--attempts", "300"}, 250, 3 + 250},
		{[]string{"--attempts", "0"}, 250, 3 + 250},
	} {
		text, reads := run(ExitDone, tt.args...)
		if n := strings.Count(text, "  output     tried\n"); n != tt.whole || reads != tt.reads {
			t.Errorf("%v: %d attempts whole in %d reads, want %d in %d", tt.args, n, reads, tt.whole, tt.reads)
		}
		if n := strings.Count(text, "Z  up failed, 0 of 1 steps, by somebody unknown: no\n"); n != 250-tt.whole {
			t.Errorf("%v: %d short ones, want %d", tt.args, n, 250-tt.whole)
		}
		text, _ = run(ExitDone, append(tt.args, "--json")...)
		var doc struct {
			Attempts []struct {
				ExecutionID, Output string
				OutputOmitted       bool
			}
		}
		if err := json.Unmarshal([]byte(text), &doc); err != nil || len(doc.Attempts) != 250 {
			t.Fatalf("%v: %d attempts, %v", tt.args, len(doc.Attempts), err)
		}
		for i, r := range doc.Attempts {
			if r.ExecutionID != fmt.Sprintf("e%d", 249-i) || r.OutputOmitted != (i >= tt.whole) || (r.Output == "") != r.OutputOmitted {
				t.Fatalf("%v: attempt %d is %+v", tt.args, i, r)
			}
		}
	}
	run(ExitUsage, "--attempts", "-1")
}

// A password that got into what people or migrations wrote is in no output.
func TestShowHidesSecrets(t *testing.T) {
	const secret = "1234567890"
	r := up("1", aurora.Failed)
	r.ExecutionID, r.Token, r.Seq = "e", 1, 1
	r.Description, r.Error, r.ErrorStep, r.ErrorPos = "about "+secret, "no "+secret, "SELECT '"+secret+"'", secret+".sql:1"
	r.Output, r.Operator = "used "+secret+"\n", "aurora "+secret
	r.Holder = aurora.Holder{Host: "h", User: "u" + secret, By: "by " + secret, Reason: "why " + secret, Link: "https://ci?x=" + secret}
	r.Checkpoint = json.RawMessage(`{"big":123456789012345678,"n":` + secret + `,"s":["<` + secret + `>"]}`)
	dir := migrationDir(t, map[string]string{"1_a.sql": "-- aurora:description " + secret + "\nSELECT 1;"})
	for _, args := range [][]string{nil, {"--json"}, {"--format", "{{ range .Attempts }}{{ printf \"%+v\" . }}{{ .Output }}{{ printf \"%s\" .Checkpoint }}{{ end }}"}} {
		var store auroratest.Memory
		store.Put(r)
		a, stdout, stderr := testApp(t, func() (aurora.Store, error) { return &store, nil })
		code := a.run(t.Context(), append([]string{"migrate", "show", "1", "--url", "postgres://app:" + secret + "@h/db", "--dir", dir}, args...))
		if text := stdout.String(); code != ExitDone || strings.Contains(text, secret) || strings.Count(text, "xxxxx") < 10 {
			t.Errorf("%v: exit code %d: %s%s", args, code, text, stderr)
		}
	}
}

// A checkpoint that has no secret stays as it is.
func TestHideJSON(t *testing.T) {
	var s secrets
	s.add("postgres://app:1234567@h/db")
	for in, want := range map[string]string{
		`{"b":1.50, "a":[98765432109876543210]}`: `{"b":1.50, "a":[98765432109876543210]}`,
		`{"b":1234567,"1234567":"\u0031234567"}`: `{"b":"xxxxx","xxxxx":"xxxxx"}`,
		`12345670`:                               `"xxxxx0"`,
		`no 1234567`:                             `no xxxxx`,
		``:                                       ``,
	} {
		got := string(s.hideJSON(json.RawMessage(in)))
		if got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

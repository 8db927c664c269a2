package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
)

func TestShowText(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	attempt := aurora.Revision{
		Version: "1", Name: "roles", Direction: aurora.Up, State: aurora.Completed, Kind: aurora.Applied,
		Steps: 1, Done: 1, StartedAt: at, FinishedAt: at.Add(1500 * time.Millisecond), ExecutionID: "e2",
		Holder: aurora.Holder{Host: "h", Reason: "a ticket"}, Description: "# New", Operator: "aurora v1",
	}
	failed := attempt
	failed.State, failed.Done, failed.ExecutionID, failed.Description, failed.FinishedAt = aurora.Failed, 0, "e1", "*Old*\nlines", time.Time{}
	failed.Error, failed.ErrorPos, failed.ErrorStep = "no\x1b[2J", "1_roles.sql:3", "SELECT\n 1"
	failed.Output, failed.OutputDropped, failed.Checkpoint = "a\nb\n", 7, json.RawMessage(`{"at":[1]}`)
	foreign := attempt
	foreign.Kind, foreign.Description = aurora.Imported, ""
	tests := []struct {
		name string
		in   biography
		want string
	}{
		{"nothing ran", biography{Version: "1", Name: "roles", Status: "pending"}, `
1_roles  pending
  (it has not run yet)`},
		{"without a description", biography{Version: "1", Name: "roles", Status: "applied", Attempts: []aurora.Revision{foreign}}, `
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
			Attempts: []aurora.Revision{attempt, failed},
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
			if got := next(tt.in, tt.locked); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

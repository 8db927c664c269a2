package aurora_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
)

func TestChecksum(t *testing.T) {
	const source = "CREATE TABLE t (a int);\n-- ünïcode\n"
	// The value is fixed: an upgrade must never change what rows hold.
	const want = "sha256-v1:2d25073895acd733b9e46faaaff62313cd274e6ccb075d20ec8b890f9aeaf855"
	same := map[string]string{
		"plain":           source,
		"byte order mark": "\ufeff" + source,
		"CRLF":            strings.ReplaceAll(source, "\n", "\r\n"),
		"both":            "\ufeff" + strings.ReplaceAll(source, "\n", "\r\n"),
	}
	for name, text := range same {
		if got := aurora.Checksum(text); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "space": source + " ", "no last line end": strings.TrimSuffix(source, "\n"), "lone CR": strings.ReplaceAll(source, "\n", "\r"),
		"mark inside": strings.Replace(source, "t", "\ufefft", 1), "two marks": "\ufeff\ufeff" + source,
	} {
		if got := aurora.Checksum(text); got == want || !strings.HasPrefix(got, "sha256-v1:") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestStepHash(t *testing.T) {
	a, b := aurora.Statement{SQL: "a", File: "x", Line: 1}, aurora.Statement{SQL: "a", File: "y", Line: 2}
	if aurora.StepHash(a) != aurora.StepHash(b) {
		t.Error("a statement that moved has another hash")
	}
	if aurora.StepHash(a) == aurora.StepHash(aurora.Statement{SQL: "a "}) {
		t.Error("a statement that changed has the same hash")
	}
	if aurora.StepHash(a) != aurora.StepHash(aurora.Func{Name: "a"}) {
		t.Error("the hash is not that of the text alone")
	}
}

func TestMigration(t *testing.T) {
	m := mig("1_a")
	if statements, ok := m.Statements(aurora.Down); !ok || len(statements) != 2 || statements[0].SQL != "down 1 1_a" {
		t.Errorf("Statements: %v, %v", statements, ok)
	}
	m.Up = append(m.Up, aurora.Func{Name: "f"})
	if statements, ok := m.Statements(aurora.Up); ok {
		t.Errorf("Statements of a migration with Go code: %v", statements)
	}
	for want, m := range map[string]aurora.Migration{"1_a": {Version: "1", Name: "a"}, "1": {Version: "1"}} {
		if m.ID() != want {
			t.Errorf("ID %q, want %q", m.ID(), want)
		}
	}
	for want, s := range map[string]aurora.Statement{
		"a.sql:7": {File: "a.sql", Line: 7}, "a.sql": {File: "a.sql"}, "line 7": {Line: 7},
	} {
		if s.Pos() != want {
			t.Errorf("Pos %q, want %q", s.Pos(), want)
		}
	}
	if err := (aurora.Statement{SQL: "x", File: "a.sql", Line: 7}).Run(context.Background(), &aurora.Env{}); err == nil || !strings.Contains(err.Error(), "a.sql:7") {
		t.Errorf("a statement without a database: %v", err)
	}
}

func TestRevisionEnd(t *testing.T) {
	at := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	r := done("1_a", killed(1))
	r.Error, r.ErrorStep, r.ErrorPos, r.Checkpoint = "old", "old", "old", []byte("1")
	r.End(aurora.Failed, &aurora.StepError{Step: "bad \x00\xff step", Pos: "f:1", Err: errors.New("bad \x00\xff bytes")}, at)
	if r.Error != "bad \ufffd\ufffd bytes" || r.ErrorStep != "bad \ufffd\ufffd step" || r.ErrorPos != "f:1" || r.Done != 1 || r.Checkpoint == nil {
		t.Errorf("failed: %+v", r)
	}
	r.End(aurora.Paused, aurora.ErrPaused, at)
	if r.Error+r.ErrorStep+r.ErrorPos != "" || r.Done != 1 || r.Checkpoint == nil || len(r.Hashes) != 1 {
		t.Errorf("paused: %+v", r)
	}
	r.End(aurora.Completed, nil, at)
	if r.Done != r.Steps || r.Begun != 0 || r.Hashes != nil || r.Checkpoint != nil || !r.FinishedAt.Equal(at) {
		t.Errorf("completed: %+v", r)
	}
}

func TestExecutionOf(t *testing.T) {
	began := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	rev := func(id string, seq int, change ...func(*aurora.Revision)) aurora.Revision {
		r := done(id, change...)
		r.Seq, r.Holder = seq, alice
		r.StartedAt, r.FinishedAt = began.Add(time.Duration(seq)*time.Minute), began.Add(time.Duration(seq+1)*time.Minute)
		return r
	}
	running := func(r *aurora.Revision) { r.State = aurora.Running }
	for name, tt := range map[string]struct {
		revisions []aurora.Revision
		state     aurora.State
		ended     time.Time
	}{
		"completed":                          {rlist{rev("2_b", 2), rev("1_a", 1)}, aurora.Completed, began.Add(3 * time.Minute)},
		"failed":                             {rlist{rev("2_b", 2, failed(1)), rev("1_a", 1)}, aurora.Failed, began.Add(3 * time.Minute)},
		"the first that did not end decides": {rlist{rev("2_b", 2, running), rev("1_a", 1, failed(1))}, aurora.Failed, began.Add(3 * time.Minute)},
		"running has no end":                 {rlist{rev("1_a", 1), rev("2_b", 2, running)}, aurora.Running, time.Time{}},
	} {
		e := aurora.ExecutionOf(tt.revisions)
		if e.ID != "old" || e.State != tt.state || !e.EndedAt.Equal(tt.ended) || !e.StartedAt.Equal(began.Add(time.Minute)) || e.Holder != alice || e.Revisions[0].Seq != 1 {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestNewExecutionID(t *testing.T) {
	var ids []string
	for range 3 {
		ids = append(ids, aurora.NewExecutionID())
		time.Sleep(2 * time.Millisecond)
	}
	if !slices.IsSorted(ids) {
		t.Errorf("not in the order in which they were made: %v", ids)
	}
	for _, id := range ids {
		if len(id) != 36 || id[14] != '7' || !strings.Contains("89ab", id[19:20]) || id[8] != '-' || id[23] != '-' {
			t.Errorf("%s is not a UUID of version 7", id)
		}
	}
}

func TestHolder(t *testing.T) {
	for want, h := range map[string]aurora.Holder{
		"somebody unknown": {},
		"ada@host, pid 7, lambda, https://ci.example.com/1": {Host: "host", PID: 7, User: "ada", Runtime: "lambda", Link: "https://ci.example.com/1"},
		"host": {Host: "host"}, "ada": {User: "ada"},
	} {
		if got := h.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, name := range []string{"GITHUB_RUN_ID", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "CI_JOB_URL"} {
		t.Setenv(name, "")
	}
	if h := aurora.CurrentHolder("cli"); h.PID == 0 || h.Host == "" || h.Runtime != "cli" || h.Link != "" {
		t.Errorf("CurrentHolder: %+v", h)
	}
	t.Setenv("CI_JOB_URL", "https://gitlab.example.com/j/1")
	if got := aurora.CurrentHolder("cli").Link; got != "https://gitlab.example.com/j/1" {
		t.Errorf("link %q", got)
	}
	t.Setenv("GITHUB_RUN_ID", "5")
	t.Setenv("GITHUB_SERVER_URL", "https://github.example.com")
	t.Setenv("GITHUB_REPOSITORY", "o/r")
	if got := aurora.CurrentHolder("cli").Link; got != "https://github.example.com/o/r/actions/runs/5" {
		t.Errorf("link %q", got)
	}
}

func TestErrorTexts(t *testing.T) {
	until := time.Date(2025, 1, 1, 0, 0, 30, 0, time.UTC)
	got := []string{
		(&aurora.LockedError{Holder: alice, ExpiresAt: until}).Error(),
		(&aurora.LockedError{Holder: aurora.Holder{}, Waited: 1500 * time.Millisecond}).Error(),
		(&aurora.StepError{Migration: "1_a", Pos: "1_a.sql:3", Err: errors.New("no")}).Error(),
		(&aurora.StepError{Migration: "1_a", Index: -1, Err: errors.New("no")}).Error(),
		(&aurora.ChangedError{Migration: "1_a", Statement: 2, Pos: "1_a.sql:3"}).Error(),
	}
	want := []string{
		"locked by alice@laptop, pid 1, cli, until 2025-01-01T00:00:30Z unless renewed",
		"gave up after waiting 1.5s: locked by somebody unknown",
		"1_a.sql:3: no",
		"1_a: commit: no",
		"1_a.sql:3: statement 2 of 1_a already ran and was changed since; put its text back (statements after it may be edited)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

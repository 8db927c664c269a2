package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dsql"
)

func printed(err error) string {
	var out bytes.Buffer
	a := newApp(Streams{Out: &out, Err: &out, LookupEnv: func(string) (string, bool) { return "", false }})
	a.printError(context.Background(), err)
	return out.String()
}

func refusals(t *testing.T, n int) ([]*aurora.StepError, error) {
	t.Helper()
	profile, err := dsql.Latest()
	if err != nil {
		t.Fatal(err)
	}
	m := aurora.Migration{Version: "1", Name: "a", Source: "1_a.sql"}
	for i := range n {
		m.Up = append(m.Up, aurora.Statement{SQL: "-- é\nTRUNCATE t", File: "1_a.sql", Line: 2*i + 1})
	}
	review := reviewer(func(m aurora.Migration, d aurora.Direction) []aurora.Review {
		var reviews []aurora.Review
		for _, f := range dsql.CheckMigration(profile, m, d) {
			reviews = append(reviews, aurora.Review{Statement: f.Statement, Err: f.StepError(m, d)})
		}
		return reviews
	})
	item := aurora.Item{Migration: m, Direction: aurora.Up}
	all := review.refusals(item)
	if len(all) != n {
		t.Fatalf("%d refusals, want %d", len(all), n)
	}
	return all, review.refused([]aurora.Item{item}, fmt.Errorf("run: %w", all[0]))
}

func TestRefusals(t *testing.T) {
	const one = `1_a.sql:2:1: Aurora DSQL refuses TRUNCATE: unsupported statement: Truncate (SQLSTATE 0A000)

    -- é
    TRUNCATE t
    ^

hint: DELETE in batches of at most 3,000 rows, or drop the table and create it again
`
	all, err := refusals(t, 1)
	if diff := cmp.Diff("Error: "+strings.Replace(one, "Aurora", "nothing ran: Aurora", 1), printed(err)); diff != "" {
		t.Errorf("one (-want +got):\n%s", diff)
	}
	if exitCode(context.Background(), err) != ExitFailed || !errors.Is(err, all[0]) {
		t.Errorf("got %v", err)
	}
	_, err = refusals(t, 2)
	want := "Error: nothing ran, for 2 reasons\n\n" + one + "\n" + strings.Replace(one, ":2:1:", ":4:1:", 1)
	if diff := cmp.Diff(want, printed(err)); diff != "" {
		t.Errorf("two (-want +got):\n%s", diff)
	}
	_, err = refusals(t, 25)
	text := printed(err)
	if n := strings.Count(text, "hint: "); n != refusalsShown || !strings.HasSuffix(text, "\n… and 5 more, which --dry-run shows\n") {
		t.Errorf("%d hints:\n%s", n, text)
	}

	// An error of another sort stays alone.
	plain := fmt.Errorf("run: %w", &aurora.StepError{Migration: "1_a", Version: "1", Err: errors.New("no")})
	_, refused := refusals(t, 2)
	review := reviewer(func(aurora.Migration, aurora.Direction) []aurora.Review {
		var e *refusedError
		if !errors.As(refused, &e) {
			t.Fatalf("got %v", refused)
		}
		return []aurora.Review{{Err: e.steps[0]}, {Err: e.steps[1]}}
	})
	if got := review.refused([]aurora.Item{{}}, plain); got != plain {
		t.Errorf("got %v", got)
	}
}

func TestLoginErrors(t *testing.T) {
	reason := &pgconn.PgError{Severity: "FATAL", Code: "28000", Message: "access denied"}
	err := fmt.Errorf("connect: %w", &dsql.LoginError{Host: "h", Role: "admin", Advice: "do this", Err: reason})
	want := "Error: connect: log in to Aurora DSQL at h as admin: FATAL: access denied (SQLSTATE 28000)\nhint: do this\n"
	if diff := cmp.Diff(want, printed(err)); diff != "" {
		t.Error(diff)
	}
	if mayComeUp(err) {
		t.Error("waits for somebody who is refused")
	}
	reason.Code = "53400"
	if !mayComeUp(err) {
		t.Error("does not wait for a cluster that is too busy")
	}
	if code := exitCode(context.Background(), fmt.Errorf("open: %w", dsql.ErrTarget)); code != ExitUsage {
		t.Errorf("a url that names no cluster: exit code %d", code)
	}
}

// A log hears of a long wait now and then, and of a short one not at all.
func TestLogOfWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := &progress{term: &terminal{}, log: slog.New(slog.NewTextHandler(&log, nil))}
		p.files, p.plan = map[string]int{"1": 0}, aurora.Plan{Items: []aurora.Item{{}}}
		begin := time.Now()
		for range 70 {
			p.revision(aurora.Revision{Version: "1", Activity: "waiting: " + time.Since(begin).String()})
			time.Sleep(time.Second)
		}
		p.revision(aurora.Revision{Version: "1"})
		p.revision(aurora.Revision{Version: "1", Activity: "waiting: another"})
		text := log.String()
		for _, s := range []string{"5s", "35s", "1m5s"} {
			if !strings.Contains(text, `msg="waiting: `+s+`"`) {
				t.Errorf("no line after %s", s)
			}
		}
		if n := strings.Count(text, "\n"); n != 3 {
			t.Errorf("%d lines:\n%s", n, text)
		}
	})
}

// Of a migration that goes on, the steps count that are to run, also one before
// others that are done.
func TestStepsThatAreLeft(t *testing.T) {
	m := aurora.Migration{Version: "1", Name: "a", Up: []aurora.Step{
		aurora.Statement{SQL: "CREATE INDEX a ON t (a)"}, aurora.Statement{SQL: "CREATE INDEX CONCURRENTLY b ON t (b)"},
		aurora.Statement{SQL: "SELECT 1"}, aurora.Statement{SQL: "SELECT 2"},
	}}
	r := aurora.Revision{Version: "1", Steps: 4, Done: 3, Hashes: []string{"x", "", "x"}}
	review := reviewer(func(aurora.Migration, aurora.Direction) []aurora.Review {
		return []aurora.Review{{Statement: 0, SQL: "not again"}, {Statement: 1, SQL: "again", Changes: []string{"x"}}}
	})
	f := appliedFile(aurora.Item{Migration: m, Direction: aurora.Up, Resumes: true, Revision: r}, r, nil, review)
	if diff := cmp.Diff([]string{"CREATE INDEX CONCURRENTLY b ON t (b);", "SELECT 2;"}, f.Applied); diff != "" {
		t.Error(diff)
	}
	if len(f.Rewrites) != 1 || f.Rewrites[0].Index != 0 || f.Rewrites[0].Sent != "again;" || f.Skipped != 2 || finished(r) != 2 {
		t.Errorf("got %+v", f)
	}
}

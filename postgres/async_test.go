package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/postgres"
)

// A file written for Aurora DSQL runs here too, in PostgreSQL's words.
func TestFileForDSQL(t *testing.T) {
	url := pgtest.URL(t)
	var log bytes.Buffer
	db, err := postgres.Open(context.Background(), postgres.Config{URL: url, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close(context.Background()) })
	m := pgtest.Migration("1", "orders", "CREATE TABLE orders (id int PRIMARY KEY, total int)",
		"ALTER TABLE orders ADD CONSTRAINT positive CHECK (total > 0) NOT VALID",
		"CREATE INDEX ASYNC orders_total ON orders (total)",
		"ALTER TABLE ASYNC orders VALIDATE CONSTRAINT positive")
	pgtest.MustRun(t, db, []aurora.Migration{m}, aurora.Request{})
	got := pgtest.One(t, url, `SELECT i.indisvalid AND c.convalidated FROM pg_index i, pg_constraint c
		WHERE i.indexrelid = 'orders_total'::regclass AND c.conname = 'positive'`)
	if got != "t" {
		t.Errorf("index and constraint are valid: %s", got)
	}
	if text := log.String(); !strings.Contains(text, "CREATE INDEX CONCURRENTLY orders_total") || !strings.Contains(text, "1_orders.sql:3") {
		t.Errorf("the log does not say what was rewritten where:\n%s", text)
	}
	// The history knows the file, not what became of it.
	db.Close(context.Background())
	if _, err := pgtest.Run(t, open(t, url), []aurora.Migration{m}, aurora.Request{}); err != nil {
		t.Errorf("applied again: %v", err)
	}
	want := []aurora.Review{
		{Statement: 2, SQL: "CREATE INDEX CONCURRENTLY orders_total ON orders (total)", Changes: []string{`with "CONCURRENTLY" instead of "ASYNC"`}},
		{Statement: 3, SQL: "ALTER TABLE orders VALIDATE CONSTRAINT positive", Changes: []string{`without "ASYNC"`}},
	}
	if diff := cmp.Diff(want, db.Review(m, aurora.Up)); diff != "" {
		t.Errorf("Review (-want +got):\n%s", diff)
	}
}

// An error is where the file says it, not where the rewritten text does.
func TestErrorInFileForDSQL(t *testing.T) {
	var step *aurora.StepError
	bad := pgtest.Migration("2", "parse", "CREATE INDEX ASYNC i ON ON orders (id)")
	_, err := pgtest.Run(t, open(t, pgtest.URL(t)), []aurora.Migration{bad}, aurora.Request{})
	if !errors.As(err, &step) || step.Pos != "2_parse.sql:1:25" {
		t.Errorf("%v, want it at 2_parse.sql:1:25", err)
	}
}

func TestReviewRefuses(t *testing.T) {
	db := open(t, pgtest.URL(t))
	reviews := db.Review(pgtest.Migration("1", "a", "CREATE TABLE t (a int)", "COMMIT"), aurora.Up)
	var step *aurora.StepError
	if len(reviews) != 1 || reviews[0].Statement != 1 || !errors.As(reviews[0].Err, &step) {
		t.Errorf("%+v, want the refusal of statement 1", reviews)
	}
}

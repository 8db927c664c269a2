package dsql

import (
	"context"
	"testing"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/postgres"
)

// A history moves with its database, from PostgreSQL to Aurora DSQL and back.
func TestHistoryMoves(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	type opener func(url string) aurora.Store
	onDSQL := func(url string) aurora.Store { return openPlain(t, url) }
	onPostgreSQL := func(url string) aurora.Store {
		db, err := postgres.Open(ctx, postgres.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close(ctx) })
		return db
	}
	for _, order := range [][]opener{{onDSQL, onPostgreSQL, onDSQL}, {onPostgreSQL, onDSQL, onPostgreSQL}} {
		url := pgtest.URL(t)
		migrations := []aurora.Migration{
			pgtest.Migration("1", "a", "CREATE TABLE a (id int)"),
			pgtest.Migration("2", "b", "CREATE TABLE b (id int)", "INSERT INTO b VALUES (1)"),
			pgtest.Migration("3", "c", "CREATE VIEW c AS SELECT id FROM b"),
		}
		for i, open := range order {
			r := aurora.Runner{Store: open(url), Migrations: migrations[:i+1], Holder: aurora.CurrentHolder("test")}
			e, err := r.Run(ctx, aurora.Request{})
			if err != nil {
				t.Fatalf("run %d: %v", i+1, err)
			}
			if len(e.Revisions) != 1 {
				t.Errorf("run %d did %d migrations", i+1, len(e.Revisions))
			}
		}
	}
}

package postgres_test

import (
	"context"
	"testing"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/postgres"
)

func open(t testing.TB, url string) *postgres.DB { return openProject(t, url, "") }

func openProject(t testing.TB, url, project string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(context.Background(), postgres.Config{URL: url, Project: project})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close(context.Background()) })
	return db
}

// attempts returns the attempts at one migration, newest first, whole.
func attempts(t testing.TB, db *postgres.DB, version string) []aurora.Revision {
	t.Helper()
	found, next, err := db.Revisions(context.Background(), version, "", 100)
	if err != nil || next != "" {
		t.Fatalf("Revisions of %s: next %q, %v", version, next, err)
	}
	for i, r := range found {
		if found[i], err = db.Revision(context.Background(), r.ExecutionID, version); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func TestStoreConformance(t *testing.T) {
	auroratest.Run(t, func(t *testing.T) func(project string) aurora.Store {
		url := pgtest.URL(t)
		return func(project string) aurora.Store { return openProject(t, url, project) }
	})
}

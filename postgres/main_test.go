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

func TestStoreConformance(t *testing.T) {
	auroratest.Run(t, func(t *testing.T) func(project string) aurora.Store {
		url := pgtest.URL(t)
		return func(project string) aurora.Store { return openProject(t, url, project) }
	})
}

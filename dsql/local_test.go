package dsql_test

import (
	"context"
	"testing"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/localdsql"
)

func openLocal(t testing.TB, url string) *dsql.DB { return openLocalProject(t, url, "") }

func openLocalProject(t testing.TB, url, project string) *dsql.DB {
	t.Helper()
	db, err := dsql.Open(context.Background(), dsql.Config{URL: url, Project: project})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close(context.Background()) })
	return db
}

func TestStoreConformance(t *testing.T) {
	t.Parallel()
	auroratest.Run(t, func(t *testing.T) func(project string) aurora.Store {
		url := localdsql.Start(t)
		return func(project string) aurora.Store { return openLocalProject(t, url, project) }
	})
}

package postgres_test

import (
	"context"
	"fmt"
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

// sql makes a migration of plain statements.
func sql(version, name string, statements ...string) aurora.Migration {
	m := aurora.Migration{Version: version, Name: name, Checksum: aurora.Checksum(fmt.Sprint(statements)), Source: version + "_" + name + ".sql"}
	for i, s := range statements {
		m.Up = append(m.Up, aurora.Statement{SQL: s, File: m.Source, Line: i + 1})
	}
	return m
}

// many makes n migrations of k statements each.
func many(n, k int) []aurora.Migration {
	out := make([]aurora.Migration, n)
	for i := range out {
		var s []string
		for j := range k {
			s = append(s, fmt.Sprintf("CREATE TABLE t%d_%d (id bigint PRIMARY KEY, note text NOT NULL DEFAULT '')", i+1, j+1))
		}
		out[i] = sql(fmt.Sprintf("%05d", i+1), "t", s...)
	}
	return out
}

func run(t testing.TB, db *postgres.DB, migrations []aurora.Migration, req aurora.Request) (aurora.Execution, error) {
	t.Helper()
	r := aurora.Runner{Store: db, Migrations: migrations, Holder: aurora.CurrentHolder("test"), Operator: "test"}
	return r.Run(context.Background(), req)
}

func mustRun(t testing.TB, db *postgres.DB, migrations []aurora.Migration, req aurora.Request) aurora.Execution {
	t.Helper()
	e, err := run(t, db, migrations, req)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

package pgtest

import (
	"context"
	"fmt"
	"testing"

	"github.com/aurora-migrate/aurora"
)

// Migration makes a migration of plain statements, each on a line of its own.
func Migration(version, name string, statements ...string) aurora.Migration {
	m := aurora.Migration{Version: version, Name: name, Checksum: aurora.Checksum(fmt.Sprint(statements)), Source: version + "_" + name + ".sql"}
	for i, s := range statements {
		m.Up = append(m.Up, aurora.Statement{SQL: s, File: m.Source, Line: i + 1})
	}
	return m
}

// Tables makes n migrations of k statements each, which create tables.
func Tables(n, k int) []aurora.Migration {
	out := make([]aurora.Migration, n)
	for i := range out {
		var s []string
		for j := range k {
			s = append(s, fmt.Sprintf("CREATE TABLE t%d_%d (id bigint PRIMARY KEY, note text NOT NULL DEFAULT '')", i+1, j+1))
		}
		out[i] = Migration(fmt.Sprintf("%05d", i+1), "t", s...)
	}
	return out
}

// Run runs what is pending.
func Run(t testing.TB, store aurora.Store, migrations []aurora.Migration, req aurora.Request) (aurora.Execution, error) {
	t.Helper()
	r := aurora.Runner{Store: store, Migrations: migrations, Holder: aurora.CurrentHolder("test"), Operator: "test"}
	return r.Run(context.Background(), req)
}

// MustRun does what Run does and fails the test on an error.
func MustRun(t testing.TB, store aurora.Store, migrations []aurora.Migration, req aurora.Request) aurora.Execution {
	t.Helper()
	e, err := Run(t, store, migrations, req)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

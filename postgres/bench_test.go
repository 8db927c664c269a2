package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// BenchmarkApply1000 applies 1,000 migrations to an empty database, each
// recorded in its own transaction. BenchmarkPlain1000 is what it is compared
// with: the same statements in the same number of transactions, one pipeline,
// nothing recorded.
func BenchmarkApply1000(b *testing.B) {
	migrations := pgtest.Tables(1000, 1)
	for b.Loop() {
		b.StopTimer()
		db := open(b, pgtest.URL(b))
		b.StartTimer()
		pgtest.MustRun(b, db, migrations, aurora.Request{})
	}
}

func BenchmarkPlain1000(b *testing.B) {
	migrations := pgtest.Tables(1000, 1)
	var script strings.Builder
	for _, m := range migrations {
		script.WriteString("BEGIN; " + m.Up[0].String() + "; COMMIT;\n")
	}
	for b.Loop() {
		b.StopTimer()
		ctx := context.Background()
		conn, err := pgconn.Connect(ctx, pgtest.URL(b))
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := conn.Exec(ctx, script.String()).ReadAll(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		conn.Close(ctx)
		b.StartTimer()
	}
}

// BenchmarkNothingToDo is what every deploy pays: one round trip and a plan.
func BenchmarkNothingToDo(b *testing.B) {
	migrations := pgtest.Tables(1000, 1)
	db := open(b, pgtest.URL(b))
	pgtest.MustRun(b, db, migrations, aurora.Request{})
	b.ReportAllocs()
	for b.Loop() {
		pgtest.MustRun(b, db, migrations, aurora.Request{})
	}
}

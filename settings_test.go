package aurora_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
)

// A settled database is told where migrations begin.
type settled struct {
	*database
	begun []string
}

func (s *settled) BeginMigration(_ context.Context, finished []aurora.Statement) error {
	text := "begin"
	for _, f := range finished {
		text += " after " + f.SQL
	}
	s.begun = append(s.begun, text)
	return nil
}

func TestDatabaseIsToldWhereMigrationsBegin(t *testing.T) {
	db := &settled{database: new(database)}
	db.on = map[string]func(context.Context) error{"c": func(context.Context) error { return errors.New("no") }}
	r := &aurora.Runner{Store: new(auroratest.Memory), Database: db, Migrations: mlist{mig("1_a", upSQL("a")), mig("2_b", upSQL("b", "c"))}}
	if _, err := r.Run(t.Context(), aurora.Request{}); err == nil {
		t.Fatal("the statement should have failed")
	}
	db.on = nil
	if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"begin", "begin", "begin after b"}, db.begun); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

package dsql_test

import (
	"fmt"
	"testing"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/localdsql"
)

// One thing that goes wrong, wherever in a run it does, is got over within that
// run: nothing is left out and nothing done twice.
func TestOneFaultAnywhere(t *testing.T) {
	t.Parallel()
	for _, kind := range []localdsql.FaultKind{localdsql.FaultConflict, localdsql.FaultSchema, localdsql.FaultDrop, localdsql.FaultDropAfter} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			c := localdsql.StartCluster(t, localdsql.Config{})
			for n := 1; ; n++ {
				c.Faults().Clear()
				c.Faults().At(kind, n)
				one := oneOfEach(n)
				db := openLocalProject(t, c.URL(), fmt.Sprint("p", n))
				if _, err := pgtest.Run(t, db, one, aurora.Request{}); err != nil {
					t.Fatalf("%s at event %d: %v", kind, n, err)
				}
				_, injected := c.Faults().Count(kind)
				c.Faults().Clear()
				checkOneOfEach(t, c.URL(), n)
				if injected == 0 {
					t.Logf("a run has %d events", n-1)
					if n < 10 {
						t.Errorf("only %d events: it did not get far", n-1)
					}
					return
				}
			}
		})
	}
}

// oneOfEach are few migrations of all that is done differently, with names of
// their own.
func oneOfEach(n int) []aurora.Migration {
	f := func(format string) string { return fmt.Sprintf(format, n) }
	return []aurora.Migration{
		pgtest.Migration("1", "a", f("CREATE TABLE t%[1]d (id int, note text)"), f("INSERT INTO t%[1]d VALUES (1)"), f("ALTER TABLE t%[1]d ADD COLUMN more int")),
		pgtest.Migration("2", "b", "BEGIN", f("INSERT INTO t%[1]d VALUES (2)"), f("INSERT INTO t%[1]d VALUES (3)"), "COMMIT",
			f("CREATE INDEX i%[1]d ON t%[1]d (id)")),
		pgtest.Migration("3", "c", "SET search_path = public", "BEGIN", f("CREATE VIEW v%[1]d AS SELECT id FROM t%[1]d"), "COMMIT", f("DROP VIEW v%[1]d")),
	}
}

func checkOneOfEach(t *testing.T, url string, n int) {
	t.Helper()
	got := pgtest.One(t, url, fmt.Sprintf(`SELECT (SELECT string_agg(id::text, ',' ORDER BY id) FROM t%[1]d) || ' ' ||
		(SELECT indisvalid FROM pg_index WHERE indexrelid = 'i%[1]d'::regclass) || ' ' ||
		(SELECT count(*) FROM pg_class WHERE relname = 'v%[1]d') || ' ' ||
		(SELECT string_agg(version || state, ',' ORDER BY version) FROM aurora.aurora_revisions WHERE project = 'p%[1]d')`, n))
	if want := "1,2,3 true 0 1completed,2completed,3completed"; got != want {
		t.Errorf("event %d: got %s, want %s", n, got, want)
	}
}

package pgstore_test

import (
	"strings"
	"testing"

	"github.com/aurora-migrate/aurora/internal/pgstore"
)

func TestForPostgreSQL(t *testing.T) {
	for _, tt := range []struct{ sql, want string }{
		{"CREATE INDEX ASYNC i ON t (a)", "CREATE INDEX CONCURRENTLY i ON t (a)"},
		{"create unique index async if not exists i on t (a)", "create unique index CONCURRENTLY if not exists i on t (a)"},
		{"/* ü */ CREATE INDEX ASYNC ON t (a)", "/* ü */ CREATE INDEX CONCURRENTLY ON t (a)"},
		{"ALTER TABLE ASYNC t VALIDATE CONSTRAINT c", "ALTER TABLE t VALIDATE CONSTRAINT c"},
		{"ALTER TABLE ASYNC\n\tt VALIDATE CONSTRAINT c", "ALTER TABLE \n\tt VALIDATE CONSTRAINT c"},
		{"CREATE INDEX CONCURRENTLY i ON t (a)", "CREATE INDEX CONCURRENTLY i ON t (a)"},
		{`CREATE INDEX "async" ON t (a)`, `CREATE INDEX "async" ON t (a)`},
		{"INSERT INTO t VALUES ('CREATE INDEX ASYNC')", "INSERT INTO t VALUES ('CREATE INDEX ASYNC')"},
	} {
		s := pgstore.ForPostgreSQL(tt.sql)
		if s.Text != tt.want {
			t.Errorf("%s: got %s, want %s", tt.sql, s.Text, tt.want)
		}
		if (s.Change != "") != (tt.sql != tt.want) {
			t.Errorf("%s: the change is %q", tt.sql, s.Change)
		}
		// The same word is at the same place, before and behind the change.
		for _, word := range []string{"INDEX", "TABLE", "t (a)", "t VALIDATE", "CONSTRAINT"} {
			in, out := strings.Index(tt.sql, word), strings.Index(s.Text, word)
			if in < 0 || out < 0 {
				continue
			}
			chars := func(s string) int32 { return int32(len([]rune(s))) + 1 }
			if got, want := s.Position(chars(s.Text[:out])), chars(tt.sql[:in]); got != want {
				t.Errorf("%s: position of %q is %d, want %d", tt.sql, word, got, want)
			}
		}
	}
}

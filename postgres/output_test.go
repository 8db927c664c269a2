package postgres_test

import (
	"crypto/rand"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// Checkpoints do not write again what the step has said: a hundred of them with
// nearly 200 KB of output grow the history by one output.
func TestSavesKeepTheOutput(t *testing.T) {
	url := pgtest.URL(t)
	lease, err := open(t, url).Acquire(t.Context(), aurora.Holder{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, "ALTER TABLE aurora.aurora_revisions SET (toast.autovacuum_enabled = false)")
	var output strings.Builder
	for output.Len() < 190<<10 {
		output.WriteString(rand.Text() + "\n")
	}
	r := aurora.Revision{ExecutionID: "e", Version: "1", State: aurora.Running, Output: output.String(), Description: "# What it does"}
	for i := range 100 {
		r.Done, r.Checkpoint = i, []byte(strconv.Itoa(i))
		if err := lease.Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if got := pgtest.One(t, url, "SELECT done || ' ' || checkpoint || ' ' || description || ' ' || output FROM aurora.aurora_revisions"); got != "99 99 # What it does "+r.Output {
		t.Errorf("the history has %.60s… (%d bytes)", got, len(got))
	}
	size, err := strconv.Atoi(pgtest.One(t, url, "SELECT pg_total_relation_size(reltoastrelid) FROM pg_class WHERE oid = 'aurora.aurora_revisions'::regclass"))
	if err != nil || size > 2<<20 {
		t.Errorf("the output takes %d bytes, %v", size, err)
	}
	// What changes is written.
	r.Output += "more\n"
	for range 2 {
		if err := lease.Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if got := pgtest.One(t, url, "SELECT right(output, 5) FROM aurora.aurora_revisions"); got != "more\n" {
		t.Errorf("the output ends with %q", got)
	}
}

package dsql

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestAdvise(t *testing.T) {
	for _, tt := range []struct{ code, message, want string }{
		{"54000", "transaction row limit exceeded", "3,000 rows"},
		{"54000", "transaction size limit 10mb exceeded", "fewer rows"},
		{"54000", "transaction age limit of 300s exceeded", "5 minutes"},
		{"54000", "more than 24 indexes per table are not allowed", "drop an index"},
		{"0A000", "unsupported ALTER TABLE DROP CONSTRAINT statement", "a primary key stays"},
		{"0A000", "cannot drop primary key column id", "a primary key stays"},
		{"55000", `index "i" is not valid`, "sys.jobs"},
		{"40001", "change conflicts with another transaction (OC000)", "the same rows"},
		{"40001", "schema has been updated by another transaction (OC001)", "the schema"},
		{"0A000", "unsupported statement: Truncate", "DELETE in batches"}, // a rule's
		{"0A000", "unheard of", ""},
		{"42P01", "unsupported statement: Truncate", ""},
	} {
		got := advise(fmt.Errorf("x: %w", &pgconn.PgError{Code: tt.code, Message: tt.message}))
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s %s: %q, want %q in it", tt.code, tt.message, got, tt.want)
		}
	}
	if got := advise(errors.New("no server said that")); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestOutcomeOfJobs(t *testing.T) {
	index := job{Kind: indexJob, Schema: "public", Object: "i", StartedAt: time.Now()}
	check := job{Kind: validateJob, Schema: "s", Object: "c"}
	for _, tt := range []struct {
		state jobState
		want  string
	}{
		{jobState{job: index, status: jobProcessing, exists: true}, "building index i: processing, 0s"},
		{jobState{job: index, status: jobCompleted, exists: true, valid: true}, "index i is valid"},
		{jobState{job: index, status: jobFailed, details: "Found duplicate key", exists: true}, "index i did not get ready: Found duplicate key"},
		{jobState{job: check}, "constraint s.c is not valid, and nothing works on it"},
	} {
		if got := tt.state.outcome(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

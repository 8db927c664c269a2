package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aurora-migrate/aurora/cli/internal/report"
)

// A statement that holds the URL's password shows it nowhere.
func TestStatementsHideSecrets(t *testing.T) {
	const sql = "ALTER ROLE app PASSWORD 's3cret-and-long';"
	s := &secrets{}
	s.add("postgres://u:s3cret-and-long@db/app")
	f := &report.AppliedFile{
		Applied:  []string{"SELECT 1;", sql},
		Rewrites: []*report.Rewrite{{Index: 1, Stmt: sql, Sent: sql}},
		Refused:  []*report.Refusal{{Index: 1, Stmt: sql}},
		Error:    &report.StmtError{Stmt: sql},
	}
	s.hideFiles([]*report.AppliedFile{f, {}})
	out, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(out), "PASSWORD '"+hidden+"'"); n != 5 || strings.Contains(string(out), "s3cret") {
		t.Errorf("%d of 5 are hidden: %s", n, out)
	}
}

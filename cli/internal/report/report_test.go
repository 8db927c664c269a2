package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"ariga.io/atlas/atlasexec"
	"github.com/google/go-cmp/cmp"
)

func TestSummary(t *testing.T) {
	failed := "no"
	ok := &AppliedFile{Applied: []string{"a", "b"}}
	broken := &AppliedFile{Applied: []string{"a", "b"}, Error: &StmtError{Text: "no"}}
	checked := &AppliedFile{Applied: []string{"a"}, Checks: []*FileChecks{{Stmts: []*Check{{Stmt: "x"}, {Stmt: "y"}}}}}
	refused := &AppliedFile{Error: &StmtError{}, Checks: []*FileChecks{{Stmts: []*Check{{}, {Error: &failed}}, Error: &StmtError{Text: "no"}}}}
	never := &AppliedFile{Applied: []string{"a", "b", "c"}, Error: &StmtError{}, Refused: []*Refusal{{Index: 0}, {Index: 0}, {Index: 2}}}
	tests := []struct {
		name  string
		files []*AppliedFile
		want  string
	}{
		{"nothing", nil, "-- 1s"},
		{"one", []*AppliedFile{checked}, "-- 1s\n  -- 1 migration\n  -- 2 checks\n  -- 1 sql statement"},
		{"two", []*AppliedFile{ok, ok}, "-- 1s\n  -- 2 migrations\n  -- 4 sql statements"},
		{"one of two", []*AppliedFile{ok, broken}, "-- 1s\n  -- 1 migration ok, 1 with errors\n  -- 3 sql statements ok, 1 with errors"},
		{"none", []*AppliedFile{broken}, "-- 1s\n  -- 1 migration with errors\n  -- 1 sql statement ok, 1 with errors"},
		{"refused", []*AppliedFile{never}, "-- 1s\n  -- 1 migration with errors\n  -- 1 sql statement ok, 2 with errors"},
		{"a check", []*AppliedFile{refused}, "-- 1s\n  -- 1 migration with errors\n  -- 1 check ok, 1 failure"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := &Apply{Applied: tt.files, Start: time.Unix(0, 0), End: time.Unix(1, 0)}
			if diff := cmp.Diff(tt.want, a.Summary("  ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Below a statement stands how it was sent, and why it would be refused; a
// reason that is about no statement comes last.
func TestWriteFile(t *testing.T) {
	f := &AppliedFile{
		File: File{Version: "1"}, Applied: []string{"a", "b"}, Error: &StmtError{Text: "first"},
		Rewrites: []*Rewrite{{Index: 1, Changes: []string{`with "x"`, `without "y"`}}},
		Refused:  []*Refusal{{Index: 0, Text: "first"}, {Index: 0, Text: "second"}, {Index: 1, Text: "third"}},
	}
	for _, tt := range []struct {
		name    string
		refused []*Refusal
		want    string
	}{
		{"refused", f.Refused, "    -> a\n       first\n       second\n    -> b\n       -- sent with \"x\", without \"y\"\n       third\n  -- refused\n"},
		{"nowhere", []*Refusal{{Index: -1, Text: "first"}}, "    -> a\n    -> b\n       -- sent with \"x\", without \"y\"\n    first\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.Refused = tt.refused
			var b bytes.Buffer
			if err := Paint(false).WriteFile(&b, f, "migrating", true); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff("\n  -- migrating version 1\n"+tt.want, b.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Atlas's own types read what is written.
func TestAtlasReadsIt(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	file := File{Name: "1_a.sql", Version: "1", Description: "a"}
	in := &Apply{
		Env:     Env{Driver: "postgres", URL: NewURL("postgres://u:xxxxx@h:1/db?search_path=s"), Dir: "file://migrations"},
		Pending: []File{file}, Current: "0", Target: "1", Start: start, End: start.Add(time.Second), Error: "no",
		Applied: []*AppliedFile{{
			File: file, Start: start, End: start, Skipped: 1, Applied: []string{"x"}, Error: &StmtError{Stmt: "x", Text: "no"},
			Checks: []*FileChecks{{Name: "checks", Stmts: []*Check{{Stmt: "y"}}}},
		}},
	}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("xxxxx")) {
		t.Errorf("holds a password: %s", b)
	}
	var out atlasexec.MigrateApply
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	got := out.Applied[0]
	switch {
	case out.Driver != "postgres", out.URL.Host != "h:1", out.URL.Schema != "s", out.URL.User == nil, out.Dir != "file://migrations",
		out.Pending[0] != atlasexec.File{Name: "1_a.sql", Version: "1", Description: "a"}, out.Current != "0", out.Target != "1",
		!out.Start.Equal(start), out.Error != "no",
		got.Name != "1_a.sql", got.Skipped != 1, got.Applied[0] != "x", got.Error.Text != "no", got.Checks[0].Stmts[0].Stmt != "y":
		t.Errorf("got %s", b)
	}
}

func TestColours(t *testing.T) {
	s := &Status{Paint: true, Status: Pending, Current: "1", Next: "2", Count: 1, Total: 3, SQL: "SELECT", Error: "no"}
	want := "Migration Status: \x1b[33mPENDING\x1b[0m\n" +
		"  \x1b[33m--\x1b[0m Current Version: \x1b[36m1\x1b[0m (\x1b[33m1\x1b[0m statements applied)\n" +
		"  \x1b[33m--\x1b[0m Next Version:    \x1b[36m2\x1b[0m (\x1b[33m2\x1b[0m statements left)\n" +
		"  \x1b[33m--\x1b[0m Executed Files:  0 (last one partially)\n" +
		"  \x1b[33m--\x1b[0m Pending Files:   0\n" +
		"\nLast migration attempt had errors:\n  \x1b[33m--\x1b[0m SQL:   SELECT\n  \x1b[33m--\x1b[0m \x1b[91mERROR:\x1b[0m no\n"
	if diff := cmp.Diff(want, s.Text()); diff != "" {
		t.Error(diff)
	}
}

// These are templates of Atlas's documentation and of its integrations.
func TestFormat(t *testing.T) {
	status := &Status{Current: "1", Next: "2", Status: Pending, Pending: []File{{Version: "2", Name: "2_b.sql", Description: "b"}}}
	apply := &Apply{Current: "1", Target: "2", Pending: status.Pending, Applied: []*AppliedFile{{File: status.Pending[0], Applied: []string{"a\nb"}}}}
	tests := []struct {
		name   string
		format string
		data   any
		want   string
	}{
		{"fields", "{{ .Status }}{{ range .Pending }} {{ .Name }} {{ .Desc }}{{ end }}", status, "PENDING 2_b.sql b"},
		{"default", "{{ with default . }}{{ len . }}{{ end }}", status, "122"},
		{"files", "{{ range $f := .Applied }}{{ $f.File.Version }}{{ range $f.Applied }} {{ indent_ln . 2 }}{{ end }}{{ end }}", apply, "2 a\n  b"},
		{"methods", `{{ .Header }}{{ .Summary "" | len | lt 5 }}`, apply, "Migrating to version 2 from 1 (1 migrations in total):true"},
		{"merge", `{{ json_merge (json .Env) "{\"a\":1}" }}`, apply, `{"a":1}`},
		{"colours", `{{ red "%d" 1 }}{{ redBgWhiteFg "x" }}{{ upper "y" }}{{ cyan "100%" }}`, apply, "1xY100%"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := ParseFormat(tt.format, false)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := f.Execute(&b, tt.data); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, bad := range []string{"{{ .", "{{ nothing }}", "{{ .Nothing }}", `{{ json_merge "x" }}`} {
		f, err := ParseFormat(bad, false)
		if err == nil {
			err = f.Execute(&bytes.Buffer{}, status)
		}
		var want *FormatError
		if !errors.As(err, &want) {
			t.Errorf("%s: got %v, want a FormatError", bad, err)
		}
	}
}

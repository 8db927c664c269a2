package sqlfile_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/sqlfile"
)

var update = flag.Bool("update", false, "rewrite the want files in testdata")

// TestGolden loads the directories in testdata. Each is an archive whose files
// are the directory, and "want" what comes of it. A line that begins with
// ">-- " stands for a marker line of an inner archive; a name may end in the
// words crlf and bom, which say how the file is written.
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			fsys := fstest.MapFS{}
			want := -1
			for i, f := range archive.Files {
				if f.Name == "want" {
					want = i
					continue
				}
				words := strings.Fields(f.Name)
				text := strings.ReplaceAll("\n"+string(f.Data), "\n>-- ", "\n-- ")[1:]
				for _, word := range words[1:] {
					switch word {
					case "crlf":
						text = strings.ReplaceAll(text, "\n", "\r\n")
					case "bom":
						text = "\ufeff" + text
					}
				}
				fsys[words[0]] = &fstest.MapFile{Data: []byte(text)}
			}
			ms, err := sqlfile.Load(fsys, sqlfile.Options{Name: "db"})
			got := dump(ms, err)
			if *update {
				if want < 0 {
					want = len(archive.Files)
					archive.Files = append(archive.Files, txtar.File{Name: "want"})
				}
				archive.Files[want].Data = []byte(got)
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want < 0 {
				t.Fatal("no file want")
			}
			if diff := cmp.Diff(string(archive.Files[want].Data), got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func dump(ms []aurora.Migration, err error) string {
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	var b strings.Builder
	for _, m := range ms {
		fmt.Fprintf(&b, "version %q name %q source %s txmode %q snapshot %v irreversible %q\n", m.Version, m.Name, m.Source, m.TxMode, m.Snapshot, m.Irreversible)
		if m.Description != "" {
			fmt.Fprintf(&b, "  | %s\n", strings.ReplaceAll(m.Description, "\n", "\n  | "))
		}
		for _, c := range m.Checks {
			fmt.Fprintf(&b, "  check %s oneof %v\n", c.Name, c.OneOf)
			for _, s := range c.Statements {
				fmt.Fprintf(&b, "    %s: %q\n", s.Pos(), s.SQL)
			}
		}
		for _, d := range []aurora.Direction{aurora.Up, aurora.Down} {
			statements, _ := m.Statements(d)
			for _, s := range statements {
				fmt.Fprintf(&b, "  %s %s: %q\n", d, s.Pos(), s.SQL)
			}
		}
	}
	return b.String()
}

package sqlfile

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzMembers cuts any text as an archive and compares it with the format's
// first implementation, in Go's tools.
func FuzzMembers(f *testing.F) {
	f.Add("-- atlas:txtar\n\n-- checks.sql --\nSELECT 1;\n-- checks/a.sql --\n-- migration.sql --\nSELECT 2;\n-- down.sql --\nSELECT 3;\n")
	f.Add("-- migration.sql --")
	f.Add("--  migration.sql  --\n-- x\n -- down.sql --\n")
	f.Add("-- migration.sql -- \n-- --\n--  --\n-- --- --\n")
	f.Fuzz(func(t *testing.T, text string) {
		text = normalize([]byte(text))
		head, members, err := part{text: text}.members()
		if err != nil {
			return
		}
		lines := strings.SplitAfter(text, "\n")
		joined := head.text
		var got []txtar.File
		for _, m := range members {
			joined += lines[m.above-1] + m.text
			if strings.Join(lines[m.above:], "")[:len(m.text)] != m.text {
				t.Fatalf("%s is not below line %d of %q", m.name, m.above, text)
			}
			got = append(got, txtar.File{Name: m.name, Data: []byte(m.text)})
		}
		if joined != text {
			t.Fatalf("joined: %q, want %q", joined, text)
		}
		// Blanks behind a marker line are a difference that is meant.
		if trimmed := trimLines(text); trimmed != text || text != "" && !strings.HasSuffix(text, "\n") {
			return
		}
		if strings.Contains("\n"+text, "\n-- --\n") {
			return // txtar.Parse of this version panics
		}
		want := txtar.Parse([]byte(text))
		if diff := cmp.Diff(want.Files, got, cmp.Transformer("text", func(b []byte) string { return string(b) })); diff != "" || string(want.Comment) != head.text {
			t.Fatalf("%q: -txtar +sqlfile\n%s", text, diff)
		}
	})
}

// trimLines removes blanks at the ends of lines.
func trimLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t")
	}
	return strings.Join(lines, "\n")
}

// TestNeverOverwrites writes where one of two files is there already.
func TestNeverOverwrites(t *testing.T) {
	root := t.TempDir()
	r := reader{}
	first, err := r.write(root, "1_a", "a", true)
	if err != nil || len(first) != 2 {
		t.Fatalf("got %v, %v", first, err)
	}
	if written, err := r.write(root, "1_a", "b", true); err == nil || len(written) > 0 {
		t.Errorf("second: %v, %v", written, err)
	}
	if err := os.Rename(first[0], first[0]+".moved"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.write(root, "1_a", "b", true); !errors.Is(err, fs.ErrExist) {
		t.Errorf("with a way down: %v", err)
	}
	if err := os.Link(first[0]+".moved", first[0]); err != nil {
		t.Errorf("the way up was left behind: %v", err)
	}
	m, err := LoadDir(root, Options{})
	if err != nil || len(m) != 1 || m[0].Description != "# a" {
		t.Errorf("got %v, %v", m, err)
	}
}

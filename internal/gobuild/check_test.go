package gobuild

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aurora-migrate/aurora"
)

// pkg writes files into a new directory and reads it. The directory's name is
// left out of what is compared.
func pkg(t *testing.T, files map[string]string) *Package {
	t.Helper()
	dir := t.TempDir()
	for name, src := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(src), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	imports = "package m\n\nimport \"github.com/aurora-migrate/aurora\"\n\n"
	fileA   = imports + "var a = aurora.Migration{Version: \"1\", Name: \"a\", Up: up, Irreversible: \"so\"}\n"
	fileB   = imports + "var b = aurora.Migration{Version: \"2\", Name: \"b\", Up: up, Down: up}\n"
)

func sliceFileOf(elements string) string {
	return imports + "var Migrations = []aurora.Migration{" + elements + "}\n"
}

// embedFile is what exports a directory's SQL to another tool.
func embedFile(typ string) string {
	return "package m\n\nimport \"embed\"\n\n//go:embed *.sql\nvar Migrations " + typ + "\n"
}

// wantError compares an error with its lines; none means no error.
func wantError(t *testing.T, p *Package, err error, want ...string) {
	t.Helper()
	var got []string
	if err != nil {
		got = strings.Split(strings.ReplaceAll(err.Error(), p.Dir+string(filepath.Separator), ""), "\n")
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("missing: %s", want[i])
		case i >= len(want):
			t.Errorf("unexpected: %s", got[i])
		case !strings.HasPrefix(got[i], want[i]):
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}

func TestCheckSource(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"all well", map[string]string{"1_a.go": fileA, "2_b.go": fileB, "m.go": sliceFileOf("a, b")}, nil},
		{"the slice in one of the files", map[string]string{"1_a.go": fileA + "\nvar Migrations = []aurora.Migration{a}\n"}, nil},
		{"a slice that a function makes", map[string]string{"1_a.go": fileA, "m.go": imports + "var Migrations = all()\n"}, nil},
		{"an element that a function of another package makes", map[string]string{"1_a.go": fileA, "m.go": sliceFileOf("a, other.Migration()")}, nil},
		{"a function in its file", map[string]string{"1_a.go": imports + "func a() aurora.Migration { m := b; return m }\n", "m.go": sliceFileOf("a()")}, nil},
		{"the name as a constant", map[string]string{"1_a.go": strings.Replace(fileA, `"a"`, "name", 1), "m.go": sliceFileOf("a")}, nil},
		{"a way down in a variable", map[string]string{"1_a.go": fileA, "m.go": sliceFileOf("a")}, nil},
		{"a test with a version", map[string]string{"1_a.go": fileA, "1_a_test.go": "package m\n", "m.go": sliceFileOf("a")}, nil},
		{"an external test", map[string]string{"1_a.go": fileA, "x_test.go": "package m_test\n", "m.go": sliceFileOf("a")}, nil},
		{"a tool beside it", map[string]string{"1_a.go": fileA, "gen.go": "//go:build ignore\n\npackage main\n", "m.go": sliceFileOf("a")}, nil},
		{"a file for another system beside it", map[string]string{"1_a.go": fileA, "x_windows.go": "package m\n", "m.go": sliceFileOf("a")}, nil},
		{"not listed", map[string]string{"1_a.go": fileA, "2_b.go": fileB, "m.go": sliceFileOf("a")},
			[]string{"2_b.go: would never run, as Migrations does not list it; add b to the slice at m.go:5"}},
		{"an empty slice", map[string]string{"1_a.go": fileA, "m.go": imports + "var Migrations []aurora.Migration\n"},
			[]string{"1_a.go: would never run, as Migrations does not list it; add a to the slice at m.go:5"}},
		{"twice", map[string]string{"1_a.go": fileA, "m.go": sliceFileOf("a, a")},
			[]string{"1_a.go:5: the migration 1_a is in Migrations twice; remove one of them"}},
		{"in the wrong file", map[string]string{"1_a.go": fileA, "b.go": fileB, "m.go": sliceFileOf("a, b")},
			[]string{"b.go:5: the migration 2_b in Migrations has no file of its own; move it to 2_b.go"}},
		{"another version", map[string]string{"01_a.go": fileA, "m.go": sliceFileOf("a")},
			[]string{`01_a.go:5: the version is "1", and the file name says "01"; make them agree`}},
		{"no name", map[string]string{"1_a.go": strings.Replace(fileA, `Name: "a", `, "", 1), "m.go": sliceFileOf("a")},
			[]string{`1_a.go:5: the name is "", and the file name says "a"; make them agree`}},
		{"no Up", map[string]string{"1_a.go": strings.Replace(fileA, `Up: up, `, "", 1), "m.go": sliceFileOf("a")},
			[]string{"1_a.go:5: the migration 1_a has no Up"}},
		{"no Down", map[string]string{"2_b.go": strings.Replace(fileB, `, Down: up`, "", 1), "m.go": sliceFileOf("b")},
			[]string{"2_b.go:5: the migration 2_b has neither Down nor Irreversible"}},
		{"for one system", map[string]string{"1_a.go": "//go:build linux\n\n" + fileA, "m.go": sliceFileOf("a")},
			[]string{"1_a.go: is left out of the program on some systems"}},
		{"the name is taken", map[string]string{"1_a.go": fileA, "embed.go": embedFile("embed.FS")},
			[]string{"embed.go:6: Migrations is something else than the list of migrations, so that 1_a.go would never run; call it something else"}},
		{"files of two packages", map[string]string{"1_a.go": fileA, "m.go": strings.Replace(sliceFileOf("a"), "package m", "package x", 1)},
			[]string{"m.go: is of package x, and 1_a.go is of package m; give all files the same package clause, or move one away"}},
		{"several at once", map[string]string{"1_a.go": fileA, "2_b.go": strings.Replace(fileB, `"b"`, `"x"`, 1), "3_c.go": "package m\n", "m.go": sliceFileOf("a, b")},
			[]string{`2_b.go:5: the name is "x"`, "3_c.go: would never run, as Migrations does not list it; add the migration in it to the slice at m.go:5"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pkg(t, tt.files)
			if !IsPackage(p.Dir) {
				t.Error("the directory counts as one without Go migrations")
			}
			wantError(t, p, p.CheckSource(), tt.want...)
		})
	}
}

func TestIsPackage(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  bool
	}{
		{"nothing", nil, false},
		{"only SQL", map[string]string{"1_a.sql": "SELECT 1;"}, false},
		{"an embedding package", map[string]string{"1_a.sql": "SELECT 1;", "embed.go": "package m\n"}, false},
		{"an empty slice", map[string]string{"m.go": sliceFileOf("")}, false},
		{"a slice that a function makes", map[string]string{"m.go": imports + "var Migrations = all()\n"}, true},
		{"an embed.FS of that name", map[string]string{"1_a.sql": "SELECT 1;", "embed.go": embedFile("embed.FS")}, false},
		{"an embedded text of that name", map[string]string{"1_a.sql": "SELECT 1;", "embed.go": embedFile("string")}, false},
		{"embedded bytes of that name", map[string]string{"1_a.sql": "SELECT 1;", "embed.go": embedFile("[]byte")}, false},
		{"a slice that init fills", map[string]string{"m.go": imports + "var Migrations []aurora.Migration\n"}, true},
		{"a slice with a type of its own", map[string]string{"m.go": imports + "type list []aurora.Migration\n\nvar Migrations list = all()\n"}, true},
		{"a versioned file", map[string]string{"1_a.go": fileA}, true},
		{"a versioned test", map[string]string{"1_a_test.go": "package m\n"}, false},
		{"a hidden file", map[string]string{".1_a.go": fileA, "_1_a.go": fileA}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := IsPackage(pkg(t, tt.files).Dir); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
	if IsPackage(filepath.Join(t.TempDir(), "none")) {
		t.Error("a directory that does not exist has Go migrations")
	}
}

func TestCheckOfAProgram(t *testing.T) {
	step := aurora.Func{Name: "step", Do: func(context.Context, *aurora.Env) error { return nil }}
	a := aurora.Migration{Version: "1", Name: "a", Up: []aurora.Step{step}, Irreversible: "so"}
	b := aurora.Migration{Version: "2", Name: "b", Up: []aurora.Step{step}, Down: []aurora.Step{step}}
	edited := a
	edited.Checksum = aurora.Checksum(fileB)
	same := a
	same.Checksum = aurora.Checksum(fileA)
	renamed, moved := b, b
	renamed.Name, moved.Version = "c", "3"
	for _, tt := range []struct {
		name string
		have []aurora.Migration
		want []string
	}{
		{"all well", []aurora.Migration{b, same}, nil},
		{"nothing", nil, []string{"1_a.go: would never run", "2_b.go: would never run"}},
		{"one is missing", []aurora.Migration{a}, []string{"2_b.go: would never run"}},
		{"one more", []aurora.Migration{a, b, {Version: "9", Up: a.Up, Irreversible: "so"}}, []string{"m.go:5: the migration 9 in Migrations has no file of its own; move it to 9.go"}},
		{"another name", []aurora.Migration{a, renamed}, []string{`2_b.go:5: the name is "c", and the file name says "b"`}},
		{"another version", []aurora.Migration{a, moved}, []string{`m.go:5: the version is "3", and the file name says "2"`}},
		{"older sources", []aurora.Migration{edited, b}, []string{"1_a.go: is not the file that this program was built from"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pkg(t, map[string]string{"1_a.go": fileA, "2_b.go": fileB, "m.go": sliceFileOf("a, b")})
			have := append([]aurora.Migration(nil), tt.have...)
			err := p.Check(have)
			wantError(t, p, err, tt.want...)
			if err == nil && have[0].Source != filepath.Join(p.Dir, "2_b.go") {
				t.Errorf("the source is %q", have[0].Source)
			}
		})
	}
}

func TestCheckValues(t *testing.T) {
	step := []aurora.Step{aurora.Func{Name: "step", Do: func(context.Context, *aurora.Env) error { return nil }}}
	for _, tt := range []struct {
		name string
		m    aurora.Migration
		want string
	}{
		{"all well", aurora.Migration{Version: "1", Up: step, Down: step}, ""},
		{"irreversible", aurora.Migration{Version: "1", Up: step, Irreversible: "so"}, ""},
		{"a statement", aurora.Migration{Version: "1", Up: []aurora.Step{aurora.Statement{SQL: "SELECT 1"}}, Irreversible: "so"}, ""},
		{"no version", aurora.Migration{Up: step, Down: step}, "the Go migration without a version: needs a Version"},
		{"no Up", aurora.Migration{Version: "1", Name: "a", Down: step}, "the Go migration 1_a: has no Up"},
		{"no Down", aurora.Migration{Version: "1", Up: step}, "the Go migration 1: has neither Down nor Irreversible"},
		{"a step without code", aurora.Migration{Version: "1", Up: []aurora.Step{aurora.Func{Name: "x"}}, Down: step}, "the Go migration 1: has a step without Name or Do"},
		{"a step that is nil", aurora.Migration{Version: "1", Up: step, Down: []aurora.Step{step[0], nil}}, "the Go migration 1: has a step that is nil"},
		{"a step without a name", aurora.Migration{Version: "1", Up: step, Down: []aurora.Step{aurora.Func{Do: step[0].(aurora.Func).Do}}}, "the Go migration 1: has a step without Name or Do"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckValues([]aurora.Migration{tt.m})
			if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

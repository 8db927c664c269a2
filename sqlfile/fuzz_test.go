package sqlfile_test

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"ariga.io/atlas/sql/migrate"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/sqlfile"
)

// FuzzLoad loads directories of two files with any names, contents and sums.
func FuzzLoad(f *testing.F) {
	f.Add("1_a.sql", "-- # a\nSELECT 1;", "1_a.down.sql", "SELECT 2;", "")
	f.Add("2_b.sql", "-- atlas:txmode none\r\n\r\nSELECT 'a;b';", "10_a.sql", "/* x */", "h1:x\n")
	f.Add("V1__x.sql", "-- +goose Up", "1.SQL", "-- atlas:delimiter \\n\nSELECT 1\nSELECT 2", "<<<<<<<\nh1:\n=======\n")
	f.Add("1.sql", "\ufeff-- atlas:txtar\n-- checks.sql --\nSELECT 1;\n-- migration.sql --\nSELECT 2;\n-- down.sql --\nSELECT 3;", "2.sql", "-- atlas:sum ignore\n", "")
	f.Add("1.sql", "/**\n * x\n*/-- atlas:checkpoint", "a/b.sql", "DELIMITER //\nSELECT 1//", "h1:\n1.sql h1:x\n1.sql h1:x\n")
	f.Add("a_b.sql", "/*\n  *\n*/", "\xff.sql", "\x00", "")
	f.Add("\xde.Sql", "", "1.sql", "SELECT 1", "")
	f.Fuzz(func(t *testing.T, name1, text1, name2, text2, sum string) {
		fsys := fstest.MapFS{}
		files := map[string][]byte{}
		for _, f := range [][2]string{{name1, text1}, {name2, text2}} {
			// No file system has other names.
			if f[0] == "" || strings.ContainsAny(f[0], "/\x00") || f[0] == "." || f[0] == ".." {
				continue
			}
			fsys[f[0]] = &fstest.MapFile{Data: []byte(f[1])}
			files[f[0]] = []byte(f[1])
		}
		if sum != "" {
			fsys[sqlfile.SumName] = &fstest.MapFile{Data: []byte(sum)}
		}
		ms, err := sqlfile.Load(fsys, sqlfile.Options{Name: "db"})
		if err != nil && (len(ms) > 0 || !utf8.ValidString(err.Error()) && utf8.ValidString(text1+text2+sum)) {
			t.Fatalf("%d migrations with the error %q", len(ms), err)
		}
		checkMigrations(t, fsys, ms)
		text, err := sqlfile.Sum(fsys)
		if err != nil {
			return
		}
		if want := sumByHand(files); !bytes.Equal(text, want) {
			t.Fatalf("sum %q, want %q", text, want)
		}
		fsys[sqlfile.SumName] = &fstest.MapFile{Data: text}
		var h migrate.HashFile
		if err := h.UnmarshalText(text); err != nil {
			t.Fatalf("Atlas cannot read the sum %q: %v", text, err)
		}
		again, err := sqlfile.Load(fsys, sqlfile.Options{Name: "db"})
		if len(ms) > 0 && (err != nil || len(again) != len(ms)) {
			t.Fatalf("with its own sum: %v", err)
		}
	})
}

// checkMigrations checks what must hold of whatever was loaded.
func checkMigrations(t *testing.T, fsys fs.FS, ms []aurora.Migration) {
	t.Helper()
	for i, m := range ms {
		stem := strings.TrimPrefix(strings.TrimSuffix(m.Source, ".sql"), "db/")
		// "1_.sql" has a version and an empty name, as "1.sql" has.
		if m.Version == "" || m.ID() != stem && m.ID()+"_" != stem {
			t.Fatalf("version %q, name %q, source %q", m.Version, m.Name, m.Source)
		}
		if i > 0 && (aurora.CompareVersions(ms[i-1].Version, m.Version) >= 0 || ms[i-1].Source >= m.Source) {
			t.Fatalf("%s before %s", ms[i-1].Source, m.Source)
		}
		if !utf8.ValidString(m.Description) {
			t.Fatalf("description %q", m.Description)
		}
		var all []aurora.Statement
		for _, d := range []aurora.Direction{aurora.Up, aurora.Down} {
			statements, _ := m.Statements(d)
			all = append(all, statements...)
		}
		for _, c := range m.Checks {
			all = append(all, c.Statements...)
		}
		for _, s := range all {
			data, err := fs.ReadFile(fsys, strings.TrimPrefix(s.File, "db/"))
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.SplitAfter(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
			if s.SQL == "" || s.Line < 1 || s.Line > len(lines) || !strings.Contains(strings.Join(lines[s.Line-1:], ""), s.SQL) {
				t.Fatalf("%q is not at %s", s.SQL, s.Pos())
			}
			first, _, _ := strings.Cut(s.SQL, "\n")
			if !strings.Contains(lines[s.Line-1], first) {
				t.Fatalf("%q is not on line %d of %q", first, s.Line, data)
			}
		}
	}
}

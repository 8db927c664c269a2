package sqlfile_test

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"ariga.io/atlas/sql/migrate"
	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/sqllex"
	"github.com/aurora-migrate/aurora/sqlfile"
)

const shop = "../examples/shop/migrations"

func TestQuickstart(t *testing.T) {
	d, err := sqlfile.Read(os.DirFS(shop), sqlfile.Options{Name: "migrations"})
	if err != nil {
		t.Fatal(err)
	}
	if !d.HasSum {
		t.Error("atlas.sum was not seen")
	}
	files, err := filepath.Glob(shop + "/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	downs := 0
	for _, f := range files {
		if strings.HasSuffix(f, ".down.sql") {
			downs++
		}
	}
	if len(d.Migrations) != len(files)-downs || downs == 0 {
		t.Errorf("%d migrations of %d files, %d of them ways down", len(d.Migrations), len(files), downs)
	}
	if _, err := aurora.Sort(d.Migrations); err != nil {
		t.Error(err)
	}
	byID := map[string]aurora.Migration{}
	for _, m := range d.Migrations {
		byID[m.ID()] = m
		if len(m.Up) == 0 || m.Description == "" || m.Checksum == "" {
			t.Errorf("%s is not whole: %+v", m.ID(), m)
		}
	}
	archive := byID["20250505081500_create_gift_cards"]
	if len(archive.Checks) != 1 || len(archive.Up) != 5 || len(archive.Down) != 4 {
		t.Errorf("archive: %+v", archive)
	}
	if m := byID["20241111120000_create_suppliers"]; m.TxMode != aurora.TxNone {
		t.Errorf("the CRLF file has transaction mode %q", m.TxMode)
	}
}

// atlasBugs are the files of the example that Atlas's scanner cuts wrongly, and
// what it is that it does not know.
var atlasBugs = map[string]string{
	"3_delim":                         "that the server takes one statement at a time",
	"20240904101000_create_addresses": "nested comments",
	"20241209090000_create_product_translations": "Unicode in dollar tags",
	"20250113101500_create_settings":             "the byte order mark",
	"20250217093000_create_erp_map":              "dollar signs in names",
	"20250401090000_create_returns":              "escape strings",
}

// TestStatementsAreAtlas compares statements with Atlas's on files that Atlas
// splits right, and lines where it also counts them right.
func TestStatementsAreAtlas(t *testing.T) {
	mine := dir(
		"1_plain.sql", "CREATE TABLE a (b text DEFAULT 'x;y');\n\n-- comment\nINSERT INTO a VALUES ($$a;b$$), ('it''s'); SELECT 1",
		"2_function.sql", "CREATE FUNCTION f() RETURNS int AS $f$\nBEGIN\n  RETURN 1; -- ;\nEND\n$f$ LANGUAGE plpgsql;\nSELECT f();\n",
		"3_delim.sql", "-- atlas:delimiter \\n\\n\nSELECT 1;\nSELECT 2;\n\nSELECT 3\n",
		"4_command.sql", "DELIMITER //\nSELECT 1; //\nSELECT 2 //\nDELIMITER ;\nSELECT 3;\n",
		"5_quoted.sql", "SELECT \"a;b\" /* ; */ FROM \"c\"\"d\"; SELECT $1;\n",
		"6_rule.sql", "CREATE RULE r AS ON INSERT TO a DO (SELECT 1; SELECT 2);\nSELECT 4;\n",
	)
	compared := 0
	for _, fsys := range []fs.FS{mine, os.DirFS(shop)} {
		ms, err := sqlfile.Load(fsys, sqlfile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms {
			data, err := fs.ReadFile(fsys, m.Source)
			if err != nil {
				t.Fatal(err)
			}
			file := migrate.NewLocalFile(m.Source, data)
			if file.Version() != m.Version || file.Desc() != m.Name {
				t.Errorf("%s: Atlas says version %q, description %q", m.Source, file.Version(), file.Desc())
			}
			// Atlas's community version runs archives flat and keeps CRs.
			text := string(data)
			if strings.Contains(text, "atlas:txtar") || strings.Contains(text, "\r") {
				continue
			}
			compared++
			got, _ := m.Statements(aurora.Up)
			countsLines := !strings.Contains(strings.ToLower(text), "delimiter")
			want, err := atlasStatements(file, countsLines)
			if !countsLines {
				for i := range got {
					got[i].Line = 0
				}
			}
			diff := cmp.Diff(want, got)
			bug := atlasBugs[m.ID()]
			switch same := err == nil && diff == ""; {
			case same && bug != "":
				t.Errorf("%s: Atlas is said not to know %s, but does", m.Source, bug)
			case !same && bug == "":
				t.Errorf("%s: Atlas's error %v, statements -atlas +sqlfile\n%s", m.Source, err, diff)
			}
		}
	}
	if compared < 30 {
		t.Errorf("only %d files compared", compared)
	}
}

func atlasStatements(file *migrate.LocalFile, lines bool) (out []aurora.Statement, err error) {
	stmts, err := migrate.FileStmtDecls(nil, file)
	for _, s := range stmts {
		a := aurora.Statement{SQL: sqllex.TrimSemicolon(s.Text), File: file.Name()}
		if lines {
			a.Line, _ = sqllex.Position(string(file.Bytes()), s.Pos)
		}
		out = append(out, a)
	}
	return out, err
}

//go:embed testdata/embedded
var embedded embed.FS

func TestEmbed(t *testing.T) {
	fsys, err := fs.Sub(embedded, "testdata/embedded")
	if err != nil {
		t.Fatal(err)
	}
	ms, err := sqlfile.Load(fsys, sqlfile.Options{})
	if err != nil || len(ms) != 1 || len(ms[0].Up) != 1 || len(ms[0].Down) != 1 || ms[0].Source != "1_embedded.sql" {
		t.Errorf("got %+v, %v", ms, err)
	}
}

func TestLoadDir(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root)
	for _, name := range []string{"my dir", "100%25", "plain", "50% off"} {
		if err := os.Mkdir(name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(name, "1_a.sql"), []byte("SELECT 1;"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ dir, file string }{
		{"A35", ""},
		{"my dir", "my dir/1_a.sql"},
		{"./my dir/", "my dir/1_a.sql"},
		{"file://my dir", "my dir/1_a.sql"},
		{"file://my%20dir", "my dir/1_a.sql"},
		{"file:my dir", "my dir/1_a.sql"},
		{"file://100%25", "100%25/1_a.sql"},
		{"file://50% off", "50% off/1_a.sql"},
		{"file://50%25%20off", "50% off/1_a.sql"},
		{"file://plain?format=atlas", "plain/1_a.sql"},
		{"file://" + filepath.ToSlash(root) + "/plain", filepath.Join(root, "plain/1_a.sql")},
		{filepath.Join(root, "plain"), filepath.Join(root, "plain/1_a.sql")},
	} {
		ms, err := sqlfile.LoadDir(tt.dir, sqlfile.Options{})
		if tt.file == "" {
			if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), filepath.Join(root, tt.dir)) {
				t.Errorf("%s: got %v", tt.dir, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.dir, err)
			continue
		}
		if s := ms[0].Up[0].(aurora.Statement); s.File != filepath.FromSlash(tt.file) || ms[0].Source != s.File {
			t.Errorf("%s: file is %s", tt.dir, s.File)
		}
	}
	for dir, want := range map[string]string{
		"":                       "no migrations directory given",
		"file://":                `the URL "file://" names no directory`,
		"s3://bucket":            "a migrations directory cannot be a s3:// URL; give a path or a file:// URL",
		"file://x?format=goose":  `the directory format "goose" is not supported, only atlas: files <version>_<name>.sql, with <version>_<name>.down.sql for the way down`,
		"file":                   filepath.Join(root, "file") + " is a file, not a directory of migrations",
		"A31 no such directory/": "the migrations directory " + filepath.Join(root, "A31 no such directory") + " does not exist; correct the path, or create it with: aurora migrate new NAME: file does not exist",
	} {
		_, err := sqlfile.LoadDir(dir, sqlfile.Options{})
		wantError(t, err, want)
	}
}

func TestChecksum(t *testing.T) {
	load := func(files ...string) string {
		t.Helper()
		ms, err := sqlfile.Load(dir(files...), sqlfile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return ms[0].Checksum
	}
	const text = "-- x\nSELECT 1;\nSELECT 2;\n"
	crlf := "\ufeff" + strings.ReplaceAll(text, "\n", "\r\n")
	if got := load("1.sql", text); got != aurora.Checksum(text) || got != load("1.sql", crlf) || got != load("1.sql", text, "1.down.sql", "SELECT 3;") {
		t.Errorf("plain file: %s", got)
	}
	const (
		checks = "-- checks.sql --\nSELECT true;\n"
		up     = "-- migration.sql --\nSELECT 1;\n"
		down   = "-- down.sql --\nSELECT 2;\n"
	)
	archive := "-- atlas:txtar\n\n"
	base := load("1.sql", archive+checks+up)
	for name, same := range map[string]string{
		"way down":        archive + checks + up + "\n" + down,
		"other way down":  archive + checks + "\n" + down + "SELECT 3;\n" + up,
		"description":     archive + "-- Why.\n\n" + checks + up,
		"CRLF and BOM":    "\ufeff" + strings.ReplaceAll(archive+checks+up, "\n", "\r\n"),
		"no last newline": strings.TrimSuffix(archive+checks+up, "\n"),
	} {
		if got := load("1.sql", same); got != base {
			t.Errorf("%s changes the checksum", name)
		}
	}
	for name, other := range map[string]string{
		"way up":    archive + checks + up + "SELECT 2;\n",
		"check":     archive + checks + "SELECT false;\n" + up,
		"no checks": archive + up,
	} {
		if got := load("1.sql", other); got == base {
			t.Errorf("%s does not change the checksum", name)
		}
	}
}

// TestStepHash shows that the hashes by which a run is resumed do not depend
// on the checkout.
func TestStepHash(t *testing.T) {
	const text = "CREATE FUNCTION f() AS $$\n  SELECT 1;\n$$;\nSELECT 'a\nb';\n"
	hashes := func(text string) (out []string) {
		ms, err := sqlfile.Load(dir("1.sql", text), sqlfile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range ms[0].Up {
			out = append(out, aurora.StepHash(s))
		}
		return out
	}
	unix, windows := hashes(text), hashes("\ufeff"+strings.ReplaceAll(text, "\n", "\r\n"))
	if diff := cmp.Diff(unix, windows); diff != "" || len(unix) != 2 {
		t.Errorf("-LF +CRLF\n%s", diff)
	}
}

// TestLargeFiles counts what loading allocates, which must grow no faster than
// the file.
func TestLargeFiles(t *testing.T) {
	kinds := map[string]func(size int) string{
		"statements": func(n int) string { return "-- x\r\n" + strings.Repeat("INSERT INTO t VALUES (1, 'a;b');\r\n", n/34) },
		"one":        func(n int) string { return "INSERT INTO t VALUES" + strings.Repeat(" (1, 'a;b'),\n", n/13) + " (2);" },
		"one line":   func(n int) string { return "INSERT INTO t VALUES" + strings.Repeat(" (1, 'a;b'),", n/12) + " (2);" },
		"comments":   func(n int) string { return strings.Repeat("-- not +goose\n", n/14) },
		"groups":     func(n int) string { return strings.Repeat("--\n\n", n/4) },
		"archive": func(n int) string {
			return "-- atlas:txtar\n-- migration.sql --\n" + strings.Repeat("-- a\nSELECT 1;\n", n/15)
		},
	}
	for name, text := range kinds {
		t.Run(name, func(t *testing.T) {
			cost := func(size int) float64 {
				fsys := fstest.MapFS{"1.sql": {Data: []byte(text(size))}}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, err := sqlfile.Load(fsys, sqlfile.Options{})
				runtime.ReadMemStats(&after)
				if err != nil {
					t.Fatal(err)
				}
				return float64(after.TotalAlloc - before.TotalAlloc)
			}
			const size = 128 << 10
			small, large := cost(size), cost(8*size)
			if large > 16*small {
				t.Errorf("%d bytes allocate %.0f, 8 times as many %.0f", size, small, large)
			}
			// Comments of four bytes are the worst case.
			if large > 100*8*size {
				t.Errorf("%d bytes allocate %.0f", 8*size, large)
			}
		})
	}
}

func TestLoadFS(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	fsys := fstest.MapFS{
		"migrations/1_a.sql": file("SELECT 1;\n"), "more files/1_b.sql": file("SELECT 1;\n"), "100%/1_c.sql": file("SELECT 1;\n"), "file": file(""),
		"empty": {Mode: fs.ModeDir | 0o555},
	}
	for _, tt := range []struct{ dir, want string }{
		{"migrations", "1_a in migrations/1_a.sql"},
		{"file://migrations", "1_a in migrations/1_a.sql"},
		{"./migrations/", "1_a in migrations/1_a.sql"},
		{"file://more files", "1_b in more files/1_b.sql"},
		{"file://more%20files", "1_b in more files/1_b.sql"},
		{"file://100%", "1_c in 100%/1_c.sql"},
		{"none", "none is not inside this program"},
		{"file", "file is a file, not a directory"},
		{"empty", "empty"},
		{"../migrations", "cannot be inside a program"},
		{"/migrations", "cannot be inside a program"},
		{"s3://migrations", "cannot be a s3:// URL"},
		{"", "no migrations directory given"},
	} {
		list, err := sqlfile.LoadFS(fsys, tt.dir, sqlfile.Options{})
		got := fmt.Sprint(err)
		if err == nil && len(list) == 1 {
			got = list[0].ID() + " in " + list[0].Source
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %s, want %s", tt.dir, got, tt.want)
		}
	}
	if list, err := sqlfile.LoadFS(fsys, "empty", sqlfile.Options{AllowEmpty: true}); err != nil || len(list) > 0 {
		t.Errorf("an empty directory: %v, %v", list, err)
	}
	if _, err := sqlfile.LoadFS(fsys, "none", sqlfile.Options{AllowEmpty: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

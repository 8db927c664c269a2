package sqlfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"ariga.io/atlas/sql/migrate"
	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/sqlfile"
)

// noon is in a zone east of Greenwich, so that its date there is another.
var noon = time.Date(2025, 6, 2, 1, 30, 0, 999, time.FixedZone("", 3*60*60))

func newFile(t *testing.T, dir, name string, opts sqlfile.NewOptions) []string {
	t.Helper()
	written, err := sqlfile.New(dir, name, opts)
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range written {
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		written[i] = rel
	}
	return written
}

func TestNew(t *testing.T) {
	root := filepath.Join(t.TempDir(), "not yet", "there")
	for _, tt := range []struct {
		name string
		opts sqlfile.NewOptions
		want []string
	}{
		{" add  users\t", sqlfile.NewOptions{At: noon}, []string{"20250601223000_add_users.sql", "atlas.sum"}},
		{"add users", sqlfile.NewOptions{At: noon, Down: true}, []string{"20250601223001_add_users.sql", "20250601223001_add_users.down.sql", "atlas.sum"}},
		{"clock is behind", sqlfile.NewOptions{At: noon.Add(-time.Hour)}, []string{"20250601223002_clock_is_behind.sql", "atlas.sum"}},
		{"", sqlfile.NewOptions{At: noon.Add(time.Minute)}, []string{"20250601223100.sql", "atlas.sum"}},
		{"日本語.sql", sqlfile.NewOptions{At: noon.Add(time.Hour)}, []string{"20250601233000_日本語.sql", "atlas.sum"}},
	} {
		if diff := cmp.Diff(tt.want, newFile(t, root, tt.name, tt.opts)); diff != "" {
			t.Errorf("%q: -want +got\n%s", tt.name, diff)
		}
	}
	d, err := sqlfile.Read(os.DirFS(root), sqlfile.Options{})
	if err != nil || !d.HasSum || len(d.Migrations) != 5 {
		t.Fatalf("got %+v, %v", d, err)
	}
	if m := d.Migrations[0]; m.Description != "# add  users" {
		t.Errorf("description %q", m.Description)
	}
	local, err := migrate.NewLocalDir(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := migrate.Validate(local); err != nil {
		t.Error(err)
	}
}

func TestNewInDirectoryWithoutSum(t *testing.T) {
	root := writeDir(t, map[string][]byte{"1_a.sql": nil})
	if err := os.Rename(filepath.Join(root, "1_a.sql"), filepath.Join(root, "001_a.sql")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"20250601223000_b.sql"}, newFile(t, root, "b", sqlfile.NewOptions{At: noon})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestNewNow(t *testing.T) {
	before := time.Now().UTC().Format("20060102150405")
	got := newFile(t, t.TempDir(), "x", sqlfile.NewOptions{})[0]
	after := time.Now().UTC().Format("20060102150405")
	if got < before+"_x.sql" || got > after+"_x.sql" {
		t.Errorf("%s is not between %s and %s", got, before, after)
	}
}

func TestNewErrors(t *testing.T) {
	for _, tt := range []struct {
		label, name string
		files       map[string][]byte
		want        string
	}{
		{"separator", "a/b", nil, `the migration name "a/b" has a path separator; give a word or two, such as add_users`},
		{"backslash", `..\b`, nil, `the migration name "..\\b" has a path separator; give a word or two, such as add_users`},
		{"reserved", "a?", nil, `the migration name "a?" has a character that not every file system allows; give a word or two, such as add_users`},
		{"control", "a\x01", nil, `the migration name "a\x01" has a character that cannot be printed; give a word or two, such as add_users`},
		{"bytes", "a\xff", nil, `the migration name "a\xff" has a character that cannot be printed; give a word or two, such as add_users`},
		{"direction", "a.down", nil, `the migration name "a.down" ends in a direction; give a word or two, such as add_users`},
		{"direction and suffix", "a.UP.sql", nil, `the migration name "a.UP.sql" ends in a direction; give a word or two, such as add_users`},
		{"version that is no number", "a", map[string][]byte{"init.sql": nil},
			`find a version in DIR: the newest version is "init", and no time stamp sorts behind it; rename that migration`},
		{"short numbers", "a", map[string][]byte{"3_x.sql": nil},
			"DIR: by name 20250601223000_a.sql comes before 3_x.sql, by version behind it; rename 3_x.sql to 00000000000003_x.sql"},
		{"sum does not fit", "a", map[string][]byte{"1_x.sql": nil, "atlas.sum": []byte("h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")},
			"DIR/atlas.sum:2: checksum mismatch: 1_x.sql was added; put it right, or accept the directory as it is with: aurora migrate hash"},
	} {
		t.Run(tt.label, func(t *testing.T) {
			root := writeDir(t, tt.files)
			t.Chdir(filepath.Dir(root))
			if err := os.Rename(root, "DIR"); err != nil {
				t.Fatal(err)
			}
			written, err := sqlfile.New("file://DIR", tt.name, sqlfile.NewOptions{At: noon, Down: true})
			wantError(t, err, tt.want)
			entries, err := os.ReadDir("DIR")
			if err != nil || len(entries) != len(tt.files) || len(written) > 0 {
				t.Errorf("wrote %v: %v, %v", written, entries, err)
			}
		})
	}
}

func TestNewOrderError(t *testing.T) {
	root := writeDir(t, map[string][]byte{"3_x.sql": nil})
	_, err := sqlfile.New(root, "a", sqlfile.NewOptions{At: noon})
	var order *sqlfile.OrderError
	if !errors.As(err, &order) {
		t.Errorf("got %v", err)
	}
}

func TestNextVersion(t *testing.T) {
	for _, tt := range []struct {
		want  string
		files []string
	}{
		{"20250601223000", nil},
		{"20250601223000", []string{"001_a.sql", "002_b.sql", "README.md", "99999999999999_x.txt"}},
		{"20250601223001", []string{"20250601223000_a.sql"}},
		{"20250601223001", []string{"20250601223000_a.down.sql"}},
		{"20250601223001", []string{"20250601223000.down.sql"}},
		{"20250601223001", []string{"20250601223000_a.go", "migrations.go", "x_test.go"}},
		{"21000101000000", []string{"20991231235959_a.sql"}},
		{"20259999999999", []string{"20259999999998_a.sql"}},
		{"100000000000000", []string{"99999999999999_a.sql"}},
		{"000020250601223001", []string{"000020250601223000_a.sql"}},
		{"20250601223000", []string{"1.2_a.sql"}},
	} {
		fsys := fstest.MapFS{}
		for _, name := range tt.files {
			fsys[name] = &fstest.MapFile{}
		}
		if got, err := sqlfile.NextVersion(fsys, noon); err != nil || got != tt.want {
			t.Errorf("%v: got %s, %v, want %s", tt.files, got, err, tt.want)
		}
	}
}

package gobuild

import (
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var at = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

// TestNewRoundTrip: what New writes reads as what it should be, in a directory
// that grows.
func TestNewRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db-migrations")
	for i, name := range []string{"add-user-roles", "Add posts", "aurora", "add_user_roles", "übersicht", "2fa", "migrations", "x"} {
		c, err := New(dir, name, NewOptions{At: at})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if (c.Edited == "") != (i == 0) || len(c.Written) != 3 && i == 0 || len(c.Written) != 2 && i > 0 {
			t.Errorf("%s: %+v", name, c)
		}
		p, err := Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.CheckSource(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if p.Name != "dbmigrations" || len(p.Files) != i+1 || p.opaque || !token.IsIdentifier(c.Ident) {
			t.Errorf("%s: package %s with %d files, variable %s", name, p.Name, len(p.Files), c.Ident)
		}
	}
}

// TestNewChangesNothingOnError: a half made migration would be a load error.
func TestNewChangesNothingOnError(t *testing.T) {
	for _, tt := range []struct{ name, file, src, want string }{
		{"a slice that cannot be edited", "m.go", imports + "var Migrations = all()\n", "m.go:5: the slice is not written out"},
		{"not Go", "m.go", "package {\n", "m.go:1:9"},
		{"migrations.go of something else", "migrations.go", "package m\n", "migrations.go exists already"},
		{"the slice's name is taken", "embed.go", embedFile("embed.FS"), "embed.go:6: Migrations is something else"},
		{"package main", "m.go", "package main\n", "is of package main"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := t.TempDir()
			if err := os.WriteFile(filepath.Join(p, tt.file), []byte(tt.src), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := New(p, "a", NewOptions{At: at}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
			entries, err := os.ReadDir(p)
			if err != nil || len(entries) != 1 {
				t.Errorf("left: %v, %v", entries, err)
			}
			if src, err := os.ReadFile(filepath.Join(p, tt.file)); err != nil || string(src) != tt.src {
				t.Errorf("%s is now %q, %v", tt.file, src, err)
			}
		})
	}
}

func TestNewNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	// The name of the test that comes with the migration is taken.
	path := filepath.Join(dir, "20250601120000_a_test.go")
	if err := os.WriteFile(path, []byte("package m\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := New(dir, "a", NewOptions{At: at})
	if err != nil {
		t.Fatal(err)
	}
	if src, err := os.ReadFile(path); err != nil || string(src) != "package m\n" || c.Written[1] == path {
		t.Errorf("the file is now %q, %v", src, err)
	}
}

func TestDraftRefusesNames(t *testing.T) {
	p := &Package{Name: "m"}
	for name, want := range map[string]string{
		"": "needs a name", " ": "needs a name", "a/b": "has a character", `a\b`: "has a character", "a.b": "has a character", "a\"b": "has a character",
		"load_test": "_test", "test": "_test", "x_linux": "of a system", "x_arm64": "of a system", "windows": "of a system", "x_js_wasm": "of a system",
	} {
		if d, err := p.draft("1", name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %q", name, d, err, want)
		}
	}
	for _, name := range []string{"testing", "a-test", "x-linux", "linux_x", "a_b-c", "_", "-", "func", "9"} {
		d, err := p.draft("1", name)
		if err != nil || !token.IsIdentifier(d.Ident) {
			t.Errorf("%q: %+v, %v", name, d, err)
		}
	}
}

// TestReplaceKeepsLinks: the file may be one that a link leads to, and keeps
// its mode.
func TestReplaceKeepsLinks(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.go"), filepath.Join(dir, "migrations.go")
	if err := os.WriteFile(real, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Skipf("missing: symbolic links: %v", err)
	}
	if err := replace(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	info, err = os.Stat(real)
	if src, rerr := os.ReadFile(real); err != nil || rerr != nil || string(src) != "new" || info.Mode().Perm() != 0o600 {
		t.Errorf("%q %v, %v %v", src, info, err, rerr)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

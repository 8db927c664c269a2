package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeInstall makes a directory with programs that answer -V.
func fakeInstall(t *testing.T, dir, version string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("missing: a shell for fake programs on Windows")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho 'postgres (PostgreSQL) %s (Fake %s-1)'\n", version, version)
	for _, name := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindOrder(t *testing.T) {
	t.Setenv(EnvBinDir, "")
	t.Setenv(EnvFetch, "")
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(parts ...string) string { return filepath.Join(append([]string{root}, parts...)...) }
	fakeInstall(t, at("explicit"), "18.1")
	fakeInstall(t, at("path15"), "15.9")
	fakeInstall(t, at("path13"), "13.2")
	for _, version := range []string{"13.1", "14.2", "15.3", "16.4", "17.5", "18.6", "19beta1"} {
		fakeInstall(t, at("lib", version[:2], "bin"), version)
	}
	fakeInstall(t, fetchedBinDir(at("cache")), "16.14")
	if err := os.Mkdir(at("links"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postgres", "initdb"} {
		if err := os.Symlink(at("lib", "17", "bin", name), at("links", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(at("half"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("half", "postgres"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	broken := fakeInstall(t, at("broken"), "16.1")
	if err := os.WriteFile(filepath.Join(broken, "postgres"), []byte("#!/bin/sh\necho 'libicu.so.99 is missing' >&2\nexit 127\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	all := []string{at("lib", "*", "bin")}
	list := func(dirs ...string) *string {
		s := strings.Join(dirs, string(filepath.ListSeparator))
		return &s
	}
	tests := []struct {
		name string
		opts FindOptions
		env  string
		want Install
	}{
		{"explicit before all", FindOptions{BinDir: at("explicit"), path: list(at("path15")), globs: all}, "",
			Install{at("explicit"), 18, "18.1", SourceExplicit}},
		{"environment", FindOptions{path: list(at("path15")), globs: all}, at("explicit"),
			Install{at("explicit"), 18, "18.1", SourceExplicit}},
		{"path before directories", FindOptions{path: list(at("path15")), globs: all}, "",
			Install{at("path15"), 15, "15.9", SourcePath}},
		{"links on path are resolved", FindOptions{path: list(at("links")), globs: all}, "",
			Install{at("lib", "17", "bin"), 17, "17.5", SourcePath}},
		{"too old, half and broken on path are passed over", FindOptions{path: list(at("path13"), at("half"), at("broken"), at("path15")), globs: all}, "",
			Install{at("path15"), 15, "15.9", SourcePath}},
		{"16 first among directories", FindOptions{path: list(), globs: all}, "",
			Install{at("lib", "16", "bin"), 16, "16.4", SourceDirectory}},
		{"then 17", FindOptions{path: list(), globs: []string{at("lib", "1[34578]", "bin")}}, "",
			Install{at("lib", "17", "bin"), 17, "17.5", SourceDirectory}},
		{"then 15", FindOptions{path: list(), globs: []string{at("lib", "1[3458]", "bin")}}, "",
			Install{at("lib", "15", "bin"), 15, "15.3", SourceDirectory}},
		{"then 18", FindOptions{path: list(), globs: []string{at("lib", "1[3489]", "bin")}}, "",
			Install{at("lib", "18", "bin"), 18, "18.6", SourceDirectory}},
		{"then 14", FindOptions{path: list(), globs: []string{at("lib", "1[349]", "bin")}}, "",
			Install{at("lib", "14", "bin"), 14, "14.2", SourceDirectory}},
		{"unknown newer last", FindOptions{path: list(), globs: []string{at("lib", "1[39]", "bin")}}, "",
			Install{at("lib", "19", "bin"), 19, "19beta1", SourceDirectory}},
		{"cache last", FindOptions{path: list(at("path13")), globs: []string{at("lib", "13", "bin")}, CacheDir: at("cache")}, "",
			Install{fetchedBinDir(at("cache")), 16, "16.14", SourceCache}},
		{"the major version of a cluster", FindOptions{path: list(at("path15")), globs: all, Major: 14}, "",
			Install{at("lib", "14", "bin"), 14, "14.2", SourceDirectory}},
		{"minimum", FindOptions{path: list(at("path15")), globs: []string{at("lib", "1[45]", "bin")}, MinMajor: 16, CacheDir: at("cache")}, "",
			Install{fetchedBinDir(at("cache")), 16, "16.14", SourceCache}},
		{"relative path entries are not run", FindOptions{path: list(".", "", "path15"), globs: []string{at("lib", "14", "bin")}}, "",
			Install{at("lib", "14", "bin"), 14, "14.2", SourceDirectory}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(EnvBinDir, tt.env)
			if tt.opts.CacheDir == "" {
				tt.opts.CacheDir = at("nocache")
			}
			got, err := Find(t.Context(), tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("install (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFindExplicitIsNotSkipped(t *testing.T) {
	t.Setenv(EnvFetch, "")
	good, old := fakeInstall(t, t.TempDir(), "16.1"), fakeInstall(t, t.TempDir(), "12.9")
	tests := []struct{ name, dir, want string }{
		{"missing", filepath.Join(t.TempDir(), "nothing"), "no program postgres there"},
		{"old", old, "version 12.9 is older than 14"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(EnvBinDir, tt.dir)
			_, err := Find(t.Context(), FindOptions{path: &good, CacheDir: t.TempDir()})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), EnvBinDir) {
				t.Errorf("got %v, want %q and the name of the variable", err, tt.want)
			}
			if tt.name == "missing" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v, want fs.ErrNotExist", err)
			}
		})
	}
}

func TestFindNothing(t *testing.T) {
	t.Setenv(EnvBinDir, "")
	t.Setenv(EnvFetch, "")
	root := t.TempDir()
	old := fakeInstall(t, filepath.Join(root, "old"), "12.9")
	glob := filepath.Join(root, "lib", "*", "bin")
	_, err := Find(t.Context(), FindOptions{path: &old, globs: []string{glob}, CacheDir: root, goos: "linux"})
	var missing *NotFoundError
	if !errors.As(err, &missing) {
		t.Fatalf("got %v, want *NotFoundError", err)
	}
	want := []Place{
		{old, "PostgreSQL 12.9 is older than 14"},
		{glob, "nothing there"},
		{fetchedBinDir(root), "nothing fetched"},
	}
	if diff := cmp.Diff(want, missing.Looked); diff != "" {
		t.Errorf("looked at (-want +got):\n%s", diff)
	}
	text := missing.Error()
	for _, part := range []string{"no PostgreSQL found for local://", old + ": PostgreSQL 12.9", missing.Commands[0], "export AURORA_PG_BIN=DIR", "postgres://"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
	if _, err := fetchTarget("linux"); err == nil && !strings.Contains(text, "export AURORA_PG_FETCH=1") {
		t.Errorf("no way to fetch in:\n%s", text)
	}
}

func TestInstallCommands(t *testing.T) {
	const (
		debian = "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n"
		ubuntu = "ID=ubuntu\nID_LIKE=debian\n"
		mint   = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"
		fedora = "ID=fedora\n"
		rocky  = "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"
		amazon = "ID=\"amzn\"\nID_LIKE=\"fedora\"\n"
		alpine = "ID=alpine\n"
		arch   = "ID=arch\n"
		suse   = "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n"
	)
	tests := []struct {
		name, goos, release string
		major               int
		root                bool
		want                []string
	}{
		{"debian", "linux", debian, 0, false, []string{"sudo apt-get install -y postgresql"}},
		{"debian as root", "linux", debian, 0, true, []string{"apt-get install -y postgresql"}},
		{"debian 15", "linux", debian, 15, true, []string{"apt-get install -y postgresql-15"}},
		{"ubuntu", "linux", ubuntu, 0, false, []string{"sudo apt-get install -y postgresql"}},
		{"mint", "linux", mint, 0, false, []string{"sudo apt-get install -y postgresql"}},
		{"fedora", "linux", fedora, 0, false, []string{"sudo dnf install -y postgresql-server"}},
		{"rocky 17", "linux", rocky, 17, false, []string{"sudo dnf install -y postgresql17-server"}},
		{"amazon", "linux", amazon, 0, true, []string{"dnf install -y postgresql16-server"}},
		{"alpine", "linux", alpine, 0, true, []string{"apk add postgresql16"}},
		{"arch", "linux", arch, 0, false, []string{"sudo pacman -S postgresql"}},
		{"suse", "linux", suse, 0, false, []string{"sudo zypper install -y postgresql16-server"}},
		{"macOS", "darwin", "", 0, false, []string{"brew install postgresql@16"}},
		{"macOS 17", "darwin", "", 17, false, []string{"brew install postgresql@17"}},
		{"unknown", "linux", "ID=plan10\n", 0, true, []string{
			"apt-get install -y postgresql", "dnf install -y postgresql-server", "apk add postgresql16", "brew install postgresql@16"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := installCommands(tt.goos, []byte(tt.release), tt.major, tt.root)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServerEnvHasNoSecrets(t *testing.T) {
	t.Setenv("PGPORT", "1")
	t.Setenv("PGDATA", "/elsewhere")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	for _, entry := range serverEnv() {
		if strings.HasPrefix(entry, "PG") || strings.Contains(entry, "secret") {
			t.Errorf("PostgreSQL would be given %q", entry)
		}
	}
}

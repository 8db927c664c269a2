package gobuild

import (
	"errors"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestBundleSource(t *testing.T) {
	cfg := Bundle{
		Files:  map[string][]byte{"migrations/2_b.sql": []byte("SELECT '\x00\xff`\"\\';\n"), "aurora.hcl": []byte("env \"prod\" {}\n"), "more/": nil},
		Config: "aurora.hcl", Env: "prod",
	}
	want := `package main

import (
	"io/fs"
	"os"
	"testing/fstest"

	"github.com/aurora-migrate/aurora/cli"

	migrations "example.com/shop/migrations"
)

var files = fstest.MapFS{
	".": {Mode: fs.ModeDir | 0o555},
	"aurora.hcl": {Mode: 0o444, Data: []byte("env \"prod\" {}\n")},
	"migrations/2_b.sql": {Mode: 0o444, Data: []byte("SELECT '\x00\xff` + "`" + `\"\\';\n")},
	"more": {Mode: fs.ModeDir | 0o555},
}

func main() {
	os.Exit(cli.Program{Migrations: migrations.Migrations, Files: files, Config: "aurora.hcl", Env: "prod"}.Main())
}
`
	if got := string(cfg.source("example.com/shop/migrations")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "main.go", Bundle{}.source(""), 0); err != nil {
		t.Error(err)
	}
}

// TestToolchain: a toolchain line pins the version of Go, be it in go.mod or in
// go.work, and nothing else does.
func TestToolchain(t *testing.T) {
	for _, tt := range []struct {
		name, mod, work, running, setting string
		version, toolchain                string
	}{
		{"nothing", "", "", "go1.26.8", "auto", "go1.26.8", "go1.26.8"},
		{"the one that runs", "toolchain go1.26.8", "", "go1.26.8", "local", "go1.26.8", "go1.26.8"},
		{"another", "toolchain go1.26.3", "", "go1.26.8", "auto", "go1.26.3", "go1.26.3"},
		{"no pin", "toolchain default", "", "go1.26.8", "auto", "go1.26.8", "go1.26.8"},
		{"of the workspace", "toolchain go1.26.3", "toolchain go1.26.4", "go1.26.8", "auto", "go1.26.4", "go1.26.4"},
		{"not fetched", "toolchain go1.26.3", "", "go1.26.8", "local", "", ""},
		{"with an experiment", "", "", "go1.26.8 X:jsonv2", "auto", "go1.26.8", "go1.26.8"},
		{"from source", "", "", "devel go1.27-1234567", "auto", "devel", "local"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			write(t, filepath.Join(root, "go.mod"), "module m\n\ngo 1.26.0\n\n"+tt.mod+"\n")
			settings := map[string]string{"GOVERSION": tt.running, "GOTOOLCHAIN": tt.setting}
			if tt.work != "" {
				settings["GOWORK"] = filepath.Join(root, "go.work")
				write(t, settings["GOWORK"], "go 1.26.0\n\n"+tt.work+"\n\nuse .\n")
			}
			b := &bundler{builder: builder{root: root}}
			version, toolchain, err := b.toolchain(settings)
			if version != tt.version || toolchain != tt.toolchain {
				t.Errorf("got %q and %q, want %q and %q", version, toolchain, tt.version, tt.toolchain)
			}
			var setup *SetupError
			if (tt.version == "") != errors.As(err, &setup) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestBundleEnvironment: what says how to compile is the same for everybody.
func TestBundleEnvironment(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "go.mod"), "module m\n\ngo 1.26.0\n")
	cache := t.TempDir()
	for name, value := range map[string]string{
		"GOFLAGS": "-race", "GOAMD64": "v4", "GOEXPERIMENT": "x", "GODEBUG": "x=1", "GOFIPS140": "latest", "CGO_CFLAGS": "-O0", "CC": "x", "GOOS": "plan9",
		"GOCACHE": cache, "GOPRIVATE": "example.com",
	} {
		t.Setenv(name, value)
	}
	t.Setenv("GOEXPERIMENT", "") // go itself refuses unknown ones
	goes, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	b := &bundler{builder: builder{goes: goes, root: root}, bundle: Bundle{Arch: "arm64"}}
	env, version, err := b.environment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if version != strings.Fields(runtime.Version())[0] {
		t.Errorf("version %s", version)
	}
	got := map[string]string{}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		if isSetting(name) {
			if _, twice := got[name]; twice {
				t.Errorf("%s is there twice", name)
			}
			got[name] = value
		}
	}
	for name, want := range map[string]string{
		"GOFLAGS": "", "GODEBUG": "", "GOFIPS140": "", "CGO_CFLAGS": "", "CC": "", "GOAMD64": "v1", "GOARM64": "v8.0", "CGO_ENABLED": "0",
		"GOOS": "linux", "GOARCH": "arm64", "GOENV": "off", "GOTOOLCHAIN": version, "GOCACHE": cache, "GOPRIVATE": "example.com",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

// TestGoLine: the go.mod of a bundle without a module says what aurora's says.
func TestGoLine(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.GoVersion}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(out)); got != goLine {
		t.Errorf("go.mod says %s, and a bundle's %s", got, goLine)
	}
}

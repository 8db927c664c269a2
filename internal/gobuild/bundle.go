package gobuild

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A Bundle says what to build for other machines. What comes out depends on the
// sources and the version of Go alone.
type Bundle struct {
	// Dir is the directory of the project. The module that it is in is used if
	// it has aurora; migrations in Go and a main package need one.
	Dir string
	// Migrations is the directory of the package with the Go migrations; empty
	// means that there are none.
	Migrations string
	// Entry is the directory of a main package that is built as it is, without
	// the fields below. Empty means that one is made.
	Entry string
	// Files are put into the program by their paths. One whose path ends in a
	// slash is a directory that holds nothing.
	Files map[string][]byte
	// Config and Env are cli.Program's.
	Config, Env string
	// Templates keeps text/template in the program.
	Templates bool
	// Arch is amd64 or arm64.
	Arch string
	// Version is the release of aurora that is used where no module names one.
	Version string
	// Out is the file to write.
	Out string
	// Stderr gets what the go command says, as it is.
	Stderr io.Writer
}

// Build tags of a bundle. The Lambda library needs net/rpc for a runtime of old
// (https://github.com/aws/aws-lambda-go#for-developers-on-linux), and aurora_bundle
// leaves out the commands for the machine of a developer. Both text/template
// and net/rpc look for methods by name, so that the linker keeps all there are;
// without them the package for Lambda is a sixth smaller.
const (
	bundleTags  = "lambda.norpc,aurora_bundle"
	noTemplates = "aurora_notemplates"
)

// goLine is the version of Go in the go.mod of a bundle whose project has none.
const goLine = "1.26.0"

// BuildBundle builds a static program for Linux and returns the version of Go
// that built it: the one that a toolchain line in go.mod or go.work pins, or
// else the one that runs there. Settings that say where modules come from and
// where caches are count; those that say how to compile do not. Nothing is
// written outside Out's directory, the system's temporary one and Go's caches.
// Errors are a [*SetupError], [ErrBuild], or the system's.
func BuildBundle(ctx context.Context, cfg Bundle) (goVersion string, err error) {
	work, err := os.MkdirTemp("", "aurora-build-")
	if err != nil {
		return "", fmt.Errorf("make a directory to build in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	b, err := newBundler(ctx, cfg, work)
	if err != nil {
		return "", err
	}
	env, goVersion, err := b.environment(ctx)
	if err != nil {
		return "", err
	}
	m, args, err := b.program(ctx, work)
	if err != nil {
		return "", err
	}
	tags := bundleTags
	if !cfg.Templates {
		tags += "," + noTemplates
	}
	args = append([]string{"build", "-trimpath", "-buildvcs=false", "-tags", tags, "-ldflags", "-s -w -buildid=", "-o", cfg.Out}, args...)
	cmd := b.command(ctx, args...)
	cmd.Env, cmd.Stderr, cmd.Stdout = env, cfg.Stderr, cfg.Stderr
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("build the bundle: %w", context.Cause(ctx))
	case err != nil && m.overlay == "":
		return "", goError(err)
	case err != nil:
		in, lerr := b.inputs(ctx, m)
		if lerr != nil {
			return "", goError(err)
		}
		return "", b.explain(in, err)
	}
	return goVersion, nil
}

// A bundler is a builder of one bundle.
type bundler struct {
	builder
	bundle Bundle
	own    bool // the module is made for this bundle
}

func newBundler(ctx context.Context, cfg Bundle, work string) (*bundler, error) {
	b := &bundler{bundle: cfg}
	b.cfg = Config{Dir: cfg.Dir, Version: cfg.Version, Stderr: cfg.Stderr}
	if b.goes, _ = exec.LookPath("go"); b.goes == "" {
		return nil, &SetupError{
			Reason: "a bundle is compiled, and there is no go command to do it with",
			Hint:   "install Go from https://go.dev/dl",
		}
	}
	what := ""
	switch {
	case cfg.Entry != "":
		b.cfg.Dir, what = cfg.Entry, "the main package"
	case cfg.Migrations != "":
		b.cfg.Dir, what = cfg.Migrations, "Go migrations"
	}
	var err error
	if b.dir, err = realPath(b.cfg.Dir); err != nil {
		return nil, fmt.Errorf("find the project: %w", err)
	}
	b.root = moduleRoot(b.dir)
	switch {
	case what != "" && b.root == "":
		return nil, &SetupError{
			Reason: what + " in " + b.cfg.Dir + " cannot be built, as no directory above has a go.mod",
			Hint:   "where your project begins, run: go mod init example.com/NAME && " + getCommand(cfg.Version),
		}
	case what != "":
		return b, nil
	case b.root != "" && b.hasAurora(ctx):
		b.dir = b.root
		return b, nil
	}
	b.own, b.dir, b.root = true, work, work
	return b, b.writeModule()
}

// hasAurora reports whether the module at the root requires aurora, or is it.
func (b *bundler) hasAurora(ctx context.Context) bool {
	cmd := b.command(ctx, "list", "-m", "-f", "{{.Path}}", Module)
	cmd.Dir = b.root
	return cmd.Run() == nil
}

// writeModule makes a module that requires aurora and nothing else.
func (b *bundler) writeModule() error {
	if !strings.HasPrefix(b.cfg.Version, "v") || strings.Contains(b.cfg.Version, "+") {
		return &SetupError{
			Reason: fmt.Sprintf("this aurora is %s and no release, so that no bundle can be made of it", b.cfg.Version),
			Hint:   "give the project a go.mod that says which aurora to use: go mod init example.com/NAME && " + getCommand(b.cfg.Version),
		}
	}
	text := fmt.Appendf(nil, "module bundle\n\ngo %s\n\nrequire %s %s\n", goLine, Module, b.cfg.Version)
	if err := os.WriteFile(filepath.Join(b.root, "go.mod"), text, 0o600); err != nil {
		return fmt.Errorf("write the module of the bundle: %w", err)
	}
	return nil
}

// program writes the main package, unless there is one, and returns the
// arguments that build it.
func (b *bundler) program(ctx context.Context, work string) (mainPackage, []string, error) {
	if b.bundle.Entry != "" {
		return mainPackage{}, []string{b.dir}, nil
	}
	importPath := ""
	if b.bundle.Migrations != "" {
		var err error
		if importPath, err = b.importPath(ctx); err != nil {
			return mainPackage{}, nil, err
		}
	}
	src := b.bundle.source(importPath)
	if b.own {
		if err := os.WriteFile(filepath.Join(work, "main.go"), src, 0o600); err != nil {
			return mainPackage{}, nil, fmt.Errorf("write the program: %w", err)
		}
		return mainPackage{}, []string{"-mod=mod", "."}, nil
	}
	m, err := b.overlayMain(work, src)
	return m, []string{"-overlay", m.overlay, m.dir}, err
}

// source is the main package of a bundle.
func (cfg Bundle) source(importPath string) []byte {
	var b bytes.Buffer
	b.WriteString("package main\n\nimport (\n\t\"io/fs\"\n\t\"os\"\n\t\"testing/fstest\"\n\n\t\"" + Module + "/cli\"\n")
	if importPath != "" {
		fmt.Fprintf(&b, "\n\tmigrations %q\n", importPath)
	}
	b.WriteString(")\n\nvar files = fstest.MapFS{\n\t\".\": {Mode: fs.ModeDir | 0o555},\n")
	for _, name := range slices.Sorted(maps.Keys(cfg.Files)) {
		if dir, ok := strings.CutSuffix(name, "/"); ok {
			fmt.Fprintf(&b, "\t%q: {Mode: fs.ModeDir | 0o555},\n", dir)
			continue
		}
		fmt.Fprintf(&b, "\t%q: {Mode: 0o444, Data: []byte(%q)},\n", name, cfg.Files[name])
	}
	b.WriteString("}\n\nfunc main() {\n\tos.Exit(cli.Program{")
	if importPath != "" {
		b.WriteString("Migrations: migrations.Migrations, ")
	}
	fmt.Fprintf(&b, "Files: files, Config: %q, Env: %q}.Main())\n}\n", cfg.Config, cfg.Env)
	return b.Bytes()
}

// places are the settings that say where things come from. What they name is
// checked against go.sum, or does not matter.
var places = []string{
	"GOCACHE", "GOCACHEPROG", "GOMODCACHE", "GOPATH", "GOTMPDIR", "GOPROXY", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOSUMDB",
	"GOINSECURE", "GOVCS", "GOAUTH", "GOWORK",
}

// environment returns the variables to build with, and the version of Go.
func (b *bundler) environment(ctx context.Context) ([]string, string, error) {
	settings := map[string]string{}
	if err := b.ask(ctx, &settings, append([]string{"env", "-json", "GOVERSION", "GOTOOLCHAIN"}, places...)...); err != nil {
		return nil, "", err
	}
	if b.own {
		settings["GOWORK"] = "off"
	}
	version, toolchain, err := b.toolchain(settings)
	if err != nil {
		return nil, "", err
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return isSetting(name)
	})
	for _, name := range places {
		if settings[name] != "" {
			env = append(env, name+"="+settings[name])
		}
	}
	return append(env, "GOENV=off", "GOTOOLCHAIN="+toolchain, "GOOS=linux", "GOARCH="+b.bundle.Arch, "GOAMD64=v1", "GOARM64=v8.0", "CGO_ENABLED=0"), version, nil
}

// toolchain returns the version of Go to build with, and what to say to get it.
func (b *bundler) toolchain(settings map[string]string) (version, toolchain string, err error) {
	running := strings.Fields(settings["GOVERSION"] + " ?")[0]
	file := filepath.Join(b.root, "go.mod")
	if work := settings["GOWORK"]; work != "" && work != "off" {
		file = work
	}
	pinned, err := toolchainLine(file)
	if err != nil {
		return "", "", err
	}
	switch {
	case pinned == "" || pinned == "default" || pinned == running:
		if strings.HasPrefix(running, "go1") {
			return running, running, nil
		}
		return running, "local", nil // one that somebody made
	case strings.HasPrefix(settings["GOTOOLCHAIN"], "local"):
		return "", "", &SetupError{
			Reason: fmt.Sprintf("the toolchain line asks for %s, and this is %s, which GOTOOLCHAIN=local keeps from fetching it", pinned, running),
			Hint:   "install that version, or set GOTOOLCHAIN=auto",
		}
	}
	return pinned, pinned, nil
}

// toolchainLine returns what a go.mod or go.work pins. "go work edit -json" does
// not print it.
func toolchainLine(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read which version of Go is asked for: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "//")
		if words := strings.Fields(line); len(words) == 2 && words[0] == "toolchain" {
			return words[1], nil
		}
	}
	return "", nil
}

// ask runs go where the module is and reads the JSON that it prints.
func (b *bundler) ask(ctx context.Context, into any, args ...string) error {
	var stdout bytes.Buffer
	cmd := b.command(ctx, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = &stdout, b.cfg.Stderr, b.root
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ask go about the module: %w", goError(err))
	}
	if err := json.Unmarshal(stdout.Bytes(), into); err != nil {
		return fmt.Errorf("read what go says of the module: %w", err)
	}
	return nil
}

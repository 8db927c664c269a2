package gobuild

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Module is where the packages of the program come from.
const Module = "github.com/aurora-migrate/aurora"

const (
	toolPackage = Module + "/cmd/aurora"
)

// Config says what to build.
type Config struct {
	// Dir is the directory of the migrations.
	Dir string
	// CacheDir is where programs are kept. It is made if need be.
	CacheDir string
	// Version is the release that asks, for the advice to install it; anything
	// that does not begin with "v" is no release.
	Version string
	// Stderr gets what the go command says, as it is.
	Stderr io.Writer
	// Building is called when a program must be built, before that begins. Its
	// error is returned instead. It may be nil.
	Building func() error
}

// ErrBuild says that the go command did not build the program, and said why on
// Config.Stderr.
var ErrBuild = errors.New("go build failed")

// A SetupError says what is missing before anything can be built.
type SetupError struct {
	Reason string
	Hint   string // what to install or to run
}

// Error returns the reason.
func (e *SetupError) Error() string { return e.Reason }

// Build returns the path of a program whose main function is
//
//	func main() { os.Exit(cli.Main(migrations.Migrations)) }
//
// for the package in a directory, built with the go command that is on PATH, in
// the package's own module or workspace, with the flags that GOFLAGS has. It
// is kept for as long as nothing changes that it was built from, and found
// again without asking that command. Nothing is written outside CacheDir and
// Go's own caches. Errors are a [*SetupError], [ErrBuild], or the system's.
func Build(ctx context.Context, cfg Config) (string, error) {
	b, err := newBuilder(cfg)
	if err != nil {
		return "", err
	}
	if path, ok := b.cached(); ok {
		return path, nil
	}
	if cfg.Building != nil {
		if err := cfg.Building(); err != nil {
			return "", err
		}
	}
	// Whatever changes while it is compiled may be in the program or not.
	for range maxTries {
		path, ok, err := b.build(ctx)
		if ctx.Err() != nil {
			return "", fmt.Errorf("build the Go migrations: %w", context.Cause(ctx))
		}
		if err != nil || ok {
			return path, err
		}
	}
	return "", fmt.Errorf("the files of %s kept changing while they were compiled", cfg.Dir)
}

const maxTries = 3

type builder struct {
	cfg  Config
	goes string // the go command
	dir  string // of the package, absolute and without links
	root string // of its module
	slot string // what is kept for the package
}

func newBuilder(cfg Config) (*builder, error) {
	b := &builder{cfg: cfg}
	dir, err := realPath(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the migrations directory: %w", err)
	}
	b.dir = dir
	if b.goes, err = exec.LookPath("go"); err != nil {
		return nil, &SetupError{
			Reason: "the migrations in " + cfg.Dir + " are Go code, and there is no go command to build them with",
			Hint:   "install Go from https://go.dev/dl, or build a program with them where Go is: see docs/code.md",
		}
	}
	if b.root = moduleRoot(dir); b.root == "" {
		return nil, &SetupError{
			Reason: "the migrations in " + cfg.Dir + " are Go code, and no directory above them has a go.mod",
			Hint:   "where your project begins, run: go mod init example.com/NAME && " + getCommand(cfg.Version),
		}
	}
	b.slot = filepath.Join(cfg.CacheDir, "go", digest(dir)[:20])
	return b, nil
}

// getCommand is the command that makes a module use aurora. As a tool it stays
// in go.mod and go.sum, with all that its packages import.
func getCommand(version string) string {
	if strings.HasPrefix(version, "v") && !strings.Contains(version, "+") {
		return "go get -tool " + toolPackage + "@" + version
	}
	return "go get -tool " + toolPackage
}

// ModuleHint says what must be run before Go code in a directory compiles, or
// nothing.
func ModuleHint(dir, version string) string {
	real, err := realPath(dir)
	if err != nil {
		return ""
	}
	root := moduleRoot(real)
	if root == "" {
		return "go mod init example.com/NAME && " + getCommand(version)
	}
	data, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil || strings.Contains(string(data), Module+" ") || strings.Contains(string(data), Module+"\n") {
		return ""
	}
	return getCommand(version)
}

func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// moduleRoot returns the nearest directory with a go.mod, or nothing.
func moduleRoot(dir string) string {
	for {
		if info, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil && info.Mode().IsRegular() {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// binary is where a program with that key is kept.
func (b *builder) binary(key string) string {
	name := "aurora-" + key[:32]
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(b.slot, name)
}

// list is where the inputs of a program are kept.
func list(program string) string { return program + ".json" }

// programs are those that are kept, the newest first.
func (b *builder) programs() []string {
	lists, _ := filepath.Glob(filepath.Join(b.slot, "aurora-*.json"))
	slices.SortFunc(lists, func(x, y string) int { return modified(y).Compare(modified(x)) })
	for i := range lists {
		lists[i] = strings.TrimSuffix(lists[i], ".json")
	}
	return lists
}

// cached finds the program of an earlier build whose inputs are as they were.
func (b *builder) cached() (string, bool) {
	for _, program := range b.programs() {
		data, err := os.ReadFile(list(program))
		if err != nil {
			continue
		}
		var in inputs
		if json.Unmarshal(data, &in) != nil {
			continue
		}
		if key, err := in.key(b.goes); err != nil || b.binary(key) != program {
			continue
		}
		if info, err := os.Stat(program); err == nil && info.Mode().IsRegular() {
			return program, true
		}
	}
	return "", false
}

// build compiles the program. It returns false when files changed meanwhile.
func (b *builder) build(ctx context.Context) (path string, ok bool, err error) {
	work, err := b.makeWork()
	if err != nil {
		return "", false, &SetupError{
			Reason: fmt.Sprintf("there is no place to keep programs in: %v", err),
			Hint:   "set XDG_CACHE_HOME to a directory that can be written to",
		}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	m, err := b.writeMain(ctx, work)
	if err != nil {
		return "", false, err
	}
	in, err := b.inputs(ctx, m)
	if err != nil {
		return "", false, err
	}
	before, err := in.key(b.goes)
	if err != nil {
		return "", false, err
	}
	out := filepath.Join(work, "aurora")
	cmd := b.command(ctx, "build", "-buildvcs=false", "-overlay", m.overlay, "-o", out, m.dir)
	cmd.Stderr, cmd.Stdout = b.cfg.Stderr, b.cfg.Stderr
	if err := cmd.Run(); err != nil {
		return "", false, b.explain(in, err)
	}
	after, err := in.key(b.goes)
	if err != nil {
		return "", false, err
	}
	if after != before {
		return "", false, nil
	}
	return b.keep(out, before, in)
}

// makeWork makes the directories. What others keep in CacheDir may have to be
// open to more than this user; programs need not.
func (b *builder) makeWork() (string, error) {
	if _, err := os.Stat(b.cfg.CacheDir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(b.cfg.CacheDir, 0o755); err != nil {
			return "", err
		}
		if err := os.Chmod(b.cfg.CacheDir, 0o755); err != nil { // whatever the umask is
			return "", err
		}
	}
	if err := os.MkdirAll(b.slot, 0o700); err != nil {
		return "", err
	}
	// For prune, which is about other directories too.
	if err := os.WriteFile(filepath.Join(b.slot, ownerName), []byte(b.dir), 0o600); err != nil {
		return "", err
	}
	return os.MkdirTemp(b.slot, workPrefix)
}

// ownerName is the file that says which directory a slot is for.
const ownerName = "directory"

const workPrefix = "build-"

// keep puts a program where cached finds it. Another process may do the same
// at the same time, with the same result.
func (b *builder) keep(out, key string, in inputs) (string, bool, error) {
	fail := func(err error) (string, bool, error) {
		return "", false, fmt.Errorf("keep the program built from Go migrations: %w", err)
	}
	path := b.binary(key)
	if err := os.Rename(out, path); err != nil {
		// Where a running program's file cannot be replaced it is there.
		if _, serr := os.Stat(path); serr != nil {
			return fail(err)
		}
	}
	data, err := json.MarshalIndent(in, "", "\t")
	if err != nil {
		return fail(err)
	}
	if err := os.WriteFile(list(out), data, 0o600); err != nil {
		return fail(err)
	}
	if err := os.Rename(list(out), list(path)); err != nil {
		return fail(err)
	}
	b.prune(path)
	return path, true, nil
}

const (
	keptPrograms = 4                   // of one package
	keptUnused   = 30 * 24 * time.Hour // since the last build of a package
	keptWork     = 24 * time.Hour      // of a build that was killed
)

// prune removes what is unlikely to be needed again.
func (b *builder) prune(current string) {
	var old []string
	for i, program := range b.programs() {
		if i >= keptPrograms && program != current {
			old = append(old, program, list(program))
		}
	}
	slots, _ := filepath.Glob(filepath.Join(filepath.Dir(b.slot), "*"))
	for _, slot := range slots {
		if slot != b.slot && (isOrphan(slot) || time.Since(modified(slot)) > keptUnused) {
			old = append(old, slot)
		}
	}
	works, _ := filepath.Glob(filepath.Join(b.slot, workPrefix+"*"))
	for _, work := range works {
		if time.Since(modified(work)) > keptWork {
			old = append(old, work)
		}
	}
	for _, path := range old {
		_ = os.RemoveAll(path)
	}
}

// isOrphan reports whether a slot is for a directory that is gone.
func isOrphan(slot string) bool {
	dir, err := os.ReadFile(filepath.Join(slot, ownerName))
	if err != nil {
		return false
	}
	_, err = os.Stat(string(dir))
	return errors.Is(err, fs.ErrNotExist)
}

func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// A mainPackage is the generated one. It exists in an overlay only, beside the
// migrations' directory, so that it may import what is internal there.
type mainPackage struct {
	dir     string
	overlay string
}

const mainSource = `package main

import (
	"os"

	"github.com/aurora-migrate/aurora/cli"

	migrations %q
)

func main() { os.Exit(cli.Main(migrations.Migrations)) }
`

func (b *builder) writeMain(ctx context.Context, work string) (mainPackage, error) {
	importPath, err := b.importPath(ctx)
	if err != nil {
		return mainPackage{}, err
	}
	return b.overlayMain(work, fmt.Appendf(nil, mainSource, importPath))
}

// importPath asks for the path of the migrations' package.
func (b *builder) importPath(ctx context.Context) (string, error) {
	var stdout bytes.Buffer
	cmd := b.command(ctx, "list", "-find", "-f", "{{.ImportPath}}", b.dir)
	cmd.Stdout, cmd.Stderr = &stdout, b.cfg.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("find the package of %s: %w", b.cfg.Dir, goError(err))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// overlayMain makes a main package of a source.
func (b *builder) overlayMain(work string, src []byte) (mainPackage, error) {
	// A package at the root of its module has nothing of the module beside it.
	parent := filepath.Dir(b.dir)
	if b.dir == b.root {
		parent = b.dir
	}
	m := mainPackage{dir: filepath.Join(parent, "_aurora"), overlay: filepath.Join(work, "overlay.json")}
	source := filepath.Join(work, "main.go")
	if err := os.WriteFile(source, src, 0o600); err != nil {
		return m, fmt.Errorf("write the program: %w", err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(m.dir, "main.go"): source}})
	if err == nil {
		err = os.WriteFile(m.overlay, overlay, 0o600)
	}
	if err != nil {
		return m, fmt.Errorf("write the program: %w", err)
	}
	return m, nil
}

// stopPatience is how long the go command may take to clean up.
const stopPatience = 5 * time.Second

// command runs go where its messages name files as the user would: in the
// working directory if that is in the same module.
func (b *builder) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.goes, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopPatience
	cmd.Dir = b.root
	if wd, err := os.Getwd(); err == nil {
		if real, err := filepath.EvalSymlinks(wd); err == nil && moduleRoot(real) == b.root {
			cmd.Dir = wd
		}
	}
	// A setting for another system would make a program that does not run here.
	cmd.Env = append(cmd.Environ(), "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	return cmd
}

// explain finds out whether a build failed because the module lacks aurora.
func (b *builder) explain(in inputs, err error) error {
	if !in.lacksCLI {
		return fmt.Errorf("%w (the package is %s)", goError(err), b.dir)
	}
	hint := "in that directory, run: " + getCommand(b.cfg.Version)
	if _, err := os.Stat(filepath.Join(b.root, "vendor", "modules.txt")); err == nil {
		hint += " && go mod vendor"
	}
	return &SetupError{
		Reason: "the module in " + b.root + " does not have " + Module + " with all that the command needs",
		Hint:   hint,
	}
}

// goError tells that go has said why from that it could not be run.
func goError(err error) error {
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return ErrBuild
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("run go: %w", err)
	}
	return err
}

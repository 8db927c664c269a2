package bundle_test

import (
	"archive/zip"
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
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/bundle"
	"github.com/aurora-migrate/aurora/cli"
	"github.com/aurora-migrate/aurora/internal/gobuild"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// patience is far more than anything but a build takes.
const patience = 5 * time.Minute

// maxZip is what a package for Lambda may have in these tests, in bytes.
const maxZip = 8_000_000

// TestBundle builds bundles and runs them. Builds take their time, so all of it
// is one test, in which each is built once.
func TestBundle(t *testing.T) {
	s := newShop(t)
	var host built
	if !t.Run("command", func(t *testing.T) { host = s.buildByCommand(t) }) {
		return
	}
	t.Run("inside", func(t *testing.T) { s.testInside(t, host) })
	t.Run("runs anywhere", func(t *testing.T) { testRunsAnywhere(t, host) })
	runner := buildRunner(t)
	t.Run("from S3 to PostgreSQL", func(t *testing.T) { testFromS3(t, host, runner) })
	t.Run("SIGTERM", func(t *testing.T) { testSIGTERM(t, host, runner) })
	other := s.buildOther(t)
	t.Run("other architecture", func(t *testing.T) { testOther(t, other) })
	t.Run("does not build", func(t *testing.T) { s.testDoesNotBuild(t) })
	t.Run("same bytes elsewhere", func(t *testing.T) { s.testElsewhere(t, other) })
}

// A shop is the project of testdata, in a directory beside aurora's sources.
type shop struct {
	root   string // of both
	secret string // what the environment has, and no bundle may
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{root: t.TempDir(), secret: "s3cret-and-long"}
	copySources(t, filepath.Join(s.root, "aurora"))
	copyShop(t, s.root, "shop")
	for name, text := range map[string]string{
		".env": "PASSWORD=" + s.secret, "password.txt": s.secret, ".aurora/data": s.secret, "migrations/notes.txt": s.secret,
		"migrations/sub/9_not_read.sql": "SELECT '" + s.secret + "';",
	} {
		write(t, filepath.Join(s.dir(), name), text)
	}
	return s
}

func (s *shop) dir() string { return filepath.Join(s.root, "shop") }

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// copySources copies this module, which nobody changes there during a test.
func copySources(t *testing.T, to string) {
	t.Helper()
	const root = ".."
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // somebody's temporary file
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch name := e.Name(); {
		case e.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "node_modules"):
			return fs.SkipDir
		case e.IsDir() || strings.HasSuffix(name, "_test.go") || !e.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if err == nil {
			write(t, filepath.Join(to, rel), string(data))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copyShop makes the project, as a module that uses the sources beside it.
func copyShop(t *testing.T, root, name string) string {
	t.Helper()
	dir := filepath.Join(root, name)
	if err := os.CopyFS(dir, os.DirFS("testdata/shop")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(root, "aurora", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(data))
	}
	run(t, dir, "go", "mod", "edit", "-module=example.com/shop", "-require="+gobuild.Module+"@v0.0.0", "-replace="+gobuild.Module+"=../aurora")
	return dir
}

// run runs a program that must succeed.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, &stderr)
	}
	return string(out)
}

// A built is what the command says of a bundle.
type built struct {
	bundle.Result
	Zip    bundle.Zip
	Upload bundle.Uploaded
}

// buildByCommand builds a bundle for this machine with the command, whose
// environment has a secret.
func (s *shop) buildByCommand(t *testing.T) built {
	t.Helper()
	backend := bundle.FakeS3(t)
	t.Setenv("DATABASE_URL", "postgres://app:"+s.secret+"@db.example.com/app")
	t.Chdir(s.dir())
	var stdout, stderr bytes.Buffer
	began := time.Now()
	code := cli.Run(context.Background(), []string{
		"bundle", "--env", "prod", "--arch", runtime.GOARCH, "--zip", "lambda.zip", "--upload", "s3://deploy/shop", "--json",
	}, cli.Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr})
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, &stderr)
	}
	var b built
	if err := json.Unmarshal(stdout.Bytes(), &b); err != nil {
		t.Fatalf("%v\n%s", err, &stdout)
	}
	t.Logf("%s: %d bytes, zip %d bytes, built in %s", b.Arch, b.Size, b.Zip.Size, time.Since(began).Round(time.Second))
	if b.Path != "bundle" || b.OS != "linux" || b.Arch != runtime.GOARCH || b.Go != runtime.Version() {
		t.Errorf("got %+v", b)
	}
	object, err := backend.GetObject("deploy", "shop/bundles/bundle-"+b.SHA256, nil)
	if err != nil {
		t.Fatal(err)
	}
	uploaded, err := io.ReadAll(object.Contents)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("bundle")
	if err != nil || !bytes.Equal(data, uploaded) || bundle.Sum(data) != b.SHA256 {
		t.Errorf("the file, the object and the digest do not agree (%v)", err)
	}
	if b.Zip.Size > maxZip {
		t.Errorf("the package for Lambda has %d bytes, want at most %d", b.Zip.Size, maxZip)
	}
	b.Path = filepath.Join(s.dir(), "bundle")
	return b
}

// testInside: what is read goes in, and nothing else.
func (s *shop) testInside(t *testing.T, b built) {
	want := []string{"aurora.hcl", "migrations/1_numbers.down.sql", "migrations/1_numbers.sql"}
	if diff := cmp.Diff(want, b.Files); diff != "" {
		t.Errorf("files inside (-want +got):\n%s", diff)
	}
	data, err := os.ReadFile(b.Path)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"a secret": s.secret, "the directory": s.root, "the user's home": "/" + filepath.Base(os.Getenv("HOME")) + "/go/"} {
		if bytes.Contains(data, []byte(text)) {
			t.Errorf("the bundle has %s in it: %q", what, text)
		}
	}
	if !bytes.Contains(data, []byte("CREATE TABLE numbers")) {
		t.Error("the bundle lacks what must be in it")
	}
}

// execute runs a program in a directory and with an environment of its own.
func execute(t *testing.T, dir string, env []string, name string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append([]string{"TMPDIR=" + dir, "NO_COLOR=1"}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// testRunsAnywhere: without the project, without Go, without anything.
func testRunsAnywhere(t *testing.T, b built) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "aurora.hcl"), "this is no project file")
	write(t, filepath.Join(dir, "migrations", "7_other.sql"), "SELECT 7;")
	for _, tt := range []struct {
		args string
		code int
		want string // in one of the outputs
	}{
		{"version", 0, "linux/" + runtime.GOARCH},
		{"migrate ls", 0, "1_numbers.sql\n2_count\n"},
		{"migrate ls --dir migrations", 0, "2_count\n7_other.sql\n"},
		{"migrate validate", 0, ""},
		{"migrate --env staging ls", 0, "1_numbers.sql\n2_count\n"},
		{"migrate --env staging status", 2, "is not in this bundle"},
		{"migrate status", 2, "no database url"},
		{"migrate list --format {{len(.)}}", 2, "--templates"},
		{"local up", 2, "unknown command"},
		{"migrate --env prod apply --url local://", 2, "a bundle has no local databases"},
	} {
		code, stdout, stderr := execute(t, dir, nil, b.Path, strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("%s: exit code %d, want %d with %q\n%s%s", tt.args, code, tt.code, tt.want, stdout, stderr)
		}
	}
	// What a Lambda function starts inherits its variables, and has arguments.
	code, stdout, stderr := execute(t, dir, []string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:1"}, b.Path, "version")
	if code != 0 || !strings.Contains(stdout, "linux/") {
		t.Errorf("a child of a function: exit code %d\n%s%s", code, stdout, stderr)
	}
}

func buildRunner(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "aurora-runner")
	run(t, ".", "go", "build", "-o", path, "../cmd/aurora-runner")
	return path
}

// inS3 puts a bundle into an S3 of this process and returns the environment in
// which the runner finds it.
func inS3(t *testing.T, b built) []string {
	t.Helper()
	bundle.FakeS3(t)
	u, err := bundle.Upload(t.Context(), nil, b.Result, "s3://deploy")
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"AURORA_BUNDLE_URL=" + u.URL, "AURORA_BUNDLE_SHA256=" + b.SHA256}
	for _, name := range []string{"AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		env = append(env, name+"="+os.Getenv(name))
	}
	return env
}

const onceEach = "SELECT count(*) || ' ' || min(n) || ' ' || max(n) || ' ' || sum(times) FROM numbers"

func testFromS3(t *testing.T, b built, runner string) {
	url := pgtest.URL(t)
	env := append(inS3(t, b), "DATABASE_URL="+url)
	code, stdout, stderr := execute(t, t.TempDir(), env, runner)
	if code != 0 || !strings.Contains(stdout, "2 migrations") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if got := pgtest.One(t, url, onceEach); got != "40 1 40 40" {
		t.Errorf("got %s", got)
	}
	if code, stdout, stderr = execute(t, t.TempDir(), env, runner, "migrate", "status"); code != 0 {
		t.Errorf("status: exit code %d\n%s%s", code, stdout, stderr)
	}
}

// testSIGTERM: a step that is interrupted keeps its checkpoint, and the next
// run goes on from there.
func testSIGTERM(t *testing.T, b built, runner string) {
	url := pgtest.URL(t)
	env := append(inS3(t, b), "DATABASE_URL="+url, "NO_COLOR=1", "TMPDIR="+t.TempDir())
	cmd := exec.Command(runner)
	cmd.Dir, cmd.Env = t.TempDir(), append(env, "PAUSE=1s")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	await(t, url, "SELECT to_regclass('numbers') IS NOT NULL")
	await(t, url, "SELECT count(*) >= 3 FROM numbers")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		t.Fatal("it did not end")
	}
	if code := cmd.ProcessState.ExitCode(); code != cli.ExitInterrupted {
		t.Fatalf("exit code %d, want %d\n%s", code, cli.ExitInterrupted, &output)
	}
	if got := pgtest.One(t, url, "SELECT count(*) < 40 FROM numbers"); got != "t" {
		t.Fatal("it ended before the signal came")
	}
	code, stdout, stderr := execute(t, t.TempDir(), env, runner)
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	// A number whose statement the signal ended may come twice, and no other.
	if got := pgtest.One(t, url, "SELECT count(*) = 40 AND sum(times) <= 41 FROM numbers"); got != "t" {
		t.Errorf("numbers: %s", pgtest.One(t, url, onceEach))
	}
	_, stdout, stderr = execute(t, t.TempDir(), env, b.Path, "migrate", "show", "2")
	if !strings.Contains(stdout, "resumed") {
		t.Errorf("show: nothing tells that it resumed:\n%s%s", stdout, stderr)
	}
}

// await waits until a query says true.
func await(t *testing.T, url, sql string) {
	t.Helper()
	for deadline := time.Now().Add(patience); pgtest.One(t, url, sql) != "t"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", sql)
		}
	}
}

var arches = map[string]string{"amd64": "arm64", "arm64": "amd64"}

// files are what the command would put in.
func (s *shop) options(arch, out string) bundle.Options {
	hcl, err := os.ReadFile(filepath.Join(s.dir(), "aurora.hcl"))
	if err != nil {
		panic(err)
	}
	return bundle.Options{
		Dir: s.dir(), Migrations: filepath.Join(s.dir(), "migrations"), Env: "prod", Arch: arch, Out: out,
		Files: fstest.MapFS{
			"aurora.hcl":               {Data: hcl},
			"migrations/1_numbers.sql": {Data: []byte("CREATE TABLE numbers (n int PRIMARY KEY, times int NOT NULL DEFAULT 1);\n")},
		},
	}
}

// build builds with the package alone.
func build(t *testing.T, o bundle.Options) bundle.Result {
	t.Helper()
	var stderr bytes.Buffer
	o.Stderr = &stderr
	began := time.Now()
	res, err := bundle.Build(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	t.Logf("%s: %d bytes, sha256 %s, built in %s", res.Arch, res.Size, res.SHA256, time.Since(began).Round(time.Second))
	return res
}

// buildOther builds for the architecture that this machine does not have.
func (s *shop) buildOther(t *testing.T) bundle.Result {
	t.Helper()
	return build(t, s.options(arches[runtime.GOARCH], filepath.Join(t.TempDir(), "bundle")))
}

// testOther executes a program of the other architecture.
func testOther(t *testing.T, res bundle.Result) {
	z, err := bundle.WriteZip(res, filepath.Join(t.TempDir(), "lambda.zip"))
	if err != nil || z.Size > maxZip {
		t.Errorf("the package for Lambda has %d bytes, want at most %d (%v)", z.Size, maxZip, err)
	}
	t.Logf("zip %d bytes", z.Size)
	qemu := "qemu-" + map[string]string{"arm64": "aarch64", "amd64": "x86_64"}[res.Arch] + "-static"
	if _, err := exec.LookPath(qemu); err != nil {
		t.Skipf("missing: %s (package qemu-user-static)", qemu)
	}
	url := pgtest.URL(t)
	for _, tt := range []struct{ args, want string }{
		{"version", "linux/" + res.Arch},
		{"migrate apply", "2 migrations"},
		{"migrate status", "OK"},
	} {
		code, stdout, stderr := execute(t, t.TempDir(), []string{"DATABASE_URL=" + url}, qemu, append([]string{res.Path}, strings.Fields(tt.args)...)...)
		if code != 0 || !strings.Contains(stdout, tt.want) {
			t.Errorf("%s: exit code %d\n%s%s", tt.args, code, stdout, stderr)
		}
	}
	if got := pgtest.One(t, url, onceEach); got != "40 1 40 40" {
		t.Errorf("got %s", got)
	}
}

// testDoesNotBuild: what the compiler says is shown, what is missing is said,
// and the bundle of before stays.
func (s *shop) testDoesNotBuild(t *testing.T) {
	broken := copyShop(t, s.root, "broken")
	write(t, filepath.Join(broken, "migrations", "3_broken.go"), "package migrations\n\nvar broken = nothing\n")
	foreign := copyShop(t, s.root, "foreign")
	write(t, filepath.Join(foreign, "go.mod"), "module example.com/foreign\n\ngo 1.26.0\n")
	main := copyShop(t, s.root, "main")
	write(t, filepath.Join(main, "cmd", "main.go"), "package main\n\nfunc main() { none() }\n")
	out := filepath.Join(t.TempDir(), "bundle")
	write(t, out, "before")
	for _, tt := range []struct {
		name   string
		o      bundle.Options
		want   error
		stderr string
	}{
		{"a mistake in Go", bundle.Options{Dir: broken, Migrations: filepath.Join(broken, "migrations")}, bundle.ErrBuild, "undefined: nothing"},
		{"a mistake in the main package", bundle.Options{Dir: main, Entry: filepath.Join(main, "cmd")}, bundle.ErrBuild, "undefined: none"},
		{"a module without aurora", bundle.Options{Dir: foreign, Migrations: filepath.Join(foreign, "migrations")}, nil, ""},
		{"no such directory", bundle.Options{Dir: main, Entry: filepath.Join(main, "none")}, fs.ErrNotExist, ""},
	} {
		var stderr bytes.Buffer
		tt.o.Out, tt.o.Stderr = out, &stderr
		_, err := bundle.Build(t.Context(), tt.o)
		var setup *bundle.SetupError
		switch {
		case tt.want == nil && (!errors.As(err, &setup) || !strings.Contains(setup.Hint, "go get -tool")):
			t.Errorf("%s: got %v\n%s", tt.name, err, &stderr)
		case tt.want != nil && (!errors.Is(err, tt.want) || !strings.Contains(stderr.String(), tt.stderr)):
			t.Errorf("%s: got %v, want %v\n%s", tt.name, err, tt.want, &stderr)
		}
		if text, err := os.ReadFile(out); string(text) != "before" {
			t.Errorf("%s: the bundle of before is gone (%v)", tt.name, err)
		}
		if left, _ := os.ReadDir(filepath.Dir(out)); len(left) != 1 {
			t.Errorf("%s: left %v", tt.name, left)
		}
	}
}

// testElsewhere builds the same sources in another directory, with other caches
// and with settings that would change what comes out.
func (s *shop) testElsewhere(t *testing.T, want bundle.Result) {
	if testing.Short() {
		t.Skip("missing: time to compile everything once more (package bundle, without -short)")
	}
	e := &shop{root: filepath.Join(t.TempDir(), "some where", "else")}
	if err := os.CopyFS(filepath.Join(e.root, "aurora"), os.DirFS(filepath.Join(s.root, "aurora"))); err != nil {
		t.Fatal(err)
	}
	copyShop(t, e.root, "shop")
	proxy := moduleCache(t)
	for name, value := range map[string]string{
		"HOME": t.TempDir(), "GOPATH": t.TempDir(), "GOCACHE": t.TempDir(), "GOMODCACHE": t.TempDir(), "GOTMPDIR": t.TempDir(),
		"GOPROXY": "file://" + filepath.ToSlash(proxy), "GOSUMDB": "off", "GOENV": "off", "GOTOOLCHAIN": "",
		"GOFLAGS": "-ldflags=-X=main.x=y -tags=integration", "GOAMD64": "v3", "GOARM64": "v9.0", "CGO_ENABLED": "1", "CC": "false",
		"GOOS": "windows", "GOARCH": "386", "GODEBUG": "gotypesalias=0", "GOEXPERIMENT": "nogreenteagc", "SOURCE_DATE_EPOCH": "1",
	} {
		t.Setenv(name, value)
	}
	makeRemovable(t, os.Getenv("GOMODCACHE"))
	got := build(t, e.options(want.Arch, filepath.Join(e.root, "out")))
	if got.SHA256 != want.SHA256 || got.Go != want.Go {
		t.Errorf("got %s by %s, want %s by %s", got.SHA256, got.Go, want.SHA256, want.Go)
	}
}

// makeRemovable undoes in the end that Go makes what it downloads read-only.
func makeRemovable(t *testing.T, dir string) {
	t.Cleanup(func() {
		if err := exec.Command("chmod", "-R", "u+w", dir).Run(); err != nil {
			t.Error(err)
		}
	})
}

// moduleCache is a proxy with all modules that are on this machine.
func moduleCache(t *testing.T) string {
	t.Helper()
	return filepath.Join(strings.TrimSpace(run(t, ".", "go", "env", "GOMODCACHE")), "cache", "download")
}

// TestBundleWithoutModule builds a project that is nothing but SQL, with a
// release of aurora that is in a proxy of this test.
func TestBundleWithoutModule(t *testing.T) {
	const version = "v0.0.0-20261122000000-0123456789ab"
	sources, proxy := filepath.Join(t.TempDir(), "aurora"), t.TempDir()
	copySources(t, sources)
	at := filepath.Join(proxy, filepath.FromSlash(gobuild.Module), "@v", version)
	mod, err := os.ReadFile(filepath.Join(sources, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, at+".mod", string(mod))
	write(t, at+".info", fmt.Sprintf(`{"Version":%q,"Time":"2026-11-22T00:00:00Z"}`, version))
	write(t, at+".zip", moduleZip(t, sources, version))
	proxies := "file://" + filepath.ToSlash(proxy) + ",file://" + filepath.ToSlash(moduleCache(t))
	for name, value := range map[string]string{"GOPROXY": proxies, "GOSUMDB": "off", "GOMODCACHE": t.TempDir(), "GOWORK": "/does/not/exist"} {
		t.Setenv(name, value)
	}
	makeRemovable(t, os.Getenv("GOMODCACHE"))
	dir := t.TempDir()
	res := build(t, bundle.Options{
		Dir: dir, Arch: runtime.GOARCH, Version: version, Out: filepath.Join(dir, "bundle"),
		Files: fstest.MapFS{"migrations/1_a.sql": {Data: []byte("CREATE TABLE a (id int);\n")}},
	})
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("it wrote into the project: %v", left)
	}
	for args, want := range map[string]string{"migrate ls": "1_a.sql\n", "version": "aurora " + version} {
		code, stdout, stderr := execute(t, t.TempDir(), nil, res.Path, strings.Fields(args)...)
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit code %d\n%s%s", args, code, stdout, stderr)
		}
	}
}

// moduleZip packs a module as proxies have it; see
// https://go.dev/ref/mod#zip-files
func moduleZip(t *testing.T, dir, version string) string {
	t.Helper()
	var b strings.Builder
	w := zip.NewWriter(&b)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != dir {
				return fs.SkipDir // another module
			}
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, err := w.Create(gobuild.Module + "@" + version + "/" + filepath.ToSlash(name))
		if err == nil {
			_, err = f.Write(data)
		}
		return err
	})
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

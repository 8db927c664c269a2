package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestImages: another implementation finds nothing wrong with the images, and
// what it unpacks runs, for both architectures.
func TestImages(t *testing.T) {
	if os.Getenv("AURORA_TEST_FETCH") != "1" {
		t.Skip("missing: AURORA_TEST_FETCH=1, which allows to fetch go-containerregistry through the Go proxy")
	}
	for _, r := range buildShared(t) {
		export := t.TempDir()
		args := []string{"run", "-C", "validate", ".", "-export", export, r.Layout}
		for _, p := range r.Platforms {
			args = append(args, p.Tarball)
		}
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Env = append(os.Environ(), "GOFLAGS=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("validate: %v\n%s", err, out)
		}
		if !strings.HasSuffix(strings.TrimSpace(string(out)), "\n"+r.Digest) {
			t.Errorf("%s: the digest is %s, and validate says %s", r.Name, r.Digest, out)
		}
		for _, p := range r.Platforms {
			arch := strings.TrimPrefix(p.Platform, "linux/")
			t.Run(r.Name+"/"+arch, func(t *testing.T) {
				needContainer(t, arch)
				c := container{root: filepath.Join(export, "linux-"+arch), arch: arch, config: readConfig(t, r, p.Platform)}
				if r.Name == "aurora" {
					c.testAurora(t)
				} else {
					c.testRunner(t)
				}
			})
		}
	}
}

// needContainer skips where programs for an architecture cannot be run in a
// root of their own.
func needContainer(t *testing.T, arch string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("missing: root (images are run by chroot)")
	}
	if arch == runtime.GOARCH {
		return
	}
	name := map[string]string{"arm64": "qemu-aarch64", "amd64": "qemu-x86_64"}[arch]
	if _, err := os.Stat("/proc/sys/fs/binfmt_misc/" + name); err != nil {
		t.Skipf("missing: %s in binfmt_misc (package qemu-user-static, then tools/image/binfmt.sh)", name)
	}
}

// A container is an unpacked image with its configuration.
type container struct {
	root, arch string
	config     config
}

// run starts the entry point as the image says, and returns its output and exit
// code.
func (c container) run(t *testing.T, env []string, args ...string) (string, int) {
	t.Helper()
	if c.config.Config.User != "65532:65532" {
		t.Fatalf("the image's user is %q", c.config.Config.User)
	}
	argv := append(append([]string(nil), c.config.Config.Entrypoint...), args...)
	cmd := &exec.Cmd{
		Path: argv[0], Args: argv, Dir: c.config.Config.WorkingDir, Env: append(env, c.config.Config.Env...),
		SysProcAttr: &syscall.SysProcAttr{Chroot: c.root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (c container) testAurora(t *testing.T) {
	out, code := c.run(t, nil, "version")
	if want := fmt.Sprintf("aurora v9.8.7 %s linux/%s\n", runtime.Version(), c.arch); out != want || code != 0 {
		t.Errorf("version: %d %q, want %q", code, out, want)
	}
	// The project goes into the working directory.
	if err := os.Mkdir(filepath.Join(c.root, "project/migrations"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.root, "project/migrations/1_users.sql"), []byte("CREATE TABLE users (id bigint);\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, code := c.run(t, nil, "migrate", "validate"); code != 0 {
		t.Errorf("validate: %d %s", code, out)
	}
}

// testRunner lets the image fetch a program, which says where it is.
func (c container) testRunner(t *testing.T) {
	job := filepath.Join(t.TempDir(), "job")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", job, "../../fargate/internal/ecstest/testdata/job")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+c.arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := os.ReadFile(job)
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		_, _ = w.Write(program)
	}))
	defer server.Close()
	env := func(does, digest string) []string {
		return []string{"JOB=" + does, "MIGRATION_BUNDLE_URL=" + server.URL + "/bundle", "MIGRATION_BUNDLE_SHA256=" + digest}
	}

	out, code := c.run(t, env("look", hexDigest(program)), "migrate", "up", "--to=a b")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) < 3 || lines[0] != "args migrate up --to=a b" || !strings.HasPrefix(lines[1], "uid 65532 gid 65532 ") {
		t.Fatalf("%d %s", code, out)
	}
	for _, l := range lines[2:] {
		if where, ok := strings.CutPrefix(l, "writable "); !ok || where != "/tmp" && !strings.HasPrefix(where, "/tmp/aurora-bundle-") {
			t.Errorf("the program says %q", l)
		}
	}
	if out, code := c.run(t, env("exit 3", hexDigest(program))); code != 3 || requests.Load() != 2 {
		t.Errorf("exit code of the program: %d %s (%d requests)", code, out, requests.Load())
	}
	if out, code := c.run(t, env("exit 3", strings.Repeat("0", 64))); code != 78 || strings.Contains(out, "args") {
		t.Errorf("another digest: %d %s", code, out)
	}
	if out, code := c.run(t, nil); code != 64 {
		t.Errorf("no variables: %d %s", code, out)
	}
	c.testCertificates(t, program)
}

// testCertificates: https works with a certificate that is among the image's,
// and with no other.
func (c container) testCertificates(t *testing.T, program []byte) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(program) }))
	server.Config.ErrorLog = nil
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server.Listener = l
	server.StartTLS()
	defer server.Close()
	env := []string{"JOB=exit 3", "AURORA_BUNDLE_URL=" + server.URL + "/bundle", "AURORA_BUNDLE_SHA256=" + hexDigest(program)}
	if out, code := c.run(t, env); code != 69 || !strings.Contains(out, "certificate") {
		t.Errorf("an unknown certificate: %d %s", code, out)
	}
	roots := filepath.Join(c.root, "etc/ssl/certs/ca-certificates.crt")
	data, err := os.ReadFile(roots)
	if err != nil {
		t.Fatal(err)
	}
	var pem bytes.Buffer
	pem.Write(data)
	writePEM(&pem, server.Certificate().Raw)
	if err := os.WriteFile(roots, pem.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, code := c.run(t, env); code != 3 {
		t.Errorf("a certificate of the image: %d %s", code, out)
	}
}

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const certificates = "/etc/ssl/certs/ca-certificates.crt"

// needCertificates skips where the machine has none to put into an image.
func needCertificates(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(certificates); err != nil {
		t.Skip("missing: CA certificates (package ca-certificates)")
	}
}

// buildHere builds images and returns what was said about them.
func buildHere(t *testing.T, args ...string) []result {
	t.Helper()
	needCertificates(t)
	var out, stderr bytes.Buffer
	if err := run(t.Context(), append([]string{"-json"}, args...), &out, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var results []result
	if err := json.Unmarshal(out.Bytes(), &results); err != nil {
		t.Fatal(err)
	}
	return results
}

// shared are both images, built once for all tests.
var shared []result

func buildShared(t *testing.T) []result {
	t.Helper()
	if shared == nil {
		shared = buildHere(t, "-out", sharedDir, "-version", "v9.8.7", "aurora-runner", "aurora")
	}
	return shared
}

var sharedDir string

func TestMain(m *testing.M) {
	var err error
	if sharedDir, err = os.MkdirTemp("", "images-*"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(sharedDir)
	os.Exit(code)
}

// digests are what must not change.
func digests(results []result) map[string]string {
	out := map[string]string{}
	for _, r := range results {
		out[r.Name] = r.Digest
		for _, p := range r.Platforms {
			out[r.Name+" "+p.Platform] = p.Digest
		}
	}
	return out
}

// TestReproducible: the digest depends on the inputs, and on nothing else.
func TestReproducible(t *testing.T) {
	needCertificates(t)
	// Copies, as somebody may be writing to the sources.
	here, there := t.TempDir(), t.TempDir()
	copySources(t, here)
	if err := os.CopyFS(there, os.DirFS(here)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(here)
	first := buildHere(t, "-out", t.TempDir(), "-version", "v9.8.7", "aurora-runner")
	if n := len(first[0].Platforms); n != 2 {
		t.Fatalf("%d platforms", n)
	}

	// The sources elsewhere, another time zone, home and certificate file's name.
	other := filepath.Join(t.TempDir(), "roots.pem")
	data, err := os.ReadFile(certificates)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	for name, value := range map[string]string{"TZ": "Asia/Tokyo", "LC_ALL": "C", "GOFLAGS": "-trimpath=false", "GOAMD64": "v3"} {
		t.Setenv(name, value)
	}
	t.Chdir(there)
	again := buildHere(t, "-out", out, "-version", "v9.8.7", "-ca", other, "aurora-runner")
	if diff := cmp.Diff(digests(first), digests(again)); diff != "" {
		t.Errorf("built in another directory (-first +again):\n%s", diff)
	}
	compareFiles(t, first[0].Layout, again[0].Layout)
	compareFiles(t, first[0].Platforms[0].Tarball, again[0].Platforms[0].Tarball)
}

// TestInputs: another certificate, or date, is another image.
func TestInputs(t *testing.T) {
	at := time.Unix(0, 0)
	digests := map[string]bool{}
	for _, l := range []struct {
		certificates string
		at           time.Time
	}{{"a", at}, {"a", at}, {"b", at}, {"a", at.Add(time.Hour)}} {
		base, err := baseLayer([]byte(l.certificates), l.at)
		if err != nil {
			t.Fatal(err)
		}
		digests[base.digest] = true
	}
	if len(digests) != 3 {
		t.Errorf("%d different layers of three inputs", len(digests))
	}
}

// copySources copies what aurora-runner is made of.
func copySources(t *testing.T, to string) {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if and .Module .Module.Main}}{{.Dir}}{{end}}", module+"/cmd/aurora-runner").Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	files := []string{filepath.Join(root, "go.mod"), filepath.Join(root, "go.sum")}
	for _, dir := range strings.Fields(string(out)) {
		sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, sources...)
	}
	for _, f := range files {
		rel, err := filepath.Rel(root, f)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, rel)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, rel), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// compareFiles compares two files, or directories with all in them.
func compareFiles(t *testing.T, a, b string) {
	t.Helper()
	read := func(root string) map[string]string {
		out := map[string]string{}
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			out[strings.TrimPrefix(path, root)] = digest(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if diff := cmp.Diff(read(a), read(b)); diff != "" {
		t.Errorf("%s and %s (-a +b):\n%s", a, b, diff)
	}
}

// TestFiles: what is in an image belongs to root, only /tmp may be written to,
// and nothing tells when or where it was built.
func TestFiles(t *testing.T) {
	needCertificates(t)
	roots, err := readCertificates(certificates)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(0, 0)
	base, err := baseLayer(roots, at)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(program, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	top, err := programLayer(program, "usr/local/bin/aurora", "/project", at)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range []layer{base, top} {
		if digest(l.blob) != l.digest {
			t.Error("the layer's digest is wrong")
		}
		z, err := gzip.NewReader(bytes.NewReader(l.blob))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(z)
		if err != nil || digest(plain) != l.diffID {
			t.Errorf("the layer's content has another digest (%v)", err)
		}
		for r := tar.NewReader(bytes.NewReader(plain)); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || !h.ModTime.Equal(at) {
				t.Errorf("%s: owner %d:%d %q %q, time %s", h.Name, h.Uid, h.Gid, h.Uname, h.Gname, h.ModTime)
			}
			got = append(got, os.FileMode(h.Mode).Perm().String()+" "+h.Name)
			if sticky := h.Mode&0o7000 != 0; sticky != (h.Name == "tmp/") {
				t.Errorf("%s: mode %o", h.Name, h.Mode)
			}
		}
	}
	want := []string{
		"-rwxr-xr-x etc/", "-rw-r--r-- etc/group", "-rw-r--r-- etc/passwd",
		"-rwxr-xr-x etc/ssl/", "-rwxr-xr-x etc/ssl/certs/", "-rw-r--r-- etc/ssl/certs/ca-certificates.crt", "-rwxrwxrwx tmp/",
		"-rwxr-xr-x project/", "-rwxr-xr-x usr/", "-rwxr-xr-x usr/local/", "-rwxr-xr-x usr/local/bin/", "-rwxr-xr-x usr/local/bin/aurora",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// TestDockerfiles: who builds an image with Docker gets the same user, program,
// files and environment.
func TestDockerfiles(t *testing.T) {
	for i, file := range []string{"../../Dockerfile.runner", "../../Dockerfile"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, last, ok := strings.Cut(string(text), "\nFROM scratch\n")
		if !ok {
			t.Fatalf("%s: the image is not made from scratch", file)
		}
		line := func(instruction string) string {
			return string(regexp.MustCompile(`(?m)^` + instruction + ` (.*)$`).FindSubmatch([]byte(last))[1])
		}
		want := options{}.config([]string{"aurora-runner", "aurora"}[i], "amd64", nil, nil)
		got := config{Architecture: want.Architecture, OS: want.OS, Created: want.Created, RootFS: want.RootFS, History: want.History}
		got.Config = process{User: line("USER"), Env: []string{line("ENV")}, WorkingDir: line("WORKDIR"), Labels: want.Config.Labels}
		if err := json.Unmarshal([]byte(line("ENTRYPOINT")), &got.Config.Entrypoint); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-built +Dockerfile):\n%s", file, diff)
		}
		for _, same := range []string{passwd, group} {
			if !strings.Contains(string(text), "'"+strings.ReplaceAll(same, "\n", `\n`)+"'") {
				t.Errorf("%s does not write %q", file, same)
			}
		}
		for _, same := range []string{"-trimpath -buildvcs=false", "\nARG TARGETARCH\n", "GOARCH=${TARGETARCH:-amd64} ", []string{`"-s -w -buildid="`, "-s -w -buildid= -X " + module + "/cli.version="}[i], "golang:" + strings.TrimPrefix(goVersion(t), "go") + " "} {
			if !strings.Contains(string(text), same) {
				t.Errorf("%s does not say %q", file, same)
			}
		}
	}
	ignored, err := os.ReadFile("../../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(ignored), "\n**/.env*\n") {
		t.Error(".dockerignore lets files with secrets into the build")
	}
}

// TestEnvironment: "go env -w" says where modules come from, and not how to
// compile.
func TestEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	text := "GOFLAGS=-tags=other -mod=mod -modcacherw\nGOEXPERIMENT=nogreenteagc\nGOFIPS140=latest\nGOWORK=/does/not/exist/go.work\nGOARM64=v9.0\n" +
		"GOPROXY=https://modules.example.com\nGONOSUMDB=example.com\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOENV", file)
	for _, name := range []string{"GOFLAGS", "GOEXPERIMENT", "GOFIPS140", "GOWORK", "GOARM64", "GOPROXY", "GONOSUMDB"} {
		t.Setenv(name, "")
	}
	env, err := environment(t.Context(), "arm64")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"GOFLAGS": "-mod=mod -modcacherw", "GOEXPERIMENT": "", "GOFIPS140": "off", "GOWORK": "off", "GOARM64": "v8.0",
		"GOPROXY": "https://modules.example.com", "GONOSUMDB": "example.com", "GOOS": "linux", "GOARCH": "arm64", "CGO_ENABLED": "0",
	}
	cmd := exec.Command("go", append([]string{"env", "-json"}, slices.Collect(maps.Keys(want))...)...)
	cmd.Env = env
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

// goVersion is the release that images are built with.
func goVersion(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOVERSION").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// readConfig finds the configuration of one platform in a layout.
func readConfig(t *testing.T, r result, platform string) config {
	t.Helper()
	blob := func(digest string, v any) {
		data, err := os.ReadFile(filepath.Join(r.Layout, "blobs", strings.Replace(digest, ":", "/", 1)))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, v); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range r.Platforms {
		if p.Platform == platform {
			var m manifest
			var c config
			blob(p.Digest, &m)
			blob(m.Config.Digest, &c)
			return c
		}
	}
	t.Fatalf("no platform %s", platform)
	return config{}
}

// TestRefuses: what must not become an image, or must not be overwritten.
func TestRefuses(t *testing.T) {
	needCertificates(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := write("key.pem", "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n")
	broken := write("broken.pem", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")
	letter := write("out/aurora-runner/letter", "dear")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-ca", filepath.Join(dir, "none")}, "install ca-certificates, or say -ca"},
		{[]string{"-ca", letter}, "there are none in"},
		{[]string{"-ca", key}, "holds a PRIVATE KEY"},
		{[]string{"-ca", broken}, "x509"},
		{[]string{"-out", dir, "postgres"}, `there is no image "postgres"`},
		{[]string{"-out", filepath.Join(dir, "out"), "aurora-runner"}, "is not empty and no image layout"},
		{[]string{"-unknown"}, "not defined"},
	} {
		err := run(t.Context(), tt.args, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.args, err, tt.want)
		}
	}
	if _, err := os.Stat(letter); err != nil {
		t.Error(err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if err := run(context.Background(), nil, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH") {
		t.Errorf("got %v", err)
	}
}

func writePEM(w io.Writer, der []byte) {
	_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der})
}

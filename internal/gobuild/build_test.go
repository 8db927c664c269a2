package gobuild

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// write makes a file, and the directories above it.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestKey: the key changes with what a build would see, and with nothing else.
func TestKey(t *testing.T) {
	dir := t.TempDir()
	path := func(elem ...string) string { return filepath.Join(append([]string{dir}, elem...)...) }
	goes := path("go", "bin", "go")
	for name, text := range map[string]string{
		"go/bin/go": "go", "go/VERSION": "go1.25.0", "go.mod": "module m", "p/p.go": "package p", "p/p_test.go": "package p",
		"p/data/x": "x", "v/vendor/q/q.go": "package q",
	} {
		write(t, path(filepath.FromSlash(name)), text)
	}
	in := inputs{
		Files: []string{path("go.mod"), path("go.work"), path("p", "data", "x")}, Dirs: []string{path("p")},
		Embedding: []string{path("p", "data")}, Vendored: []string{path("v", "vendor", "q")},
	}
	key := func() string {
		t.Helper()
		k, err := in.key(goes)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	var seen []string
	for _, step := range []struct {
		name string
		do   func()
		same bool
	}{
		{"at first", func() {}, false},
		{"again", func() {}, true},
		{"a test", func() { write(t, path("p", "p_test.go"), "package p_test") }, true},
		{"a file of no language", func() { write(t, path("p", "1.sql"), "SELECT 1;") }, true},
		{"a hidden file", func() { write(t, path("p", "_x.go"), "package x") }, true},
		{"a time", func() {
			if err := os.Chtimes(path("p", "p.go"), time.Time{}, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"a variable of programs", func() { t.Setenv("GOMAXPROCS", "3") }, true},
		{"a source", func() { write(t, path("p", "p.go"), "package p // edited") }, false},
		{"one more source", func() { write(t, path("p", "q.s"), "TEXT") }, false},
		{"the module", func() { write(t, path("go.mod"), "module n") }, false},
		{"a workspace", func() { write(t, path("go.work"), "") }, false},
		{"what is embedded", func() { write(t, path("p", "data", "x"), "y") }, false},
		{"one more to embed", func() { write(t, path("p", "data", "z"), "") }, false},
		{"a vendored file", func() { write(t, path("v", "vendor", "q", "q.go"), "package q // edited") }, false},
		{"Go", func() { write(t, path("go", "VERSION"), "go1.26.0") }, false},
		{"a setting", func() { t.Setenv("GOFLAGS", "-tags=x") }, false},
		{"a C compiler", func() { t.Setenv("CC", "mycc") }, false},
		{"a directory that is gone", func() { in.Dirs = append(in.Dirs, path("none")) }, false},
	} {
		step.do()
		k := key()
		if len(seen) > 0 && (k == seen[len(seen)-1]) != step.same {
			t.Errorf("%s: the key changed is %v", step.name, !step.same)
		}
		if !step.same && slices.Contains(seen[:max(0, len(seen)-1)], k) {
			t.Errorf("%s: a key from before", step.name)
		}
		seen = append(seen, k)
	}
}

// TestInputsOfPackages: packages of the module cache do not change, others do.
func TestInputsOfPackages(t *testing.T) {
	var in inputs
	main := &listedModule{Main: true, GoMod: "/m/go.mod"}
	replaced := &listedModule{Version: "v0.0.0", Replace: &listedModule{GoMod: "/r/go.mod"}}
	forked := &listedModule{Version: "v1.0.0", Replace: &listedModule{Version: "v1.0.1", GoMod: "/cache/f/go.mod"}}
	for _, p := range []listed{
		{Dir: "/m/a", Module: main, EmbedFiles: []string{"x/y/z.txt"}, EmbedPatterns: []string{"x"}},
		{Dir: "/m/b", Module: main, EmbedFiles: []string{"z.txt"}, EmbedPatterns: []string{"z.txt"}},
		{Dir: "/m/c", Module: main, EmbedFiles: []string{"z.txt"}, EmbedPatterns: []string{"*.txt"}},
		{Dir: "/r/a", Module: replaced},
		{Dir: "/cache/f", Module: forked},
		{Dir: "/cache/g", Module: &listedModule{Version: "v1.0.0"}},
		{Dir: "/m/vendor/g", Module: &listedModule{Version: "v1.0.0"}},
	} {
		in.add(p)
	}
	in.Files = slices.Compact(in.Files)
	for what, pair := range map[string][2][]string{
		"files":     {in.Files, {"/m/go.mod", "/m/a/x/y/z.txt", "/m/go.mod", "/m/b/z.txt", "/m/go.mod", "/m/c/z.txt", "/r/go.mod"}},
		"dirs":      {in.Dirs, {"/m/a", "/m/b", "/m/c", "/r/a"}},
		"embedding": {in.Embedding, {"/m/a/x/y", "/m/a/x", "/m/a", "/m/c"}},
		"vendored":  {in.Vendored, {"/m/vendor/g"}},
	} {
		if !slices.Equal(pair[0], pair[1]) {
			t.Errorf("%s: %q, want %q", what, pair[0], pair[1])
		}
	}
}

// TestPrune: the newest programs stay, and the directories that are there.
func TestPrune(t *testing.T) {
	cache, dir := t.TempDir(), t.TempDir()
	b := &builder{dir: dir, slot: filepath.Join(cache, "go", "own")}
	var want []string
	for i := range keptPrograms + 3 {
		program := filepath.Join(b.slot, "aurora-"+strings.Repeat("a", i+1))
		write(t, program, "")
		write(t, list(program), "{}")
		old := time.Now().Add(-time.Duration(i+1) * time.Minute)
		if err := os.Chtimes(list(program), old, old); err != nil {
			t.Fatal(err)
		}
		if i < keptPrograms || i == keptPrograms+2 {
			want = append(want, filepath.Base(program), filepath.Base(list(program)))
		}
	}
	write(t, filepath.Join(cache, "go", "there", ownerName), dir)
	write(t, filepath.Join(cache, "go", "gone", ownerName), filepath.Join(dir, "none"))
	write(t, filepath.Join(cache, "go", "unused", ownerName), dir)
	write(t, filepath.Join(b.slot, workPrefix+"new", "x"), "")
	write(t, filepath.Join(b.slot, workPrefix+"killed", "x"), "")
	long := time.Now().Add(-2 * keptUnused)
	for _, path := range []string{filepath.Join(cache, "go", "unused"), filepath.Join(b.slot, workPrefix+"killed")} {
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	b.prune(filepath.Join(b.slot, "aurora-"+strings.Repeat("a", keptPrograms+3)))
	names := func(dir string) []string {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range entries {
			out = append(out, e.Name())
		}
		return out
	}
	want = append(want, workPrefix+"new")
	slices.Sort(want)
	if got := names(b.slot); !slices.Equal(got, want) {
		t.Errorf("left %q, want %q", got, want)
	}
	if got := names(filepath.Join(cache, "go")); !slices.Equal(got, []string{"own", "there"}) {
		t.Errorf("left %q", got)
	}
}

// TestCachedNeedsTheProgram: a list without a program, or one that cannot be
// read, is as good as none.
func TestCachedNeedsTheProgram(t *testing.T) {
	dir := t.TempDir()
	b := &builder{goes: filepath.Join(dir, "go"), slot: filepath.Join(dir, "slot")}
	in := inputs{Main: mainSource}
	key, err := in.key(b.goes)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(b.slot, "aurora-broken.json"), "{")
	write(t, list(b.binary(key)), string(data))
	if path, ok := b.cached(); ok {
		t.Errorf("found %s, which is not there", path)
	}
	write(t, b.binary(key), "")
	if path, ok := b.cached(); !ok || path != b.binary(key) {
		t.Errorf("did not find it: %q", path)
	}
}

func TestModuleHint(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "a", "b")
	write(t, filepath.Join(sub, "x.go"), "package b\n")
	get := getCommand("v1.2.3")
	if want := "go get -tool " + Module + "/cmd/aurora@v1.2.3"; get != want {
		t.Errorf("got %q, want %q", get, want)
	}
	if got := getCommand("(devel)"); got != strings.TrimSuffix(get, "@v1.2.3") {
		t.Errorf("for no release: %q", got)
	}
	if got := ModuleHint(sub, "v1.2.3"); got != "go mod init example.com/NAME && "+get {
		t.Errorf("without a module: %q", got)
	}
	write(t, filepath.Join(dir, "go.mod"), "module m\n\nrequire "+Module+"-other v1.0.0\n")
	if got := ModuleHint(sub, "v1.2.3"); got != get {
		t.Errorf("without aurora: %q", got)
	}
	write(t, filepath.Join(dir, "go.mod"), "module m\n\nrequire "+Module+" v1.0.0\n")
	if got := ModuleHint(sub, "v1.2.3"); got != "" {
		t.Errorf("with aurora: %q", got)
	}
}

// TestBuildWithoutGo: what is missing is said before anything is tried.
func TestBuildWithoutGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Build(t.Context(), Config{Dir: t.TempDir(), CacheDir: t.TempDir()})
	var setup *SetupError
	if !errors.As(err, &setup) || !strings.Contains(setup.Hint, "https://go.dev/dl") {
		t.Errorf("got %v", err)
	}
}

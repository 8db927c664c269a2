package gobuild

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// inputs are what a program was built from: enough to see, without the go
// command, whether building again would make another. Packages of the standard
// library and of the module cache do not change under a go.sum and a version of
// Go that do not.
type inputs struct {
	Main string // the generated source's form
	// Files count with their content. They may be missing, which counts too: a
	// go.work that comes into being changes everything.
	Files []string
	// Dirs are those of packages, of whose files all count that go would look at.
	Dirs []string
	// Embedding are those that embed files, in which a new name counts.
	Embedding []string
	// Vendored are those of packages under vendor, which are too many to read:
	// their files count with name, size and time.
	Vendored []string

	lacksCLI bool
}

// A listed is what go list says about a package.
type listed struct {
	Dir, ImportPath string
	Standard        bool
	Module          *listedModule
	EmbedFiles      []string
	EmbedPatterns   []string
	Error           *struct{ ImportStack []string }
}

type listedModule struct {
	Main           bool
	Version, GoMod string
	Replace        *listedModule
}

const listFields = "-json=Dir,ImportPath,Standard,Module,EmbedFiles,EmbedPatterns,Error"

// inputs asks the go command what the program is made of.
func (b *builder) inputs(ctx context.Context, m mainPackage) (inputs, error) {
	in := inputs{Main: mainSource}
	otherErrors := false
	var stdout bytes.Buffer
	cmd := b.command(ctx, "list", "-deps", "-e", "-overlay", m.overlay, listFields, m.dir)
	cmd.Stdout, cmd.Stderr = &stdout, b.cfg.Stderr
	if err := cmd.Run(); err != nil {
		return in, fmt.Errorf("list what %s imports: %w", b.cfg.Dir, goError(err))
	}
	for d := json.NewDecoder(&stdout); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return in, fmt.Errorf("read what go list says: %w", err)
		}
		if p.Error != nil {
			ours := isOurs(p.ImportPath) || slices.ContainsFunc(p.Error.ImportStack, isOurs)
			in.lacksCLI, otherErrors = in.lacksCLI || ours, otherErrors || !ours
		}
		if !p.Standard && p.Dir != "" && p.Dir != m.dir {
			in.add(p)
		}
	}
	in.lacksCLI = in.lacksCLI && !otherErrors
	if err := b.addModuleFiles(ctx, &in); err != nil {
		return in, err
	}
	for _, list := range []*[]string{&in.Files, &in.Dirs, &in.Embedding, &in.Vendored} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return in, nil
}

func isOurs(importPath string) bool {
	return importPath == Module || strings.HasPrefix(importPath, Module+"/")
}

func (in *inputs) add(p listed) {
	mod := p.Module
	if mod != nil && mod.Replace != nil {
		mod = mod.Replace
	}
	if mod != nil && !mod.Main && mod.Version != "" {
		if strings.Contains(filepath.ToSlash(p.Dir), "/vendor/") {
			in.Vendored = append(in.Vendored, p.Dir)
		}
		return
	}
	if mod != nil && mod.GoMod != "" {
		in.Files = append(in.Files, mod.GoMod)
	}
	in.Dirs = append(in.Dirs, p.Dir)
	for _, name := range p.EmbedFiles {
		in.Files = append(in.Files, filepath.Join(p.Dir, name))
		// A name that a pattern matches may appear in any directory on the way.
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			in.Embedding = append(in.Embedding, filepath.Join(p.Dir, dir))
		}
	}
	if slices.ContainsFunc(p.EmbedPatterns, func(s string) bool { return strings.ContainsAny(s, "*?[") || !slices.Contains(p.EmbedFiles, s) }) {
		in.Embedding = append(in.Embedding, p.Dir)
	}
}

// addModuleFiles adds the files that say where packages come from.
func (b *builder) addModuleFiles(ctx context.Context, in *inputs) error {
	var stdout bytes.Buffer
	cmd := b.command(ctx, "env", "GOENV", "GOWORK")
	cmd.Stdout, cmd.Stderr = &stdout, b.cfg.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ask go for its settings: %w", goError(err))
	}
	lines := strings.Split(stdout.String(), "\n")
	for i, path := range lines[:min(2, len(lines))] {
		path = strings.TrimSpace(path)
		if path == "" || path == "off" {
			continue
		}
		in.Files = append(in.Files, path)
		if i == 1 {
			in.addModule(filepath.Dir(path), "go.work.sum")
		}
	}
	in.addModule(b.root, "go.sum")
	for dir := b.dir; ; dir = filepath.Dir(dir) {
		in.Files = append(in.Files, filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.work"))
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func (in *inputs) addModule(dir, sum string) {
	in.Files = append(in.Files, filepath.Join(dir, sum), filepath.Join(dir, "vendor", "modules.txt"))
}

// key hashes everything that the program depends on. The path of the go
// command is that of the process that asks.
func (in inputs) key(goes string) (string, error) {
	h := sha256.New()
	list, err := json.Marshal(in)
	if err != nil {
		return "", fmt.Errorf("hash the inputs: %w", err)
	}
	put(h, string(list), runtime.GOOS, runtime.GOARCH)
	putTool(h, goes)
	for _, name := range settings() {
		put(h, name)
	}
	for _, path := range in.Files {
		if err := putFile(h, path); err != nil {
			return "", err
		}
	}
	for _, dir := range in.Dirs {
		if err := putDir(h, dir, isInput, putFile); err != nil {
			return "", err
		}
	}
	all := func(string) bool { return true }
	for _, dir := range in.Embedding {
		if err := putDir(h, dir, all, func(hash.Hash, string) error { return nil }); err != nil {
			return "", err
		}
	}
	for _, dir := range in.Vendored {
		if err := putDir(h, dir, isInput, putStat); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// put adds texts so that no two lists of them look the same.
func put(h hash.Hash, texts ...string) {
	for _, s := range texts {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
}

// putTool adds what tells one installation of Go from another.
func putTool(h hash.Hash, goes string) {
	real, err := filepath.EvalSymlinks(goes)
	if err != nil {
		real = goes
	}
	put(h, real)
	if putStat(h, real) == nil {
		_ = putFile(h, filepath.Join(filepath.Dir(filepath.Dir(real)), "VERSION"))
	}
}

// settings are the variables of the environment that Go's tools read, but for
// those of programs that are running.
func settings() []string {
	var out []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GOTRACEBACK", "GODEBUG", "GORACE", "GOCOVERDIR", "GOOS", "GOARCH", "GOCACHE", "GOTMPDIR":
			continue
		}
		if !isSetting(name) {
			continue
		}
		out = append(out, v)
	}
	slices.Sort(out)
	return out
}

// isSetting reports whether Go's tools read a variable.
func isSetting(name string) bool {
	switch name {
	case "CC", "CXX", "FC", "AR", "GCCGO", "PKG_CONFIG":
		return true
	}
	return strings.HasPrefix(name, "GO") || strings.HasPrefix(name, "CGO_")
}

func putFile(h hash.Hash, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		put(h, "missing", path)
		return nil
	}
	if err != nil {
		return fmt.Errorf("hash the inputs: %w", err)
	}
	defer f.Close() //nolint:errcheck // Nothing was written.
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("hash the inputs: %w", err)
	}
	put(h, path, fmt.Sprint(info.Size()))
	if info.IsDir() {
		return nil
	}
	content := sha256.New()
	if _, err := io.Copy(content, f); err != nil {
		return fmt.Errorf("hash the inputs: %w", err)
	}
	_, _ = h.Write(content.Sum(nil))
	return nil
}

func putStat(h hash.Hash, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("hash the inputs: %w", err)
	}
	put(h, path, fmt.Sprint(info.Size()), fmt.Sprint(info.ModTime().UnixNano()))
	return nil
}

// putDir adds the entries of a directory that count.
func putDir(h hash.Hash, dir string, counts func(string) bool, file func(hash.Hash, string) error) error {
	put(h, dir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		put(h, "missing")
		return nil
	}
	if err != nil {
		return fmt.Errorf("hash the inputs: %w", err)
	}
	for _, e := range entries {
		if !counts(e.Name()) {
			continue
		}
		put(h, e.Name())
		if err := file(h, filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// sources are the endings of the files that go compiles or hands to other
// compilers; see "go help packages" and go/build.
var sources = map[string]bool{
	".go": true, ".c": true, ".cc": true, ".cpp": true, ".cxx": true, ".m": true, ".h": true, ".hh": true, ".hpp": true,
	".hxx": true, ".f": true, ".for": true, ".f90": true, ".s": true, ".sx": true, ".swig": true, ".swigcxx": true, ".syso": true,
}

func isInput(name string) bool {
	return sources[strings.ToLower(filepath.Ext(name))] &&
		!strings.HasSuffix(name, testSuffix) && name[0] != '.' && name[0] != '_'
}

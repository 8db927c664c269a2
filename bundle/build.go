package bundle

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aurora-migrate/aurora/internal/gobuild"
)

// DefaultArch is the architecture of bundles: AWS Lambda and Fargate have it,
// and charge less for it.
const DefaultArch = "arm64"

// DefaultOut is the file that [Build] writes.
const DefaultOut = "bundle"

// Arches are the architectures that there are bundles for.
var Arches = []string{"arm64", "amd64"}

// ErrBuild says that the go command did not build the bundle, and said why on
// Options.Stderr.
var ErrBuild = gobuild.ErrBuild

// A SetupError says what is missing before anything can be built, with what to
// do in its Hint.
type SetupError = gobuild.SetupError

// Options say what goes into a bundle. All paths are the disk's.
type Options struct {
	// Dir is the directory of the project. Empty means the working directory.
	// If it is in a Go module that requires aurora, that module says which
	// version; otherwise a temporary one does, with Version.
	Dir string
	// Migrations is the directory of a Go package whose Migrations variable
	// lists the migrations in Go; empty means that there are none.
	Migrations string
	// Entry is the directory of a main package to build instead of one that is
	// made of the fields above and below.
	Entry string
	// Files are put into the program, every one of them: the project file and
	// the directories that it names, at their paths below the working directory.
	// See cli.Program, whose Config and Env are the fields of the same names.
	Files       fs.FS
	Config, Env string
	// Templates lets the program write its output by templates other than
	// {{ json . }}, and its project file use data "template_dir". It makes the
	// program a quarter larger.
	Templates bool
	// Arch is arm64 or amd64. Empty means [DefaultArch].
	Arch string
	// Version is the release of aurora for a project without a module of its
	// own.
	Version string
	// Out is the file to write, replacing what is there. Empty means
	// [DefaultOut].
	Out string
	// Stderr gets what the go command says. Nil discards it.
	Stderr io.Writer
}

// A Result is a bundle that was built.
type Result struct {
	Path   string   `json:"path"`
	SHA256 string   `json:"sha256"` // 64 hexadecimal digits
	Size   int64    `json:"size"`   // in bytes
	OS     string   `json:"os"`     // linux
	Arch   string   `json:"arch"`
	Go     string   `json:"go"`    // the version of Go that compiled it
	Files  []string `json:"files"` // what is inside, by path
}

// Build compiles a bundle: one static program for Linux, which needs nothing of
// the system but, for TLS, its certificates. The same sources give the same
// bytes: of the environment only Go's version counts, which a toolchain line in
// go.mod pins. It needs the go command. Errors are a [*SetupError], [ErrBuild]
// or the system's, and leave a bundle of before as it was.
func Build(ctx context.Context, o Options) (res Result, err error) {
	o.Dir, o.Arch, o.Out = cmp.Or(o.Dir, "."), cmp.Or(o.Arch, DefaultArch), cmp.Or(o.Out, DefaultOut)
	if !slices.Contains(Arches, o.Arch) {
		return res, fmt.Errorf("there are no bundles for the architecture %q; want %s", o.Arch, strings.Join(Arches, " or "))
	}
	if o.Entry != "" && (o.Migrations != "" || o.Files != nil || o.Config != "" || o.Env != "") {
		return res, errors.New("a main package of your own says itself what is inside; give either that or the rest")
	}
	files, names, err := readFiles(o.Files)
	if err != nil {
		return res, err
	}
	// Beside the file that it replaces in the end.
	work, err := os.MkdirTemp(filepath.Dir(o.Out), ".aurora-bundle-")
	if err != nil {
		return res, fmt.Errorf("write the bundle: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	out, err := filepath.Abs(filepath.Join(work, "bundle")) // go runs elsewhere
	if err != nil {
		return res, fmt.Errorf("write the bundle: %w", err)
	}
	version, err := gobuild.BuildBundle(ctx, gobuild.Bundle{
		Dir: o.Dir, Migrations: o.Migrations, Entry: o.Entry, Files: files, Config: o.Config, Env: o.Env,
		Templates: o.Templates, Arch: o.Arch, Version: o.Version, Out: out, Stderr: o.Stderr,
	})
	if err != nil {
		return res, err
	}
	res = Result{Path: o.Out, OS: "linux", Arch: o.Arch, Go: version, Files: names}
	if res.SHA256, res.Size, err = digest(out); err != nil {
		return res, fmt.Errorf("read the bundle: %w", err)
	}
	if err := os.Rename(out, o.Out); err != nil {
		return res, fmt.Errorf("write the bundle: %w", err)
	}
	return res, nil
}

// private are names of files and directories that hold secrets or data, and
// never go into a bundle whatever asks for them.
var private = []string{
	".aurora", ".aws", ".azure", ".docker", ".env", ".envrc", ".git", ".git-credentials", ".gnupg", ".kube", ".netrc", ".npmrc",
	".pgpass", ".pypirc", ".ssh", "id_dsa", "id_ecdsa", "id_ed25519", "id_rsa",
}

// IsPrivate reports whether a file must not be inside a bundle, because of its
// name or that of a directory above it: .env and the like, .aurora, .git, what
// programs keep passwords in, and keys of SSH. It does not follow links: ask for
// the name that one leads to as well.
func IsPrivate(name string) bool {
	return slices.ContainsFunc(strings.Split(filepath.ToSlash(name), "/"), func(part string) bool {
		part = strings.ToLower(part)
		return slices.Contains(private, part) || strings.HasPrefix(part, ".env.") || strings.HasSuffix(part, ".env")
	})
}

// readFiles reads everything that is to be inside.
func readFiles(fsys fs.FS) (map[string][]byte, []string, error) {
	files, names := map[string][]byte{}, []string{}
	if fsys == nil {
		return files, names, nil
	}
	err := fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			// A directory of Go migrations is there without a file inside.
			if list, err := fs.ReadDir(fsys, name); err != nil || len(list) > 0 || name == "." {
				return err
			}
			files[name+"/"] = nil
			return nil
		}
		if IsPrivate(name) {
			return fmt.Errorf("%s may hold secrets and must not be inside", name)
		}
		names = append(names, name)
		files[name], err = fs.ReadFile(fsys, name)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read what goes into the bundle: %w", err)
	}
	return files, names, nil
}

// digest returns the sha256 and the size of a file.
func digest(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close() //nolint:errcheck // Nothing was written.
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	return hex.EncodeToString(sum.Sum(nil)), n, err
}

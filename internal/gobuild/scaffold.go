package gobuild

import (
	"bytes"
	"errors"
	"fmt"
	"go/format"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
	"unicode"

	"github.com/aurora-migrate/aurora/sqlfile"
)

// NewOptions say what [New] writes.
type NewOptions struct {
	// At gives the version. Zero means now.
	At time.Time
}

// A Created is what [New] has done.
type Created struct {
	Ident   string   // the migration's variable
	Written []string // paths of new files
	Edited  string   // path of the file whose slice has a line more, empty if it is new
}

// New writes the file of a new Go migration, its test, and its line in the
// slice, in a directory that is made if need be. The version is the time in UTC
// as sqlfile.New takes it, behind every .sql and .go file there. The name may
// have letters, digits, hyphens and underscores; spaces become underscores. No
// file is overwritten, and after an error nothing is changed.
func New(dir, name string, opts NewOptions) (c Created, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return c, fmt.Errorf("create the migrations directory: %w", err)
	}
	p, err := Read(dir)
	if err != nil {
		return c, err
	}
	if p.Name == "" {
		if p.Name, err = packageName(dir); err != nil {
			return c, err
		}
	}
	if err := p.checkPackage(); err != nil {
		return c, err
	}
	if err := p.checkName("a new migration"); err != nil {
		return c, err
	}
	version, err := sqlfile.NextVersion(os.DirFS(dir), opts.At)
	if err != nil {
		return c, fmt.Errorf("find a version in %s: %w", dir, err)
	}
	d, err := p.draft(version, name)
	if err != nil {
		return c, err
	}
	defer func() {
		if err != nil {
			for _, path := range c.Written {
				err = errors.Join(err, os.Remove(path))
			}
			c = Created{}
		}
	}()
	c.Ident = d.Ident
	for _, f := range []struct {
		path string
		text *template.Template
	}{{p.path(d.ID + goSuffix), migrationTemplate}, {p.path(d.ID + testSuffix), testTemplate}} {
		if err := d.write(f.path, f.text); err != nil {
			return c, err
		}
		c.Written = append(c.Written, f.path)
	}
	if p.slice == nil {
		path := p.path(sliceFile)
		if err := d.write(path, sliceTemplate); err != nil {
			return c, err
		}
		c.Written = append(c.Written, path)
		return c, nil
	}
	src, err := addEntry(p.slice.path, p.slice.src, d.Ident)
	if errors.Is(err, errNotLiteral) {
		at := p.slice.place()
		return c, fail(at, err.Error()+", so that no line can be added", "write it so, or write the migration by hand")
	}
	if err != nil {
		return c, err
	}
	c.Edited = p.slice.path
	return c, replace(p.slice.path, src)
}

// replace changes a file in one step, keeping its mode and a link to it.
func replace(path string, data []byte) error {
	fail := func(err error) error { return fmt.Errorf("edit %s: %w", path, err) }
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fail(err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return fail(err)
	}
	f, err := os.CreateTemp(filepath.Dir(real), ".migrations-*")
	if err != nil {
		return fail(err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), real)
	}
	if err != nil {
		return errors.Join(fail(err), os.Remove(f.Name()))
	}
	return nil
}

// A draft is what the templates fill in.
type draft struct {
	Package, Version, Name, ID string
	Title                      string // for the description
	Ident                      string // the variable
	Test                       string // the test's name without "Test"
}

// draft names everything that a new migration declares.
func (p *Package) draft(version, name string) (draft, error) {
	clean := strings.Join(strings.Fields(strings.TrimSuffix(strings.TrimSpace(name), goSuffix)), "_")
	bad := func(why, hint string) error {
		return fmt.Errorf("the migration name %q %s; %s", name, why, hint)
	}
	stem := version + "_" + clean
	switch {
	case clean == "":
		return draft{}, errors.New("a Go migration needs a name; give a word or two, such as add-user-roles")
	case strings.ContainsFunc(clean, func(r rune) bool {
		return r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}):
		return draft{}, bad("has a character other than letters, digits, - and _", "give a word or two, such as add-user-roles")
	case strings.HasSuffix(clean, "_test") || clean == "test":
		return draft{}, bad("ends in _test, as only Go's tests do", "put the words in another order")
	case !isPortableName(stem + goSuffix):
		return draft{}, bad("ends in the name of a system, and Go would leave its file out on any other", "put the words in another order, or write - for _")
	}
	d := draft{Package: p.Name, Version: version, Name: clean, ID: stem, Ident: camel(clean)}
	d.Title = strings.NewReplacer("_", " ", "-", " ").Replace(clean)
	first := []rune(d.Title)
	first[0] = unicode.ToUpper(first[0])
	d.Title = string(first)
	if !unicode.IsLetter([]rune(d.Ident)[0]) {
		d.Ident = "migration" + d.Ident
	}
	if p.taken(d.Ident) {
		d.Ident += version
	}
	first = []rune(d.Ident)
	first[0] = unicode.ToUpper(first[0])
	d.Test = string(first)
	return d, nil
}

// taken reports whether one of the names that come from an identifier stands
// for something else already.
func (p *Package) taken(ident string) bool {
	if token.IsKeyword(ident) || builtin[ident] || ident == p.Name {
		return true
	}
	first := []rune(ident)
	first[0] = unicode.ToUpper(first[0])
	for _, name := range []string{ident, ident + "Up", ident + "Down", ident + "Source", "Test" + string(first)} {
		if p.names[name] || name == sliceName {
			return true
		}
	}
	return false
}

// builtin are names that the files of [New] use, or that would be shadowed for
// the whole package.
var builtin = map[string]bool{
	"aurora": true, "context": true, "slog": true, "testing": true, "main": true, "init": true, "env": true, "ctx": true,
	"any": true, "append": true, "bool": true, "byte": true, "cap": true, "clear": true, "close": true, "comparable": true,
	"complex": true, "copy": true, "delete": true, "error": true, "false": true, "float64": true, "imag": true, "int": true,
	"int64": true, "iota": true, "len": true, "make": true, "max": true, "min": true, "new": true, "nil": true, "panic": true,
	"print": true, "println": true, "real": true, "recover": true, "rune": true, "string": true, "true": true, "uint": true,
	"embed": true,
}

// camel makes an identifier of words, addUserRoles of add-user_roles.
func camel(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' })
	var b strings.Builder
	for i, w := range words {
		runes := []rune(w)
		if i == 0 {
			runes[0] = unicode.ToLower(runes[0])
		} else {
			runes[0] = unicode.ToUpper(runes[0])
		}
		b.WriteString(string(runes))
	}
	if b.Len() == 0 {
		return "migration"
	}
	return b.String()
}

// packageName makes a package's name of the directory's.
func packageName(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("name the package: %w", err)
	}
	var b strings.Builder
	for _, r := range strings.ToLower(filepath.Base(abs)) {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) && b.Len() > 0) {
			b.WriteRune(r)
		}
	}
	name := b.String()
	if name == "" || token.IsKeyword(name) || builtin[name] {
		return "migrations", nil
	}
	return name, nil
}

// write creates a file, which must not exist.
func (d draft) write(path string, t *template.Template) error {
	var b bytes.Buffer
	if err := t.Execute(&b, d); err != nil {
		return fmt.Errorf("write the migration: %w", err)
	}
	src, err := format.Source(b.Bytes())
	if err != nil {
		return fmt.Errorf("write the migration: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already, and nothing is overwritten; move it away", path)
	}
	if err != nil {
		return fmt.Errorf("write the migration: %w", err)
	}
	_, err = f.Write(src)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write the migration: %w", err), os.Remove(path))
	}
	return nil
}

var migrationTemplate = template.Must(template.New("migration").Parse(`package {{.Package}}

import (
	"context"
	_ "embed"

	"github.com/aurora-migrate/aurora"
)

//go:embed {{.ID}}.go
var {{.Ident}}Source string

var {{.Ident}} = aurora.Migration{
	Version:  "{{.Version}}",
	Name:     "{{.Name}}",
	Checksum: aurora.Checksum({{.Ident}}Source),
	Description: ` + "`# {{.Title}}`" + `,
	Up:   []aurora.Step{aurora.Func{Name: "{{.Ident}}Up", Do: {{.Ident}}Up}},
	Down: []aurora.Step{aurora.Func{Name: "{{.Ident}}Down", Do: {{.Ident}}Down}},
}

// {{.Ident}}Up may run again after it was interrupted, so running it twice must
// do no more than running it once.
func {{.Ident}}Up(ctx context.Context, env *aurora.Env) error {
	env.Log.InfoContext(ctx, "nothing to do yet")
	return nil
}

func {{.Ident}}Down(ctx context.Context, env *aurora.Env) error {
	env.Log.InfoContext(ctx, "nothing to undo yet")
	return nil
}
`))

var testTemplate = template.Must(template.New("test").Parse(`package {{.Package}}

import (
	"log/slog"
	"testing"

	"github.com/aurora-migrate/aurora"
)

func Test{{.Test}}(t *testing.T) {
	env := &aurora.Env{Log: slog.New(slog.DiscardHandler)}
	run := func(steps []aurora.Step) {
		t.Helper()
		for _, step := range steps {
			if err := step.Run(t.Context(), env); err != nil {
				t.Fatalf("%s: %v", step, err)
			}
		}
	}
	run({{.Ident}}.Up)
	run({{.Ident}}.Up) // as after an interruption
	run({{.Ident}}.Down)
}
`))

var sliceTemplate = template.Must(template.New("slice").Parse(`// Package {{.Package}} holds the migrations of this directory that are written in
// Go. Those in .sql files run between them, in the order of their versions.
package {{.Package}}

import "github.com/aurora-migrate/aurora"

// Migrations lists every <version>_<name>.go of this directory. The order here
// does not matter.
var Migrations = []aurora.Migration{
	{{.Ident}},
}
`))

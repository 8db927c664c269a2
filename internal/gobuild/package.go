package gobuild

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/aurora-migrate/aurora/sqlfile"
)

// sliceName is the variable of the package that lists its migrations.
const sliceName = "Migrations"

// sliceFile is the file that [New] declares the slice in.
const sliceFile = "migrations.go"

const (
	goSuffix   = ".go"
	testSuffix = "_test.go"
)

// A File is a versioned .go file: <version>_<name>.go with digits as version.
type File struct {
	Path          string // as messages show it
	Version, Name string // as the file name has them
}

// base is the file's name without its directory.
func (f File) base() string { return filepath.Base(f.Path) }

// A Package is a migration directory that is a Go package. It is read from the
// source alone; only what can be seen without compiling is known.
type Package struct {
	Dir   string // as it was given to Read
	Name  string // of the package clause; empty when there is no .go file
	Files []File // the versioned ones, in the order of their names

	slice   *slice // nil when no file declares it
	other   place  // where something else has its name
	entries []entry
	opaque  bool              // the slice may hold more than entries tell
	vars    map[string]string // the first migration that each file declares
	names   map[string]bool   // what the package's files declare or import, tests included
	named   string            // the path of the file that Name is from
	foreign string            // the path of a .go file of another package
	called  string            // that package
}

var versioned = regexp.MustCompile(`^([0-9]+)_(.*)\.go$`)

// isSource reports whether the go command counts a file as part of a package.
func isSource(name string) bool {
	return strings.HasSuffix(name, goSuffix) && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "_")
}

// IsPackage reports whether a directory has migrations in Go, or may have some:
// a versioned .go file, or a declaration of the slice. It is cheap for a
// directory without .go files. One that cannot be read has none.
func IsPackage(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		name := e.Name()
		if !isSource(name) || strings.HasSuffix(name, testSuffix) {
			continue
		}
		if versioned.MatchString(name) {
			return true
		}
		src, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		if s, err := findSlice(name, src); err == nil && s != nil && (s.literal == nil || len(s.literal.Elts) > 0) {
			return true
		}
	}
	return false
}

// Read parses the .go files of a directory, which need not exist. A file that
// cannot be read or parsed is an error; the parser's names file and line.
func Read(dir string) (*Package, error) {
	p := &Package{Dir: dir, vars: map[string]string{}, names: map[string]bool{}}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the migrations directory: %w", err)
	}
	r := reader{p: p, fset: token.NewFileSet(), decls: map[string]decl{}}
	for _, e := range entries {
		if name := e.Name(); isSource(name) {
			if err := r.read(name); err != nil {
				return nil, err
			}
		}
	}
	if p.slice == nil {
		if d, ok := r.decls[sliceName]; ok {
			p.other = r.pos(d.pos)
		}
		return p, nil
	}
	if p.slice.literal == nil {
		p.opaque = p.slice.value != nil
		return p, nil
	}
	for _, e := range p.slice.literal.Elts {
		p.entries = append(p.entries, r.entry(e))
	}
	for _, e := range p.entries {
		if e.Version == "" && p.file(e.declared) == nil {
			p.opaque = true
		}
	}
	return p, nil
}

// A reader reads the files of one package.
type reader struct {
	p     *Package
	fset  *token.FileSet
	decls map[string]decl
}

// A decl is where the package declares a variable or a function.
type decl struct {
	file string // its name without directory
	pos  token.Pos
	lit  *ast.CompositeLit // the value, when it is written out
}

func (r *reader) read(name string) error {
	path := filepath.Join(r.p.Dir, name)
	src, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the migrations directory: %w", err)
	}
	f, err := parser.ParseFile(r.fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parse the Go migrations: %w", err)
	}
	if ignored(f) {
		return nil
	}
	r.collectNames(f)
	if strings.HasSuffix(name, testSuffix) {
		return nil
	}
	if m := versioned.FindStringSubmatch(name); m != nil {
		r.p.Files = append(r.p.Files, File{Path: path, Version: m[1], Name: m[2]})
	}
	switch {
	case r.p.Name == "":
		r.p.Name, r.p.named = f.Name.Name, path
	case r.p.Name != f.Name.Name && r.p.foreign == "":
		r.p.foreign, r.p.called = path, f.Name.Name
	}
	for _, d := range f.Decls {
		r.declare(name, d)
	}
	if s := sliceOf(r.fset, f); s != nil {
		s.path, s.src = path, src
		r.p.slice = s
	}
	return nil
}

// ignored reports whether a file opts out of every build with the customary
// tag.
func ignored(f *ast.File) bool {
	for _, group := range f.Comments {
		if group.Pos() > f.Package {
			break
		}
		for _, c := range group.List {
			if expr, err := constraint.Parse(c.Text); err == nil && !expr.Eval(func(tag string) bool { return tag != "ignore" }) {
				return true
			}
		}
	}
	return false
}

// collectNames remembers what a new declaration could clash with.
func (r *reader) collectNames(f *ast.File) {
	for _, i := range f.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		r.p.names[path[strings.LastIndex(path, "/")+1:]] = true
		if i.Name != nil {
			r.p.names[i.Name.Name] = true
		}
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				r.p.names[d.Name.Name] = true
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					r.p.names[spec.Name.Name] = true
				case *ast.ValueSpec:
					for _, n := range spec.Names {
						r.p.names[n.Name] = true
					}
				}
			}
		}
	}
}

// declare remembers the variables and functions that the slice may name.
func (r *reader) declare(file string, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv != nil {
			return
		}
		found := decl{file: file, pos: d.Pos()}
		if d.Body != nil && len(d.Body.List) == 1 {
			if ret, ok := d.Body.List[0].(*ast.ReturnStmt); ok && len(ret.Results) == 1 {
				found.lit, _ = ret.Results[0].(*ast.CompositeLit)
			}
		}
		r.decls[d.Name.Name] = found
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok || d.Tok != token.VAR {
				continue
			}
			for i, n := range v.Names {
				found := decl{file: file, pos: n.Pos()}
				if len(v.Values) == len(v.Names) {
					found.lit, _ = v.Values[i].(*ast.CompositeLit)
				}
				if r.p.vars[file] == "" && isMigration(v.Type, found.lit) {
					r.p.vars[file] = n.Name
				}
				r.decls[n.Name] = found
			}
		}
	}
}

// isMigration reports whether a variable is written out as aurora.Migration.
func isMigration(typ ast.Expr, lit *ast.CompositeLit) bool {
	if typ == nil && lit != nil {
		typ = lit.Type
	}
	sel, ok := typ.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "Migration"
}

// entry reads what can be seen of one element of the slice.
func (r *reader) entry(e ast.Expr) entry {
	found := decl{file: filepath.Base(r.p.slice.path), pos: e.Pos()}
	switch e := e.(type) {
	case *ast.Ident:
		if d, ok := r.decls[e.Name]; ok {
			found = d
		}
	case *ast.CallExpr:
		if id, ok := e.Fun.(*ast.Ident); ok {
			if d, ok := r.decls[id.Name]; ok {
				found = d
			}
		}
	case *ast.CompositeLit:
		found.lit = e
	}
	opaque := entry{pos: r.pos(found.pos), declared: found.file, nameUnknown: true, hasUp: true, hasDown: true}
	if found.lit == nil {
		return opaque
	}
	at := entry{pos: opaque.pos, declared: opaque.declared}
	for _, el := range found.lit.Elts {
		kv, ok := el.(*ast.KeyValueExpr)
		if !ok {
			// Without field names it has all fields.
			return opaque
		}
		key, _ := kv.Key.(*ast.Ident)
		if key == nil {
			continue
		}
		switch key.Name {
		case "Version":
			at.Version, at.versionPos = text(kv.Value), r.pos(kv.Pos())
		case "Name":
			at.Name, at.namePos = text(kv.Value), r.pos(kv.Pos())
			at.nameUnknown = at.Name == ""
		case "Up":
			at.hasUp = true
		case "Down", "Irreversible":
			at.hasDown = true
		}
	}
	return at
}

// text returns the value of a string literal, or nothing.
func text(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, _ := strconv.Unquote(lit.Value)
	return s
}

// A place is a line of a file.
type place struct {
	file string
	line int
}

func (r *reader) pos(pos token.Pos) place {
	// A //line comment must not lead elsewhere.
	p := r.fset.PositionFor(pos, false)
	return place{p.Filename, p.Line}
}

// file returns the versioned file of that name, or nil.
func (p *Package) file(base string) *File {
	for i := range p.Files {
		if p.Files[i].base() == base {
			return &p.Files[i]
		}
	}
	return nil
}

func (p *Package) path(base string) string { return filepath.Join(p.Dir, base) }

func fail(at place, message, hint string) error {
	return &sqlfile.FileError{File: at.file, Line: at.line, Message: message, Hint: hint}
}

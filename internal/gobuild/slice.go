package gobuild

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"slices"
)

// A slice is the declaration of the package's migrations in one file.
type slice struct {
	path string
	src  []byte
	fset *token.FileSet
	name *ast.Ident
	spec *ast.ValueSpec
	// value is what the variable is set to, nil for nothing.
	value ast.Expr
	// literal is the value when it lists its elements.
	literal *ast.CompositeLit
}

// line is where the variable stands in its file.
func (s *slice) place() place {
	return place{s.path, s.fset.PositionFor(s.name.Pos(), false).Line}
}

// findSlice parses a file and returns its declaration of the slice, or nil.
func findSlice(path string, src []byte) (*slice, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	s := sliceOf(fset, f)
	if s != nil {
		s.path, s.src = path, src
	}
	return s, nil
}

func sliceOf(fset *token.FileSet, f *ast.File) *slice {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			for i, n := range v.Names {
				if n.Name != sliceName || !mayList(v.Type) {
					continue
				}
				s := &slice{fset: fset, name: n, spec: v}
				switch len(v.Values) {
				case 0:
				case len(v.Names):
					s.value = v.Values[i]
				default: // a function with several results
					s.value = v.Values[0]
				}
				if lit, ok := s.value.(*ast.CompositeLit); ok && lit.Type != nil {
					if _, isMap := lit.Type.(*ast.MapType); !isMap {
						s.literal = lit
					}
				}
				return s
			}
		}
	}
	return nil
}

// mayList reports whether a variable of that type, nil where none is written, may
// be the slice. One that //go:embed fills is not: an embed.FS, a string or bytes.
func mayList(typ ast.Expr) bool {
	switch t := typ.(type) {
	case nil:
		return true
	case *ast.ArrayType:
		elem, ok := t.Elt.(*ast.Ident)
		return !ok || !builtin[elem.Name]
	case *ast.Ident: // perhaps declared as such a slice
		return !builtin[t.Name]
	case *ast.SelectorExpr:
		return t.Sel.Name != "FS"
	}
	return false
}

// errNotLiteral says that a slice is made in a way that cannot be edited.
var errNotLiteral = errors.New("the slice is not written out as []aurora.Migration{…}")

// addEntry returns a file with one more element, an identifier, at the end of
// its slice. Everything else stays as it is, but for what gofmt changes.
func addEntry(path string, src []byte, ident string) ([]byte, error) {
	s, err := findSlice(path, src)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", path, err)
	}
	if s == nil {
		return nil, fmt.Errorf("%s declares no %s", path, sliceName)
	}
	from, to, text, err := s.edit(ident)
	if err != nil {
		return nil, err
	}
	out := slices.Concat(src[:from], []byte(text), src[to:])
	formatted, err := format.Source(out)
	if err != nil {
		return nil, fmt.Errorf("format %s: %w", path, err)
	}
	return formatted, nil
}

// edit says which part of the file to replace by what to get one more element.
func (s *slice) edit(ident string) (from, to int, text string, err error) {
	file := s.fset.File(s.name.Pos())
	offset := file.Offset
	switch {
	case s.value == nil && s.spec.Type != nil && len(s.spec.Names) == 1:
		typ, ok := s.spec.Type.(*ast.ArrayType)
		if !ok || typ.Len != nil {
			return 0, 0, "", errNotLiteral
		}
		from, to = offset(typ.Pos()), offset(typ.End())
		return from, to, "= " + string(s.src[from:to]) + "{\n" + ident + ",\n}", nil
	case s.literal == nil:
		return 0, 0, "", errNotLiteral
	}
	from, to = offset(s.literal.Lbrace)+1, offset(s.literal.Rbrace)
	inside := s.src[from:to]
	if len(bytes.TrimSpace(inside)) == 0 {
		return from, to, "\n" + ident + ",\n", nil
	}
	// Where the brace stands on a line of its own, so can the element.
	if i := bytes.LastIndexByte(inside, '\n'); i >= 0 && len(bytes.TrimSpace(inside[i:])) == 0 {
		return to, to, ident + ",\n", nil
	}
	if n := len(s.literal.Elts); n > 0 {
		to = offset(s.literal.Elts[n-1].End())
		return to, to, ", " + ident, nil
	}
	return to, to, "\n" + ident + ",\n", nil
}

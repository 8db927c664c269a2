package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"ariga.io/atlas/schemahcl"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// openFile opens a file that the project is made of.
func (o Options) openFile(name string) (fs.File, error) {
	if o.Files == nil {
		return os.Open(name)
	}
	return o.Files.Open(filepath.ToSlash(filepath.Clean(name)))
}

// subdir returns the tree below a directory that the file names.
func (o Options) subdir(dir string) (fs.FS, error) {
	fsys := os.DirFS(dir)
	if o.Files != nil && !filepath.IsAbs(dir) {
		name := filepath.ToSlash(filepath.Clean(dir))
		if !fs.ValidPath(name) {
			return nil, outside(dir)
		}
		sub, err := fs.Sub(o.Files, name)
		if err != nil {
			return nil, err
		}
		fsys = sub
	}
	if info, err := fs.Stat(fsys, "."); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("path %q is not a directory", dir)
	}
	return fsys, nil
}

func outside(name string) error {
	return fmt.Errorf("%q leads out of the directory that a bundle is made of; give a path below it, or an absolute one, which is read where the bundle runs", name)
}

// fileFuncs are the functions that read files relative to the project file. In
// a bundle there is no directory to list, so only file is left for what was put
// inside; absolute paths mean the disk of whoever runs it.
func (ev *evaluator) fileFuncs() map[string]function.Function {
	dir := ev.doc.dir
	m := map[string]function.Function{
		"file":    schemahcl.MakeFileFunc(dir),
		"glob":    schemahcl.MakeGlobFunc(dir),
		"fileset": schemahcl.MakeFileSetFunc(dir),
	}
	if ev.opts.Files == nil {
		return m
	}
	base := path.Dir(filepath.ToSlash(filepath.Clean(ev.doc.name)))
	m["file"] = embeddedFile(ev.opts.Files, base)
	for _, name := range []string{"glob", "fileset"} {
		m[name] = absoluteOnly(name, m[name])
	}
	return m
}

func embeddedFile(files fs.FS, base string) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			arg := args[0].AsString()
			if filepath.IsAbs(arg) {
				src, err := os.ReadFile(arg)
				return cty.StringVal(string(src)), err
			}
			name := path.Join(base, filepath.ToSlash(arg))
			if !fs.ValidPath(name) {
				return cty.NilVal, outside(arg)
			}
			src, err := fs.ReadFile(files, name)
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%s is not in this bundle; put it in with --include, or give an absolute path, which is read where the bundle runs", name)
			}
			return cty.StringVal(string(src)), err
		},
	})
}

func absoluteOnly(name string, f function.Function) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "pattern", Type: cty.String}},
		Type:   function.StaticReturnType(cty.List(cty.String)),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if !filepath.IsAbs(args[0].AsString()) {
				return cty.NilVal, fmt.Errorf("a bundle has no directory for %s to search; name the files one by one", name)
			}
			return f.Call(args)
		},
	})
}

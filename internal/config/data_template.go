//go:build !aurora_notemplates

package config

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/zclconf/go-cty/cty"
)

// templateDirSource is data "template_dir": every file below path is a Go
// template, and the *.sql files directly in it are rendered into a directory
// in memory, Project.MemDirs. Its value is an object with the url.
func templateDirSource(_ context.Context, b *dataBlock) (cty.Value, error) {
	root, raw := b.required("path"), b.raw("vars")
	if !b.ok() {
		return cty.NilVal, nil
	}
	vars, ok := goValue(raw).(map[string]any)
	if !ok && !raw.IsNull() {
		return cty.NilVal, fmt.Errorf("vars must be a map, not %s", raw.Type().FriendlyName())
	}
	dir, err := b.ev.opts.subdir(root)
	if err != nil {
		return cty.NilVal, err
	}
	tmpl, names, err := parseTemplates(dir)
	if err != nil {
		return cty.NilVal, err
	}
	files := make(map[string][]byte, len(names))
	for _, name := range names {
		var out bytes.Buffer
		if err := tmpl.ExecuteTemplate(&out, name, vars); err != nil {
			return cty.NilVal, fmt.Errorf("rendering: %w", err)
		}
		files[name] = out.Bytes()
	}
	u := "mem://template_dir/" + b.block.Labels[1]
	b.ev.memDirs[u] = files
	return cty.ObjectVal(map[string]cty.Value{"url": cty.StringVal(u)}), nil
}

// parseTemplates parses the files of a directory tree as templates and returns
// the names of those to render.
func parseTemplates(dir fs.FS) (*template.Template, []string, error) {
	var paths, names []string
	err := fs.WalkDir(dir, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if !strings.Contains(path, "/") && filepath.Ext(path) == ".sql" {
			names = append(names, path)
		}
		paths = append(paths, path)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading the templates: %w", err)
	}
	// Templates are called by base name. Those to render come last, so that a
	// file of the same name further down cannot take their place.
	slices.SortStableFunc(paths, func(x, y string) int { return strings.Count(y, "/") - strings.Count(x, "/") })
	tmpl := template.New("template_dir").Option("missingkey=error")
	for _, name := range paths {
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the templates: %w", err)
		}
		if _, err := tmpl.New(path.Base(name)).Parse(string(text)); err != nil {
			return nil, nil, fmt.Errorf("parsing the templates: %w", err)
		}
	}
	return tmpl, names, nil
}

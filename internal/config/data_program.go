package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/zclconf/go-cty/cty"
)

// maxStderr bounds what an error shows of a program's standard error, in
// bytes from its end.
const maxStderr = 500

// externalSource is data "external": the standard output of a program, as it
// is. A relative working_dir is relative to the working directory, as in Atlas.
func externalSource(ctx context.Context, b *dataBlock) (cty.Value, error) {
	program, dir := b.d.strs(b.block.Body, "program"), b.str("working_dir")
	if !b.ok() {
		return cty.NilVal, nil
	}
	if len(program.Value) == 0 || program.Value[0] == "" {
		return cty.NilVal, errors.New(`it needs program = ["name", "argument", …]`)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program.Value[0], program.Value[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	// A child that keeps the pipes open must not hold us after the deadline.
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctxErr := ctx.Err(); ctxErr != nil {
			err = ctxErr
		}
		text := strings.TrimSpace(stderr.String())
		if len(text) > maxStderr {
			text = "…" + text[len(text)-maxStderr:]
		}
		if text != "" {
			text = ": " + strings.ToValidUTF8(text, "?")
		}
		return cty.NilVal, fmt.Errorf("running %s: %w%s", program.Value[0], err, text)
	}
	out := stdout.String()
	b.secret(out)
	return cty.StringVal(out), nil
}

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
	tmpl, names, err := parseTemplates(root)
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
func parseTemplates(root string) (*template.Template, []string, error) {
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return nil, nil, fmt.Errorf("path %q is not a directory", root)
	}
	var paths, names []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if filepath.Dir(path) == filepath.Clean(root) && filepath.Ext(path) == ".sql" {
			names = append(names, e.Name())
		}
		paths = append(paths, path)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading the templates: %w", err)
	}
	// Templates are called by base name. Those to render come last, so that a
	// file of the same name further down cannot take their place.
	slices.SortStableFunc(paths, func(x, y string) int {
		return strings.Count(y, string(filepath.Separator)) - strings.Count(x, string(filepath.Separator))
	})
	tmpl := template.New("template_dir").Option("missingkey=error")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the templates: %w", err)
		}
		if _, err := tmpl.New(filepath.Base(path)).Parse(string(text)); err != nil {
			return nil, nil, fmt.Errorf("parsing the templates: %w", err)
		}
	}
	return tmpl, names, nil
}

// goValue turns a value into what templates work with: string, int64,
// float64, bool, []any, map[string]any or nil.
func goValue(v cty.Value) any {
	if v.IsNull() || !v.IsKnown() {
		return nil
	}
	switch t := v.Type(); {
	case t == cty.String:
		return v.AsString()
	case t == cty.Bool:
		return v.True()
	case t == cty.Number:
		if i, exact := v.AsBigFloat().Int64(); exact == 0 {
			return i
		}
		f, _ := v.AsBigFloat().Float64()
		return f
	case t.IsMapType() || t.IsObjectType():
		m := make(map[string]any)
		for k, e := range v.AsValueMap() {
			m[k] = goValue(e)
		}
		return m
	case t.IsListType() || t.IsSetType() || t.IsTupleType():
		list := make([]any, 0, v.LengthInt())
		for _, e := range v.AsValueSlice() {
			list = append(list, goValue(e))
		}
		return list
	}
	return nil
}

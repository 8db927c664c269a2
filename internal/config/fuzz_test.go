package config

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"
)

// harmlessSources do what the real ones do to their arguments, and nothing to
// the world: a fuzzer must not run programs.
func harmlessSources() map[string]dataSource {
	sources := fakeSources("a", "b")
	sources["external"] = func(_ context.Context, b *dataBlock) (cty.Value, error) {
		if len(b.d.strs(b.block.Body, "program").Value) == 0 {
			return cty.NilVal, errors.New("no program")
		}
		return cty.StringVal(`{"a":["b"]}`), nil
	}
	return sources
}

// FuzzLoad gives Load arbitrary files: it must return a project or an error
// with a place, and never panic.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		"", "\x00", "\xff\xfe", "env \"x\" {", "env \"x\" {}\nenv {\n  name = atlas.env\n}", "env \"x\" \"y\" \"z\" {}",
		"env \"x\" {\n  for_each = toset([\"a\"])\n  url = each.key\n}", "locals {\n  a = local.a\n}\nenv \"x\" { url = local.a }",
		"locals {\n  a = [for k in [1] : k]\n  b = {for k, v in {a=1} : k => v...}\n}\nenv \"x\" { schemas = local.a }",
		"env \"x\" {\n  url = alltrue([null])\n  dev = \"%{ for a in [1] }${a}%{ endfor }\"\n}",
		"variable \"v\" {\n  type = tuple([string, object({a = set(map(bool))})])\n  default = [\"a\", {a = []}]\n}\nenv \"x\" { url = var.v[0] }",
		"env \"x\" {\n  migration {\n    exec_order = LINEAR\n    lock_timeout = \"1s\"\n    baseline = 1e400\n  }\n}",
		"env \"x\" {\n  url = substr(\"a\", -1, 99)\n  schemas = [for s in range(3) : format(\"%d\", s)]\n}",
		"env \"x\" {\n  url = <<-EOT\n  a ${1 + 1}\n  EOT\n}", "env \"x\" { url = var[0] }", "env \"x\" { url = data[\"a\"][\"b\"].c }",
	} {
		f.Add([]byte(s))
	}
	paths, err := filepath.Glob("testdata/samples/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(paths, "testdata/earlier_readme.hcl") {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if _, after, ok := strings.Cut(string(text), ".hcl --\n"); ok {
			text, _, _ := strings.Cut(after, "\n-- ")
			f.Add([]byte(text))
			continue
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		// These make memory proportional to a number in the file.
		for _, word := range []string{"range", "format", "setproduct", "formatlist", "pow", "file", "glob", "indent", "parseint", "e9"} {
			if strings.Contains(string(text), word) {
				return
			}
		}
		const path = "fuzz.hcl"
		for _, env := range []string{"x", "prod", "aws", ""} {
			var p *Project
			doc, err := parse(path, "/nowhere/fuzz.hcl", text)
			if err == nil {
				p, err = load(context.Background(), Options{
					Env: env, Vars: map[string][]string{"v": {"1"}}, Stderr: io.Discard, LookupEnv: lookup(nil), sources: harmlessSources(),
				}, doc)
			}
			if (p == nil) == (err == nil) {
				t.Fatalf("project %v and error %v", p, err)
			}
			if err != nil {
				if !strings.HasPrefix(err.Error(), path) {
					t.Errorf("no place: %v", err)
				}
				continue
			}
			for _, e := range p.Envs {
				for _, ref := range []string{"env://url", "env://dev", "env://src", "env://other"} {
					_, _ = e.Resolve(context.Background(), ref)
				}
				_ = Redact(e.URL.Value)
			}
		}
	})
}

// The parser and all walks of the tree are recursive. The bounds on size and
// nesting keep them far from the end of the stack, which nothing could catch.
func TestHugeFilesDoNotExhaustTheStack(t *testing.T) {
	fill := func(head, unit, tail string) string {
		return head + strings.Repeat(unit, (maxFile-len(head)-len(tail))/len(unit)) + tail
	}
	for name, text := range map[string]string{
		"parentheses": fill("env \"x\" { url = ", "(", ""),
		"brackets":    fill("env \"x\" { url = ", "[", ""),
		"templates":   fill("env \"x\" { url = ", "\"${", ""),
		"not":         fill("env \"x\" { protected = ", "!", "true }"),
		"minus":       fill("env \"x\" { protected = ", "-", "1 }"),
		"conditions":  fill("env \"x\" { url = ", "true?1:", "2 }"),
		"sums":        fill("env \"x\" { url = 1", "+1", " }"),
		"steps":       fill("env \"x\" { url = local", ".a", " }"),
		"blocks":      fill("", "a{\n", ""),
		// The parser needs quadratic time for these, so there are fewer.
		"directives": "env \"x\" { url = \"" + strings.Repeat("%{if true}", 5000) + "\" }",
		"locals": func() string {
			var b strings.Builder
			b.WriteString("env \"x\" { url = local.a0 }\nlocals {\n")
			for i := 0; b.Len() < maxFile-64; i++ {
				b.WriteString("a" + itoa(i) + " = local.a" + itoa(i+1) + "\n")
			}
			return b.String() + "}\n"
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_, err := loadText(t, text, Options{Env: "x"})
			if err == nil {
				t.Error("no error")
			}
			t.Logf("%d bytes in %s", len(text), time.Since(begin).Round(time.Millisecond))
		})
	}
	_, err := loadText(t, strings.Repeat(" ", maxFile+1), Options{})
	wantError(t, err, "reading the project file: aurora.hcl is larger than 256 KiB; a project file is not")
}

func itoa(i int) string {
	if i < 10 {
		return string(rune('0' + i))
	}
	return itoa(i/10) + string(rune('0'+i%10))
}

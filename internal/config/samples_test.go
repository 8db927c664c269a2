package config

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ariga.io/atlas/schemahcl"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata/samples")

// sample is one project of testdata/samples.
type sample struct {
	path    string
	archive *txtar.Archive
	opts    Options
	env     map[string]string
	sql     []string
	oracle  bool
}

func samples(t *testing.T) []*sample {
	t.Helper()
	paths, err := filepath.Glob("testdata/samples/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	var out []*sample
	for _, path := range paths {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s := &sample{path: path, archive: a, env: make(map[string]string), oracle: true}
		var vars []string
		for _, line := range strings.Split(string(a.Comment), "\n") {
			key, value, _ := strings.Cut(line, ": ")
			switch key {
			case "env":
				s.opts.Env = value
			case "var":
				vars = append(vars, value)
			case "sql":
				s.sql = append(s.sql, value)
			case "getenv":
				name, v, _ := strings.Cut(value, "=")
				s.env[name] = v
			case "oracle":
				s.oracle = false
			}
		}
		if s.opts.Vars, err = ParseVars(vars); err != nil {
			t.Fatal(err)
		}
		s.opts.LookupEnv = lookup(s.env)
		s.opts.sources = fakeSources(s.sql...)
		out = append(out, s)
	}
	return out
}

// enter makes the sample's files the working directory.
func (s *sample) enter(t *testing.T) {
	t.Helper()
	files := make(map[string]string)
	for _, f := range s.archive.Files {
		files[f.Name] = string(f.Data)
	}
	inDir(t, files)
}

// dump writes down all that is set.
func dump(p *Project) string {
	var b strings.Builder
	for _, e := range p.Envs {
		fmt.Fprintf(&b, "env %s[%s]\n", e.Name, e.Instance)
		show := func(name string, set bool, value any) {
			if set {
				fmt.Fprintf(&b, "  %s = %v\n", name, value)
			}
		}
		m, f := e.Migration, e.Format.Migrate
		show("url", e.URL.Set, e.URL.Value)
		show("schemas", e.Schemas.Set, e.Schemas.Value)
		show("exclude", e.Exclude.Set, e.Exclude.Value)
		show("protected", e.Protected.Set, e.Protected.Value)
		show("history.url", e.History.URL.Set, e.History.URL.Value)
		show("token of", e.DSQLToken != nil, func() any {
			if e.DSQLToken == nil {
				return nil
			}
			return fmt.Sprintf("%s admin %t", e.DSQLToken.Endpoint, e.DSQLToken.Admin)
		}())
		show("migration.dir", true, m.Dir.Value)
		show("migration.format", m.Format.Set, m.Format.Value)
		show("migration.baseline", m.Baseline.Set, m.Baseline.Value)
		show("migration.exec_order", m.ExecOrder.Set, m.ExecOrder.Value)
		show("migration.lock_timeout", m.LockTimeout.Set, m.LockTimeout.Value)
		show("migration.revisions_schema", m.RevisionsSchema.Set, m.RevisionsSchema.Value)
		show("migration.tx_mode", m.TxMode.Set, m.TxMode.Value)
		show("migration.project", m.Project.Set, m.Project.Value)
		show("migration.exclude", m.Exclude.Set, m.Exclude.Value)
		show("migration.repo", m.Repo.Set, m.Repo.Value)
		show("format.apply", f.Apply.Set, f.Apply.Value)
		show("format.status", f.Status.Set, f.Status.Value)
		show("format.diff", f.Diff.Set, f.Diff.Value)
	}
	for _, u := range slices.Sorted(maps.Keys(p.MemDirs)) {
		for _, name := range slices.Sorted(maps.Keys(p.MemDirs[u])) {
			fmt.Fprintf(&b, "%s %s: %s", u, name, p.MemDirs[u][name])
		}
	}
	return b.String() + warningTexts(p)
}

func TestSamples(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(filepath.Base(s.path), func(t *testing.T) {
			abs, err := filepath.Abs(s.path)
			if err != nil {
				t.Fatal(err)
			}
			s.enter(t)
			p, err := loadHere(s.opts)
			if err != nil {
				t.Fatal(err)
			}
			got := dump(p)
			i := slices.IndexFunc(s.archive.Files, func(f txtar.File) bool { return f.Name == "want" })
			if *update {
				if i < 0 {
					i = len(s.archive.Files)
					s.archive.Files = append(s.archive.Files, txtar.File{Name: "want"})
				}
				s.archive.Files[i].Data = []byte(got)
				if err := os.WriteFile(abs, txtar.Format(s.archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if i < 0 {
				t.Fatal("the sample has no expectation: run with -update")
			}
			if diff := cmp.Diff(string(s.archive.Files[i].Data), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// oracleEnv is what Atlas's own command reads of an env block.
type oracleEnv struct {
	Name      string   `spec:"name,name"`
	URL       string   `spec:"url"`
	Dev       string   `spec:"dev"`
	Schemas   []string `spec:"schemas"`
	Exclude   []string `spec:"exclude"`
	Migration *struct {
		Dir             string   `spec:"dir"`
		Exclude         []string `spec:"exclude"`
		Format          string   `spec:"format"`
		Baseline        string   `spec:"baseline"`
		ExecOrder       string   `spec:"exec_order"`
		LockTimeout     string   `spec:"lock_timeout"`
		RevisionsSchema string   `spec:"revisions_schema"`
	} `spec:"migration"`
	Format struct {
		Migrate struct {
			Apply string `spec:"apply"`
			Diff  string `spec:"diff"`
		} `spec:"migrate"`
	} `spec:"format"`
	schemahcl.DefaultExtension
}

// evalAsAtlas evaluates a file with schemahcl as a whole, as Atlas's command
// does: other envs cut away, and the rest handed over. The data sources are
// ours, so only evaluation is compared.
func evalAsAtlas(t *testing.T, s *sample, path string) []*oracleEnv {
	t.Helper()
	parser := hclparse.NewParser()
	file, diags := parser.ParseHCLFile(path)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	body := file.Body.(*hclsyntax.Body)
	var other, labelled, dynamic hclsyntax.Blocks
	for _, b := range body.Blocks {
		switch {
		case b.Type != "env":
			other = append(other, b)
		case len(b.Labels) == 1 && b.Labels[0] == s.opts.Env:
			labelled = append(labelled, b)
		case len(b.Labels) == 0:
			dynamic = append(dynamic, b)
		}
	}
	if len(labelled) == 0 {
		labelled = dynamic
	}
	file.Body = &hclsyntax.Body{Blocks: append(other, labelled...), Attributes: body.Attributes}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	doc := &document{name: path, dir: dir, body: body}
	s.opts.Stderr = os.Stderr
	ev, err := newEvaluator(context.Background(), s.opts, doc)
	if err != nil {
		t.Fatal(err)
	}
	options := []schemahcl.Option{
		schemahcl.WithScopedEnums("env.migration.format", "atlas", "golang-migrate", "goose", "flyway", "liquibase", "dbmate"),
		schemahcl.WithScopedEnums("env.migration.exec_order", "LINEAR", "LINEAR_SKIP", "NON_LINEAR"),
		schemahcl.WithVariables(map[string]cty.Value{"atlas": cty.ObjectVal(map[string]cty.Value{"env": cty.StringVal(s.opts.Env)})}),
		schemahcl.WithFunctions(map[string]function.Function{
			"file": schemahcl.MakeFileFunc(dir), "fileset": schemahcl.MakeFileSetFunc(dir), "glob": schemahcl.MakeGlobFunc(dir),
			"getenv": ev.getenv(),
		}),
	}
	for name, run := range s.opts.sources {
		options = append(options, schemahcl.WithDataSource(name, func(ctx context.Context, c *hcl.EvalContext, block *hclsyntax.Block) (cty.Value, error) {
			// Give our source its arguments as constants, evaluated by Atlas.
			constant := &hclsyntax.Block{Type: block.Type, Labels: block.Labels, Body: &hclsyntax.Body{Attributes: make(hclsyntax.Attributes)}}
			for k, a := range block.Body.Attributes {
				v, diags := a.Expr.Value(c)
				if diags.HasErrors() {
					return cty.NilVal, diags
				}
				constant.Body.Attributes[k] = &hclsyntax.Attribute{Name: k, Expr: &hclsyntax.LiteralValueExpr{Val: v}}
			}
			return run(ctx, &dataBlock{ev: ev, block: constant, d: &decoder{ev: ev}})
		}))
	}
	vars := make(map[string]cty.Value)
	for name, values := range s.opts.Vars {
		vars[name] = cty.StringVal(values[0])
	}
	var project struct {
		Envs []*oracleEnv `spec:"env"`
	}
	if err := schemahcl.New(options...).Eval(parser, &project, vars); err != nil {
		t.Fatalf("Atlas's evaluation: %v", err)
	}
	return project.Envs
}

// Our evaluation, which is lazy, must give what schemahcl's own gives.
func TestSamplesAgreeWithSchemahcl(t *testing.T) {
	schemahcl.Register("env", &oracleEnv{})
	for _, s := range samples(t) {
		if !s.oracle {
			continue
		}
		t.Run(filepath.Base(s.path), func(t *testing.T) {
			s.enter(t)
			p, err := loadHere(s.opts)
			if err != nil {
				t.Fatal(err)
			}
			want := evalAsAtlas(t, s, filepath.Base(p.Path))
			if len(want) != len(p.Envs) || len(want) == 0 {
				t.Fatalf("Atlas sees %d environments, we %d", len(want), len(p.Envs))
			}
			for i, w := range want {
				e := p.Envs[i]
				dev, err := e.Dev(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				got := &oracleEnv{Name: e.Name, URL: e.URL.Value, Dev: dev.Value, Schemas: e.Schemas.Value, Exclude: e.Exclude.Value}
				got.Format.Migrate.Apply, got.Format.Migrate.Diff = e.Format.Migrate.Apply.Value, e.Format.Migrate.Diff.Value
				// The one intended difference: a space is %20 in user names.
				w.URL = strings.ReplaceAll(w.URL, "+", "%20")
				if m := w.Migration; m != nil {
					got.Migration = m
					ours := *m
					ours.Dir, ours.Format, ours.Baseline = e.Migration.Dir.Value, e.Migration.Format.Value, e.Migration.Baseline.Value
					ours.ExecOrder = strings.ToUpper(strings.ReplaceAll(string(e.Migration.ExecOrder.Value), "-", "_"))
					ours.RevisionsSchema, ours.Exclude = e.Migration.RevisionsSchema.Value, e.Migration.Exclude.Value
					if e.Migration.LockTimeout.Set {
						ours.LockTimeout = e.Migration.LockTimeout.Value.String()
					}
					if diff := cmp.Diff(m, &ours); diff != "" {
						t.Errorf("migration (-Atlas +ours): %s", diff)
					}
				}
				if diff := cmp.Diff(w, got, cmpopts.IgnoreFields(oracleEnv{}, "DefaultExtension")); diff != "" {
					t.Errorf("env %d (-Atlas +ours): %s", i, diff)
				}
			}
		})
	}
}

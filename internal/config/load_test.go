package config

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSettingsOfAnEnv(t *testing.T) {
	p := mustLoad(t, `
format {
  migrate {
    apply  = "global apply"
    status = "global status"
  }
}
env "prod" {
  url       = "postgres://app@db/app"
  schemas   = ["public", "audit"]
  exclude   = "tmp_*"
  protected = true
  history {
    url = "dynamodb://migrations"
  }
  migration {
    dir              = "file://db/migrations"
    format           = golang-migrate
    baseline         = 20250101000000
    exec_order       = NON_LINEAR
    lock_timeout     = "1m30s"
    revisions_schema = "history"
    tx_mode          = all
    project          = "billing"
    exclude          = ["a.*", "b.*"]
    repo {
      name = "app"
    }
  }
  format {
    migrate {
      apply = "env apply"
    }
  }
}
`, Options{Env: "prod"})
	e := one(t, p)
	m := e.Migration
	type got struct {
		Name, URL, History, Apply, Status, Down      string
		Schemas, Exclude, MigrationExclude           []string
		Protected, DownSet                           bool
		Dir, Format, Baseline, Schema, Project, Repo string
		Order                                        ExecOrder
		Tx                                           TxMode
		Timeout                                      time.Duration
	}
	want := got{
		Name: "prod", URL: "postgres://app@db/app", History: "dynamodb://migrations",
		Apply: "env apply", Status: "global status",
		Schemas: []string{"public", "audit"}, Exclude: []string{"tmp_*"}, MigrationExclude: []string{"a.*", "b.*"},
		Protected: true,
		Dir:       "file://db/migrations", Format: "golang-migrate", Baseline: "20250101000000", Schema: "history",
		Project: "billing", Repo: "app", Order: ExecNonLinear, Tx: TxAll, Timeout: 90 * time.Second,
	}
	have := got{
		Name: e.Name, URL: e.URL.Value, History: e.History.URL.Value,
		Apply: e.Format.Migrate.Apply.Value, Status: e.Format.Migrate.Status.Value, Down: e.Format.Migrate.Down.Value,
		Schemas: e.Schemas.Value, Exclude: e.Exclude.Value, MigrationExclude: m.Exclude.Value,
		Protected: e.Protected.Value, DownSet: e.Format.Migrate.Down.Set,
		Dir: m.Dir.Value, Format: m.Format.Value, Baseline: m.Baseline.Value, Schema: m.RevisionsSchema.Value,
		Project: m.Project.Value, Repo: m.Repo.Value, Order: m.ExecOrder.Value, Tx: m.TxMode.Value, Timeout: m.LockTimeout.Value,
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
	if got := m.LockTimeout.Pos.String(); got != "aurora.hcl:21:5" {
		t.Errorf("lock_timeout is at %s", got)
	}
	if w := warningTexts(p); w != "" {
		t.Errorf("warnings:\n%s", w)
	}
}

// The earlier tool ended in a nil pointer here.
func TestA16NoMigrationBlock(t *testing.T) {
	e := one(t, mustLoad(t, `env "x" {}`, Options{Env: "x"}))
	if e.Migration.Dir.Set || e.Migration.Dir.Value != "file://migrations" {
		t.Errorf("dir = %+v", e.Migration.Dir)
	}
	if e.URL.Set || e.Migration.LockTimeout.Or(time.Second) != time.Second {
		t.Error("something is set that the file does not say")
	}
}

func TestNullIsAbsent(t *testing.T) {
	e := one(t, mustLoad(t, `
variable "schema" {
  type    = string
  default = null
}
env "x" {
  url = null
  migration {
    dir              = null
    revisions_schema = var.schema
    exec_order       = null
  }
}`, Options{Env: "x"}))
	if e.URL.Set || e.Migration.RevisionsSchema.Set || e.Migration.ExecOrder.Set || e.Migration.Dir.Value != DefaultDir {
		t.Errorf("null counts as set: %+v", e)
	}
}

func TestEnvSelection(t *testing.T) {
	const file = `
env "local" { url = "postgres://local/db" }
env "prod"  { url = "postgres://prod/db" }
env {
  name = atlas.env
  url  = "postgres://${atlas.env}/dynamic"
}
env {
  name = "literal"
  url  = "postgres://never/db"
}`
	for env, want := range map[string]string{
		"local": "postgres://local/db", "prod": "postgres://prod/db",
		"other": "postgres://other/dynamic", "literal": "postgres://literal/dynamic",
	} {
		p := mustLoad(t, file, Options{Env: env})
		if got := one(t, p).URL.Value; got != want {
			t.Errorf("%s: url = %s, want %s", env, got, want)
		}
		if diff := cmp.Diff([]string{"local", "prod"}, p.EnvNames); diff != "" || !p.DynamicEnv {
			t.Errorf("names: %s, dynamic: %t", diff, p.DynamicEnv)
		}
	}
	p := mustLoad(t, file, Options{})
	if len(p.Envs) != 0 {
		t.Errorf("%d environments without --env", len(p.Envs))
	}
}

func TestDynamicEnvWithComputedName(t *testing.T) {
	const file = `
env {
  name = atlas.env == "a" ? "a" : "b"
  url  = "postgres://first/db"
}
env {
  name = "${atlas.env}"
  for_each = toset(["x"])
  url  = "postgres://second/db"
}`
	if got := one(t, mustLoad(t, file, Options{Env: "c"})).URL.Value; got != "postgres://second/db" {
		t.Errorf("url = %s", got)
	}
	_, err := loadText(t, file, Options{Env: "a"})
	wantError(t, err, `aurora.hcl:6:1: env "a" is defined twice, first at aurora.hcl:2:1; remove or rename one of them`)
}

func TestForEach(t *testing.T) {
	tests := []struct {
		name, forEach string
		want          []string
	}{
		{"set", `toset(["b", "a"])`, []string{"a=postgres://h/a", "b=postgres://h/b"}},
		{"object", `{ eu = "e", us = "u" }`, []string{"eu=postgres://h/e", "us=postgres://h/u"}},
		{"map variable", `var.tenants`, []string{"k=postgres://h/v"}},
		{"list", `tolist(["b", "a"])`, []string{"0=postgres://h/b", "1=postgres://h/a"}},
		{"tuple", `["b", "a"]`, []string{"0=postgres://h/b", "1=postgres://h/a"}},
		{"local", `local.tenants`, []string{"one=postgres://h/1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := mustLoad(t, `
locals { tenants = { one = "1" } }
variable "tenants" {
  type    = map(string)
  default = { k = "v" }
}
env "x" {
  for_each = `+tt.forEach+`
  url      = "postgres://h/${each.value}"
  migration { project = "p-${each.key}" }
}`, Options{Env: "x"})
			var got []string
			for _, e := range p.Envs {
				got = append(got, e.Instance+"="+e.URL.Value)
				if e.Name != "x" || e.Migration.Project.Value != "p-"+e.Instance && tt.name != "set" {
					t.Errorf("name %q, project %q", e.Name, e.Migration.Project.Value)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestA36Variables(t *testing.T) {
	tests := []struct {
		name, typ, use string
		vars           []string
		env            map[string]string
		want           string
	}{
		{"string", "string", "var.v", []string{"v=x"}, nil, "x"},
		{"empty string", "string", `"[${var.v}]"`, []string{"v="}, nil, "[]"},
		{"equals sign in the value", "string", "var.v", []string{"v=a=b"}, nil, "a=b"},
		{"comma in quotes", "string", "var.v", []string{`"v=a,b"`}, nil, "a,b"},
		{"number", "number", `"${var.v + 1}"`, []string{"v=41"}, nil, "42"},
		{"int", "int", `"${var.v + 1}"`, []string{"v=41"}, nil, "42"},
		{"bool", "bool", `var.v ? "yes" : "no"`, []string{"v=true"}, nil, "yes"},
		{"list of two", "list(string)", `join("+", var.v)`, []string{"v=a", "v=b"}, nil, "a+b"},
		{"list in one flag", "list(string)", `join("+", var.v)`, []string{"v=a,v=b"}, nil, "a+b"},
		{"single value is wrapped", "list(string)", `join("+", var.v)`, []string{"v=a"}, nil, "a"},
		{"list of numbers", "list(number)", `"${var.v[0] + var.v[1]}"`, []string{"v=1", "v=2"}, nil, "3"},
		{"set", "set(string)", `join("+", var.v)`, []string{"v=b", "v=a", "v=b"}, nil, "a+b"},
		{"tuple", "tuple([string, number])", `"${var.v[0]}${var.v[1] + 1}"`, []string{"v=a", "v=1"}, nil, "a2"},
		{"map from JSON", "map(string)", "var.v.k", nil, map[string]string{"AURORA_VAR_v": `{"k":"x"}`}, "x"},
		{"object from JSON", "object({a=string, b=list(number)})", `"${var.v.a}${var.v.b[1]}"`, nil, map[string]string{"AURORA_VAR_v": `{"a":"x","b":[1,2]}`}, "x2"},
		{"list from JSON", "list(string)", `join("+", var.v)`, nil, map[string]string{"AURORA_VAR_v": `["a","b"]`}, "a+b"},
		{"environment", "string", "var.v", nil, map[string]string{"AURORA_VAR_v": "e"}, "e"},
		{"environment in capitals", "string", "var.v", nil, map[string]string{"AURORA_VAR_V": "e"}, "e"},
		{"flag before environment", "string", "var.v", []string{"v=f"}, map[string]string{"AURORA_VAR_v": "e"}, "f"},
		{"index syntax", "string", `var["v"]`, []string{"v=x"}, nil, "x"},
	}
	for _, tt := range tests {
		t.Run("A36 "+tt.name, func(t *testing.T) {
			vars, err := ParseVars(tt.vars)
			if err != nil {
				t.Fatal(err)
			}
			p := mustLoad(t, `
variable "v" {
  type        = `+tt.typ+`
  description = "a value"
}
env "x" {
  migration { project = `+tt.use+` }
}`, Options{Env: "x", Vars: vars, LookupEnv: lookup(tt.env)})
			if got := one(t, p).Migration.Project.Value; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	p := mustLoad(t, `
variable "s" {
  type    = string
  default = upper("x")
}
variable "l" {
  type    = list(string)
  default = "one"
}
variable "e" {
  type    = string
  default = getenv("STAGE")
}
variable "a" {
  type    = string
  default = atlas.env
}
env "x" {
  migration { project = "${var.s}-${var.l[0]}-${var.e}-${var.a}" }
}`, Options{Env: "x", LookupEnv: lookup(map[string]string{"STAGE": "dev"})})
	if got := one(t, p).Migration.Project.Value; got != "X-one-dev-x" {
		t.Errorf("got %q", got)
	}
}

func TestParseVars(t *testing.T) {
	got, err := ParseVars([]string{"a=1,b=2", "a=3", `"c=x,y"`, `"d=say ""hi"""`, "e="})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"a": {"1", "3"}, "b": {"2"}, "c": {"x,y"}, "d": {`say "hi"`}, "e": {""}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "hunter22", "a=1,hunter22", "=hunter22", `a="hunter22`, `"a=hunter22`} {
		_, err := ParseVars([]string{"ok=1", bad})
		if err == nil || strings.Contains(err.Error(), "hunter22") || !strings.Contains(err.Error(), "--var number 2") {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}

// An environment must not need what only another one uses.
func TestA14OnlyTheChosenEnvIsEvaluated(t *testing.T) {
	const file = `
variable "needed"   { type = string }
variable "unneeded" { type = string }
variable "broken"   { type = "string" }
locals {
  used   = upper(var.needed)
  unused = data.external.unused
  wrong  = nosuchfunction(var.unneeded)
}
data "aws_dsql_token" "this" { endpoint = var.unneeded }
data "external" "unused" { program = ["false"] }
data "sql" "tenants" {
  url   = var.unneeded
  query = "SELECT 1"
}
data "runtimevar" "secret" { url = "awssecretsmanager://x" }
lint { latest = var.unneeded }
diff {
  skip {
    drop_table = local.wrong
  }
}
env "local" {
  url = "postgres://localhost/${local.used}"
  src = data.external.unused
  dev = data.external.unused
  lint { latest = local.wrong }
  other = data.runtimevar.secret
}
env "aws" {
  url = "postgres://u:${data.aws_dsql_token.this}@h/db"
}
env "tenants" {
  for_each = data.sql.tenants.values
}`
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	opts := Options{Env: "local", Vars: map[string][]string{"needed": {"db"}}, sources: failingSources()}
	e := one(t, mustLoad(t, file, opts))
	if e.URL.Value != "postgres://localhost/DB" {
		t.Errorf("url = %s", e.URL.Value)
	}
	_, err := e.Dev(context.Background())
	wantError(t, err, "aurora.hcl:11:1: data.external.unused: must not be evaluated")
	opts.Env = "tenants"
	_, err = loadHere(opts)
	wantError(t, err, "aurora.hcl:12:1: data.sql.tenants: must not be evaluated")
	opts.Env, opts.sources = "aws", nil
	_, err = loadHere(opts)
	wantError(t, err, `aurora.hcl:3:1: variable "unneeded" has no value; pass --var unneeded=…, set AURORA_VAR_unneeded, or give it a default`)
}

func TestOfflineNeedsNoCredentials(t *testing.T) {
	p := mustLoad(t, `
data "aws_dsql_token" "this" { endpoint = "h" }
env "aws" {
  url = "postgres://u:${data.aws_dsql_token.this}@h/db"
  history { url = data.aws_dsql_token.this }
  migration { dir = "file://m" }
}`, Options{Env: "aws", Offline: true, sources: failingSources()})
	e := one(t, p)
	if e.URL.Set || e.History.URL.Set || e.Migration.Dir.Value != "file://m" {
		t.Errorf("env = %+v", e)
	}
	_, err := e.Resolve(context.Background(), "env://url")
	wantError(t, err, `resolving "env://url": aurora.hcl:2:1: data.aws_dsql_token.this: must not be evaluated`)
}

func TestA35PathsAndURLs(t *testing.T) {
	dir := inDir(t, map[string]string{
		"my dir/my file.hcl": `env "x" { url = trimspace(file("url.txt")) }`,
		"my dir/url.txt":     "postgres://h/db\n",
	})
	abs := filepath.Join(dir, "my dir", "my file.hcl")
	for _, path := range []string{
		"my dir/my file.hcl", "./my dir/my file.hcl", "file://my dir/my file.hcl", "file://my%20dir/my%20file.hcl",
		"file:my dir/my file.hcl", abs, "file://" + abs, "file:" + abs,
	} {
		p, err := loadHere(Options{Path: path, Env: "x"})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if p.Path != abs || p.ConfigDir != filepath.Dir(abs) || one(t, p).URL.Value != "postgres://h/db" {
			t.Errorf("%s: loaded %s in %s", path, p.Path, p.ConfigDir)
		}
	}
}

func TestDefaultFiles(t *testing.T) {
	inDir(t, map[string]string{"atlas.hcl": `env "atlas" {}`})
	p, err := loadHere(Options{})
	if err != nil || filepath.Base(p.Path) != "atlas.hcl" {
		t.Fatalf("loaded %+v, %v", p, err)
	}
	if err := os.WriteFile("aurora.hcl", []byte("\uFEFFenv \"aurora\" {}\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err = loadHere(Options{Env: "aurora"})
	if err != nil || filepath.Base(p.Path) != "aurora.hcl" || one(t, p).Pos.Column != 1 {
		t.Fatalf("loaded %+v, %v", p, err)
	}
}

func TestMissingFile(t *testing.T) {
	dir := inDir(t, nil)
	_, err := loadHere(Options{})
	wantError(t, err, "project file not found: looked for aurora.hcl and atlas.hcl in "+dir+"; create it, or name another file with --config")
	if !errors.Is(err, ErrNotFound) {
		t.Error("not ErrNotFound")
	}
	_, err = loadHere(Options{Path: "file://conf/x.hcl"})
	wantError(t, err, "project file not found: looked for conf/x.hcl in "+dir+"; create it, or name another file with --config")
	_, err = loadHere(Options{Path: "s3://bucket/x.hcl"})
	wantError(t, err, `finding the project file: "s3://bucket/x.hcl" is not a file: the scheme "s3" is not supported here, use a path or file://`)
	_, err = loadHere(Options{Path: "."})
	if err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("a directory: %v", err)
	}
}

func TestFilePath(t *testing.T) {
	for ref, want := range map[string]string{
		"migrations": "migrations", "a b/c": "a b/c", "file://migrations": "migrations", "file:///abs/dir": "/abs/dir",
		"file://my dir": "my dir", "file://my%20dir?format=goose": "my dir", "file://100%": "100%", "FILE://x": "x",
		"a?b": "a?b", "dir:with": "", "mem://x": "", "file://": "",
	} {
		got, q, err := FilePath(ref)
		if (err != nil) != (want == "") || got != want {
			t.Errorf("FilePath(%q) = %q, %v", ref, got, err)
		}
		if strings.Contains(ref, "format=goose") && q.Get("format") != "goose" {
			t.Errorf("FilePath(%q): query %v", ref, q)
		}
	}
}

func TestURLsPassThroughUntouched(t *testing.T) {
	for _, u := range []string{
		"local://", "local://?engine=postgres", "postgres://u:p%20w@h:5432/db?sslmode=disable&search_path=a,b",
		"postgresql:///db?host=/var/run", "dsql://admin@id.dsql.eu-west-1.on.aws:5432/postgres", "docker://postgres/15/dev",
	} {
		if got := one(t, mustLoad(t, `env "x" { url = "`+u+`" }`, Options{Env: "x"})).URL.Value; got != u {
			t.Errorf("%s became %s", u, got)
		}
	}
}

func TestResolve(t *testing.T) {
	dir := inDir(t, map[string]string{"aurora.hcl": `
variable "missing" { type = string }
env "x" {
  url   = "postgres://u:secret99@h/db"
  dev   = "docker://postgres/15/dev"
  src   = "schema.hcl"
  other = "postgres://other/db"
  count = 3
  chain = "env://url"
  hard  = var.missing
  none  = null
  migration { dir = "file://m" }
}
env "schema" {
  schema { src = ["file:///a", "b"] }
}
`})
	p, err := loadHere(Options{Env: "x"})
	if err != nil {
		t.Fatal(err)
	}
	e := one(t, p)
	for ref, want := range map[string]string{
		"env://url": "postgres://u:secret99@h/db", "env://dev": "docker://postgres/15/dev",
		"env://src": "file://" + filepath.ToSlash(filepath.Join(dir, "schema.hcl")), "env://migration.dir": "file://m",
		"env://other": "postgres://other/db", "postgres://plain/x": "postgres://plain/x", "": "",
	} {
		if got, err := e.Resolve(context.Background(), ref); err != nil || got != want {
			t.Errorf("%s: %q, %v", ref, got, err)
		}
	}
	for ref, want := range map[string]string{
		"env://nope":       `resolving "env://nope": aurora.hcl:3:1: env "x" has no nope`,
		"env://none":       `resolving "env://none": aurora.hcl:3:1: env "x" has no none`,
		"env://schema.src": `resolving "env://schema.src": aurora.hcl:3:1: env "x" has no schema.src`,
		"env://count":      `resolving "env://count": aurora.hcl:8:3: count must be a string, not number`,
		"env://chain":      `resolving "env://chain": aurora.hcl:9:3: it refers to another env:// reference`,
		"env://hard":       `resolving "env://hard": aurora.hcl:2:1: variable "missing" has no value; pass --var missing=…, set AURORA_VAR_missing, or give it a default`,
		"env://":           `resolving "env://": write env:// and the name of an attribute`,
		"env://a/b":        `resolving "env://a/b": write env:// and the name of an attribute`,
	} {
		_, err := e.Resolve(context.Background(), ref)
		wantError(t, err, want)
	}
	p, err = loadHere(Options{Env: "schema"})
	if err != nil {
		t.Fatal(err)
	}
	src, err := one(t, p).Src(context.Background())
	if want := []string{"file:///a", "file://" + filepath.ToSlash(filepath.Join(dir, "b"))}; err != nil || !cmp.Equal(src.Value, want) {
		t.Errorf("src = %v, %v", src, err)
	}
	_, err = one(t, p).Resolve(context.Background(), "env://schema.src")
	wantError(t, err, `resolving "env://schema.src": aurora.hcl:15:12: it has 2 values, and must have one`)
	if got, err := (&Env{Name: "hand made"}).Resolve(context.Background(), "env://x"); err == nil {
		t.Errorf("an env without a file has %q", got)
	}
}

func TestFunctions(t *testing.T) {
	tests := []struct{ expr, want string }{
		{`urlescape("a b/c?d&e+f=")`, "a%20b%2Fc%3Fd%26e%2Bf%3D"},
		{`urluserinfo("postgres://h/db", "u", "p w")`, "postgres://u:p%20w@h/db"},
		{`urluserinfo("postgres://old:x@h/db", "u")`, "postgres://u@h/db"},
		{`urlqueryset("postgres://h/db?a=1", "search_path", "s")`, "postgres://h/db?a=1&search_path=s"},
		{`urlsetpath("postgres://h/db?a=1", "/other")`, "postgres://h/other?a=1"},
		{`file("sub/x.txt")`, "content"},
		{`join(",", [for f in fileset("sub/**/*.txt") : trimprefix(f, "DIR/")])`, "sub/deep/y.txt,sub/x.txt"},
		{`join(",", [for f in glob("sub/*.txt") : trimprefix(f, "DIR/")])`, "sub/x.txt"},
		{`getenv("SET")`, "value"},
		{`"[${getenv("UNSET")}]"`, "[]"},
		{`jsondecode("{\"a\":[1,2]}").a[1] == 2 ? "ok" : "no"`, "ok"},
		{`yamldecode("a: b").a`, "b"},
		{`try(var.nope, local.nope, data.external.nope, "fallback")`, "fallback"},
		{`can(var.nope) ? "yes" : "no"`, "no"},
		{`format("%s-%03d", "a", 7)`, "a-007"},
		{`regexreplace("abc", "b", "x")`, "axc"},
		{`print("seen")`, "seen"},
		{`join(",", keys(local))`, "one,two"},
		{`local[atlas.env == "x" ? "one" : "two"]`, "1"},
		{"<<-EOT\n    a\n      b\n    EOT\n", "a\n  b\n"},
	}
	for _, tt := range tests {
		t.Run(tt.expr, func(t *testing.T) {
			dir := inDir(t, map[string]string{"conf/sub/x.txt": "content", "conf/sub/deep/y.txt": "", "conf/aurora.hcl": ""})
			text := "locals {\n one = \"1\"\n two = \"2\"\n}\nenv \"x\" {\n migration {\n project = " + tt.expr + "\n}\n}\n"
			text = strings.ReplaceAll(text, "DIR", filepath.ToSlash(filepath.Join(dir, "conf")))
			if err := os.WriteFile("conf/aurora.hcl", []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			p, err := loadHere(Options{Path: "conf/aurora.hcl", Env: "x", Stderr: &stderr, LookupEnv: lookup(map[string]string{"SET": "value"})})
			if err != nil {
				t.Fatal(err)
			}
			if got := one(t, p).Migration.Project.Value; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if strings.HasPrefix(tt.expr, "print") != (stderr.String() == "seen\n") {
				t.Errorf("standard error: %q", stderr.String())
			}
		})
	}
}

package config

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"
)

type errorTest struct{ name, text, want string }

const envX = "env \"x\" {\n%s\n}\n"

func TestErrors(t *testing.T) {
	for _, tt := range append(structureErrors(), evaluationErrors()...) {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadText(t, tt.text, Options{Env: "x"})
			wantError(t, err, tt.want)
			if noEnv := strings.Contains(tt.want, "is not defined; the file") || tt.name == "did you mean"; errors.Is(err, ErrNoEnv) != noEnv {
				t.Errorf("errors.Is(err, ErrNoEnv) = %t", !noEnv)
			}
		})
	}
}

func structureErrors() []errorTest {
	return []errorTest{
		{"missing env, near", `env "prod" {}` + "\n" + `env "local" {}`,
			`aurora.hcl: env "x" is not defined; the file defines: prod, local`},
		{"no env at all", ``, `aurora.hcl: env "x" is not defined; the file defines no environment; write env "x" { … }`},
		{"did you mean", `env "xx" {}`, `aurora.hcl: env "x" is not defined; did you mean "xx"? the file defines: xx`},
		{"duplicate env", "env \"x\" {}\nenv \"x\" {}", `aurora.hcl:2:1: env "x" is defined twice, first at aurora.hcl:1:1; remove or rename one of them`},
		{"duplicate variable", "variable \"v\" { type = string }\nvariable \"v\" { type = string }\nenv \"x\" {}",
			`aurora.hcl:2:1: variable "v" is defined twice, first at aurora.hcl:1:1; remove or rename one of them`},
		{"duplicate local", "locals { a = 1 }\nlocals { a = 2 }\nenv \"x\" {}",
			`aurora.hcl:2:10: local.a is defined twice, first at aurora.hcl:1:10; remove or rename one of them`},
		{"duplicate data", "data \"sql\" \"a\" {}\ndata \"sql\" \"a\" {}\nenv \"x\" {}",
			`aurora.hcl:2:1: data.sql.a is defined twice, first at aurora.hcl:1:1; remove or rename one of them`},
		{"duplicate block", "env \"x\" {\n  migration {}\n  migration {}\n}",
			`aurora.hcl:3:3: block "migration" is given twice, first at aurora.hcl:2:3; join them`},
		{"variable without label", "variable { type = string }\nenv \"x\" {}",
			`aurora.hcl:1:1: a variable block needs one label, its name; write variable "name" { type = string }`},
		{"data without name", "data \"sql\" {}\nenv \"x\" {}",
			`aurora.hcl:1:1: a data block needs two labels, its source and its name; write data "source" "name" { … }`},
		{"broken HCL", "env \"x\" {\n  url = \n}\n", "aurora.hcl:2:9: invalid expression: Expected the start of an expression, but found an invalid expression token"},
		{"unclosed", "env \"x\" {\n", "aurora.hcl:1:9: unclosed configuration block: There is no closing brace for this block before the end of the file. This may be caused by incorrect brace nesting elsewhere in this file"},
		{"wrong type of url", fmt.Sprintf(envX, "  url = 5"), `aurora.hcl:2:3: url must be a string, not number`},
		{"wrong type of list", fmt.Sprintf(envX, "  schemas = [1]"), `aurora.hcl:2:3: schemas must be a list of strings, and one element is not a string`},
		{"wrong type of bool", fmt.Sprintf(envX, "  protected = \"yes\""), `aurora.hcl:2:3: protected must be true or false, not string`},
		{"duration", fmt.Sprintf(envX, "  migration {\n    lock_timeout = 10\n  }"), `aurora.hcl:3:5: lock_timeout must be a duration in quotes, such as "30s", "10m" or "1h30m", not number`},
		{"duration text", fmt.Sprintf(envX, "  migration {\n    lock_timeout = \"10 minutes\"\n  }"), `aurora.hcl:3:5: lock_timeout must be a duration in quotes, such as "30s", "10m" or "1h30m"`},
		{"negative duration", fmt.Sprintf(envX, "  migration {\n    lock_timeout = \"-1s\"\n  }"), `aurora.hcl:3:5: lock_timeout must be a duration in quotes, such as "30s", "10m" or "1h30m"`},
		{"bare enum", fmt.Sprintf(envX, "  migration {\n    exec_order = LINER_SKIP\n  }"), `aurora.hcl:3:18: exec_order must be one of linear, linear-skip, non-linear, not LINER_SKIP; did you mean "linear-skip"?`},
		{"string enum", fmt.Sprintf(envX, "  migration {\n    tx_mode = \"batch\"\n  }"), `aurora.hcl:3:5: tx_mode must be one of none, file, all`},
		{"enum type", fmt.Sprintf(envX, "  migration {\n    format = true\n  }"), `aurora.hcl:3:5: format must be one of atlas, golang-migrate, goose, flyway, liquibase, dbmate`},
		{"empty dir", fmt.Sprintf(envX, "  migration {\n    dir = \"\"\n  }"), `aurora.hcl:3:5: migration.dir is empty; name the directory, such as file://migrations`},
	}
}

func evaluationErrors() []errorTest {
	return []errorTest{
		{"undefined variable", "variable \"region\" { type = string }\n" + fmt.Sprintf(envX, "  url = var.regoin"), `aurora.hcl:3:9: var.regoin is not defined; did you mean "region"?`},
		{"undefined variable, none near", fmt.Sprintf(envX, "  url = \"a-${var.foo}\""), `aurora.hcl:2:14: var.foo is not defined; write variable "foo" { type = string }`},
		{"undefined local", "locals { host = \"h\" }\n" + fmt.Sprintf(envX, "  url = local.hots"), `aurora.hcl:3:9: local.hots is not defined; did you mean "host"?`},
		{"undefined data", "data \"external\" \"conf\" { program = [\"true\"] }\n" + fmt.Sprintf(envX, "  url = data.external.cnof"), `aurora.hcl:3:9: data.external.cnof is not defined; did you mean "data.external.conf"?`},
		{"undefined source", fmt.Sprintf(envX, "  url = data.a.b"), `aurora.hcl:2:9: data.a.b is not defined; write data "a" "b" { … }`},
		{"each without for_each", fmt.Sprintf(envX, "  url = each.key"), `aurora.hcl:2:9: unknown variable: There is no variable named "each"`},
		{"unknown function", fmt.Sprintf(envX, "  url = urlescap(\"x\")"), `aurora.hcl:2:9: call to unknown function: There is no function named "urlescap"; did you mean "urlescape"?`},
		{"cycle", "locals {\n  a = local.b\n  b = \"${local.c}x\"\n  c = local.a\n}\n" + fmt.Sprintf(envX, "  url = local.a"),
			`aurora.hcl:4:7: local.a refers to itself: local.a → local.b → local.c → local.a; break the circle`},
		{"cycle with data", "locals {\n  a = data.external.d\n}\ndata \"external\" \"d\" {\n  program = [local.a]\n}\n" + fmt.Sprintf(envX, "  url = local.a"),
			`aurora.hcl:5:14: local.a refers to itself: local.a → data.external.d → local.a; break the circle`},
		{"missing variable", "variable \"v\" {\n  type = string\n}\n" + fmt.Sprintf(envX, "  url = var.v"),
			`aurora.hcl:1:1: variable "v" has no value; pass --var v=…, set AURORA_VAR_v, or give it a default`},
		{"quoted type", "variable \"v\" {\n  type = \"string\"\n}\n" + fmt.Sprintf(envX, "  url = var.v"),
			`aurora.hcl:2:10: the type of variable "v" must not be in quotes; write type = string, not type = "string"`},
		{"unknown type", "variable \"v\" {\n  type = strng\n}\n" + fmt.Sprintf(envX, "  url = var.v"),
			`aurora.hcl:2:10: the type of variable "v" is not known: unknown variable: There is no variable named "strng". Did you mean "string"?; use string, number, bool, list(…), set(…), map(…), tuple([…]) or object({…})`},
		{"no type", "variable \"v\" {}\n" + fmt.Sprintf(envX, "  url = var.v"),
			`aurora.hcl:1:1: variable "v" has no type; use string, number, bool, list(…), set(…), map(…), tuple([…]) or object({…})`},
		{"a value as type", "variable \"v\" {\n  type = 5\n}\n" + fmt.Sprintf(envX, "  url = var.v"),
			`aurora.hcl:2:10: the type of variable "v" is not a type; use string, number, bool, list(…), set(…), map(…), tuple([…]) or object({…})`},
		{"default of another type", "variable \"v\" {\n  type = number\n  default = \"x\"\n}\n" + fmt.Sprintf(envX, "  url = var.v"),
			`aurora.hcl:3:3: the default of variable "v" does not fit its type number: a number is required`},
		{"default with a reference", "variable \"v\" {\n  type = string\n  default = var.w\n}\n" + fmt.Sprintf(envX, "  url = var.v"),
			`aurora.hcl:3:13: the default of variable "v" cannot reference var; put the expression into locals and use local.name instead`},
		{"for_each of a string", fmt.Sprintf(envX, "  for_each = \"x\""), `aurora.hcl:2:14: for_each must be a map or a set, not string; use toset([…]) or a map`},
		{"for_each of null", fmt.Sprintf(envX, "  for_each = null"), `aurora.hcl:2:14: for_each must be a map or a set, not dynamic; use toset([…]) or a map`},
		{"for_each of nothing", fmt.Sprintf(envX, "  for_each = toset([])"), `aurora.hcl:2:14: for_each is empty, so there is nothing to run on`},
		{"unescaped password", fmt.Sprintf(envX, "  url = \"postgres://u:p/w@h/db\""), `aurora.hcl:2:3: url is not a URL: invalid port; put passwords and tokens through urlescape()`},
		{"unsupported source", "data \"runtimevar\" \"v\" {}\n" + fmt.Sprintf(envX, "  url = data.runtimevar.v"),
			`aurora.hcl:1:1: aurora does not implement data "runtimevar"; use data "external" with the program that reads the secret, or getenv()`},
		{"unknown source", "data \"aws_dsql_tokn\" \"v\" {}\n" + fmt.Sprintf(envX, "  url = data.aws_dsql_tokn.v"),
			`aurora.hcl:1:1: unknown data source "aws_dsql_tokn"; did you mean "aws_dsql_token"?`},
		{"unknown argument", "data \"external\" \"v\" {\n  programm = [\"x\"]\n}\n" + fmt.Sprintf(envX, "  url = data.external.v"),
			`aurora.hcl:2:3: data "external" has no argument "programm"; did you mean "program"?`},
		{"block in a source", "data \"sql\" \"v\" {\n  assume_role {}\n}\n" + fmt.Sprintf(envX, "  url = data.sql.v"),
			`aurora.hcl:2:3: data "sql" takes no block "assume_role"; it takes ["url" "query" "args"]`},
		{"missing argument", "data \"sql\" \"v\" {\n  url = \"postgres://h\"\n}\n" + fmt.Sprintf(envX, "  url = data.sql.v"),
			`aurora.hcl:1:1: data.sql.v needs query; add query = …`},
		{"empty argument", "data \"aws_dsql_token\" \"v\" {\n  endpoint = getenv(\"HOST\")\n}\n" + fmt.Sprintf(envX, "  url = data.aws_dsql_token.v"),
			`aurora.hcl:2:3: data.aws_dsql_token.v: endpoint is empty; perhaps an environment variable or a --var is missing`},
		{"two errors, in order", fmt.Sprintf(envX, "  protected = 1\n  url = 5"), "aurora.hcl:2:3: protected must be true or false, not number\naurora.hcl:3:3: url must be a string, not number"},
		{"one cause, seen once", "locals { a = nope() }\n" + fmt.Sprintf(envX, "  url = local.a\n  schemas = local.a"),
			`aurora.hcl:1:14: call to unknown function: There is no function named "nope"`},
		{"deep nesting", strings.Repeat("(", 300), "aurora.hcl:1:201: expressions are nested more than 200 deep"},
	}
}

// Skipping these silently is what Atlas's open-source release does.
func TestRefusedBlocks(t *testing.T) {
	const refuse = "aurora does not implement %s blocks, and will not run as if this one were not there"
	tests := map[string]string{
		"check \"migrate_apply\" {}\nenv \"x\" {}":                   "1:1: " + fmt.Sprintf(refuse, "check"),
		"hook \"sql\" \"h\" {}\nenv \"x\" {}":                        "1:1: " + fmt.Sprintf(refuse, "hook"),
		"docker \"postgres\" \"dev\" {}\nenv \"x\" {}":               "1:1: " + fmt.Sprintf(refuse, "docker"),
		"env \"x\" {\n  pre \"migrate_apply\" {}\n}":                 "2:3: " + fmt.Sprintf(refuse, "pre"),
		"env \"x\" {\n  post \"migrate_apply\" {}\n}":                "2:3: " + fmt.Sprintf(refuse, "post"),
		"env {\n  name = atlas.env\n  check \"migrate_apply\" {}\n}": "3:3: " + fmt.Sprintf(refuse, "check"),
	}
	for text, want := range tests {
		_, err := loadText(t, text, Options{Env: "x"})
		if err == nil || !strings.HasPrefix(err.Error(), "aurora.hcl:"+want) {
			t.Errorf("%s\nerror: %v\nwant:  %s", text, err, want)
		}
	}
	// In an environment that does not run it changes nothing.
	mustLoad(t, "env \"x\" {}\nenv \"y\" {\n  pre \"migrate_apply\" {}\n}", Options{Env: "x"})
}

func TestWarnings(t *testing.T) {
	p := mustLoad(t, `titel = "x"
atlas {
  cloud { token = nosuchthing }
}
enviroment "x" {}
variable "v" {
  type     = string
  defualt  = ""
  nullable = true
}
locals {
  a = 1
}
data "aws_dsql_tokn" "a" {}
data "external" "b" {
  programm = []
}
lint {
  latst = 1
  destructive { error = true }
}
env "x" {
  ulr     = "postgres://h/db"
  tenant  = "extra attributes are fine"
  format  = "x"
  url {}
  migration {
    lock_timout = "1s"
    tx_mod      = none
    wonderful   = 1
    repo {
      nam = "x"
    }
  }
  migrtion {}
  lint {
    whatever {}
  }
  diff {
    skip {}
  }
  test {
    schema { src = [] }
  }
}
env "y" {
  migration {
    dri = "x"
  }
}
env "y" {}
env {}
env "a" "b" {}
`, Options{Env: "x", Vars: map[string][]string{"vv": {"1"}}})
	const want = `aurora.hcl: --var vv: the file has no variable of this name; did you mean "v"?
aurora.hcl:1:1: unknown attribute "titel" in the file has no effect
aurora.hcl:2:1: the atlas block is ignored: aurora does not log in to Atlas Cloud
aurora.hcl:5:1: unknown block "enviroment" in the file has no effect
aurora.hcl:8:3: unknown attribute "defualt" in variable has no effect; did you mean "default"?
aurora.hcl:9:3: unknown attribute "nullable" in variable has no effect
aurora.hcl:14:1: unknown data source "aws_dsql_tokn"; did you mean "aws_dsql_token"?
aurora.hcl:16:3: unknown attribute "programm" in data "external" has no effect; did you mean "program"?
aurora.hcl:19:3: unknown attribute "latst" in lint has no effect; did you mean "latest"?
aurora.hcl:23:3: unknown attribute "ulr" in env, kept as an extra one; did you mean "url"?
aurora.hcl:25:3: "format" in env is a block: write format { … } without the equals sign
aurora.hcl:26:3: "url" in env is an attribute: write url = …
aurora.hcl:28:5: unknown attribute "lock_timout" in migration has no effect; did you mean "lock_timeout"?
aurora.hcl:29:5: unknown attribute "tx_mod" in migration has no effect; did you mean "tx_mode"?
aurora.hcl:30:5: unknown attribute "wonderful" in migration has no effect
aurora.hcl:32:7: unknown attribute "nam" in repo has no effect; did you mean "name"?
aurora.hcl:35:3: unknown block "migrtion" in env has no effect; did you mean "migration"?
aurora.hcl:48:5: unknown attribute "dri" in migration has no effect; did you mean "dir"?
aurora.hcl:51:1: env "y" is defined twice, first at aurora.hcl:46:1
aurora.hcl:52:1: this env can never be selected: give it a label, env "name", or name = atlas.env
aurora.hcl:53:1: this env can never be selected: it has 2 labels, and may have one
`
	if got := warningTexts(p); got != want {
		t.Errorf("warnings:\n%s\nwant:\n%s", got, want)
	}
}

func TestWarnsAboutURLs(t *testing.T) {
	for text, want := range map[string]string{
		`env "x" { url = getenv("DATABASE_URL") }`:                                            "aurora.hcl:1:11: url is empty: perhaps an environment variable or a --var is missing\n",
		`env "x" { url = "postgres://u@abc.dsql.us-east-1.on.aws/mydb" }`:                     "aurora.hcl:1:11: Aurora DSQL has one database, postgres; the url names \"mydb\"\n",
		`env "x" { url = "postgres://u@abc.dsql.us-east-1.on.aws/postgres?sslmode=require" }`: "",
		`env "x" { url = "postgres://u@abc.dsql-ab12.us-east-1.on.aws/" }`:                    "",
		`env "x" { url = "postgres://u@dsql.example.com/mydb" }`:                              "",
		"env \"x\" {\n  name = \"y\"\n}":                                                      "aurora.hcl:2:3: the name \"y\" has no effect: the label \"x\" names this env\n",
	} {
		if got := warningTexts(mustLoad(t, text, Options{Env: "x"})); got != want {
			t.Errorf("%s\nwarnings: %swant: %s", text, got, want)
		}
	}
}

// No error may hold what was given from outside.
func TestSecretsStayOutOfErrors(t *testing.T) {
	const secret = "s3cr3t-Passw0rd/+ x"
	sources := dataSources()
	sources["external"] = func(context.Context, *dataBlock) (cty.Value, error) {
		return cty.StringVal(`{"password":"` + secret + `","n":"` + secret + `"}`), nil
	}
	tests := []string{
		`url = tonumber(var.pw)`,
		`url = var.pw + 1`,
		`url = tobool(getenv("PW"))`,
		`url = "${tonumber(trimspace(file("pw.txt")))}"`,
		`url = tonumber(jsondecode(data.external.s).password)`,
		`url = jsondecode(data.external.s).password.x`,
		`url = {a=1}[var.pw]`,
		`url = var.number`,
		`url = urlsetpath("postgres://u:${var.pw}@h/db", "/x")`,
		`url = urlqueryset("postgres://u:${var.pw}@h/db", "a", "b")`,
		`url = urluserinfo("postgres://u:${var.pw}@h:${var.pw}", "a", "b")`,
		`url = "postgres://u:${var.pw}@h/db"`,
		`url = "postgres://u:p@h:${var.pw}/db"`,
		`url = parseint(var.pw, 10)`,
		`url = formatdate("YYYY", var.pw)`,
		`url = timeadd(var.pw, "1h")`,
		`url = regex("(", var.pw)`,
		`url = regex(var.pw, "(")`,
		`url = file(var.pw)`,
		`url = csvdecode("a\n\"${var.pw}")`,
		`url = jsondecode(var.pw)`,
		`url = yamldecode("a: [${var.pw}")`,
		`url = index([], var.pw)`,
		`url = range(var.pw)`,
		"migration {\n exec_order = var.pw\n}",
		"migration {\n lock_timeout = var.pw\n}",
		`url = data.sql.q.value`,
		`protected = data.external.s`,
		`for_each = var.pw`,
		`schemas = var.obj`,
	}
	for _, attr := range tests {
		inDir(t, map[string]string{"pw.txt": secret + "\n", "aurora.hcl": `
variable "pw" { type = string }
variable "number" { type = number }
variable "obj" { type = object({a=number}) }
data "external" "s" { program = ["x"] }
data "sql" "q" {
  url   = "postgres://u:${var.pw}@h:1/db"
  query = "SELECT 1"
}
env "x" {
  ` + attr + `
}`})
		_, err := loadHere(Options{
			Env: "x", Vars: map[string][]string{"pw": {secret}, "number": {secret}, "obj": {`{"a":"` + secret + `"}`}},
			LookupEnv: lookup(map[string]string{"PW": secret}), sources: sources,
		})
		if err == nil {
			t.Errorf("%s: no error", attr)
			continue
		}
		for _, form := range []string{"s3cr3t", "Passw0rd", "x/+"} {
			if strings.Contains(err.Error(), form) {
				t.Errorf("%s: the error holds the secret: %v", attr, err)
			}
		}
		if !strings.HasPrefix(err.Error(), "aurora.hcl:") {
			t.Errorf("%s: no place in: %v", attr, err)
		}
	}
}

func TestManyErrorsAreCut(t *testing.T) {
	err := &Error{}
	for range 25 {
		err.Diagnostics = append(err.Diagnostics, Diagnostic{Text: "x"})
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 11 || lines[10] != "and 15 more" {
		t.Errorf("%d lines, last %q", len(lines), lines[len(lines)-1])
	}
}

func TestNearest(t *testing.T) {
	known := []string{"migration", "url", "dev", "lock_timeout", "exec_order"}
	for name, want := range map[string]string{
		"migrtion": "migration", "ulr": "url", "URL2": "url", "lock_timout": "lock_timeout", "execorder": "exec_order",
		"completely_different": "", "": "", "url": "",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("nearest(%q) = %q, want %q", name, got, want)
		}
	}
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"ab", "ba", 1}, {"kitten", "sitting", 3}, {"env", "nev", 1}} {
		if got := editDistance(tt.a, tt.b); got != tt.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

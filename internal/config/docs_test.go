package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every example in docs/config.md loads, and without a warning.
func TestExamplesInDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 15 {
		t.Fatalf("found %d examples", len(blocks))
	}
	awsEnv(t, true)
	label := regexp.MustCompile(`(?m)^env "([^"]*)"`)
	for i, block := range blocks {
		line := 2 + strings.Count(string(text[:strings.Index(string(text), block[0])]), "\n")
		names := []string{"stage"}
		if !strings.Contains(block[1], "atlas.env\n  url") {
			names = nil
		}
		for _, m := range label.FindAllStringSubmatch(block[1], -1) {
			names = append(names, m[1])
		}
		if len(names) == 0 {
			t.Errorf("docs/config.md:%d: example %d has no env", line, i)
		}
		inDir(t, map[string]string{
			"aurora.hcl": block[1], "conf.json": `{"host":"h","password":"p w"}`, "templates/1.sql": "CREATE SCHEMA {{ .Schema }};",
		})
		sources := fakeSources("tenant_a", "tenant_b")
		real := dataSources()
		sources["aws_dsql_token"], sources["aws_rds_token"] = real["aws_dsql_token"], real["aws_rds_token"]
		for _, name := range names {
			p, err := loadHere(Options{Env: name, sources: sources, LookupEnv: lookup(map[string]string{
				"DATABASE_HOST": "id.dsql.us-east-1.on.aws", "DB_PASSWORD": "secret", "AURORA_VAR_host": "db1",
			})})
			if err != nil {
				t.Errorf("docs/config.md:%d: env %s: %v", line, name, err)
				continue
			}
			if w := warningTexts(p); w != "" {
				t.Errorf("docs/config.md:%d: env %s: %s", line, name, w)
			}
			for _, e := range p.Envs {
				if !e.URL.Set && !e.History.URL.Set {
					t.Errorf("docs/config.md:%d: env %s has no url", line, name)
				}
			}
		}
	}
}

// The reference names all there is.
func TestDocsAreComplete(t *testing.T) {
	text, err := os.ReadFile("../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	lang, err := language()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for c := lang; c != nil; c = c.Parent() {
		for name := range c.Functions {
			names = append(names, name)
		}
	}
	for source, args := range dataArguments() {
		names = append(names, source)
		names = append(names, args...)
	}
	for source := range unsupportedSources {
		names = append(names, source)
	}
	for block := range refused {
		names = append(names, block)
	}
	spec := fileSpec()
	for block, s := range spec.blocks {
		names = append(names, block)
		names = append(names, s.attrs...)
	}
	for block, s := range spec.blocks["env"].blocks {
		names = append(names, block)
		if block == "migration" {
			names = append(names, s.attrs...)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !regexp.MustCompile(`\b` + name + `\b`).Match(text) {
			t.Errorf("docs/config.md does not mention %q", name)
		}
	}
}

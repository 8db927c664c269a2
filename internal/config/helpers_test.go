package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"
)

// inDir makes a working directory with files, for the rest of the test.
func inDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return dir
}

// loadText loads a project file from its text, with nothing in the
// environment unless opts says so.
func loadText(t *testing.T, text string, opts Options) (*Project, error) {
	t.Helper()
	inDir(t, map[string]string{"aurora.hcl": text})
	return loadHere(opts)
}

func loadHere(opts Options) (*Project, error) {
	if opts.LookupEnv == nil {
		opts.LookupEnv = lookup(nil)
	}
	if opts.Stderr == nil {
		opts.Stderr = io.Discard
	}
	return Load(context.Background(), opts)
}

func mustLoad(t *testing.T, text string, opts Options) *Project {
	t.Helper()
	p, err := loadText(t, text, opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// one returns the only environment of a project.
func one(t *testing.T, p *Project) *Env {
	t.Helper()
	if len(p.Envs) != 1 {
		t.Fatalf("got %d environments, want 1", len(p.Envs))
	}
	return p.Envs[0]
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}
}

// wantError checks the whole text of an error.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want:\n%s", want)
	}
	if err.Error() != want {
		t.Errorf("error:\n%s\nwant:\n%s", err, want)
	}
}

func warningTexts(p *Project) string {
	var out strings.Builder
	for _, w := range p.Warnings {
		fmt.Fprintln(&out, w)
	}
	return out.String()
}

// fakeToken is what fakeSources gives for tokens: it needs escaping.
const fakeToken = "host/?Action=DbConnect&X-Amz-Signature=a+b c"

// fakeSources replaces the data sources that need AWS or a database.
func fakeSources(sqlValues ...string) map[string]dataSource {
	sources := dataSources()
	sources["aws_dsql_token"] = func(_ context.Context, b *dataBlock) (cty.Value, error) {
		ts := &TokenSource{Endpoint: b.required("endpoint"), Username: b.str("username")}
		ts.Admin = attr(b.d, b.block.Body, "admin", toBool).Or(ts.Username == "admin")
		b.secret(fakeToken)
		b.ev.tokens[fakeToken] = ts
		return cty.StringVal(fakeToken), nil
	}
	sources["aws_rds_token"] = func(_ context.Context, b *dataBlock) (cty.Value, error) {
		b.required("endpoint")
		return cty.StringVal(fakeToken), nil
	}
	sources["sql"] = func(_ context.Context, b *dataBlock) (cty.Value, error) {
		b.required("url")
		b.required("query")
		return sqlObject(sqlValues), nil
	}
	return sources
}

func sqlObject(values []string) cty.Value {
	list, first := cty.ListValEmpty(cty.String), cty.NullVal(cty.String)
	if len(values) > 0 {
		var vs []cty.Value
		for _, v := range values {
			vs = append(vs, cty.StringVal(v))
		}
		list, first = cty.ListVal(vs), vs[0]
	}
	return cty.ObjectVal(map[string]cty.Value{
		"count": cty.NumberIntVal(int64(len(values))), "values": list, "value": first,
	})
}

// failingSources fail the test when anything is evaluated that should not be.
func failingSources() map[string]dataSource {
	sources := dataSources()
	for name := range sources {
		sources[name] = func(_ context.Context, b *dataBlock) (cty.Value, error) {
			return cty.NilVal, errors.New("must not be evaluated")
		}
	}
	return sources
}

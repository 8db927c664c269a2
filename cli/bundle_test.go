package cli

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// project makes a directory of files the working directory.
func project(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

const goMigration = `package migrations

import "github.com/aurora-migrate/aurora"

var Migrations = []aurora.Migration{code}

var code = aurora.Migration{Version: "2", Name: "code", Irreversible: "it is a test", Up: []aurora.Step{aurora.Statement{SQL: "SELECT 1"}}}
`

// environments are those of one project file, in which nothing that is asked
// for to connect can be evaluated here.
const environments = `variable "tenant" {
  type = string
}
env "prod" {
  url = "postgres://app:${file("secret.txt")}@db.example.com/${var.tenant}"
}
env "tenant" {
  url = var.tenant
  migration {
    dir = "file://tenants/${var.tenant}"
  }
}
env "listed" {
  for_each = toset(["x", "y"])
  migration {
    dir = "tenants/${each.value}"
  }
}
env "rendered" {
  migration {
    dir = data.template_dir.t.url
  }
}
env "named" {
  migration {
    dir = trimspace(file("conf/dir.txt"))
  }
  format {
    migrate {
      apply = "{{ len .Applied }}"
    }
  }
}
env "outside" {
  migration {
    dir = "file://../elsewhere"
  }
}
env "hidden" {
  migration {
    dir = file(".env")
  }
}
env "code" {
  migration {
    dir = "file://code"
  }
}
env "atlas" {
  format {
    migrate {
      apply = "{{ json . }}"
    }
  }
}
data "template_dir" "t" {
  path = "templates"
  vars = { name = "t" }
}
`

func bundleProject(t *testing.T) {
	project(t, map[string]string{
		"../elsewhere/1_a.sql": "SELECT 1;\n", "aurora.hcl": environments, "secret.txt": "s3cret", "conf/dir.txt": "file://migrations\n", "conf/ca.pem": "PEM", "conf/deep/x": "x", ".env": "file://migrations",
		"migrations/1_a.sql": "SELECT 1;\n", "migrations/1_a.down.sql": "SELECT 1;\n", "migrations/README.md": "x", "migrations/sub/1.sql": "SELECT 1;\n",
		"tenants/x/1_x.sql": "SELECT 1;\n", "tenants/y/1_y.sql": "SELECT 1;\n", "templates/1_t.sql": "SELECT '{{ .name }}';\n", "templates/shared/part.tmpl": "x",
		"code/1_a.sql": "SELECT 1;\n", "code/2_code.go": goMigration, "code/2_code_test.go": "package migrations\n",
	})
}

func TestBundleContents(t *testing.T) {
	for _, tt := range []struct {
		name  string
		o     bundleOptions
		want  contents
		files string
	}{
		{"one environment", bundleOptions{envs: []string{"prod"}}, contents{config: "aurora.hcl", env: "prod"},
			"aurora.hcl migrations/1_a.down.sql migrations/1_a.sql"},
		{"a variable", bundleOptions{envs: []string{"tenant"}, vars: []string{"tenant=x"}}, contents{config: "aurora.hcl", env: "tenant"},
			"aurora.hcl tenants/x/1_x.sql"},
		{"several instances", bundleOptions{envs: []string{"listed"}}, contents{config: "aurora.hcl", env: "listed"},
			"aurora.hcl tenants/x/1_x.sql tenants/y/1_y.sql"},
		{"several environments", bundleOptions{envs: []string{"prod", "listed"}}, contents{config: "aurora.hcl"},
			"aurora.hcl migrations/1_a.down.sql migrations/1_a.sql tenants/x/1_x.sql tenants/y/1_y.sql"},
		{"templates", bundleOptions{envs: []string{"rendered"}}, contents{config: "aurora.hcl", env: "rendered", templates: true},
			"aurora.hcl templates/1_t.sql templates/shared/part.tmpl"},
		{"a file that names the directory, and a format", bundleOptions{envs: []string{"named"}}, contents{config: "aurora.hcl", env: "named", templates: true},
			"aurora.hcl conf/dir.txt migrations/1_a.down.sql migrations/1_a.sql"},
		{"a format that is JSON", bundleOptions{envs: []string{"atlas"}}, contents{config: "aurora.hcl", env: "atlas"},
			"aurora.hcl migrations/1_a.down.sql migrations/1_a.sql"},
		{"Go", bundleOptions{envs: []string{"code"}}, contents{config: "aurora.hcl", env: "code", migrations: "code"},
			"aurora.hcl code/1_a.sql"},
		{"more files", bundleOptions{envs: []string{"tenant"}, vars: []string{"tenant=y"}, include: []string{"conf", "secret.*"}}, contents{config: "aurora.hcl", env: "tenant"},
			"aurora.hcl conf/ca.pem conf/deep/x conf/dir.txt secret.txt tenants/y/1_y.sql"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bundleProject(t)
			a := newApp(Streams{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &bytes.Buffer{}})
			got, err := a.contents(t.Context(), tt.o)
			if err != nil {
				t.Fatal(err)
			}
			checkContents(t, got, tt.want, tt.files)
		})
	}
	t.Run("no project file", func(t *testing.T) {
		bundleProject(t)
		if err := os.Remove("aurora.hcl"); err != nil {
			t.Fatal(err)
		}
		for dir, files := range map[string]string{
			"": "migrations/1_a.down.sql migrations/1_a.sql", "file://migrations": "migrations/1_a.down.sql migrations/1_a.sql", "tenants/x": "migrations/1_x.sql",
		} {
			a := newApp(Streams{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &bytes.Buffer{}})
			got, err := a.contents(t.Context(), bundleOptions{dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			checkContents(t, got, contents{}, files)
		}
		t.Chdir("tenants/y")
		a := newApp(Streams{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &bytes.Buffer{}})
		got, err := a.contents(t.Context(), bundleOptions{dir: "."})
		if err != nil {
			t.Fatal(err)
		}
		checkContents(t, got, contents{}, "migrations/1_y.sql")
	})
}

func checkContents(t *testing.T, got, want contents, files string) {
	t.Helper()
	var names []string
	err := fs.WalkDir(got.files, ".", func(name string, e fs.DirEntry, err error) error {
		if !e.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Fields(files), names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	got.files = nil
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestBundleRefuses(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"--arch riscv64", "say --arch arm64 or --arch amd64"},
		{"--env prod x", `takes no arguments, and got "x"`},
		{"--upload https://bucket", "upload goes to s3://BUCKET"},
		{"--env prod --out x --zip x", "--out and --zip are both x"},
		{"--env prod --zip conf/../bundle", "--out and --zip are both conf/../bundle"},
		{"--env prod --out conf", "--out conf is a directory"},
		{"--env prod --zip conf", "--zip conf is a directory"},
		{"--entry cmd --env prod", "--entry builds a main package as it is"},
		{"--entry cmd --include x", "--entry builds a main package as it is"},
		{"--entry none", "none"},
		{"", `say which with --env`}, // tenant needs a variable
		{"--env none", `env "none" is not defined`},
		{"--env tenant", "tenant"},
		{"--env tenant --var tenant=z", "z"},
		{"--env outside", "cannot be inside a program"},
		{"--env hidden", ".env may hold secrets"},
		{"--env prod --include .env", ".env may hold secrets"},
		{"--env prod --include none*", "matches no file"},
		{"--env prod --include ../x", "not below the working directory"},
		{"--env prod --include [", "syntax error"},
		{"--env prod --dir tenants/x", "--dir is for bundles without a project file"},
		{"--env code --env prod", "make a bundle for each"},
		{"--config /etc/aurora.hcl --env prod", "not below the working directory"},
		{"--config none.hcl --env prod", "none.hcl"},
		// Nothing else is wrong, but this program is no release.
		{"--env prod", "go mod init example.com/NAME"},
		{"--env code", "no directory above has a go.mod"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			bundleProject(t)
			code, out := runIn(t, strings.Fields("bundle "+tt.args))
			if code != ExitUsage || !strings.Contains(out, tt.want) {
				t.Errorf("exit code %d, want %d with %q\n%s", code, ExitUsage, tt.want, out)
			}
			if _, err := os.Stat("bundle"); err == nil {
				t.Error("it wrote a bundle")
			}
		})
	}
	t.Run("no Go", func(t *testing.T) {
		bundleProject(t)
		t.Setenv("PATH", t.TempDir())
		if code, out := runIn(t, []string{"bundle", "--env", "prod"}); code != ExitUsage || !strings.Contains(out, "install Go from") {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
	t.Run("no project", func(t *testing.T) {
		project(t, nil)
		for args, want := range map[string]string{"": "does not exist", "--env prod": "there is no project file", "--include x": "and there is none"} {
			if code, out := runIn(t, strings.Fields("bundle "+args)); code != ExitUsage || !strings.Contains(out, want) {
				t.Errorf("%s: exit code %d\n%s", args, code, out)
			}
		}
	})
}

// TestBundleFollowsLinks: a link brings in only what could come in by its own
// name.
func TestBundleFollowsLinks(t *testing.T) {
	for _, tt := range []struct{ link, to, include, want string }{
		{"conf/settings.txt", "../.env", "", "conf/settings.txt, which is .env, may hold secrets"},
		{"conf/keys", "../.ssh", "conf/keys/id", ".ssh/id, may hold secrets"},
		{"conf/settings.txt", "dir.txt", "", ""},
		{"conf/settings.txt", "../../elsewhere/1_a.sql", "", "elsewhere/1_a.sql, which is not below the working directory"},
		{"migrations/2_b.sql", "../../elsewhere/1_a.sql", "", "elsewhere/1_a.sql, which is not below the working directory"},
	} {
		t.Run(tt.link+" "+tt.to, func(t *testing.T) {
			bundleProject(t)
			if err := os.Mkdir(".ssh", 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(".ssh/id", []byte("key"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(tt.to, tt.link); err != nil {
				t.Fatal(err)
			}
			if tt.include == "" {
				tt.include = tt.link
			}
			a := newApp(Streams{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &bytes.Buffer{}})
			got, err := a.contents(t.Context(), bundleOptions{envs: []string{"prod"}, include: []string{tt.include}})
			if tt.want != "" {
				if code := new(usageError); !errors.As(err, &code) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %s", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if data, err := fs.ReadFile(got.files, tt.link); err != nil || string(data) != "file://migrations\n" {
				t.Errorf("got %q, %v", data, err)
			}
		})
	}
}

func runIn(t *testing.T, args []string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code := Run(context.Background(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &out})
	return code, out.String()
}

func TestRecorderRemembersReads(t *testing.T) {
	project(t, map[string]string{"a/read": "x", "a/opened": "x", "a/listed": "x"})
	r := &recorder{FS: os.DirFS("."), read: map[string]bool{}}
	if _, err := fs.ReadFile(r, "a/read"); err != nil {
		t.Fatal(err)
	}
	f, err := r.Open("a/opened")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if list, err := fs.ReadDir(r, "a"); err != nil || len(list) != 3 {
		t.Fatalf("%v, %v", list, err)
	}
	if got := slices.Collect(maps.Keys(r.read)); !slices.Equal(got, []string{"a/read"}) {
		t.Errorf("got %v", got)
	}
}

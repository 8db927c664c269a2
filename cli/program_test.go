package cli

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/aurora-migrate/aurora"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o444} }

// inside is a project that is inside a program, and differs from the one on
// the disk in every name.
func inside() fs.FS {
	return fstest.MapFS{
		"aurora.hcl": file(`variable "tenant" {
  type    = string
  default = "a"
}
env "one" {
  url = "postgres://nowhere.invalid/db"
}
env "two" {
  url = "postgres://nowhere.invalid/db"
  migration {
    dir = "file://more/${var.tenant}"
  }
}
env "rendered" {
  url = "postgres://nowhere.invalid/db"
  migration {
    dir = data.template_dir.t.url
  }
}
env "read" {
  url = "postgres://nowhere.invalid/db"
  migration {
    dir = trimspace(file(getenv("FILE_TO_READ")))
  }
}
env "listed" {
  url = "postgres://nowhere.invalid/db"
  migration {
    dir = fileset("*.sql")[0]
  }
}
data "template_dir" "t" {
  path = "templates"
  vars = { name = "t" }
}
`),
		"migrations/1_inside.sql":  file("SELECT 1;\n"),
		"more/a/1_more.sql":        file("SELECT 1;\n"),
		"more/b/1_b.sql":           file("SELECT 1;\n"),
		"templates/1_rendered.sql": file("SELECT '{{ .name }}';\n"),
		"name.txt":                 file("file://more/b\n"),
	}
}

func TestProgramReadsItsFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"aurora.hcl":                "env \"one\" {\n  url = \"postgres://nowhere.invalid/db\"\n}\nenv \"disk\" {\n  url = \"postgres://nowhere.invalid/db\"\n}\n",
		"migrations/1_on_disk.sql":  "SELECT 1;\n",
		"elsewhere/1_elsewhere.sql": "SELECT 1;\n",
		"name.txt":                  "file://elsewhere",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	code := []aurora.Migration{{Version: "2", Name: "code", Irreversible: "it is a test", Up: []aurora.Step{aurora.Statement{SQL: "SELECT 1"}}}}
	for _, tt := range []struct {
		name    string
		program Program
		env     string // the variables, name=value
		args    string
		exit    int
		want    string // on standard output, or in the error
	}{
		{"the default environment", Program{Files: inside(), Env: "one"}, "", "migrate ls -s", 0, "1\n"},
		{"its file, not the disk's", Program{Files: inside(), Env: "one"}, "", "migrate ls", 0, "1_inside.sql\n"},
		{"with Go", Program{Files: inside(), Env: "one", Migrations: code}, "", "migrate ls", 0, "1_inside.sql\n2_code\n"},
		{"a variable's environment", Program{Files: inside(), Env: "one"}, "AURORA_ENV=two", "migrate ls", 0, "1_more.sql\n"},
		{"a flag's environment", Program{Files: inside(), Env: "one"}, "AURORA_ENV=two", "migrate --env rendered ls", 0, "1_rendered.sql\n"},
		{"a variable of the file", Program{Files: inside()}, "", "migrate --env two --var tenant=b ls", 0, "1_b.sql\n"},
		{"an environment that is only on the disk", Program{Files: inside()}, "", "migrate --env disk ls", 2, `env "disk" is not defined`},
		{"a file on the command line", Program{Files: inside(), Env: "two"}, "", "migrate --config aurora.hcl --env disk ls", 0, "1_on_disk.sql\n"},
		{"a directory on the command line", Program{Files: inside(), Env: "one"}, "", "migrate ls --dir elsewhere", 0, "1_elsewhere.sql\n"},
		{"a reference on the command line", Program{Files: inside(), Env: "two"}, "", "migrate ls --dir env://migration.dir", 0, "1_more.sql\n"},
		{"no project file inside", Program{Files: fstest.MapFS{"migrations/1_only.sql": file("SELECT 1;\n")}}, "", "migrate ls", 0, "1_only.sql\n"},
		{"nothing inside", Program{Env: "disk"}, "", "migrate ls", 0, "1_on_disk.sql\n"},
		{"another path inside", Program{Files: fstest.MapFS{
			"conf/x.hcl": file("env \"e\" {\n  migration {\n    dir = file(\"d\")\n  }\n}\n"), "conf/d": file("sql"), "sql/1_x.sql": file("SELECT 1;\n"),
		}, Config: "conf/x.hcl", Env: "e"}, "", "migrate ls", 0, "1_x.sql\n"},
		{"file() reads inside", Program{Files: inside(), Env: "read"}, "FILE_TO_READ=name.txt", "migrate ls", 0, "1_b.sql\n"},
		{"file() reads absolute paths of the disk", Program{Files: inside(), Env: "read"}, "FILE_TO_READ=" + filepath.Join(dir, "name.txt"), "migrate ls --dir-format atlas", 2, "elsewhere is not inside this program"},
		{"file() of what is not inside", Program{Files: inside(), Env: "read"}, "FILE_TO_READ=other.txt", "migrate ls", 2, "is not in this bundle; put it in with --include"},
		{"file() of what cannot be inside", Program{Files: inside(), Env: "read"}, "FILE_TO_READ=../other.txt", "migrate ls", 2, "leads out of the directory"},
		{"fileset()", Program{Files: inside(), Env: "listed"}, "", "migrate ls", 2, "no directory for fileset to search"},
		{"which environment", Program{Files: inside()}, "", "migrate status", 2, "say one of: --env one, --env two"},
		{"nothing to write to", Program{Files: inside(), Env: "one"}, "", "migrate hash", 2, "is inside this program"},
		{"nothing to create in", Program{Files: inside(), Env: "one"}, "", "migrate new x", 2, "is inside this program"},
		{"a directory that is not inside", Program{Files: inside()}, "", "migrate --env two --var tenant=c ls", 2, "more/c is not inside this program"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			name, value, _ := strings.Cut(tt.env, "=")
			exit := tt.program.Run(context.Background(), strings.Fields(tt.args), Streams{In: strings.NewReader(""), Out: &out, Err: &errs, LookupEnv: func(n string) (string, bool) {
				if n != name {
					return "", false
				}
				return value, true
			}})
			if exit != tt.exit {
				t.Fatalf("exit code %d, want %d\n%s%s", exit, tt.exit, &out, &errs)
			}
			if exit == 0 && out.String() != tt.want {
				t.Errorf("got %q, want %q", &out, tt.want)
			}
			if exit != 0 && !strings.Contains(errs.String(), tt.want) {
				t.Errorf("the error lacks %q:\n%s", tt.want, &errs)
			}
		})
	}
}

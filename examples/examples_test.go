// Package examples_test runs the examples as a newcomer does who has copied one
// of them: in a directory and a module of its own, with the stock binary.
package examples_test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aurora-migrate/aurora/internal/dynamotest"
)

const module = "github.com/aurora-migrate/aurora"

func TestMain(m *testing.M) { dynamotest.Main(m) }

// A project is a copy of an example.
type project struct {
	dir, bin string
	env      []string
}

// copyExample makes a directory a module that has the example and uses aurora
// as it is here.
func copyExample(t *testing.T, name string) project {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	p := project{dir: filepath.Join(t.TempDir(), name), bin: t.TempDir(), env: []string{"NO_COLOR=1", "GOFLAGS=-mod=mod"}}
	if err := os.CopyFS(p.dir, os.DirFS(name)); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.dir, file), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.run(t, 0, "go", "mod", "edit", "-module=example.com/"+name, "-require="+module+"@v0.0.0", "-replace="+module+"="+root)
	p.run(t, 0, "go", "build", "-o", p.bin, module+"/cmd/aurora")
	return p
}

// run runs a command in the project and returns what it wrote to both outputs.
func (p project) run(t *testing.T, want int, command ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), p.env...)
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != want {
		t.Fatalf("%s: %v, want exit code %d\n%s", strings.Join(command, " "), cmp.Or(err, fmt.Errorf("exit code %d", code)), want, out)
	}
	return string(out)
}

// migrate runs aurora migrate in an environment of the project.
func (p project) migrate(t *testing.T, want int, env string, args ...string) string {
	t.Helper()
	return p.run(t, want, append([]string{filepath.Join(p.bin, "aurora"), "migrate", "--env", env}, args...)...)
}

// The change of the customers' names, deployed step by step, on Aurora DSQL
// and on PostgreSQL.
func TestCustomers(t *testing.T) {
	p := copyExample(t, "customers")
	for _, env := range []string{"local", "postgres"} {
		t.Run(env, func(t *testing.T) {
			p.migrate(t, 0, env, "apply", "--to", "add_full_name")
			p.migrate(t, 3, env, "status")
			p.migrate(t, 0, env, "apply", "--to", "fill-full-name")
			if out := p.migrate(t, 0, env, "show", "fill-full-name"); !strings.Contains(out, "Fills full_name") || !strings.Contains(out, "10000") {
				t.Errorf("show does not tell the description and the 10,000 rows:\n%s", out)
			}
			// Back and forth: the way down empties the column again.
			p.migrate(t, 0, env, "down")
			p.migrate(t, 0, env, "apply")
			p.migrate(t, 0, env, "status")
			if out := p.migrate(t, 1, env, "down"); !strings.Contains(out, "20261020090000_drop_names") {
				t.Errorf("the contract has no way down, and the error does not say so:\n%s", out)
			}
		})
	}
	t.Run("rows", func(t *testing.T) {
		aurora := filepath.Join(p.bin, "aurora")
		p.run(t, 0, aurora, "local", "up")
		defer p.run(t, 0, aurora, "local", "down")
		url := strings.TrimSpace(p.run(t, 0, aurora, "local", "url"))
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		var rows, right int
		if err := conn.QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE full_name ~ '^\w+\d+ \w+$') FROM customers`).Scan(&rows, &right); err != nil {
			t.Fatal(err)
		}
		if rows != 10_000 || right != rows {
			t.Errorf("%d of %d customers have a full name, want all of 10,000", right, rows)
		}
	})
}

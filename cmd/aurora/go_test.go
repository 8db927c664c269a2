package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/aurora-migrate/aurora/localdsql/engine"
)

const module = "github.com/aurora-migrate/aurora"

// TestGoScripts runs the scripts about migrations in Go. They have the commands
// of the others, and:
//
//	gomodule DIR MODULE    make a Go module that uses this one
func TestGoScripts(t *testing.T) {
	ctx := context.Background()
	server, err := engine.Start(ctx, engine.Config{Throwaway: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("these tests need a PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	own := maps.Clone(commands)
	own["gomodule"] = goModules(t.TempDir())
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "go"),
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Condition: func(cond string) (bool, error) {
			if cond != "root" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			return os.Geteuid() == 0, nil
		},
		Setup: func(env *testscript.Env) error {
			name := strings.NewReplacer("-", "_", ".", "_").Replace(filepath.Base(env.WorkDir))
			if err := server.CreateDatabase(ctx, name); err != nil {
				return err
			}
			env.Setenv("URL", server.URL(name))
			env.Setenv("NO_COLOR", "")
			env.Values[jobsKey{}] = map[string]*exec.Cmd{}
			env.Values[masksKey{}] = strings.NewReplacer(env.WorkDir, "$WORK")
			return goHome(ctx, env)
		},
		Cmds: own,
	})
}

// goHome gives a script a home in which the go command finds this machine's
// caches, and nothing on the network. GOFLAGS is for the build cache: with
// -trimpath it does not matter where this module was copied to.
func goHome(ctx context.Context, env *testscript.Env) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	dirs := strings.Split(strings.TrimSpace(string(out)), "\n")
	home := filepath.Join(env.WorkDir, "home")
	for _, file := range []string{".config/go/env", "Library/Application Support/go/env"} {
		file = filepath.Join(home, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		text := "GOCACHE=" + dirs[0] + "\nGOMODCACHE=" + dirs[1] + "\nGOPROXY=off\nGOFLAGS=-trimpath\nGOTOOLCHAIN=local\n"
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	env.Setenv("HOME", home)
	env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
	return nil
}

// goModules returns the command gomodule, for modules that use a copy of this
// one, which nobody changes during a test.
func goModules(sources string) func(ts *testscript.TestScript, neg bool, args []string) {
	copied := sync.OnceValue(func() error { return copySources(sources) })
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 2 {
			ts.Fatalf("usage: gomodule DIR MODULE [ARGS OF go mod edit…]")
		}
		ts.Check(copied())
		dir := ts.MkAbs(args[0])
		ts.Check(os.MkdirAll(dir, 0o755))
		for _, name := range []string{"go.mod", "go.sum"} {
			data, err := os.ReadFile(filepath.Join(sources, name))
			ts.Check(err)
			ts.Check(os.WriteFile(filepath.Join(dir, name), data, 0o644))
		}
		edit := []string{"mod", "edit", "-module=" + args[1], "-require=" + module + "@v0.0.0", "-replace=" + module + "=" + sources, "-tool=" + module + "/cmd/aurora"}
		ts.Check(ts.Exec("go", append(append(edit, args[2:]...), filepath.Join(dir, "go.mod"))...))
	}
}

func copySources(to string) error {
	root := filepath.Join("..", "..")
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		to := filepath.Join(to, rel)
		switch name := e.Name(); {
		case e.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin"):
			return fs.SkipDir
		case e.IsDir():
			return os.MkdirAll(to, 0o755)
		case strings.HasSuffix(name, "_test.go") || !e.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o644)
	})
}

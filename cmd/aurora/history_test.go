package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
	"github.com/aurora-migrate/aurora/localdsql/engine"
)

// shopMigrations need no database. What they do is steered by files in the
// working directory: they fail while there is a file "fail", and hang while
// there is a file "hang", after a checkpoint.
func shopMigrations() []aurora.Migration {
	roles := func(ctx context.Context, env *aurora.Env) error {
		var at struct {
			Last  string `json:"last"`
			Count int    `json:"count"`
		}
		if _, err := env.Resume(&at); err != nil {
			return err
		}
		for _, role := range []string{"admin", "editor", "viewer"}[at.Count:] {
			env.Log.InfoContext(ctx, "added a role", "role", role)
			at.Last, at.Count = role, at.Count+1
			if err := env.Checkpoint(ctx, at); err != nil {
				return err
			}
			if _, err := os.Stat("hang"); err == nil && role == "editor" {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			if _, err := os.Stat("fail"); err == nil && role == "editor" {
				return errors.New("put the role viewer: throttled")
			}
		}
		return nil
	}
	nothing := func(context.Context, *aurora.Env) error { return nil }
	return []aurora.Migration{{
		Version: "20250601000000", Name: "init", Description: "Nothing yet.", Irreversible: "it is the start",
		Up: []aurora.Step{aurora.Func{Name: "initUp", Do: nothing}},
	}, {
		Version: "20250601120000", Name: "add-user-roles",
		Description: "# Adds default roles\n\n- *Idempotent*: running it again changes nothing.\n- See [the runbook](https://example.com/roles), or `roles.md`.",
		Up:          []aurora.Step{aurora.Func{Name: "prepare", Do: nothing}, aurora.Func{Name: "addUserRolesUp", Do: roles}},
		Down:        []aurora.Step{aurora.Func{Name: "addUserRolesDown", Do: nothing}},
	}, {
		Version: "20250602000000", Name: "counts",
		Up:   []aurora.Step{aurora.Func{Name: "countsUp", Do: nothing}},
		Down: []aurora.Step{aurora.Func{Name: "countsDown", Do: nothing}},
	}, {
		Version: "20250603000000", Name: "counts",
		Up:   []aurora.Step{aurora.Func{Name: "countsAgainUp", Do: nothing}},
		Down: []aurora.Step{aurora.Func{Name: "countsAgainDown", Do: nothing}},
	}}
}

// TestHistoryScripts runs the program with histories that are not in the
// database: each script in testdata/history with each kind of history, in a
// directory, a table and a PostgreSQL of its own. A script that begins with
// "# DynamoDB only" or "# file only" has only that. There are the commands of
// TestScripts, the program shop, and
//
//	$HISTORY         the URL of the history
//	$FAR             that of the table, as if it were not on this machine
//	$URL             of a PostgreSQL
//	masked FILE      which says PLACE for where the history is
//	answer [CODE]    what DynamoDB answers from now on
//	requests         print how many of each kind DynamoDB got since last asked
func TestHistoryScripts(t *testing.T) {
	server, err := engine.Start(t.Context(), engine.Config{Throwaway: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("these tests need a PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Run("DynamoDB", func(t *testing.T) {
		_, stop, err := dynamotest.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		runHistoryScripts(t, server, "# file only", func(env *testscript.Env) {
			proxy, table := dynamotest.NewProxy(t), dynamotest.Table(t)
			env.Setenv("HISTORY", "dynamodb://"+table+"?region=eu-central-1&endpoint="+url.QueryEscape(proxy.URL))
			env.Setenv("FAR", "dynamodb://"+table+"?region=eu-central-1&endpoint=http%3A%2F%2Fdynamodb.test")
			env.Setenv("HTTP_PROXY", proxy.URL)
			env.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
			env.Setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")
			env.Values[proxyKey{}] = proxy
			env.Values[masksKey{}] = strings.NewReplacer("DynamoDB table "+table+" in region eu-central-1 at "+proxy.URL, "PLACE", table, "TABLE", proxy.URL, "ENDPOINT", env.WorkDir, "$WORK")
		})
	})
	t.Run("file", func(t *testing.T) {
		runHistoryScripts(t, server, "# DynamoDB only", func(env *testscript.Env) {
			env.Setenv("HISTORY", "file://.aurora/history.db")
			env.Values[masksKey{}] = strings.NewReplacer("file "+env.WorkDir+"/.aurora/history.db", "PLACE", env.WorkDir, "$WORK")
		})
	})
}

type proxyKey struct{}

func runHistoryScripts(t *testing.T, server *engine.Server, without string, setup func(*testscript.Env)) {
	files, err := filepath.Glob("testdata/history/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	own := maps.Clone(commands)
	own["answer"], own["requests"] = answer, requests
	testscript.Run(t, testscript.Params{
		Files: slices.DeleteFunc(files, func(name string) bool {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			return strings.HasPrefix(string(text), without)
		}),
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Condition: func(cond string) (bool, error) {
			if cond != "DynamoDB" && cond != "file" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			return without != "# "+cond+" only", nil
		},
		Setup: func(env *testscript.Env) error {
			name := strings.NewReplacer("-", "_", ".", "_").Replace(filepath.Base(env.WorkDir)) + "_" + strings.Trim(without, "# ")[:4]
			if err := server.CreateDatabase(t.Context(), name); err != nil {
				return err
			}
			env.Setenv("URL", server.URL(name))
			env.Setenv("NO_COLOR", "")
			// Looking for credentials must not leave this machine.
			env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			env.Values[jobsKey{}] = map[string]*exec.Cmd{}
			setup(env)
			return nil
		},
		Cmds: own,
	})
}

func answer(ts *testscript.TestScript, neg bool, args []string) {
	proxy, ok := ts.Value(proxyKey{}).(*dynamotest.Proxy)
	if neg || len(args) > 1 || !ok {
		ts.Fatalf("usage: answer [CODE], on DynamoDB")
	}
	proxy.Heal()
	if len(args) == 1 {
		proxy.Fail(dynamotest.Fault{Kind: dynamotest.Kind(args[0]), Times: -1})
	}
}

func requests(ts *testscript.TestScript, neg bool, args []string) {
	proxy, ok := ts.Value(proxyKey{}).(*dynamotest.Proxy)
	if neg || len(args) > 0 || !ok {
		ts.Fatalf("usage: requests, on DynamoDB")
	}
	counts := proxy.Counts()
	for _, op := range slices.Sorted(maps.Keys(counts)) {
		_, err := fmt.Fprintf(ts.Stdout(), "%s %d\n", op, counts[op])
		ts.Check(err)
	}
}

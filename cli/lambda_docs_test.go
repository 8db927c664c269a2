package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora/cli"
	"github.com/aurora-migrate/aurora/dynamo"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
	"github.com/aurora-migrate/aurora/locallambda"
)

// docsPage is absolute, as tests change the directory.
var docsPage, _ = filepath.Abs("../docs/lambda.md")

// docsFiles returns the files that docs/lambda.md shows.
func docsFiles(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile(docsPage)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, m := range regexp.MustCompile("(?ms)^```\\w+ file=(\\S+)\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		files[m[1]] = m[2]
	}
	return files
}

// docsProject writes the project of docs/lambda.md into a module of its own.
func docsProject(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := docsFiles(t)
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(data)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const module = "github.com/aurora-migrate/aurora"
	run(t, dir, "go", "mod", "edit", "-module=example.com/shop", "-require="+module+"@v0.0.0", "-replace="+module+"="+root)
	return dir
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// docsTable is a table behind something that notes what is asked of it, as the
// actions that a policy names.
func docsTable(t *testing.T) (env []string, asked func() []string) {
	t.Helper()
	endpoint := dynamotest.Endpoint(t)
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	table := dynamotest.Table(t)
	store, err := dynamo.Open(t.Context(), dynamo.Config{Table: table, Client: dynamotest.Client(endpoint)})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	actions := map[string]bool{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		mu.Lock()
		defer mu.Unlock()
		if op != "TransactWriteItems" {
			actions["dynamodb:"+op] = true
		} else {
			// IAM has no action for transactions, only for what is in them.
			var in struct{ TransactItems []map[string]json.RawMessage }
			if err := json.Unmarshal(body, &in); err != nil {
				t.Error(err)
			}
			for _, item := range in.TransactItems {
				for kind := range item {
					actions["dynamodb:"+strings.TrimSuffix(kind, "Item")+"Item"] = true
				}
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	return []string{"MIGRATIONS_TABLE=" + table, "AWS_ENDPOINT_URL_DYNAMODB=" + front.URL}, func() []string {
		mu.Lock()
		defer mu.Unlock()
		var out []string
		for a := range actions {
			out = append(out, a)
		}
		slices.Sort(out)
		return out
	}
}

// The page's two ways to a function both work, and need no more rights than
// the page's role has.
func TestLambdaDocs(t *testing.T) {
	dir := docsProject(t)
	for name, build := range map[string]func(t *testing.T, path string){
		"bundle": func(t *testing.T, path string) {
			t.Setenv("GOFLAGS", "-mod=mod")
			t.Setenv("GOPROXY", "off")
			t.Chdir(dir)
			var out bytes.Buffer
			args := []string{"bundle", "--env", "prod", "--arch", runtime.GOARCH, "--out", path, "--zip", path + ".zip"}
			if code := cli.Run(t.Context(), args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out}); code != 0 {
				t.Fatalf("aurora %s: exit code %d\n%s", strings.Join(args, " "), code, out.String())
			}
		},
		"main": func(t *testing.T, path string) {
			run(t, dir, "go", "build", "-tags", "lambda.norpc", "-o", path, "./cmd/migrate")
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bootstrap")
			build(t, path)
			env, asked := docsTable(t)
			var log bytes.Buffer
			// On a slow machine an invocation may end without an answer, and is repeated.
			s, err := locallambda.Start(locallambda.Config{
				Command: []string{path}, Name: "migrate", Env: env, Dir: t.TempDir(), Timeout: 3 * time.Second, Output: &log,
				Retries: slices.Repeat([]time.Duration{4 * time.Second}, 10),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			s.Send([]byte(`{}`)) // two seconds of work, and less time for it
			if err := s.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			res, err := s.Invoke(ctx, []byte(`{"command":"status"}`))
			if err != nil || !strings.Contains(string(res.Payload), `"ready":true`) {
				t.Errorf("status: %s %v", res.Payload, err)
			}
			if n := len(s.Invocations()); n < 3 {
				t.Errorf("%d invocations, want a chain of two and the status", n)
			}
			if res, err = s.Invoke(ctx, []byte(`{"direction":"down"}`)); err != nil || !strings.Contains(string(res.Payload), `"IrreversibleError"`) {
				t.Errorf("down: %s %v", res.Payload, err)
			}
			if err := s.Close(); err != nil && !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
			if t.Failed() {
				t.Logf("the function wrote:\n%s", log.String())
			}
			checkRights(t, asked())
		})
	}
}

// checkRights compares what was asked of DynamoDB with the page's policy.
func checkRights(t *testing.T, asked []string) {
	t.Helper()
	var policy struct {
		Statement []struct {
			Effect   string
			Action   any
			Resource any
		}
	}
	if err := json.Unmarshal([]byte(docsFiles(t)["policy.json"]), &policy); err != nil {
		t.Fatal(err)
	}
	var allowed []string
	for _, s := range policy.Statement {
		actions, ok := s.Action.([]any)
		if !ok {
			actions = []any{s.Action}
		}
		for _, a := range actions {
			allowed = append(allowed, a.(string))
		}
		if text, err := json.Marshal(s.Resource); err != nil || strings.Contains(string(text), `"*"`) || s.Effect != "Allow" {
			t.Errorf("a statement for everything: %s", text)
		}
	}
	if len(asked) < 3 {
		t.Errorf("only %v was asked of the table", asked)
	}
	for _, a := range asked {
		if !slices.Contains(allowed, a) {
			t.Errorf("the function needs %s, which the page's role lacks", a)
		}
	}
	for _, a := range allowed {
		if strings.Contains(a, "*") {
			t.Errorf("the page's role has %s", a)
		}
	}
	if !slices.Contains(allowed, "lambda:InvokeFunction") {
		t.Error("the page's role cannot go on")
	}
}

// The settings that the chain depends on.
func TestLambdaDocsTemplate(t *testing.T) {
	var template struct {
		Resources map[string]struct {
			Type       string
			Properties map[string]any
		}
	}
	if err := json.Unmarshal([]byte(docsFiles(t)["template.json"]), &template); err != nil {
		t.Fatal(err)
	}
	f, e := template.Resources["Migrate"], template.Resources["MigrateEvents"]
	if f.Properties["RecursiveLoop"] != "Allow" || f.Properties["Runtime"] != "provided.al2023" || e.Properties["MaximumRetryAttempts"] != 2.0 {
		t.Errorf("%+v\n%+v", f, e)
	}
}

//go:build !aurora_bundle

package cli

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dynamo"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
	"github.com/aurora-migrate/aurora/lambdahandler"
)

// A page is a browser that looks at a dashboard that runs.
type page struct {
	t      *testing.T
	base   string
	client *http.Client
	csrf   string
	said   string     // until it had its address
	stop   func() int // ends the program and returns its exit code
}

var opened = regexp.MustCompile(`http://\S+/\?token=\S+`)

// startDashboard runs the program until it prints its address, and opens that.
func startDashboard(t *testing.T, args []string, migrations ...[]aurora.Migration) *page {
	t.Helper()
	return openDashboard(t, append(args, "--no-open"), migrations...)
}

func openDashboard(t *testing.T, args []string, migrations ...[]aurora.Migration) *page {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		code := Run(ctx, append([]string{"dashboard", "--port", "0"}, args...), Streams{In: strings.NewReader(""), Out: w, Err: w}, migrations...)
		_ = w.Close()
		ended <- code
	}()
	var said strings.Builder
	address := ""
	lines := bufio.NewScanner(r)
	for address == "" && lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		address = opened.FindString(lines.Text())
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if address == "" {
		cancel()
		t.Fatalf("it ended with %d: %s", <-ended, said.String())
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	base, _, _ := strings.Cut(address, "?")
	p := &page{t: t, base: base, client: &http.Client{Jar: jar, Timeout: 5 * time.Minute}, said: said.String()}
	p.stop = sync.OnceValue(func() int { cancel(); return <-ended })
	t.Cleanup(func() { p.stop() })
	if resp := p.do(http.MethodGet, strings.TrimPrefix(address, base), nil, nil); resp != http.StatusOK {
		t.Fatalf("open %s: %d", address, resp)
	}
	var session struct{ CSRF string }
	p.get("api/session", &session)
	p.csrf = session.CSRF
	return p
}

func (p *page) do(method, path string, body, v any) int {
	p.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.base+path, strings.NewReader(string(text)))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Aurora-CSRF", p.csrf)
	resp, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if v != nil {
		if err := json.Unmarshal(answer, v); err != nil {
			p.t.Fatalf("%s: %d %s", path, resp.StatusCode, answer)
		}
	}
	return resp.StatusCode
}

func (p *page) get(path string, v any) {
	p.t.Helper()
	if code := p.do(http.MethodGet, path, nil, v); code != http.StatusOK {
		p.t.Fatalf("GET %s: %d", path, code)
	}
}

func goSteps(f func(context.Context, *aurora.Env) error) []aurora.Step {
	return []aurora.Step{aurora.Func{Name: "step", Do: f}}
}

type dashboardSummary struct {
	Completed, RolledBack, Pending int
	Head                           string
	Run                            struct{ State, Error string }
}

// wait asks until the run has ended.
func (p *page) wait() dashboardSummary {
	p.t.Helper()
	for {
		var sum dashboardSummary
		p.get("api/migrations/summary", &sum)
		if s := sum.Run.State; s != "requested" && s != "waiting" && s != "running" {
			return sum
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// An environment whose history is in a file, with migrations in Go: up and
// rollback run in the program itself.
func TestDashboardOfEnv(t *testing.T) {
	t.Chdir(t.TempDir())
	project := `env "prod" {
  protected = true
  history { url = "file://h.db" }
}`
	if err := os.WriteFile("aurora.hcl", []byte(project), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("migrations", 0o700); err != nil {
		t.Fatal(err)
	}
	done := func(context.Context, *aurora.Env) error { return nil }
	m := []aurora.Migration{{Version: "1", Name: "first", Up: goSteps(done), Down: goSteps(done)}, {Version: "2", Name: "second", Up: goSteps(done), Down: goSteps(done)}}
	p := startDashboard(t, []string{"--env", "prod", "--allow-empty"}, m)
	var session struct {
		Env, Store string
		Protected  bool
	}
	if p.get("api/session", &session); session.Env != "prod" || !session.Protected || session.Store != "file" {
		t.Errorf("%+v", session)
	}
	if code := p.do(http.MethodPost, "api/up", map[string]string{}, nil); code != http.StatusAccepted {
		t.Fatal(code)
	}
	sum := p.wait()
	if sum.Completed != 2 {
		t.Fatalf("%+v", sum)
	}
	body := map[string]string{"expectedHead": sum.Head, "confirm": "2_second", "reason": "a test"}
	if code := p.do(http.MethodPost, "api/rollback", body, nil); code != http.StatusAccepted {
		t.Fatal(code)
	}
	if sum := p.wait(); sum.RolledBack != 1 || sum.Completed != 1 {
		t.Errorf("%+v", sum)
	}
	if code := p.stop(); code != ExitDone {
		t.Errorf("it ended with %d", code)
	}
}

// Stopping the program stops a run in good order.
func TestDashboardStopsItsRun(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("migrations", 0o700); err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{})
	m := []aurora.Migration{{Version: "1", Name: "long", Up: goSteps(func(ctx context.Context, _ *aurora.Env) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}), Irreversible: "no"}}
	p := startDashboard(t, []string{"--history", "file://h.db", "--allow-empty"}, m)
	p.do(http.MethodPost, "api/up", map[string]string{}, nil)
	<-begun
	if code := p.stop(); code != ExitDone {
		t.Errorf("it ended with %d", code)
	}
	again := startDashboard(t, []string{"--history", "file://h.db", "--allow-empty", "--read-only"}, m)
	var l struct{ Migrations []struct{ Status string } }
	if again.get("api/migrations", &l); len(l.Migrations) != 1 || l.Migrations[0].Status != "interrupted" {
		t.Errorf("%+v", l)
	}
	if code := again.do(http.MethodPost, "api/up", map[string]string{}, nil); code != http.StatusConflict {
		t.Errorf("a read-only dashboard: %d", code)
	}
}

// The token is in no command line, which everybody on the machine can read.
func TestDashboardOpensTheBrowser(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("missing: a POSIX shell, which Windows has not (package cli)")
	}
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir("migrations", 0o700); err != nil {
		t.Fatal(err)
	}
	browser := filepath.Join(dir, "browser")
	if err := os.WriteFile(browser, []byte("#!/bin/sh\necho \"$*\" > args\nls -l \"$1\" > mode\ncat \"$1\" > page.new\nmv page.new page\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BROWSER", browser)
	p := openDashboard(t, []string{"--history", "file://h.db", "--allow-empty"})
	var seen []byte
	for seen == nil {
		if b, err := os.ReadFile("page"); err == nil {
			seen = b
			break
		}
		select {
		case <-t.Context().Done():
			t.Fatal("no browser was opened")
		case <-time.After(10 * time.Millisecond):
		}
	}
	args, err := os.ReadFile("args")
	if err != nil {
		t.Fatal(err)
	}
	mode, err := os.ReadFile("mode")
	if err != nil {
		t.Fatal(err)
	}
	file := strings.TrimSpace(string(args))
	if strings.Contains(file, "token") || !strings.HasPrefix(string(mode), "-rw-------") || !strings.Contains(string(seen), p.base+"?token=") {
		t.Errorf("it got %q, which is %s: %s", file, mode, seen)
	}
	p.stop()
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file of the browser is still there: %v", err)
	}
}

func runForError(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out strings.Builder
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	code := Run(ctx, append([]string{"dashboard", "--no-open", "--port", "0"}, args...), Streams{In: strings.NewReader(""), Out: &out, Err: &out}, []aurora.Migration{})
	return code, out.String()
}

func TestDashboardRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("migrations", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--history", "file://h.db", "--allow-empty", "--listen", "0.0.0.0"}, "AURORA_DASHBOARD_TOKEN"},
		{[]string{"--history", "file://h.db", "--allow-empty", "--listen", "::"}, "everybody who reaches"},
		{[]string{"--history", "file://h.db", "--allow-empty", "--profile", "prod"}, "exclude --env"},
		{[]string{"--history", "file://h.db", "--allow-empty", "--jwt-issuer", "https://idp"}, "audience"},
		{[]string{"--history", "file://h.db", "--allow-empty", "--host", "db.example.com"}, "--host is for a dashboard that others can reach"},
		{[]string{"--history", "file://h.db", "--allow-empty", "--jwt-issuer", "http://idp.example.com", "--jwt-audience", "a"}, "https://"},
	} {
		code, out := runForError(t, tt.args...)
		if code != ExitUsage || !strings.Contains(out, tt.want) {
			t.Errorf("%q: %d, %s", tt.args, code, out)
		}
	}
	t.Setenv("AURORA_DASHBOARD_TOKEN", "short")
	if code, out := runForError(t, "--history", "file://h.db", "--allow-empty"); code != ExitUsage || !strings.Contains(out, "too short") || strings.Contains(out, "token=") {
		t.Errorf("a short token: %d, %s", code, out)
	}
}

// awsHome hides this machine's AWS configuration and writes another.
func awsHome(t *testing.T, config string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL",
	} {
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", dir)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
}

// A cloud is a stand-in for Lambda and for tags, with functions by name. What
// it is told to run, it runs.
type cloud struct {
	t         *testing.T
	functions []string
	handle    func(lambdahandler.Event) (any, error)

	mu     sync.Mutex
	events []lambdahandler.Event
	wg     sync.WaitGroup
}

func newCloud(t *testing.T, table *dynamotest.Proxy, functions ...string) *cloud {
	c := &cloud{t: t, functions: functions}
	server := httptest.NewServer(c)
	t.Cleanup(func() { server.Close(); c.wg.Wait() })
	t.Setenv("AWS_ENDPOINT_URL_LAMBDA", server.URL)
	t.Setenv("AWS_ENDPOINT_URL_RESOURCE_GROUPS_TAGGING_API", server.URL+"/tags")
	t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", table.URL)
	return c
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := func(v any) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			c.t.Error(err)
		}
	}
	rest, _ := strings.CutPrefix(r.URL.Path, "/2015-03-31/functions")
	switch {
	case r.URL.Path == "/tags":
		answer(map[string]any{})
	case rest == "" || rest == "/":
		var list []map[string]string
		for _, f := range c.functions {
			list = append(list, map[string]string{"FunctionName": f})
		}
		answer(map[string]any{"Functions": list})
	case strings.HasSuffix(rest, "/configuration"):
		answer(map[string]any{"Runtime": "provided.al2023", "Environment": map[string]any{"Variables": map[string]string{"AURORA_ENV": "prod"}}})
	case strings.HasSuffix(rest, "/invocations"):
		body, err := io.ReadAll(r.Body)
		if err != nil {
			c.t.Error(err)
		}
		e, err := lambdahandler.ParseEvent(body)
		if err != nil {
			c.t.Error(err)
		}
		c.mu.Lock()
		c.events = append(c.events, e)
		c.mu.Unlock()
		if r.Header.Get("X-Amz-Invocation-Type") == "Event" {
			c.wg.Go(func() {
				if _, err := c.handle(e); err != nil {
					c.t.Error(err)
				}
			})
			w.WriteHeader(http.StatusAccepted)
			return
		}
		v, err := c.handle(e)
		if err != nil {
			c.t.Error(err)
		}
		answer(v)
	default:
		c.t.Errorf("nobody expected %s %s", r.Method, r.URL)
	}
}

// createTable makes a table that is found by its name, and only by one test.
func createTable(t *testing.T, proxy *dynamotest.Proxy, name string) *dynamo.Store {
	t.Helper()
	client := dynamotest.Client(proxy.URL)
	store, err := dynamo.Open(t.Context(), dynamo.Config{Table: name, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: aws.String(name)}); err != nil {
			t.Error(err)
		}
	})
	return store
}

const keysConfig = "[profile %s]\nregion = eu-central-1\naws_access_key_id = AKID\naws_secret_access_key = s3cr3tkey\n"

// The dashboard of an account: the table is read with the caller's rights, and
// the function does what is asked for.
func TestDashboardOfAccount(t *testing.T) {
	proxy := dynamotest.NewProxy(t)
	awsHome(t, fmt.Sprintf(keysConfig, "shop"))
	const name = "shop-MigrationsTable-x"
	store := createTable(t, proxy, name)
	done := func(context.Context, *aurora.Env) error { return nil }
	m := []aurora.Migration{{Version: "1", Name: "first", Up: goSteps(done), Down: goSteps(done)}, {Version: "2", Name: "second", Up: goSteps(done), Down: goSteps(done)}}
	c := newCloud(t, proxy, "other", "shop-MigrationFnFunction-x")
	handler := lambdahandler.New(lambdahandler.Config{Open: func(context.Context) (*lambdahandler.Project, error) {
		return &lambdahandler.Project{Runner: aurora.Runner{Store: store, Migrations: m, Holder: aurora.Holder{Runtime: "lambda"}}, Close: func(context.Context) error { return nil }}, nil
	}})
	c.handle = func(e lambdahandler.Event) (any, error) {
		payload, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		out, err := handler.Invoke(ctx, payload)
		return json.RawMessage(out), err
	}
	p := startDashboard(t, nil)
	var session struct {
		Store, Runtime, Target, Env, User string
		Protected, KnowsFiles             bool
	}
	p.get("api/session", &session)
	if me := aurora.CurrentHolder(""); session.User != me.User+"@"+me.Host {
		t.Errorf("who asks is %q", session.User)
	}
	for _, said := range []string{"table " + name + ", found by its name only", "function shop-MigrationFnFunction-x, found by its name only"} {
		if !strings.Contains(p.said, said) {
			t.Errorf("it did not say %q: %s", said, p.said)
		}
	}
	if session.Store != "dynamodb" || session.Runtime != "lambda" || !session.KnowsFiles || !session.Protected || !strings.Contains(session.Target, name) || !strings.Contains(session.Target, "MigrationFnFunction") {
		t.Errorf("%+v", session)
	}
	var sum dashboardSummary
	if p.get("api/migrations/summary", &sum); sum.Pending != 2 {
		t.Fatalf("%+v", sum)
	}
	if code := p.do(http.MethodPost, "api/up", map[string]string{"reason": "release"}, nil); code != http.StatusAccepted {
		t.Fatal(code)
	}
	if sum = p.wait(); sum.Completed != 2 {
		t.Fatalf("%+v", sum)
	}
	var plan struct{ Target, Head, Confirm string }
	p.get("api/plan?direction=down&through="+url.QueryEscape("1_first"), &plan)
	body := map[string]string{"target": plan.Target, "expectedHead": plan.Head, "confirm": plan.Confirm, "reason": "undo"}
	if code := p.do(http.MethodPost, "api/rollback", body, nil); code != http.StatusAccepted {
		t.Fatal(code)
	}
	if sum = p.wait(); sum.RolledBack != 2 {
		t.Fatalf("%+v", sum)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.events) != 3 || c.events[0].Command != lambdahandler.List || c.events[2].Direction != aurora.Down || c.events[2].To != "0" || c.events[2].Reason != "undo" || c.events[2].By != session.User || c.events[2].ExpectedHead != plan.Head {
		t.Errorf("%+v", c.events)
	}
}

func TestDashboardOfAccountRefuses(t *testing.T) {
	proxy := dynamotest.NewProxy(t)
	awsHome(t, fmt.Sprintf(keysConfig, "a")+fmt.Sprintf(keysConfig, "b"))
	c := newCloud(t, proxy)
	c.handle = func(lambdahandler.Event) (any, error) { return nil, errors.New("it was invoked") }
	proxy.Fail(dynamotest.Fault{Op: "ListTables", Kind: dynamotest.Denied, Times: -1})
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "name one with --profile"},
		{[]string{"--profile", "nobody"}, "there are: a, b"},
		{[]string{"--profile", "a"}, "name it with --table-name"},
	} {
		code, out := runForError(t, tt.args...)
		if code != ExitUsage || !strings.Contains(out, tt.want) || strings.Contains(out, "s3cr3tkey") {
			t.Errorf("%q: %d, %s", tt.args, code, out)
		}
	}
}

// httptestPortal is a stand-in for the portal that gives credentials for a
// signed-in session. They have expired at once, so that they are
// asked for every time.
func httptestPortal(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		err := json.NewEncoder(w).Encode(map[string]any{"roleCredentials": map[string]any{
			"accessKeyId": "AKIDSSO", "secretAccessKey": "s", "sessionToken": "t", "expiration": time.Now().Add(-time.Second).UnixMilli(),
		}})
		if err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

const ssoConfig = `
[profile keys]
region = eu-central-1
aws_access_key_id = AKID
aws_secret_access_key = s3cr3tkey
[profile prod]
sso_session = corp
sso_account_id = 111122223333
sso_role_name = Admin
region = eu-central-1
[sso-session corp]
sso_start_url = https://corp.awsapps.com/start
sso_region = us-east-1
`

// ssoToken returns where the session "corp" is kept, and a valid one.
func ssoToken(t *testing.T) (path, text string) {
	t.Helper()
	sum := sha1.Sum([]byte("corp"))
	text = fmt.Sprintf(`{"accessToken":"tok","expiresAt":"%s","region":"us-east-1","startUrl":"https://corp.awsapps.com/start"}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	return filepath.Join(os.Getenv("HOME"), ".aws", "sso", "cache", hex.EncodeToString(sum[:])+".json"), text
}

// The sign-in expires while somebody looks: the page is told what to do, and
// goes on when that is done.
func TestDashboardSignInExpires(t *testing.T) {
	proxy := dynamotest.NewProxy(t)
	awsHome(t, ssoConfig)
	newCloud(t, proxy)
	t.Setenv("AWS_ENDPOINT_URL_SSO", httptestPortal(t))
	createTable(t, proxy, "expires-MigrationsTable")
	path, text := ssoToken(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	signIn := func() {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	signIn()
	p := startDashboard(t, []string{"--profile", "prod"})
	var v struct{ Code, Detail, Hint string }
	p.get("api/lock", &v)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if code := p.do(http.MethodGet, "api/lock", nil, &v); code != http.StatusServiceUnavailable || v.Code != "store_unavailable" || v.Hint != "sign in again with: aws sso login --profile prod" {
		t.Errorf("%d %+v", code, v)
	}
	signIn()
	p.get("api/lock", &v)
}

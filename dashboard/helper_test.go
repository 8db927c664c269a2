package dashboard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dashboard"
	"github.com/aurora-migrate/aurora/filestore"
)

// A site is a dashboard that is served, with a browser.
type site struct {
	t      *testing.T
	url    string
	client *http.Client
	csrf   string
	local  *dashboard.Local
	store  aurora.Store
}

var pages = fstest.MapFS{
	"index.html":       {Data: []byte("<!doctype html><title>aurora</title>")},
	"assets/app-12.js": {Data: []byte(strings.Repeat("console.log(1);\n", 200))},
}

func openFile(t *testing.T) *filestore.Store { return openFileIn(t) }

func openFileIn(t testing.TB) *filestore.Store {
	t.Helper()
	store, err := filestore.Open(filestore.Config{Path: filepath.Join(t.TempDir(), "history.db")})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// newSite serves a dashboard and signs in.
func newSite(t *testing.T, cfg dashboard.Config) *site {
	t.Helper()
	s := serve(t, cfg)
	if cfg.Auth.Token == "" {
		s.signIn()
	}
	return s
}

const onceToken = "once-0123456789-0123456789"

// serve serves a dashboard to which nobody is signed in.
func serve(t *testing.T, cfg dashboard.Config) *site {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	host := server.Listener.Addr().String()
	if cfg.Hosts == nil {
		cfg.Hosts = []string{host}
	}
	if cfg.Auth.Token == "" && cfg.Auth.JWT == nil && cfg.Auth.Identify == nil && cfg.Auth.Once == "" {
		cfg.Auth.Once = onceToken
	}
	if cfg.Files == nil {
		cfg.Files = pages
	}
	handler, err := dashboard.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = handler
	server.Start()
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &site{t: t, url: "http://" + host, client: client, local: cfg.Local, store: cfg.Store}
}

func (s *site) signIn() {
	s.t.Helper()
	resp, _ := s.do(s.request(http.MethodGet, "/?token="+onceToken, ""))
	if resp.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("sign in: %s", resp.Status)
	}
	var session struct{ CSRF string }
	s.get("/api/session", &session)
	s.csrf = session.CSRF
}

func (s *site) request(method, path, body string) *http.Request {
	s.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, r)
	if err != nil {
		s.t.Fatal(err)
	}
	if method != http.MethodGet {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Aurora-CSRF", s.csrf)
		req.Header.Set("Origin", s.url)
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	return req
}

func (s *site) do(req *http.Request) (*http.Response, []byte) {
	s.t.Helper()
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, body
}

// get reads JSON that is there.
func (s *site) get(path string, v any) {
	s.t.Helper()
	resp, body := s.do(s.request(http.MethodGet, path, ""))
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		s.t.Fatalf("GET %s: %s %s", path, resp.Status, body)
	}
	if err := json.Unmarshal(body, v); err != nil {
		s.t.Fatalf("GET %s: %v in %s", path, err, body)
	}
}

// A problem is what an error looks like.
type problem struct {
	Status    int
	Code      string
	Detail    string
	Login     string
	Head      string
	Confirm   string
	Migration string
}

// refused sends a request that must be refused with a code.
func (s *site) refused(req *http.Request, status int, code string) problem {
	s.t.Helper()
	resp, body := s.do(req)
	var p problem
	if err := json.Unmarshal(body, &p); err != nil {
		s.t.Fatalf("%s %s: %s, and no problem: %s", req.Method, req.URL, resp.Status, clipped(body))
	}
	if resp.StatusCode != status || p.Status != status || p.Code != code || p.Detail == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
		s.t.Fatalf("%s %s: %s %s, want %d %s", req.Method, req.URL, resp.Status, clipped(body), status, code)
	}
	return p
}

func clipped(b []byte) string { return string(b[:min(len(b), 500)]) }

func (s *site) post(path string, body any) *http.Request {
	s.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.request(http.MethodPost, path, string(b))
}

// start starts a run, and waits for its end if it is in this process.
func (s *site) start(path string, body any) string {
	s.t.Helper()
	resp, out := s.do(s.post(path, body))
	var accepted struct{ ExecutionID string }
	if err := json.Unmarshal(out, &accepted); err != nil || resp.StatusCode != http.StatusAccepted || accepted.ExecutionID == "" {
		s.t.Fatalf("POST %s: %s %s", path, resp.Status, out)
	}
	s.wait()
	return accepted.ExecutionID
}

// wait waits for the run in this process.
func (s *site) wait() {
	s.t.Helper()
	for s.local != nil && s.local.Running() {
		select {
		case <-s.t.Context().Done():
			s.t.Fatal("the run did not end")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// A plain is a store that is nothing more, whose histories anybody can fill.
func sqlSteps(id string, statements ...string) []aurora.Step {
	out := make([]aurora.Step, len(statements))
	for i, s := range statements {
		out[i] = aurora.Statement{SQL: s, File: id + ".sql", Line: i + 1}
	}
	return out
}

// A recordingDatabase takes every statement but those with the word BROKEN.
type recordingDatabase struct {
	mu   sync.Mutex
	sent []string
}

func (d *recordingDatabase) Exec(_ context.Context, s aurora.Statement) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent = append(d.sent, s.SQL)
	if strings.Contains(s.SQL, "BROKEN") {
		return errors.New("this is broken")
	}
	return nil
}

func (d *recordingDatabase) Check(context.Context, aurora.Check) error { return nil }

// A directory is a set of migrations that tests change.
type directory struct {
	mu         sync.Mutex
	migrations []aurora.Migration
}

func (d *directory) load(context.Context) ([]aurora.Migration, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.migrations), nil
}

func (d *directory) set(migrations ...aurora.Migration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.migrations = migrations
}

func migration(version, name string, up ...string) aurora.Migration {
	id := version + "_" + name
	return aurora.Migration{
		Version: version, Name: name, Source: id + ".sql", Checksum: aurora.Checksum(strings.Join(up, ";")),
		Up: sqlSteps(id, up...), Down: sqlSteps(id+".down", "DROP "+name),
	}
}

// project is a dashboard with a directory, a history in a file, and runs in
// this process.
func project(t *testing.T, d *directory, change func(*dashboard.Config)) *site {
	t.Helper()
	store, db := openFile(t), &recordingDatabase{}
	local := &dashboard.Local{Open: func(context.Context, aurora.Request) (*aurora.Runner, func(context.Context) error, error) {
		migrations, err := d.load(t.Context())
		return &aurora.Runner{Store: store, Database: db, Migrations: migrations, Holder: aurora.Holder{Host: "h", User: "ada"}, LockTimeout: -1},
			func(context.Context) error { return nil }, err
	}}
	cfg := dashboard.Config{Store: store, Migrations: d.load, Local: local, Project: "shop", Env: "prod", StoreKind: "file", Version: "v1"}
	if change != nil {
		change(&cfg)
	}
	s := newSite(t, cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := local.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func query(values ...string) string {
	q := url.Values{}
	for i := 0; i < len(values); i += 2 {
		q.Set(values[i], values[i+1])
	}
	return "?" + q.Encode()
}

func contains(b []byte, text string) bool { return bytes.Contains(b, []byte(text)) }

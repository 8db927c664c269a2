package dashboard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/dashboard"
)

func TestNewRefusesToBeOpen(t *testing.T) {
	once, token := dashboard.NewToken(), dashboard.NewToken()
	jwt := &dashboard.JWT{Issuer: "https://idp.example.com", Audience: "aurora"}
	for name, tt := range map[string]struct {
		cfg  dashboard.Config
		want string
	}{
		"no store":           {dashboard.Config{Auth: dashboard.Auth{Token: token}}, "needs a store"},
		"nothing":            {dashboard.Config{Store: new(auroratest.Memory)}, "an open dashboard is refused"},
		"short token":        {dashboard.Config{Store: new(auroratest.Memory), Auth: dashboard.Auth{Token: "secret"}}, "too short"},
		"once for all hosts": {dashboard.Config{Store: new(auroratest.Memory), Auth: dashboard.Auth{Once: once}}, "needs the hosts"},
		"once for others":    {dashboard.Config{Store: new(auroratest.Memory), Auth: dashboard.Auth{Once: once}, Hosts: []string{"127.0.0.1:1", "example.com"}}, "example.com"},
		"no audience":        {dashboard.Config{Store: new(auroratest.Memory), Auth: dashboard.Auth{JWT: &dashboard.JWT{Issuer: "https://idp"}}}, "audience"},
		"keys by http":       {dashboard.Config{Store: new(auroratest.Memory), Auth: dashboard.Auth{JWT: &dashboard.JWT{Issuer: "http://idp.example.com", Audience: "a"}}}, "https://"},
		"token":              {dashboard.Config{Store: new(auroratest.Memory), Auth: dashboard.Auth{Token: token}}, ""},
		"jwt":                {dashboard.Config{Store: new(auroratest.Memory), Auth: dashboard.Auth{JWT: jwt}}, ""},
		"once":               {dashboard.Config{Store: new(auroratest.Memory), Auth: dashboard.Auth{Once: once}, Hosts: []string{"localhost:1", "[::1]:1"}}, ""},
	} {
		_, err := dashboard.New(tt.cfg)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// endpoints are all of the API that a session is needed for.
var endpoints = []struct{ method, path string }{
	{"GET", "/api/session"}, {"GET", "/api/migrations"}, {"GET", "/api/migrations/summary"}, {"GET", "/api/migrations/1_users"},
	{"GET", "/api/migrations/1_users/attempts/x"}, {"GET", "/api/executions"}, {"GET", "/api/executions/x"}, {"GET", "/api/lock"},
	{"GET", "/api/plan?direction=down"}, {"GET", "/api/events"}, {"GET", "/api/events?poll=1"}, {"POST", "/api/up"}, {"POST", "/api/rollback"},
	{"DELETE", "/api/session"}, {"GET", "/api/nothing"}, {"PUT", "/api/nothing"},
}

func TestNobodyIsLetInWithoutASession(t *testing.T) {
	store := new(auroratest.Memory)
	s := serve(t, dashboard.Config{Store: store, Start: func(context.Context, aurora.Request) error { t.Error("started"); return nil }})
	for _, e := range endpoints {
		req := s.request(e.method, e.path, "{}")
		if p := s.refused(req, http.StatusUnauthorized, "unauthorized"); p.Login != "link" {
			t.Errorf("%s: login is %q", e.path, p.Login)
		}
		req = s.request(e.method, e.path, "{}")
		req.Header.Set("Authorization", "Bearer "+onceToken)
		req.AddCookie(&http.Cookie{Name: "aurora_dashboard_" + port(s), Value: "99999999999.x.0000"})
		s.refused(req, http.StatusUnauthorized, "unauthorized")
	}
	if n := store.Calls(auroratest.OpLatest) + store.Calls(auroratest.OpRead); n != 0 {
		t.Errorf("the history was read %d times", n)
	}
	// The pages themselves hold nothing, and may be seen.
	if resp, body := s.do(s.request("GET", "/", "")); resp.StatusCode != 200 || !contains(body, "aurora") {
		t.Errorf("%s %s", resp.Status, body)
	}
}

func port(s *site) string {
	u, _ := url.Parse(s.url)
	return u.Port()
}

func TestOnceTokenWorksOnce(t *testing.T) {
	s := newSite(t, dashboard.Config{Store: new(auroratest.Memory)})
	resp, _ := s.do(s.request("GET", "/?token="+onceToken, ""))
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "./" || resp.Header.Get("Set-Cookie") != "" {
		t.Errorf("the same browser again: %s, %v", resp.Status, resp.Header)
	}
	other := *s
	other.client = &http.Client{CheckRedirect: s.client.CheckRedirect}
	other.client.Jar, _ = cookiejar.New(nil)
	if resp, _ := other.do(other.request("GET", "/?token="+onceToken, "")); resp.Header.Get("Set-Cookie") != "" {
		t.Error("another browser got a session")
	}
	other.refused(other.post("/api/session", map[string]string{"token": onceToken}), http.StatusUnauthorized, "unauthorized")
	other.refused(other.request("GET", "/api/session", ""), http.StatusUnauthorized, "unauthorized")
	u, _ := url.Parse(s.url)
	if cookies := s.client.Jar.Cookies(u); len(cookies) != 1 || cookies[0].Name != "aurora_dashboard_"+u.Port() {
		t.Errorf("cookies %v", cookies)
	}
}

func TestCookieIsStrict(t *testing.T) {
	s := serve(t, dashboard.Config{Store: new(auroratest.Memory)})
	resp, _ := s.do(s.request("GET", "/?token="+onceToken, ""))
	if c := resp.Header.Get("Set-Cookie"); !strings.Contains(c, "; HttpOnly") || !strings.Contains(c, "; SameSite=Strict") || strings.Contains(c, onceToken) {
		t.Errorf("cookie %s", c)
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	csp := resp.Header.Get("Content-Security-Policy")
	if strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("policy %s", csp)
	}
}

// A proxy may put its own Host into requests; then the page's origin is one of
// the names that were configured, and no other.
func TestBehindAProxyThatReplacesHost(t *testing.T) {
	const token = "a-token-of-enough-characters"
	auth := dashboard.Auth{Token: token}
	s := serve(t, dashboard.Config{Store: new(auroratest.Memory), Auth: auth, Hosts: []string{"db.example.com", "inner:8080"}})
	all := serve(t, dashboard.Config{Store: new(auroratest.Memory), Auth: auth, Hosts: []string{}})
	post := func(s *site, origin string) *http.Request {
		req := s.post("/api/up", map[string]string{})
		req.Host = "inner:8080"
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Origin", origin)
		return req
	}
	s.refused(post(s, "https://db.example.com"), http.StatusConflict, "read_only") // it came through
	for _, origin := range []string{"https://evil.example", "https://db.example.com.evil.example", "https://db.example.com:1", "null"} {
		s.refused(post(s, origin), http.StatusForbidden, "cross_origin")
	}
	// Without names nobody can tell.
	all.refused(post(all, "https://db.example.com"), http.StatusForbidden, "cross_origin")
}

// A page of another site whose name leads to this machine (DNS rebinding)
// sends its own name as the host, and the browser takes it for same-origin.
func TestOtherHostsAreRefused(t *testing.T) {
	s := newSite(t, dashboard.Config{Store: new(auroratest.Memory)})
	for _, host := range []string{"evil.example", "evil.example:" + port(s), "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:" + port(s), "127.0.0.1:" + port(s) + ".evil.example"} {
		for _, path := range []string{"/", "/?token=" + onceToken, "/api/session", "/api/migrations"} {
			req := s.request("GET", path, "")
			req.Host = host
			req.Header.Set("Sec-Fetch-Site", "same-origin")
			s.refused(req, http.StatusForbidden, "bad_host")
		}
	}
}

func TestOtherSitesAreRefused(t *testing.T) {
	started := 0
	store := new(auroratest.Memory)
	s := newSite(t, dashboard.Config{Store: store, Start: func(context.Context, aurora.Request) error { started++; return nil }})
	for _, headers := range []map[string]string{
		{"Origin": "https://evil.example"},
		{"Origin": "null"},
		{"Origin": "http://127.0.0.1:1"},
		{"Origin": s.url + ".evil.example"},
		{"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
		{"Sec-Fetch-Site": "cross-site"},
		{"Sec-Fetch-Site": "same-site"}, // another port of this machine
	} {
		for _, e := range endpoints {
			req := s.request(e.method, e.path, "{}")
			req.Header.Del("Origin")
			req.Header.Del("Sec-Fetch-Site")
			for k, v := range headers {
				req.Header.Set(k, v)
			}
			s.refused(req, http.StatusForbidden, "cross_origin")
		}
	}
	for _, csrf := range []string{"", "header", "0", strings.Repeat("0", 64)} {
		for _, path := range []string{"/api/up", "/api/rollback"} {
			req := s.post(path, map[string]string{})
			req.Header.Set("X-Aurora-CSRF", csrf)
			s.refused(req, http.StatusForbidden, "csrf")
		}
	}
	// What a form of another site can send.
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""} {
		req := s.post("/api/rollback", map[string]string{})
		req.Header.Set("Content-Type", kind)
		s.refused(req, http.StatusUnsupportedMediaType, "unsupported_media_type")
	}
	for _, method := range []string{"PUT", "PATCH", "DELETE", "GET", "OPTIONS", "TRACE"} {
		resp, _ := s.do(s.request(method, "/api/rollback", ""))
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "POST" || resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %s, %v", method, resp.Status, resp.Header)
		}
	}
	if started != 0 {
		t.Errorf("%d runs were started", started)
	}
}

func TestOddPaths(t *testing.T) {
	s := newSite(t, dashboard.Config{Store: new(auroratest.Memory)})
	for _, path := range []string{
		"/..%2f..%2fetc/passwd", "/%2e%2e/etc/passwd", "/assets/../../etc/passwd", "/assets/..%2f..%2fdashboard.go", "//etc/passwd", "/\\etc\\passwd",
		"/assets/", "/assets", "/index.html/", "/.", "/assets/app-12.js%00.png", "/api//migrations", "/api/migrations/../../", "/api/%2e%2e/index.html", "/C:/windows/win.ini",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		// A client would tidy the path.
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, strings.TrimPrefix(s.url, "http://")); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		status := strings.SplitN(string(answer), "\r\n", 2)[0]
		if !strings.Contains(status, " 404 ") && !strings.Contains(status, " 400 ") && !strings.Contains(status, " 401 ") {
			t.Errorf("%s: %s", path, status)
		}
		_ = conn.Close()
	}
	// IDs are never paths.
	for _, id := range []string{"..%2F..%2Fetc%2Fpasswd", "%00", "a%2Fb", "%3Cscript%3E", strings.Repeat("x", 5000)} {
		s.refused(s.request("GET", "/api/migrations/"+id, ""), http.StatusNotFound, "not_found")
		s.refused(s.request("GET", "/api/executions/"+id, ""), http.StatusNotFound, "not_found")
	}
}

// A body that never ends must not be read to its end.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestLargeBodies(t *testing.T) {
	s := newSite(t, dashboard.Config{Store: new(auroratest.Memory), Start: func(context.Context, aurora.Request) error { t.Error("started"); return nil }})
	big, err := json.Marshal(map[string]string{"reason": strings.Repeat("x", 10<<20)})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/api/rollback", "/api/up", "/api/session"} {
		for _, asksFirst := range []bool{false, true} {
			req := s.request("POST", path, string(big))
			if asksFirst { // whether the body is wanted
				req.Header.Set("Expect", "100-continue")
			}
			resp, err := s.client.Do(req)
			if err != nil {
				if asksFirst { // otherwise the server may hang up while the client still sends
					t.Error(err)
				}
				continue
			}
			if resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("%s: %s", path, resp.Status)
			}
			_ = resp.Body.Close()
		}
	}
	handler, err := dashboard.New(dashboard.Config{Store: new(auroratest.Memory), Auth: dashboard.Auth{Token: onceToken}, Start: func(context.Context, aurora.Request) error { t.Error("started"); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	for _, announced := range []int64{-1, 10 << 20} {
		body := &endless{}
		req := httptest.NewRequest("POST", "/api/rollback", body)
		req.ContentLength = announced
		req.Header.Set("Authorization", "Bearer "+onceToken)
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		if w.Code != http.StatusRequestEntityTooLarge || announced > 0 && body.read > 0 || body.read > 256<<10 {
			t.Errorf("a body of %d bytes: %d after reading %d", announced, w.Code, body.read)
		}
	}
	for _, body := range []string{"", "null x", "[]", `{"target":1}`, `{"unknown":"x"}`, `{}{}`} {
		resp, out := s.do(s.request("POST", "/api/rollback", body+" "))
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %s %s", body, resp.Status, out)
		}
	}
	s.refused(s.post("/api/rollback", map[string]string{"reason": strings.Repeat("x", 4001)}), http.StatusUnprocessableEntity, "reason_too_long")
}

// Names, descriptions and logs of a hostile migration come out as JSON strings
// without a character that HTML knows, and links only as http(s).
func TestScriptsInNames(t *testing.T) {
	evil := `<script>alert(1)</script><img src=x onerror=alert(1)>"'&` + "\u2028\u202e"
	store := new(auroratest.Memory)
	m := aurora.Migration{Version: "1", Name: evil, Description: evil, Checksum: "c", Up: []aurora.Step{aurora.Func{Name: evil, Do: func(_ context.Context, env *aurora.Env) error {
		env.Log.Info(evil)
		return fmt.Errorf("failed: %s postgres://ada:sesame123@db.example.com/app?sslpassword=tops3cret", evil)
	}}}}
	r := aurora.Runner{Store: store, Migrations: []aurora.Migration{m}, Holder: aurora.Holder{User: evil, Link: "javascript:alert(1)"}}
	e, err := r.Run(t.Context(), aurora.Request{})
	if err == nil {
		t.Fatal("it did not fail")
	}
	s := newSite(t, dashboard.Config{
		Store: store, Migrations: func(context.Context) ([]aurora.Migration, error) { return []aurora.Migration{m}, nil },
		Target: "postgres://ada:sesame123@db.example.com/app", Hide: func(s string) string { return strings.ReplaceAll(s, "alert", "xxxxx") },
	})
	id := url.PathEscape(m.ID())
	for _, path := range []string{
		"/api/session", "/api/migrations", "/api/migrations/summary", "/api/migrations/" + id, "/api/migrations/" + id + "/attempts/" + e.ID,
		"/api/executions", "/api/executions/" + e.ID, "/api/plan?direction=up", "/api/events?poll=1", "/api/migrations/" + id + "x", "/api/migrations?status=" + url.QueryEscape(evil),
	} {
		resp, body := s.do(s.request("GET", path, ""))
		if bytes.ContainsAny(body, "<>&") || !json.Valid(body) || !strings.Contains(resp.Header.Get("Content-Type"), "json") {
			t.Errorf("%s: %s", path, clipped(body))
		}
		for _, secret := range []string{"sesame123", "tops3cret", "javascript:"} {
			if contains(body, secret) {
				t.Errorf("%s tells %s: %s", path, secret, body)
			}
		}
	}
	var detail struct {
		Attempts []struct{ Name, Error, Output string }
	}
	s.get("/api/migrations/"+id, &detail)
	if a := detail.Attempts[0]; a.Name != evil || !strings.Contains(a.Output, "<script>xxxxx") || !strings.Contains(a.Error, "postgres://ada:xxxxx@db") {
		t.Errorf("%+v", a)
	}
}

func TestStaticToken(t *testing.T) {
	var got []aurora.Request
	store := new(auroratest.Memory)
	cfg := dashboard.Config{
		Store: store, Auth: dashboard.Auth{Token: "a-token-of-enough-characters"},
		Migrations: func(context.Context) ([]aurora.Migration, error) {
			return []aurora.Migration{migration("1", "a", "x")}, nil
		},
		Start: func(_ context.Context, r aurora.Request) error { got = append(got, r); return nil },
	}
	s := serve(t, cfg)
	if p := s.refused(s.request("GET", "/api/session", ""), http.StatusUnauthorized, "unauthorized"); p.Login != "token" {
		t.Error(p)
	}
	s.csrf = "login"
	s.refused(s.post("/api/session", map[string]string{"token": "wrong"}), http.StatusUnauthorized, "unauthorized")
	req := s.post("/api/session", map[string]string{"token": cfg.Auth.Token})
	req.Header.Del("X-Aurora-CSRF")
	s.refused(req, http.StatusForbidden, "csrf")
	if resp, _ := s.do(s.post("/api/session", map[string]string{"token": cfg.Auth.Token})); resp.StatusCode != http.StatusNoContent {
		t.Fatal(resp.Status)
	}
	var session struct{ CSRF string }
	s.get("/api/session", &session)
	// Another process with the same token knows the session: Lambda starts many.
	again, err := dashboard.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(s.url)
	r := httptest.NewRequest("GET", s.url+"/api/session", nil)
	for _, c := range s.client.Jar.Cookies(u) {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	again.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("another process: %d %s", w.Code, w.Body)
	}
	s.refused(s.post("/api/up", map[string]string{}), http.StatusForbidden, "csrf")
	s.csrf = session.CSRF
	if resp, body := s.do(s.post("/api/up", map[string]string{})); resp.StatusCode != http.StatusAccepted {
		t.Errorf("%s %s", resp.Status, body)
	}
	// Programs send the token itself, and need nothing else.
	s.client.Jar, _ = cookiejar.New(nil)
	req = s.post("/api/up", map[string]string{})
	req.Header.Del("X-Aurora-CSRF")
	req.Header.Set("Authorization", "Bearer "+cfg.Auth.Token)
	s.refused(req, http.StatusConflict, "busy")
	if len(got) != 1 || got[0].To != "1" || got[0].ExecutionID == "" {
		t.Errorf("%+v", got)
	}
	s.csrf = session.CSRF
}

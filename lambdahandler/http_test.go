package lambdahandler_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/lambdahandler"
)

// echo tells what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s\npath %q query %v\nhost %s\nlength %d\nbody %q\n", r.Method, r.RequestURI, r.URL.Path, r.URL.Query(), r.Host, r.ContentLength, body)
	var names []string
	for name := range r.Header {
		if !strings.HasPrefix(name, "X-Forwarded") && name != "X-Amzn-Trace-Id" && name != "User-Agent" && name != "Accept-Encoding" && name != "Content-Length" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		// API Gateway joins lines of the same name.
		fmt.Fprintf(w, "%s: %s\n", name, strings.Join(r.Header[name], ","))
	}
	for _, c := range r.Cookies() {
		fmt.Fprintf(w, "cookie %s=%s\n", c.Name, c.Value)
	}
}

func serveEvent(t *testing.T, h http.Handler, payload []byte) events.APIGatewayV2HTTPResponse {
	t.Helper()
	b, err := lambdahandler.HTTP(h).Invoke(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	var res events.APIGatewayV2HTTPResponse
	if err := json.Unmarshal(b, &res); err != nil {
		t.Fatal(err)
	}
	return res
}

// The events are of the form in the AWS documentation.
func TestHTTPEvents(t *testing.T) {
	files, err := filepath.Glob("testdata/http/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d events: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			payload, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(strings.TrimSuffix(file, ".json") + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), serveEvent(t, http.HandlerFunc(echo), payload).Body); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// eventOf is the event that API Gateway makes of a request.
func eventOf(r *http.Request, body []byte) []byte {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	e := events.APIGatewayV2HTTPRequest{
		Version: "2.0", RouteKey: "$default", RawPath: path, RawQueryString: query, Headers: map[string]string{"host": r.Host},
		Body: string(body), RequestContext: events.APIGatewayV2HTTPRequestContext{
			Stage: "$default", DomainName: r.Host,
			HTTP: events.APIGatewayV2HTTPRequestContextHTTPDescription{Method: r.Method, Path: path, Protocol: r.Proto, SourceIP: "192.0.2.1"},
		},
	}
	if !utf8.Valid(body) {
		e.Body, e.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	for name, values := range r.Header {
		if name == "Cookie" {
			for _, v := range values {
				e.Cookies = append(e.Cookies, strings.Split(v, "; ")...)
			}
			continue
		}
		e.Headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return b
}

// Whatever is asked, the handler sees and answers the same as behind a server.
func TestHTTPParity(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/binary":
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = w.Write([]byte{0, 1, 0xff, 0xfe})
		case "/cookies":
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "1", HttpOnly: true})
			http.SetCookie(w, &http.Cookie{Name: "b", Value: "2", Path: "/"})
			w.WriteHeader(http.StatusSeeOther)
		case "/headers":
			w.Header().Add("Vary", "Accept")
			w.Header().Add("Vary", "Cookie")
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
			w.Header().Set("Too-Late", "yes")
			fmt.Fprint(w, "<html>")
		case "/unchanged":
			w.WriteHeader(http.StatusNotModified)
		case "/nothing":
		default:
			echo(w, r)
		}
	}
	var seen []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		seen = eventOf(r, body)
		handler(w, r)
	}))
	defer server.Close()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, tt := range []struct{ method, target, body string }{
		{"GET", "/", ""}, {"GET", "/api/x?a=1&a=2&b=%20+c&empty", ""}, {"GET", "/a%2Fb/c%20d/%C3%A4", ""}, {"GET", "/100%25", ""},
		{"POST", "/api/rollback", `{"target":"x"}`}, {"PUT", "/up", "\xff\x00binary"}, {"HEAD", "/api", ""}, {"DELETE", "/api/session", ""},
		{"GET", "/binary", ""}, {"GET", "/cookies", ""}, {"GET", "/headers", ""}, {"GET", "/unchanged", ""}, {"GET", "/nothing", ""}, {"GET", "//double//slash", ""},
	} {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, server.URL+tt.target, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Add("X-Two", "1")
			req.Header.Add("X-Two", "2")
			req.AddCookie(&http.Cookie{Name: "one", Value: "1"})
			req.AddCookie(&http.Cookie{Name: "two", Value: "2"})
			want, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(want.Body)
			if err != nil {
				t.Fatal(err)
			}
			got := serveEvent(t, http.HandlerFunc(handler), seen)
			gotBody := []byte(got.Body)
			if got.IsBase64Encoded {
				if gotBody, err = base64.StdEncoding.DecodeString(got.Body); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(body), string(gotBody)); diff != "" {
				t.Errorf("body (-server +lambda):\n%s", diff)
			}
			if got.StatusCode != want.StatusCode {
				t.Errorf("status %d, want %d", got.StatusCode, want.StatusCode)
			}
			if diff := cmp.Diff(want.Header["Set-Cookie"], got.Cookies); diff != "" {
				t.Errorf("cookies (-server +lambda):\n%s", diff)
			}
			wantHeader := map[string]string{}
			for name, values := range want.Header {
				if name != "Date" && name != "Content-Length" && name != "Set-Cookie" {
					wantHeader[name] = strings.Join(values, ", ")
				}
			}
			if tt.method == "HEAD" {
				delete(got.Headers, "Content-Type")
				delete(wantHeader, "Content-Type")
			}
			if diff := cmp.Diff(wantHeader, got.Headers); diff != "" {
				t.Errorf("headers (-server +lambda):\n%s", diff)
			}
		})
	}
}

func TestHTTPPanics(t *testing.T) {
	old := slog.Default()
	defer slog.SetDefault(old)
	var log bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	payload := eventOf(httptest.NewRequest("GET", "/x", nil), nil)
	res := serveEvent(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Half", "done")
		fmt.Fprint(w, "half")
		panic("oh")
	}), payload)
	if res.StatusCode != 500 || res.Headers["X-Half"] != "" || strings.Contains(res.Body, "oh") {
		t.Errorf("%+v", res)
	}
	if !strings.Contains(log.String(), "panic=oh") {
		t.Errorf("the log says %s", log.String())
	}
}

func TestHTTPRefuses(t *testing.T) {
	for payload, want := range map[string]string{
		`{}`: "requestContext.http.method is missing", `[]`: "no HTTP request", ``: "no HTTP request",
		`{"requestContext":{"http":{"method":"GET"}},"body":"%","isBase64Encoded":true}`: "not base64",
		`{"requestContext":{"http":{"method":"G T"}}}`:                                   "invalid method",
	} {
		_, err := lambdahandler.HTTP(http.NotFoundHandler()).Invoke(t.Context(), []byte(payload))
		var bad *lambdahandler.EventError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", payload, err)
		}
	}
}

// No event makes the adapter panic or answer something unreadable.
func FuzzHTTP(f *testing.F) {
	files, err := filepath.Glob("testdata/http/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	h := lambdahandler.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL == nil || !strings.HasPrefix(r.URL.Path, "/") || r.RequestURI == "" || r.Body == nil {
			f.Errorf("%+v", r)
		}
		w.Header().Set("X-Path", r.URL.Path)
		_, _ = io.Copy(w, r.Body)
	}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, err := h.Invoke(context.Background(), payload)
		var bad *lambdahandler.EventError
		if err != nil {
			if !errors.As(err, &bad) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		var e events.APIGatewayV2HTTPRequest
		var res events.APIGatewayV2HTTPResponse
		if err := errors.Join(json.Unmarshal(payload, &e), json.Unmarshal(b, &res)); err != nil {
			t.Fatal(err)
		}
		sent, got := e.Body, res.Body
		if e.IsBase64Encoded {
			raw, _ := base64.StdEncoding.DecodeString(sent)
			sent = string(raw)
		}
		if res.IsBase64Encoded {
			raw, _ := base64.StdEncoding.DecodeString(got)
			got = string(raw)
		}
		if e.RequestContext.HTTP.Method != http.MethodHead && got != sent {
			t.Fatalf("the body came back as %q, not %q", got, sent)
		}
	})
}

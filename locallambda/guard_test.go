package locallambda

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// A page in a browser neither invokes the function nor talks to its runtime.
func TestWebPagesAreRefused(t *testing.T) {
	s, err := Start(Config{Command: []string{os.Args[0]}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	w, err := startWorker(Config{Command: []string{os.Args[0], "-test.run=^$"}}, s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer w.kill()
	for path, handler := range map[string]http.Handler{
		"/2015-03-31/functions/function/invocations": s.server.Handler,
		"/2018-06-01/runtime/init/error":             w.server.Handler,
	} {
		for name, tt := range map[string]struct {
			host, header, value string
			want                bool // it gets through
		}{
			"by address":     {host: "127.0.0.1:9001", want: true},
			"by name":        {host: "localhost:9001", want: true},
			"IPv6":           {host: "[::1]:9001", want: true},
			"without a port": {host: "127.0.0.1", want: true},
			"another site":   {host: "127.0.0.1:9001", header: "Sec-Fetch-Site", value: "cross-site"},
			"an old browser": {host: "127.0.0.1:9001", header: "Origin", value: "https://example.com"},
			"no origin":      {host: "127.0.0.1:9001", header: "Origin", value: "null"},
			"its own page":   {host: "127.0.0.1:9001", header: "Origin", value: "http://127.0.0.1:9001"},
			"another name":   {host: "rebound.example.com:9001"},
			"looks alike":    {host: "127.0.0.1.example.com"},
			"no host":        {host: ""},
		} {
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}"))
			r.Host = tt.host
			r.Header.Set("X-Amz-Invocation-Type", "DryRun")
			if tt.header != "" {
				r.Header.Set(tt.header, tt.value)
			}
			rec := httptest.NewRecorder()
			handler.ServeHTTP(rec, r)
			if got := rec.Code != http.StatusForbidden; got != tt.want || got && rec.Code >= 300 {
				t.Errorf("%s, %s: %d %s", path, name, rec.Code, rec.Body)
			}
		}
	}
}

func TestLogLimit(t *testing.T) {
	s := &Server{cfg: Config{Logger: slog.New(slog.DiscardHandler)}}
	for n := range logLimit + 10 {
		s.record(Invocation{RequestID: fmt.Sprint(n)})
	}
	got := s.Invocations()
	if len(got) != logLimit || got[0].RequestID != "10" || got[logLimit-1].RequestID != fmt.Sprint(logLimit+9) {
		t.Errorf("%d invocations, from %s to %s", len(got), got[0].RequestID, got[len(got)-1].RequestID)
	}
}

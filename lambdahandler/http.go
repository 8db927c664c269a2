package lambdahandler

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

// HTTP returns a handler for Lambda that serves h behind an API Gateway HTTP
// API (payload format 2.0) or a function URL:
//
//	lambda.Start(lambdahandler.HTTP(h))
//
// Answers are sent whole, of at most 6 MB. A stage's name at the beginning of
// the path is left out. The format is described in the Lambda developer guide,
// "Invoking Lambda function URLs", and the API Gateway developer guide,
// "Create AWS Lambda proxy integrations for HTTP APIs".
func HTTP(h http.Handler) lambda.Handler { return httpHandler{h} }

type httpHandler struct{ next http.Handler }

// Invoke answers one request.
func (h httpHandler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var e events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, &EventError{"no HTTP request: " + err.Error()}
	}
	req, err := requestOf(withCaller(ctx, e.RequestContext.Authorizer), e)
	if err != nil {
		return nil, err
	}
	w := &recorder{header: http.Header{}}
	h.serve(w, req)
	return json.Marshal(w.response(req.Method))
}

// serve calls the handler. A panic ends the request, not the process.
func (h httpHandler) serve(w *recorder, r *http.Request) {
	defer func() {
		if v := recover(); v != nil {
			if err, ok := v.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				slog.ErrorContext(r.Context(), "panic while answering a request", "path", r.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
			*w = recorder{header: http.Header{}}
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		}
	}()
	h.next.ServeHTTP(w, r)
}

// requestOf makes a request as a server would.
func requestOf(ctx context.Context, e events.APIGatewayV2HTTPRequest) (*http.Request, error) {
	about := e.RequestContext.HTTP
	if about.Method == "" {
		return nil, &EventError{"no HTTP request of payload format 2.0: requestContext.http.method is missing"}
	}
	body := []byte(e.Body)
	if e.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, &EventError{"the body of the HTTP request is not base64: " + err.Error()}
		}
	}
	u := urlOf(e)
	req, err := http.NewRequestWithContext(ctx, about.Method, "/", bytes.NewReader(body))
	if err != nil {
		return nil, &EventError{"no HTTP request: " + err.Error()}
	}
	req.URL, req.RequestURI = u, u.RequestURI()
	for name, value := range e.Headers {
		req.Header.Add(name, value)
	}
	// HTTP API and function URLs take the cookies out of the headers.
	if len(e.Cookies) > 0 {
		req.Header.Set("Cookie", strings.Join(e.Cookies, "; "))
	}
	req.Host = cmp.Or(req.Header.Get("Host"), e.RequestContext.DomainName)
	req.Header.Del("Host")
	if about.SourceIP != "" {
		req.RemoteAddr = net.JoinHostPort(about.SourceIP, "0")
	}
	if major, minor, ok := http.ParseHTTPVersion(about.Protocol); ok {
		req.Proto, req.ProtoMajor, req.ProtoMinor = about.Protocol, major, minor
	}
	return req, nil
}

// urlOf makes the URL. Where the path is not escaped as a URL's is, it is taken
// as it stands.
func urlOf(e events.APIGatewayV2HTTPRequest) *url.URL {
	path := e.RawPath
	if stage := e.RequestContext.Stage; stage != "" && stage != "$default" {
		if rest, ok := strings.CutPrefix(path, "/"+stage); ok && (rest == "" || rest[0] == '/') {
			path = rest
		}
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	u := &url.URL{Path: path, RawQuery: e.RawQueryString}
	if plain, err := url.PathUnescape(path); err == nil {
		u.Path, u.RawPath = plain, path
	}
	return u
}

// A recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	sent   http.Header // as it was when the status was written
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.body.Len() == 0 && len(p) > 0 && w.sent.Values("Content-Type") == nil && w.sent.Get("Content-Encoding") == "" {
		w.sent.Set("Content-Type", http.DetectContentType(p))
	}
	return w.body.Write(p)
}

// response turns what was recorded into what API Gateway expects: one value a
// header, cookies apart, and base64 for what is no text.
func (w *recorder) response(method string) events.APIGatewayV2HTTPResponse {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	out := events.APIGatewayV2HTTPResponse{StatusCode: w.status, Headers: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(w.sent)) {
		values := w.sent[name]
		if name == "Set-Cookie" {
			out.Cookies = values
			continue
		}
		out.Headers[name] = strings.Join(values, ", ")
	}
	body := w.body.Bytes()
	if method == http.MethodHead || w.status == http.StatusNoContent || w.status == http.StatusNotModified {
		body = nil
	}
	if utf8.Valid(body) {
		out.Body = string(body)
	} else {
		out.Body, out.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	return out
}

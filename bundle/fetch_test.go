package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// program is the header of a Linux program, and something behind it.
func program(arch string) []byte {
	h := make([]byte, 4096)
	copy(h, "\x7fELF\x02\x01\x01")
	h[18] = machines[arch]
	return h
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// other is the architecture that this machine does not have.
func other() string {
	if runtime.GOARCH == "arm64" {
		return "amd64"
	}
	return "arm64"
}

// fakeS3 is an S3 in this process that is reached as the environment says, with
// one bucket, "deploy".
func fakeS3(t testing.TB) gofakes3.Backend {
	t.Helper()
	backend := s3mem.New()
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	if err := backend.CreateBucket("deploy"); err != nil {
		t.Fatal(err)
	}
	useS3(t, server.URL)
	return backend
}

func useS3(t testing.TB, endpoint string) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_S3": endpoint, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
}

func put(t testing.TB, backend gofakes3.Backend, key string, data []byte) string {
	t.Helper()
	if _, err := backend.PutObject("deploy", key, nil, bytes.NewReader(data), int64(len(data)), nil); err != nil {
		t.Fatal(err)
	}
	return "s3://deploy/" + key
}

// zeros is a body of any size that counts what was read of it.
type zeros struct {
	left int64
	read *atomic.Int64
}

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	clear(p[:n])
	z.left -= n
	z.read.Add(n)
	return int(n), nil
}

// A store answers GetObject itself.
type store func(ctx context.Context) (*s3.GetObjectOutput, error)

func (f store) GetObject(ctx context.Context, _ *s3.GetObjectInput, _ ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	return f(ctx)
}

func TestFetch(t *testing.T) {
	good := program(runtime.GOARCH)
	backend := fakeS3(t)
	ok := put(t, backend, "bundles/ok", good)
	changed := bytes.Clone(good)
	changed[len(changed)-1] ^= 1
	var read atomic.Int64
	huge := func(length *int64) store {
		return func(context.Context) (*s3.GetObjectOutput, error) {
			return &s3.GetObjectOutput{ContentLength: length, Body: io.NopCloser(&zeros{2 << 30, &read})}, nil
		}
	}
	for _, tt := range []struct {
		name string
		o    FetchOptions
		want error // nil: it is fetched
		text string
		most int64 // bytes that may have been read of a huge object
	}{
		{"good", FetchOptions{URL: ok, SHA256: sum(good)}, nil, "", 0},
		{"digest in capitals", FetchOptions{URL: ok, SHA256: strings.ToUpper(sum(good))}, nil, "", 0},
		{"exactly the limit", FetchOptions{URL: ok, SHA256: sum(good), MaxSize: int64(len(good))}, nil, "", 0},
		{"one byte more than the limit", FetchOptions{URL: ok, SHA256: sum(good), MaxSize: int64(len(good)) - 1}, ErrTooLarge, "4096 bytes, and the limit is 4095", 0},
		{"one changed byte", FetchOptions{URL: put(t, backend, "changed", changed), SHA256: sum(good)}, ErrDigest, sum(changed), 0},
		{"the end is missing", FetchOptions{URL: put(t, backend, "cut", good[:len(good)-1]), SHA256: sum(good)}, ErrDigest, "", 0},
		{"empty", FetchOptions{URL: put(t, backend, "empty", nil), SHA256: sum(good)}, ErrDigest, "", 0},
		{"the other architecture", FetchOptions{URL: put(t, backend, "other", program(other())), SHA256: sum(program(other()))}, ErrPlatform, "it is for " + other() + ", and this machine is " + runtime.GOARCH, 0},
		{"a third architecture", FetchOptions{URL: put(t, backend, "third", append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 64)...)), SHA256: sum(append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 64)...))}, ErrPlatform, "machine 0", 0},
		{"a script", FetchOptions{URL: put(t, backend, "script", []byte("#!/bin/sh\necho\n")), SHA256: sum([]byte("#!/bin/sh\necho\n"))}, ErrPlatform, "no 64-bit Linux program", 0},
		{"an architecture that we do not know", FetchOptions{URL: ok, SHA256: sum(good), Arch: "riscv64"}, ErrPlatform, "riscv64", 0},
		{"no such object", FetchOptions{URL: "s3://deploy/none", SHA256: sum(good)}, ErrNotFound, "NoSuchKey", 0},
		{"no such bucket", FetchOptions{URL: "s3://none/none", SHA256: sum(good)}, ErrNotFound, "NoSuchBucket", 0},
		{"2 GB, as it says", FetchOptions{URL: ok, SHA256: sum(good), S3: huge(aws.Int64(2 << 30))}, ErrTooLarge, "2147483648 bytes", 0},
		{"2 GB, without saying so", FetchOptions{URL: ok, SHA256: sum(good), MaxSize: 1 << 20, S3: huge(nil)}, ErrTooLarge, "more than 1048576 bytes", 2 << 20},
		{"2 GB, saying less", FetchOptions{URL: ok, SHA256: sum(good), MaxSize: 1 << 20, S3: huge(aws.Int64(7))}, ErrTooLarge, "more than 1048576 bytes", 2 << 20},
		{"no place for it", FetchOptions{URL: ok, SHA256: sum(good), Dir: "/does/not/exist"}, ErrDisk, "", 0},
		{"no URL", FetchOptions{SHA256: sum(good)}, ErrRequest, "is empty", 0},
		{"no digest", FetchOptions{URL: ok}, ErrRequest, "is not 64 hexadecimal digits", 0},
		{"half a digest", FetchOptions{URL: ok, SHA256: sum(good)[:62]}, ErrRequest, "is not 64 hexadecimal digits", 0},
		{"a bucket alone", FetchOptions{URL: "s3://deploy", SHA256: sum(good)}, ErrRequest, "s3://BUCKET/KEY", 0},
		{"another scheme", FetchOptions{URL: "file:///bin/sh", SHA256: sum(good)}, ErrRequest, `scheme "file"`, 0},
		{"no scheme", FetchOptions{URL: "/bin/sh", SHA256: sum(good)}, ErrRequest, "scheme", 0},
		{"http", FetchOptions{URL: "http://example.com/b", SHA256: sum(good)}, ErrRequest, "only for this machine", 0},
		{"http that looks local", FetchOptions{URL: "http://127.0.0.1.example.com/b", SHA256: sum(good)}, ErrRequest, "only for this machine", 0},
		{"no file", FetchOptions{URL: "https://example.com/", SHA256: sum(good)}, ErrRequest, "names no file", 0},
		{"a negative limit", FetchOptions{URL: ok, SHA256: sum(good), MaxSize: -1}, ErrRequest, "negative", 0},
		{"a limit beyond all", FetchOptions{URL: ok, SHA256: sum(good), MaxSize: math.MaxInt64}, ErrRequest, "want 1099511627776 at most", 0},
		{"the highest limit", FetchOptions{URL: ok, SHA256: sum(good), MaxSize: 1 << 40}, nil, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.o.Dir == "" {
				tt.o.Dir = t.TempDir()
			}
			read.Store(0)
			path, err := Fetch(t.Context(), tt.o)
			checkFetched(t, tt.o.Dir, path, err, tt.want, tt.text, good)
			if n := read.Load(); n > tt.most {
				t.Errorf("read %d bytes, want at most %d", n, tt.most)
			}
		})
	}
}

// checkFetched checks what Fetch returned and left behind.
func checkFetched(t *testing.T, dir, path string, err, want error, text string, content []byte) {
	t.Helper()
	if want != nil {
		if !errors.Is(err, want) || !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("got %v, want %v with %q", err, want, text)
		}
		left, _ := os.ReadDir(dir)
		if path != "" || len(left) > 0 {
			t.Errorf("left %q, and in its directory %v", path, left)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("the file has other bytes (%v)", err)
	}
	for p, want := range map[string]os.FileMode{path: 0o700, filepath.Dir(path): 0o700 | os.ModeDir} {
		if info, err := os.Stat(p); err != nil || info.Mode() != want {
			t.Errorf("%s has the mode %v, want %v (%v)", p, info.Mode(), want, err)
		}
	}
}

// hangUp ends a connection in the middle of what it sends.
func hangUp(w http.ResponseWriter, header string) {
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = rw.WriteString(header)
	_ = rw.Flush()
	_ = conn.Close()
}

// serve serves a program, and what goes wrong with web servers. It counts the
// requests.
func serve(t *testing.T, good []byte, requests *atomic.Int64) string {
	stop := make(chan struct{})
	mux := http.NewServeMux()
	handle := func(path string, f func(w http.ResponseWriter, r *http.Request, n int64)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { f(w, r, requests.Add(1)) })
	}
	send := func(w http.ResponseWriter) { _, _ = w.Write(good) }
	handle("/ok", func(w http.ResponseWriter, _ *http.Request, _ int64) { send(w) })
	handle("/gzip", func(w http.ResponseWriter, r *http.Request, _ int64) {
		w.Header().Set("Content-Encoding", "gzip") // the digest is that of what is sent
		send(w)
	})
	handle("/redirect", func(w http.ResponseWriter, r *http.Request, _ int64) { http.Redirect(w, r, "/ok", http.StatusFound) })
	handle("/away", func(w http.ResponseWriter, r *http.Request, _ int64) {
		http.Redirect(w, r, "http://example.com/b", http.StatusFound)
	})
	handle("/round", func(w http.ResponseWriter, r *http.Request, _ int64) { http.Redirect(w, r, "/round", http.StatusFound) })
	handle("/nowhere", func(w http.ResponseWriter, _ *http.Request, _ int64) { w.WriteHeader(http.StatusNotModified) })
	for _, code := range []int{401, 403, 404, 410, 204, 400, 500} {
		handle(fmt.Sprintf("/%d", code), func(w http.ResponseWriter, _ *http.Request, _ int64) { w.WriteHeader(code) })
	}
	handle("/once500", func(w http.ResponseWriter, _ *http.Request, n int64) {
		if n == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		send(w)
	})
	handle("/oncecut", func(w http.ResponseWriter, _ *http.Request, n int64) {
		if n < maxAttempts {
			hangUp(w, "HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n\x7fELF")
			return
		}
		send(w)
	})
	handle("/cut", func(w http.ResponseWriter, _ *http.Request, _ int64) {
		hangUp(w, "HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n"+string(good[:100]))
	})
	handle("/chunkedcut", func(w http.ResponseWriter, _ *http.Request, _ int64) {
		hangUp(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\x7fELF\r\n")
	})
	handle("/nothing", func(w http.ResponseWriter, _ *http.Request, _ int64) { hangUp(w, "") })
	handle("/hang", func(http.ResponseWriter, *http.Request, int64) { <-stop })
	handle("/stall", func(w http.ResponseWriter, _ *http.Request, _ int64) {
		_, _ = w.Write(good[:10])
		w.(http.Flusher).Flush()
		<-stop
	})
	handle("/drip", func(w http.ResponseWriter, r *http.Request, _ int64) {
		for {
			select {
			case <-stop:
				return
			case <-r.Context().Done():
				return
			case <-time.After(5 * time.Millisecond):
				_, _ = w.Write([]byte{0})
				w.(http.Flusher).Flush()
			}
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		close(stop)
		server.Close()
	})
	return server.URL
}

func TestFetchHTTP(t *testing.T) {
	good := program(runtime.GOARCH)
	const secret = "X-Amz-Signature=s3cret"
	var requests atomic.Int64
	server := serve(t, good, &requests)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for _, tt := range []struct {
		path     string
		want     error
		text     string
		requests int64
		o        FetchOptions
	}{
		{"/ok", nil, "", 1, FetchOptions{}},
		{"/gzip", nil, "", 1, FetchOptions{}},
		{"/redirect", nil, "", 2, FetchOptions{}},
		{"/once500", nil, "", 2, FetchOptions{}},
		{"/oncecut", nil, "", maxAttempts, FetchOptions{}},
		{"/away", ErrRedirect, "it leads to http://example.com", 1, FetchOptions{}},
		{"/round", ErrRedirect, "more than 5", 1 + maxRedirects, FetchOptions{}},
		{"/nowhere", ErrRedirect, "304", 1, FetchOptions{}},
		{"/401", ErrDenied, "401", 1, FetchOptions{}},
		{"/403", ErrDenied, "403", 1, FetchOptions{}},
		{"/404", ErrNotFound, "404", 1, FetchOptions{}},
		{"/410", ErrNotFound, "410", 1, FetchOptions{}},
		{"/204", ErrUnavailable, "204", 1, FetchOptions{}},
		{"/400", ErrUnavailable, "400", 1, FetchOptions{}},
		{"/500", ErrUnavailable, "500", maxAttempts, FetchOptions{}},
		{"/cut", ErrTruncated, "after 100 bytes", maxAttempts, FetchOptions{}},
		{"/chunkedcut", ErrTruncated, "after 4 bytes", maxAttempts, FetchOptions{}},
		{"/nothing", ErrUnavailable, "EOF", maxAttempts, FetchOptions{}},
		{"/hang", ErrTimeout, "nothing came for 300ms", 1, FetchOptions{Stall: 300 * time.Millisecond}},
		{"/stall", ErrTimeout, "nothing came for 300ms", 1, FetchOptions{Stall: 300 * time.Millisecond}},
		{"/drip", ErrTimeout, "not fetched within 100ms", 1, FetchOptions{Timeout: 100 * time.Millisecond}},
		{"http://" + closed.Addr().String() + "/b", ErrUnavailable, "refused", 0, FetchOptions{}},
	} {
		t.Run(tt.path, func(t *testing.T) {
			tt.o.URL, tt.o.SHA256, tt.o.Dir, tt.o.pause = server+tt.path+"?"+secret, sum(good), t.TempDir(), time.Millisecond
			if strings.HasPrefix(tt.path, "http") {
				tt.o.URL = tt.path
			}
			requests.Store(0)
			path, err := Fetch(t.Context(), tt.o)
			checkFetched(t, tt.o.Dir, path, err, tt.want, tt.text, good)
			// The time may be over before the server is asked.
			if n := requests.Load(); n != tt.requests && (tt.want != ErrTimeout || n > tt.requests) {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
			if strings.Contains(fmt.Sprint(err), "s3cret") {
				t.Errorf("the error shows the signature: %v", err)
			}
		})
	}
}

// TestRedirects covers what servers on this machine cannot show.
func TestRedirects(t *testing.T) {
	check := newHTTPClient().CheckRedirect
	for _, tt := range []struct {
		from, to string
		ok       bool
	}{
		{"https://a.example/x", "https://b.example/y", true},
		{"https://a.example/x", "http://a.example/x", false},
		{"https://a.example/x", "http://localhost/x", false},
		{"https://a.example/x", "ftp://a.example/x", false},
		{"http://127.0.0.1/x", "https://a.example/x", true},
		{"http://[::1]/x", "http://localhost:9000/x", true},
	} {
		from, err := url.Parse(tt.from)
		if err != nil {
			t.Fatal(err)
		}
		to, err := url.Parse(tt.to)
		if err != nil {
			t.Fatal(err)
		}
		err = check(&http.Request{URL: to}, []*http.Request{{URL: from}})
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrRedirect) {
			t.Errorf("from %s to %s: %v", tt.from, tt.to, err)
		}
	}
}

// TestFetchS3Refused: S3's own errors, from a server that only has them.
func TestFetchS3Refused(t *testing.T) {
	for _, tt := range []struct {
		status   int
		code     string
		want     error
		text     string
		requests int64
	}{
		{403, "AccessDenied", ErrDenied, "who may not list the bucket", 1},
		{403, "InvalidAccessKeyId", ErrDenied, "InvalidAccessKeyId", 1},
		{301, "PermanentRedirect", ErrRequest, "set AWS_REGION", 1},
		{400, "AuthorizationHeaderMalformed", ErrRequest, "set AWS_REGION", 1},
		{503, "SlowDown", ErrUnavailable, "503 SlowDown", maxAttempts},
		{400, "InvalidArgument", ErrUnavailable, "400 InvalidArgument", 1},
	} {
		t.Run(tt.code, func(t *testing.T) {
			var requests atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				w.Header().Set("Content-Type", "application/xml")
				w.WriteHeader(tt.status)
				_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", tt.code)
			}))
			defer server.Close()
			useS3(t, server.URL)
			dir := t.TempDir()
			path, err := Fetch(t.Context(), FetchOptions{URL: "s3://deploy/key", SHA256: sum(nil), Dir: dir, pause: time.Millisecond})
			checkFetched(t, dir, path, err, tt.want, tt.text, nil)
			if n := requests.Load(); n != tt.requests {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
		})
	}
	t.Run("an endpoint on the way to which all can read", func(t *testing.T) {
		useS3(t, "http://192.0.2.1:9000")
		_, err := Fetch(t.Context(), FetchOptions{URL: "s3://deploy/key", SHA256: sum(nil), Dir: t.TempDir()})
		if !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), "not protected") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no region", func(t *testing.T) {
		useS3(t, "http://127.0.0.1:1")
		t.Setenv("AWS_REGION", "")
		t.Setenv("AWS_DEFAULT_REGION", "")
		_, err := Fetch(t.Context(), FetchOptions{URL: "s3://deploy/key", SHA256: sum(nil), Dir: t.TempDir()})
		if !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), "AWS_REGION") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no credentials", func(t *testing.T) {
		useS3(t, "http://127.0.0.1:1")
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		_, err := Fetch(t.Context(), FetchOptions{URL: "s3://deploy/key", SHA256: sum(nil), Dir: t.TempDir()})
		if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "no AWS credentials") {
			t.Errorf("got %v", err)
		}
	})
}

func TestFetchInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("told to stop")
	dir := t.TempDir()
	_, err := Fetch(ctx, FetchOptions{URL: "s3://deploy/key", SHA256: sum(nil), Dir: dir, S3: store(func(ctx context.Context) (*s3.GetObjectOutput, error) {
		cancel(reason)
		<-ctx.Done()
		return nil, ctx.Err()
	})})
	checkFetched(t, dir, "", err, reason, "told to stop", nil)
}

func TestBuildRefuses(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{Arch: "386"}, `no bundles for the architecture "386"; want arm64 or amd64`},
		{Options{Entry: "cmd", Env: "prod"}, "a main package of your own says itself what is inside"},
		{Options{Files: fstest.MapFS{"conf/.env": {}}}, "conf/.env may hold secrets"},
		{Options{Out: "/does/not/exist/bundle"}, "/does/not/exist"},
	} {
		if _, err := Build(t.Context(), tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestIsPrivate(t *testing.T) {
	for name, want := range map[string]bool{
		".env": true, "a/.env": true, ".env.production": true, ".ENV": true, ".aurora/data": true, "x/.git/config": true, ".netrc": true,
		"aurora.hcl": false, "migrations/1_env.sql": false, ".environment": false, "a.env": true, "conf/prod.env/x": true, ".envrc": true, "a/.pgpass": true, ".kube/config": true, ".docker/config.json": true,
		".npmrc": true, ".gnupg/x": true, "keys/id_rsa": true, "keys/id_ed25519": true, "keys/id_rsa.pub": false, "conf/ca.pem": false,
		"env/.keep": false,
	} {
		if IsPrivate(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

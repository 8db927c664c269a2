package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// built is a bundle that nobody built.
func built(t testing.TB, content []byte) Result {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bundle")
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return Result{Path: path, SHA256: sum(content), Size: int64(len(content))}
}

func TestUpload(t *testing.T) {
	backend := fakeS3(t)
	content := []byte("a bundle")
	res := built(t, content)
	for _, tt := range []struct{ to, key string }{
		{"s3://deploy", "bundles/bundle-" + res.SHA256},
		{"s3://deploy/", "bundles/bundle-" + res.SHA256},
		{"s3://deploy/shop/prod", "shop/prod/bundles/bundle-" + res.SHA256},
		{"s3://deploy/slash/", "slash/bundles/bundle-" + res.SHA256},
	} {
		_, err := backend.HeadObject("deploy", tt.key)
		there := err == nil
		for _, existed := range []bool{there, true} {
			u, err := Upload(t.Context(), nil, res, tt.to)
			if err != nil {
				t.Fatal(err)
			}
			if want := (Uploaded{URL: "s3://deploy/" + tt.key, Bucket: "deploy", Key: tt.key, Existed: existed}); u != want {
				t.Errorf("%s: got %+v, want %+v", tt.to, u, want)
			}
		}
		o, err := backend.GetObject("deploy", tt.key, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(o.Contents)
		if err := errors.Join(err, o.Contents.Close()); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s holds %q (%v)", tt.key, got, err)
		}
	}
}

// TestUploadTogether: of those that upload the same at once one does.
func TestUploadTogether(t *testing.T) {
	fakeS3(t)
	res := built(t, bytes.Repeat([]byte("x"), 1<<20))
	var uploaded atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			u, err := Upload(context.Background(), nil, res, "s3://deploy")
			if err != nil {
				t.Error(err)
			} else if !u.Existed {
				uploaded.Add(1)
			}
		})
	}
	wg.Wait()
	if n := uploaded.Load(); n != 1 {
		t.Errorf("%d uploads, want 1", n)
	}
}

func TestUploadAsksForChecks(t *testing.T) {
	content := []byte("a bundle")
	res := built(t, content)
	var requests, conflicts atomic.Int64
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPut || !bytes.Equal(body, content) {
			t.Errorf("%s with %q", r.Method, body)
		}
		if conflicts.Add(-1) >= 0 {
			w.WriteHeader(http.StatusConflict)
			_, _ = fmt.Fprint(w, "<Error><Code>ConditionalRequestConflict</Code></Error>")
			return
		}
		header = r.Header
	}))
	defer server.Close()
	useS3(t, server.URL)
	conflicts.Store(1)
	if _, err := Upload(t.Context(), nil, res, "s3://deploy"); err != nil {
		t.Fatal(err)
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests, want one more after a conflict", n)
	}
	for name, want := range map[string]string{"If-None-Match": "*", "X-Amz-Checksum-Sha256": base64Of(t, res.SHA256)} {
		if got := header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	conflicts.Store(1000)
	if _, err := Upload(t.Context(), nil, res, "s3://deploy"); err == nil || !strings.Contains(err.Error(), "ConditionalRequestConflict") {
		t.Errorf("endless conflicts: %v", err)
	}
}

func TestUploadRefused(t *testing.T) {
	res := built(t, []byte("a bundle"))
	for _, to := range []string{"", "deploy", "https://deploy", "s3://", "s3:///x", "s3://deploy?x=1"} {
		if _, err := Upload(t.Context(), nil, res, to); !errors.Is(err, ErrRequest) {
			t.Errorf("%q: %v", to, err)
		}
	}
	res.SHA256 = "abc"
	if _, err := Upload(t.Context(), nil, res, "s3://deploy"); err == nil {
		t.Error("a result without a digest was uploaded")
	}
}

func base64Of(t *testing.T, hexadecimal string) string {
	t.Helper()
	b, err := checksum(hexadecimal)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWriteZip(t *testing.T) {
	content := bytes.Repeat([]byte("a bundle "), 10_000)
	var zips [2]Zip
	for i := range zips {
		res := built(t, content)
		if err := os.Chtimes(res.Path, time.Time{}, time.Unix(int64(i)*1e6, 0)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(res.Path, 0o600); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "lambda.zip")
		if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		var err error
		if zips[i], err = WriteZip(res, path); err != nil {
			t.Fatal(err)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".aurora*")); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	}
	if zips[0].SHA256 != zips[1].SHA256 {
		t.Errorf("the same bundle gave %+v and %+v", zips[0], zips[1])
	}
	r, err := zip.OpenReader(zips[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // Nothing was written.
	if len(r.File) != 1 {
		t.Fatalf("%d files, want one", len(r.File))
	}
	f := r.File[0]
	if f.Name != "bootstrap" || f.Mode() != 0o755 || !f.Modified.Equal(zipTime) {
		t.Errorf("got %s, %v, %v", f.Name, f.Mode(), f.Modified)
	}
	in, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, content) {
		t.Errorf("it holds other bytes (%v)", err)
	}
	if _, err := WriteZip(Result{Path: "/does/not/exist"}, filepath.Join(t.TempDir(), "z")); err == nil {
		t.Error("no error for a bundle that is not there")
	}
	res, path := built(t, content), filepath.Join(t.TempDir(), "lambda.zip")
	if err := os.WriteFile(res.Path, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteZip(res, path); !errors.Is(err, ErrDigest) {
		t.Errorf("a file that has changed meanwhile: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

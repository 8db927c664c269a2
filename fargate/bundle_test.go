//go:build linux

package fargate_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/bundle"
	"github.com/aurora-migrate/aurora/fargate"
	"github.com/aurora-migrate/aurora/fargate/internal/ecstest"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// shop builds a bundle and uploads it, and the image that fetches it; it returns
// the task definition, whose database is empty, and that database's URL.
func shop(t *testing.T, requests *[]string) (ecstest.Definition, string) {
	t.Helper()
	dir := t.TempDir()
	image := exec.CommandContext(t.Context(), "go", "run", "../tools/image", "-out", dir, "aurora-runner")
	if out, err := image.CombinedOutput(); err != nil {
		if _, missing := os.Stat("/etc/ssl/certs/ca-certificates.crt"); missing != nil {
			t.Skip("missing: CA certificates (package ca-certificates)")
		}
		t.Fatalf("build the image: %v\n%s", err, out)
	}
	root, entrypoint := ecstest.Unpack(t, filepath.Join(dir, "aurora-runner"), runtime.GOARCH)
	built, err := bundle.Build(t.Context(), bundle.Options{Entry: "testdata/shop", Arch: runtime.GOARCH, Out: filepath.Join(dir, "bundle"), Stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	s3, object := serveBundle(t, built.Path, requests)
	database := pgtest.URL(t)
	return ecstest.Definition{
		Family: "migrations", Container: fargate.DefaultContainer, Root: root, Entrypoint: entrypoint,
		LogGroup: "/ecs/migrations", LogPrefix: "aurora", TaskRole: "arn:aws:iam::123456789012:role/task",
		Env: map[string]string{
			"AWS_ENDPOINT_URL_S3": s3, "MIGRATION_BUNDLE_URL": object, "MIGRATION_BUNDLE_SHA256": built.SHA256,
			"DATABASE_URL": overTCP(t, database), "BATCHES": "12",
		},
	}, database
}

// serveBundle is an S3 with one object, which only the task's role may read.
func serveBundle(t *testing.T, path string, requests *[]string) (endpoint, object string) {
	t.Helper()
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		*requests = append(*requests, r.Method+" "+r.URL.Path)
		if !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIDTASK/") {
			http.Error(w, "<Error><Code>AccessDenied</Code></Error>", http.StatusForbidden)
			return
		}
		http.ServeFile(w, r, path)
	}))
	t.Cleanup(server.Close)
	return server.URL, "s3://deploys/bundles/bundle-1"
}

// overTCP leads to a database that listens on a socket file, which a container
// does not see.
func overTCP(t *testing.T, database string) string {
	t.Helper()
	c, err := pgconn.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	network, address := pgconn.NetworkAddress(c.Host, c.Port)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial(network, address)
			if err != nil {
				_ = in.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
				}()
			}
		}
	}()
	u := url.URL{Scheme: "postgres", User: url.UserPassword(c.User, c.Password), Host: l.Addr().String(), Path: "/" + c.Database, RawQuery: "sslmode=disable"}
	return u.String()
}

// TestResume: the real image fetches a real bundle from S3 by the task's role.
// Stopped, the migration saves a checkpoint in time, and the next task goes on
// from there.
func TestResume(t *testing.T) {
	var requests []string
	d, database := shop(t, &requests)
	e := start(t, d)

	task, err := fargate.Start(t.Context(), e.cfg, aurora.Request{})
	if err != nil {
		t.Fatal(err)
	}
	e.await(t, "waits")
	if err := fargate.Stop(t.Context(), e.cfg, task, "deploy"); err != nil {
		t.Fatal(err)
	}
	if code, err := fargate.Wait(t.Context(), e.cfg, task); code != 130 || err != nil {
		t.Fatalf("%d, %v: %s", code, err, e.out)
	}
	if n := pgtest.One(t, database, "SELECT count(*) FROM batches"); n != "5" {
		t.Errorf("%s batches before the stop", n)
	}
	if state := pgtest.One(t, database, "SELECT state FROM aurora.aurora_revisions WHERE version = '2'"); state != "interrupted" {
		t.Errorf("the history says %s", state)
	}
	if runtime := pgtest.One(t, database, "SELECT holder::json ->> 'runtime' FROM aurora.aurora_revisions WHERE version = '2'"); runtime != "fargate" {
		t.Errorf("the history says that it ran in %s", runtime)
	}
	if n := pgtest.One(t, database, "SELECT count(*) FROM aurora.aurora_leases WHERE expires_at > now()"); n != "0" {
		t.Error("the lock is still held")
	}

	first := len(e.out.String())
	if code, err := fargate.Run(t.Context(), e.cfg, aurora.Request{To: "2"}); code != 0 || err != nil {
		t.Fatalf("%d, %v: %s", code, err, e.out)
	}
	if out := e.out.String()[first:]; !strings.Contains(out, "begins batch=5") {
		t.Errorf("the second task did not go on from the checkpoint: %s", out)
	}
	if got := pgtest.Query(t, database, "SELECT count(*), min(times), max(times) FROM batches"); !cmp.Equal(got, [][]string{{"12", "1", "1"}}) {
		t.Errorf("batches, and how often each was done: %v", got)
	}
	if code, err := fargate.Run(t.Context(), e.cfg, aurora.Request{}); code != 0 || err != nil {
		t.Errorf("nothing to do: %d, %v", code, err)
	}
	if diff := cmp.Diff(slices.Repeat([]string{"GET /deploys/bundles/bundle-1"}, 3), requests); diff != "" {
		t.Errorf("what the task asked of S3 (-want +got):\n%s", diff)
	}
}

// TestRefusedBundle: nothing runs but the bundle that was asked for, and the
// exit code says why.
func TestRefusedBundle(t *testing.T) {
	var requests []string
	d, database := shop(t, &requests)
	d.Env["MIGRATION_BUNDLE_SHA256"] = strings.Repeat("0", 64)
	e := start(t, d)
	if code, err := fargate.Run(t.Context(), e.cfg, aurora.Request{}); code != 78 || err != nil || !strings.Contains(e.out.String(), "sha256") {
		t.Errorf("another digest: %d, %v: %s", code, err, e.out)
	}
	d.TaskRole = ""
	e = start(t, d)
	if code, err := fargate.Run(t.Context(), e.cfg, aurora.Request{}); code != 77 || err != nil || !strings.Contains(e.said.String(), "no task role") {
		t.Errorf("no task role: %d, %v: %s%s", code, err, e.out, e.said)
	}
	if n := pgtest.One(t, database, "SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'aurora')"); n != "0" {
		t.Errorf("%s tables: something ran", n)
	}
}

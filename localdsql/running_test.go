package localdsql_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora/localdsql"
)

// serve serves a cluster of a directory for others and returns what ready got,
// a function that ends it, and what Serve returns then.
func serve(t *testing.T, cfg localdsql.Config, name string) (localdsql.Running, context.CancelFunc, <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ready, done := make(chan localdsql.Running, 1), make(chan error, 1)
	go func() {
		done <- localdsql.Serve(ctx, cfg, name, func(r localdsql.Running) { ready <- r })
	}()
	select {
	case r := <-ready:
		return r, cancel, done
	case err := <-done:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("it does not get ready")
	}
	panic("unreachable")
}

func TestServe(t *testing.T) {
	cfg := localdsql.Config{Dir: filepath.Join(t.TempDir(), "data"), Secret: "s3cret", Region: "eu-west-1"}
	if _, err := localdsql.Lookup(t.Context(), cfg.Dir, "shop"); !errors.Is(err, localdsql.ErrNotRunning) {
		t.Errorf("before: %v", err)
	}
	ready, stop, done := serve(t, cfg, "shop")

	r, err := localdsql.Lookup(t.Context(), cfg.Dir, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if r.Port != ready.Port || r.Port == 0 || r.PID != os.Getpid() || r.Region != "eu-west-1" || !r.Signed {
		t.Errorf("found %+v, and it said %+v", *r, ready)
	}
	if _, err := localdsql.Lookup(t.Context(), cfg.Dir, "other"); !errors.Is(err, localdsql.ErrNotRunning) {
		t.Errorf("another cluster: %v", err)
	}
	if _, err := r.URL(t.Context(), "admin", ""); !errors.Is(err, localdsql.ErrSecretNeeded) {
		t.Errorf("a URL without the secret: %v", err)
	}
	url, err := r.URL(t.Context(), "admin", cfg.Secret)
	if err != nil {
		t.Fatal(err)
	}
	exec1(t, connect(t, url), "CREATE TABLE t (id int PRIMARY KEY)")

	var already *localdsql.RunningError
	if err := localdsql.Serve(t.Context(), cfg, "shop", nil); !errors.As(err, &already) || already.Running.Port != r.Port {
		t.Errorf("served twice: %v", err)
	}

	shared, err := localdsql.Connect(t.Context(), cfg, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if shared.Running == nil || shared.Running.Port != r.Port {
		t.Errorf("Connect does not use what runs: %+v", shared.Running)
	}
	exec1(t, connect(t, shared.URL), "SELECT FROM t")
	if err := shared.Close(t.Context()); err != nil {
		t.Error(err)
	}

	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := localdsql.Lookup(t.Context(), cfg.Dir, "shop"); !errors.Is(err, localdsql.ErrNotRunning) {
		t.Errorf("afterwards: %v", err)
	}
	if err := r.Stop(t.Context()); !errors.Is(err, localdsql.ErrNotRunning) {
		t.Errorf("stopped again: %v", err)
	}

	again, stop, done := serve(t, cfg, "shop")
	if again.Port != r.Port {
		t.Errorf("it was on port %d and is on %d", r.Port, again.Port)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}

	own, err := localdsql.Connect(t.Context(), cfg, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if own.Running != nil {
		t.Error("Connect found what does not run")
	}
	exec1(t, connect(t, own.URL), "SELECT FROM t")
	for range 2 {
		if err := own.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestServeEndsWithItsDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	_, _, done := serve(t, localdsql.Config{Dir: dir}, localdsql.DefaultCluster)
	if err := os.Rename(dir, dir+"-removed"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err == nil {
			t.Error("it ends without a reason")
		}
	case <-time.After(patience):
		t.Error("it goes on")
	}
}

func TestOpenLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for range 2 {
		f, err := localdsql.OpenLog(dir, "shop")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("line\n"); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(f.Name()); err != nil || string(data) != "line\n" {
			t.Errorf("the log is %q, %v", data, err)
		}
	}
}

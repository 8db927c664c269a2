//go:build linux || darwin

package localdsql_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora/localdsql"
)

// TestEngineEndsWithTheProcess runs a test binary that is killed in the middle
// of a test.
func TestEngineEndsWithTheProcess(t *testing.T) {
	if os.Getenv("LOCALDSQL_TEST_KILL") != "" {
		fmt.Printf("PID %d\n", one[int](t, connect(t, localdsql.Start(t)), "SELECT pg_backend_pid()"))
		os.Stdout.Close()
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestEngineEndsWithTheProcess$")
	cmd.Env = append(os.Environ(), "LOCALDSQL_TEST_KILL=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanf(out, "PID %d\n", &pid); err != nil {
		t.Errorf("no process id: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("PostgreSQL's process %d is still there", pid)
		}
	}
}

// TestStopWaitsForPostgreSQL is what who removes the directory after "aurora
// local down" counts on.
func TestStopWaitsForPostgreSQL(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if os.Getenv("LOCALDSQL_TEST_SERVE") != "" {
		ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
		defer stop()
		if err := localdsql.Serve(ctx, localdsql.Config{Dir: os.Getenv("LOCALDSQL_TEST_SERVE")}, "shop", nil); err != nil {
			t.Fatal(err)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestStopWaitsForPostgreSQL$")
	cmd.Env = append(os.Environ(), "LOCALDSQL_TEST_SERVE="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	running, err := localdsql.Await(ctx, dir, "shop")
	for errors.Is(err, localdsql.ErrNotRunning) && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
		running, err = localdsql.Await(ctx, dir, "shop")
	}
	if err != nil {
		_ = cmd.Process.Kill() // there is nothing else to do
		t.Fatal(err)
	}
	url, err := running.URL(ctx, "admin", "")
	if err != nil {
		t.Fatal(err)
	}
	pid := one[int](t, connect(t, url), "SELECT pg_backend_pid()")
	if err := running.Stop(ctx); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("PostgreSQL's process %d is still there (%v)", pid, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "pg*", "postmaster.pid")); err != nil || len(left) > 0 {
		t.Errorf("PostgreSQL has not stopped: %v, %v", left, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the process that served it: %v", err)
	}
}

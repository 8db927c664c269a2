//go:build linux || darwin

package localdsql_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
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
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("PostgreSQL's process %d is still there", pid)
		}
	}
}

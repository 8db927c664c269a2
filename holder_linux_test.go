package aurora_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/aurora-migrate/aurora"
)

// A process number counts in its namespace: two containers with one host name
// are told apart, and two processes that see each other are not.
func TestHolderTellsNamespaces(t *testing.T) {
	const printed = "AURORA_TEST_PRINT_HOLDER"
	if os.Getenv(printed) != "" {
		if err := json.NewEncoder(os.Stderr).Encode(aurora.CurrentHolder("cli")); err != nil {
			t.Fatal(err)
		}
		return
	}
	me := aurora.CurrentHolder("cli")
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(me.PIDNamespace, strings.TrimSpace(string(boot))+" pid:[") {
		t.Errorf("the namespace is %q", me.PIDNamespace)
	}
	child := func(attr *syscall.SysProcAttr) aurora.Holder {
		t.Helper()
		cmd := exec.Command(os.Args[0], "-test.run=^TestHolderTellsNamespaces$")
		cmd.Env = append(os.Environ(), printed+"=1")
		cmd.SysProcAttr = attr
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %s", err, &stderr)
		}
		var h aurora.Holder
		if err := json.Unmarshal(stderr.Bytes(), &h); err != nil {
			t.Fatalf("%v: %s", err, &stderr)
		}
		return h
	}
	if h := child(nil); h.PIDNamespace != me.PIDNamespace || h.Host != me.Host {
		t.Errorf("a child is %+v, this process %+v", h, me)
	}
	if os.Geteuid() != 0 {
		t.Skip("missing: root (a namespace of its own)")
	}
	h := child(&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID})
	if h.Host != me.Host || h.PID != 1 || h.PIDNamespace == me.PIDNamespace || h.PIDNamespace == "" {
		t.Errorf("in a namespace of its own it is %+v, this process %+v", h, me)
	}
}

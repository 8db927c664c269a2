package cli

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
)

// deadPID returns the number of a process that has ended.
func deadPID(t *testing.T) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// Only a process that this one would see is known to have ended.
func TestLockBreakKnowsDead(t *testing.T) {
	me := aurora.CurrentHolder("cli")
	dead := me
	dead.PID = deadPID(t)
	change := func(f func(*aurora.Holder)) aurora.Holder {
		h := dead
		f(&h)
		return h
	}
	unnamed := ExitLocked
	if runtime.GOOS != "linux" {
		unnamed = ExitDone
	}
	tests := []struct {
		name   string
		holder aurora.Holder
		code   int
	}{
		{"it has ended", dead, ExitDone},
		{"it lives", me, ExitLocked},
		{"another host", change(func(h *aurora.Holder) { h.Host = "elsewhere" }), ExitLocked},
		{"a container with this host's name", change(func(h *aurora.Holder) { h.PIDNamespace = "boot pid:[4026532181]" }), ExitLocked},
		{"a release that did not tell", change(func(h *aurora.Holder) { h.PIDNamespace = "" }), unnamed},
		{"another runtime", change(func(h *aurora.Holder) { h.Runtime = "fargate" }), ExitLocked},
		{"no process", change(func(h *aurora.Holder) { h.PID = 0 }), ExitLocked},
		{"nobody", aurora.Holder{}, ExitLocked},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var store auroratest.Memory
			a, stdout, stderr := testApp(t, func() (aurora.Store, error) { return &store, nil })
			if _, err := store.Acquire(t.Context(), tt.holder, time.Hour); err != nil {
				t.Fatal(err)
			}
			code := a.run(t.Context(), []string{"migrate", "lock", "break", "--url", "postgres://h/db"})
			locked, err := store.Locked(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if code != tt.code || (locked == nil) != (tt.code == ExitDone) {
				t.Errorf("exit code %d, locked: %v\n%s%s", code, locked, stdout, stderr)
			}
		})
	}
}

// Where this process's own namespace is not known either, only systems without
// any take the host's name for enough.
func TestIsDeadWithoutNamespaces(t *testing.T) {
	h := aurora.Holder{Host: "h", PID: deadPID(t), Runtime: "cli"}
	if got, want := isDead(h, aurora.Holder{Host: "h"}), runtime.GOOS != "linux"; got != want {
		t.Errorf("dead: %t, want %t", got, want)
	}
}

// When the lock cannot be asked for, nobody is called dead.
func TestShowDoesNotKnowWhoRuns(t *testing.T) {
	var store auroratest.Memory
	r := up("1", aurora.Running)
	write(t, &store, r)
	store.Fail(auroratest.OpRead, 2, nil)
	store.Fail(auroratest.OpRead, 1, errors.New("no rights, see aurora migrate lock"))
	a, stdout, stderr := testApp(t, func() (aurora.Store, error) { return &store, nil })
	dir := migrationDir(t, map[string]string{"1_a.sql": "SELECT 1;"})
	code := a.run(t.Context(), []string{"migrate", "show", "1", "--url", "postgres://h/db", "--dir", dir})
	want := "it is not known whether it runs, as who holds the lock is not: no rights, see aurora migrate lock --url postgres://h/db; " +
		"if it does not, go on with: aurora migrate apply --url postgres://h/db --dir " + dir + " (from the beginning)\n"
	if code != ExitDone || !strings.Contains(stdout.String(), want) || strings.Contains(stdout.String(), "died") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

// What people wrote of a holder may hold the password.
func TestLockHidesSecrets(t *testing.T) {
	for _, flag := range []string{"", "--json"} {
		var store auroratest.Memory
		a, stdout, _ := testApp(t, func() (aurora.Store, error) { return &store, nil })
		h := aurora.Holder{Host: "h", By: "ann s3cret-pw", Reason: "s3cret-pw leaked", Link: "https://ci?p=s3cret-pw"}
		if _, err := store.Acquire(t.Context(), h, time.Hour); err != nil {
			t.Fatal(err)
		}
		args := []string{"migrate", "lock", "--url", "postgres://app:s3cret-pw@h/db"}
		if flag != "" {
			args = append(args, flag)
		}
		if code := a.run(t.Context(), args); code != ExitLocked || !strings.Contains(stdout.String(), "ann xxxxx") || strings.Contains(stdout.String(), "s3cret") {
			t.Errorf("%s: exit code %d, %s", flag, code, stdout)
		}
	}
}

// Status hides what list, show and lock hide.
func TestStatusHidesSecrets(t *testing.T) {
	dir := migrationDir(t, map[string]string{
		"1_a.sql": "-- About s3cret-pw, or postgres://ann:other@h/db\nSELECT 1;",
	})
	run := func(args ...string) string {
		t.Helper()
		var store auroratest.Memory
		r := up("1", aurora.Interrupted)
		r.ExecutionID, r.Token, r.Seq, r.Holder = "e", 1, 1, aurora.Holder{Host: "h", By: "ann s3cret-pw"}
		store.Put(r)
		a, stdout, _ := testApp(t, func() (aurora.Store, error) { return &store, nil })
		a.run(t.Context(), append(append([]string{"migrate"}, args...), "--dir", dir))
		return stdout.String()
	}
	for _, args := range [][]string{{"status"}, {"status", "--json"}} {
		text := run(append(args, "--url", "postgres://app:s3cret-pw@h/db")...)
		if strings.Contains(text, "s3cret") || strings.Contains(text, "other") || !strings.Contains(text, "for ann xxxxx") || !strings.Contains(text, "About xxxxx") {
			t.Errorf("%v: %s", args, text)
		}
	}
	for _, args := range [][]string{{"list"}, {"list", "--json"}} {
		if text := run(args...); strings.Contains(text, "other") || !strings.Contains(text, "postgres://ann:xxxxx@h/db") {
			t.Errorf("%v: %s", args, text)
		}
	}
}

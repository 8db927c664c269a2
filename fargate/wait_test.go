//go:build linux

package fargate_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/fargate"
	"github.com/aurora-migrate/aurora/fargate/internal/ecstest"
)

// TestNotStarted: a task that never ran says why, and what to do.
func TestNotStarted(t *testing.T) {
	for _, tt := range []struct{ reason, hint string }{
		{"CannotPullContainerError: pull image manifest has been retried 1 time(s): toomanyrequests: You have reached your unauthenticated pull rate limit.", "mirror"},
		{"CannotPullContainerError: image Manifest does not contain descriptor matching platform 'linux/arm64'", "runtimePlatform"},
		{"CannotPullContainerError: docker.io/library/nothing:1: not found", "name and digest"},
		{"CannotPullContainerError: ref pull has been retried 5 time(s): dial tcp 1.2.3.4:443: i/o timeout", "NAT gateway"},
		{"CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref ghcr.io/x@sha256:1: failed to do request: dial tcp: i/o timeout", "NAT gateway"},
		{"CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref: unexpected status: 403 Forbidden", "execution role"},
		{"CannotPullContainerError: something else", "name and digest, and the subnet"},
		{"ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed", "read the secrets"},
		{"ResourceInitializationError: failed to validate logger args: The task cannot find the Amazon CloudWatch log group", "log group must exist"},
		{"Timeout waiting for network interface provisioning to complete.", "free addresses"},
		{"Something new", ""},
	} {
		d := definition(t, "")
		d.StartFailure = tt.reason
		e := start(t, d)
		code, err := fargate.Run(t.Context(), e.cfg, aurora.Request{})
		var stopped *fargate.StoppedError
		if !errors.As(err, &stopped) || code != -1 {
			t.Fatalf("%s: %d, %v", tt.reason, code, err)
		}
		if !strings.HasSuffix(err.Error(), ": "+tt.reason) || !strings.Contains(stopped.Hint(), tt.hint) || (tt.hint == "") != (stopped.Hint() == "") {
			t.Errorf("%s: got %v; hint %q", tt.reason, err, stopped.Hint())
		}
	}
}

// run starts a task, waits for its first line, does something to it and
// returns how it ended.
func run(t *testing.T, e env, do func(task string)) (int, error) {
	t.Helper()
	task, err := fargate.Start(t.Context(), e.cfg, aurora.Request{})
	if err != nil {
		t.Fatal(err)
	}
	e.await(t, "working")
	do(task)
	return fargate.Wait(t.Context(), e.cfg, task)
}

// TestKilled: ends that are not the program's own.
func TestKilled(t *testing.T) {
	const oom = "OutOfMemoryError: Container killed due to memory usage"
	t.Run("memory", func(t *testing.T) {
		e := start(t, definition(t, "checkpoint"))
		code, err := run(t, e, func(task string) { e.Kill(task, oom) })
		var stopped *fargate.StoppedError
		if !errors.As(err, &stopped) || code != 137 || stopped.Reason != oom || !strings.Contains(stopped.Hint(), "more memory") {
			t.Errorf("%d, %v", code, err)
		}
	})
	t.Run("too slow", func(t *testing.T) {
		d := definition(t, "deaf")
		d.StopTimeout = 100 * time.Millisecond
		e := start(t, d)
		code, err := run(t, e, func(task string) {
			if err := fargate.Stop(t.Context(), e.cfg, task, "enough"); err != nil {
				t.Fatal(err)
			}
		})
		var stopped *fargate.StoppedError
		if !errors.As(err, &stopped) || code != 137 || !strings.Contains(err.Error(), "did not end in time after it was asked to stop: enough (exit code 137)") {
			t.Errorf("%d, %v", code, err)
		}
	})
	t.Run("spot", func(t *testing.T) {
		e := start(t, definition(t, "checkpoint"))
		code, err := run(t, e, func(task string) { e.Reclaim(task, "SpotInterruption", "Your Spot Task was interrupted.") })
		if code != 130 || err != nil || !strings.Contains(e.said.String(), "code=SpotInterruption") {
			t.Errorf("%d, %v: %s", code, err, e.said)
		}
	})
}

// TestCanceled: without StopOnCancel the task goes on, with it it ends in good
// order, and its last words arrive.
func TestCanceled(t *testing.T) {
	for _, stop := range []bool{false, true} {
		e := start(t, definition(t, "checkpoint"))
		e.cfg.StopOnCancel = stop
		task, err := fargate.Start(t.Context(), e.cfg, aurora.Request{})
		if err != nil {
			t.Fatal(err)
		}
		e.await(t, "working")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		code, err := fargate.Wait(ctx, e.cfg, task)
		if stop {
			if code != 130 || err != nil || !strings.HasSuffix(e.out.String(), "working\nsaved\n") {
				t.Errorf("%d, %v: %s", code, err, e.out)
			}
			continue
		}
		var lost *fargate.LostError
		if !errors.As(err, &lost) || code != -1 || !errors.Is(err, aurora.ErrInterrupted) || !strings.Contains(lost.Hint(), task) {
			t.Errorf("%d, %v", code, err)
		}
		// It can be waited for again, even without its cluster's name.
		if err := fargate.Stop(t.Context(), e.cfg, task, ""); err != nil {
			t.Error(err)
		}
		if code, err := fargate.Wait(t.Context(), e.cfg, task); code != 130 || err != nil {
			t.Errorf("%d, %v", code, err)
		}
	}
}

// TestOtherContainer: a code that is not the migrations' is not passed off as theirs.
func TestOtherContainer(t *testing.T) {
	e := start(t, definition(t, "exit 3"))
	task, err := fargate.Start(t.Context(), e.cfg, aurora.Request{})
	if err != nil {
		t.Fatal(err)
	}
	e.cfg.Container = "app"
	code, err := fargate.Wait(t.Context(), e.cfg, task)
	if code != -1 || err == nil || !strings.HasSuffix(err.Error(), "it had no container app, only aurora-runner") {
		t.Errorf("%d, %v", code, err)
	}
}

// TestClusterOfTask: a task's ARN names its cluster.
func TestClusterOfTask(t *testing.T) {
	e := start(t, definition(t, "exit 3"))
	cfg := e.cfg
	cfg.Cluster = "jobs"
	task, err := fargate.Start(t.Context(), cfg, aurora.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if code, err := fargate.Wait(t.Context(), e.cfg, task); code != 3 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
}

// TestLookFails: a failed look is repeated, but not for ever.
func TestLookFails(t *testing.T) {
	internal := ecstest.Fault{Status: 500, Type: "ServerException", Message: "sorry"}
	denied := ecstest.Fault{Type: "AccessDeniedException", Message: "User is not authorized to perform: ecs:DescribeTasks on resource: x"}
	t.Run("a few", func(t *testing.T) {
		e := start(t, definition(t, "exit 3"))
		e.FailNext("DescribeTasks", internal, internal, internal, internal)
		if code, err := fargate.Run(t.Context(), e.cfg, aurora.Request{}); code != 3 || err != nil {
			t.Errorf("%d, %v", code, err)
		}
	})
	t.Run("denied", func(t *testing.T) {
		e := start(t, definition(t, "exit 3"))
		e.FailNext("DescribeTasks", denied)
		_, err := fargate.Run(t.Context(), e.cfg, aurora.Request{})
		var lost *fargate.LostError
		if !errors.As(err, &lost) || e.looks() != 1 || !strings.Contains(lost.Hint(), "allow the action") {
			t.Errorf("%d looks, %v", e.looks(), err)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		e := start(t, definition(t, "exit 3"))
		_, err := fargate.Wait(t.Context(), e.cfg, "arn:aws:ecs:eu-central-1:123456789012:task/default/none")
		if err == nil || e.looks() != 5 || !strings.Contains(err.Error(), "lost sight of task none, which may still run: ECS does not know it (MISSING)") {
			t.Errorf("%d looks, %v", e.looks(), err)
		}
	})
	t.Run("for good", func(t *testing.T) {
		e := start(t, definition(t, "checkpoint"))
		away := &failing{ECS: e.cfg.ECS, after: 1}
		e.cfg.ECS = away
		_, err := fargate.Run(t.Context(), e.cfg, aurora.Request{})
		var lost *fargate.LostError
		if n := away.calls; !errors.As(err, &lost) || n != 1+20 || errors.Is(err, aurora.ErrInterrupted) {
			t.Errorf("%d looks, %v", n, err)
		}
	})
}

// TestConfined: the stand-in runs a task as Fargate does: not as root, and with
// nothing to write to but /tmp.
func TestConfined(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("missing: root (tasks run by chroot)")
	}
	e := start(t, definition(t, "look"))
	if code, err := fargate.Run(t.Context(), e.cfg, aurora.Request{ExecutionID: "e"}); code != 0 || err != nil {
		t.Fatalf("%d, %v", code, err)
	}
	want := "args migrate up --execution-id=e\nuid 65532 gid 65532 pid 1\nwritable /tmp\n"
	if diff := cmp.Diff(want, e.out.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

package filestore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/filestore"
)

// childVariable makes the test binary do something with a file, "task path",
// instead of running tests.
const childVariable = "AURORA_TEST_FILE_CHILD"

func TestMain(m *testing.M) {
	task, path, _ := strings.Cut(os.Getenv(childVariable), " ")
	var err error
	switch task {
	case "":
		os.Exit(m.Run())
	case "save":
		err = childSaves(path)
	case "turns":
		err = childTakesTurns(path)
	default:
		err = fmt.Errorf("no task %q", task)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child starts the test binary for a task.
func child(t *testing.T, task, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childVariable+"="+task+" "+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

const crashBatch = 5

// childSaves saves batch after batch, of sizes that make the file be written
// anew often.
func childSaves(path string) error {
	ctx := context.Background()
	s, err := filestore.Open(filestore.Config{Path: path})
	if err != nil {
		return err
	}
	lease, err := s.Acquire(ctx, aurora.CurrentHolder("test"), long)
	if err != nil {
		return err
	}
	fmt.Printf("token %d\n", lease.Token())
	r := revision("large", "large", 0)
	for round := 0; ; round++ {
		execution := fmt.Sprintf("%d-%d", lease.Token(), round)
		var batch []aurora.Revision
		for i := range crashBatch {
			batch = append(batch, revision(execution, fmt.Sprintf("%s-%d", execution, i), round*crashBatch+i))
		}
		r.Output = strings.Repeat(execution+"\n", 20_000)
		r.Seq = (round + 1) * crashBatch
		if err := lease.Save(ctx, append(batch, r)...); err != nil {
			return err
		}
		fmt.Printf("saved %s\n", execution)
	}
}

// Killed at any moment, a process leaves all or nothing of each Save, and all
// of what it was told is saved.
func TestKilledWhileSaving(t *testing.T) {
	path := newPath(t)
	told := make(map[string]bool)
	for range 40 {
		cmd, lines := child(t, "save", path)
		var token int64
		if !lines.Scan() {
			t.Fatalf("the child did not get the lease: %v", cmd.Wait())
		}
		if _, err := fmt.Sscanf(lines.Text(), "token %d", &token); err != nil {
			t.Fatal(err)
		}
		for left := 1 + rand.IntN(4); lines.Scan(); left-- {
			told[strings.TrimPrefix(lines.Text(), "saved ")] = true
			if left == 1 {
				time.AfterFunc(time.Duration(rand.Int64N(int64(10*time.Millisecond))), func() { _ = cmd.Process.Kill() })
			}
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the child ended by itself: %v", err)
		}
		s := open(t, path, "")
		checkBatches(t, s, told)
		large, _, err := s.Revisions(t.Context(), "large", "", 10)
		if err != nil || len(large) != 1 {
			t.Fatalf("the large revision: %d, %v", len(large), err)
		}
		if r, err := s.Revision(t.Context(), large[0].ExecutionID, "large"); err != nil || len(r.Output) == 0 {
			t.Fatalf("the large revision: %d bytes of output, %v", len(r.Output), err)
		}
		if err := s.Break(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d batches", len(told))
}

func checkBatches(t *testing.T, s *filestore.Store, told map[string]bool) {
	t.Helper()
	page, next, err := s.Executions(t.Context(), "", 1_000_000)
	if err != nil || next != "" {
		t.Fatalf("Executions: %q, %v", next, err)
	}
	missing := len(told)
	for _, e := range page {
		if e.ID == "large" {
			continue
		}
		if len(e.Revisions) != crashBatch {
			t.Errorf("execution %s has %d of %d revisions", e.ID, len(e.Revisions), crashBatch)
		}
		if told[e.ID] {
			missing--
		}
	}
	if missing != 0 {
		t.Errorf("%d of %d saves are not there", missing, len(told))
	}
}

// childTakesTurns takes the lease again and again, and reads and writes a
// number beside the history that only the holder may touch.
func childTakesTurns(path string) error {
	ctx := context.Background()
	s, err := filestore.Open(filestore.Config{Path: path})
	if err != nil {
		return err
	}
	for turn := 0; turn < turns; {
		lease, err := s.Acquire(ctx, aurora.CurrentHolder("test"), long)
		var locked *aurora.LockedError
		if errors.As(err, &locked) {
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		var n int
		if b, err := os.ReadFile(path + ".count"); err == nil {
			if _, err := fmt.Sscan(string(b), &n); err != nil {
				return err
			}
		}
		if err := lease.Save(ctx, revision(fmt.Sprint(lease.Token()), "1", 1)); err != nil {
			return err
		}
		if err := os.WriteFile(path+".count", fmt.Append(nil, n+1), 0o644); err != nil {
			return err
		}
		if err := lease.Release(ctx); err != nil {
			return err
		}
		fmt.Println(lease.Token())
		turn++
	}
	return nil
}

const turns = 100

// Processes that want the lease at the same time have it one after the other.
func TestProcessesTakeTurns(t *testing.T) {
	path := newPath(t)
	const processes = 3
	cmds, outputs := make([]*exec.Cmd, processes), make([]*bufio.Scanner, processes)
	for i := range processes {
		cmds[i], outputs[i] = child(t, "turns", path)
	}
	tokens := make(map[string]int)
	for i, lines := range outputs {
		for lines.Scan() {
			tokens[lines.Text()]++
		}
		if err := cmds[i].Wait(); err != nil {
			t.Errorf("process %d: %v", i, err)
		}
	}
	if len(tokens) != processes*turns {
		t.Errorf("%d different tokens in %d turns", len(tokens), processes*turns)
	}
	if b, err := os.ReadFile(path + ".count"); err != nil || string(b) != fmt.Sprint(processes*turns) {
		t.Errorf("the holders counted to %s, %v; want %d", b, err, processes*turns)
	}
	attempts, _, err := open(t, path, "").Revisions(t.Context(), "1", "", 1000)
	if err != nil || len(attempts) != processes*turns {
		t.Errorf("%d revisions, %v; want %d", len(attempts), err, processes*turns)
	}
}

package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// childEnv makes the test binary a program that uses the engine.
const childEnv = "AURORA_ENGINE_TEST_CHILD"

type childConfig struct {
	Dir, CacheDir string
	Throwaway     bool
	Install       Install
	Shell         string
	NoNamespaces  bool // in a world where user namespaces are refused
}

// childReport is what a child prints when its server runs.
type childReport struct {
	Err                string
	Unsupported        bool
	SocketDir, DataDir string
	Started            bool
	Postmaster         string
}

func TestMain(m *testing.M) {
	if config := os.Getenv(childEnv); config != "" {
		childMain(config)
		return
	}
	code := m.Run()
	for _, dir := range templateCaches {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// templateCaches are cache directories with a template, by user, that save
// most tests an initdb.
var templateCaches = map[int]string{}

func templateCache(t *testing.T, exe string, w who) string {
	t.Helper()
	if dir, ok := templateCaches[w.uid]; ok {
		return dir
	}
	dir, err := os.MkdirTemp("/tmp", "aurora-test-cache-")
	if err != nil {
		t.Fatal(err)
	}
	templateCaches[w.uid] = dir
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, w.uid, w.gid)); err != nil {
		t.Fatal(err)
	}
	begin(t, exe, w, childConfig{Throwaway: true, CacheDir: dir}).end()
	return dir
}

// childMain starts a server, reports, and obeys the lines on its standard
// input; at the end of it, it stops as a program would.
func childMain(config string) {
	signal.Ignore(os.Interrupt)
	var c childConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		panic(err)
	}
	if c.NoNamespaces {
		if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
			panic(err)
		}
	}
	ctx := context.Background()
	s, err := Start(ctx, Config{Dir: c.Dir, CacheDir: c.CacheDir, Throwaway: c.Throwaway, Install: c.Install, testShell: c.Shell})
	var report childReport
	if err != nil {
		report.Err = err.Error()
	} else {
		pid, _ := postmaster(s.DataDir())
		report = childReport{SocketDir: s.SocketDir(), DataDir: s.DataDir(), Started: s.Started(), Postmaster: strconv.Itoa(pid)}
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil || report.Err != "" {
		os.Exit(1)
	}
	url := s.URL("postgres")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer := "ok"
		switch line := lines.Text(); line {
		case "forget":
			s = nil
			for range 3 {
				runtime.GC()
			}
		case "stop":
			if err := s.Stop(ctx); err != nil {
				answer = err.Error()
			}
		default:
			if answer, err = queryOne(ctx, url, line); err != nil {
				answer = "error: " + err.Error()
			}
		}
		fmt.Println(strings.ReplaceAll(answer, "\n", " "))
	}
	if s != nil {
		if err := s.Stop(ctx); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(0)
}

func queryOne(ctx context.Context, url, sql string) (string, error) {
	conn, err := pgconn.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return "", err
	}
	last := results[len(results)-1]
	if len(last.Rows) == 0 {
		return last.CommandTag.String(), nil
	}
	return string(last.Rows[0][0]), nil
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	answer, err := queryOne(t.Context(), url, sql)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// child is a process that uses the engine.
type child struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	report childReport
	done   bool
}

// who is a user to run children as.
type who struct {
	name     string
	uid, gid int
}

func self() who { return who{"self", os.Geteuid(), os.Getegid()} }

// ordinary returns an unprivileged user, for root; everybody else is one.
func ordinary(t *testing.T) who {
	t.Helper()
	if os.Geteuid() != 0 {
		return self()
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return who{"nobody", uid, gid}
}

func needRoot(t *testing.T, what string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("missing: root, for %s", what)
	}
}

// testBinary returns the test binary at a place every user can run it from.
func testBinary(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		return exe
	}
	name := filepath.Join(publicDir(t), "engine.test")
	if err := copyFile(exe, name); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// publicDir makes a directory that all users can pass.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "aurora-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ownDir makes a directory that belongs to a user.
func ownDir(t *testing.T, w who) string {
	t.Helper()
	dir := publicDir(t)
	if err := os.Chown(dir, w.uid, w.gid); err != nil {
		t.Fatal(err)
	}
	return dir
}

// spawn starts a child without waiting for its server.
func spawn(t *testing.T, exe string, w who, c childConfig) *child {
	t.Helper()
	if c.CacheDir == "" {
		c.CacheDir = templateCache(t, exe, w)
	}
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+string(config), "HOME=/nonexistent")
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if w.uid != os.Geteuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(w.uid), Gid: uint32(w.gid)}
	}
	if c.NoNamespaces { // the limit is set for what is inside of one that has all users
		all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1 << 16}}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Setpgid: true, Cloneflags: syscall.CLONE_NEWUSER, UidMappings: all, GidMappings: all,
			GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{},
		}
	}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	ch := &child{t: t, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	t.Cleanup(ch.kill)
	return ch
}

// ready waits for the child's report.
func (c *child) ready() childReport {
	c.t.Helper()
	if !c.out.Scan() {
		c.t.Fatalf("the child said nothing: %v", c.out.Err())
	}
	if err := json.Unmarshal(c.out.Bytes(), &c.report); err != nil {
		c.t.Fatalf("the child said %q: %v", c.out.Text(), err)
	}
	return c.report
}

func begin(t *testing.T, exe string, w who, c childConfig) *child {
	t.Helper()
	ch := spawn(t, exe, w, c)
	if report := ch.ready(); report.Err != "" {
		t.Fatal(report.Err)
	}
	return ch
}

func (c *child) do(line string) string {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		c.t.Fatal(err)
	}
	if !c.out.Scan() {
		c.t.Fatalf("no answer to %q: %v", line, c.out.Err())
	}
	return c.out.Text()
}

func (c *child) want(line, answer string) {
	c.t.Helper()
	if got := c.do(line); got != answer {
		c.t.Fatalf("%s: got %q, want %q", line, got, answer)
	}
}

// end lets the child end in an orderly way.
func (c *child) end() {
	c.t.Helper()
	c.done = true
	if err := errors.Join(c.in.Close(), c.cmd.Wait()); err != nil {
		c.t.Fatalf("child: %v", err)
	}
}

// kill kills the child with SIGKILL, if it runs.
func (c *child) kill() {
	if c.done {
		return
	}
	c.done = true
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// using returns the processes that have to do with a directory: it is their
// working directory or their command line names it.
func using(t *testing.T, dirs ...string) map[int]string {
	t.Helper()
	found := map[int]string{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		cwd, _ := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd"))
		for _, dir := range dirs {
			if strings.HasPrefix(cwd, dir) || strings.Contains(string(line), dir) {
				found[pid] = strings.ReplaceAll(strings.Trim(string(line), "\x00"), "\x00", " ")
			}
		}
	}
	return found
}

// patience bounds waiting for something that must happen; it is long so that
// it is never reached on a slow machine by something that does happen.
const patience = 5 * time.Minute

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("does not come true: %s", what)
		}
	}
}

// gone waits until nothing is left of a server but its cluster.
func gone(t *testing.T, r childReport) {
	t.Helper()
	eventually(t, "no process is left", func() bool { return len(using(t, r.DataDir, r.SocketDir)) == 0 })
	eventually(t, "no directory is left in /tmp", func() bool {
		_, err := os.Lstat(r.SocketDir)
		return errors.Is(err, fs.ErrNotExist)
	})
	if _, err := os.Lstat(filepath.Join(r.DataDir, pidFileName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("PostgreSQL did not shut down in order: %v", err)
	}
}

// shells returns the watcher's processes: the one that waits for PostgreSQL
// and the one that reads the lease.
func shells(t *testing.T, r childReport) (main, reader int) {
	t.Helper()
	for pid, line := range using(t, r.DataDir) {
		if !strings.Contains(line, "aurora-pg-watcher") {
			continue
		}
		if _, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/3", pid)); err == nil {
			reader = pid
		} else {
			main = pid
		}
	}
	return main, reader
}

func killPid(t *testing.T, pid int) {
	t.Helper()
	if pid <= 1 {
		t.Fatalf("no process to kill: %d", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
	eventually(t, "a killed process ends", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(stat), ") ")
		return err != nil || strings.HasPrefix(rest, "Z")
	})
}

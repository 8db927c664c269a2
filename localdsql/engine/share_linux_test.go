package engine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// eachUser runs a test as an ordinary user, and for root also as root.
func eachUser(t *testing.T, test func(t *testing.T, w who)) {
	t.Helper()
	t.Run("ordinary user", func(t *testing.T) { test(t, ordinary(t)) })
	if os.Geteuid() == 0 {
		t.Run("root", func(t *testing.T) { test(t, self()) })
	}
}

func TestEightAtOnce(t *testing.T) {
	eachUser(t, func(t *testing.T, w who) {
		exe := testBinary(t)
		c := childConfig{Dir: filepath.Join(ownDir(t, w), ".aurora")}
		children := make([]*child, 8)
		for i := range children {
			children[i] = spawn(t, exe, w, c)
		}
		starters := 0
		for _, ch := range children {
			r := ch.ready()
			if r.Err != "" {
				t.Fatal(r.Err)
			}
			if r.Started {
				starters++
			}
			if r.Postmaster != children[0].report.Postmaster || r.Postmaster == "0" {
				t.Errorf("one has postmaster %s, another %s", children[0].report.Postmaster, r.Postmaster)
			}
			ch.want("SELECT 1+1", "2")
		}
		if starters != 1 {
			t.Errorf("%d processes started the server, want 1", starters)
		}
		for _, ch := range children[1:] {
			ch.end()
		}
		children[0].want("SELECT 1+1", "2")
		children[0].end()
		// An orderly end leaves nothing to wait for.
		if left := using(t, children[0].report.DataDir); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		gone(t, children[0].report)
	})
}

// TestChurn has processes come and go all the time, so that many come while
// the server is stopping.
func TestChurn(t *testing.T) {
	w := ordinary(t)
	exe := testBinary(t)
	c := childConfig{Dir: filepath.Join(ownDir(t, w), ".aurora")}
	first := begin(t, exe, w, c)
	first.want("CREATE TABLE seen (worker int)", "CREATE TABLE")
	first.end()
	c.CacheDir = templateCache(t, exe, w)
	const workers, rounds = 4, 8
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for round := range rounds {
				ch := spawn(t, exe, w, c)
				if !ch.out.Scan() || !strings.Contains(ch.out.Text(), `"Err":""`) {
					t.Errorf("worker %d, round %d: %q", worker, round, ch.out.Text())
					return
				}
				fmt.Fprintf(ch.in, "INSERT INTO seen VALUES (%d)\n", worker)
				if !ch.out.Scan() || ch.out.Text() != "INSERT 0 1" {
					t.Errorf("worker %d, round %d: %q", worker, round, ch.out.Text())
					return
				}
				if round%2 == 0 {
					ch.kill()
					continue
				}
				ch.in.Close()
				ch.done = true
				if err := ch.cmd.Wait(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	last := begin(t, exe, w, c)
	last.want("SELECT count(*) FROM seen", strconv.Itoa(workers*rounds))
	last.end()
	gone(t, last.report)
}

func TestKillStarter(t *testing.T) {
	eachUser(t, func(t *testing.T, w who) {
		exe := testBinary(t)
		c := childConfig{Dir: filepath.Join(ownDir(t, w), ".aurora")}
		starter, second := begin(t, exe, w, c), (*child)(nil)
		second = begin(t, exe, w, c)
		if !starter.report.Started || second.report.Started || second.report.Postmaster != starter.report.Postmaster {
			t.Fatalf("the second did not join the first: %+v, %+v", starter.report, second.report)
		}
		starter.kill()
		second.want("CREATE TABLE kept (a int)", "CREATE TABLE")
		third := begin(t, exe, w, c)
		if third.report.Postmaster != starter.report.Postmaster {
			t.Errorf("a third got another server")
		}
		second.kill()
		third.want("SELECT count(*) FROM kept", "0")
		third.kill()
		gone(t, third.report)
	})
}

// TestInterrupt sends what Ctrl-C sends, to the whole process group.
func TestInterrupt(t *testing.T) {
	w := ordinary(t)
	ch := begin(t, testBinary(t), w, childConfig{Dir: filepath.Join(ownDir(t, w), ".aurora")})
	if err := syscall.Kill(-ch.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	ch.want("SELECT pg_sleep(0.2) IS NULL", "f")
	ch.end()
	gone(t, ch.report)
}

// TestForgottenServer checks that a Server that became garbage keeps its share.
func TestForgottenServer(t *testing.T) {
	w := ordinary(t)
	ch := begin(t, testBinary(t), w, childConfig{Dir: filepath.Join(ownDir(t, w), ".aurora")})
	ch.want("forget", "ok")
	ch.want("SELECT pg_sleep(0.2) IS NULL", "f")
	ch.end()
	gone(t, ch.report)
}

// TestKillDuringStart kills a process at ever later moments of its start.
func TestKillDuringStart(t *testing.T) {
	eachUser(t, func(t *testing.T, w who) {
		exe := testBinary(t)
		root := ownDir(t, w)
		c := childConfig{Dir: filepath.Join(root, ".aurora"), CacheDir: filepath.Join(root, "cache")}
		for delay := time.Duration(0); delay < 1200*time.Millisecond; delay = delay*5/4 + 8*time.Millisecond {
			ch := spawn(t, exe, w, c)
			time.Sleep(delay)
			ch.kill()
		}
		eventually(t, "no process is left", func() bool { return len(using(t, c.Dir)) == 0 })
		last := begin(t, exe, w, c)
		last.want("SELECT 1+1", "2")
		last.end()
		gone(t, last.report)
		left, err := filepath.Glob(filepath.Join(c.Dir, ".*"))
		if err != nil || len(left) != 1 || filepath.Base(left[0]) != ".gitignore" {
			t.Errorf("in %s: %v, %v; want only .gitignore of the hidden files", c.Dir, left, err)
		}
	})
}

// TestKillWatcher kills the watcher's processes while the server is used.
func TestKillWatcher(t *testing.T) {
	tests := []struct {
		name         string
		main, reader bool
		joined       bool // somebody comes afterwards
		orderly      bool // the last user calls Stop
	}{
		{"both, then somebody joins", true, true, true, false},
		{"both, then the last stops", true, true, false, true},
		{"main", true, false, false, false},
		{"main, then somebody joins", true, false, true, true},
		{"reader, then somebody joins", false, true, true, false},
		{"reader, then the last stops", false, true, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := ordinary(t)
			exe := testBinary(t)
			c := childConfig{Dir: filepath.Join(ownDir(t, w), ".aurora")}
			ch := begin(t, exe, w, c)
			main, reader := shells(t, ch.report)
			if main == 0 || reader == 0 {
				t.Fatalf("the watcher has processes %d and %d", main, reader)
			}
			if tt.reader {
				killPid(t, reader)
			}
			if tt.main {
				killPid(t, main)
			}
			ch.want("SELECT 1+1", "2")
			if tt.joined {
				second := begin(t, exe, w, c)
				if second.report.Postmaster != ch.report.Postmaster {
					t.Errorf("the second got another server")
				}
				second.kill()
				// The first one's lease is on the new watcher too.
				ch.want("SELECT pg_sleep(0.3) IS NULL", "f")
			}
			if tt.orderly {
				ch.end()
			} else {
				ch.kill()
			}
			gone(t, ch.report)
		})
	}
}

// TestTerminateWatcher sends what a system sends to all processes when it goes
// down.
func TestTerminateWatcher(t *testing.T) {
	w := ordinary(t)
	ch := begin(t, testBinary(t), w, childConfig{Dir: filepath.Join(ownDir(t, w), ".aurora")})
	main, _ := shells(t, ch.report)
	if err := syscall.Kill(main, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	gone(t, ch.report)
	ch.end()
}

// TestShells has every shell of the machine that can be sh run the watcher.
func TestShells(t *testing.T) {
	w := ordinary(t)
	exe := testBinary(t)
	seen := 0
	for _, name := range []string{"dash", "bash", "busybox", "ksh", "mksh", "zsh"} {
		program, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		seen++
		t.Run(name, func(t *testing.T) {
			// Called sh it behaves as one.
			shell := filepath.Join(publicDir(t), "sh")
			if err := os.Symlink(program, shell); err != nil {
				t.Fatal(err)
			}
			c := childConfig{Dir: filepath.Join(ownDir(t, w), ".aurora"), Shell: shell}
			starter, second := begin(t, exe, w, c), begin(t, exe, w, c)
			starter.kill()
			second.want("SELECT pg_sleep(0.3) IS NULL", "f")
			main, reader := shells(t, second.report)
			killPid(t, reader)
			killPid(t, main)
			third := begin(t, exe, w, c)
			if third.report.Postmaster != second.report.Postmaster {
				t.Errorf("the third got another server")
			}
			second.kill()
			third.want("SELECT pg_sleep(0.3) IS NULL", "f")
			third.kill()
			gone(t, third.report)
			fourth := begin(t, exe, w, c)
			fourth.kill()
			gone(t, fourth.report)
			fifth := begin(t, exe, w, c)
			main, _ = shells(t, fifth.report)
			if err := syscall.Kill(main, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			gone(t, fifth.report)
			fifth.end()
		})
	}
	if seen == 0 {
		t.Error("no shell was found")
	}
}

// TestKillEverything kills every process there is and starts again.
func TestKillEverything(t *testing.T) {
	eachUser(t, func(t *testing.T, w who) {
		exe := testBinary(t)
		c := childConfig{Dir: filepath.Join(ownDir(t, w), ".aurora")}
		ch := begin(t, exe, w, c)
		ch.want("CREATE TABLE kept (a int)", "CREATE TABLE")
		ch.want("INSERT INTO kept VALUES (42)", "INSERT 0 1")
		main, reader := shells(t, ch.report)
		killPid(t, reader)
		killPid(t, main)
		for pid := range using(t, ch.report.DataDir) {
			killPid(t, pid)
		}
		ch.kill()
		if _, err := os.Lstat(filepath.Join(ch.report.DataDir, pidFileName)); err != nil {
			t.Fatalf("it was not killed: %v", err)
		}
		again := begin(t, exe, w, c)
		again.want("SELECT a FROM kept", "42")
		if _, err := os.Lstat(ch.report.SocketDir); err == nil && again.report.SocketDir != ch.report.SocketDir {
			t.Errorf("the old %s is still there", ch.report.SocketDir)
		}
		again.kill()
		gone(t, again.report)
	})
}

// TestKillPostmaster lets PostgreSQL die under its users.
func TestKillPostmaster(t *testing.T) {
	w := ordinary(t)
	exe := testBinary(t)
	c := childConfig{Dir: filepath.Join(ownDir(t, w), ".aurora")}
	ch := begin(t, exe, w, c)
	ch.want("CREATE TABLE kept (a int)", "CREATE TABLE")
	pid, err := strconv.Atoi(ch.report.Postmaster)
	if err != nil {
		t.Fatal(err)
	}
	killPid(t, pid)
	second := begin(t, exe, w, c)
	if !second.report.Started || second.report.Postmaster == ch.report.Postmaster {
		t.Errorf("the second did not start a new server: %+v", second.report)
	}
	second.want("SELECT count(*) FROM kept", "0")
	// The end of the first one's share is nothing to the new server.
	ch.end()
	second.want("SELECT count(*) FROM kept", "0")
	second.kill()
	gone(t, second.report)
}

func TestStalePid(t *testing.T) {
	w := ordinary(t)
	exe := testBinary(t)
	other := begin(t, exe, w, childConfig{Dir: filepath.Join(ownDir(t, w), ".aurora")})
	c := childConfig{Dir: filepath.Join(ownDir(t, w), ".aurora")}
	first := begin(t, exe, w, c)
	first.end()
	pids := map[string]string{
		"recycled by another program":           strconv.Itoa(os.Getpid()),
		"recycled by a PostgreSQL of elsewhere": other.report.Postmaster,
		"of nobody":                             "4194303",
		"damaged":                               "what?",
	}
	for name, pid := range pids {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(first.report.DataDir, pidFileName)
			text := fmt.Sprintf("%s\n%s\n1700000000\n5432\n/tmp\n\n  1234567         0\nready   \n", pid, first.report.DataDir)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(file, w.uid, w.gid); err != nil {
				t.Fatal(err)
			}
			ch := begin(t, exe, w, c)
			ch.want("SELECT 1+1", "2")
			ch.kill()
			gone(t, ch.report)
		})
	}
	other.want("SELECT 1+1", "2")
}

func TestThrowaway(t *testing.T) {
	eachUser(t, func(t *testing.T, w who) {
		exe := testBinary(t)
		cache := filepath.Join(ownDir(t, w), "cache")
		c := childConfig{Throwaway: true, CacheDir: cache}
		first, second := begin(t, exe, w, c), begin(t, exe, w, c)
		if first.report.DataDir == second.report.DataDir {
			t.Fatal("two throw-away servers share a cluster")
		}
		if templates, _ := filepath.Glob(filepath.Join(cache, "templates", "pg*")); len(templates) != 1 {
			t.Errorf("templates: %v, want one", templates)
		}
		first.want("SHOW fsync", "off")
		// A live one is not swept away, however old it looks.
		old := time.Now().Add(-24 * time.Hour)
		home := filepath.Dir(first.report.DataDir)
		if err := os.Chtimes(home, old, old); err != nil {
			t.Fatal(err)
		}
		dead := filepath.Join(filepath.Dir(home), throwawayPrefix+"test-"+randomName())
		if err := os.MkdirAll(filepath.Join(dead, "pg15"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dead, w.uid, w.gid); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dead, "pg15"), w.uid, w.gid); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dead, old, old); err != nil {
			t.Fatal(err)
		}
		third := begin(t, exe, w, c)
		if _, err := os.Lstat(dead); err == nil {
			t.Errorf("a dead one's directory was not removed")
		}
		first.want("SELECT 1+1", "2")
		first.end()
		if _, err := os.Lstat(home); err == nil {
			t.Errorf("%s is still there after Stop", home)
		}
		for _, ch := range []*child{second, third} {
			ch.kill()
			eventually(t, "a killed one's directory is removed", func() bool {
				_, err := os.Lstat(filepath.Dir(ch.report.DataDir))
				return err != nil
			})
			eventually(t, "no process is left", func() bool { return len(using(t, ch.report.DataDir)) == 0 })
		}
	})
}

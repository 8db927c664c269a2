package docs_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// start runs a command in the background until it has the lock.
func (p *player) start(t *testing.T, where string, b block) {
	t.Helper()
	all, err := calls(b)
	if err != nil || len(all) != 1 {
		t.Fatalf("%s: want one command for the background (%v)", where, err)
	}
	line := all[0].line
	if strings.Contains(line, "aurora dashboard") {
		p.port = freePort(t)
		line += " --no-open --port " + p.port
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() // the command has its own
	p.job = p.command(context.WithoutCancel(t.Context()), "exec "+line)
	p.job.Stdout, p.job.Stderr = out, out
	if err := p.job.Start(); err != nil {
		t.Fatal(err)
	}
	said := func() []string {
		data, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		return lines(string(data))
	}
	underWay := func() bool { return p.isUnderWay(t, where, line, b) }
	if b.is("says") {
		underWay = func() bool { return len(said()) >= len(all[0].want) }
	}
	for deadline := time.Now().Add(patience); !underWay(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.signal(t, syscall.SIGKILL)
			t.Fatalf("%s: it does not take the lock, or does not say what is shown\n%s", where, strings.Join(said(), "\n"))
		}
	}
	if b.is("says") {
		p.compare(t, where, b, all[0], said())
	}
}

// freePort is free until somebody else takes it.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // nobody has connected
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// dashboardAddress is where the pages say that a dashboard is. Other programs
// of this machine may be there.
const dashboardAddress = "127.0.0.1:3100"

// compare compares what a command in the background said.
func (p *player) compare(t *testing.T, where string, b block, c call, got []string) {
	t.Helper()
	want := mask(lines(strings.Join(c.want, "\n")), c.line)
	if matches(want, mask(got, c.line)) {
		return
	}
	if os.Getenv("UPDATE_DOCS") == "" {
		t.Errorf("%s: $ %s: -shown +seen\n%s", where, c.line, cmp.Diff(want, mask(got, c.line)))
	}
	if p.seen == nil {
		p.seen = map[int][]string{}
	}
	p.seen[b.line] = append([]string{"$ " + c.line}, got...)
}

// isUnderWay reports whether the command of a block is where the page wants it.
func (p *player) isUnderWay(t *testing.T, where, line string, b block) bool {
	t.Helper()
	if !b.is("status") {
		return p.isLocked(t)
	}
	out := p.run(t, where, strings.Replace(line, " apply", " status", 1))
	p.exit = 0 // the page does not show it
	return strings.Contains(strings.Join(out, "\n"), b.attrs["status"])
}

func (p *player) isLocked(t *testing.T) bool {
	t.Helper()
	return pgtest.One(t, p.url, "SELECT to_regclass('aurora.aurora_leases') IS NOT NULL") == "t" &&
		pgtest.One(t, p.url, "SELECT count(*) FROM aurora.aurora_leases WHERE expires_at > now()") == "1" &&
		pgtest.One(t, p.url, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'") == "1"
}

// signal signals the background command and waits for its end.
func (p *player) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if p.job == nil {
		t.Fatal("nothing runs in the background")
	}
	if err := p.job.Process.Signal(s); err != nil {
		t.Error(err)
	}
	_ = p.job.Wait() // it was killed
	p.job = nil
}

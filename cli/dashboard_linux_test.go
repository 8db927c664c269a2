//go:build !aurora_bundle

package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
)

// openTerminal returns both sides of a terminal (ptmx(4)).
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	var n, unlock int32
	for _, call := range []struct {
		request uintptr
		arg     *int32
	}{{syscall.TIOCSPTLCK, &unlock}, {syscall.TIOCGPTN, &n}} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, person.Fd(), call.request, uintptr(unsafe.Pointer(call.arg))); errno != 0 {
			t.Fatal(errno)
		}
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

// talk runs the program with somebody at the terminal, who answers questions,
// each when it is asked, until the program says something that ends with stop.
func talk(t *testing.T, answers map[string]string, stop string) string {
	t.Helper()
	person, program := openTerminal(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		code := Run(ctx, []string{"dashboard", "--no-open", "--port", "0"}, Streams{In: program, Out: w, Err: w})
		_ = w.Close()
		ended <- code
	}()
	var said strings.Builder
	for in := bufio.NewReader(r); ; {
		b, err := in.ReadByte()
		if err != nil {
			break
		}
		said.WriteByte(b)
		text := said.String()
		for question, answer := range answers {
			if strings.HasSuffix(text, question) {
				if _, err := person.WriteString(answer + "\n"); err != nil {
					t.Fatal(err)
				}
			}
		}
		if strings.HasSuffix(text, stop) {
			go func() { _, _ = io.Copy(io.Discard, in) }()
			break
		}
	}
	cancel()
	code := <-ended
	return fmt.Sprintf("%s\nexit %d", said.String(), code)
}

// Every address of this machine is answered where it listens, by all names that
// a browser may use for it, and by no other.
func TestDashboardAnswersItsOwnAddress(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("migrations", 0o700); err != nil {
		t.Fatal(err)
	}
	p := startDashboard(t, []string{"--history", "file://h.db", "--allow-empty", "--listen", "127.0.0.2"})
	var session struct{ User string }
	p.get("api/session", &session)
	if !strings.HasPrefix(p.base, "http://127.0.0.2:") {
		t.Error(p.base)
	}

	t.Setenv(tokenVariable, "0123456789-0123456789")
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		code := Run(ctx, []string{"dashboard", "--no-open", "--port", "0", "--history", "file://h.db", "--allow-empty", "--host", "db.example.com"},
			Streams{In: strings.NewReader(""), Out: w, Err: w}, []aurora.Migration{})
		_ = w.Close()
		ended <- code
	}()
	t.Cleanup(func() { cancel(); <-ended })
	address := ""
	lines := bufio.NewScanner(r)
	for address == "" && lines.Scan() {
		address, _ = strings.CutPrefix(lines.Text(), "Open ")
		if address == lines.Text() {
			address = ""
		}
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	u, err := url.Parse(address)
	if err != nil || u.Port() == "" {
		t.Fatalf("it listens at %q, %v", address, err)
	}
	for host, want := range map[string]int{
		u.Host: http.StatusOK, "localhost:" + u.Port(): http.StatusOK, "db.example.com": http.StatusOK,
		"evil.example:" + u.Port(): http.StatusForbidden, "localhost": http.StatusForbidden,
	} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"api/session", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Authorization", "Bearer 0123456789-0123456789")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want || want == http.StatusOK && !strings.Contains(string(body), `"user":"token holder"`) {
			t.Errorf("%s: %s %s, %v", host, resp.Status, body, err)
		}
		_ = resp.Body.Close()
	}
}

func TestLoopbackHosts(t *testing.T) {
	for _, tt := range []struct{ address, want string }{
		{"127.0.0.1:3100", "127.0.0.1:3100 localhost:3100 [::1]:3100"},
		{"127.0.0.2:3100", "127.0.0.1:3100 localhost:3100 [::1]:3100 127.0.0.2:3100"},
		{"[::1]:80", "127.0.0.1:80 127.0.0.1 localhost:80 localhost [::1]:80 [::1]"},
		{"0.0.0.0:80", ""},
		{"[::]:80", ""},
		{"192.0.2.1:80", ""},
	} {
		addr, err := net.ResolveTCPAddr("tcp", tt.address)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(loopbackHosts(addr), " "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.address, got, tt.want)
		}
	}
}

// Somebody chooses the profile, whose session has expired, signs in, and
// chooses one of two tables.
func TestDashboardAsks(t *testing.T) {
	proxy := dynamotest.NewProxy(t)
	awsHome(t, ssoConfig)
	newCloud(t, proxy)
	t.Setenv("AWS_ENDPOINT_URL_SSO", httptestPortal(t))
	for _, name := range []string{"a", "b"} {
		createTable(t, proxy, "Asked-MigrationsTable-"+name)
	}
	home := os.Getenv("HOME")
	path, token := ssoToken(t)
	script := fmt.Sprintf("#!/bin/sh\necho \"$*\" > %s/called\nmkdir -p %s\ncat > %s <<'END'\n%s\nEND\n", home, filepath.Dir(path), path, token)
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "aws"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))

	out := talk(t, map[string]string{"Number, 1 to 2: ": "prod", "[y/N] ": "n"}, "never")
	if !strings.Contains(out, "exit 2") || !strings.Contains(out, "sign in again with: aws sso login --profile prod") {
		t.Errorf("somebody who does not want to: %s", out)
	}
	if _, err := os.Stat(filepath.Join(home, "called")); err == nil {
		t.Error("aws ran without a yes")
	}
	out = talk(t, map[string]string{"Number, 1 to 2: ": "2", "[y/N] ": "y"}, "token=")
	called, err := os.ReadFile(filepath.Join(home, "called"))
	if err != nil || strings.TrimSpace(string(called)) != "sso login --profile prod" {
		t.Errorf("aws was called with %q, %v: %s", called, err, out)
	}
	if !strings.Contains(out, "Which AWS profile?") || !strings.Contains(out, "Which DynamoDB table?") || !strings.Contains(out, "Dashboard of prod") || strings.Contains(out, "s3cr3tkey") {
		t.Error(out)
	}
}

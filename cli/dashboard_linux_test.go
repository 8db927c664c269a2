//go:build !aurora_bundle

package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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

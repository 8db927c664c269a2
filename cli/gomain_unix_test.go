//go:build unix

package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// script is a program for runProgram.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRunProgram: where a process cannot become another, arguments, input,
// outputs and the exit code go through it.
func TestRunProgram(t *testing.T) {
	var stdout, stderr strings.Builder
	a := newApp(Streams{In: strings.NewReader("input"), Out: &stdout, Err: &stderr})
	a.args = []string{"migrate", "a b"}
	err := runProgram(t.Context(), a, script(t, `read -r line; echo "$2 $line"; echo said >&2; exit 3`))
	var exit *exitError
	if !errors.As(err, &exit) || exit.code != ExitPending || stdout.String() != "a b input\n" || stderr.String() != "said\n" {
		t.Errorf("%v, %q, %q", err, stdout.String(), stderr.String())
	}
	if err := runProgram(t.Context(), a, script(t, "exit 0")); !errors.As(err, &exit) || exit.code != ExitDone {
		t.Errorf("a program that succeeds: %v", err)
	}
	if err := runProgram(t.Context(), a, script(t, "kill -9 $$")); err == nil || errors.As(err, &exit) {
		t.Errorf("a program that was killed: %v", err)
	}
	if err := runProgram(t.Context(), a, filepath.Join(t.TempDir(), "none")); err == nil || errors.As(err, &exit) {
		t.Errorf("a program that is not there: %v", err)
	}
}

// TestRunProgramPassesOnAnInterrupt: the program ends in its own way.
func TestRunProgramPassesOnAnInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	a := newApp(Streams{In: strings.NewReader(""), Out: w, Err: io.Discard})
	go func() {
		// It is ready as soon as it says something.
		if _, err := r.Read(make([]byte, 1)); err == nil {
			cancel()
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	err := runProgram(ctx, a, script(t, "trap 'exit 130' INT\necho ready\nwhile :; do sleep 0.05; done\n"))
	var exit *exitError
	if !errors.As(err, &exit) || exit.code != ExitInterrupted {
		t.Errorf("got %v", err)
	}
}

// TestBecomingNeedsAProgram: the stock program builds one, one with a slice, even
// a nil one, never does.
func TestBecomingNeedsAProgram(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"1_a.go": "package m\n", "m.go": "package m\n\nvar Migrations = all()\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var stderr strings.Builder
	a := newApp(Streams{In: strings.NewReader(""), Out: io.Discard, Err: &stderr})
	a.become = func(context.Context, *app, string) error {
		t.Error("became a program that was not built")
		return nil
	}
	// There is no module, so nothing can be built.
	if code := a.run(t.Context(), []string{"migrate", "list", "--dir", dir}); code != ExitUsage || !strings.Contains(stderr.String(), "go mod init") {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
	stderr.Reset()
	a = newApp(Streams{In: strings.NewReader(""), Out: io.Discard, Err: &stderr}, nil)
	a.become = func(context.Context, *app, string) error {
		t.Error("a program with a slice became another")
		return nil
	}
	if code := a.run(t.Context(), []string{"migrate", "list", "--dir", dir}); code != ExitUsage || !strings.Contains(stderr.String(), "would never run") {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}

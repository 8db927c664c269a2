package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/cli/internal/report"
	"github.com/aurora-migrate/aurora/localdsql/engine"
	"github.com/aurora-migrate/aurora/sqlfile"
)

func TestA38ExitCodes(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		err  error
		want int
	}{
		{"done", t.Context(), nil, ExitDone},
		{"done in spite of a signal", canceled, nil, ExitDone},
		{"failed", t.Context(), errors.New("no"), ExitFailed},
		{"a step", t.Context(), &aurora.StepError{Err: errors.New("no")}, ExitFailed},
		{"out of order", t.Context(), &aurora.OutOfOrderError{}, ExitFailed},
		{"irreversible", t.Context(), &aurora.IrreversibleError{}, ExitFailed},
		{"lease lost", t.Context(), aurora.ErrLeaseLost, ExitFailed},
		{"usage", t.Context(), &usageError{Err: errors.New("no")}, ExitUsage},
		{"request", t.Context(), fmt.Errorf("x: %w", &aurora.RequestError{}), ExitUsage},
		{"format", t.Context(), &report.FormatError{Err: errors.New("no")}, ExitUsage},
		{"pending", t.Context(), reported(errPending), ExitPending},
		{"pending, unknown", t.Context(), &pendingError{errors.New("no")}, ExitPending},
		{"locked", t.Context(), fmt.Errorf("x: %w", &aurora.LockedError{}), ExitLocked},
		{"changed", t.Context(), reported(&aurora.ChangedError{}), ExitChanged},
		{"sum", t.Context(), directoryError(&sqlfile.SumError{Err: errors.New("no")}), ExitChanged},
		{"interrupted", t.Context(), fmt.Errorf("%w: x", aurora.ErrInterrupted), ExitInterrupted},
		{"whatever a signal caused", canceled, errors.New("no"), ExitInterrupted},
		{"a lock waited for when a signal came", canceled, &aurora.LockedError{}, ExitInterrupted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := exitCode(tt.ctx, tt.err); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestExcerpt(t *testing.T) {
	long := "SELECT " + strings.Repeat("x, ", 100) + "y"
	tests := []struct {
		name     string
		sql      string
		position int
		want     string
	}{
		{"first character", "SELEC 1", 1, "    SELEC 1\n    ^\n"},
		{"second line, behind a tab", "SELECT\n\t1 +\n\tx", 14, "    SELECT\n    \t1 +\n    \tx\n    \t^\n"},
		{"third of four lines", "a\nb\nc d\ne", 7, "    a\n    b\n    c d\n      ^\n"},
		{"characters, not bytes", "SELECT 'äöü', x", 15, "    SELECT 'äöü', x\n                  ^\n"},
		{"at the end", "SELECT (", 8, "    SELECT (\n           ^\n"},
		{"behind the end", "SELECT (", 9, "    SELECT (\n"},
		{"unknown", "SELECT 1", 0, "    SELECT 1\n"},
		{"many lines, unknown", "1\n2\n3\n4\n5\n6\n7", 0, "    1\n    2\n    3\n    4\n    5\n    6\n    …\n"},
		{"carriage returns", "SELECT\r\n x", 10, "    SELECT\n     x\n     ^\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, excerpt(tt.sql, tt.position)); diff != "" {
				t.Error(diff)
			}
		})
	}
	lines := strings.Split(excerpt(long, len(long)), "\n")
	if !strings.HasPrefix(lines[0], "    …") || strings.Index(lines[1], "^")-4 != len([]rune(lines[0]))-5 {
		t.Errorf("the caret of a long line is not below its end:\n%s\n%s", lines[0], lines[1])
	}
}

func TestSecrets(t *testing.T) {
	var s secrets
	s.add("postgres://app:s3cr%2Ft%20pw@h/db?sslpassword=keypass1")
	s.add("postgres://postgres:postgres@h/db")
	tests := []struct{ text, want string }{
		{"it was s3cr/t pw", "it was xxxxx"},
		{"it was s3cr%2Ft%20pw", "it was xxxxx"},
		{"key keypass1", "key xxxxx"},
		{"user postgres on postgres://postgres:postgres@h/db", "user postgres on postgres://postgres:xxxxx@h/db"},
		{"any url: postgres://u:other@h/db", "any url: postgres://u:xxxxx@h/db"},
		{"nothing", "nothing"},
	}
	for _, tt := range tests {
		if got := s.hide(tt.text); got != tt.want {
			t.Errorf("hide(%q): got %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestConcise(t *testing.T) {
	got := concise("failed to connect to `user=u`:\n\t127.0.0.1:1: refused\n\t127.0.0.1:1: refused\n\t[::1]:1: refused")
	if want := "failed to connect to `user=u`: 127.0.0.1:1: refused; [::1]:1: refused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A3: whoever reads may go away.
func TestPipeWriter(t *testing.T) {
	calls := 0
	w := &pipeWriter{w: writerFunc(func([]byte) (int, error) { calls++; return 0, &os.PathError{Op: "write", Err: syscall.EPIPE} })}
	for range 3 {
		if n, err := w.Write([]byte("abc")); n != 3 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	}
	if calls != 1 {
		t.Errorf("wrote %d times to a closed pipe, want 1", calls)
	}
	full := &pipeWriter{w: writerFunc(func([]byte) (int, error) { return 0, syscall.ENOSPC })}
	if _, err := full.Write([]byte("abc")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("another error must stay one: got %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// testApp returns a program whose database is a store in memory.
func testApp(t *testing.T, open func() (aurora.Store, error)) (*app, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := newApp(Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr, LookupEnv: func(string) (string, bool) { return "", false }})
	a.open = func(context.Context, *app, settings) (*target, error) {
		store, err := open()
		if err != nil {
			return nil, err
		}
		return &target{store: store, close: func(context.Context) error { return nil }}, nil
	}
	return a, &stdout, &stderr
}

func migrationDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOpenErrors(t *testing.T) {
	dir := migrationDir(t, map[string]string{"1_a.sql": "SELECT 1;"})
	tests := []struct {
		name string
		err  error
		code int
		want string
	}{
		{
			"disk full", fmt.Errorf("start the local database: %w", engine.ErrDiskFull), ExitFailed,
			"Error: start the local database: no space left on the disk\nhint: free some space, or put the project on another disk\n",
		},
		{
			"refused", fmt.Errorf("connect: %w", &pgconn.PgError{Severity: "FATAL", Code: "28P01", Message: "no for s3cret-pw"}), ExitFailed,
			"Error: connect: FATAL: no for xxxxx (SQLSTATE 28P01)\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, stdout, stderr := testApp(t, func() (aurora.Store, error) { return nil, tt.err })
			code := a.run(t.Context(), []string{"migrate", "apply", "--url", "postgres://app:s3cret-pw@h/db", "--dir", dir})
			if code != tt.code || stdout.Len() > 0 {
				t.Errorf("exit code %d, output %q", code, stdout)
			}
			if diff := cmp.Diff(tt.want, stderr.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A status is one look at the history, and takes nothing (A32, A34).
func TestStatusReadsOnce(t *testing.T) {
	dir := migrationDir(t, map[string]string{"1_a.sql": "SELECT 1;", "2_b.sql": "SELECT 2;"})
	var store auroratest.Memory
	a, _, stderr := testApp(t, func() (aurora.Store, error) { return &store, nil })
	if code := a.run(t.Context(), []string{"migrate", "status", "--url", "postgres://h/db", "--dir", dir}); code != ExitPending {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for op, want := range map[auroratest.Op]int{
		auroratest.OpLatest: 1, auroratest.OpAcquire: 0, auroratest.OpSave: 0, auroratest.OpRead: 0,
	} {
		if got := store.Calls(op); got != want {
			t.Errorf("%s: %d calls, want %d", op, got, want)
		}
	}
}

func TestA43HelpOfEveryCommand(t *testing.T) {
	a := newApp(Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
	root := a.newRootCommand()
	migrate, _, err := root.Find([]string{"migrate"})
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range migrate.Commands() {
		if cmd.Short == "" || cmd.RunE == nil || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: wants a short description without a full stop, and something to run", cmd.Name())
		}
	}
}

func BenchmarkVersion(b *testing.B) {
	for b.Loop() {
		if code := Run(b.Context(), []string{"version"}, Streams{Out: io.Discard, Err: io.Discard}); code != ExitDone {
			b.Fatal(code)
		}
	}
}

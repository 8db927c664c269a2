package filestore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/filestore"
)

const long = 10 * time.Minute

var alice = aurora.Holder{Host: "build-7", PID: 4711, User: "alice"}

func TestConformance(t *testing.T) {
	auroratest.Run(t, func(t *testing.T) func(project string) aurora.Store {
		path := filepath.Join(t.TempDir(), "deep", "er", "history.db")
		return func(project string) aurora.Store { return open(t, path, project) }
	})
}

func open(t testing.TB, path, project string) *filestore.Store {
	t.Helper()
	s, err := filestore.Open(filestore.Config{Path: path, Project: project})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

// newPath returns the path of a file that does not exist.
func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "history.db") }

func acquire(t testing.TB, s *filestore.Store) aurora.Lease {
	t.Helper()
	lease, err := s.Acquire(context.Background(), alice, long)
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	return lease
}

func save(t testing.TB, l aurora.Lease, revisions ...aurora.Revision) {
	t.Helper()
	if err := l.Save(context.Background(), revisions...); err != nil {
		t.Fatalf("Save: %v", err)
	}
}

func revision(execution, version string, seq int) aurora.Revision {
	return aurora.Revision{
		ExecutionID: execution, Version: version, Name: "m", Direction: aurora.Up, State: aurora.Completed,
		Kind: aurora.Applied, Seq: seq, Steps: 1, Done: 1, StartedAt: time.Unix(1_700_000_000, 0).UTC(), Holder: alice,
	}
}

func latest(t testing.TB, s *filestore.Store) []string {
	t.Helper()
	revisions, err := s.Latest(context.Background())
	if err != nil {
		t.Fatalf("Latest: %v", err)
	}
	var out []string
	for _, r := range revisions {
		out = append(out, r.Version+"/"+r.ExecutionID)
	}
	return out
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// readers calls all that only reads.
func readers(t testing.TB, s *filestore.Store) error {
	t.Helper()
	ctx := context.Background()
	if _, err := s.Latest(ctx); err != nil {
		return err
	}
	if _, err := s.Locked(ctx); err != nil {
		return err
	}
	if _, _, err := s.Revisions(ctx, "1", "", 10); err != nil {
		return err
	}
	if _, err := s.Revision(ctx, "e", "1"); err != nil && !errors.Is(err, aurora.ErrNotFound) {
		return err
	}
	_, _, err := s.Executions(ctx, "", 10)
	return err
}

func TestReadersCreateNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, ".aurora", "history.db"), "")
	if err := readers(t, s); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("reading created %v", got)
	}
}

// The file grows with each checkpoint and is written anew now and then; nobody
// who reads or holds the lease meanwhile notices.
func TestFileStaysSmall(t *testing.T) {
	path := newPath(t)
	s, reader, other := open(t, path, ""), open(t, path, ""), open(t, path, "other")
	save(t, acquire(t, other), revision("o", "1", 1))
	lease := acquire(t, s)
	r := revision("e", "1", 1)
	r.Output = strings.Repeat("a line of output that says little\n", 3000)
	save(t, lease, revision("before", "1", 0), revision("e", "2", 3))
	var largest int64
	anew := 0
	for i := range 150 {
		r.Checkpoint = fmt.Appendf(nil, "%d", i)
		save(t, lease, r)
		if err := lease.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, _, err := reader.Revisions(t.Context(), "1", "", 10)
		if err != nil || len(got) != 2 || string(got[0].Checkpoint) != fmt.Sprint(i) {
			t.Fatalf("Revisions after %d saves: %d, %v", i, len(got), err)
		}
		if got, err := reader.Revision(t.Context(), "e", "1"); err != nil || got.Output != r.Output {
			t.Fatalf("Revision after %d saves: %d bytes of output, %v", i, len(got.Output), err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() < largest {
			anew++
			largest = 0
		}
		largest = max(largest, info.Size())
		if info.Size() > 3<<20 {
			t.Fatalf("%d bytes after %d saves of %d", info.Size(), i, len(r.Output))
		}
	}
	if anew < 5 {
		t.Errorf("the file was written anew %d times in 15 MB", anew)
	}
	if diff := cmp.Diff([]string{"1/e", "2/e"}, latest(t, reader)); diff != "" {
		t.Errorf("Latest (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"1/o"}, latest(t, other)); diff != "" {
		t.Errorf("Latest of another project (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"history.db", "history.db.lock"}, names(t, filepath.Dir(path))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// A link to the file stays one when the file is written anew.
func TestLinkToTheFile(t *testing.T) {
	path := newPath(t)
	save(t, acquire(t, open(t, path, "")), revision("e", "1", 1))
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	s := open(t, link, "shop")
	lease := acquire(t, s)
	r := revision("e", "2", 1)
	r.Output = strings.Repeat("x", 200_000)
	for range 10 {
		save(t, lease, r)
	}
	if diff := cmp.Diff([]string{"1/e"}, latest(t, open(t, path, ""))); diff != "" {
		t.Errorf("Latest (-want +got):\n%s", diff)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is none any more: %v, %v", info, err)
	}
}

func TestParseURL(t *testing.T) {
	tests := []struct {
		url     string
		want    filestore.Config
		wantErr string
	}{
		{"file://.aurora/history.db", filestore.Config{Path: filepath.FromSlash(".aurora/history.db")}, ""},
		{"file://history.db?project=shop", filestore.Config{Path: "history.db", Project: "shop"}, ""},
		{"file:///var/lib/my%20app/h.db", filestore.Config{Path: filepath.FromSlash("/var/lib/my app/h.db")}, ""},
		{"file:///var/lib/my app/h.db", filestore.Config{Path: filepath.FromSlash("/var/lib/my app/h.db")}, ""},
		{".aurora/history.db", filestore.Config{}, "must begin with file://"},
		{"file://", filestore.Config{}, "names no file"},
		{"file://.aurora/", filestore.Config{}, "names no file"},
		{"file://h.db?projekt=shop", filestore.Config{}, `has a parameter "projekt"; there is only project`},
		{"file://h.db?project=", filestore.Config{}, "project needs one value"},
		{"file://%zz", filestore.Config{}, "invalid URL escape"},
	}
	for _, tt := range tests {
		got, err := filestore.ParseURL(tt.url)
		if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != (tt.wantErr == "") ||
			err != nil && !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("ParseURL(%q): %v, want %q (-want +got):\n%s", tt.url, err, tt.wantErr, diff)
		}
	}
}

// A run of migrations that keeps its history in a file.
func TestRun(t *testing.T) {
	path := newPath(t)
	var migrations []aurora.Migration
	for i := range 3 {
		migrations = append(migrations, aurora.Migration{Version: fmt.Sprint(i), Up: []aurora.Step{aurora.Func{Name: "f", Do: func(ctx context.Context, env *aurora.Env) error {
			env.Log.Info("hello")
			return env.Checkpoint(ctx, i)
		}}}})
	}
	r := aurora.Runner{Store: open(t, path, ""), Migrations: migrations}
	if _, err := r.Run(t.Context(), aurora.Request{}); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	r.Store = open(t, path, "")
	if e, err := r.Run(t.Context(), aurora.Request{}); err != nil || len(e.Revisions) != 0 {
		t.Errorf("the second run: %v, %v", e.Revisions, err)
	}
	if after, err := os.Stat(path); err != nil || after.Size() != before.Size() {
		t.Errorf("a run that had nothing to do wrote %d bytes (%v)", after.Size()-before.Size(), err)
	}
}

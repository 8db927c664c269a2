package filestore_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/filestore"
)

// sample writes a file of some records and returns it, and where records end.
func sample(t *testing.T) (content []byte, ends []int) {
	t.Helper()
	path := newPath(t)
	s := open(t, path, "")
	add := func() {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		content, ends = b, append(ends, len(b))
	}
	lease := acquire(t, s)
	add()
	for i := range 3 {
		save(t, lease, revision("e", fmt.Sprint(i), i))
		add()
	}
	// Nobody holds the lease in the end.
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	add()
	return content, ends
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Wherever the file ends, what was finished is read, and writing goes on.
func TestFileThatEndsWithinARecord(t *testing.T) {
	content, ends := sample(t)
	for _, tail := range []string{"", "\x00", strings.Repeat("\x00", 70_000)} {
		for n := range content {
			path := newPath(t)
			write(t, path, append(bytes.Clone(content[:n]), tail...))
			var want []string
			for i, end := range ends[1:4] {
				if n >= end {
					want = append(want, fmt.Sprintf("%d/e", i))
				}
			}
			s := open(t, path, "")
			if diff := cmp.Diff(want, latest(t, s)); diff != "" {
				t.Fatalf("%d bytes and %d zeros: Latest (-want +got):\n%s", n, len(tail), diff)
			}
			if n%29 != 0 && !slices.Contains(ends, n) && !slices.Contains(ends, n+1) {
				continue // writing is slower
			}
			if locked, err := s.Locked(t.Context()); err != nil {
				t.Fatal(err)
			} else if locked != nil {
				if err := s.Break(t.Context(), locked.Token); err != nil {
					t.Fatal(err)
				}
			}
			save(t, acquire(t, s), revision("f", "new", 1))
			if diff := cmp.Diff(append(want, "new/f"), latest(t, open(t, path, ""))); diff != "" {
				t.Fatalf("%d bytes and %d zeros, after writing: Latest (-want +got):\n%s", n, len(tail), diff)
			}
		}
	}
}

// A bit that flips anywhere is seen, or changes nothing that counts; no writer
// touches the file then.
func TestFileThatIsDamaged(t *testing.T) {
	content, _ := sample(t)
	want := []string{"0/e", "1/e", "2/e"}
	seen := 0
	for i := range content {
		mask := []byte{1, 0x10, 0xff}[i%3]
		damaged := bytes.Clone(content)
		damaged[i] ^= mask
		path := newPath(t)
		write(t, path, damaged)
		s := open(t, path, "")
		_, err := s.Latest(t.Context())
		if err == nil {
			// The digits of the first line only need to differ.
			if i < 17 || i >= 33 {
				t.Errorf("byte %d changed by %#x: nobody noticed", i, mask)
			}
			if diff := cmp.Diff(want, latest(t, s)); diff != "" {
				t.Errorf("byte %d changed by %#x: Latest (-want +got):\n%s", i, mask, diff)
			}
			continue
		}
		seen++
		var file *filestore.FileError
		if !errors.As(err, &file) || file.Path != path {
			t.Fatalf("byte %d: %v, want a FileError", i, err)
		}
		if i%5 != 0 {
			continue // looking twice takes its time
		}
		if _, err := s.Acquire(t.Context(), alice, long); err == nil {
			t.Errorf("byte %d changed: a writer went on", i)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, damaged) {
			t.Errorf("byte %d changed: the file was written to", i)
		}
	}
	if seen < 1000 {
		t.Errorf("only %d damages were seen", seen)
	}
}

func TestFileThatIsSomethingElse(t *testing.T) {
	content, _ := sample(t)
	// Checksums that are right, around what is no JSON.
	invalid := "00000002 09c65e74 e917abce {]\n"
	tests := []struct {
		name    string
		content []byte
		want    string
	}{
		{"a text", []byte("hello\n"), "it is not a history of aurora; nothing was changed"},
		{"a database", append([]byte("SQLite format 3\x00"), make([]byte, 5000)...), "it is not a history of aurora"},
		{"zeros, then data", append(make([]byte, 40), content[40:]...), "it is not a history of aurora"},
		{"of a later version", slices.Concat([]byte("aurora history 2 "), content[17:]), "another version of aurora wrote it"},
		{"a hole", slices.Concat(content[:200], make([]byte, 100), content[300:]), "damaged at byte"},
		{"lines changed by an editor", bytes.ReplaceAll(content, []byte("\n"), []byte("\r\n")), "history"},
		{"a record that makes no sense", append(bytes.Clone(content), invalid...), "the record makes no sense"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := newPath(t)
			write(t, path, tt.content)
			s := open(t, path, "")
			_, acquired := s.Acquire(t.Context(), alice, long)
			for what, err := range map[string]error{"reading": readers(t, s), "Acquire": acquired} {
				if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "history file "+path+": ") {
					t.Errorf("%s: %v, want %q", what, err, tt.want)
				}
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, tt.content) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
	path := t.TempDir()
	if err := readers(t, open(t, path, "")); err == nil {
		t.Error("a directory was read as a file")
	}
	if _, err := open(t, filepath.Join(newPath(t), "x"), "").Latest(t.Context()); err != nil {
		t.Errorf("a file in a directory that does not exist: %v", err)
	}
}

// Somebody deletes the file while a run holds the lease: the run has lost it.
func TestFileThatIsDeleted(t *testing.T) {
	path := newPath(t)
	s := open(t, path, "")
	lease := acquire(t, s)
	save(t, lease, revision("e", "1", 1))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := lease.Save(t.Context(), revision("e", "2", 2)); !errors.Is(err, aurora.ErrLeaseLost) {
		t.Errorf("Save: %v, want ErrLeaseLost", err)
	}
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	save(t, acquire(t, s), revision("f", "1", 1))
	if diff := cmp.Diff([]string{"1/f"}, latest(t, s)); diff != "" {
		t.Errorf("Latest (-want +got):\n%s", diff)
	}
}

package sqlfile_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"ariga.io/atlas/sql/migrate"
	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/sqlfile"
)

// sumByHand computes atlas.sum from the description of its format alone.
func sumByHand(files map[string][]byte) []byte {
	var names []string
	for name := range files {
		if strings.HasSuffix(name, ".sql") && !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	running, total := sha256.New(), sha256.New()
	var lines bytes.Buffer
	for _, name := range names {
		running.Write([]byte(name))
		first, _, _ := bytes.Cut(files[name], []byte("\n"))
		if regexp.MustCompile(`^[ -~]*atlas:sum +ignore$`).Match(first) {
			continue
		}
		running.Write(files[name])
		hash := base64.StdEncoding.EncodeToString(running.Sum(nil))
		total.Write([]byte(name + hash))
		fmt.Fprintf(&lines, "%s h1:%s\n", name, hash)
	}
	return fmt.Appendf(nil, "h1:%s\n%s", base64.StdEncoding.EncodeToString(total.Sum(nil)), lines.Bytes())
}

var (
	randomNames = []string{"1.sql", "1_a.sql", "1_a.down.sql", "10_b.sql", "2_c.sql", "20250601120000_add users.sql", "3_日本語.sql", "4_é.sql",
		".hidden.sql", ".sql", "5_upper.SQL", "README.md", "sub/6_x.sql", "7_x.sql.bak", "8_[a]*.sql", "9.9_dots.in.name.sql", "go.mod"}
	randomTexts = []string{"", "SELECT 1;", "SELECT 1;\n", "SELECT 1;\r\nSELECT 2;\r\n", "\ufeffSELECT 1;\n", "\ufeff-- atlas:sum ignore\n",
		"-- atlas:sum ignore\nSELECT 1;\n", "-- atlas:sum ignore", "-- atlas:sum ignore\r\nSELECT 1;\n", "SELECT 1; -- atlas:sum ignore\n", "\n-- atlas:sum ignore\n",
		"-- atlas:sum  ignore\n", "-- atlas:sum ignore \n", "-- ä atlas:sum ignore\n", "\x00\xff", "atlas:sum ignore\n", "-- atlas:txmode none\n\nSELECT 1;"}
)

func randomDir(rnd *rand.Rand) map[string][]byte {
	files := map[string][]byte{}
	for range rnd.IntN(8) {
		files[randomNames[rnd.IntN(len(randomNames))]] = []byte(randomTexts[rnd.IntN(len(randomTexts))])
	}
	return files
}

func writeDir(t *testing.T, files map[string][]byte) string {
	t.Helper()
	root := t.TempDir()
	for name, data := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func memory(files map[string][]byte) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, data := range files {
		fsys[name] = &fstest.MapFile{Data: data}
	}
	return fsys
}

// TestSumIsAtlas compares random directories with Atlas and with a computation
// that shares no code with either.
func TestSumIsAtlas(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		files := randomDir(rnd)
		root := writeDir(t, files)
		local, err := migrate.NewLocalDir(root)
		if err != nil {
			t.Fatal(err)
		}
		hashes, err := local.Checksum()
		if err != nil {
			t.Fatal(err)
		}
		want, err := hashes.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		got, err := sqlfile.Sum(os.DirFS(root))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%q: -atlas +sqlfile\n%s", files, cmp.Diff(string(want), string(got)))
		}
		if byHand := sumByHand(files); !bytes.Equal(got, byHand) {
			t.Fatalf("%q: -by hand +sqlfile\n%s", files, cmp.Diff(string(byHand), string(got)))
		}
		if inMemory, err := sqlfile.Sum(memory(files)); err != nil || !bytes.Equal(got, inMemory) {
			t.Fatalf("%q: in memory %q, %v", files, inMemory, err)
		}
		if err := sqlfile.WriteSum(root); err != nil {
			t.Fatal(err)
		}
		if err := migrate.Validate(local); err != nil {
			t.Fatalf("%q: Atlas refuses the sum: %v", files, err)
		}
	}
}

// TestVerifyIsAtlas changes random directories and compares what is said to
// what Atlas says.
func TestVerifyIsAtlas(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	reasons := map[string]int{}
	for range 3000 {
		files := randomDir(rnd)
		sum := sumByHand(files)
		for range 1 + rnd.IntN(2) {
			name := randomNames[rnd.IntN(len(randomNames))]
			switch rnd.IntN(5) {
			case 0:
				delete(files, name)
			case 1, 2:
				files[name] = []byte(randomTexts[rnd.IntN(len(randomTexts))])
			case 3:
				lines := bytes.SplitAfter(sum, []byte("\n"))
				i, j := rnd.IntN(len(lines)), rnd.IntN(len(lines))
				lines[i], lines[j] = lines[j], lines[i]
				sum = bytes.Join(lines, nil)
			case 4:
				junk := []string{"<<<<<<< HEAD\n", "\n", "x h1:y\n"}[rnd.IntN(3)]
				sum = append([]byte(junk), sum...)
			}
		}
		mem := migrate.OpenMemDir("")
		for name, data := range files {
			if !strings.Contains(name, "/") {
				if err := mem.WriteFile(name, data); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := mem.WriteFile(sqlfile.SumName, sum); err != nil {
			t.Fatal(err)
		}
		want := migrate.Validate(mem)
		if err := mem.Close(); err != nil {
			t.Fatal(err)
		}
		mem.Reset()
		fsys := memory(files)
		fsys[sqlfile.SumName] = &fstest.MapFile{Data: sum}
		d, err := sqlfile.Read(fsys, sqlfile.Options{AllowEmpty: true})
		var got *sqlfile.SumError
		errors.As(err, &got)
		switch {
		case want == nil:
			if got != nil || err == nil && !d.HasSum {
				t.Fatalf("%q: Atlas accepts, sqlfile says %v", files, err)
			}
			reasons["none"]++
			continue
		case got == nil:
			t.Fatalf("%q\n%s: Atlas says %v, sqlfile %v", files, sum, want, err)
		case !errors.Is(got, migrate.ErrChecksumFormat) && !errors.Is(got, migrate.ErrChecksumMismatch):
			t.Fatalf("wraps %v", got.Err)
		case errors.Is(want, migrate.ErrChecksumFormat) != errors.Is(got, migrate.ErrChecksumFormat):
			t.Fatalf("Atlas says %v, sqlfile %v", want, got)
		}
		var atlas *migrate.ChecksumError
		if errors.As(want, &atlas) {
			if got.Line != atlas.Line || got.File != atlas.File || string(got.Reason) != atlas.Reason.String() {
				t.Fatalf("Atlas says %+v, sqlfile %+v", atlas, got)
			}
			reasons[atlas.Reason.String()]++
			continue
		}
		reasons[want.Error()]++
	}
	t.Log(reasons)
	for _, reason := range []string{"none", "added", "edited", "removed", "checksum mismatch", "checksum file format invalid"} {
		if reasons[reason] < 20 {
			t.Errorf("only %d cases of %q", reasons[reason], reason)
		}
	}
}

func TestSumErrors(t *testing.T) {
	sum := func(namesAndTexts ...string) string {
		b, err := sqlfile.Sum(dir(namesAndTexts...))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const fix = "; put it right, or accept the directory as it is with: aurora migrate hash"
	ab := sum("1_a.sql", "A", "2_b.sql", "B")
	lines := strings.SplitAfter(ab, "\n")
	twice := func() string {
		var h migrate.HashFile
		if err := h.UnmarshalText([]byte(ab)); err != nil {
			t.Fatal(err)
		}
		text, err := append(h, h[0]).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}()
	tests := []struct {
		name  string
		files []string
		sum   string
		want  string
	}{
		{"edited", []string{"1_a.sql", "A", "2_b.sql", "!"}, ab, "db/atlas.sum:3: checksum mismatch: 2_b.sql was edited" + fix},
		{"added", []string{"1_a.sql", "A", "1_aa.sql", "", "2_b.sql", "B"}, ab, "db/atlas.sum:3: checksum mismatch: 1_aa.sql was added" + fix},
		{"added last", []string{"1_a.sql", "A", "2_b.sql", "B", "3.sql", ""}, ab, "db/atlas.sum:4: checksum mismatch: 3.sql was added" + fix},
		{"removed", []string{"2_b.sql", "B"}, ab, "db/atlas.sum:2: checksum mismatch: 1_a.sql was removed" + fix},
		{"all removed", nil, ab, "db/atlas.sum:2: checksum mismatch: 1_a.sql was removed" + fix},
		{"way down edited", []string{"1.sql", "", "1.down.sql", "x"}, sum("1.sql", "", "1.down.sql", ""), "db/atlas.sum:2: checksum mismatch: 1.down.sql was edited" + fix},
		{"empty", []string{"1_a.sql", "A"}, "", "db/atlas.sum:1: checksum mismatch: it is empty" + fix},
		{"first line", []string{"1_a.sql", "A"}, "h1:x\n" + lines[1], "db/atlas.sum:1: checksum mismatch: its first line does not fit the others" + fix},
		{"line lost", []string{"1_a.sql", "A"}, lines[0] + lines[1], "db/atlas.sum:1: checksum mismatch: its first line does not fit the others" + fix},
		{"conflict", []string{"1_a.sql", "A"}, "<<<<<<< HEAD\n" + lines[0] + "=======\n" + lines[0] + ">>>>>>> b\n" + lines[1],
			"db/atlas.sum:1: checksum file format invalid: it has git's conflict marks: check that the files are in the order that they should run in" + fix},
		{"no checksum", []string{"1_a.sql", "A"}, ab + "3_c.sql\n", "db/atlas.sum:4: checksum file format invalid: the line has no checksum" + fix},
		{"twice", []string{"1_a.sql", "A", "2_b.sql", "B"}, twice, "db/atlas.sum:4: checksum file format invalid: 1_a.sql stands there twice" + fix},
		{"converted to CRLF", []string{"1.sql", "A;\r\nB;\r\n"}, sum("1.sql", "A;\nB;\n"),
			`db/atlas.sum:2: checksum mismatch: 1.sql was edited, but only its line ends: the checkout converted them, which a line "*.sql text eol=lf" in .gitattributes prevents` + fix},
		{"converted to LF", []string{"1.sql", "A;\nB;\n"}, sum("1.sql", "A;\r\nB;\r\n"),
			`db/atlas.sum:2: checksum mismatch: 1.sql was edited, but only its line ends: the checkout converted them, which a line "*.sql text eol=lf" in .gitattributes prevents` + fix},
		{"before anything else", []string{"1.sql", "\\broken", "V1__x.sql", ""}, sum(), "db/atlas.sum:2: checksum mismatch: 1.sql was added" + fix},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fsys := dir(tt.files...)
			fsys[sqlfile.SumName] = &fstest.MapFile{Data: []byte(tt.sum)}
			_, err := sqlfile.Load(fsys, sqlfile.Options{Name: "db"})
			wantError(t, err, tt.want)
		})
	}
}

func TestHasSum(t *testing.T) {
	fsys := dir("1_a.sql", "SELECT 1;")
	d, err := sqlfile.Read(fsys, sqlfile.Options{})
	if err != nil || d.HasSum || len(d.Migrations) != 1 {
		t.Fatalf("without: %+v, %v", d, err)
	}
	sum, err := sqlfile.Sum(fsys)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(sum), strings.ReplaceAll(string(sum), "\n", "\r\n"), strings.TrimSuffix(string(sum), "\n")} {
		fsys[sqlfile.SumName] = &fstest.MapFile{Data: []byte(text)}
		if d, err = sqlfile.Read(fsys, sqlfile.Options{}); err != nil || !d.HasSum {
			t.Fatalf("with %q: %+v, %v", text, d, err)
		}
	}
}

func TestWriteSum(t *testing.T) {
	root := writeDir(t, map[string][]byte{"1_a.sql": []byte("\\this is not SQL")})
	if err := sqlfile.WriteSum("file://" + root); err != nil {
		t.Fatal(err)
	}
	local, err := migrate.NewLocalDir(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := migrate.Validate(local); err != nil {
		t.Error(err)
	}
	if err := sqlfile.WriteSum(filepath.Join(root, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
}

package aurora_test

import (
	"fmt"
	"log"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/aurora-migrate/aurora"
)

// TestOutputKeepsTheNewest: 200 KB in whole lines, the oldest go first, and
// every line is either there or counted.
func TestOutputKeepsTheNewest(t *testing.T) {
	var o aurora.Output
	const lines = 20_000
	for i := range lines {
		o.Add(fmt.Sprintf("line %d with some text", i))
	}
	text, dropped := o.Text()
	if len(text) > aurora.OutputLimit || len(text) < aurora.OutputLimit-40 {
		t.Errorf("%d bytes kept of a limit of %d", len(text), aurora.OutputLimit)
	}
	kept := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(kept)+dropped != lines {
		t.Errorf("%d kept and %d dropped of %d", len(kept), dropped, lines)
	}
	for i, line := range kept {
		if want := fmt.Sprintf("line %d with some text", dropped+i); line != want {
			t.Fatalf("line %d of what is kept is %q, want %q", i, line, want)
		}
	}
}

func TestOutputLimits(t *testing.T) {
	for _, tt := range []struct {
		name    string
		limit   int
		add     []string
		want    string
		dropped int
	}{
		{"nothing", 10, nil, "", 0},
		{"an empty line", 10, []string{""}, "\n", 0},
		{"line ends", 20, []string{"a\n", "b", "c\nd\n", "e\n\n"}, "a\nb\nc\nd\ne\n\n", 0},
		{"just fits", 4, []string{"a", "b"}, "a\nb\n", 0},
		{"one too many", 4, []string{"a", "b", "c"}, "b\nc\n", 1},
		{"a long one pushes out several", 6, []string{"a", "b", "c", "long"}, "long\n", 3},
		{"the end of one that is too long", 6, []string{"a", "0123456789"}, "56789\n", 2},
		{"exactly as long as the limit", 6, []string{"01234"}, "01234\n", 0},
		{"cut inside a character", 6, []string{"abc世界"}, "界\n", 1},
		{"not UTF-8, and NUL", 20, []string{"a\xffb\x00c"}, "a\ufffdb\ufffdc\n", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := aurora.Output{Limit: tt.limit}
			for _, text := range tt.add {
				o.Add(text)
			}
			if text, dropped := o.Text(); text != tt.want || dropped != tt.dropped {
				t.Errorf("got %q and %d dropped, want %q and %d", text, dropped, tt.want, tt.dropped)
			}
		})
	}
}

func TestOutputOfManyGoroutines(t *testing.T) {
	var o aurora.Output
	logger := log.New(&o, "", 0)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				if i%2 == 0 {
					o.Add(strings.Repeat("x", 50))
				} else {
					logger.Printf("goroutine %d says %d", g, i)
				}
				if i%100 == 0 {
					o.Text()
				}
			}
		})
	}
	wg.Wait()
	text, dropped := o.Text()
	if n := strings.Count(text, "\n") + dropped; n != 8000 {
		t.Errorf("%d lines kept or dropped, want 8000", n)
	}
}

func FuzzOutput(f *testing.F) {
	f.Add("a\nb", "\xff\x00", 5)
	f.Add("", "\n\n\n", 1)
	f.Fuzz(func(t *testing.T, a, b string, limit int) {
		limit = limit & 0xff
		o := aurora.Output{Limit: limit}
		o.Add(a)
		o.Add(b)
		text, dropped := o.Text()
		if limit == 0 {
			limit = aurora.OutputLimit
		}
		if len(text) > limit {
			t.Errorf("%d bytes with a limit of %d", len(text), limit)
		}
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			t.Errorf("not storable: %q", text)
		}
		if text != "" && !strings.HasSuffix(text, "\n") {
			t.Errorf("the last line has no end: %q", text)
		}
		if dropped < 0 || text == "" && dropped == 0 {
			t.Errorf("%q and %d dropped", text, dropped)
		}
	})
}

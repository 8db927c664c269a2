package sqllex

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// pathological are texts that slow lexers down, each made to be n bytes long.
var pathological = []struct {
	name string
	make func(n int) string
}{
	{"plain", func(n int) string {
		return repeat("-- add a row\nINSERT INTO t (a, b) VALUES (1, 'it''s; fine');\n", n)
	}},
	{"begin transaction", func(n int) string { return repeat("BEGIN TRANSACTION;", n) }},
	{"begin atomic", func(n int) string {
		return repeat("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; END;", n)
	}},
	{"begin atomic without end", func(n int) string { return "CREATE FUNCTION f() " + repeat("BEGIN ATOMIC ;", n) }},
	{"comment openers", func(n int) string { return repeat("/*", n) }},
	{"comment openers and closers", func(n int) string { return repeat("/*", n/2) + repeat("*/", n/2) }},
	{"quotes", func(n int) string { return repeat("'", n) }},
	{"escaped quotes", func(n int) string { return "E'" + repeat(`\'`, n) }},
	{"backslashes", func(n int) string { return "E'" + repeat(`\\`, n) + "'" }},
	{"bit strings", func(n int) string { return repeat("b''\n--", n) }},
	{"double quotes", func(n int) string { return repeat(`"`, n) }},
	{"dollars", func(n int) string { return repeat("$", n) }},
	{"open dollar tags", func(n int) string { return repeat("$a ", n) }},
	{"one long dollar tag", func(n int) string { return "$" + repeat("a", n) }},
	{"pluses", func(n int) string { return repeat("+", n) }},
	{"plus minus", func(n int) string { return repeat("+-", n) }},
	{"operators before comments", func(n int) string { return repeat("+*<-->\n", n) }},
	{"opening parentheses", func(n int) string { return repeat("(", n) }},
	{"balanced parentheses", func(n int) string { return repeat("(", n/2) + repeat(")", n/2) }},
	{"one long statement", func(n int) string { return "INSERT INTO t VALUES " + repeat("(1, 'a'), ", n) + "(2, 'b');" }},
	{"one long query", func(n int) string { return "WITH a AS (SELECT 1) SELECT " + repeat("x, ", n) + "y FOR UPDATE" }},
	{"one long alter", func(n int) string { return "ALTER TABLE t " + repeat("ADD a int, ", n) + "ADD b int" }},
	{"one long drop", func(n int) string { return "DROP TABLE " + repeat("a.b, ", n) + "c" }},
	{"one long word", func(n int) string { return repeat("a", n) }},
	{"semicolons", func(n int) string { return repeat(";", n) }},
	{"comments", func(n int) string { return repeat("--\n", n) }},
	{"strings and comments", func(n int) string { return repeat("'a'--\n", n) }},
	{"COPY statements", func(n int) string { return repeat("COPY t FROM 'x';", n) }},
	{"delimiter lines", func(n int) string { return repeat("DELIMITER //\nx//\n", n) }},
	{"delimiters in spaces", func(n int) string { return "-- atlas:delimiter \\n\n" + repeat(" \n", n) }},
	{"delimiters in words", func(n int) string { return "-- atlas:delimiter x\n" + repeat("ax", n) }},
	{"delimiters in strings", func(n int) string { return "-- atlas:delimiter x\nSELECT E'" + repeat("x", n) + "'" }},
	{"prefixed strings before delimiters", func(n int) string { return "-- atlas:delimiter x\n" + repeat("E'a'x", n) }},
	{"pluses without their delimiter", func(n int) string { return "-- atlas:delimiter x\n" + repeat("+", n) }},
}

func repeat(s string, n int) string { return strings.Repeat(s, n/len(s)) }

func work(src string) {
	stmts, _ := Split(src, Options{})
	for _, s := range stmts {
		Classify(s.Text)
		TrimSemicolon(s.Text)
	}
}

// TestLinear checks that 16 times the text takes about 16 times as long, not 256
// times.
func TestLinear(t *testing.T) {
	const size, factor, limit = 1 << 15, 16, 64
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	best := func(src string, times int) time.Duration {
		least := time.Hour
		for range 3 {
			runtime.GC()
			start := time.Now()
			for range times {
				work(src)
			}
			least = min(least, time.Since(start))
		}
		return max(least, 50*time.Microsecond) // less is noise
	}
	for _, p := range pathological {
		small, large := p.make(size), p.make(factor*size)
		ratio := 0.0
		for range 4 { // a busy machine may spoil one
			// Both sides last about as long, so that it slows both down.
			if ratio = factor * float64(best(large, 1)) / float64(best(small, factor)); ratio < limit {
				break
			}
		}
		if ratio >= limit {
			t.Errorf("%s: %d times the text takes %.0f times as long", p.name, factor, ratio)
		}
	}
}

// TestSplitAllocations checks that splitting copies no text: what is allocated
// are the slice of statements and their comments.
func TestSplitAllocations(t *testing.T) {
	src := strings.Repeat("SELECT 1, 'a', $$b$$;\n", 1000)
	if n := testing.AllocsPerRun(10, func() { Split(src, Options{}) }); n > 30 {
		t.Errorf("%.0f allocations for 1000 statements", n)
	}
	stmt := "INSERT INTO t VALUES " + strings.Repeat("(1, 'a'), ", 1000) + "(1, 'a')"
	if n := testing.AllocsPerRun(10, func() { Classify(stmt) }); n > 5 {
		t.Errorf("%.0f allocations to classify an INSERT", n)
	}
}

func BenchmarkSplit(b *testing.B) {
	for _, p := range pathological {
		b.Run(p.name, func(b *testing.B) {
			src := p.make(10_000_000)
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				Split(src, Options{})
			}
		})
	}
}

func BenchmarkClassify(b *testing.B) {
	for _, stmt := range []string{
		"INSERT INTO t (a, b) VALUES (1, 2)", "CHECKPOINT", "CREATE INDEX CONCURRENTLY i ON s.t (a)",
		"WITH a AS (SELECT 1) UPDATE t SET b = 1", "ALTER TABLE t ADD COLUMN a int DEFAULT 1",
	} {
		b.Run(stmt, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Classify(stmt)
			}
		})
	}
}

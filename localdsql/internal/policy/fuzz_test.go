package policy

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/internal/sqllex"
	"github.com/aurora-migrate/aurora/localdsql/internal/policy/cases"
)

// check is what holds for every text.
func check(t testing.TB, p *Policy, message string) {
	pieces := p.Split(message)
	if len(pieces) == 0 || strings.Join(pieces, "") != message {
		t.Fatalf("%.200q is split into %.200q", message, pieces)
	}
	for _, sql := range pieces {
		d := p.Decide(sql)
		if d.Text != sql || d.Class > Call {
			t.Fatalf("%.200q: %+v", sql, d)
		}
		if again := p.decide(sql); again.Class != d.Class || !reflect.DeepEqual(again.Refusal, d.Refusal) || again.SQL != d.SQL {
			t.Fatalf("%.200q: decided anew %+v, before %+v", sql, again, d)
		}
		if r := d.Refusal; r != nil && (len(r.Code) != 5 || r.Message == "" || strings.Contains(r.Message, "{value}") ||
			r.Position < 0 || r.Position > utf8.RuneCountInString(sql)) {
			t.Fatalf("%.200q: refused with %+v", sql, r)
		}
		if d.SQL == sql {
			continue
		}
		if d.Refusal != nil {
			t.Fatalf("%.200q: refused and rewritten", sql)
		}
		_, readable := split(sql)
		if more, ok := split(d.SQL); ok != readable || len(more) != 1 {
			t.Fatalf("%.200q becomes several statements: %.200q", sql, d.SQL)
		}
		for i := range len(d.SQL) + 3 {
			if at := d.Position(i); at < 0 || at > utf8.RuneCountInString(sql)+1 {
				t.Fatalf("%.200q: position %d of %.200q becomes %d", sql, i, d.SQL, at)
			}
		}
		if d.Tag == "" { // parts of it were replaced
			checkTokens(t, sql, d)
		}
	}
}

// checkTokens: a text of which parts are replaced has the same tokens but for
// these.
func checkTokens(t testing.TB, sql string, d *Decision) {
	before, after := read(sql), read(d.SQL)
	rest := func(w words) []string {
		var out []string
		for i := 0; i < len(w.toks); i++ {
			switch text := strings.ToLower(w.toks[i].Text(w.sql)); text {
			case "async", "all", "user", "disable_sync_create_index", "\"disable_sync_create_index\"":
			case "aurora":
				if w.at(i+1).IsPunct(w.sql, ".") {
					i++ // aurora.
					continue
				}
				out = append(out, text)
			case "(":
				if w.at(i+1).Text(w.sql) == "18" && w.at(i+3).Text(w.sql) == "6" {
					i += 4 // (18,6)
					continue
				}
				out = append(out, text)
			default:
				out = append(out, text)
			}
		}
		return out
	}
	if diff := cmp.Diff(rest(before), rest(after)); diff != "" {
		t.Fatalf("%.200q becomes %.200q (-before +after):\n%s", sql, d.SQL, diff)
	}
}

func FuzzDecide(f *testing.F) {
	all, err := cases.All()
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range all {
		f.Add(strings.Join(c.SQL, ";"))
	}
	for _, sql := range []string{"DELETE", "COPY 0 TO", "INSERT INTO)(0", ";EXPLAIN SELECT 1"} {
		f.Add(sql)
	}
	f.Add("CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END; AWS IAM GRANT r TO 'x'; SELECT '")
	p := latest(f)
	f.Fuzz(func(t *testing.T, sql string) { check(t, p, sql) })
}

// TestCorpus runs the SQL of the directory AURORA_CORPUS, which tools/corpus.sh
// fills, through everything. Without it, the test is skipped.
func TestCorpus(t *testing.T) {
	dir := os.Getenv("AURORA_CORPUS")
	if dir == "" {
		t.Skip("missing: AURORA_CORPUS, the directory that tools/corpus.sh fills")
	}
	p := latest(t)
	files, statements := 0, 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".sql") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		check(t, p, string(data))
		sql := withoutPsql(string(data))
		check(t, p, sql)
		statements += len(p.Split(sql))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files, %d statements", files, statements)
	if files == 0 || statements < 10*files {
		t.Error("there is hardly any SQL in the corpus")
	}
}

// withoutPsql leaves out what of a script is for psql alone: its commands, and
// the data of COPY.
func withoutPsql(script string) string {
	var lines strings.Builder
	data := false
	for line := range strings.Lines(script) {
		text := strings.ToLower(strings.TrimSpace(line))
		switch {
		case data:
			data = text != `\.`
		default:
			lines.WriteString(line)
			data = strings.HasPrefix(text, "copy ") && strings.Contains(text, "from stdin") && strings.HasSuffix(text, ";")
		}
	}
	var out strings.Builder
	src := lines.String()
	for lx := sqllex.New(src); ; {
		tok := lx.Next()
		switch tok.Kind {
		case sqllex.EOF:
			return out.String()
		case sqllex.Meta:
			out.WriteString(";")
		case sqllex.Stray, sqllex.Invalid:
			out.WriteString("x")
		default:
			out.WriteString(tok.Text(src))
		}
	}
}

var sink *Decision

func BenchmarkDecide(b *testing.B) {
	p := latest(b)
	for name, sql := range map[string]string{
		"select":      "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;",
		"update":      "UPDATE pgbench_accounts SET abalance = abalance + 17 WHERE aid = 12345;",
		"begin":       "BEGIN;",
		"cached join": "WITH x AS (SELECT id FROM orders WHERE total > $1 FOR UPDATE) SELECT o.id FROM orders o JOIN x ON x.id = o.id",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink = p.Decide(sql)
			}
		})
	}
	b.Run("not cached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sink = p.decide("CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY (CACHE 65536) PRIMARY KEY, total numeric, note text)")
		}
	})
}

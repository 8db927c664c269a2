package sqllex

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func seeds(f *testing.F) {
	for _, s := range []string{
		"", ";;", "SELECT 1; SELECT 2", "E'a\\'' U&\"b\" $t$;$t$ /* /* */ */ -- c\n;", "\ufeff\ufeff;", "a$b$c $1 $$",
		atomicBody, "-- atlas:delimiter \\n\\n\nSELECT 1\n\nSELECT 2", "DELIMITER //\nSELECT 1//\ndelimiter ;\nx", "COPY t FROM stdin;\n1\n\\.\n",
		"CREATE UNIQUE INDEX ASYNC IF NOT EXISTS i ON s.t USING btree (a) WHERE b", "ALTER TABLE ASYNC t ADD a int, VALIDATE CONSTRAINT c;",
		"WITH a AS (DELETE FROM t RETURNING *) SELECT a INTO b FOR UPDATE", "1..2 1e+ 0x1f ::=>>=-- +-+--", "((;)", "'a'\n'b'", "\x00\xff\v",
		"REINDEX (", "DROP INDEX a.", "SET TIME ZONE", "CREATE OR REPLACE", "ALTER TABLE t ,", "delimiter delimiter\nadelimiter",
	} {
		f.Add(s)
	}
}

// FuzzLexer: the tokens of any text, joined, are the text, and reading goes on.
func FuzzLexer(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, src string) {
		lx, end := New(src), 0
		for {
			tok := lx.Next()
			if tok.Start != end {
				t.Fatalf("token %v begins at %d, the last one ended at %d", tok.Kind, tok.Start, end)
			}
			end = tok.End
			if (tok.Kind == Invalid) != (lx.Err() != nil) && tok.Kind != EOF {
				t.Fatalf("token %v with error %v", tok.Kind, lx.Err())
			}
			if tok.Kind == EOF {
				break
			}
			if tok.End <= tok.Start {
				t.Fatalf("token %v is empty at %d", tok.Kind, tok.Start)
			}
			if tok.Kind != Invalid {
				// An operator is found from a cache: look without it.
				fresh := Lexer{src: src, pos: tok.Start}
				if again := fresh.Next(); again != tok {
					t.Fatalf("token %v, read again %v", tok, again)
				}
			}
		}
		if end != len(src) {
			t.Fatalf("tokens end at %d of %d", end, len(src))
		}
	})
}

// FuzzSplit: statements lie in the text, in order; what is between them is
// space, comments and empty statements; splitting them again changes nothing.
func FuzzSplit(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, src string) {
		stmts, err := Split(src, Options{})
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Reason == nil || e.Offset < 0 || e.Offset > len(src) || stmts != nil {
				t.Fatalf("error %#v", err)
			}
			return
		}
		checkStatements(t, src, stmts)
		if !utf8.ValidString(src) || strings.IndexByte(src, 0) >= 0 {
			t.Fatal("no error for bytes that are not text")
		}
		for _, s := range stmts {
			Classify(s.Text)
			TrimSemicolon(s.Text)
		}
		if _, ok := DirectiveDelimiter(src); ok || strings.Contains(strings.ToUpper(src), delimiterWord) {
			return
		}
		gap := 0
		for i := 0; i <= len(stmts); i++ {
			next := len(src)
			if i < len(stmts) {
				next = stmts[i].Start
			}
			if gapInfo := Classify(src[gap:next]); gapInfo.Kind != Empty && src[gap:next] != byteOrderMark {
				t.Fatalf("%q is in no statement", src[gap:next])
			}
			if i < len(stmts) {
				gap = stmts[i].End
			}
		}
		again, err := Split("\n"+strings.Join(texts(stmts), "\n"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(texts(stmts), texts(again)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzSplitDelimiter: with any delimiter, statements lie in the text, in order.
func FuzzSplitDelimiter(f *testing.F) {
	f.Add("SELECT 1//SELECT '//' // (//)", "//")
	f.Add("a\n\nb", "\n\n")
	f.Add("E'x'x", "x")
	f.Add("a+b", "+")
	f.Fuzz(func(t *testing.T, src, delim string) {
		stmts, err := Split(src, Options{Delimiter: delim})
		if err != nil {
			return
		}
		checkStatements(t, src, stmts)
	})
}

// FuzzClassify: spans lie within the statement.
func FuzzClassify(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, src string) {
		i := Classify(src)
		spans := []Span{i.Mode, i.Index.Using, i.Name.Span, i.Table.Span, {0, i.ModeAt}}
		for _, n := range i.Names {
			spans = append(spans, n.Span)
		}
		for _, a := range i.Actions {
			spans = append(spans, a.Span)
		}
		for _, s := range spans {
			if s.Start < 0 || s.End < s.Start || s.End > len(src) {
				t.Fatalf("span %v in %d bytes", s, len(src))
			}
		}
	})
}

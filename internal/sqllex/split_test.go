package sqllex

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func texts(stmts []Statement) []string {
	var out []string
	for _, s := range stmts {
		out = append(out, s.Text)
	}
	return out
}

const atomicBody = `CREATE OR REPLACE FUNCTION f(x int, "end" int) RETURNS text LANGUAGE sql
BEGIN ATOMIC
  SELECT CASE WHEN x = 1 THEN 'a;' ELSE (SELECT 'b;' AS end) END;
  SELECT 1 AS end; /* ; */ SELECT t.end FROM t;
END;`

func TestSplit(t *testing.T) {
	tests := []struct {
		name, src string
		want      []string
	}{
		{"nothing", " \n-- only a comment", nil},
		{"semicolons only", ";; ;", nil},
		{"two on a line", "SELECT 1;SELECT 2", []string{"SELECT 1;", "SELECT 2"}},
		{"byte order mark and CRLF", "\ufeff-- c\r\nSELECT 1;\r\nSELECT 2;\r\n", []string{"SELECT 1;", "SELECT 2;"}},
		{"A19: semicolons in quotes and comments", `SELECT ';', ";", $$;$$, E'\';', 'it''s;' -- ;
/* ; /* ; */ ; */; SELECT 2`, []string{`SELECT ';', ";", $$;$$, E'\';', 'it''s;' -- ;
/* ; /* ; */ ; */;`, "SELECT 2"}},
		{"A20: comment markers in strings", "INSERT INTO t VALUES ('\n-- keep me;\n');", []string{"INSERT INTO t VALUES ('\n-- keep me;\n');"}},
		{"leading comments are cut", "-- a\n/* b */ SELECT /* c */ 1; -- d\n", []string{"SELECT /* c */ 1;"}},
		{"comment behind the last statement stays", "SELECT 1 -- don't (\n", []string{"SELECT 1 -- don't ("}},
		{"rule with two commands", "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b); SELECT 1;", []string{
			"CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b);", "SELECT 1;"}},
		{"BEGIN ATOMIC", atomicBody + " SELECT 2;", []string{atomicBody, "SELECT 2;"}},
		{"BEGIN ATOMIC at the end", strings.TrimSuffix(atomicBody, ";"), []string{strings.TrimSuffix(atomicBody, ";")}},
		{"empty BEGIN ATOMIC", "CREATE PROCEDURE p() BEGIN ATOMIC END; SELECT 1;", []string{"CREATE PROCEDURE p() BEGIN ATOMIC END;", "SELECT 1;"}},
		{"function called begin", "CREATE FUNCTION begin(atomic int) RETURNS int RETURN 1; SELECT 1;", []string{
			"CREATE FUNCTION begin(atomic int) RETURNS int RETURN 1;", "SELECT 1;"}},
		{"transactions", "BEGIN; SELECT 1; END; BEGIN TRANSACTION; COMMIT;", []string{
			"BEGIN;", "SELECT 1;", "END;", "BEGIN TRANSACTION;", "COMMIT;"}},
		{"begin and atomic elsewhere", "CREATE TABLE begin (atomic int); SELECT begin atomic FROM begin; SELECT 1;", []string{
			"CREATE TABLE begin (atomic int);", "SELECT begin atomic FROM begin;", "SELECT 1;"}},
		{"dollar in an identifier", "SELECT a$b$c; SELECT a$b$;", []string{"SELECT a$b$c;", "SELECT a$b$;"}},
		{"COPY of a file", "COPY t FROM '/f' DELIMITER ';'; COPY t TO PROGRAM 'x';", []string{
			"COPY t FROM '/f' DELIMITER ';';", "COPY t TO PROGRAM 'x';"}},
		{"DSQL statements", "CREATE INDEX ASYNC i ON t (a); AWS IAM GRANT r TO 'arn:x';", []string{
			"CREATE INDEX ASYNC i ON t (a);", "AWS IAM GRANT r TO 'arn:x';"}},
		{"delimiter directive", "-- atlas:delimiter \\n\\n\n\nSELECT 1;\nSELECT 2;\n\nSELECT 3\n", []string{"SELECT 1;\nSELECT 2;", "SELECT 3"}},
		{"delimiter directive with CRLF", "-- atlas:delimiter GO\r\nSELECT 1\r\nGO\r\nSELECT 2", []string{"SELECT 1", "SELECT 2"}},
		{"delimiter that looks like a comment", "-- atlas:delimiter -- end\nSELECT 1; -- x\n-- end\nSELECT 2;", []string{"SELECT 1; -- x", "SELECT 2;"}},
		{"delimiter within words, not in quotes or parentheses", "-- atlas:delimiter x\nSELECT 'x', \"x\", (x), $$x$$ /* x */ FROM ax SELECT E'x'x", []string{
			"SELECT 'x', \"x\", (x), $$x$$ /* x */ FROM a", "SELECT E'x'"}},
		{"directive below the first line is a comment", "-- a\n-- atlas:delimiter x\nSELECT 1;SELECT x;", []string{"SELECT 1;", "SELECT x;"}},
		{"DELIMITER lines", "SELECT 1;\ndelimiter //\nSELECT 2; SELECT 3//\nDELIMITER ;\nSELECT 4;", []string{"SELECT 1;", "SELECT 2; SELECT 3", "SELECT 4;"}},
		{"DELIMITER $$", "DELIMITER $$\nDO 'a;'$$\nSELECT $1$$\nDELIMITER ;\nSELECT $$;$$;", []string{"DO 'a;'", "SELECT $1", "SELECT $$;$$;"}},
		{"DELIMITER called delimiter, quoted", "DELIMITER 'delimiter'\nSELECT 1delimiter\nDELIMITER ;\nSELECT 2;", []string{"SELECT 1", "SELECT 2;"}},
		{"parentheses end with their statement", "SELECT (1); SELECT ((2));", []string{"SELECT (1);", "SELECT ((2));"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stmts, err := Split(tt.src, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, texts(stmts)); diff != "" {
				t.Error(diff)
			}
			checkStatements(t, tt.src, stmts)
		})
	}
}

// checkStatements checks what holds for every result.
func checkStatements(t *testing.T, src string, stmts []Statement) {
	t.Helper()
	end := 0
	for i, s := range stmts {
		if s.Start < end || s.End <= s.Start || s.End > len(src) || src[s.Start:s.End] != s.Text {
			t.Fatalf("statement %d: range %d to %d after %d is not that of %q", i, s.Start, s.End, end, s.Text)
		}
		if line, col := Position(src, s.Start); line != s.Line || col != s.Col {
			t.Errorf("statement %d: at %d:%d, want %d:%d", i, s.Line, s.Col, line, col)
		}
		for _, c := range s.Comments {
			if !strings.Contains(src[end:s.Start], c) {
				t.Errorf("statement %d: comment %q is not above it", i, c)
			}
		}
		end = s.End
	}
}

func TestSplitOptions(t *testing.T) {
	stmts, err := Split("-- atlas:delimiter a\nSELECT 1; aGO\nSELECT 2", Options{Delimiter: "\nGO\n"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"SELECT 1; aGO\nSELECT 2"}, texts(stmts)); diff != "" {
		t.Error(diff)
	}
	for src, want := range map[string]string{
		"-- atlas:delimiter \\n\\t\\r\nx": "\n\t\r",
		"\ufeff-- atlas:delimiter   //":   "//",
		"-- atlas:delimiters x":           "-",
		"--atlas:delimiter x":             "-",
		"x":                               "-",
	} {
		got, ok := DirectiveDelimiter(src)
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", src, got, want)
		}
	}
}

func TestSplitPositions(t *testing.T) {
	src := "ä;\n\n  ö; b;\r\n$$\n$$;\nc"
	stmts, err := Split(src, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got [][2]int
	for _, s := range stmts {
		got = append(got, [2]int{s.Line, s.Col})
	}
	if diff := cmp.Diff([][2]int{{1, 1}, {3, 3}, {3, 6}, {4, 1}, {6, 1}}, got); diff != "" {
		t.Error(diff)
	}
	checkStatements(t, src, stmts)
}

func TestSplitComments(t *testing.T) {
	src := "-- file\n\n-- a\n--atlas:nolint\r\n/* b\n*/ SELECT 1; -- behind\nSELECT 2;\n" +
		"-- cut off\r\n\r\n-- kept\r\nSELECT 3;\n-- of nothing\n;SELECT 4;\n/* cut */\n\nSELECT 5;"
	stmts, err := Split(src, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for _, s := range stmts {
		got = append(got, s.Comments)
	}
	want := [][]string{{"-- a", "--atlas:nolint", "/* b\n*/"}, {"-- behind"}, {"-- kept"}, nil, nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	checkStatements(t, src, stmts)
}

func TestSplitErrors(t *testing.T) {
	tests := []struct {
		src    string
		reason error
		want   string
	}{
		{"SELECT 1;\nSELECT 'a;", ErrUnterminated, "2:8: unterminated string; close it with '"},
		{"SELECT (1;\nSELECT 2;", ErrUnbalanced, "1:8: unclosed (; add the ) it needs"},
		{"SELECT 1);", ErrUnbalanced, "1:9: unexpected ); remove it or add the ( it closes"},
		{"CREATE FUNCTION f() RETURNS int\nBEGIN ATOMIC SELECT 1 END; SELECT 2;", ErrUnterminated,
			"2:1: unterminated BEGIN ATOMIC body; end every statement in it with ; and the body with END;"},
		{"a\xff", ErrEncoding, "1:2: byte 0xff is not UTF-8; save the file as UTF-8"},
		{"SELECT 'ä\x00'", ErrEncoding, "1:10: NUL byte in SQL text; save the file as UTF-8 without NUL bytes (UTF-16 files have them)"},
		{"SELECT 1;\n\\c db\n", ErrPsqlCommand, `2:1: \c is a command of psql; the connection is that of the environment's url`},
		{"SELECT 1 \\gset\n", ErrPsqlCommand, `1:10: \gset is a command of psql; it is not SQL: remove it, or run this file with psql`},
		{"\\restrict abc\n", ErrPsqlCommand, `1:1: \restrict is a command of psql; pg_dump wrote it: delete the line`},
		{"COPY t (a, b) FROM stdin;\n1\t2\n\\.\n", ErrCopyStdio,
			"1:1: COPY … FROM STDIN reads data from the client, which has none; write INSERT statements, or COPY … FROM a file or PROGRAM on the server, or run this file with psql"},
		{"copy (SELECT 'from' FROM t) TO STDOUT", ErrCopyStdio,
			"1:1: COPY … TO STDOUT sends data to the client, which has no place for it; remove it, or run this file with psql"},
		{"DELIMITER\nSELECT 1", ErrDelimiter, "1:1: DELIMITER names no delimiter; write it on the same line, for example DELIMITER //"},
		{"-- atlas:delimiter\nSELECT 1", ErrDelimiter, `1:1: atlas:delimiter names no delimiter; write it behind the word, for example "-- atlas:delimiter \n\n"`},
		{"-- atlas:delimiter x\nSELECT ( x", ErrUnbalanced, "2:8: unclosed (; add the ) it needs"},
		{"-- atlas:delimiter x\nCOPY t TO STDOUT x SELECT 1", ErrCopyStdio,
			"2:1: COPY … TO STDOUT sends data to the client, which has no place for it; remove it, or run this file with psql"},
		{"-- atlas:delimiter x\nSELECT 'x", ErrUnterminated, "2:8: unterminated string; close it with '"},
	}
	for _, tt := range tests {
		stmts, err := Split(tt.src, Options{})
		if !errors.Is(err, tt.reason) || stmts != nil {
			t.Errorf("%q: got %d statements, error %v; want %v", tt.src, len(stmts), err, tt.reason)
			continue
		}
		if err.Error() != tt.want {
			t.Errorf("%q:\n got %s\nwant %s", tt.src, err, tt.want)
		}
	}
}

func TestTrimSemicolon(t *testing.T) {
	for src, want := range map[string]string{
		"SELECT 1;":           "SELECT 1",
		"SELECT 1 ; -- c\n;":  "SELECT 1",
		"SELECT 1 -- c;":      "SELECT 1",
		"SELECT ';' ":         "SELECT ';'",
		"SELECT 1; SELECT 2;": "SELECT 1; SELECT 2",
		"SELECT ';":           "SELECT ';",
		"-- c;":               "",
		";":                   "",
	} {
		if got := TrimSemicolon(src); got != want {
			t.Errorf("%q: got %q, want %q", src, got, want)
		}
	}
}

package sqllex

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ariga.io/atlas/sql/migrate"
	"github.com/google/go-cmp/cmp"
)

// atlasDifferences are Atlas's own test files on which Split is to differ, as
// they are not PostgreSQL's SQL.
var atlasDifferences = map[string]string{
	"lex/6_skip_comment.sql":             "MySQL: # comments",
	"lex/7_delimiter_2n.sql":             "a dollar quote without end, which Atlas lets pass",
	"lex/8_delimiter_3n.sql":             "a dollar quote without end, which Atlas lets pass",
	"lex/13_delimiter_mysql_command.sql": "MySQL: # comments",
	"lex/15_dollar_quote.sql":            "MySQL: # comments",
	"lex/19_ms_gocmd.sql":                "SQL Server: GO ends statements",
	"lex/20_ms_go-delim.sql":             "SQL Server: a GO line before the first delimiter",
	"lexescaped/1.my.sql":                "MySQL: backslash in standard strings",
	"lexgroup/1_trigger.sql":             "SQLite: BEGIN … END in triggers",
	"lexgroup/2_function.sql":            "MySQL: BEGIN … END in functions",
}

// TestSplitAtlasGoldens runs Split over the test files of Atlas's scanner.
func TestSplitAtlasGoldens(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "ariga.io/atlas").Output()
	if err != nil {
		t.Fatalf("where the module ariga.io/atlas is: %v", err)
	}
	root := filepath.Join(strings.TrimSpace(string(out)), "sql", "migrate", "testdata")
	goldens, err := filepath.Glob(filepath.Join(root, "lex*", "*.sql.golden"))
	if err != nil || len(goldens) < 25 {
		t.Fatalf("found %d files, want at least 25 (%v)", len(goldens), err)
	}
	same := 0
	for _, golden := range goldens {
		path := strings.TrimSuffix(golden, ".golden")
		name, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "lexbegintry") {
			continue // SQL Server only
		}
		stmts, err := Split(readFile(t, path), Options{})
		got := strings.Join(texts(stmts), "\n-- end --\n")
		if err != nil {
			got = err.Error()
		}
		diff := cmp.Diff(readFile(t, golden), got)
		reason, known := atlasDifferences[filepath.ToSlash(name)]
		switch {
		case diff == "" && known:
			t.Errorf("%s: no longer differs (%s)", name, reason)
		case diff == "":
			same++
		case !known:
			t.Errorf("%s: %s", name, diff)
		default:
			t.Logf("%s: %s", name, reason)
		}
	}
	t.Logf("%d of %d files the same", same, len(goldens))
}

// TestSplitLikeAtlas compares texts and comments with those of Atlas's scanner
// for plain SQL: hashes of statements that Atlas has stored depend on them.
func TestSplitLikeAtlas(t *testing.T) {
	for _, src := range []string{
		"CREATE TABLE t (a int);\n",
		"\n\n  CREATE TABLE t (a int) ;\n\n\nSELECT 1  ;",
		"SELECT 1;SELECT 2",
		"SELECT 1\n",
		"SELECT 1 -- one\n",
		"SELECT 1 /* one */",
		"-- a\n-- b\nSELECT 1;\n-- c\n\n-- d\nSELECT 2;",
		"-- a\n\n\nSELECT 1;",
		"/* a */\n/* b */ -- c\nSELECT /* d */ 1; -- e\nSELECT 2;",
		"/* a */\n\n/* b */\nSELECT 1;",
		"--atlas:nolint\n-- atlas:nolint DS101\nDROP TABLE t;\n",
		"-- atlas:txmode none\n\nCREATE INDEX CONCURRENTLY i ON t (a);\n",
		"SELECT ';', \";\", $$;$$, $a$;$a$, 'it''s' -- ;\n, /* ; */ (1;2);",
		"CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END;\nSELECT 1;",
		"CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b);\nSELECT 1;",
		"SELECT 'a'\n  'b;';\r\nSELECT 2;\r\n",
		"SELECT 'ä';\n-- ö\nSELECT 'ü'",
		"-- atlas:delimiter \\n\\n\n\nSELECT 1;\nSELECT 2;\n\n-- c\nSELECT 3\n",
		"-- atlas:delimiter \\n--\\n\nSELECT 1\n--\nSELECT 2\n--\n",
		"-- a\nDELIMITER //\n-- b\nSELECT 1; SELECT (//) // SELECT 2 //\nDELIMITER ;\n-- c\nSELECT 3;",
	} {
		want, err := migrate.Stmts(src)
		if err != nil {
			t.Errorf("%q: Atlas: %v", src, err)
			continue
		}
		got, err := Split(src, Options{})
		if err != nil {
			t.Errorf("%q: %v", src, err)
			continue
		}
		var wantTexts []string
		for i, s := range want {
			wantTexts = append(wantTexts, s.Text)
			if i >= len(got) {
				continue
			}
			var comments []string
			for _, c := range s.Comments {
				comments = append(comments, strings.TrimRight(c, "\r\n"))
			}
			if diff := cmp.Diff(comments, got[i].Comments); diff != "" {
				t.Errorf("%q: comments of statement %d: %s", src, i, diff)
			}
		}
		if diff := cmp.Diff(wantTexts, texts(got)); diff != "" {
			t.Errorf("%q: %s", src, diff)
		}
	}
}

// TestSplitLikeAtlasCorpus counts on how many of PostgreSQL's scripts Atlas's
// scanner agrees. Where it does not, [TestSplitLikePsql] says who is right.
func TestSplitLikeAtlasCorpus(t *testing.T) {
	dir := corpusDir(t)
	paths, err := filepath.Glob(filepath.Join(dir, "postgresql", "*", "*.sql"))
	if err != nil || len(paths) < 350 {
		t.Fatalf("found %d files (%v)", len(paths), err)
	}
	same, failed, empty, statements := 0, 0, 0, 0
	for _, p := range paths {
		script := plainSQL(readFile(t, p))
		got, err := Split(script, Options{})
		if err != nil {
			continue
		}
		stmts, err := migrate.Stmts(script)
		if err != nil {
			failed++
			continue
		}
		var want []string
		for _, s := range stmts {
			if Classify(s.Text).Kind == Empty {
				empty++ // Atlas counts what only has comments, or nothing at all
				continue
			}
			want = append(want, s.Text)
		}
		if cmp.Equal(want, texts(got)) {
			same++
			statements += len(got)
		}
	}
	t.Logf("%d of %d files with %d statements the same; Atlas refuses %d files and has %d empty statements",
		same, len(paths), statements, failed, empty)
	if same < len(paths)*8/10 {
		t.Error("too few: the texts must be those of Atlas")
	}
}

// gooseDifferences are goose's test files that are not one statement.
var gooseDifferences = map[string]struct {
	statements int
	reason     string
}{
	"test02/01.up.golden.sql": {4, "several statements between goose's annotations"},
	"test09/01.up.golden.sql": {2, "several statements between goose's annotations"},
	"test08/04.up.golden.sql": {0, "MySQL: statements in comments"},
	"test08/05.up.golden.sql": {0, "MySQL: statements in comments"},
	"test08/06.up.golden.sql": {0, "MySQL: statements in comments"},
}

// TestSplitGoose checks that a statement of goose's test files, as goose's own
// parser gives it, is one statement.
func TestSplitGoose(t *testing.T) {
	dir := filepath.Join(corpusDir(t), "goose", "valid-up")
	goldens, err := filepath.Glob(filepath.Join(dir, "*", "*.golden.sql"))
	if err != nil || len(goldens) < 20 {
		t.Fatalf("found %d files, want at least 20 (%v)", len(goldens), err)
	}
	for _, path := range goldens {
		name := filepath.Base(filepath.Dir(path)) + "/" + filepath.Base(path)
		stmts, err := Split(readFile(t, path), Options{})
		want := 1
		if d, ok := gooseDifferences[name]; ok {
			want = d.statements
			t.Logf("%s: %s", name, d.reason)
		}
		if err != nil || len(stmts) != want {
			t.Errorf("%s: %d statements, %v", name, len(stmts), err)
		}
	}
	t.Logf("%d of goose's statements", len(goldens))
}

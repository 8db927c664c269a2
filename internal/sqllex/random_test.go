package sqllex

import (
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
)

// TestSplitLikePsqlRandom compares Split with psql over scripts put together
// from pieces at random, always the same ones.
func TestSplitLikePsqlRandom(t *testing.T) {
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("psql is not installed (package postgresql-client)")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	scripts := make([]string, 2000)
	for i := range scripts {
		var b strings.Builder
		if i%4 == 0 {
			randomRoutine(rnd, &b)
		}
		for range 1 + rnd.IntN(40) {
			b.WriteString(pick(rnd, randomPieces))
			b.WriteString(pick(rnd, []string{" ", "", ""}))
		}
		scripts[i] = b.String()
	}
	compared, statements := 0, 0
	sent := askPsql(t, psql, scripts)
	for i, script := range scripts {
		if _, err := Split(script, Options{}); err != nil {
			continue // psql sends what is left over
		}
		compared++
		statements += len(sent[i])
		if diff := compare(script, sent[i]); diff != "" {
			t.Errorf("%q: %s", script, diff)
		}
	}
	t.Logf("%d statements in %d of %d scripts compared, the others are errors", statements, compared, len(scripts))
	if compared < len(scripts)/3 {
		t.Error("too few to tell anything")
	}
}

func pick(rnd *rand.Rand, from []string) string { return from[rnd.IntN(len(from))] }

var randomPieces = []string{
	"a", "e", "U&", "n", "b", "x", "$", "$1", "a$b$", "''", "''''", `""`, `";"`, "';'", `'\'`, `E'\';'`, `E'\\'`, "'a'\n';'",
	`U&'\0061;'`, `U&"d;"`, "b';'", "x';'", "$$;$$", "$t$ ; $$ $t$", "$тег$;$тег$", "-- ;\n", "--", "-", "/* ; */", "/*/**/;*/",
	"*/", "+", "*", "/", "<>", "(", ")", "(;)", "((a);)", ";", ";", ";", ",", ".", "..", "1", "1.", "1e", "0x1f", ":=", "::",
	"[", "]", "\n", "\n", " ", "\t", "\r", "\f", "ä", "тег", "BEGIN", "begin atomic", "end", "case", "select", "or replace", "{",
	"create table", "function", // but not one behind the other
}

// randomRoutine writes a function with a body of statements. It has no BEGIN
// without ATOMIC, nor CASE or END as labels: psql guesses wrong there.
func randomRoutine(rnd *rand.Rand, b *strings.Builder) {
	b.WriteString(pick(rnd, []string{"create ", "-- c;\ncreate/**/ or Replace\n"}))
	b.WriteString(pick(rnd, []string{"FUNCTION", "procedure"}))
	b.WriteString(pick(rnd, []string{" f() ", " s.f(a int, b text default ';') returns int ", ` "begin atomic"(begin int) `}))
	b.WriteString(pick(rnd, []string{"begin atomic ", "BEGIN -- atomic;\nATOMIC\n", "language sql begin/* end; */atomic "}))
	for range rnd.IntN(5) {
		b.WriteString(pick(rnd, []string{
			"select 1;", "select ';' ; ", "select case when 1 then 2 end;\n",
			"select case 1 when (case when 2 then ';' end) then 3 end -- end;\n;",
			"insert into t values ($$;end;$$);", "/* end; */ select (case when a then b end);",
			"select case case 1 when 2 then 3 end when 4 then 5 end;",
		}))
	}
	b.WriteString(pick(rnd, []string{"end;", "END ;", "/**/end--;\n;"}))
}

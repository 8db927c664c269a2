package gobuild

import (
	"bytes"
	"errors"
	"go/format"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const head = "package migrations\n\nimport \"github.com/aurora-migrate/aurora\"\n\n"

func TestAddEntry(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{
			"lines",
			"// Migrations are these.\nvar Migrations = []aurora.Migration{\n\tfirst, // the first\n\t// second follows\n\tsecond,\n}\n\nfunc other() {}\n",
			"// Migrations are these.\nvar Migrations = []aurora.Migration{\n\tfirst, // the first\n\t// second follows\n\tsecond,\n\tadded,\n}\n\nfunc other() {}\n",
		},
		{"a comment at the end", "var Migrations = []aurora.Migration{\n\tfirst,\n\t// above\n}\n", "var Migrations = []aurora.Migration{\n\tfirst,\n\t// above\n\tadded,\n}\n"},
		{"one line", "var Migrations = []aurora.Migration{first, second}\n", "var Migrations = []aurora.Migration{first, second, added}\n"},
		{"empty", "var Migrations = []aurora.Migration{}\n", "var Migrations = []aurora.Migration{\n\tadded,\n}\n"},
		{"empty on two lines", "var Migrations = []aurora.Migration{\n}\n", "var Migrations = []aurora.Migration{\n\tadded,\n}\n"},
		{"empty but for a comment", "var Migrations = []aurora.Migration{\n\t// none yet\n}\n", "var Migrations = []aurora.Migration{\n\t// none yet\n\tadded,\n}\n"},
		{"no value", "var Migrations []aurora.Migration\n", "var Migrations = []aurora.Migration{\n\tadded,\n}\n"},
		{"no value, a comment", "var Migrations []aurora.Migration // none yet\n", "var Migrations = []aurora.Migration{\n\tadded,\n} // none yet\n"},
		{"the brace behind the last", "var Migrations = []aurora.Migration{\n\tfirst,\n\tsecond}\n", "var Migrations = []aurora.Migration{\n\tfirst,\n\tsecond, added}\n"},
		{"a comma before the brace", "var Migrations = []aurora.Migration{first,}\n", "var Migrations = []aurora.Migration{first, added}\n"},
		{"a group", "var (\n\ta = 1\n\n\tMigrations = []aurora.Migration{\n\t\tfirst,\n\t}\n\tb = 2\n)\n", "var (\n\ta = 1\n\n\tMigrations = []aurora.Migration{\n\t\tfirst,\n\t\tadded,\n\t}\n\tb = 2\n)\n"},
		{"several names", "var a, Migrations = 1, []aurora.Migration{first}\n", "var a, Migrations = 1, []aurora.Migration{first, added}\n"},
		{"a type of its own", "type list []aurora.Migration\n\nvar Migrations = list{first}\n", "type list []aurora.Migration\n\nvar Migrations = list{first, added}\n"},
		{
			"migrations in place",
			"var Migrations = []aurora.Migration{\n\t{\n\t\tVersion: \"1\", // }\n\t},\n}\n",
			"var Migrations = []aurora.Migration{\n\t{\n\t\tVersion: \"1\", // }\n\t},\n\tadded,\n}\n",
		},
		{"not formatted", "var Migrations=[]aurora.Migration{\nfirst ,\n}\n", "var Migrations = []aurora.Migration{\n\tfirst,\n\tadded,\n}\n"},
		{"Windows line ends", "var Migrations = []aurora.Migration{\r\n\tfirst,\r\n}\r\n", "var Migrations = []aurora.Migration{\n\tfirst,\n\tadded,\n}\n"},
		{"the name in a string", "var text = `var Migrations = []aurora.Migration{}`\n\nvar Migrations = []aurora.Migration{a}\n", "var text = `var Migrations = []aurora.Migration{}`\n\nvar Migrations = []aurora.Migration{a, added}\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := addEntry("migrations.go", []byte(head+tt.src), "added")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(head+tt.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAddEntryRefuses(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"a function", "var Migrations = all()\n", errNotLiteral.Error()},
		{"append", "var Migrations = append(a, b...)\n", errNotLiteral.Error()},
		{"a map", "var Migrations = map[string]aurora.Migration{}\n", errNotLiteral.Error()},
		{"an array", "var Migrations [3]aurora.Migration\n", errNotLiteral.Error()},
		{"several results", "var Migrations, err = all()\n", errNotLiteral.Error()},
		{"a name of its own without a value", "var Migrations list\n", errNotLiteral.Error()},
		{"in a function only", "func f() {\n\tvar Migrations = []aurora.Migration{}\n\t_ = Migrations\n}\n", "declares no Migrations"},
		{"a constant", "const Migrations = 1\n", "declares no Migrations"},
		{"not Go", "var Migrations = {\n", "migrations.go:5:18"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := addEntry("migrations.go", []byte(head+tt.src), "added")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it\n%s", err, tt.want, got)
			}
		})
	}
}

// FuzzAddEntry checks that what comes out is Go, formatted, and has exactly
// one element more, with all comments.
func FuzzAddEntry(f *testing.F) {
	for _, src := range []string{
		"var Migrations = []aurora.Migration{first, second}", "var Migrations = []aurora.Migration{\n\tfirst, // x\n}",
		"var Migrations []aurora.Migration // y", "var Migrations = []aurora.Migration{/* z */}", "var a, Migrations = 1, []T{1:x,}",
		"var Migrations = append(a, b...)", "var (\nMigrations = list{{}}\n)", "var Migrations = T{\n//x\n\n}", "var Migrations = [...]T{a}",
		"var Migrations = T{a /* b */}", "var Migrations = T{a, /* b */}", "var Migrations = T{a, // b\n}", "var Migrations = T{\na}",
	} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		in := []byte("package p\n" + src)
		out, err := addEntry("p.go", in, "added")
		if err != nil {
			return
		}
		before, err := findSlice("p.go", in)
		if err != nil || before == nil {
			t.Fatalf("edited what cannot be read: %v", err)
		}
		after, err := findSlice("p.go", out)
		if err != nil || after == nil || after.literal == nil {
			t.Fatalf("the result cannot be read: %v\n%s", err, out)
		}
		n := 0
		if before.literal != nil {
			n = len(before.literal.Elts)
		}
		if got := len(after.literal.Elts); got != n+1 {
			t.Errorf("%d elements became %d\n%s", n, got, out)
		}
		if a, b := comments(t, in), comments(t, out); a != b {
			t.Errorf("%d comments became %d\n%s", a, b, out)
		}
		if again, err := format.Source(out); err != nil || !bytes.Equal(bytes.TrimSpace(again), bytes.TrimSpace(out)) && !strings.Contains(src, "//") && !strings.Contains(src, "/*") {
			t.Errorf("not formatted: %v\n%s", err, out)
		}
		if _, err := addEntry("p.go", out, "another"); err != nil && !errors.Is(err, errNotLiteral) {
			t.Errorf("once more: %v\n%s", err, out)
		}
	})
}

func comments(t *testing.T, src []byte) int {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", src, parser.ParseComments)
	if err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	n := 0
	for _, g := range f.Comments {
		n += len(g.List)
	}
	return n
}

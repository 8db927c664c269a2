package sqllex

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tokens gives "Kind:text" of all tokens but space.
func tokens(src string) []string {
	var out []string
	for lx := New(src); ; {
		tok := lx.Next()
		switch tok.Kind {
		case EOF:
			return out
		case Space:
		default:
			out = append(out, tok.Kind.String()+":"+tok.Text(src))
		}
	}
}

func TestLexer(t *testing.T) {
	tests := []struct {
		name, src string
		want      []string
	}{
		{"words", "SELECT _a1$ äöü", []string{"Word:SELECT", "Word:_a1$", "Word:äöü"}},
		{"byte order mark", "\ufeffa \ufeff", []string{"Word:a", "Word:\ufeff"}},
		{"standard string", `'a\'';'`, []string{`String:'a\'';'`}},
		{"backslash at the end", `'a\';`, []string{`String:'a\'`, "Semicolon:;"}},
		{"escape string", `E'a\'b''c\\';`, []string{`String:E'a\'b''c\\'`, "Semicolon:;"}},
		{"prefix is part of a word", `ae'x\'`, []string{"Word:ae", `String:'x\'`}},
		{"unicode string", `U&'a\';u&"b""c"`, []string{`String:U&'a\'`, "Semicolon:;", `QuotedIdent:u&"b""c"`}},
		{"u and an operator", `u&1 u & 'a'`, []string{"Word:u", "Operator:&", "Number:1", "Word:u", "Operator:&", "String:'a'"}},
		{"bit strings do not double", `b'01''10' X'1f'`, []string{"String:b'01'", "String:'10'", "String:X'1f'"}},
		{"national string", `N'it''s'`, []string{"String:N'it''s'"}},
		{"continuation", "'a'\n 'b'", []string{"String:'a'\n 'b'"}},
		{"continuation behind a comment", "'a' -- c\n--d\r'b;'", []string{"String:'a' -- c\n--d\r'b;'"}},
		{"continued escape string", "E'a'\n'b\\';'", []string{"String:E'a'\n'b\\';'"}},
		{"no continuation on one line", "'a' 'b'", []string{"String:'a'", "String:'b'"}},
		{"no continuation over a block comment", "'a'\n/**/'b'", []string{"String:'a'", "Comment:/**/", "String:'b'"}},
		{"continuation fails at a minus", "'a'\n- 'b'", []string{"String:'a'", "Operator:-", "String:'b'"}},
		{"quoted identifier", `"a""b"";"`, []string{`QuotedIdent:"a""b"";"`}},
		{"dollar quotes", "$$a;$b$$ $t$ $$ $tt$ $t$", []string{"DollarString:$$a;$b$$", "DollarString:$t$ $$ $tt$ $t$"}},
		{"dollar quote end overlaps", "$a$ $$a$", []string{"DollarString:$a$ $$a$"}},
		{"dollar tag with other letters", "$тег$;$тег$", []string{"DollarString:$тег$;$тег$"}},
		{"dollar inside a word", "a$b$c;a$b$", []string{"Word:a$b$c", "Semicolon:;", "Word:a$b$"}},
		{"dollar tag cannot begin with a digit", "$1a$b$", []string{"Param:$1a$b$"}},
		{"parameters", "$1,$22::int", []string{"Param:$1", "Punct:,", "Param:$22", "Punct:::", "Word:int"}},
		{"lone dollar", "$ $a;", []string{"Stray:$", "Stray:$", "Word:a", "Semicolon:;"}},
		{"nested comment", "/* /* ; */ */a", []string{"Comment:/* /* ; */ */", "Word:a"}},
		{"comment closed by many stars", "/***/a/*/*/ */*/b", []string{"Comment:/***/", "Word:a", "Comment:/*/*/ */*/", "Word:b"}},
		{"line comment ends at \\r", "--a\rb", []string{"Comment:--a", "Word:b"}},
		{"comments end operators", "+--c\n+/*c*/", []string{"Operator:+", "Comment:--c", "Operator:+", "Comment:/*c*/"}},
		{"minus ends no standard operator", "a=-1 a@-1 <-- c", []string{
			"Word:a", "Operator:=", "Operator:-", "Number:1", "Word:a", "Operator:@-", "Number:1", "Operator:<", "Comment:-- c"}},
		{"plus and minus", "+-+ *+ ->>", []string{"Operator:+", "Operator:-", "Operator:+", "Operator:*", "Operator:+", "Operator:->>"}},
		{"numbers", "1 1.5 .5 1. 1e5 1.5e-3 0x1F 1_000", []string{
			"Number:1", "Number:1.5", "Number:.5", "Number:1.", "Number:1e5", "Number:1.5e-3", "Number:0x1F", "Number:1_000"}},
		{"ranges", "1..2 1...2", []string{"Number:1", "Punct:..", "Number:2", "Number:1", "Punct:..", "Number:.2"}},
		{"number junk", "1a 1e+ 1e--c", []string{"Number:1a", "Number:1e+", "Number:1e-", "Operator:-", "Word:c"}},
		{"number before a dollar quote", "1$a$;$a$", []string{"Number:1", "DollarString:$a$;$a$"}},
		{"punctuation", "a[1:2]:=b.c", []string{
			"Word:a", "Punct:[", "Number:1", "Punct::", "Number:2", "Punct:]", "Punct::=", "Word:b", "Punct:.", "Word:c"}},
		{"psql command", "a \\g x;\nb", []string{"Word:a", "Meta:\\g x;", "Word:b"}},
		{"stray bytes", "{\x00\x01}", []string{"Stray:{", "Stray:\x00", "Stray:\x01", "Stray:}"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tokens(tt.src)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLexerUnterminated(t *testing.T) {
	tests := []struct{ src, want string }{
		{"a\n 'b", "2:2: unterminated string; close it with '"},
		{`E'a\'`, "1:1: unterminated string; close it with '"},
		{`E'a\`, "1:1: unterminated string; close it with '"},
		{"'a'\n'", "1:1: unterminated string; close it with '"},
		{"ä \"b", "1:3: unterminated quoted identifier; close it with \""},
		{"x; $$ $", "1:4: unterminated dollar-quoted string; close it with $$"},
		{"$t$ $$", "1:1: unterminated dollar-quoted string; close it with $t$"},
		{"/* /* */", "1:1: unterminated /* comment; close it with */ (comments nest: every /* inside needs its own */)"},
	}
	for _, tt := range tests {
		lx := New(tt.src)
		if err := lx.Err(); err != nil {
			t.Errorf("%q: error before the first token: %v", tt.src, err)
		}
		tok := lx.Next()
		for tok.Kind != Invalid && tok.Kind != EOF {
			tok = lx.Next()
		}
		if tok.Kind != Invalid || tok.End != len(tt.src) {
			t.Errorf("%q: got %v to %d, want Invalid to the end", tt.src, tok.Kind, tok.End)
			continue
		}
		err := lx.Err()
		var e *Error
		if !errors.Is(err, ErrUnterminated) || !errors.As(err, &e) || e.Offset != tok.Start {
			t.Errorf("%q: got error %#v", tt.src, err)
		}
		if got := err.Error(); got != tt.want {
			t.Errorf("%q:\n got %s\nwant %s", tt.src, got, tt.want)
		}
	}
}

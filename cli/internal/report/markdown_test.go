package report

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestMarkdown(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"plain", "plain"},
		{"# Adds roles #\n\ntext", "Adds roles\n\ntext"},
		{"#hash stays", "#hash stays"},
		{"- *one*\n* **two**\n  + _three_", "- one\n- two\n  - three"},
		{"2 * 3 * 4, a*b, snake_case_name, __init__", "2 * 3 * 4, a*b, snake_case_name, init"},
		{"***both***, *a **b** c*", "both, a b c"},
		{"*open, **open, `open, [open](", "*open, **open, `open, [open]("},
		{"`a*b*c` and \\*stars\\*", "a*b*c and *stars*"},
		{"see [the *runbook*](https://x/y), ![plan](p.png), <https://z>, [https://z](https://z)", "see the runbook (https://x/y), plan (p.png), https://z, https://z"},
		{"a [1] b", "a [1] b"},
		{"> said", "| said"},
		{"```sql\nSELECT *a* FROM b\n```\nafter", "    SELECT *a* FROM b\nafter"},
		{"~~~\nopen", "    open"},
		{"\x1b[31mred\x1b[0m\r\nnext", "�[31mred�[0m\nnext"},
		{"1. first\n2. second", "1. first\n2. second"},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, Paint(false).Markdown(tt.in)); diff != "" {
			t.Errorf("%q:\n%s", tt.in, diff)
		}
	}
	if got, want := Paint(true).Markdown("# A `b`\n**c** `d`"), "\x1b[1mA b\x1b[0m\n\x1b[1mc\x1b[0m \x1b[36md\x1b[0m"; got != want {
		t.Errorf("painted: got %q, want %q", got, want)
	}
}

func TestFirstLine(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"\n\n", ""},
		{"# Adds **default** roles\n\nmore", "Adds default roles"},
		{"\n- one\n- two", "one"},
		{"```\ncode\n```", "code"},
		{strings.Repeat("word ", 30), strings.TrimSpace(strings.Repeat("word ", 14)) + " w…"},
		{"\x1b[2Jboo", "�[2Jboo"},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, FirstLine(tt.in)); diff != "" {
			t.Errorf("%q:\n%s", tt.in, diff)
		}
	}
}

// Whatever a description holds, it is rendered, and controls no terminal.
func FuzzMarkdown(f *testing.F) {
	f.Add("# a\n**b** _c_ `d` [e](f) \\* <http://g>\n```\nh\n```")
	f.Add("***")
	f.Add("![](x")
	f.Add("_\xff_")
	f.Fuzz(func(t *testing.T, text string) {
		for _, out := range []string{Paint(false).Markdown(text), FirstLine(text)} {
			if strings.ContainsAny(out, "\x00\x1b\x07\r") {
				t.Errorf("%q: control characters in %q", text, out)
			}
			if utf8.ValidString(text) && !utf8.ValidString(out) {
				t.Errorf("%q: not UTF-8: %q", text, out)
			}
		}
		if got := FirstLine(text); utf8.RuneCountInString(got) > titleWidth || strings.Contains(got, "\n") {
			t.Errorf("%q: %q is not a title", text, got)
		}
	})
}

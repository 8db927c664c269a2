package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strings"
	"text/template"
)

// JSON is the template that --json stands for.
const JSON = "{{ json . }}\n"

// A FormatError says that a --format template is wrong.
type FormatError struct{ Err error }

// Error returns the reason, with the place in the template.
func (e *FormatError) Error() string { return "format template: " + e.Err.Error() }

// Unwrap returns the reason.
func (e *FormatError) Unwrap() error { return e.Err }

// A Format is a parsed template for the output of a command.
type Format struct{ t *template.Template }

// ParseFormat parses a Go template with Atlas's functions. The error is a
// [*FormatError].
func ParseFormat(text string, p Paint) (*Format, error) {
	t, err := template.New("format").Funcs(funcs(p)).Parse(text)
	if err != nil {
		return nil, &FormatError{err}
	}
	return &Format{t}, nil
}

// Execute writes v by the template. An error of the template itself, such as a
// field that v does not have, is a [*FormatError].
func (f *Format) Execute(w io.Writer, v any) error {
	var b strings.Builder
	if err := f.t.Execute(&b, v); err != nil {
		return &FormatError{err}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func funcs(p Paint) template.FuncMap {
	m := template.FuncMap{
		"cyan": p.Cyan, "green": p.Green, "red": p.Red, "yellow": p.Yellow, "redBgWhiteFg": p.RedBgWhiteFg,
	}
	maps.Copy(m, template.FuncMap{
		"add":        func(a, b int) int { return a + b },
		"upper":      strings.ToUpper,
		"json":       encodeJSON,
		"json_merge": mergeJSON,
		"indent_ln":  indentLn,
		"default":    func(s *Status) string { return s.Text() },
	})
	return m
}

// encodeJSON takes an indent, or a prefix and an indent.
func encodeJSON(v any, args ...string) (string, error) {
	var b []byte
	var err error
	switch len(args) {
	case 0:
		b, err = json.Marshal(v)
	case 1:
		b, err = json.MarshalIndent(v, "", args[0])
	default:
		b, err = json.MarshalIndent(v, args[0], args[1])
	}
	return string(b), err
}

// mergeJSON joins objects; of a key that appears twice the later counts.
func mergeJSON(objects ...string) (string, error) {
	merged := map[string]any{}
	for _, o := range objects {
		if err := json.Unmarshal([]byte(o), &merged); err != nil {
			return "", fmt.Errorf("json_merge: %w", err)
		}
	}
	return encodeJSON(merged)
}

// indentLn indents all lines but the first.
func indentLn(s string, n int) string {
	return strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", n))
}

package report

import (
	"encoding/json"
	"io"
	"strings"
)

// JSON is the template that --json stands for.
const JSON = "{{ json . }}\n"

// A FormatError says that a --format template is wrong.
type FormatError struct{ Err error }

// Error returns the reason, with the place in the template.
func (e *FormatError) Error() string { return "format template: " + e.Err.Error() }

// Unwrap returns the reason.
func (e *FormatError) Unwrap() error { return e.Err }

// A Format says how the output of a command is written.
type Format struct {
	write func(w io.Writer, v any) error
}

// ParseFormat parses a Go template with Atlas's functions. The error is a
// [*FormatError].
func ParseFormat(text string, p Paint) (*Format, error) {
	if IsJSON(text) {
		return &Format{func(w io.Writer, v any) error { return writeJSON(w, v, strings.HasSuffix(text, "\n")) }}, nil
	}
	write, err := parseTemplate(text, p)
	if err != nil {
		return nil, &FormatError{err}
	}
	return &Format{write}, nil
}

// IsJSON reports whether a template is {{ json . }}, which needs no templates.
func IsJSON(text string) bool { return strings.Join(strings.Fields(text), "") == "{{json.}}" }

// Execute writes v by the template. An error of the template itself, such as a
// field that v does not have, is a [*FormatError].
func (f *Format) Execute(w io.Writer, v any) error {
	var b strings.Builder
	if err := f.write(&b, v); err != nil {
		return &FormatError{err}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeJSON is the template {{ json . }}, for programs that have no others.
func writeJSON(w io.Writer, v any, newline bool) error {
	text, err := encodeJSON(v)
	if err != nil {
		return err
	}
	if newline {
		text += "\n"
	}
	_, err = io.WriteString(w, text)
	return err
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

// indentLn indents all lines but the first.
func indentLn(s string, n int) string {
	return strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", n))
}

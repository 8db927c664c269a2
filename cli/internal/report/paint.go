package report

import "fmt"

// A Paint colours text for a terminal, or leaves it as it is when false. Its
// methods with a format are those that templates call: without arguments the
// text is taken as it is.
type Paint bool

func (p Paint) wrap(code, format string, args []any) string {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	if !p {
		return format
	}
	return "\x1b[" + code + "m" + format + "\x1b[0m"
}

// Cyan is for versions and arrows.
func (p Paint) Cyan(format string, args ...any) string { return p.wrap("36", format, args) }

// Green is for what is well.
func (p Paint) Green(format string, args ...any) string { return p.wrap("92", format, args) }

// Red is for what is wrong.
func (p Paint) Red(format string, args ...any) string { return p.wrap("91", format, args) }

// Yellow is for what wants attention, and for the dashes before lines.
func (p Paint) Yellow(format string, args ...any) string { return p.wrap("33", format, args) }

// Gray is for what may be overlooked.
func (p Paint) Gray(format string, args ...any) string { return p.wrap("90", format, args) }

// RedBgWhiteFg is for the error itself.
func (p Paint) RedBgWhiteFg(args ...any) string { return p.wrap("97;101", fmt.Sprint(args...), nil) }

package config

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// functions returns the functions that a project file has in addition to the
// language's, and those whose behaviour differs from it. File paths are
// relative to the directory of the project file.
func (ev *evaluator) functions() map[string]function.Function {
	files := ev.fileFuncs()
	return map[string]function.Function{
		"file":        ev.remember(files["file"]),
		"glob":        files["glob"],
		"fileset":     files["fileset"],
		"getenv":      ev.getenv(),
		"print":       printTo(ev.opts.Stderr),
		"urlescape":   urlEscape(),
		"urluserinfo": urlFunc("user", setUserinfo, &function.Parameter{Name: "pass", Type: cty.String, AllowNull: true}),
		"urlqueryset": urlFunc("key", setQuery, nil, "value"),
		"urlsetpath":  urlFunc("path", func(u *url.URL, a []cty.Value) { u.Path = a[0].AsString() }, nil),
	}
}

// remember keeps what a function of one string returns out of messages.
func (ev *evaluator) remember(f function.Function) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, err := f.Call(args)
			if err == nil && v.IsKnown() && !v.IsNull() {
				ev.secrets.add(v.AsString())
			}
			return v, err
		},
	})
}

func (ev *evaluator) getenv() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "key", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			value, _ := ev.opts.LookupEnv(args[0].AsString())
			ev.secrets.addInput(args[0].AsString(), value)
			return cty.StringVal(value), nil
		},
	})
}

// printTo returns the function print, which shows a value and returns it.
// Atlas writes to standard output, where it breaks what programs read.
func printTo(w io.Writer) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowNull: true}},
		Type:   func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			text := ""
			switch v := args[0]; {
			case v.IsNull():
				text = "null"
			case v.Type() == cty.String:
				text = v.AsString()
			default:
				b, err := ctyjson.Marshal(v, v.Type())
				if err != nil {
					return cty.NilVal, fmt.Errorf("a value of type %s cannot be printed", v.Type().FriendlyName())
				}
				text = string(b)
			}
			if _, err := fmt.Fprintln(w, text); err != nil {
				return cty.NilVal, errors.New("writing to standard error failed")
			}
			return args[0], nil
		},
	})
}

// urlEscape is query escaping, as in Atlas, but with %20 for a space: a plus
// is a plus in the user part of a URL, where passwords stand.
func urlEscape() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "string", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.StringVal(strings.ReplaceAll(url.QueryEscape(args[0].AsString()), "+", "%20")), nil
		},
	})
}

// urlFunc returns a function that changes one thing in a URL. The language has
// these too, but its errors repeat the URL, password and all.
func urlFunc(second string, change func(*url.URL, []cty.Value), rest *function.Parameter, more ...string) function.Function {
	spec := &function.Spec{
		Params:   []function.Parameter{{Name: "url", Type: cty.String}, {Name: second, Type: cty.String}},
		VarParam: rest,
		Type:     function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			u, err := url.Parse(args[0].AsString())
			if err != nil {
				return cty.NilVal, function.NewArgErrorf(0, "not a URL (%s)", urlProblem(err))
			}
			change(u, args[1:])
			return cty.StringVal(u.String()), nil
		},
	}
	for _, name := range more {
		spec.Params = append(spec.Params, function.Parameter{Name: name, Type: cty.String})
	}
	return function.New(spec)
}

func setUserinfo(u *url.URL, args []cty.Value) {
	u.User = url.User(args[0].AsString())
	if len(args) > 1 && !args[1].IsNull() {
		u.User = url.UserPassword(args[0].AsString(), args[1].AsString())
	}
}

func setQuery(u *url.URL, args []cty.Value) {
	q := u.Query()
	q.Set(args[0].AsString(), args[1].AsString())
	u.RawQuery = q.Encode()
}

// urlProblem says what is wrong with a URL without repeating any of it: an
// unescaped password can end up in what net/url takes for the port.
func urlProblem(err error) string {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	msg := err.Error()
	for _, known := range []string{
		"invalid port", "invalid URL escape", "invalid userinfo", "missing protocol scheme", "invalid character",
		"first path segment in URL cannot contain colon", "invalid control character in URL", "missing ']' in host",
	} {
		if strings.Contains(msg, known) {
			return known
		}
	}
	return "it does not parse"
}

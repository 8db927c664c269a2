package config

import (
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// envVarPrefix begins the environment variables that set input variables.
const envVarPrefix = "AURORA_VAR_"

// ParseVars reads the values of repeated --var flags as Atlas does: each is
// one CSV record of name=value fields, so a=1,b=2 sets two variables and
// "a=1,2" in double quotes one. A name given more than once has several
// values. Errors number the flag and do not repeat it, since values may be
// secret.
func ParseVars(flags []string) (map[string][]string, error) {
	vars := make(map[string][]string)
	for i, flag := range flags {
		fields, err := csv.NewReader(strings.NewReader(flag)).Read()
		if err != nil {
			// csv names what is wrong and never quotes the record.
			var parse *csv.ParseError
			if errors.As(err, &parse) {
				err = parse.Err
			}
			return nil, fmt.Errorf("reading --var number %d as a CSV record: %w; put a value with quotes or line breaks in double quotes, with quotes inside doubled", i+1, err)
		}
		for j, field := range fields {
			name, value, ok := strings.Cut(field, "=")
			if name = strings.TrimSpace(name); !ok || name == "" {
				return nil, fmt.Errorf(`reading --var number %d: field %d is not name=value; a value with a comma needs double quotes: --var '"name=a,b"'`, i+1, j+1)
			}
			vars[name] = append(vars[name], value)
		}
	}
	return vars, nil
}

// warnUnknownVars warns about --var names the file does not define.
func (ev *evaluator) warnUnknownVars() {
	known := slices.Sorted(maps.Keys(ev.doc.vars))
	for _, name := range slices.Sorted(maps.Keys(ev.opts.Vars)) {
		if ev.doc.vars[name] != nil {
			continue
		}
		text := fmt.Sprintf("--var %s: the file has no variable of this name", name)
		if hint := didYouMean(name, known); hint != "" {
			text += "; " + hint
		}
		ev.doc.warnings = append(ev.doc.warnings, Warning{Pos: Pos{File: ev.doc.name}, Text: text})
	}
}

// input returns the values given for a variable, from --var or else from the
// environment.
func (ev *evaluator) input(name string) ([]string, bool) {
	if values, ok := ev.opts.Vars[name]; ok && len(values) > 0 {
		return values, true
	}
	for _, n := range []string{name, strings.ToUpper(strings.ReplaceAll(name, "-", "_"))} {
		if value, ok := ev.opts.LookupEnv(envVarPrefix + n); ok {
			return []string{value}, true
		}
	}
	return nil, false
}

// variable evaluates an input variable.
func (ev *evaluator) variable(name string, b *hclsyntax.Block) (cty.Value, *Error) {
	typ, err := ev.variableType(name, b)
	if err != nil {
		return cty.NilVal, err
	}
	if values, ok := ev.input(name); ok {
		for _, v := range values {
			ev.secrets.addInput(name, v)
		}
		v, convErr := convertInput(values, typ)
		if convErr != nil {
			return cty.NilVal, errAt(b.DefRange(), "", "the value given for variable %q does not fit its type %s: %s",
				name, typ.FriendlyName(), ev.secrets.hide(convErr.Error()))
		}
		return v, nil
	}
	def := b.Body.Attributes["default"]
	if def == nil {
		return cty.NilVal, errAt(b.DefRange(),
			fmt.Sprintf("pass --var %s=…, set %s%s, or give it a default", name, envVarPrefix, name),
			"variable %q has no value", name)
	}
	for _, t := range def.Expr.Variables() {
		if root := t.RootName(); root == "var" || root == "local" || root == "data" {
			return cty.NilVal, errAt(t.SourceRange(), "put the expression into locals and use local.name instead",
				"the default of variable %q cannot reference %s", name, root)
		}
	}
	v, err := ev.evalIn(def.Expr, ev.base)
	if err != nil {
		return cty.NilVal, err
	}
	if elem := elementType(typ); elem != cty.NilType && v.Type().Equals(elem) && !v.IsNull() {
		v = cty.ListVal([]cty.Value{v})
	}
	out, convErr := convert.Convert(v, typ)
	if convErr != nil {
		return cty.NilVal, errAt(def.SrcRange, "", "the default of variable %q does not fit its type %s: %s",
			name, typ.FriendlyName(), ev.secrets.hide(convErr.Error()))
	}
	return out, nil
}

// variableType evaluates the type expression of a variable.
func (ev *evaluator) variableType(name string, b *hclsyntax.Block) (cty.Type, *Error) {
	const types = "use string, number, bool, list(…), set(…), map(…), tuple([…]) or object({…})"
	attr := b.Body.Attributes["type"]
	if attr == nil {
		return cty.NilType, errAt(b.DefRange(), types, "variable %q has no type", name)
	}
	if _, quoted := attr.Expr.(*hclsyntax.TemplateExpr); quoted {
		return cty.NilType, errAt(attr.Expr.Range(), "write type = string, not type = \"string\"",
			"the type of variable %q must not be in quotes", name)
	}
	v, err := ev.evalIn(attr.Expr, ev.base)
	if err != nil {
		for i := range err.Diagnostics {
			err.Diagnostics[i].Text = fmt.Sprintf("the type of variable %q is not known: %s", name, err.Diagnostics[i].Text)
			err.Diagnostics[i].Advice = types
		}
		return cty.NilType, err
	}
	if v.Type().IsCapsuleType() && !v.IsNull() {
		if t, ok := v.EncapsulatedValue().(*cty.Type); ok {
			return *t, nil
		}
	}
	return cty.NilType, errAt(attr.Expr.Range(), types, "the type of variable %q is not a type", name)
}

// convertInput turns the text given for a variable into its type. Several
// values make a list. For a list or set a single value is wrapped; for a
// structured type it may be JSON, which Atlas does not have.
func convertInput(values []string, typ cty.Type) (cty.Value, error) {
	if len(values) == 1 {
		if v := strings.TrimSpace(values[0]); !typ.IsPrimitiveType() && strings.HasPrefix(v, openingOf(typ)) {
			return ctyjson.Unmarshal([]byte(v), typ)
		}
		if elementType(typ) == cty.NilType {
			return convert.Convert(cty.StringVal(values[0]), typ)
		}
	}
	if typ.IsPrimitiveType() {
		return cty.NilVal, fmt.Errorf("it was given %d values", len(values))
	}
	list := make([]cty.Value, len(values))
	for i, v := range values {
		list[i] = cty.StringVal(v)
	}
	return convert.Convert(cty.TupleVal(list), typ)
}

// elementType returns the element type of a list or set, else cty.NilType.
func elementType(typ cty.Type) cty.Type {
	if typ.IsListType() || typ.IsSetType() {
		return typ.ElementType()
	}
	return cty.NilType
}

// openingOf returns the bracket that JSON text of a type begins with.
func openingOf(typ cty.Type) string {
	if typ.IsMapType() || typ.IsObjectType() {
		return "{"
	}
	return "["
}

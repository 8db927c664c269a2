package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ariga.io/atlas/schemahcl"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// ref names a value that expressions can reach: var.a, local.a or data.a.b.
type ref struct{ kind, a, b string }

func (r ref) String() string {
	return strings.TrimSuffix(r.kind+"."+r.a+"."+r.b, ".")
}

// scope holds variables of one place in the file, such as each or an enum.
type scope map[string]cty.Value

// evaluator evaluates expressions, and what they reference, on demand.
type evaluator struct {
	ctx     context.Context
	opts    Options
	doc     *document
	base    *hcl.EvalContext
	secrets *secrets

	values map[ref]cty.Value
	failed map[ref]*Error
	stack  []ref        // what is being evaluated, outermost first
	active map[ref]bool // the same as a set

	tokens  map[string]*TokenSource
	memDirs map[string]map[string][]byte
}

func newEvaluator(ctx context.Context, opts Options, doc *document) (*evaluator, error) {
	ev := &evaluator{
		ctx: ctx, opts: opts, doc: doc,
		secrets: &secrets{source: string(doc.src)},
		values:  make(map[ref]cty.Value),
		failed:  make(map[ref]*Error),
		active:  make(map[ref]bool),
		tokens:  make(map[string]*TokenSource),
		memDirs: make(map[string]map[string][]byte),
	}
	lang, err := language()
	if err != nil {
		return nil, err
	}
	ev.base = lang.NewChild()
	ev.base.Functions = ev.functions()
	ev.base.Variables = scope{"atlas": cty.ObjectVal(scope{"env": cty.StringVal(opts.Env)})}
	return ev, nil
}

// language returns the evaluation context of schemahcl: its functions, and
// its types as variables. schemahcl exports neither, but hands the context to
// the handler of an init block, so a document of one block yields it.
func language() (*hcl.EvalContext, error) {
	const block = "context"
	var lang *hcl.EvalContext
	state := schemahcl.New(schemahcl.WithInitBlock(block,
		func(_ context.Context, c *hcl.EvalContext, _ *hclsyntax.Block) (cty.Value, error) {
			lang = c
			return cty.EmptyObjectVal, nil
		}))
	if err := state.EvalBytes([]byte(block+" {}"), &struct{}{}, nil); err != nil {
		return nil, fmt.Errorf("creating the language: %w", err)
	}
	if lang == nil {
		return nil, errors.New("creating the language: schemahcl did not evaluate the block")
	}
	for _, name := range []string{block, "var"} {
		delete(lang.Variables, name)
	}
	return lang, nil
}

// eval evaluates an expression with all it references.
func (ev *evaluator) eval(expr hclsyntax.Expression, sc scope) (cty.Value, *Error) {
	vars, err := ev.references(expr.Variables())
	if err != nil {
		return cty.NilVal, err
	}
	maps.Copy(vars, sc)
	child := ev.base.NewChild()
	child.Variables = vars
	return ev.evalIn(expr, child)
}

// evalIn evaluates an expression whose references are in the context.
func (ev *evaluator) evalIn(expr hclsyntax.Expression, c *hcl.EvalContext) (v cty.Value, err *Error) {
	defer func() {
		// A few functions of the language panic on odd arguments.
		if p := recover(); p != nil {
			v, err = cty.NilVal, errAt(expr.Range(), "", "this expression cannot be evaluated: a function does not accept its argument")
		}
	}()
	v, diags := expr.Value(c)
	if !diags.HasErrors() {
		return v, nil
	}
	out := fromHCL(diags, ev.secrets.hide)
	for i := range out.Diagnostics {
		ev.explain(&out.Diagnostics[i], expr)
	}
	return cty.NilVal, out
}

// references evaluates what a list of traversals refers to, and returns it as
// the variables var, local and data. Names the file does not define are left
// out: the expression may be inside try().
func (ev *evaluator) references(traversals []hcl.Traversal) (scope, *Error) {
	need := make(map[ref]hcl.Range)
	out := make(scope)
	for _, t := range traversals {
		root := t.RootName()
		if root != "var" && root != "local" && root != "data" {
			continue
		}
		out[root] = cty.EmptyObjectVal
		for _, r := range ev.expand(root, t) {
			if _, ok := need[r]; !ok {
				need[r] = t.SourceRange()
			}
		}
	}
	// Sorted, so that of several errors it is always the same that is seen.
	order := slices.SortedFunc(maps.Keys(need), func(a, b ref) int { return strings.Compare(a.String(), b.String()) })
	objects := make(map[string]map[string]cty.Value)
	sources := make(map[string]map[string]cty.Value)
	put := func(m map[string]map[string]cty.Value, outer, inner string, v cty.Value) {
		if m[outer] == nil {
			m[outer] = make(map[string]cty.Value)
		}
		m[outer][inner] = v
	}
	for _, r := range order {
		v, err := ev.value(r, need[r])
		if err != nil {
			return nil, err
		}
		if r.kind == "data" {
			put(sources, r.a, r.b, v)
		} else {
			put(objects, r.kind, r.a, v)
		}
	}
	for source, blocks := range sources {
		put(objects, "data", source, cty.ObjectVal(blocks))
	}
	for kind, attrs := range objects {
		out[kind] = cty.ObjectVal(attrs)
	}
	return out, nil
}

// expand returns what a traversal needs. local.a and local["a"] are one name;
// local on its own, as in keys(local), is all of them.
func (ev *evaluator) expand(root string, t hcl.Traversal) []ref {
	a, okA := step(t, 1)
	b, okB := step(t, 2)
	var out []ref
	switch {
	case root == "data" && okA && okB:
		if ev.doc.data[[2]string{a, b}] != nil {
			out = append(out, ref{root, a, b})
		}
	case root == "data":
		for key := range ev.doc.data {
			if !okA || key[0] == a {
				out = append(out, ref{root, key[0], key[1]})
			}
		}
	case root == "var":
		out = named(root, a, okA, ev.doc.vars)
	case root == "local":
		out = named(root, a, okA, ev.doc.locals)
	}
	return out
}

// named returns the reference to one name, if it is defined, or to all.
func named[T any](root, name string, hasName bool, defined map[string]T) []ref {
	var out []ref
	if hasName {
		if _, ok := defined[name]; ok {
			out = append(out, ref{root, name, ""})
		}
		return out
	}
	for name := range defined {
		out = append(out, ref{root, name, ""})
	}
	return out
}

// step returns the name at one position of a traversal.
func step(t hcl.Traversal, i int) (string, bool) {
	if i >= len(t) {
		return "", false
	}
	switch s := t[i].(type) {
	case hcl.TraverseAttr:
		return s.Name, true
	case hcl.TraverseIndex:
		if s.Key.Type() == cty.String && s.Key.IsKnown() && !s.Key.IsNull() {
			return s.Key.AsString(), true
		}
	}
	return "", false
}

// value evaluates a variable, local or data source, once.
func (ev *evaluator) value(r ref, at hcl.Range) (cty.Value, *Error) {
	if v, ok := ev.values[r]; ok {
		return v, nil
	}
	if err, ok := ev.failed[r]; ok {
		return cty.NilVal, err
	}
	if ev.active[r] {
		var names []string
		for _, s := range append(slices.Clone(ev.stack[slices.Index(ev.stack, r):]), r) {
			names = append(names, s.String())
		}
		return cty.NilVal, errAt(at, "break the circle", "%s refers to itself: %s", r, strings.Join(names, " → "))
	}
	ev.stack, ev.active[r] = append(ev.stack, r), true
	v, err := ev.compute(r)
	ev.stack = ev.stack[:len(ev.stack)-1]
	delete(ev.active, r)
	if err != nil {
		ev.failed[r] = err
		return cty.NilVal, err
	}
	ev.values[r] = v
	return v, nil
}

func (ev *evaluator) compute(r ref) (cty.Value, *Error) {
	switch r.kind {
	case "var":
		return ev.variable(r.a, ev.doc.vars[r.a])
	case "local":
		return ev.eval(ev.doc.locals[r.a].Expr, nil)
	default:
		return ev.dataSource(ev.doc.data[[2]string{r.a, r.b}])
	}
}

// explain improves HCL's diagnostic about a name that is not defined: HCL
// knows the object without the name, we know the whole file.
func (ev *evaluator) explain(d *Diagnostic, expr hclsyntax.Expression) {
	const noFunction = `call to unknown function: There is no function named "`
	if name, ok := strings.CutPrefix(d.Text, noFunction); ok && !strings.Contains(d.Text, "Did you mean") {
		name, _, _ = strings.Cut(name, `"`)
		var known []string
		for c := ev.base; c != nil; c = c.Parent() {
			known = append(known, slices.Sorted(maps.Keys(c.Functions))...)
		}
		d.Advice = didYouMean(name, known)
		return
	}
	if !strings.HasPrefix(d.Text, "unsupported attribute") && !strings.HasPrefix(d.Text, "invalid index") {
		return
	}
	for _, t := range expr.Variables() {
		root := t.RootName()
		r := t.SourceRange()
		inside := d.Pos.Line >= r.Start.Line && d.Pos.Line <= r.End.Line &&
			(d.Pos.Line > r.Start.Line || d.Pos.Column >= r.Start.Column) &&
			(d.Pos.Line < r.End.Line || d.Pos.Column <= r.End.Column)
		if !inside || len(ev.expand(root, t)) > 0 {
			continue
		}
		name, ok := step(t, 1)
		if !ok {
			continue
		}
		d.Pos = posOf(r)
		switch root {
		case "var":
			d.Text = fmt.Sprintf("var.%s is not defined", name)
			d.Advice = suggest(name, slices.Sorted(maps.Keys(ev.doc.vars)), fmt.Sprintf("write variable %q { type = string }", name))
		case "local":
			d.Text = fmt.Sprintf("local.%s is not defined", name)
			d.Advice = suggest(name, slices.Sorted(maps.Keys(ev.doc.locals)), fmt.Sprintf("write locals { %s = … }", name))
		case "data":
			second, _ := step(t, 2)
			full := ref{"data", name, second}.String()
			var known []string
			for key := range ev.doc.data {
				known = append(known, ref{"data", key[0], key[1]}.String())
			}
			slices.Sort(known)
			d.Text = full + " is not defined"
			d.Advice = suggest(full, known, fmt.Sprintf("write data %q %q { … }", name, second))
		}
		return
	}
}

// suggest returns a did-you-mean, or else what to write.
func suggest(name string, known []string, otherwise string) string {
	if s := didYouMean(name, known); s != "" {
		return s
	}
	return otherwise
}

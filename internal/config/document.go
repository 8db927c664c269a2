package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"ariga.io/atlas/schemahcl"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// document is a parsed project file with an index of what can be referenced.
type document struct {
	name string // as the user gave it
	path string // absolute
	dir  string // absolute directory of path
	src  []byte
	body *hclsyntax.Body

	vars   map[string]*hclsyntax.Block
	locals map[string]*hclsyntax.Attribute
	data   map[[2]string]*hclsyntax.Block

	warnings []Warning
}

// parse parses a project file and indexes it.
func parse(name, path string, src []byte) (*document, error) {
	doc := &document{
		name: name, path: path, dir: filepath.Dir(path), src: src,
		vars:   make(map[string]*hclsyntax.Block),
		locals: make(map[string]*hclsyntax.Attribute),
		data:   make(map[[2]string]*hclsyntax.Block),
	}
	if err := doc.checkNesting(); err != nil {
		return nil, err
	}
	file, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	if diags.HasErrors() {
		// The parser has only seen the file, and no values that could be secret.
		return nil, fromHCL(diags, func(text string) string { return text })
	}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return nil, fmt.Errorf("parsing %s: unexpected kind of body %T", name, file.Body)
	}
	doc.body = body
	return doc, doc.index()
}

// checkNesting bounds the depth of brackets, template sequences and signs, of
// which each is several stack frames in the parser and in every walk of the
// tree. 256 KiB of exclamation marks would exhaust the stack.
func (doc *document) checkNesting() error {
	// Errors are the parser's to report.
	tokens, _ := hclsyntax.LexConfig(doc.src, doc.name, hcl.InitialPos)
	depth, signs := 0, 0
	for _, t := range tokens {
		if t.Type == hclsyntax.TokenBang || t.Type == hclsyntax.TokenMinus {
			signs++
		} else {
			signs = 0
		}
		switch t.Type {
		case hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenOBrace,
			hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
		case hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCBrace, hclsyntax.TokenTemplateSeqEnd:
			depth--
		}
		if depth+signs > maxNesting {
			return errAt(t.Range, "", "expressions are nested more than %d deep", maxNesting)
		}
	}
	return nil
}

// index collects variables, locals and data sources. A name given twice is an
// error: which of the two is meant cannot be known.
func (doc *document) index() error {
	var errs []*Error
	twice := func(at, first hcl.Range, what string) {
		errs = append(errs, errAt(at, "remove or rename one of them",
			"%s is defined twice, first at %s", what, posOf(first)))
	}
	for _, b := range doc.body.Blocks {
		switch b.Type {
		case "variable":
			if len(b.Labels) != 1 {
				errs = append(errs, errAt(b.DefRange(), `write variable "name" { type = string }`, "a variable block needs one label, its name"))
				continue
			}
			if first := doc.vars[b.Labels[0]]; first != nil {
				twice(b.DefRange(), first.DefRange(), fmt.Sprintf("variable %q", b.Labels[0]))
				continue
			}
			doc.vars[b.Labels[0]] = b
		case "locals":
			for name, attr := range b.Body.Attributes {
				if first := doc.locals[name]; first != nil {
					twice(attr.NameRange, first.NameRange, "local."+name)
					continue
				}
				doc.locals[name] = attr
			}
		case "data":
			if len(b.Labels) != 2 {
				errs = append(errs, errAt(b.DefRange(), `write data "source" "name" { … }`, "a data block needs two labels, its source and its name"))
				continue
			}
			key := [2]string{b.Labels[0], b.Labels[1]}
			if first := doc.data[key]; first != nil {
				twice(b.DefRange(), first.DefRange(), fmt.Sprintf("data.%s.%s", key[0], key[1]))
				continue
			}
			doc.data[key] = b
		}
	}
	return join(errs)
}

// blocks returns the top-level blocks of a type.
func (doc *document) blocks(typ string) []*hclsyntax.Block {
	return blocksOf(doc.body, typ)
}

func blocksOf(body *hclsyntax.Body, typ string) []*hclsyntax.Block {
	var out []*hclsyntax.Block
	for _, b := range body.Blocks {
		if b.Type == typ {
			out = append(out, b)
		}
	}
	return out
}

func (doc *document) envNames() []string {
	var names []string
	for _, b := range doc.blocks("env") {
		if len(b.Labels) == 1 && !slices.Contains(names, b.Labels[0]) {
			names = append(names, b.Labels[0])
		}
	}
	return names
}

// dynamicEnv returns the first block env { name = atlas.env }, or nil.
func (doc *document) dynamicEnv() *hclsyntax.Block {
	for _, b := range doc.blocks("env") {
		if isDynamic(b) {
			return b
		}
	}
	return nil
}

// isDynamic reports whether an env block takes its name from --env. Like
// Atlas it looks at the expression, which is not evaluated yet.
func isDynamic(b *hclsyntax.Block) bool {
	name := b.Body.Attributes["name"]
	return len(b.Labels) == 0 && name != nil && schemahcl.UseTraversal(name.Expr, hcl.Traversal{
		hcl.TraverseRoot{Name: "atlas"}, hcl.TraverseAttr{Name: "env"},
	})
}

// selectEnvs returns the env blocks that serve a name: the labelled one, or
// else those that take their name from --env.
func (doc *document) selectEnvs(name string) ([]*hclsyntax.Block, error) {
	if name == "" {
		return nil, nil
	}
	var labelled, dynamic []*hclsyntax.Block
	for _, b := range doc.blocks("env") {
		switch {
		case len(b.Labels) == 1 && b.Labels[0] == name:
			labelled = append(labelled, b)
		case isDynamic(b):
			dynamic = append(dynamic, b)
		}
	}
	if len(labelled) == 0 {
		labelled = dynamic
	}
	if len(labelled) > 1 && len(labelled[0].Labels) == 1 {
		return nil, errAt(labelled[1].DefRange(), "remove or rename one of them",
			"env %q is defined twice, first at %s", name, posOf(labelled[0].DefRange()))
	}
	if len(labelled) == 0 {
		return nil, doc.noEnv(name)
	}
	return labelled, nil
}

// noEnv says that an environment is missing and which ones there are.
func (doc *document) noEnv(name string) error {
	names := doc.envNames()
	var advice []string
	if s := didYouMean(name, names); s != "" {
		advice = append(advice, s)
	}
	if len(names) == 0 {
		advice = append(advice, fmt.Sprintf("the file defines no environment; write env %q { … }", name))
	} else {
		advice = append(advice, "the file defines: "+strings.Join(names, ", "))
	}
	return (&Error{Diagnostics: []Diagnostic{{
		Pos: Pos{File: doc.name}, Text: fmt.Sprintf("env %q is not defined", name), Advice: strings.Join(advice, " "),
	}}}).because(ErrNoEnv)
}

// warn adds a remark, once.
func (doc *document) warn(r hcl.Range, format string, args ...any) {
	w := Warning{Pos: posOf(r), Text: fmt.Sprintf(format, args...)}
	if !slices.Contains(doc.warnings, w) {
		doc.warnings = append(doc.warnings, w)
	}
}

func (doc *document) sortedWarnings() []Warning {
	slices.SortStableFunc(doc.warnings, func(a, b Warning) int { return comparePos(a.Pos, b.Pos) })
	return doc.warnings
}

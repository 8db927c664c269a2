package config

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// blockSpec lists what a block may hold, to find names nobody knows.
type blockSpec struct {
	attrs  []string
	blocks map[string]*blockSpec
	open   bool // other attributes are fine too
	others bool // and so are other blocks
	labels [2]int
}

// refused are the blocks of Atlas that change what a run does. Skipping one
// silently is worse than failing.
var refused = map[string]string{
	"check":  "remove it, and check the plan with --dry-run",
	"pre":    "remove it, and run its statements before aurora",
	"post":   "remove it, and run its statements after aurora, or as a migration",
	"hook":   "remove it, and put its statements into the migrations",
	"docker": "remove it, and give the URL of a database instead",
}

// fileSpec returns the names of Atlas's project file and aurora's additions,
// as of Atlas v1.2.0 (cmd/atlas/internal/cmdapi/project.go) and its
// documentation of the editions.
func fileSpec() *blockSpec {
	leaf := func(attrs ...string) *blockSpec { return &blockSpec{attrs: attrs} }
	anything := &blockSpec{open: true, others: true}
	format := &blockSpec{blocks: map[string]*blockSpec{
		"migrate": leaf("apply", "down", "lint", "status", "diff"),
		"schema":  {attrs: []string{"clean", "inspect", "apply", "diff", "push"}, open: true},
	}}
	// Analyzers are blocks of lint whose names are not ours to list.
	lint := &blockSpec{
		attrs: []string{"format", "log", "latest", "review"}, others: true,
		blocks: map[string]*blockSpec{"git": leaf("base", "dir")},
	}
	diff := &blockSpec{others: true, blocks: map[string]*blockSpec{
		"skip": anything, "concurrent_index": leaf("create", "add", "drop"),
	}}
	testFiles := leaf("src", "vars")
	test := &blockSpec{blocks: map[string]*blockSpec{"schema": testFiles, "migrate": testFiles}}
	env := &blockSpec{
		labels: [2]int{0, 1},
		attrs:  []string{"name", "url", "dev", "src", "schemas", "exclude", "include", "for_each", "protected"},
		blocks: map[string]*blockSpec{
			"migration": {
				attrs: []string{"dir", "format", "exclude", "baseline", "exec_order", "lock_timeout",
					"revisions_schema", "tx_mode", "project"},
				blocks: map[string]*blockSpec{"repo": leaf("name")},
			},
			"schema":  {attrs: []string{"src"}, others: true},
			"history": leaf("url"),
			"aws":     leaf("region", "profile", "endpoint"),
			"format":  format, "log": format,
			"lint": lint, "diff": diff, "test": test, "data": anything,
		},
	}
	return &blockSpec{blocks: map[string]*blockSpec{
		"env": env, "lint": lint, "diff": diff, "test": test, "format": format,
		"variable": {labels: [2]int{1, 1}, attrs: []string{"type", "default", "description"}},
		"locals":   {open: true},
		"data":     {labels: [2]int{2, 2}, open: true, others: true}, // see dataSource
		"atlas":    anything,
	}}
}

// check reports unknown names as warnings and refused blocks, where they
// matter, as errors. It evaluates nothing.
func (doc *document) check(selected []*hclsyntax.Block) error {
	c := &checker{doc: doc, selected: selected, active: true}
	root := fileSpec()
	c.body(doc.body, root, "the file")
	for _, b := range doc.blocks("data") {
		c.dataSource(b)
	}
	for _, b := range doc.blocks("atlas") {
		doc.warn(b.DefRange(), "the atlas block is ignored: aurora does not log in to Atlas Cloud")
	}
	seen := make(map[string]hcl.Range)
	for _, b := range doc.blocks("env") {
		if len(b.Labels) == 0 {
			if !isDynamic(b) {
				doc.warn(b.DefRange(), "this env can never be selected: give it a label, env \"name\", or name = atlas.env")
			}
			continue
		}
		if first, ok := seen[b.Labels[0]]; ok {
			doc.warn(b.DefRange(), "env %q is defined twice, first at %s", b.Labels[0], posOf(first))
		}
		seen[b.Labels[0]] = b.DefRange()
	}
	return join(c.errs)
}

type checker struct {
	doc      *document
	selected []*hclsyntax.Block
	active   bool // false inside an env that was not selected
	errs     []*Error
}

// body compares one body with its specification and goes into its blocks.
func (c *checker) body(body *hclsyntax.Body, spec *blockSpec, where string) {
	for name, attr := range body.Attributes {
		c.attribute(name, attr, spec, where)
	}
	for _, b := range body.Blocks {
		if advice, ok := refused[b.Type]; ok && (where == "the file" || where == "env") {
			if c.active {
				c.errs = append(c.errs, errAt(b.DefRange(), advice,
					"aurora does not implement %s blocks, and will not run as if this one were not there", b.Type))
			}
			continue
		}
		sub, ok := spec.blocks[b.Type]
		if !ok {
			c.unknownBlock(b, spec, where)
			continue
		}
		if n := len(b.Labels); n < sub.labels[0] || n > sub.labels[1] {
			c.labels(b, sub)
		}
		was := c.active
		if b.Type == "env" && where == "the file" {
			c.active = slices.Contains(c.selected, b)
		}
		c.body(b.Body, sub, b.Type)
		c.active = was
	}
}

func (c *checker) labels(b *hclsyntax.Block, spec *blockSpec) {
	if b.Type == "env" {
		c.doc.warn(b.DefRange(), "this env can never be selected: it has %d labels, and may have one", len(b.Labels))
		return
	}
	if spec.labels == [2]int{} {
		c.doc.warn(b.DefRange(), "block %q takes no label", b.Type)
	}
}

func (c *checker) attribute(name string, attr *hclsyntax.Attribute, spec *blockSpec, where string) {
	if spec.open || slices.Contains(spec.attrs, name) {
		return
	}
	if _, ok := spec.blocks[name]; ok {
		c.doc.warn(attr.NameRange, "%q in %s is a block: write %s { … } without the equals sign", name, where, name)
		return
	}
	hint := didYouMean(name, spec.attrs)
	switch {
	case where == "env" && hint == "":
		// Atlas hands other attributes of an env on to the schema, and env://
		// references may name them.
	case where == "env":
		c.doc.warn(attr.NameRange, "unknown attribute %q in env, kept as an extra one; %s", name, hint)
	case hint == "":
		c.doc.warn(attr.NameRange, "unknown attribute %q in %s has no effect", name, where)
	default:
		c.doc.warn(attr.NameRange, "unknown attribute %q in %s has no effect; %s", name, where, hint)
	}
}

func (c *checker) unknownBlock(b *hclsyntax.Block, spec *blockSpec, where string) {
	if spec.others {
		return
	}
	if slices.Contains(spec.attrs, b.Type) {
		c.doc.warn(b.DefRange(), "%q in %s is an attribute: write %s = …", b.Type, where, b.Type)
		return
	}
	known := slices.Concat(slices.Sorted(maps.Keys(spec.blocks)), spec.attrs)
	if where == "the file" || where == "env" {
		known = append(known, slices.Sorted(maps.Keys(refused))...)
	}
	text := fmt.Sprintf("unknown block %q in %s has no effect", b.Type, where)
	if hint := didYouMean(b.Type, known); hint != "" {
		text += "; " + hint
	}
	c.doc.warn(b.DefRange(), "%s", text)
}

// dataSource warns about a source or an argument nobody knows. When the data
// block is used, the same is an error.
func (c *checker) dataSource(b *hclsyntax.Block) {
	if len(b.Labels) != 2 {
		return
	}
	args := dataArguments()
	known, ok := args[b.Labels[0]]
	if !ok {
		if _, ok := unsupportedSources[b.Labels[0]]; ok {
			return
		}
		text := fmt.Sprintf("unknown data source %q", b.Labels[0])
		if hint := didYouMean(b.Labels[0], slices.Sorted(maps.Keys(args))); hint != "" {
			text += "; " + hint
		}
		c.doc.warn(b.DefRange(), "%s", text)
		return
	}
	c.body(b.Body, &blockSpec{attrs: known}, fmt.Sprintf("data %q", b.Labels[0]))
}

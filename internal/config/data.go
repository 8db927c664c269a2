package config

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// dataSource computes the value of a data block. Its errors must not hold
// secrets.
type dataSource func(ctx context.Context, b *dataBlock) (cty.Value, error)

// dataSources returns the data sources aurora implements.
func dataSources() map[string]dataSource {
	return map[string]dataSource{
		"aws_dsql_token": dsqlTokenSource,
		"aws_rds_token":  rdsTokenSource,
		"external":       externalSource,
		"sql":            sqlSource,
		"template_dir":   templateDirSource,
	}
}

// dataArguments returns the arguments of each data source.
func dataArguments() map[string][]string {
	return map[string][]string{
		"aws_dsql_token": {"endpoint", "region", "username", "admin", "profile", "role_arn", "expires_in"},
		"aws_rds_token":  {"endpoint", "region", "username", "profile", "role_arn"},
		"external":       {"program", "working_dir"},
		"sql":            {"url", "query", "args"},
		"template_dir":   {"path", "vars"},
	}
}

// unsupportedSources are the data sources of Atlas that aurora does not have,
// with what to use instead. They are errors only where they are used.
var unsupportedSources = map[string]string{
	"runtimevar":         `use data "external" with the program that reads the secret, or getenv()`,
	"gcp_cloudsql_token": `use data "external" with a program that prints the token`,
	"hcl_schema":         "aurora has no schema files; only src and dev may use it",
	"external_schema":    "aurora has no schema files; only src and dev may use it",
	"composite_schema":   "aurora has no schema files; only src and dev may use it",
	"remote_schema":      "aurora has no registry",
	"remote_dir":         "aurora has no registry; use a directory",
	"blob_dir":           "use a directory",
	"cloud_databases":    `use data "sql" or a list in locals`,
}

// dataBlock gives a data source its arguments.
type dataBlock struct {
	ev    *evaluator
	block *hclsyntax.Block
	d     *decoder
}

// name returns how expressions call the block.
func (b *dataBlock) name() string {
	return ref{"data", b.block.Labels[0], b.block.Labels[1]}.String()
}

func (b *dataBlock) str(name string) string {
	return b.d.str(b.block.Body, name).Value
}

// required returns a string that must be there and not be empty.
func (b *dataBlock) required(name string) string {
	s := b.d.str(b.block.Body, name)
	switch {
	case len(b.d.errs) > 0:
	case !s.Set:
		b.d.fail(errAt(b.block.DefRange(), fmt.Sprintf("add %s = …", name), "%s needs %s", b.name(), name))
	case s.Value == "":
		b.d.fail(errAt(b.block.Body.Attributes[name].SrcRange,
			"perhaps an environment variable or a --var is missing", "%s: %s is empty", b.name(), name))
	}
	return s.Value
}

// raw returns the value of an argument, or a null when it is absent.
func (b *dataBlock) raw(name string) cty.Value {
	s := attr(b.d, b.block.Body, name, func(v cty.Value) (cty.Value, string) { return v, "" })
	if !s.Set {
		return cty.NullVal(cty.DynamicPseudoType)
	}
	return s.Value
}

// seconds returns a duration, which may also be a number of seconds.
func (b *dataBlock) seconds(name string) time.Duration {
	return attr(b.d, b.block.Body, name, func(v cty.Value) (time.Duration, string) {
		if v.Type() != cty.Number {
			return toDuration(v)
		}
		f, _ := v.AsBigFloat().Float64()
		if f < 0 || f > 1e9 {
			return 0, "a number of seconds"
		}
		return time.Duration(f * float64(time.Second)), ""
	}).Value
}

// ok reports whether all arguments so far could be read.
func (b *dataBlock) ok() bool { return len(b.d.errs) == 0 }

// secret keeps a value out of messages.
func (b *dataBlock) secret(s string) { b.ev.secrets.add(s) }

// dataSource evaluates a data block.
func (ev *evaluator) dataSource(block *hclsyntax.Block) (cty.Value, *Error) {
	source := block.Labels[0]
	run, ok := ev.opts.sources[source]
	if !ok {
		if advice, ok := unsupportedSources[source]; ok {
			return cty.NilVal, errAt(block.DefRange(), advice, "aurora does not implement data %q", source)
		}
		known := slices.Sorted(maps.Keys(dataArguments()))
		return cty.NilVal, errAt(block.DefRange(), suggest(source, known, fmt.Sprintf("use one of %q", known)), "unknown data source %q", source)
	}
	if err := checkArguments(block); err != nil {
		return cty.NilVal, err
	}
	b := &dataBlock{ev: ev, block: block, d: &decoder{ev: ev}}
	begin := time.Now()
	v, err := run(ev.ctx, b)
	if len(b.d.errs) > 0 {
		return cty.NilVal, &Error{Diagnostics: flatten(b.d.errs)}
	}
	if err != nil {
		return cty.NilVal, errAt(block.DefRange(), "", "%s: %s", b.name(), ev.secrets.scrub(err.Error())).because(err)
	}
	ev.opts.Logger.DebugContext(ev.ctx, "evaluated data source", "name", b.name(), "duration", time.Since(begin))
	return v, nil
}

// checkArguments refuses unknown arguments. To ignore one, such as a role to
// assume, would do something else than the file says.
func checkArguments(block *hclsyntax.Block) *Error {
	known := dataArguments()[block.Labels[0]]
	for _, name := range slices.Sorted(maps.Keys(block.Body.Attributes)) {
		if !slices.Contains(known, name) {
			return errAt(block.Body.Attributes[name].NameRange, suggest(name, known, fmt.Sprintf("it takes %q", known)),
				"data %q has no argument %q", block.Labels[0], name)
		}
	}
	for _, b := range block.Body.Blocks {
		return errAt(b.DefRange(), fmt.Sprintf("it takes %q", known), "data %q takes no block %q", block.Labels[0], b.Type)
	}
	return nil
}

func flatten(errs []*Error) []Diagnostic {
	var out []Diagnostic
	for _, e := range errs {
		out = append(out, e.Diagnostics...)
	}
	return out
}

package config

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// lazyEnv is what an Env needs to evaluate attributes later.
type lazyEnv struct {
	ev    *evaluator
	body  *hclsyntax.Body
	scope scope
}

// lazily evaluates something of an env's body now. An Env that Load did not
// make has nothing.
func lazily[T any](ctx context.Context, l lazyEnv, body *hclsyntax.Body, get func(*decoder, *hclsyntax.Body) Setting[T]) (Setting[T], error) {
	if l.ev == nil || body == nil {
		return Setting[T]{}, nil
	}
	l.ev.ctx = ctx
	d := &decoder{ev: l.ev, scope: l.scope}
	s := get(d, body)
	return s, d.err()
}

// Dev evaluates the URL of the dev database.
func (e *Env) Dev(ctx context.Context) (Setting[string], error) {
	return lazily(ctx, e.lazy, e.lazy.body, func(d *decoder, b *hclsyntax.Body) Setting[string] { return d.str(b, "dev") })
}

// Src evaluates the URLs of the desired schema: schema.src, or else src.
// Relative paths become absolute file:// URLs.
func (e *Env) Src(ctx context.Context) (Setting[[]string], error) {
	s, err := e.src(ctx, true)
	if err == nil && !s.Set {
		s, err = e.src(ctx, false)
	}
	return s, err
}

func (e *Env) src(ctx context.Context, inSchema bool) (Setting[[]string], error) {
	s, err := lazily(ctx, e.lazy, e.lazy.body, func(d *decoder, b *hclsyntax.Body) Setting[[]string] {
		if inSchema {
			b = d.block(b, "schema")
		}
		return d.strs(b, "src")
	})
	if err != nil {
		return s, err
	}
	s.Value, err = absolute(s.Value)
	return s, err
}

// envScheme begins a reference to an attribute of the environment.
const envScheme = "env://"

// Resolve returns the value of a reference to an attribute of the environment:
// env://url, env://dev, env://src, env://schema.src, env://migration.dir,
// env://history.url or env:// and any other attribute that is a string. What is not such a
// reference is returned as it is. The value may hold a secret; errors do not.
//
// As in Atlas a reference may not lead to another one, and src must be one
// URL.
func (e *Env) Resolve(ctx context.Context, ref string) (string, error) {
	name, ok := strings.CutPrefix(ref, envScheme)
	if !ok {
		return ref, nil
	}
	if name == "" || strings.ContainsAny(name, "/?#") {
		return "", fmt.Errorf("resolving %q: write env:// and the name of an attribute", ref)
	}
	s, err := e.lookup(ctx, name)
	if err != nil {
		return "", fmt.Errorf("resolving %q: %w", ref, err)
	}
	if !s.Set {
		return "", fmt.Errorf("resolving %q: %s: env %q has no %s", ref, e.Pos, e.Name, name)
	}
	if strings.HasPrefix(s.Value, envScheme) {
		return "", fmt.Errorf("resolving %q: %s: it refers to another env:// reference", ref, s.Pos)
	}
	return s.Value, nil
}

func (e *Env) lookup(ctx context.Context, name string) (Setting[string], error) {
	switch name {
	case "url":
		if e.URL.Set {
			return e.URL, nil
		}
	case "dev":
		return e.Dev(ctx)
	case "migration.dir":
		return e.Migration.Dir, nil
	case "history.url":
		return lazily(ctx, e.lazy, e.lazy.body, func(d *decoder, b *hclsyntax.Body) Setting[string] {
			return d.str(d.block(b, "history"), "url")
		})
	case "src", "schema.src":
		list, err := e.src(ctx, name == "schema.src")
		s := Setting[string]{Set: list.Set, Pos: list.Pos}
		if err == nil && list.Set {
			if len(list.Value) != 1 {
				return s, fmt.Errorf("%s: it has %d values, and must have one", list.Pos, len(list.Value))
			}
			s.Value = list.Value[0]
		}
		return s, err
	}
	return lazily(ctx, e.lazy, e.lazy.body, func(d *decoder, b *hclsyntax.Body) Setting[string] { return d.str(b, name) })
}

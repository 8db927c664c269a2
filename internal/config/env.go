package config

import (
	"fmt"
	"math/big"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// decoder turns bodies into Go values. It goes on after an error, so that one
// run shows all of them.
type decoder struct {
	ev    *evaluator
	scope scope
	errs  []*Error
}

func (d *decoder) err() error { return join(d.errs) }

func (d *decoder) fail(err *Error) { d.errs = append(d.errs, err) }

// envs evaluates an env block: once, or for every element of its for_each.
func (d *decoder) envs(block *hclsyntax.Block, global Format) []*Env {
	each := block.Body.Attributes["for_each"]
	if each == nil {
		return d.env(block, "", global)
	}
	v, err := d.ev.eval(each.Expr, nil)
	if err != nil {
		d.fail(err)
		return nil
	}
	t := v.Type()
	if v.IsNull() || !v.IsWhollyKnown() || !v.CanIterateElements() {
		d.fail(errAt(each.Expr.Range(), "use toset([…]) or a map", "for_each must be a map or a set, not %s", t.FriendlyName()))
		return nil
	}
	var out []*Env
	i := 0
	for it := v.ElementIterator(); it.Next(); i++ {
		key, value := it.Element()
		inst := fmt.Sprint(i)
		if s, err := convert.Convert(key, cty.String); err == nil && !s.IsNull() {
			inst = s.AsString()
		}
		d.scope = scope{"each": cty.ObjectVal(scope{"key": key, "value": value})}
		out = append(out, d.env(block, inst, global)...)
	}
	d.scope = nil
	if i == 0 {
		d.fail(errAt(each.Expr.Range(), "", "for_each is empty, so there is nothing to run on"))
	}
	return out
}

// env evaluates one environment. It returns none when the name of an
// unlabelled block turns out to be another one.
func (d *decoder) env(block *hclsyntax.Block, instance string, global Format) []*Env {
	body, name := block.Body, d.ev.opts.Env
	if got := d.str(body, "name"); got.Set && got.Value != name {
		if len(block.Labels) == 0 {
			return nil
		}
		d.ev.doc.warn(body.Attributes["name"].SrcRange, "the name %q has no effect: the label %q names this env", got.Value, name)
	}
	e := &Env{Name: name, Instance: instance, Pos: posOf(block.DefRange())}
	e.lazy = lazyEnv{ev: d.ev, body: body, scope: d.scope}
	if !d.ev.opts.Offline && !d.ev.opts.NoURL {
		e.URL = d.str(body, "url")
		e.DSQLToken = d.checkURL(e)
	}
	e.Schemas, e.Exclude, e.Include = d.strs(body, "schemas"), d.strs(body, "exclude"), d.strs(body, "include")
	e.Protected = attr(d, body, "protected", toBool)
	e.Migration = d.migration(d.block(body, "migration"))
	if h := d.block(body, "history"); h != nil && !d.ev.opts.Offline && !d.ev.opts.NoHistory {
		e.History = d.history(h)
	}
	if b := d.block(body, "aws"); b != nil && !d.ev.opts.Offline {
		e.AWS = d.aws(b)
	}
	e.Format = d.format(body)
	e.Format.inherit(global)
	return []*Env{e}
}

// migration evaluates a migration block, which may be nil.
func (d *decoder) migration(body *hclsyntax.Body) Migration {
	m := Migration{
		Dir:             d.str(body, "dir"),
		Format:          enum(d, body, "format", "atlas", "golang-migrate", "goose", "flyway", "liquibase", "dbmate"),
		Baseline:        attr(d, body, "baseline", toText),
		ExecOrder:       enum(d, body, "exec_order", ExecLinear, ExecLinearSkip, ExecNonLinear),
		LockTimeout:     attr(d, body, "lock_timeout", toDuration),
		RevisionsSchema: d.str(body, "revisions_schema"),
		TxMode:          enum(d, body, "tx_mode", TxNone, TxFile, TxAll),
		Project:         attr(d, body, "project", toText),
		Exclude:         d.strs(body, "exclude"),
		Repo:            d.str(d.block(body, "repo"), "name"),
	}
	switch {
	case !m.Dir.Set:
		m.Dir.Value = DefaultDir
	case m.Dir.Value == "":
		d.fail(errAt(body.Attributes["dir"].SrcRange, "name the directory, such as "+DefaultDir, "migration.dir is empty"))
	}
	return m
}

// aws evaluates an aws block. An empty text would make the SDK look elsewhere,
// and the run change what it finds there.
func (d *decoder) aws(body *hclsyntax.Body) AWS {
	a := AWS{Region: d.str(body, "region"), Profile: d.str(body, "profile"), Endpoint: d.str(body, "endpoint")}
	for name, s := range map[string]Setting[string]{"region": a.Region, "profile": a.Profile, "endpoint": a.Endpoint} {
		if s.Set && strings.TrimSpace(s.Value) == "" {
			d.fail(errAt(body.Attributes[name].SrcRange, "perhaps an environment variable or a --var is missing", "aws.%s is empty", name))
		}
	}
	if u, err := url.Parse(a.Endpoint.Value); a.Endpoint.Value != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		d.fail(errAt(body.Attributes["endpoint"].SrcRange, "write http://localhost:8000 or the like", "aws.endpoint must be an http or https URL"))
	}
	return a
}

// history evaluates a history block. One that comes to nothing must not put the
// history into the database, where nobody would look for it.
func (d *decoder) history(body *hclsyntax.Body) History {
	advice := `say where it is kept, such as "dynamodb://TABLE" or "file://.aurora/history.db", or remove the block`
	for name := range body.Attributes {
		advice = "rename " + name + " to url" // nothing else belongs here
	}
	h := History{URL: d.str(body, "url")}
	switch at := body.Attributes["url"]; {
	case at == nil:
		d.fail(errAt(body.SrcRange, advice, "the history block has no url"))
	case h.URL.Set && strings.TrimSpace(h.URL.Value) == "":
		d.fail(errAt(at.SrcRange, "perhaps an environment variable or a --var is missing", "history.url is empty"))
	}
	return h
}

// format evaluates a format block, or log, as Atlas once called it.
func (d *decoder) format(body *hclsyntax.Body) Format {
	name := "format"
	if len(blocksOf(body, name)) == 0 && body != d.ev.doc.body {
		name = "log"
	}
	m := d.block(d.block(body, name), "migrate")
	return Format{Migrate: MigrateFormat{
		Apply: d.str(m, "apply"), Down: d.str(m, "down"), Status: d.str(m, "status"),
		Lint: d.str(m, "lint"), Diff: d.str(m, "diff"),
	}}
}

// inherit takes what is unset from another format.
func (f *Format) inherit(from Format) {
	pairs := [][2]*Setting[string]{
		{&f.Migrate.Apply, &from.Migrate.Apply}, {&f.Migrate.Down, &from.Migrate.Down},
		{&f.Migrate.Status, &from.Migrate.Status}, {&f.Migrate.Lint, &from.Migrate.Lint},
		{&f.Migrate.Diff, &from.Migrate.Diff},
	}
	for _, p := range pairs {
		if !p[0].Set {
			*p[0] = *p[1]
		}
	}
}

// block returns the body of the only block of a type, or nil.
func (d *decoder) block(body *hclsyntax.Body, typ string) *hclsyntax.Body {
	if body == nil {
		return nil
	}
	found := blocksOf(body, typ)
	if len(found) == 0 {
		return nil
	}
	if len(found) > 1 {
		d.fail(errAt(found[1].DefRange(), "join them", "block %q is given twice, first at %s", typ, posOf(found[0].DefRange())))
	}
	return found[0].Body
}

// attr evaluates an attribute. to returns the Go value, or says what the value
// must be.
func attr[T any](d *decoder, body *hclsyntax.Body, name string, to func(cty.Value) (T, string)) Setting[T] {
	return attrIn(d, body, name, d.scope, to)
}

func attrIn[T any](d *decoder, body *hclsyntax.Body, name string, sc scope, to func(cty.Value) (T, string)) Setting[T] {
	var s Setting[T]
	if body == nil || body.Attributes[name] == nil {
		return s
	}
	at := body.Attributes[name]
	v, err := d.ev.eval(at.Expr, sc)
	if err != nil {
		d.fail(err)
		return s
	}
	if v.IsNull() {
		return s
	}
	if !v.IsWhollyKnown() {
		d.fail(errAt(at.SrcRange, "", "the value of %q is not known", name))
		return s
	}
	value, want := to(v)
	if want != "" {
		d.fail(errAt(at.SrcRange, "", "%s must be %s", name, want))
		return s
	}
	return Setting[T]{Value: value, Set: true, Pos: posOf(at.NameRange)}
}

func (d *decoder) str(body *hclsyntax.Body, name string) Setting[string] {
	return attr(d, body, name, toString)
}

func (d *decoder) strs(body *hclsyntax.Body, name string) Setting[[]string] {
	return attr(d, body, name, toStrings)
}

func toString(v cty.Value) (string, string) {
	if v.Type() != cty.String {
		return "", "a string, not " + v.Type().FriendlyName()
	}
	return v.AsString(), ""
}

// toText also takes numbers: versions look like them.
func toText(v cty.Value) (string, string) {
	if v.Type() == cty.Number {
		if f := v.AsBigFloat(); f.IsInt() && f.Cmp(big.NewFloat(1e30)) < 0 && f.Sign() >= 0 {
			return f.Text('f', 0), ""
		}
	}
	return toString(v)
}

func toBool(v cty.Value) (bool, string) {
	if v.Type() != cty.Bool {
		return false, "true or false, not " + v.Type().FriendlyName()
	}
	return v.True(), ""
}

func toStrings(v cty.Value) ([]string, string) {
	if s, bad := toString(v); bad == "" {
		return []string{s}, ""
	}
	t := v.Type()
	if !t.IsListType() && !t.IsSetType() && !t.IsTupleType() {
		return nil, "a list of strings, not " + t.FriendlyName()
	}
	out := make([]string, 0, v.LengthInt())
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		if e.IsNull() || e.Type() != cty.String {
			return nil, "a list of strings, and one element is not a string"
		}
		out = append(out, e.AsString())
	}
	return out, ""
}

func toDuration(v cty.Value) (time.Duration, string) {
	const want = `a duration in quotes, such as "30s", "10m" or "1h30m"`
	s, bad := toString(v)
	if bad != "" {
		return 0, want + ", not " + v.Type().FriendlyName()
	}
	t, err := time.ParseDuration(s)
	if err != nil || t < 0 {
		return 0, want
	}
	return t, ""
}

// enum evaluates an attribute with few values. Each may be written bare, as in
// Atlas, or as a string; case, and - or _, do not matter.
func enum[T ~string](d *decoder, body *hclsyntax.Body, name string, values ...T) Setting[T] {
	if body == nil || body.Attributes[name] == nil {
		return Setting[T]{}
	}
	spellings := make(scope)
	var words []string
	for _, v := range values {
		upper := strings.ToUpper(strings.ReplaceAll(string(v), "-", "_"))
		for _, s := range []string{string(v), strings.ToLower(upper), upper} {
			spellings[s] = cty.StringVal(string(v))
		}
		words = append(words, string(v))
	}
	sc := make(scope)
	for k, v := range d.scope {
		sc[k] = v
	}
	expr := body.Attributes[name].Expr
	for _, t := range expr.Variables() {
		// A longer reference, such as atlas.env, is not the word atlas.
		if v, ok := spellings[t.RootName()]; ok && len(t) == 1 {
			sc[t.RootName()] = v
		}
	}
	want := "one of " + strings.Join(words, ", ")
	if t, ok := expr.(*hclsyntax.ScopeTraversalExpr); ok && len(t.Traversal) == 1 && sc[t.Traversal.RootName()] == cty.NilVal {
		hint := didYouMean(t.Traversal.RootName(), words)
		d.fail(errAt(expr.Range(), hint, "%s must be %s, not %s", name, want, t.Traversal.RootName()))
		return Setting[T]{}
	}
	return attrIn(d, body, name, sc, func(v cty.Value) (T, string) {
		s, bad := toString(v)
		if bad != "" {
			return "", want
		}
		if e, ok := spellings[s]; ok {
			return T(e.AsString()), ""
		}
		if e, ok := spellings[strings.ToLower(s)]; ok {
			return T(e.AsString()), ""
		}
		return "", want
	})
}

// checkURL validates the target URL and returns the source of the token that
// is its password. It never repeats the URL.
func (d *decoder) checkURL(e *Env) *TokenSource {
	if !e.URL.Set {
		return nil
	}
	at := e.lazy.body.Attributes["url"]
	if strings.TrimSpace(e.URL.Value) == "" {
		d.ev.doc.warn(at.SrcRange, "url is empty: perhaps an environment variable or a --var is missing")
		return nil
	}
	u, err := url.Parse(e.URL.Value)
	if err != nil {
		d.fail(errAt(at.SrcRange, "put passwords and tokens through urlescape()", "url is not a URL: %s", urlProblem(err)))
		return nil
	}
	d.ev.secrets.addURL(e.URL.Value)
	if _, _, dsql := dsqlHost(u.Hostname()); dsql {
		if db := strings.Trim(u.Path, "/"); db != "" && db != "postgres" {
			d.ev.doc.warn(at.SrcRange, "Aurora DSQL has one database, postgres; the url names %q", db)
		}
	}
	password, _ := u.User.Password()
	token := d.ev.tokens[password]
	if password == "" || token == nil {
		return nil
	}
	if user := u.User.Username(); (user == "admin") != token.Admin {
		d.ev.doc.warn(at.SrcRange, "the url logs in as %q, but the token is for %s: set admin = %t in data \"aws_dsql_token\"",
			user, token.action(), user == "admin")
	}
	return token
}

// absolute turns a path without a scheme into an absolute file URL.
func absolute(refs []string) ([]string, error) {
	out := slices.Clone(refs)
	for i, r := range out {
		if _, _, ok := cutScheme(r); ok || r == "" {
			continue
		}
		abs, err := filepath.Abs(r)
		if err != nil {
			return nil, fmt.Errorf("finding the working directory: %w", err)
		}
		out[i] = "file://" + filepath.ToSlash(abs)
	}
	return out, nil
}

package config

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
)

func TestExternal(t *testing.T) {
	inDir(t, map[string]string{"scripts/conf.json": `{"host":"h","names":["a","b"]}`, "aurora.hcl": `
locals {
  conf = jsondecode(data.external.conf)
}
data "external" "conf" {
  program     = ["cat", "conf.json"]
  working_dir = "scripts"
}
env "x" {
  for_each = toset(local.conf.names)
  url      = "postgres://${local.conf.host}/${each.value}"
}`})
	p, err := loadHere(Options{Env: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Envs) != 2 || p.Envs[1].URL.Value != "postgres://h/b" {
		t.Errorf("got %d environments", len(p.Envs))
	}
}

func TestExternalErrors(t *testing.T) {
	tests := map[string]string{
		`["sh", "-c", "echo oops >&2; exit 3"]`: "aurora.hcl:1:1: data.external.d: running sh: exit status 3: oops",
		`["no-such-program-anywhere"]`:          `aurora.hcl:1:1: data.external.d: running no-such-program-anywhere: exec: "no-such-program-anywhere": executable file not found in $PATH`,
		`[]`:                                    `aurora.hcl:1:1: data.external.d: it needs program = ["name", "argument", …]`,
		`[1]`:                                   "aurora.hcl:2:3: program must be a list of strings, and one element is not a string",
		`["sh", "-c", "yes 0123456789 | head -1000 >&2; exit 1"]`:    "",
		`["sh", "-c", "echo postgres://u:secret99@h/db >&2; false"]`: "aurora.hcl:1:1: data.external.d: running sh: exit status 1: postgres://u:xxxxx@h/db",
	}
	for program, want := range tests {
		_, err := loadText(t, "data \"external\" \"d\" {\n  program = "+program+"\n}\nenv \"x\" { url = data.external.d }", Options{Env: "x"})
		if want != "" {
			wantError(t, err, want)
		} else if err == nil || len(err.Error()) > 700 {
			t.Errorf("%s: error of %d bytes", program, len(fmt.Sprint(err)))
		}
	}
}

func TestExternalObeysTheContext(t *testing.T) {
	inDir(t, map[string]string{"aurora.hcl": "data \"external\" \"d\" {\n  program = [\"sleep\", \"60\"]\n}\nenv \"x\" { url = data.external.d }"})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Load(ctx, Options{Env: "x", LookupEnv: lookup(nil)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
}

func TestTemplateDir(t *testing.T) {
	files := map[string]string{
		"tmpl/1_a.sql":            "CREATE TABLE {{ .Schema }}.t (n int DEFAULT {{ .Limit }});{{ range .Names }} -- {{ . }}{{ end }}\n",
		"tmpl/2_b.sql":            `{{ template "shared.tmpl" . }}` + "\n",
		"tmpl/shared/shared.tmpl": "SELECT {{ if .On }}1{{ else }}0{{ end }} -- {{ .Deep.k }};",
		"tmpl/shared/1_a.sql":     "must not take the place of the one above",
		"tmpl/README.md":          "not SQL",
		"tmpl/atlas.sum":          "h1:x",
		"aurora.hcl": `
data "template_dir" "m" {
  path = "tmpl"
  vars = {
    Schema = atlas.env
    Limit  = 1000000
    Names  = ["a", "b"]
    On     = true
    Deep   = { k = "v" }
  }
}
env "x" {
  migration { dir = data.template_dir.m.url }
}`}
	inDir(t, files)
	p, err := loadHere(Options{Env: "x"})
	if err != nil {
		t.Fatal(err)
	}
	dir := one(t, p).Migration.Dir.Value
	if !strings.HasPrefix(dir, "mem://") {
		t.Errorf("dir = %s", dir)
	}
	got := make(map[string]string)
	for name, content := range p.MemDirs[dir] {
		got[name] = string(content)
	}
	want := map[string]string{"1_a.sql": "CREATE TABLE x.t (n int DEFAULT 1000000); -- a -- b\n", "2_b.sql": "SELECT 1 -- v;\n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTemplateDirErrors(t *testing.T) {
	tests := []struct{ args, want string }{
		{`path = "tmpl"`, `aurora.hcl:1:1: data.template_dir.m: rendering: template: 1.sql:1:3: executing "1.sql" at <.Nope>: map has no entry for key "Nope"`},
		{"path = \"tmpl\"\nvars = [1]", "aurora.hcl:1:1: data.template_dir.m: vars must be a map, not tuple"},
		{`path = "nope"`, `aurora.hcl:1:1: data.template_dir.m: path "nope" is not a directory`},
		{`path = "bad"`, `aurora.hcl:1:1: data.template_dir.m: parsing the templates: template: 1.sql:1: unclosed action`},
	}
	for _, tt := range tests {
		inDir(t, map[string]string{"tmpl/1.sql": "{{ .Nope }}", "bad/1.sql": "{{", "aurora.hcl": "data \"template_dir\" \"m\" {\n" + tt.args +
			"\n}\nenv \"x\" {\n  migration { dir = data.template_dir.m.url }\n}"})
		_, err := loadHere(Options{Env: "x"})
		wantError(t, err, tt.want)
	}
}

// column is what fakePostgres answers every query with.
type column struct {
	oid    uint32
	names  []string
	values []any // string, or nil for NULL
}

// fakePostgres is a PostgreSQL server of one answer. It returns its address
// and a function that returns the queries and arguments it has seen.
func fakePostgres(t *testing.T, answer column) (string, func() []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		serve(t, pgproto3.NewBackend(conn, conn), answer, &seen)
	}()
	stop := func() []string {
		l.Close()
		<-done
		return seen
	}
	t.Cleanup(func() { stop() })
	return l.Addr().String(), stop
}

func serve(t *testing.T, b *pgproto3.Backend, answer column, seen *[]string) {
	if _, err := b.ReceiveStartupMessage(); err != nil {
		t.Errorf("start-up: %v", err)
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	var fields []pgproto3.FieldDescription
	for _, name := range answer.names {
		fields = append(fields, pgproto3.FieldDescription{Name: []byte(name), DataTypeOID: answer.oid, DataTypeSize: -1})
	}
	for b.Flush() == nil {
		msg, err := b.Receive()
		if err != nil {
			return
		}
		switch m := msg.(type) {
		case *pgproto3.Parse:
			*seen = append(*seen, m.Query)
			b.Send(&pgproto3.ParseComplete{})
		case *pgproto3.Describe:
			b.Send(&pgproto3.ParameterDescription{ParameterOIDs: []uint32{pgtype.TextOID, pgtype.Int8OID, pgtype.BoolOID}[:strings.Count((*seen)[0], "$")]})
			b.Send(&pgproto3.RowDescription{Fields: fields})
		case *pgproto3.Bind:
			for _, p := range m.Parameters {
				*seen = append(*seen, fmt.Sprintf("%q", p))
			}
			b.Send(&pgproto3.BindComplete{})
		case *pgproto3.Execute:
			for _, v := range answer.values {
				row := make([][]byte, len(fields))
				if s, ok := v.(string); ok {
					for i := range row {
						row[i] = []byte(s)
					}
				}
				b.Send(&pgproto3.DataRow{Values: row})
			}
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
		case *pgproto3.Sync:
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		}
	}
}

const sqlFile = `
variable "addr" { type = string }
data "sql" "q" {
  url   = "postgres://u:secret99@${var.addr}/db?sslmode=disable"
  query = <<-EOT
    SELECT name FROM tenants WHERE kind = $1 AND n > $2 AND active = $3
  EOT
  args  = ["a", 3, true]
}
env "x" {
  for_each = toset(data.sql.q.values)
  url      = "postgres://h/${each.value}"
  migration { project = "${data.sql.q.count}-${data.sql.q.value}" }
}`

func TestSQL(t *testing.T) {
	addr, stop := fakePostgres(t, column{oid: pgtype.TextOID, names: []string{"name"}, values: []any{"b", "a"}})
	p := mustLoad(t, sqlFile, Options{Env: "x", Vars: map[string][]string{"addr": {addr}}})
	var got []string
	for _, e := range p.Envs {
		got = append(got, e.Instance+" "+e.URL.Value+" "+e.Migration.Project.Value)
	}
	if diff := cmp.Diff([]string{"a postgres://h/a 2-b", "b postgres://h/b 2-b"}, got); diff != "" {
		t.Error(diff)
	}
	want := []string{"SELECT name FROM tenants WHERE kind = $1 AND n > $2 AND active = $3\n", `"a"`, `"\x00\x00\x00\x00\x00\x00\x00\x03"`, `"\x01"`}
	if diff := cmp.Diff(want, stop()); diff != "" {
		t.Errorf("queries: %s", diff)
	}
}

func TestSQLTypes(t *testing.T) {
	tests := []struct {
		oid         uint32
		value, expr string
		want        string
	}{
		{pgtype.Int4OID, "41", `"${data.sql.q.value + 1}"`, "42"},
		{pgtype.Float8OID, "1.5", `"${data.sql.q.value * 2}"`, "3"},
		{pgtype.BoolOID, "t", `data.sql.q.value ? "yes" : "no"`, "yes"},
		{pgtype.UUIDOID, "0d0e", `data.sql.q.value`, "0d0e"},
		{pgtype.NumericOID, "1.10", `data.sql.q.value`, "1.10"},
	}
	for _, tt := range tests {
		addr, _ := fakePostgres(t, column{oid: tt.oid, names: []string{"v"}, values: []any{tt.value}})
		p := mustLoad(t, "data \"sql\" \"q\" {\n  url = \"postgresql://u@"+addr+"/db?sslmode=disable\"\n  query = \"SELECT 1\"\n}\n"+
			"env \"x\" {\n  migration { project = "+tt.expr+" }\n}", Options{Env: "x"})
		if got := one(t, p).Migration.Project.Value; got != tt.want {
			t.Errorf("oid %d: got %q, want %q", tt.oid, got, tt.want)
		}
	}
}

func TestSQLErrors(t *testing.T) {
	tests := []struct {
		answer column
		want   string
	}{
		{column{pgtype.TextOID, []string{"a", "b"}, []any{"x"}}, "the query must return one column, and returns 2"},
		{column{pgtype.TextOID, []string{"a"}, []any{"x", nil}}, "row 2 is NULL; leave such rows out in the query"},
		{column{pgtype.Int4OID, []string{"a"}, []any{"x"}}, "reading row 1: it is not an integer"},
		{column{pgtype.Float8OID, []string{"a"}, []any{"NaN"}}, "reading row 1: it is not a finite number"},
	}
	for _, tt := range tests {
		addr, _ := fakePostgres(t, tt.answer)
		_, err := loadText(t, sqlFile, Options{Env: "x", Vars: map[string][]string{"addr": {addr}}})
		wantError(t, err, "aurora.hcl:3:1: data.sql.q: "+tt.want)
	}
	addr, _ := fakePostgres(t, column{oid: pgtype.TextOID, names: []string{"a"}})
	_, err := loadText(t, sqlFile, Options{Env: "x", Vars: map[string][]string{"addr": {addr}}})
	wantError(t, err, "aurora.hcl:11:14: for_each is empty, so there is nothing to run on")
	for url, want := range map[string]string{
		"mysql://h/db":                        "url must begin with postgres://, postgresql:// or dsql://, not mysql://",
		"postgres://u:se/cret99@h/db":         "url is not a URL (invalid port); put passwords and tokens through urlescape()",
		"postgres://u:secret99@h/db?port=abc": "url has parameters that cannot be understood",
	} {
		_, err := loadText(t, "data \"sql\" \"q\" {\n  url = \""+url+"\"\n  query = \"SELECT 1\"\n}\nenv \"x\" { url = data.sql.q.value }", Options{Env: "x"})
		wantError(t, err, "aurora.hcl:1:1: data.sql.q: "+want)
	}
	// Nobody listens: the error names the server, and not the password.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = loadText(t, sqlFile, Options{Env: "x", Vars: map[string][]string{"addr": {l.Addr().String()}}})
	if err == nil || strings.Contains(err.Error(), "secret99") || !strings.Contains(err.Error(), "connecting to postgres://u:xxxxx@127.0.0.1") {
		t.Errorf("error: %v", err)
	}
}

func TestSQLConfigOfDSQL(t *testing.T) {
	cfg, err := sqlConfig("dsql://admin:x@id.dsql.us-east-1.on.aws/postgres")
	if err != nil || cfg.TLSConfig == nil || cfg.TLSConfig.InsecureSkipVerify || cfg.TLSConfig.ServerName != "id.dsql.us-east-1.on.aws" {
		t.Errorf("A42: TLS = %+v, %v", cfg, err)
	}
}

package config

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// awsEnv pins the AWS SDK to static credentials, or to none at all.
func awsEnv(t *testing.T, credentials bool) {
	t.Helper()
	for _, name := range []string{
		"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS",
	} {
		t.Setenv(name, "")
	}
	missing := filepath.Join(t.TempDir(), "missing")
	t.Setenv("AWS_CONFIG_FILE", missing)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", missing)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	if credentials {
		t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
	}
}

// passwordOf returns the decoded password of a URL.
func passwordOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal("the url does not parse")
	}
	pw, _ := u.User.Password()
	return pw
}

// token is what one can read from a DSQL or RDS token.
type token struct {
	Host, Action, Expires, KeyID, Scope, User string
	Signed, Session                           bool
}

func parseToken(t *testing.T, s string) token {
	t.Helper()
	u, err := url.Parse("https://" + s)
	if err != nil {
		t.Fatal("the token is not a URL")
	}
	q := u.Query()
	credential := strings.SplitN(q.Get("X-Amz-Credential"), "/", 3)
	if len(credential) != 3 {
		t.Fatal("the token has no credential scope")
	}
	return token{
		Host: u.Host, Action: q.Get("Action"), Expires: q.Get("X-Amz-Expires"), User: q.Get("DBUser"),
		KeyID: credential[0], Scope: credential[2], Signed: len(q.Get("X-Amz-Signature")) == 64, Session: q.Has("X-Amz-Security-Token"),
	}
}

// The file in the README of the earlier aurora tool.
func TestA42EarlierReadme(t *testing.T) {
	text, err := os.ReadFile("testdata/earlier_readme.hcl")
	if err != nil {
		t.Fatal(err)
	}
	awsEnv(t, true)
	const host = "abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws"
	env := map[string]string{"DATABASE_HOST": host, "AWS_REGION": "us-east-1"}
	p := mustLoad(t, string(text), Options{Env: "aws", LookupEnv: lookup(env)})
	e := one(t, p)
	u, err := url.Parse(e.URL.Value)
	if err != nil {
		t.Fatal("the url does not parse")
	}
	if u.Scheme != "postgres" || u.User.Username() != "my-service" || u.Host != host || u.Path != "/mydb" {
		t.Errorf("url = %s", Redact(e.URL.Value))
	}
	want := token{Host: host, Action: "DbConnect", Expires: "900", KeyID: "AKIDEXAMPLE", Scope: "us-east-1/dsql/aws4_request", Signed: true}
	if diff := cmp.Diff(want, parseToken(t, passwordOf(t, e.URL.Value))); diff != "" {
		t.Error(diff)
	}
	wantSource := &TokenSource{Endpoint: host, Region: "us-east-1", Username: "my-service"}
	if diff := cmp.Diff(wantSource, e.DSQLToken, cmpopts.IgnoreUnexported(TokenSource{})); diff != "" {
		t.Error(diff)
	}
	if e.Migration.Dir.Value != "file://database/migration" {
		t.Errorf("dir = %s", e.Migration.Dir.Value)
	}
	if got, want := warningTexts(p), "aurora.hcl:5:1: Aurora DSQL has one database, postgres; the url names \"mydb\"\n"; got != want {
		t.Errorf("A42 warnings:\n%s\nwant:\n%s", got, want)
	}
	// A15: the token of the file ends; every connection gets its own.
	fresh, err := e.DSQLToken.Token(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, parseToken(t, fresh)); diff != "" {
		t.Error(diff)
	}
}

func TestDSQLTokenArguments(t *testing.T) {
	const host = "id.dsql.eu-west-1.on.aws"
	tests := []struct {
		name, args, region string
		want               *TokenSource
		token              token
		warning            string
	}{
		{name: "Atlas", args: "endpoint = local.host\nregion = \"eu-west-1\"\nadmin = true",
			want:  &TokenSource{Endpoint: host, Region: "eu-west-1", Admin: true},
			token: token{Action: "DbConnectAdmin", Expires: "900", Scope: "eu-west-1/dsql/aws4_request"}},
		{name: "user admin", args: "endpoint = local.host\nusername = \"admin\"",
			want:  &TokenSource{Endpoint: host, Region: "eu-west-1", Admin: true, Username: "admin"},
			token: token{Action: "DbConnectAdmin", Expires: "900", Scope: "eu-west-1/dsql/aws4_request"}},
		{name: "admin = false wins", args: "endpoint = local.host\nusername = \"admin\"\nadmin = false",
			want:    &TokenSource{Endpoint: host, Region: "eu-west-1", Username: "admin"},
			token:   token{Action: "DbConnect", Expires: "900", Scope: "eu-west-1/dsql/aws4_request"},
			warning: "aurora.hcl:8:1: the url logs in as \"admin\", but the token is for DbConnect: set admin = true in data \"aws_dsql_token\"\n"},
		{name: "region of the configuration", args: `endpoint = "127.0.0.1:5432"` + "\nadmin = true", region: "us-west-2",
			want:  &TokenSource{Endpoint: "127.0.0.1", Region: "us-west-2", Admin: true},
			token: token{Action: "DbConnectAdmin", Expires: "900", Scope: "us-west-2/dsql/aws4_request"}},
		{name: "the configuration contradicts the endpoint", args: "endpoint = local.host\nadmin = true", region: "us-west-2",
			want:  &TokenSource{Endpoint: host, Region: "eu-west-1", Admin: true},
			token: token{Action: "DbConnectAdmin", Expires: "900", Scope: "eu-west-1/dsql/aws4_request"}},
		{name: "empty region", args: "endpoint = local.host\nregion = getenv(\"NONE\")\nadmin = true",
			want:  &TokenSource{Endpoint: host, Region: "eu-west-1", Admin: true},
			token: token{Action: "DbConnectAdmin", Expires: "900", Scope: "eu-west-1/dsql/aws4_request"}},
		{name: "another region on purpose", args: "endpoint = \"https://${local.host}:5432/\"\nregion = \"us-east-2\"\nadmin = true",
			want:    &TokenSource{Endpoint: host, Region: "us-east-2", Admin: true},
			token:   token{Action: "DbConnectAdmin", Expires: "900", Scope: "us-east-2/dsql/aws4_request"},
			warning: "aurora.hcl:3:1: data.aws_dsql_token.db signs for region us-east-2, but its endpoint is in eu-west-1\n"},
		{name: "life as text", args: "endpoint = local.host\nadmin = true\nexpires_in = \"1h\"",
			want:  &TokenSource{Endpoint: host, Region: "eu-west-1", Admin: true, ExpiresIn: 3600e9},
			token: token{Action: "DbConnectAdmin", Expires: "3600", Scope: "eu-west-1/dsql/aws4_request"}},
		{name: "life in seconds", args: "endpoint = local.host\nadmin = true\nexpires_in = 60",
			want:  &TokenSource{Endpoint: host, Region: "eu-west-1", Admin: true, ExpiresIn: 60e9},
			token: token{Action: "DbConnectAdmin", Expires: "60", Scope: "eu-west-1/dsql/aws4_request"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			awsEnv(t, true)
			t.Setenv("AWS_REGION", tt.region)
			// The arguments are on one line each; the url's line depends on them.
			p := mustLoad(t, "locals { host = \""+host+"\" }\n\ndata \"aws_dsql_token\" \"db\" {\n"+tt.args+"\n}\nenv \"x\" {\n"+
				"url = \"dsql://admin:${urlescape(data.aws_dsql_token.db)}@${local.host}:5432/postgres\"\n}\n", Options{Env: "x"})
			e := one(t, p)
			if diff := cmp.Diff(tt.want, e.DSQLToken, cmpopts.IgnoreUnexported(TokenSource{})); diff != "" {
				t.Error(diff)
			}
			tt.token.Host, tt.token.KeyID, tt.token.Signed = tt.want.Endpoint, "AKIDEXAMPLE", true
			if diff := cmp.Diff(tt.token, parseToken(t, passwordOf(t, e.URL.Value))); diff != "" {
				t.Error(diff)
			}
			if got := warningTexts(p); !strings.HasSuffix(got, strings.TrimPrefix(tt.warning, "aurora.hcl:8:1")) || (got == "") != (tt.warning == "") {
				t.Errorf("warnings:\n%s\nwant:\n%s", got, tt.warning)
			}
		})
	}
}

func TestDSQLTokenErrors(t *testing.T) {
	tests := []struct {
		args, want  string
		credentials bool
	}{
		{`endpoint = "db.example.com"`, "aurora.hcl:1:1: data.aws_dsql_token.db: no region: set region = …, AWS_REGION, or use an endpoint like <id>.dsql.<region>.on.aws", true},
		{`endpoint = "id.dsql.eu-west-1.on.aws"` + "\nexpires_in = \"200h\"", "aurora.hcl:3:1: data.aws_dsql_token.db: expires_in must be from 1 second to 7 days", true},
		{`endpoint = "id.dsql.eu-west-1.on.aws"` + "\nrole = \"x\"", `aurora.hcl:3:1: data "aws_dsql_token" has no argument "role"; it takes ["endpoint" "region" "username" "admin" "profile" "role_arn" "expires_in"]`, true},
		{`endpoint = "id.dsql.eu-west-1.on.aws"` + "\nprofile = \"nope\"", "aurora.hcl:1:1: data.aws_dsql_token.db: loading the AWS configuration: failed to get shared config profile, nope", true},
	}
	for _, tt := range tests {
		awsEnv(t, tt.credentials)
		_, err := loadText(t, "data \"aws_dsql_token\" \"db\" {\n"+tt.args+"\n}\nenv \"x\" { url = data.aws_dsql_token.db }\n", Options{Env: "x"})
		wantError(t, err, tt.want)
	}
	awsEnv(t, false)
	_, err := loadText(t, "data \"aws_dsql_token\" \"db\" { endpoint = \"id.dsql.eu-west-1.on.aws\" }\nenv \"x\" { url = data.aws_dsql_token.db }\n", Options{Env: "x"})
	if err == nil || !strings.HasPrefix(err.Error(), "aurora.hcl:1:1: data.aws_dsql_token.db: signing a token for id.dsql.eu-west-1.on.aws: ") ||
		!strings.HasSuffix(err.Error(), "; log in to AWS, set AWS_PROFILE or profile = …, or choose an env that needs no token") {
		t.Errorf("without credentials: %v", err)
	}
}

// A profile and a role to assume, with a stand-in for STS.
func TestDSQLTokenProfileAndRole(t *testing.T) {
	awsEnv(t, false)
	var got url.Values
	var keyID string
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		got = r.PostForm
		_, auth, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
		keyID, _, _ = strings.Cut(auth, "/")
		w.Header().Set("Content-Type", "text/xml")
		_, err := w.Write([]byte(`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>` +
			`<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>rolesecret</SecretAccessKey><SessionToken>session</SessionToken>` +
			`<Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`))
		if err != nil {
			t.Error(err)
		}
	}))
	defer sts.Close()
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	conf := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(conf, []byte("[profile deploy]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", conf)
	p := mustLoad(t, `
data "aws_dsql_token" "db" {
  endpoint = "id.dsql.eu-west-1.on.aws"
  profile  = "deploy"
  role_arn = "arn:aws:iam::123456789012:role/migrator"
}
env "x" {
  url = "postgres://app:${urlescape(data.aws_dsql_token.db)}@id.dsql.eu-west-1.on.aws/postgres"
}`, Options{Env: "x"})
	e := one(t, p)
	tok := parseToken(t, passwordOf(t, e.URL.Value))
	if tok.KeyID != "ASIAROLE" || !tok.Session || keyID != "AKIDPROFILE" || got.Get("RoleArn") != "arn:aws:iam::123456789012:role/migrator" {
		t.Errorf("token of key %q (session %t), role %q assumed with key %q", tok.KeyID, tok.Session, got.Get("RoleArn"), keyID)
	}
	if e.DSQLToken.Profile != "deploy" || e.DSQLToken.RoleARN == "" {
		t.Errorf("source = %+v", e.DSQLToken.Endpoint)
	}
}

func TestRDSToken(t *testing.T) {
	awsEnv(t, true)
	const host = "db.abc.eu-west-1.rds.amazonaws.com:5432"
	p := mustLoad(t, `
data "aws_rds_token" "db" {
  endpoint = "`+host+`"
  username = "atlas"
  region   = "eu-west-1"
}
env "x" {
  url = "postgres://atlas:${urlescape(data.aws_rds_token.db)}@`+host+`/app?sslmode=verify-full"
}`, Options{Env: "x"})
	e := one(t, p)
	want := token{Host: host, Action: "connect", User: "atlas", Expires: "900", KeyID: "AKIDEXAMPLE", Scope: "eu-west-1/rds-db/aws4_request", Signed: true}
	if diff := cmp.Diff(want, parseToken(t, passwordOf(t, e.URL.Value))); diff != "" {
		t.Error(diff)
	}
	if e.DSQLToken != nil {
		t.Error("an RDS token counts as a DSQL token")
	}
	_, err := loadText(t, "data \"aws_rds_token\" \"db\" {\n  endpoint = \"h\"\n  username = \"u\"\n}\nenv \"x\" { url = data.aws_rds_token.db }", Options{Env: "x"})
	wantError(t, err, "aurora.hcl:1:1: data.aws_rds_token.db: endpoint must be host:port")
}

func TestDSQLHost(t *testing.T) {
	for host, want := range map[string]string{
		"id.dsql.us-east-1.on.aws": "us-east-1", "ID.DSQL.us-east-1.ON.AWS.": "us-east-1", "id.dsql-fnh4.us-east-1.on.aws": "us-east-1",
		"dsql.us-east-1.on.aws": "", "id.dsql.us-east-1.on.aws.evil.com": "", "id.rds.us-east-1.on.aws": "", "": "",
	} {
		if _, region, ok := dsqlHost(host); region != want || ok != (want != "") {
			t.Errorf("dsqlHost(%q) = %q, %t", host, region, ok)
		}
	}
}

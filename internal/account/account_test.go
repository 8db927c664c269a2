package account_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/internal/account"
)

// home writes both files of profiles and hides the machine's own.
func home(t *testing.T, config, credentials string) account.Files {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN",
	} {
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", dir)
	t.Setenv("USERPROFILE", dir)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	for name, text := range map[string]string{"config": config, "credentials": credentials} {
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return account.FindFiles(os.LookupEnv)
}

const someConfig = `
[default]
region = eu-central-1
[profile prod]
sso_session = corp
sso_account_id = 111122223333
sso_role_name = Admin
region = eu-west-1
s3 =
  max_concurrent_requests = 20
[profile "with space"]
region = us-east-1
[profile deploy]
role_arn = arn:aws:iam::111122223333:role/deploy
source_profile = prod
region = eu-west-1
[profile old]
sso_start_url = https://old.awsapps.com/start
sso_region = us-east-1
sso_account_id = 111122223333
sso_role_name = Admin
region = us-east-1
[profile browser]
login_session = arn:aws:iam::111122223333:user/ada
region = us-east-1
[not-a-profile]
x = y
[sso-session corp]
sso_start_url = https://corp.awsapps.com/start
sso_region = us-east-1
[services local]
dynamodb =
  endpoint_url = http://localhost:8000
this line makes no sense
`

const someCredentials = `[default]
aws_access_key_id = AKIDDEFAULT
aws_secret_access_key = s3cr3t = with # signs
[ci]
aws_access_key_id = AKIDCI
aws_secret_access_key = x
`

func TestProfiles(t *testing.T) {
	got, err := home(t, someConfig, someCredentials).Profiles()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"default", "browser", "ci", "deploy", "old", "prod", "with space"}, got); diff != "" {
		t.Error(diff)
	}
	if got, err := home(t, "", "").Profiles(); err != nil || len(got) != 0 {
		t.Errorf("without files: %q, %v", got, err)
	}
	files := home(t, someConfig, "")
	if err := os.Chmod(files.Config, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Profiles(); err == nil && os.Getuid() != 0 {
		t.Error("a file that cannot be read has profiles")
	}
}

func FuzzProfiles(f *testing.F) {
	f.Add(someConfig)
	f.Add(someCredentials)
	f.Add("[profile a\n[[b]]\n=\n[profile ]")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		names, err := account.Files{Config: path, Credentials: path}.Profiles()
		if err != nil && !strings.Contains(err.Error(), "not in the format") {
			t.Error(err)
		}
		for _, n := range names {
			if n == "" || strings.TrimSpace(n) != n {
				t.Errorf("profile %q", n)
			}
		}
	})
}

func TestLogin(t *testing.T) {
	files := home(t, someConfig, someCredentials)
	for profile, want := range map[string]string{
		"default": "", "ci": "", "prod": "aws sso login --profile prod", "deploy": "aws sso login --profile prod", "old": "aws sso login --profile old",
		"browser": "aws login --profile browser",
	} {
		got, err := files.Login(t.Context(), profile)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v", profile, got, err)
		}
	}
	_, err := files.Login(t.Context(), "nobody")
	var missing *account.ProfileError
	if !errors.As(err, &missing) || !strings.Contains(missing.Hint(), "prod") {
		t.Errorf("a profile that is not there: %v", err)
	}
}

// An aws is a stand-in for some of AWS.
type aws struct {
	*httptest.Server
	mu     sync.Mutex
	calls  []string
	denied map[string]bool
	tags   map[string][]string // by resource type: ARNs
}

func newAWS(t *testing.T) *aws {
	t.Helper()
	a := &aws{denied: make(map[string]bool), tags: make(map[string][]string)}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serve(t, w, r) }))
	t.Cleanup(a.Close)
	for _, name := range []string{"LAMBDA", "DYNAMODB", "RESOURCE_GROUPS_TAGGING_API", "SSO", "SSO_OIDC", "STS"} {
		t.Setenv("AWS_ENDPOINT_URL_"+name, a.URL)
	}
	return a
}

func (a *aws) serve(t *testing.T, w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	op := r.Header.Get("X-Amz-Target")
	op = op[strings.LastIndexByte(op, '.')+1:]
	if op == "" {
		op = r.Method + " " + r.URL.Path
	}
	a.calls = append(a.calls, op)
	answer := func(v any) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	if a.denied[op] {
		w.Header().Set("X-Amzn-Errortype", "AccessDeniedException")
		w.WriteHeader(http.StatusForbidden)
		answer(map[string]string{"__type": "AccessDeniedException", "message": "not allowed"})
		return
	}
	switch op {
	case "GetResources":
		var in struct {
			ResourceTypeFilters []string
			TagFilters          []struct {
				Key    string
				Values []string
			}
		}
		signed := r.Header.Get("Authorization")
		if err := json.Unmarshal(body, &in); err != nil || in.TagFilters[0].Key != account.TagKey || !strings.Contains(signed, "/tagging/aws4_request") {
			t.Errorf("%s, %s, %v", body, signed, err)
		}
		var list []map[string]any
		for _, arn := range a.tags[in.ResourceTypeFilters[0]] {
			list = append(list, map[string]any{"ResourceARN": arn, "Tags": []map[string]string{
				{"Key": account.TagKey, "Value": in.TagFilters[0].Values[0]}, {"Key": "stage", "Value": "prod"}, {"Key": "aws:cloudformation:stack-name", "Value": "x"},
			}})
		}
		answer(map[string]any{"ResourceTagMappingList": list})
	case "GET /2015-03-31/functions": // two pages
		if r.URL.Query().Get("Marker") == "" {
			answer(map[string]any{"Functions": []map[string]string{{"FunctionName": "other"}, {"FunctionName": "shop-dev-MigrationFnFunction-b"}}, "NextMarker": "2"})
			return
		}
		answer(map[string]any{"Functions": []map[string]string{{"FunctionName": "shop-prod-migrationfn-a"}}})
	case "ListTables":
		answer(map[string]any{"TableNames": []string{"Orders", "shop-prod-MigrationsTable-x"}})
	case "GET /2015-03-31/functions/go/configuration":
		answer(map[string]any{"Runtime": "provided.al2023", "Environment": map[string]any{"Variables": map[string]string{"AURORA_ENV": "prod"}}})
	case "GET /2015-03-31/functions/node/configuration":
		answer(map[string]any{"Runtime": "nodejs22.x", "Environment": map[string]any{"Variables": map[string]string{"AURORA_ENV": "prod"}}})
	case "GET /2015-03-31/functions/rust/configuration":
		answer(map[string]any{"Runtime": "provided.al2023"})
	case "POST /2015-03-31/functions/go/invocations":
		answer(map[string]any{"migrations": []string{"1"}})
	case "POST /2015-03-31/functions/broken/invocations":
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
		answer(map[string]any{"errorMessage": "it broke"})
	case "GET /federation/credentials":
		answer(map[string]any{"roleCredentials": map[string]any{
			"accessKeyId": "AKIDSSO", "secretAccessKey": "s", "sessionToken": "t", "expiration": time.Now().Add(time.Hour).UnixMilli(),
		}})
	default:
		t.Errorf("nobody expected %s", op)
		w.WriteHeader(http.StatusNotFound)
	}
}

func open(t *testing.T, files account.Files, profile string) *account.Account {
	t.Helper()
	a, err := account.Open(t.Context(), account.Options{Files: files, Profile: profile})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func names(r []account.Resource) string {
	var out []string
	for _, f := range r {
		out = append(out, fmt.Sprintf("%s %v %s", f.Name, f.Tagged, f.About))
	}
	return strings.Join(out, "; ")
}

func TestDiscovery(t *testing.T) {
	files := home(t, someConfig, someCredentials)
	stand := newAWS(t)
	a := open(t, files, "default")
	find := func(look func(context.Context) ([]account.Resource, error)) string {
		t.Helper()
		found, err := look(t.Context())
		if err != nil {
			return err.Error()
		}
		return names(found)
	}
	if got := find(a.Functions); got != "shop-dev-MigrationFnFunction-b false ; shop-prod-migrationfn-a false " {
		t.Errorf("functions by name: %s", got)
	}
	if got := find(a.Tables); got != "shop-prod-MigrationsTable-x false " {
		t.Errorf("tables by name: %s", got)
	}
	stand.denied["GetResources"] = true
	if got := find(a.Tables); got != "shop-prod-MigrationsTable-x false " {
		t.Errorf("tables without the right to see tags: %s", got)
	}
	stand.denied["ListTables"] = true
	if got := find(a.Tables); !strings.Contains(got, "look for the table") || !strings.Contains(got, "not allowed") {
		t.Errorf("tables without any right: %s", got)
	}
	clear(stand.denied)
	stand.tags["dynamodb:table"] = []string{"arn:aws:dynamodb:eu-central-1:1:table/history"}
	stand.tags["lambda:function"] = []string{"arn:aws:lambda:eu-central-1:1:function:b", "arn:aws:lambda:eu-central-1:1:function:a", "nonsense"}
	stand.calls = nil
	if got := find(a.Tables) + "; " + find(a.Functions); got != "history true stage=prod; a true stage=prod; b true stage=prod" {
		t.Errorf("by tag: %s", got)
	}
	if got := strings.Join(stand.calls, " "); got != "GetResources GetResources" {
		t.Errorf("names were listed although tags were found: %s", got)
	}
}

// Another program's function might take a question for an order.
func TestOnlyOurFunctionsAreAsked(t *testing.T) {
	files := home(t, someConfig, someCredentials)
	stand := newAWS(t)
	a := open(t, files, "default")
	for _, tt := range []struct {
		f    account.Resource
		want bool
	}{
		{account.Resource{Name: "go"}, true}, {account.Resource{Name: "node"}, false}, {account.Resource{Name: "rust"}, false},
		{account.Resource{Name: "node", Tagged: true}, true},
	} {
		if got := a.Understands(t.Context(), tt.f); got != tt.want {
			t.Errorf("%+v: %v", tt.f, got)
		}
	}
	stand.denied["GET /2015-03-31/functions/go/configuration"] = true
	if a.Understands(t.Context(), account.Resource{Name: "go"}) {
		t.Error("a function about which nothing is known is asked")
	}
	var out struct{ Migrations []string }
	if err := a.Ask(t.Context(), "go", struct{}{}, &out); err != nil || len(out.Migrations) != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	if err := a.Ask(t.Context(), "broken", struct{}{}, &out); err == nil || !strings.Contains(err.Error(), "it broke") {
		t.Errorf("a function that fails: %v", err)
	}
}

// token writes the file in which the AWS CLI keeps a session.
func token(t *testing.T, session string, ends time.Time) {
	t.Helper()
	sum := sha1.Sum([]byte(session))
	dir := filepath.Join(os.Getenv("HOME"), ".aws", "sso", "cache")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"accessToken":"tok","expiresAt":%q,"region":"us-east-1","startUrl":"https://corp.awsapps.com/start"}`, ends.UTC().Format(time.RFC3339))
	if err := os.WriteFile(filepath.Join(dir, hex.EncodeToString(sum[:])+".json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestExpiredSessions(t *testing.T) {
	files := home(t, someConfig, someCredentials)
	stand := newAWS(t)
	for name, prepare := range map[string]func(){
		"never signed in": func() {},
		"expired":         func() { token(t, "corp", time.Now().Add(-time.Hour)) },
		"revoked": func() {
			token(t, "corp", time.Now().Add(time.Hour))
			stand.denied["GET /federation/credentials"] = true
		},
	} {
		prepare()
		err := open(t, files, "prod").Check(t.Context())
		var login *account.LoginError
		if !errors.As(err, &login) || login.Profile != "prod" || login.Hint() != "sign in again with: aws sso login --profile prod" {
			t.Errorf("%s: %v", name, err)
		}
	}
	clear(stand.denied)
	token(t, "corp", time.Now().Add(time.Hour))
	if err := open(t, files, "prod").Check(t.Context()); err != nil {
		t.Errorf("signed in: %v", err)
	}
	if err := open(t, files, "default").Check(t.Context()); err != nil {
		t.Errorf("keys: %v", err)
	}
}

// The session ends while the account is used, and the person signs in again in
// another terminal.
func TestSessionEndsMeanwhile(t *testing.T) {
	files := home(t, someConfig, someCredentials)
	newAWS(t)
	a := open(t, files, "prod")
	_, err := a.Tables(t.Context())
	var login *account.LoginError
	if !errors.As(err, &login) {
		t.Fatalf("expired: %v", err)
	}
	token(t, "corp", time.Now().Add(time.Hour))
	if _, err := a.Tables(t.Context()); err != nil {
		t.Errorf("after signing in: %v", err)
	}
}

func TestRunLogin(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("missing: a POSIX shell, which Windows has not (package internal/account)")
	}
	e := &account.LoginError{Profile: "prod", Command: []string{"aws", "sso", "login", "--profile", "prod"}, Err: errors.New("expired")}
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	var out strings.Builder
	run := func() error {
		return e.Run(t.Context(), func(cmd *exec.Cmd) { cmd.Stdout = &out })
	}
	if err := run(); err == nil || !strings.Contains(err.Error(), "install it, then run: aws sso login --profile prod") {
		t.Errorf("without the AWS CLI: %v", err)
	}
	script := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "aws"), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	script(`echo "called with $*"`)
	if err := run(); err != nil || out.String() != "called with sso login --profile prod\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	script("exit 3")
	if err := run(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a login that fails: %v", err)
	}
}

func TestNoRegion(t *testing.T) {
	files := home(t, "[profile a]\naws_access_key_id = x\naws_secret_access_key = y\n", "")
	if _, err := account.Open(t.Context(), account.Options{Files: files, Profile: "a"}); err == nil || !strings.Contains(err.Error(), "region") {
		t.Errorf("without a region: %v", err)
	}
	a, err := account.Open(t.Context(), account.Options{Files: files, Profile: "a", Region: "eu-north-1"})
	if err != nil || a.Region() != "eu-north-1" {
		t.Errorf("with a region: %v", err)
	}
}

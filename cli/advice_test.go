package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is advised can be copied, as far as it is no secret.
func TestAdviceCanBeCopied(t *testing.T) {
	db := databaseOptions{url: "postgres://app:s3cret-pw@h/db?sslmode=disable", history: "dynamodb://t?region=eu-central-1", project: "it's"}
	tests := []struct {
		name      string
		project   projectOptions
		directory directoryOptions
		database  *databaseOptions
		in, want  string
	}{
		{"nothing given", projectOptions{}, directoryOptions{}, &databaseOptions{}, "run aurora migrate apply", "run aurora migrate apply"},
		{"an environment", projectOptions{config: "a b.hcl", env: "prod", vars: []string{"tag=v 1", "db_password=hunter2"}}, directoryOptions{}, nil,
			"aurora migrate set VERSION", "aurora migrate --config 'a b.hcl' --env prod --var 'tag=v 1' --var db_password=xxxxx set VERSION"},
		{"all in flags", projectOptions{}, directoryOptions{dir: "file://m", allowEmpty: true}, &db, "go on with: aurora migrate apply (at step 2)",
			"go on with: aurora migrate apply --url 'postgres://app:xxxxx@h/db?sslmode=disable' --history 'dynamodb://t?region=eu-central-1' --project 'it'\\''s' --dir file://m --allow-empty (at step 2)"},
		{"only what a command knows", projectOptions{env: "x"}, directoryOptions{dir: "m"}, &databaseOptions{url: "local://", revisionsSchema: "s"},
			"aurora migrate lock; aurora migrate history create, aurora migrate list",
			"aurora migrate --env x lock --url local:// --revisions-schema s; aurora migrate --env x history create --url local:// --revisions-schema s, aurora migrate --env x list --dir m"},
		{"other flags behind", projectOptions{}, directoryOptions{dir: "m"}, nil, "aurora migrate apply --exec-order non-linear", "aurora migrate apply --dir m --exec-order non-linear"},
		{"the default directory", projectOptions{}, directoryOptions{dir: "file://migrations"}, nil, "aurora migrate list", "aurora migrate list"},
		{"an environment's other directory", projectOptions{env: "x"}, directoryOptions{dir: "file://migrations"}, nil,
			"aurora migrate list", "aurora migrate --env x list --dir file://migrations"},
		{"no command", projectOptions{env: "x"}, directoryOptions{dir: "m"}, nil, "aurora migrate applyx aurora migrate ", "aurora migrate --env x applyx aurora migrate --env x "},
		{"a password as a parameter", projectOptions{}, directoryOptions{}, &databaseOptions{url: "postgres://app@h/db?password=s3cret-pw"}, "aurora migrate lock; then",
			"aurora migrate lock --url 'postgres://app@h/db?password=xxxxx'; then"},
		{"keywords", projectOptions{}, directoryOptions{}, &databaseOptions{url: "host=h password='s3 cret'"}, "aurora migrate lock", "aurora migrate lock --url 'host=h password=xxxxx'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newApp(Streams{In: strings.NewReader(""), Out: &strings.Builder{}, Err: &strings.Builder{}})
			a.remember(tt.project, tt.directory, tt.database)
			a.remember(tt.project, tt.directory, tt.database)
			got := a.asTyped(tt.in)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if hidden := a.secrets.hide(got); hidden != got {
				t.Errorf("what is hidden once is changed when hidden again: %s", hidden)
			}
		})
	}
}

// The program takes the flags where the advice has them.
func TestAdviceIsTaken(t *testing.T) {
	dir := migrationDir(t, map[string]string{"1_a.sql": "SELECT 1;", "2_b.sql": "SELECT 2;"})
	var stdout, stderr strings.Builder
	args := []string{"migrate", "status", "--history", "file://" + t.TempDir() + "/h.db", "--project", "a b", "--to", "3", "--dir", dir}
	streams := Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr, LookupEnv: func(string) (string, bool) { return "", false }}
	args = append(args, "--url", "postgres://app@127.0.0.1:1/db")
	if code := Run(t.Context(), args, streams); code != ExitUsage {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	_, advice, ok := strings.Cut(stderr.String(), "list them with: aurora ")
	advice, _, _ = strings.Cut(advice, "\n")
	if !ok || advice != "migrate list --dir "+dir {
		t.Fatalf("it advises %q", stderr.String())
	}
	if code := Run(t.Context(), strings.Fields(advice), streams); code != ExitDone || !strings.Contains(stdout.String(), "2        b") {
		t.Errorf("exit code %d: %s%s", code, &stdout, &stderr)
	}
}

package aurora_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/aurora-migrate/aurora"

// layers is the import policy: what each package may import besides the
// standard library, as prefixes. "…" of the own module are written without the
// module's path. Imports go down only; changing this table is a change of
// architecture, explained in docs/architecture.md. Tests may import more.
var layers = map[string][]string{
	// Floor 0: standard library only.
	"": {},
	// Floor 1.
	"internal/sqllex":   {},
	"internal/filelock": {},
	"sqlfile":           {"", "internal/sqllex", "ariga.io/atlas/sql/migrate"},
	"auroratest":        {"", "github.com/google/go-cmp"},
	// Floor 2. What the two SQL databases share is in internal/pgstore.
	"internal/pgstore": {"", "internal/sqllex", "github.com/jackc/pgx/v5"},
	"postgres":         {"", "internal/sqllex", "internal/pgstore", "github.com/jackc/pgx/v5"},
	"dsql":             {"", "internal/sqllex", "internal/pgstore", "github.com/jackc/pgx/v5", "github.com/aws/aws-sdk-go-v2"},
	"dynamo":           {"", "github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go"},
	"filestore":        {"", "internal/filelock"},
	"backfill":         {"", "github.com/jackc/pgx/v5", "github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go"},
	"internal/gobuild": {"", "sqlfile"},
	"bundle":           {"", "internal/gobuild", "github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go"},
	// Floor 3.
	"localdsql/engine":           {"internal/filelock", "github.com/jackc/pgx/v5"},
	"localdsql/internal/policy":  {"internal/sqllex", "dsql"},
	"localdsql/internal/backend": {"localdsql/engine", "github.com/jackc/pgx/v5"},
	"localdsql/internal/wire":    {"internal/sqllex", "localdsql/internal/policy", "github.com/jackc/pgx/v5"},
	"localdsql": {
		"localdsql/engine", "localdsql/internal", "internal/filelock", "dsql", "github.com/jackc/pgx/v5", "github.com/aws/aws-sdk-go-v2",
	},
	"lambdahandler": {"", "github.com/aws/aws-lambda-go", "github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go"},
	"locallambda":   {},
	"fargate":       {"", "github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go"},
	"ui":            {},
	"dashboard":     {"", "ui"},
	// Floor 4.
	"internal/config": {
		"ariga.io/atlas", "github.com/hashicorp/hcl/v2", "github.com/zclconf/go-cty",
		"github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go", "github.com/jackc/pgx/v5",
	},
	"internal/account": {"gopkg.in/ini.v1", "github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go"},
	"cli": {
		"", "sqlfile", "postgres", "dsql", "dynamo", "filestore", "bundle", "fargate", "lambdahandler", "locallambda", "dashboard",
		"localdsql", "localdsql/engine", "internal/account", "internal/config", "internal/gobuild", "cli/internal",
		"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/jackc/pgx/v5", "github.com/aws/aws-lambda-go", "github.com/aws/aws-sdk-go-v2", "golang.org/x/term",
	},
	// Floor 5.
	"cmd/aurora":          {"cli"},
	"cmd/aurora-runner":   {"bundle"},
	"cmd/aurora-dispatch": {"fargate", "github.com/aws/aws-lambda-go", "github.com/aws/aws-sdk-go-v2"},
	"tools/testreport":    {},
	"tools/dynamodb":      {"internal/dynamotest"},
	"tools/s3":            {"github.com/johannesboyne/gofakes3"},
	"tools/image":         {},
	"examples":            {"", "backfill", "github.com/aws/aws-sdk-go-v2"},
	"docs":                {},
	// For tests only: no package may import it.
	"internal/pgtest":     {"", "localdsql/engine", "github.com/jackc/pgx/v5"},
	"internal/dynamotest": {"github.com/aws/aws-sdk-go-v2"},
}

func TestLayers(t *testing.T) {
	packages := list(t)
	for path := range layers {
		if !slices.ContainsFunc(packages, func(p pkg) bool { return p.name() == path }) {
			t.Errorf("the policy names a package that does not exist: %q", path)
		}
	}
	for _, p := range packages {
		name := p.name()
		allowed, ok := policy(name)
		if !ok {
			t.Errorf("%s is not in the import policy", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if !permits(allowed, imported) {
				t.Errorf("%s must not import %s", p.ImportPath, imported)
			}
		}
	}
}

// policy finds the entry of a package or of the nearest package above it.
func policy(name string) ([]string, bool) {
	for {
		if allowed, ok := layers[name]; ok {
			return allowed, true
		}
		i := strings.LastIndex(name, "/")
		if i < 0 {
			return nil, false
		}
		name = name[:i]
	}
}

func permits(allowed []string, imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") {
		return true // the standard library
	}
	own, isOwn := strings.CutPrefix(imported, module)
	own = strings.TrimPrefix(own, "/")
	for _, a := range allowed {
		switch {
		case isOwn && (own == a || a != "" && strings.HasPrefix(own, a+"/") && strings.HasSuffix(a, "internal")):
			return true
		case !isOwn && a != "" && (imported == a || strings.HasPrefix(imported, a+"/")):
			return true
		}
	}
	return false
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func (p pkg) name() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// The table itself must be able to fail.
func TestPermits(t *testing.T) {
	for _, tt := range []struct {
		allowed  []string
		imported string
		want     bool
	}{
		{nil, "net/http", true},
		{nil, "github.com/jackc/pgx/v5", false},
		{nil, module, false},
		{[]string{""}, module, true},
		{[]string{""}, module + "/postgres", false},
		{[]string{"postgres"}, module + "/postgres", true},
		{[]string{"localdsql"}, module + "/localdsql/engine", false},
		{[]string{"cli/internal"}, module + "/cli/internal/text", true},
		{[]string{"github.com/jackc/pgx/v5"}, "github.com/jackc/pgx/v5/pgconn", true},
		{[]string{"github.com/jackc/pgx/v5"}, "github.com/jackc/pgx/v55", false},
	} {
		if got := permits(tt.allowed, tt.imported); got != tt.want {
			t.Errorf("permits(%q, %s) = %v", tt.allowed, tt.imported, got)
		}
	}
}

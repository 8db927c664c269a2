package dynamo_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/dynamo"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
)

func TestParseURL(t *testing.T) {
	tests := []struct {
		url     string
		want    dynamo.Config
		wantErr string
	}{
		{"dynamodb://Team.migrations_1", dynamo.Config{Table: "Team.migrations_1"}, ""},
		{"dynamodb://history?region=eu-west-1&project=shop&profile=deploy&endpoint=http%3A%2F%2Flocalhost%3A8000",
			dynamo.Config{Table: "history", Region: "eu-west-1", Project: "shop", Profile: "deploy", Endpoint: "http://localhost:8000"}, ""},
		{"dynamodb://history/?endpoint=http://localhost:8000", dynamo.Config{Table: "history", Endpoint: "http://localhost:8000"}, ""},
		{"dynamodb://arn:aws:dynamodb:eu-west-1:123456789012:table/history",
			dynamo.Config{Table: "arn:aws:dynamodb:eu-west-1:123456789012:table/history"}, ""},
		{"dynamo://history", dynamo.Config{}, "must begin with dynamodb://"},
		{"dynamodb://", dynamo.Config{}, "names no table"},
		{"dynamodb://?region=eu-west-1", dynamo.Config{}, "names no table"},
		{"dynamodb://ab", dynamo.Config{}, "names no table"},
		{"dynamodb://my table", dynamo.Config{}, "names no table"},
		{"dynamodb://history?regoin=eu-west-1", dynamo.Config{}, `has a parameter "regoin"; there are region, project, profile and endpoint`},
		{"dynamodb://history?region=", dynamo.Config{}, "region needs one value"},
		{"dynamodb://history?region=a&region=b", dynamo.Config{}, "region needs one value"},
		{"dynamodb://history?region=%zz", dynamo.Config{}, "invalid URL escape"},
	}
	for _, tt := range tests {
		got, err := dynamo.ParseURL(tt.url)
		if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != (tt.wantErr == "") ||
			err != nil && !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("ParseURL(%q): %v, want %q (-want +got):\n%s", tt.url, err, tt.wantErr, diff)
		}
	}
}

// noAWS empties the environment of what the AWS SDK looks at.
func noAWS(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
		"AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"} {
		t.Setenv(name, "")
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// An endpoint on this machine is all that a stand-in needs, in the URL or in
// the environment.
func TestOpenFromURL(t *testing.T) {
	for name, how := range map[string]func(t *testing.T) string{
		"in the url":         func(t *testing.T) string { return "?endpoint=" + dynamotest.Endpoint(t) },
		"in the environment": func(t *testing.T) string { t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamotest.Endpoint(t)); return "" },
	} {
		t.Run(name, func(t *testing.T) {
			noAWS(t)
			cfg, err := dynamo.ParseURL("dynamodb://" + dynamotest.Table(t) + how(t))
			if err != nil {
				t.Fatal(err)
			}
			s, err := dynamo.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.CreateTable(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.CreateTable(t.Context()); err != nil {
				t.Errorf("CreateTable of one that exists: %v", err)
			}
			save(t, acquire(t, s, long), revision("e", "1", 1))
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name string
		cfg  dynamo.Config
		want string
	}{
		{"no region", dynamo.Config{Table: "history"}, "no AWS region"},
		{"no table", dynamo.Config{}, "is no name for a DynamoDB table"},
		{"odd endpoint", dynamo.Config{Table: "history", Endpoint: "localhost:8000"}, "is no http or https URL"},
		{"unknown profile", dynamo.Config{Table: "history", Region: "eu-west-1", Profile: "nobody"}, "nobody"},
		{"long project", dynamo.Config{Table: "history", Region: "eu-west-1", Project: strings.Repeat("p", 401)}, "more than 400 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			noAWS(t)
			if _, err := dynamo.Open(t.Context(), tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open: %v, want %q", err, tt.want)
			}
		})
	}
}

// A table of other names is as good.
func TestOtherNames(t *testing.T) {
	s, err := dynamo.Open(t.Context(), dynamo.Config{
		Table: dynamotest.Table(t), Client: dynamotest.Client(dynamotest.Endpoint(t)),
		Names: dynamo.Names{PK: "pk", SK: "sk", Executions: "byTime", Attempts: "byVersion", GSI1PK: "a", GSI1SK: "b", GSI2PK: "c", GSI2SK: "d"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	lease := acquire(t, s, long)
	save(t, lease, revisions("e", 0, 150)...)
	want := map[string]int{"Latest": 150, "Execution": 150, "Executions": 150, "Revisions": 1}
	if diff := cmp.Diff(want, seen(t, s, "e", version(3))); diff != "" {
		t.Errorf("what was read (-want +got):\n%s", diff)
	}
}

func TestTableThatIsMissing(t *testing.T) {
	table := dynamotest.Table(t)
	s := open(t, dynamotest.Endpoint(t), table, "")
	_, latest := s.Latest(t.Context())
	_, acquired := s.Acquire(t.Context(), alice, long)
	_, locked := s.Locked(t.Context())
	for what, err := range map[string]error{"Latest": latest, "Acquire": acquired, "Locked": locked, "Break": s.Break(t.Context(), 1)} {
		var missing *dynamo.TableError
		if !errors.As(err, &missing) || !strings.Contains(err.Error(), "DynamoDB table "+table+": it does not exist in region us-east-1") {
			t.Errorf("%s: %v, want that the table is missing", what, err)
		}
	}
}

func TestTableOfAnotherShape(t *testing.T) {
	key := func(hash, sort string) []types.KeySchemaElement {
		return []types.KeySchemaElement{
			{AttributeName: &hash, KeyType: types.KeyTypeHash}, {AttributeName: &sort, KeyType: types.KeyTypeRange},
		}
	}
	attributes := func(names ...string) []types.AttributeDefinition {
		var out []types.AttributeDefinition
		for _, n := range names {
			out = append(out, types.AttributeDefinition{AttributeName: aws.String(n), AttributeType: types.ScalarAttributeTypeS})
		}
		return out
	}
	tests := []struct {
		name string
		in   dynamodb.CreateTableInput
		read func(context.Context, *dynamo.Store) error
		want string
	}{
		{
			"another key",
			dynamodb.CreateTableInput{KeySchema: key("pk", "sk"), AttributeDefinitions: attributes("pk", "sk")},
			func(ctx context.Context, s *dynamo.Store) error { _, err := s.Latest(ctx); return err },
			"its key is pk (S), sk (S) instead of PK (S), SK (S); it lacks the index GSI1 on GSI1PK (S), GSI1SK (S); it lacks the index GSI2",
		},
		{
			"no index",
			dynamodb.CreateTableInput{KeySchema: key("PK", "SK"), AttributeDefinitions: attributes("PK", "SK")},
			func(ctx context.Context, s *dynamo.Store) error {
				if _, err := s.Acquire(ctx, alice, long); err != nil {
					return err
				}
				_, _, err := s.Executions(ctx, "", 10)
				return err
			},
			"it lacks the index GSI1 on GSI1PK (S), GSI1SK (S); it lacks the index GSI2 on GSI2PK (S), GSI2SK (S)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table := dynamotest.Table(t)
			tt.in.TableName, tt.in.BillingMode = &table, types.BillingModePayPerRequest
			if _, err := dynamotest.Client(dynamotest.Endpoint(t)).CreateTable(t.Context(), &tt.in); err != nil {
				t.Fatal(err)
			}
			s := open(t, dynamotest.Endpoint(t), table, "")
			for what, err := range map[string]error{"reading": tt.read(t.Context(), s), "CreateTable": s.CreateTable(t.Context())} {
				if err == nil || !strings.Contains(err.Error(), "it has another shape than a history needs: ") || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: %v, want %q", what, err, tt.want)
				}
			}
		})
	}
}

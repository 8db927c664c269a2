package dynamo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/aurora-migrate/aurora"
)

// DefaultProject is the project where none is given.
const DefaultProject = "default"

// Config says which table to use and how to reach it.
type Config struct {
	// Table is the table's name or ARN. It must exist; see [Store.CreateTable].
	Table string
	// Project separates several histories in one table. Defaults to
	// [DefaultProject].
	Project string
	// Region, Profile and Endpoint override what the AWS SDK finds in the
	// environment and the shared configuration. An endpoint on this machine
	// needs neither a region nor credentials.
	Region   string
	Profile  string
	Endpoint string
	// Client is used instead of one that is made from the above.
	Client *dynamodb.Client
	// Names are the names in the table, where they are not the usual ones.
	Names Names
	// Logger hears of trouble that was dealt with. Defaults to none.
	Logger *slog.Logger
}

// Names are the names of a table's keys and indexes. Empty fields mean the
// defaults, which are the fields' own names; those of the indexes are "GSI1"
// and "GSI2".
type Names struct {
	PK, SK               string // the table's key
	Executions, Attempts string // the indexes
	GSI1PK, GSI1SK       string // the key of the index of executions
	GSI2PK, GSI2SK       string // the key of the index of attempts
}

func (n Names) orDefaults() Names {
	return Names{
		PK: cmp.Or(n.PK, "PK"), SK: cmp.Or(n.SK, "SK"),
		Executions: cmp.Or(n.Executions, "GSI1"), Attempts: cmp.Or(n.Attempts, "GSI2"),
		GSI1PK: cmp.Or(n.GSI1PK, "GSI1PK"), GSI1SK: cmp.Or(n.GSI1SK, "GSI1SK"),
		GSI2PK: cmp.Or(n.GSI2PK, "GSI2PK"), GSI2SK: cmp.Or(n.GSI2SK, "GSI2SK"),
	}
}

// isTableName reports whether a text is what DynamoDB allows as a name
// (docs.aws.amazon.com, "Naming rules"), or an ARN.
func isTableName(s string) bool {
	arn, limit, signs := strings.HasPrefix(s, "arn:"), 255, "_.-"
	if arn {
		limit, signs = 1004, "_.-:/"
	}
	return len(s) >= 3 && len(s) <= limit && s != "arn:" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(signs, r))
	})
}

// keyLimit bounds a project's name, a version and an execution's identifier as
// they are written in keys, in bytes; a sort key takes 1,024 in all.
const keyLimit = 400

// ParseURL reads a URL of the form
//
//	dynamodb://TABLE?region=eu-west-1&project=shop&profile=deploy&endpoint=http://localhost:8000
//
// in which everything behind the table may be left out.
func ParseURL(raw string) (Config, error) {
	rest, ok := strings.CutPrefix(raw, "dynamodb://")
	if !ok {
		return Config{}, fmt.Errorf("the url %q must begin with dynamodb://", raw)
	}
	table, query, _ := strings.Cut(rest, "?")
	cfg := Config{Table: strings.TrimSuffix(table, "/")}
	if !isTableName(cfg.Table) {
		return Config{}, fmt.Errorf("the url %q names no table: want dynamodb://TABLE, of 3 to 255 letters, digits and _.-", raw)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return Config{}, fmt.Errorf("the url %q: %w", raw, err)
	}
	settings := map[string]*string{"region": &cfg.Region, "project": &cfg.Project, "profile": &cfg.Profile, "endpoint": &cfg.Endpoint}
	for name, value := range values {
		to, ok := settings[name]
		if !ok {
			return Config{}, fmt.Errorf("the url %q has a parameter %q; there are region, project, profile and endpoint", raw, name)
		}
		if len(value) != 1 || value[0] == "" {
			return Config{}, fmt.Errorf("the url %q: %s needs one value", raw, name)
		}
		*to = value[0]
	}
	return cfg, nil
}

// A Store is one project in one table. It is an [aurora.Store],
// [aurora.History] and [aurora.Locker], and is safe for concurrent use.
type Store struct {
	client  *dynamodb.Client
	options []func(*dynamodb.Options)
	table   string
	names   Names
	project string
	pk      string // of all the project's items
	log     *slog.Logger
	clock   clock
	watch   watch
}

var (
	_ aurora.Store   = (*Store)(nil)
	_ aurora.History = (*Store)(nil)
	_ aurora.Locker  = (*Store)(nil)
)

// Open prepares a store without asking the table anything: that it is missing
// shows at the first use. Credentials and region come from where the AWS SDK
// looks for them, unless the config says otherwise.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if !isTableName(cfg.Table) {
		return nil, fmt.Errorf("%q is no name for a DynamoDB table: want 3 to 255 letters, digits and _.-", cfg.Table)
	}
	s := &Store{
		client: cfg.Client, table: cfg.Table, names: cfg.Names.orDefaults(),
		project: cmp.Or(cfg.Project, DefaultProject), log: cfg.Logger,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if len(escape(s.project)) > keyLimit {
		return nil, fmt.Errorf("the project's name has more than %d bytes", keyLimit)
	}
	s.pk = "aurora#" + escape(s.project)
	if s.client == nil {
		client, err := newClient(ctx, cfg)
		if err != nil {
			return nil, fmt.Errorf("open the table %s: %w", cfg.Table, err)
		}
		s.client = client
	}
	s.options = []func(*dynamodb.Options){func(o *dynamodb.Options) { o.Retryer = newRetryer() }}
	return s, nil
}

// String names the table and the region in which it is looked for, and the
// project where that is not the default: "DynamoDB table migrations in region
// eu-west-1". It holds no secrets.
func (s *Store) String() string {
	text := "DynamoDB table " + s.table + " in " + s.place()
	if s.project != DefaultProject {
		text += ", project " + s.project
	}
	return text
}

// IsLocal reports whether the table is that of a stand-in on this machine, by
// the address of the endpoint.
func (s *Store) IsLocal() bool {
	endpoint := s.client.Options().BaseEndpoint
	if endpoint == nil {
		return false
	}
	local, err := isLocal(*endpoint)
	return err == nil && local
}

// requestTimeout bounds one attempt at a request.
const requestTimeout = 10 * time.Second

func newClient(ctx context.Context, cfg Config) (*dynamodb.Client, error) {
	// A request that the network swallows must not be waited for.
	load := []func(*awsconfig.LoadOptions) error{awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(requestTimeout))}
	if cfg.Region != "" {
		load = append(load, awsconfig.WithRegion(cfg.Region))
	}
	if cfg.Profile != "" {
		load = append(load, awsconfig.WithSharedConfigProfile(cfg.Profile))
	}
	endpoint := cmp.Or(cfg.Endpoint, os.Getenv("AWS_ENDPOINT_URL_DYNAMODB"), os.Getenv("AWS_ENDPOINT_URL"))
	local, err := isLocal(endpoint)
	if err != nil {
		return nil, err
	}
	if local && cfg.Profile == "" && !slices.ContainsFunc([]string{"AWS_PROFILE", "AWS_ACCESS_KEY_ID"}, func(v string) bool { return os.Getenv(v) != "" }) {
		// Stand-ins want a signature, but not whose. Looking for credentials
		// would end at an address that only exists in AWS.
		load = append(load, awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("local", "local", "")))
	}
	config, err := awsconfig.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	if config.Region == "" && local {
		config.Region = "us-east-1"
	}
	if config.Region == "" {
		return nil, errors.New("no AWS region: add ?region=… to the url, set AWS_REGION, or give the profile one")
	}
	return dynamodb.NewFromConfig(config, func(o *dynamodb.Options) {
		if cfg.Endpoint != "" {
			o.BaseEndpoint = aws.String(cfg.Endpoint)
		}
	}), nil
}

// isLocal reports whether an endpoint is on this machine.
func isLocal(endpoint string) (bool, error) {
	if endpoint == "" {
		return false, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return false, fmt.Errorf("the endpoint %q is no http or https URL; want something like http://localhost:8000", endpoint)
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback(), nil
}

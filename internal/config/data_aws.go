package config

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/dsql/auth"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/zclconf/go-cty/cty"
)

// maxTokenLife is the longest life of an Aurora DSQL token:
// https://docs.aws.amazon.com/aurora-dsql/latest/userguide/SECTION_authentication-token.html
const maxTokenLife = 7 * 24 * time.Hour

// TokenSource makes Aurora DSQL authentication tokens, with the arguments of a
// data "aws_dsql_token" block. A token ends 15 minutes after it was made,
// unless ExpiresIn says otherwise, so every new connection should use its own.
type TokenSource struct {
	// Endpoint is the host name of the cluster.
	Endpoint string
	// Region is the AWS region the token is signed for.
	Region string
	// Username is the database user, when the block names one.
	Username string
	// Admin selects the action DbConnectAdmin instead of DbConnect.
	Admin bool
	// Profile is the profile of the shared AWS configuration, or empty.
	Profile string
	// RoleARN is a role to assume before signing, or empty.
	RoleARN string
	// ExpiresIn is the life of a token, or 0 for the SDK's 15 minutes.
	ExpiresIn time.Duration

	mu    sync.Mutex
	creds aws.CredentialsProvider
}

// Token signs a new token. Signing needs no network, but getting credentials
// may. It is safe for concurrent use.
func (t *TokenSource) Token(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.creds == nil {
		cfg, err := loadAWS(ctx, t.Profile, t.Region, t.RoleARN)
		if err != nil {
			return "", err
		}
		t.creds = cfg.Credentials
	}
	sign := auth.GenerateDbConnectAuthToken
	if t.Admin {
		sign = auth.GenerateDBConnectAdminAuthToken
	}
	token, err := sign(ctx, t.Endpoint, t.Region, t.creds, func(o *auth.TokenOptions) { o.ExpiresIn = t.ExpiresIn })
	if err != nil {
		return "", fmt.Errorf("signing a token for %s: %w", t.Endpoint, credentialsHint(err))
	}
	return token, nil
}

// action returns the IAM action the token asks for.
func (t *TokenSource) action() string {
	if t.Admin {
		return "DbConnectAdmin"
	}
	return "DbConnect"
}

// loadAWS loads the AWS configuration; an empty region leaves it to the
// configuration.
func loadAWS(ctx context.Context, profile, region, role string) (aws.Config, error) {
	var opts []func(*awsconfig.LoadOptions) error
	if profile != "" {
		opts = append(opts, awsconfig.WithSharedConfigProfile(profile))
	}
	if region != "" {
		opts = append(opts, awsconfig.WithRegion(region))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return cfg, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	if role != "" {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), role))
	}
	return cfg, nil
}

// credentialsHint says what to do when there are no AWS credentials.
func credentialsHint(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w; log in to AWS, set AWS_PROFILE or profile = …, or choose an env that needs no token", err)
}

// dsqlHost splits the host name of an Aurora DSQL cluster,
// <id>.dsql.<region>.on.aws, or of its private endpoint, <id>.dsql-<x>.<region>.on.aws.
func dsqlHost(host string) (id, region string, ok bool) {
	parts := strings.Split(strings.ToLower(strings.TrimSuffix(host, ".")), ".")
	if len(parts) != 5 || parts[3] != "on" || parts[4] != "aws" || parts[2] == "" ||
		(parts[1] != "dsql" && !strings.HasPrefix(parts[1], "dsql-")) {
		return "", "", false
	}
	return parts[0], parts[2], true
}

// dsqlTokenSource is data "aws_dsql_token". It takes the arguments of Atlas
// (endpoint, region, admin, profile) and of the earlier aurora tool
// (endpoint, region, username; the user admin asks for an admin token).
func dsqlTokenSource(ctx context.Context, b *dataBlock) (cty.Value, error) {
	t := &TokenSource{
		Endpoint:  bareHost(b.required("endpoint")),
		Region:    b.str("region"),
		Username:  b.str("username"),
		Profile:   b.str("profile"),
		RoleARN:   b.str("role_arn"),
		ExpiresIn: b.seconds("expires_in"),
	}
	admin := attr(b.d, b.block.Body, "admin", toBool)
	t.Admin = admin.Or(t.Username == "admin")
	if at := b.block.Body.Attributes["expires_in"]; at != nil && b.ok() && (t.ExpiresIn > maxTokenLife || t.ExpiresIn > 0 && t.ExpiresIn < time.Second) {
		b.d.fail(errAt(at.SrcRange, "", "%s: expires_in must be from 1 second to 7 days", b.name()))
	}
	if !b.ok() {
		return cty.NilVal, nil
	}
	_, hostRegion, isDSQL := dsqlHost(t.Endpoint)
	if t.Region == "" {
		cfg, err := loadAWS(ctx, t.Profile, "", "")
		if err != nil {
			return cty.NilVal, err
		}
		t.Region = cfg.Region
		// A token for another region than the endpoint's never works, so the
		// configuration's default does not count when it contradicts the name.
		if isDSQL && (t.Region == "" || t.Region != hostRegion) {
			t.Region = hostRegion
		}
	}
	if t.Region == "" {
		return cty.NilVal, errors.New("no region: set region = …, AWS_REGION, or use an endpoint like <id>.dsql.<region>.on.aws")
	}
	if isDSQL && t.Region != hostRegion {
		b.ev.doc.warn(b.block.DefRange(), "%s signs for region %s, but its endpoint is in %s", b.name(), t.Region, hostRegion)
	}
	token, err := t.Token(ctx)
	if err != nil {
		return cty.NilVal, err
	}
	b.secret(token)
	b.ev.tokens[token] = t
	return cty.StringVal(token), nil
}

// bareHost removes a scheme and a port: a token is signed for the name alone.
func bareHost(endpoint string) string {
	if _, rest, ok := strings.Cut(endpoint, "://"); ok {
		endpoint = rest
	}
	endpoint, _, _ = strings.Cut(endpoint, "/")
	if host, _, err := net.SplitHostPort(endpoint); err == nil {
		return host
	}
	return endpoint
}

// rdsTokenSource is data "aws_rds_token". The token is a presigned request to
// the service rds-db, without its scheme, valid for 15 minutes:
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
func rdsTokenSource(ctx context.Context, b *dataBlock) (cty.Value, error) {
	const (
		life        = "900"
		emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	)
	endpoint, user := b.required("endpoint"), b.required("username")
	region, profile, role := b.str("region"), b.str("profile"), b.str("role_arn")
	if !b.ok() {
		return cty.NilVal, nil
	}
	if _, _, err := net.SplitHostPort(endpoint); err != nil {
		return cty.NilVal, errors.New("endpoint must be host:port")
	}
	cfg, err := loadAWS(ctx, profile, region, role)
	if err != nil {
		return cty.NilVal, err
	}
	if cfg.Region == "" {
		return cty.NilVal, errors.New("no region: set region = … or AWS_REGION")
	}
	creds, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return cty.NilVal, fmt.Errorf("getting AWS credentials: %w", credentialsHint(err))
	}
	query := url.Values{"Action": {"connect"}, "DBUser": {user}, "X-Amz-Expires": {life}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+endpoint+"/?"+query.Encode(), nil)
	if err != nil {
		return cty.NilVal, errors.New("endpoint is not a host name and a port")
	}
	signed, _, err := v4.NewSigner().PresignHTTP(ctx, creds, req, emptySHA256, "rds-db", cfg.Region, time.Now().UTC())
	if err != nil {
		return cty.NilVal, fmt.Errorf("signing a token: %w", err)
	}
	token := strings.TrimPrefix(signed, "https://")
	b.secret(token)
	return cty.StringVal(token), nil
}

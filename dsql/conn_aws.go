package dsql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/dsql/auth"
)

// A signer makes tokens with the AWS SDK's credentials: of the environment, the
// shared configuration, single sign-on, or the machine's role. Signing itself
// needs no network.
type signer struct {
	profile string

	mu     sync.Mutex
	creds  aws.CredentialsProvider
	region string // of the configuration
}

var errNoRegion = errors.New("no region: say ?region=… in the url, or set AWS_REGION")

// token is a [TokenFunc]. A token ends 15 minutes after it was made.
func (s *signer) token(ctx context.Context, host, region, role string) (string, error) {
	creds, own, err := s.load(ctx)
	if err != nil {
		return "", err
	}
	if region = cmp.Or(region, own); region == "" {
		return "", errNoRegion
	}
	sign := auth.GenerateDbConnectAuthToken
	if role == adminRole {
		sign = auth.GenerateDBConnectAdminAuthToken
	}
	token, err := sign(ctx, host, region, creds)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return token, nil
}

// load reads the AWS configuration once; what failed is tried again.
func (s *signer) load(ctx context.Context) (aws.CredentialsProvider, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.creds != nil {
		return s.creds, s.region, nil
	}
	var options []func(*awsconfig.LoadOptions) error
	if s.profile != "" {
		options = append(options, awsconfig.WithSharedConfigProfile(s.profile))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, "", fmt.Errorf("load the AWS configuration: %w", err)
	}
	s.creds, s.region = cfg.Credentials, cfg.Region
	return s.creds, s.region, nil
}

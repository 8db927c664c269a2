package account

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go/logging"
)

// Options say which account.
type Options struct {
	Files Files
	// Profile is the profile's name. Empty means what the environment has:
	// keys, a role, or the default profile.
	Profile string
	// Region overrides the profile's.
	Region string
}

// An Account is a person's way into an AWS account.
type Account struct {
	cfg   aws.Config
	login []string
}

// A LoginError says that the credentials of a profile are not valid any more,
// or not yet, and that signing in again helps.
type LoginError struct {
	Profile string
	Command []string // "aws", "sso", "login", …
	Err     error
}

// Error gives the reason.
func (e *LoginError) Error() string {
	return fmt.Sprintf("the AWS sign-in of the profile %q is not valid: %v", e.Profile, e.Err)
}

// Hint gives the command.
func (e *LoginError) Hint() string { return "sign in again with: " + strings.Join(e.Command, " ") }

// Unwrap returns the reason.
func (e *LoginError) Unwrap() error { return e.Err }

// Open loads a profile. It does not ask AWS anything yet, but for the profile's
// kinds that need it to find credentials, which the first request does. Errors
// for credentials are a [*LoginError] where the person can sign in again, also
// later: a session may end while the account is used.
func Open(ctx context.Context, o Options) (*Account, error) {
	a := &Account{}
	load := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithSharedConfigFiles([]string{o.Files.Config}),
		awsconfig.WithSharedCredentialsFiles([]string{o.Files.Credentials}),
		awsconfig.WithLogger(logging.Nop{}), // what matters comes as an error
	}
	if o.Profile != "" {
		var err error
		if a.login, err = o.Files.Login(ctx, o.Profile); err != nil {
			return nil, err
		}
		load = append(load, awsconfig.WithSharedConfigProfile(o.Profile))
	}
	if o.Region != "" {
		load = append(load, awsconfig.WithRegion(o.Region))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, a.explain(o.Profile, fmt.Errorf("read the AWS configuration: %w", err))
	}
	if cfg.Region == "" {
		return nil, errors.New("no AWS region is set; give --region, or set it in the profile or in AWS_REGION")
	}
	if cfg.Credentials != nil {
		cfg.Credentials = aws.NewCredentialsCache(&explaining{a, o.Profile, cfg.Credentials}, func(o *aws.CredentialsCacheOptions) {
			o.ExpiryWindow = 10 * time.Second
		})
	}
	a.cfg = cfg
	return a, nil
}

// explaining turns failures of credentials into errors that say what to do.
type explaining struct {
	account *Account
	profile string
	next    aws.CredentialsProvider
}

func (e *explaining) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := e.next.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		err = e.account.explain(e.profile, err)
	}
	return c, err
}

// explain takes every failure of a profile that signs in through a browser for
// one that signing in again mends: the SDK has no one type for it.
func (a *Account) explain(profile string, err error) error {
	if a.login == nil {
		return err
	}
	return &LoginError{Profile: profile, Command: a.login, Err: err}
}

// Check asks for credentials. It returns a [*LoginError] where signing in
// again helps.
func (a *Account) Check(ctx context.Context) error {
	if a.cfg.Credentials == nil {
		return errors.New("there are no AWS credentials")
	}
	if _, err := a.cfg.Credentials.Retrieve(ctx); err != nil {
		return fmt.Errorf("find AWS credentials: %w", err)
	}
	return nil
}

// Region returns the region.
func (a *Account) Region() string { return a.cfg.Region }

// DynamoDB returns a client.
func (a *Account) DynamoDB() *dynamodb.Client { return dynamodb.NewFromConfig(a.cfg) }

// Lambda returns a client.
func (a *Account) Lambda() *lambda.Client { return lambda.NewFromConfig(a.cfg) }

// Run runs a command that signs in, with the streams of cmd's caller set by
// prepare. It returns an error with the command where the AWS CLI is missing.
func (e *LoginError) Run(ctx context.Context, prepare func(*exec.Cmd)) error {
	path, err := exec.LookPath(e.Command[0])
	if err != nil {
		return fmt.Errorf("the AWS CLI is not installed, or not on the PATH; install it, then run: %s", strings.Join(e.Command, " "))
	}
	cmd := exec.CommandContext(ctx, path, e.Command[1:]...)
	prepare(cmd)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(e.Command, " "), err)
	}
	return nil
}

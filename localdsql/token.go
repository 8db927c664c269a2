package localdsql

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/feature/dsql/auth"
)

// MaxTokenLife is the longest time a token can be valid for (Aurora DSQL user
// guide, "Generating an authentication token").
const MaxTokenLife = 604800 * time.Second

// DefaultRegion is the AWS Region a cluster says it is in when Config has none.
const DefaultRegion = "us-east-1"

// What a token is made of (Signature Version 4, query parameters).
const (
	tokenService   = "dsql"
	tokenAlgorithm = "AWS4-HMAC-SHA256"
	tokenTime      = "20060102T150405Z"
	adminAction    = "DbConnectAdmin"
	userAction     = "DbConnect"
	emptyHash      = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	// maxToken is far more than a token with a session token in it has.
	maxToken = 16 << 10
	// clockSkew is how far ahead a client's clock may be.
	clockSkew = 5 * time.Minute
)

// adminRole is the role every cluster has.
const adminRole = "admin"

// actionOf returns the action a token for a role must name.
func actionOf(user string) string {
	if user == adminRole {
		return adminAction
	}
	return userAction
}

// localKey signs tokens where nobody checks the signature.
const localKey = "local"

// newToken makes a token as the AWS SDK does. A zero life means the SDK's
// default of 15 minutes; the resolution is a second.
func newToken(ctx context.Context, host, region, user, secret string, life time.Duration) (string, error) {
	if life < 0 || life > MaxTokenLife {
		return "", fmt.Errorf("make a token: valid for %s: want at most %s", life, MaxTokenLife)
	}
	if life != 0 && life < time.Second {
		return "", fmt.Errorf("make a token: valid for %s: want at least a second", life)
	}
	if secret == "" {
		secret = localKey
	}
	creds := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: localKey, SecretAccessKey: secret, Source: "localdsql"}, nil
	})
	generate := auth.GenerateDbConnectAuthToken
	if actionOf(user) == adminAction {
		generate = auth.GenerateDBConnectAdminAuthToken
	}
	token, err := generate(ctx, host, region, creds, func(o *auth.TokenOptions) { o.ExpiresIn = life })
	if err != nil {
		return "", fmt.Errorf("make a token: %w", err)
	}
	return token, nil
}

// A token is an authentication token taken apart.
type token struct {
	host         string // without port, lower case
	action       string
	accessKey    string
	sessionToken string
	region       string
	signed       time.Time
	life         time.Duration
	signature    string
	url          *url.URL // the whole, with the scheme that the signature has
}

// tokenError says why a token is refused.
type tokenError struct{ reason string }

func (e *tokenError) Error() string { return e.reason }

func badToken(format string, args ...any) error {
	return &tokenError{"the password is not an authentication token: " + fmt.Sprintf(format, args...)}
}

// parseToken reads a token. It accepts what the SDKs write: "host?Action=…" and
// "host/?Action=…". Every error is a *tokenError and quotes nothing of the
// text, which may be somebody's password.
func parseToken(s string) (token, error) {
	if s == "" {
		return token{}, badToken("it is empty")
	}
	if len(s) > maxToken {
		return token{}, badToken("it has more than %d bytes", maxToken)
	}
	if strings.Contains(s, "://") {
		return token{}, badToken("it has a scheme")
	}
	u, err := url.Parse("https://" + s)
	if err != nil || u.User != nil || u.Fragment != "" || u.Path != "" && u.Path != "/" || u.Hostname() == "" || u.RawQuery == "" {
		return token{}, badToken("want HOST?Action=…")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return token{}, badToken("its parameters are malformed")
	}
	value := func(name string) string { return query.Get(name) }
	for name, values := range query {
		if len(values) != 1 {
			return token{}, badToken("%s is there %d times", printable(name), len(values))
		}
	}
	t := token{host: strings.ToLower(u.Hostname()), action: value("Action"), sessionToken: value("X-Amz-Security-Token"), signature: value("X-Amz-Signature"), url: u}
	if value("X-Amz-Algorithm") != tokenAlgorithm {
		return token{}, badToken("X-Amz-Algorithm is not %s", tokenAlgorithm)
	}
	if value("X-Amz-SignedHeaders") != "host" {
		return token{}, badToken("X-Amz-SignedHeaders is not host")
	}
	if b, err := hex.DecodeString(t.signature); err != nil || len(b) != 32 {
		return token{}, badToken("X-Amz-Signature is not 64 hexadecimal digits")
	}
	if t.signed, err = time.Parse(tokenTime, value("X-Amz-Date")); err != nil {
		return token{}, badToken("X-Amz-Date is not a time such as %s", tokenTime)
	}
	seconds, err := strconv.Atoi(value("X-Amz-Expires"))
	if t.life = time.Duration(seconds) * time.Second; err != nil || seconds < 1 || seconds > int(MaxTokenLife/time.Second) {
		return token{}, badToken("X-Amz-Expires is not a number of seconds from 1 to %d", MaxTokenLife/time.Second)
	}
	scope := strings.Split(value("X-Amz-Credential"), "/")
	if len(scope) != 5 || scope[0] == "" || scope[2] == "" || scope[4] != "aws4_request" {
		return token{}, badToken("X-Amz-Credential is not KEY/DATE/REGION/%s/aws4_request", tokenService)
	}
	if scope[1] != t.signed.Format("20060102") {
		return token{}, badToken("X-Amz-Credential and X-Amz-Date are of different days")
	}
	if scope[3] != tokenService {
		return token{}, badToken("it is for another service than %s", tokenService)
	}
	t.accessKey, t.region = scope[0], scope[2]
	return t, nil
}

// printable keeps what a stranger sent from garbling a message.
func printable(s string) string {
	if len(s) > 40 {
		s = s[:40]
	}
	return strconv.QuoteToASCII(s)
}

// tokenRules are what a token is checked against.
type tokenRules struct {
	now    time.Time
	user   string
	host   func(string) bool // whether a host of a token is this cluster
	region string            // "" takes any
	secret string            // "" takes any signature
}

// check says whether a token lets its bearer in; the error is a *tokenError.
func (t token) check(ctx context.Context, r tokenRules) error {
	if !r.host(t.host) {
		return &tokenError{fmt.Sprintf("the token is for host %s", printable(t.host))}
	}
	if r.region != "" && t.region != r.region {
		return &tokenError{fmt.Sprintf("the token is for region %s, and the cluster is in %s", printable(t.region), r.region)}
	}
	if want := actionOf(r.user); t.action != want {
		return &tokenError{fmt.Sprintf("the token's action is %s, and user %s needs %s", printable(t.action), printable(r.user), want)}
	}
	// The wording of both is Signature Version 4's.
	if ahead := r.now.Add(clockSkew); t.signed.After(ahead) {
		return &tokenError{fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 5 min.)", t.signed.Format(tokenTime), amzTime(ahead), amzTime(r.now))}
	}
	if !r.now.Before(t.signed.Add(t.life)) {
		return expired(t.signed, r.now, t.life)
	}
	if r.secret == "" {
		return nil
	}
	want, err := t.sign(ctx, r.secret)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(t.signature)) != 1 {
		return &tokenError{"the token's signature does not match: it was signed with another secret"}
	}
	return nil
}

func expired(signed, now time.Time, life time.Duration) error {
	return &tokenError{fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - %s)", amzTime(signed), amzTime(now.Add(-life)), amzTime(now), amzDuration(life))}
}

func amzTime(t time.Time) string { return t.UTC().Format(tokenTime) }

func amzDuration(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d min.", d/time.Minute)
	}
	return fmt.Sprintf("%d s.", d/time.Second)
}

// sign returns the signature the token would have if it was made with secret.
func (t token) sign(ctx context.Context, secret string) (string, error) {
	query := t.url.Query()
	query.Del("X-Amz-Signature")
	u := *t.url
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", &tokenError{"the token cannot be signed anew"}
	}
	creds := aws.Credentials{AccessKeyID: t.accessKey, SecretAccessKey: secret, SessionToken: t.sessionToken}
	signed, _, err := v4.NewSigner().PresignHTTP(ctx, creds, req, emptyHash, tokenService, t.region, t.signed)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	v, err := url.Parse(signed)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", errors.Unwrap(err))
	}
	return v.Query().Get("X-Amz-Signature"), nil
}

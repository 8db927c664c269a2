package localdsql

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dsql/auth"
)

const clusterHost = "kuabu2dmnqz7lnwq7s3opqjzry.dsql.eu-west-1.on.aws"

// sdkToken makes a token as a user's program does.
func sdkToken(t testing.TB, host, user, secret, session string, life time.Duration) string {
	t.Helper()
	creds := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: secret, SessionToken: session}, nil
	})
	generate := auth.GenerateDbConnectAuthToken
	if user == adminRole {
		generate = auth.GenerateDBConnectAdminAuthToken
	}
	token, err := generate(context.Background(), host, "eu-west-1", creds, func(o *auth.TokenOptions) { o.ExpiresIn = life })
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// rules are those of the cluster that sdkToken's tokens are for.
func rules(user, secret string) tokenRules {
	return tokenRules{now: time.Now(), user: user, host: func(h string) bool { return h == clusterHost }, region: "eu-west-1", secret: secret}
}

func TestTokenOfSDKIsAccepted(t *testing.T) {
	for _, user := range []string{adminRole, "app"} {
		for _, session := range []string{"", "IQoJb3JpZ2luX2VjE+/=="} {
			for _, host := range []string{clusterHost, clusterHost + ":5432", strings.ToUpper(clusterHost)} {
				text := sdkToken(t, host, user, "s3cret", session, 0)
				for _, text := range []string{text, strings.Replace(text, "?", "/?", 1)} {
					token, err := parseToken(text)
					if err != nil {
						t.Fatalf("%s: %v", text, err)
					}
					if err := token.check(t.Context(), rules(user, "s3cret")); err != nil {
						t.Errorf("%s: %v", text, err)
					}
				}
			}
		}
	}
}

func TestOwnTokenIsAccepted(t *testing.T) {
	for _, life := range []time.Duration{0, time.Second, MaxTokenLife} {
		text, err := newToken(t.Context(), clusterHost, "eu-west-1", "app", "s3cret", life)
		if err != nil {
			t.Fatal(err)
		}
		token, err := parseToken(text)
		if err != nil {
			t.Fatal(err)
		}
		r := rules("app", "s3cret")
		r.now = token.signed
		if err := token.check(t.Context(), r); err != nil {
			t.Error(err)
		}
		if life == 0 {
			life = 15 * time.Minute
		}
		if token.life != life {
			t.Errorf("the token lives for %s, want %s", token.life, life)
		}
	}
	for _, life := range []time.Duration{-1, time.Millisecond, MaxTokenLife + 1} {
		if _, err := newToken(t.Context(), clusterHost, "eu-west-1", "app", "", life); err == nil {
			t.Errorf("a token that lives for %s was made", life)
		}
	}
}

func TestTokenIsRefused(t *testing.T) {
	good := sdkToken(t, clusterHost, "app", "s3cret", "", 0)
	change := func(name, value string) string {
		u, err := url.Parse("https://" + good)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if value == "" {
			q.Del(name)
		} else {
			q.Set(name, value)
		}
		return u.Host + "?" + q.Encode()
	}
	tests := []struct {
		name, token, want string
		edit              func(*tokenRules)
	}{
		{"empty", "", "it is empty", nil},
		{"a password", "correct horse battery staple", "want HOST?Action=", nil},
		{"a scheme", "https://" + good, "it has a scheme", nil},
		{"a path", strings.Replace(good, "?", "/admin?", 1), "want HOST?Action=", nil},
		{"a user", "me@" + good, "want HOST?Action=", nil},
		{"too long", good + "&x=" + strings.Repeat("y", maxToken), "more than 16384 bytes", nil},
		{"twice", good + "&Action=DbConnectAdmin", `"Action" is there 2 times`, nil},
		{"algorithm", change("X-Amz-Algorithm", "none"), "X-Amz-Algorithm", nil},
		{"signed headers", change("X-Amz-SignedHeaders", "date"), "X-Amz-SignedHeaders", nil},
		{"signature", change("X-Amz-Signature", "00"), "64 hexadecimal digits", nil},
		{"no date", change("X-Amz-Date", ""), "X-Amz-Date", nil},
		{"expires too late", change("X-Amz-Expires", "604801"), "from 1 to 604800", nil},
		{"expires at once", change("X-Amz-Expires", "0"), "from 1 to 604800", nil},
		{"credential", change("X-Amz-Credential", "AKIA"), "X-Amz-Credential", nil},
		{"service", strings.Replace(good, "%2Fdsql%2F", "%2Frds-db%2F", 1), "another service", nil},
		{"day", change("X-Amz-Date", "20200101T000000Z"), "different days", nil},
		{"host", good, `the token is for host "kuabu2`, func(r *tokenRules) { r.host = func(string) bool { return false } }},
		{"region", good, `for region "eu-west-1", and the cluster is in us-east-2`, func(r *tokenRules) { r.region = "us-east-2" }},
		{"action", good, `action is "DbConnect", and user "admin" needs DbConnectAdmin`, func(r *tokenRules) { r.user = adminRole }},
		{"expired", good, "Signature expired: ", func(r *tokenRules) { r.now = r.now.Add(15*time.Minute + time.Second) }},
		{"from the future", good, "Signature not yet current: ", func(r *tokenRules) { r.now = r.now.Add(-6 * time.Minute) }},
		{"other secret", good, "signed with another secret", func(r *tokenRules) { r.secret = "other" }},
		{"signature of another action", strings.Replace(sdkToken(t, clusterHost, adminRole, "s3cret", "", 0), "DbConnectAdmin", "DbConnect", 1), "signed with another secret", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := rules("app", "s3cret")
			if tt.edit != nil {
				tt.edit(&r)
			}
			token, err := parseToken(tt.token)
			if err == nil {
				err = token.check(t.Context(), r)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestExpiryNamesBothTimes(t *testing.T) {
	signed := time.Date(2026, 9, 15, 10, 0, 0, 0, time.UTC)
	got := expired(signed, signed.Add(20*time.Minute), 15*time.Minute).Error()
	want := "Signature expired: 20260915T100000Z is now earlier than 20260915T100500Z (20260915T102000Z - 15 min.)"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// FuzzToken looks for panics, and for tokens that are taken although nobody
// with the secret has made them.
func FuzzToken(f *testing.F) {
	good := sdkToken(f, clusterHost, "app", "s3cret", "session", 0)
	f.Add(good)
	f.Add(strings.Replace(good, "?", "/?", 1))
	f.Add("[::1]:5432?Action=DbConnect")
	f.Add("host?X-Amz-Date=%zz;a=b")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := parseToken(text)
		if err != nil {
			return
		}
		r := rules("app", "s3cret")
		r.now = token.signed
		if err := token.check(t.Context(), r); err != nil {
			return
		}
		if !strings.Contains(text, token.signature) {
			t.Fatalf("accepted %q", text)
		}
		signature, err := token.sign(t.Context(), "s3cret")
		if err != nil || signature != token.signature {
			t.Fatalf("accepted %q: %v", text, err)
		}
	})
}

package localdsql_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dsql/auth"
	"github.com/jackc/pgx/v5"

	"github.com/aurora-migrate/aurora/localdsql"
)

// withToken returns a cluster's URL with another token.
func withToken(t *testing.T, c *localdsql.Cluster, token string) string {
	t.Helper()
	u, err := url.Parse(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(u.User.Username(), token)
	return u.String()
}

func TestTokenOfSDKLogsIn(t *testing.T) {
	c := localdsql.StartCluster(t, localdsql.Config{})
	creds := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "whatever", SessionToken: "IQoJb3JpZ2luX2Vj+/=="}, nil
	})
	token, err := auth.GenerateDBConnectAdminAuthToken(t.Context(), c.Host(), "ap-northeast-1", creds)
	if err != nil {
		t.Fatal(err)
	}
	connect(t, withToken(t, c, token))
}

func TestTokenExpires(t *testing.T) {
	c := localdsql.StartCluster(t, localdsql.Config{})
	token, err := c.Token(t.Context(), "admin", 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	url := withToken(t, c, token)
	conn := connect(t, url)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		other, err := pgx.Connect(t.Context(), url)
		if err == nil {
			if err := other.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if time.Now().After(deadline) {
				t.Fatal("a token for two seconds is good for a minute")
			}
			continue
		}
		if got, want := code(err), "28000 unable to accept connection, access denied Signature expired: "; !strings.HasPrefix(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
		break
	}
	exec1(t, conn, "SELECT 1") // a connection outlives its token
}

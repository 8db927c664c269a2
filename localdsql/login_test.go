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
	const tooLate = "28000 unable to accept connection, access denied Signature expired: "
	var url string
	var conn *pgx.Conn
	for life := 2 * time.Second; conn == nil; life *= 2 {
		token, err := c.Token(t.Context(), "admin", life)
		if err != nil {
			t.Fatal(err)
		}
		url = withToken(t, c, token)
		conn, err = pgx.Connect(t.Context(), url)
		if err != nil && !strings.HasPrefix(code(err), tooLate) { // a busy machine may take more time than that
			t.Fatal(err)
		}
	}
	defer conn.Close(context.Background())
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		other, err := pgx.Connect(t.Context(), url)
		if err == nil {
			if err := other.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if time.Now().After(deadline) {
				t.Fatal("the token does not expire")
			}
			continue
		}
		if got := code(err); !strings.HasPrefix(got, tooLate) {
			t.Errorf("got %s, want %s", got, tooLate)
		}
		break
	}
	exec1(t, conn, "SELECT 1") // a connection outlives its token
}

package lambdahandler_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aurora-migrate/aurora/lambdahandler"
)

func TestCaller(t *testing.T) {
	h := lambdahandler.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok := lambdahandler.Caller(r.Context())
		_, _ = fmt.Fprintf(w, "%s %v", who, ok) // a recorder never fails
	}))
	for authorizer, want := range map[string]string{
		`null`: " false",
		`{}`:   " false",
		`{"jwt":{"claims":{"sub":"1","email":"ada@example.com"},"scopes":null}}`:                        "ada@example.com true",
		`{"jwt":{"claims":{"sub":"1"}}}`:                                                                "1 true",
		`{"iam":{"userArn":"arn:aws:sts::1:assumed-role/ops/ada","userId":"AROA:ada","accountId":"1"}}`: "arn:aws:sts::1:assumed-role/ops/ada true",
		`{"lambda":{"principalId":"ada"}}`:                                                              "ada true",
		`{"lambda":{"principalId":7}}`:                                                                  " false",
	} {
		// What the client says of itself does not count.
		event := `{"version":"2.0","rawPath":"/","headers":{"x-amzn-oidc-identity":"eve","authorizer":"eve"},"requestContext":{"http":{"method":"GET","path":"/"},"authorizer":` + authorizer + `}}`
		out, err := h.Invoke(t.Context(), []byte(event))
		if err != nil || !strings.Contains(string(out), `"body":"`+want+`"`) {
			t.Errorf("%s: %s, %v", authorizer, out, err)
		}
	}
}

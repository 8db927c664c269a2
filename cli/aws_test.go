package cli

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/internal/config"
)

func TestAWSVariables(t *testing.T) {
	set := func(s string) config.Setting[string] { return config.Setting[string]{Value: s, Set: s != ""} }
	tests := []struct {
		name                      string
		region, profile, endpoint string
		env                       map[string]string
		want                      map[string]string
	}{
		{name: "nothing", env: map[string]string{awsRegion: "x"}, want: map[string]string{}},
		{name: "a region", region: "eu-west-1", want: map[string]string{awsRegion: "eu-west-1"}},
		{
			name: "a profile counts more than keys", profile: "deploy", env: map[string]string{awsKey: "k"},
			want: map[string]string{awsProfile: "deploy", awsKey: "", awsSecret: "", awsToken: ""},
		},
		{
			name: "a stand-in", endpoint: "http://localhost:8000",
			want: map[string]string{awsEndpoint: "http://localhost:8000", awsKey: "local", awsSecret: "local", awsRegion: "us-east-1"},
		},
		{
			name: "a stand-in, and keys and a region in the environment", endpoint: "http://127.0.0.1:8000",
			env:  map[string]string{awsKey: "k", "AWS_DEFAULT_REGION": "r"},
			want: map[string]string{awsEndpoint: "http://127.0.0.1:8000"},
		},
		{name: "an endpoint elsewhere", endpoint: "https://vpce.example.com", want: map[string]string{awsEndpoint: "https://vpce.example.com"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			block := config.AWS{Region: set(tt.region), Profile: set(tt.profile), Endpoint: set(tt.endpoint)}
			got := awsVariables(block, func(name string) string { return tt.env[name] })
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestExportAWS(t *testing.T) {
	for _, name := range []string{awsRegion, awsProfile, awsEndpoint, awsKey, awsSecret, awsToken} {
		t.Setenv(name, "") // puts it back after the test
	}
	put(awsRegion, "")
	put(awsKey, "mine")
	env := &config.Env{AWS: config.AWS{
		Region: config.Setting[string]{Value: "eu-west-1", Set: true}, Profile: config.Setting[string]{Value: "deploy", Set: true},
	}}
	restore := exportAWS(settings{env: env})
	if os.Getenv(awsRegion) != "eu-west-1" || os.Getenv(awsProfile) != "deploy" || os.Getenv(awsKey) != "" {
		t.Errorf("during the run: %q, %q, %q", os.Getenv(awsRegion), os.Getenv(awsProfile), os.Getenv(awsKey))
	}
	restore()
	if _, ok := os.LookupEnv(awsRegion); ok || os.Getenv(awsProfile) != "" || os.Getenv(awsKey) != "mine" {
		t.Errorf("after the run: %q, %q, %q", os.Getenv(awsRegion), os.Getenv(awsProfile), os.Getenv(awsKey))
	}
	exportAWS(settings{})()
}

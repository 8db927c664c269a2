package cli

import (
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/aurora-migrate/aurora/internal/config"
)

// The variables by which the AWS SDKs are told what to do
// (docs.aws.amazon.com/sdkref, "Settings reference").
const (
	awsRegion   = "AWS_REGION"
	awsProfile  = "AWS_PROFILE"
	awsEndpoint = "AWS_ENDPOINT_URL"
	awsKey      = "AWS_ACCESS_KEY_ID"
	awsSecret   = "AWS_SECRET_ACCESS_KEY"
	awsToken    = "AWS_SESSION_TOKEN"
)

// exportAWS puts an environment's aws block into the variables of this process,
// where the AWS SDK finds it, that of a step of somebody else's code too. The
// function it returns puts them back.
func exportAWS(s settings) (restore func()) {
	if s.env == nil {
		return func() {}
	}
	set := awsVariables(s.env.AWS, os.Getenv)
	if set[awsKey] != "" && s.isDSQL() && !strings.HasPrefix(s.url, "local://") {
		// The cluster is none of a stand-in, and wants true keys.
		delete(set, awsKey)
		delete(set, awsSecret)
	}
	before := make(map[string]string)
	for name, value := range set {
		if old, ok := os.LookupEnv(name); ok {
			before[name] = old
		}
		put(name, value)
	}
	return func() {
		for name := range set {
			put(name, before[name])
		}
	}
}

// put sets a variable, or unsets it for an empty value, which the SDK takes for
// the same.
func put(name, value string) {
	if value == "" {
		_ = os.Unsetenv(name) // fails for no valid name
		return
	}
	_ = os.Setenv(name, value)
}

// awsVariables are the variables that a block changes; an empty value unsets.
func awsVariables(block config.AWS, getenv func(string) string) map[string]string {
	set := make(map[string]string)
	for name, s := range map[string]config.Setting[string]{awsRegion: block.Region, awsProfile: block.Profile, awsEndpoint: block.Endpoint} {
		if s.Set {
			set[name] = s.Value
		}
	}
	if block.Profile.Set {
		// Keys in the environment would count more than a profile.
		set[awsKey], set[awsSecret], set[awsToken] = "", "", ""
	}
	if !isLoopback(block.Endpoint.Value) {
		return set
	}
	// A stand-in wants a signature, but not whose, and any region. Looking for
	// them would end at an address that only exists in AWS.
	if !block.Profile.Set && getenv(awsProfile) == "" && getenv(awsKey) == "" {
		set[awsKey], set[awsSecret] = "local", "local"
	}
	if !block.Region.Set && getenv(awsRegion) == "" && getenv("AWS_DEFAULT_REGION") == "" {
		set[awsRegion] = "us-east-1"
	}
	return set
}

// isLoopback reports whether a URL leads to this machine.
func isLoopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

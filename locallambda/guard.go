package locallambda

import (
	"net"
	"net/http"
	"strings"
)

// localOnly refuses what comes from a web page. Any page that a browser on
// this machine shows can send requests to its ports, and with a name of its own
// that leads here read the answers too. A browser says in Sec-Fetch-Site or
// Origin that it asks (Fetch Standard, "Origin header"; Fetch Metadata Request
// Headers), and in Host by which name; other clients of the API do not set the
// former, and know this machine as localhost or by its address.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Values("Origin") != nil || r.Header.Values("Sec-Fetch-Site") != nil:
			writeError(rw, http.StatusForbidden, "AccessDeniedException", "the local Lambda does not answer browsers: use curl, the AWS CLI or an SDK")
		case !isLocal(r.Host):
			writeError(rw, http.StatusForbidden, "AccessDeniedException", "the local Lambda answers as localhost or 127.0.0.1 only, and was asked as another host")
		default:
			next.ServeHTTP(rw, r)
		}
	})
}

// isLocal reports whether a host, with or without a port, is this machine.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

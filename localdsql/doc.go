// Package localdsql is Aurora DSQL on your own machine: PostgreSQL's own server
// programs behind a server that speaks PostgreSQL's protocol and enforces
// Aurora DSQL's rules, with its SQLSTATEs and messages.
//
// # In a test
//
//	func TestOrders(t *testing.T) {
//		pool, err := pgxpool.New(t.Context(), localdsql.Start(t))
//		…
//	}
//
// [Start] gives every call a cluster of its own, and the PostgreSQL behind them
// is one for the test binary. [StartCluster] takes a [Config], and a [Faults]
// makes conflicts, lost connections and failing jobs happen when a test wants
// them.
//
// # In a program
//
// [Open] starts, or joins, the PostgreSQL of a directory, and [Server.Cluster]
// serves one cluster of it. [Serve] does both for other processes to find
// ("aurora local up"), and [Connect] uses what Serve left or, when nothing
// runs, serves for itself.
//
// # Connections
//
// As with Aurora DSQL, a client has to use TLS, to name the host in the
// handshake (SNI), and to give an authentication token as its password. Any
// credentials may sign a token unless Config.Secret is set: what a laptop has
// no IAM for, it does not check. All else about a token is checked: the action
// against the role, the host, the time. An IP address is no host name and so
// is refused, as "sni was not received": say localhost.
//
// The server listens on loopback addresses only.
//
// # Beyond Aurora DSQL
//
// Roles belong to the PostgreSQL server and not to one cluster: two clusters of
// the same server share their roles' names. A test that creates roles while
// others do sets Config.Throwaway, for a server of its own.
package localdsql

package dsql

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/internal/pgstore"
)

// ErrTarget says that a URL can be read, but asks for what Aurora DSQL does not
// have or what would not be safe.
var ErrTarget = errors.New("the database url does not do for Aurora DSQL")

// A TokenFunc makes the password of one connection: an authentication token
// for a database role of the cluster with this host name. The region is empty
// where neither the host name nor the URL tells it.
type TokenFunc func(ctx context.Context, host, region, role string) (string, error)

// adminRole is the role that every cluster has, whose tokens ask for another
// action than those of other roles.
const adminRole = "admin"

// IsEndpoint reports whether a host name is that of an Aurora DSQL cluster,
// <id>.dsql.<region>.on.aws, or of its private endpoint,
// <id>.dsql-<x>.<region>.on.aws, as the AWS connectors recognise them.
func IsEndpoint(host string) bool {
	_, ok := endpointRegion(host)
	return ok
}

func endpointRegion(host string) (region string, ok bool) {
	labels := strings.Split(bareHost(host), ".")
	n := len(labels)
	if n < 5 || labels[n-1] != "aws" || labels[n-2] != "on" || labels[n-3] == "" || !strings.HasPrefix(labels[n-4], "dsql") || labels[n-5] == "" {
		return "", false
	}
	return labels[n-3], true
}

// bareHost gives a host name as certificates and tokens have it.
func bareHost(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// IsTarget reports whether a URL is that of an Aurora DSQL cluster: its scheme
// is dsql, or it is a postgres URL with the host name of a cluster, or with an
// authentication token for one as its password.
func IsTarget(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return strings.HasPrefix(raw, "dsql://")
	}
	switch u.Scheme {
	case "dsql":
		return true
	case "postgres", "postgresql":
		password, _ := u.User.Password()
		return IsEndpoint(cmp.Or(u.Hostname(), u.Query().Get("host"))) ||
			strings.Contains(cmp.Or(password, u.Query().Get("password")), "Action=DbConnect") // DbConnectAdmin too
	}
	return false
}

// A target is what a URL says.
type target struct {
	config     *pgconn.Config // without password
	host       string
	region     string // empty where unknown
	endpoint   bool   // it is AWS's own
	password   string // instead of a token
	searchPath string
	profile    string // of the AWS configuration
}

// connectTimeout bounds one attempt to connect where the URL does not.
const connectTimeout = 15 * time.Second

// ownParameters are those of the URL that are not sent to the server. The rest
// are settings, which the server must know.
var ownParameters = map[string]bool{
	"host": true, "port": true, "user": true, "password": true, "dbname": true, "region": true, "profile": true,
	"sslmode": true, "sslrootcert": true, "sslnegotiation": true, "sslsni": true, "connect_timeout": true,
	"search_path": true, "target_session_attrs": true, "channel_binding": true,
}

// parseTarget reads a URL. Nothing of one that cannot be read is quoted: it may
// be a password with characters that end it too soon.
func parseTarget(raw string) (*target, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Fragment != "" || strings.Contains(u.Path, "@") {
		return nil, pgstore.ErrURL
	}
	if u.Scheme != "dsql" && u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, fmt.Errorf("%w: it must begin with dsql:// or postgres://", ErrTarget)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, pgstore.ErrURL
	}
	for name, values := range query {
		if len(values) > 1 {
			return nil, fmt.Errorf("%w: it says %s more than once", ErrTarget, name)
		}
	}
	t := &target{region: query.Get("region"), searchPath: query.Get("search_path"), profile: query.Get("profile")}
	t.host = bareHost(cmp.Or(u.Hostname(), query.Get("host")))
	switch {
	case t.host == "":
		return nil, fmt.Errorf("%w: it names no host", ErrTarget)
	case strings.ContainsAny(t.host, ",/"):
		return nil, fmt.Errorf("%w: it must name one host, reached by TCP", ErrTarget)
	}
	region, endpoint := endpointRegion(t.host)
	t.endpoint, t.region = endpoint, cmp.Or(t.region, region)
	if endpoint && t.region != region {
		return nil, fmt.Errorf("%w: it says region=%s, but its host is in %s", ErrTarget, t.region, region)
	}
	if err := checkSafety(query); err != nil {
		return nil, err
	}
	settings, err := t.settings(query)
	if err != nil {
		return nil, err
	}
	if err := t.configure(u, query); err != nil {
		return nil, err
	}
	t.config.RuntimeParams = settings
	return t, nil
}

// checkSafety refuses what would let somebody in between take the token.
func checkSafety(query url.Values) error {
	if mode := query.Get("sslmode"); mode != "" && mode != "verify-full" {
		return fmt.Errorf("%w: with sslmode=%s nobody checks who answers, and whoever does gets a token to log in with; leave it out, or say verify-full (and sslrootcert= for a certificate of your own)", ErrTarget, mode)
	}
	if sni := query.Get("sslsni"); sni != "" && sni != "1" {
		return fmt.Errorf("%w: with sslsni=%s the server does not learn which cluster is meant; leave it out", ErrTarget, sni)
	}
	return nil
}

// settings gives what is sent when connecting. Aurora DSQL refuses a
// connection that sends a setting it does not have.
func (t *target) settings(query url.Values) (map[string]string, error) {
	p, err := Latest()
	if err != nil {
		return nil, err
	}
	check := func(name string) error {
		name = strings.ToLower(name)
		if !t.endpoint && strings.HasPrefix(name, "aurora.") {
			return nil // of a local DSQL
		}
		if finding, refused := InspectSetting(p, name); refused {
			return fmt.Errorf("%w: it sets %s (%s)", ErrTarget, name, finding.Message)
		}
		return nil
	}
	settings := make(map[string]string)
	for name := range query {
		value := query.Get(name)
		switch {
		case ownParameters[name]:
			continue
		case name == "options":
			for _, option := range optionNames(value) {
				if err := check(option); err != nil {
					return nil, err
				}
			}
		default:
			if err := check(name); err != nil {
				return nil, err
			}
		}
		settings[name] = value
	}
	return settings, nil
}

// optionNames gives the settings of "-c a=1 --b=2".
func optionNames(options string) []string {
	var names []string
	words := strings.Fields(strings.ReplaceAll(options, `\ `, "_"))
	for i, w := range words {
		switch {
		case w == "-c" && i+1 < len(words):
			w = words[i+1]
		case strings.HasPrefix(w, "-c"), strings.HasPrefix(w, "--"):
			w = w[2:]
		default:
			continue
		}
		name, _, _ := strings.Cut(w, "=")
		names = append(names, strings.ReplaceAll(name, "-", "_"))
	}
	return names
}

// configure makes the configuration of the connection.
func (t *target) configure(u *url.URL, query url.Values) error {
	role := cmp.Or(u.User.Username(), query.Get("user"), adminRole)
	database := cmp.Or(strings.TrimPrefix(u.Path, "/"), query.Get("dbname"), "postgres")
	if t.endpoint && database != "postgres" {
		return fmt.Errorf("%w: a cluster has one database, postgres, not %q", ErrTarget, database)
	}
	// What a URL leaves out comes from the environment, so it says all that
	// matters here.
	out := url.Values{"sslmode": {"verify-full"}, "sslsni": {"1"}, "target_session_attrs": {"any"}, "channel_binding": {"prefer"}}
	for _, name := range []string{"sslrootcert", "sslnegotiation", "connect_timeout"} {
		if v := query.Get(name); v != "" {
			out.Set(name, v)
		}
	}
	host := net.JoinHostPort(t.host, cmp.Or(u.Port(), query.Get("port"), "5432"))
	// pgx takes a "+" in the query for what it is, not for a space.
	encoded := strings.ReplaceAll(out.Encode(), "+", "%20")
	dsn := url.URL{Scheme: "postgres", User: url.User(role), Host: host, Path: "/" + database, RawQuery: encoded}
	config, err := pgconn.ParseConfig(dsn.String())
	if err != nil {
		var parse *pgconn.ParseConfigError
		if errors.As(err, &parse) && parse.Unwrap() != nil {
			err = parse.Unwrap() // without the URL
		} else {
			err = pgstore.ErrURL
		}
		return fmt.Errorf("%w: %w", ErrTarget, err)
	}
	if config.TLSConfig == nil || config.TLSConfig.InsecureSkipVerify {
		return fmt.Errorf("%w: its TLS settings check nothing", ErrTarget)
	}
	config.TLSConfig.MinVersion = max(config.TLSConfig.MinVersion, tls.VersionTLS12)
	config.Fallbacks = nil
	config.ConnectTimeout = cmp.Or(config.ConnectTimeout, connectTimeout)
	password, ok := u.User.Password()
	switch {
	case ok || query.Has("password"):
		t.password = cmp.Or(password, query.Get("password"))
	case !t.endpoint:
		t.password = config.Password // of the environment or a password file
	}
	config.Password = ""
	t.config = config
	return nil
}

// A connector opens connections to one cluster.
type connector struct {
	target
	token TokenFunc // nil where the URL's password does
	first time.Duration
	limit time.Duration
}

// newConnector reads a URL. Without a TokenFunc, the URL's password is used, or
// else the AWS SDK makes tokens, with its configuration's profile if one is
// given here or in the URL. Nothing of AWS is loaded before it is needed.
func newConnector(raw string, token TokenFunc, profile string) (*connector, error) {
	t, err := parseTarget(raw)
	if err != nil {
		return nil, err
	}
	c := &connector{target: *t, token: token, first: 100 * time.Millisecond, limit: 2 * time.Minute}
	if token == nil && t.password == "" {
		signer := &signer{profile: cmp.Or(t.profile, profile)}
		c.token = signer.token
	}
	return c, nil
}

// connect opens a connection, with a token of its own. It waits while the
// cluster wakes up or has too many connections, and tries a few times where
// nobody answers. Other errors, and what is left of these, are a [*LoginError].
func (c *connector) connect(ctx context.Context, open pgstore.OpenFunc) (*pgconn.PgConn, error) {
	begun := time.Now()
	for try := 0; ; try++ {
		conn, password, err := c.once(ctx, open)
		if err == nil {
			return conn, nil
		}
		wait, again := c.wait(try, time.Since(begun), err)
		if !again || ctx.Err() != nil {
			return nil, c.explain(err, password)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, c.explain(fmt.Errorf("%w (%w)", err, context.Cause(ctx)), password)
		case <-timer.C:
		}
	}
}

// errTokenTime says why making a token was given up.
var errTokenTime = errors.New("whoever makes it did not answer in time")

// once gives the password that it used, to be kept out of what is shown.
func (c *connector) once(ctx context.Context, open pgstore.OpenFunc) (conn *pgconn.PgConn, password string, err error) {
	config := c.config.Copy()
	config.Password = c.password
	if c.token != nil {
		asking, cancel := context.WithTimeoutCause(ctx, c.limit, errTokenTime)
		defer cancel()
		token, err := c.token(asking, c.host, c.region, config.User)
		if err != nil && ctx.Err() == nil && asking.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(asking), err)
		}
		if err != nil {
			return nil, "", &tokenError{err}
		}
		config.Password = token
	}
	conn, err = open(ctx, config)
	if err != nil || c.searchPath == "" {
		return conn, config.Password, err
	}
	// Not when connecting: the AWS connectors do not send it there either.
	path := "SELECT set_config('search_path', '" + strings.ReplaceAll(c.searchPath, "'", "''") + "', false)"
	if err := conn.ExecParams(ctx, path, nil, nil, nil, nil).Read().Err; err != nil {
		_ = conn.Close(ctx)
		return nil, config.Password, fmt.Errorf("set the search_path: %w", err)
	}
	return conn, config.Password, nil
}

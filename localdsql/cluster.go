package localdsql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aurora-migrate/aurora/localdsql/internal/backend"
	"github.com/aurora-migrate/aurora/localdsql/internal/wire"
)

// clusterName bounds names so that the database's name fits PostgreSQL's 63
// bytes and needs no quoting anywhere.
var clusterName = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]{0,48}[a-z0-9])?$`)

// databaseOf returns the PostgreSQL database of a cluster.
func databaseOf(name string) string { return "dsql_" + name }

// CheckName says whether a cluster can have that name: up to 50 lower-case
// letters, digits, and between them dashes and underscores.
func CheckName(name string) error {
	if !clusterName.MatchString(name) {
		return fmt.Errorf("%q cannot be the name of a cluster: want up to 50 of a-z and 0-9, and - and _ between them", name)
	}
	return nil
}

// Cluster is one local DSQL cluster that accepts connections. Its methods may
// be called from several goroutines.
type Cluster struct {
	server   *Server
	name     string
	database string
	listener net.Listener
	port     int
	names    []string // host names it answers to
	proxy    *wire.Proxy
	worker   *backend.Worker

	ctx      context.Context // ends with the cluster; the sessions' parent
	cancel   context.CancelFunc
	sessions sync.WaitGroup
	once     sync.Once
	closeErr error
}

// Cluster makes the cluster of that name, if the directory has none yet, and
// listens for its clients. Each call listens anew; sessions of the same name
// in several servers share the data but no schema conflicts.
func (s *Server) Cluster(ctx context.Context, name string) (*Cluster, error) {
	return s.clusterOn(ctx, name, s.cfg.Address)
}

func (s *Server) clusterOn(ctx context.Context, name, address string) (*Cluster, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	c, err := s.newCluster(ctx, name, address)
	if err != nil {
		return nil, fmt.Errorf("open local DSQL cluster %s: %w", name, err)
	}
	s.mu.Lock()
	closed = s.closed
	s.clusters[c] = struct{}{}
	s.mu.Unlock()
	if closed { // meanwhile
		return nil, errors.Join(errClosed, c.Close(ctx))
	}
	return c, nil
}

func (s *Server) newCluster(ctx context.Context, name, address string) (*Cluster, error) {
	region := s.cfg.Region
	if region == "" {
		region = DefaultRegion
	}
	c := &Cluster{server: s, name: name, database: databaseOf(name), names: hostNames(region)}
	tls, err := s.authority.serverTLS(region)
	if err != nil {
		return nil, err
	}
	if err := backend.CreateDatabase(ctx, s.engine, c.database); err != nil {
		return nil, err
	}
	c.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(c.listener.Addr().String())
	if err == nil {
		c.port, err = strconv.Atoi(port)
	}
	if err != nil {
		return nil, errors.Join(err, c.listener.Close())
	}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := c.startWire(tls); err != nil {
		c.cancel()
		return nil, errors.Join(err, c.listener.Close())
	}
	c.sessions.Go(c.accept)
	return c, nil
}

// accept serves connections until the listener is closed.
func (c *Cluster) accept() {
	for wait := time.Millisecond; ; {
		conn, err := c.listener.Accept()
		switch {
		case err == nil:
			wait = time.Millisecond
			c.sessions.Go(func() { c.serve(conn) })
		case errors.Is(err, net.ErrClosed):
			return
		default: // out of file descriptors, perhaps: others will be closed
			c.server.cfg.Logger.WarnContext(c.ctx, "local DSQL cannot accept a connection", "err", err)
			select {
			case <-c.ctx.Done():
				return
			case <-time.After(wait):
			}
			wait = min(2*wait, time.Second)
		}
	}
}

// Name returns the cluster's name.
func (c *Cluster) Name() string { return c.name }

// Host returns the host to connect to.
func (c *Cluster) Host() string { return "localhost" }

// Port returns the port to connect to.
func (c *Cluster) Port() int { return c.port }

// CAFile returns the file with the certificate to trust, for sslrootcert.
func (c *Cluster) CAFile() string { return c.server.authority.file }

// Faults returns what goes wrong in the cluster, to be changed at will. All
// clusters of a server share it.
func (c *Cluster) Faults() *Faults { return c.server.cfg.Faults }

// Token makes a token for a role, such as admin. Like that of the AWS SDK it is
// valid for 15 minutes when life is zero; a week is the longest.
func (c *Cluster) Token(ctx context.Context, role string, life time.Duration) (string, error) {
	return newToken(ctx, c.Host(), c.region(), role, c.server.cfg.Secret, life)
}

func (c *Cluster) region() string {
	if c.server.cfg.Region != "" {
		return c.server.cfg.Region
	}
	return DefaultRegion
}

// URL returns the connection URL of the role admin, with a token that is valid
// for a week.
func (c *Cluster) URL() string { return c.URLFor(adminRole) }

// URLFor returns the connection URL of a role, with a token that is valid for a
// week. The role must be mapped by AWS IAM GRANT to be let in.
func (c *Cluster) URLFor(role string) string {
	// Nothing of what can be wrong with a token can be wrong here.
	token, _ := c.Token(context.Background(), role, MaxTokenLife)
	return connectionURL(role, token, c.port, c.CAFile())
}

// connectionURL is what libpq, pgx and others take. It says all that matters:
// what it left out would come from the environment.
func connectionURL(role, token string, port int, caFile string) string {
	query := url.Values{"sslmode": {"verify-full"}, "sslrootcert": {caFile}}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, token), Host: net.JoinHostPort("localhost", strconv.Itoa(port)),
		// A plus is a plus to libpq.
		Path: "/" + databaseName, RawQuery: strings.ReplaceAll(query.Encode(), "+", "%20"),
	}
	return u.String()
}

// Close stops listening, ends the sessions, as the death of a server does, and
// the jobs, which go on when the cluster is opened again. The data stay.
// Calling it again does nothing.
func (c *Cluster) Close(ctx context.Context) error {
	c.once.Do(func() { c.closeErr = c.close(ctx) })
	return c.closeErr
}

func (c *Cluster) close(ctx context.Context) error {
	c.server.mu.Lock()
	delete(c.server.clusters, c)
	c.server.mu.Unlock()
	c.cancel()
	err := c.listener.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.sessions.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("wait for the sessions: %w", context.Cause(ctx)))
	}
	err = errors.Join(err, c.worker.Stop(ctx))
	if err != nil {
		return fmt.Errorf("close local DSQL cluster %s: %w", c.name, err)
	}
	return nil
}

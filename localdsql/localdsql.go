package localdsql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/localdsql/engine"
	"github.com/aurora-migrate/aurora/localdsql/internal/backend"
	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

// DefaultCluster is the cluster of a directory that is meant when none is
// named.
const DefaultCluster = "aurora"

// SchemaConflicts says which statements of other sessions fail with OC001
// after a change of the schema.
type SchemaConflicts string

// Aurora DSQL's documentation promises the first, and measurements have seen
// more: Strict is for programs that want to be ready for that.
const (
	ConflictsTouching SchemaConflicts = "touching" // the default: those that name what was changed
	ConflictsStrict   SchemaConflicts = "strict"   // the next one of every session, whatever it is
	ConflictsOff      SchemaConflicts = "off"      // none
)

// Limits are Aurora DSQL's limits of a transaction and a connection. Zero is
// Aurora DSQL's own, given beside each; smaller ones make them easy to meet in a
// test, and a negative one is none.
type Limits struct {
	Rows          int           // rows changed in a transaction; 3,000
	Bytes         int64         // bytes changed in a transaction; 10 MiB
	Age           time.Duration // of a transaction; 5 minutes
	ConnectionAge time.Duration // of a connection; 60 minutes
}

// Config says how a local cluster is to be. The zero value of every field but
// Dir is usable.
type Config struct {
	// Dir keeps the data and the certificate, usually .aurora beside the
	// project file; see engine.Config. Several processes may use it at once.
	Dir string
	// Throwaway keeps nothing: the data are in a temporary directory that goes
	// with the Server, at the latest with the process. Dir is not used then.
	Throwaway bool
	// Address is what a cluster listens on, a loopback address; the default
	// 127.0.0.1:0 takes any free port.
	Address string
	// Region is what tokens have to be for. Empty takes any, and tokens that
	// are made here are for DefaultRegion.
	Region string
	// Day chooses the rules of that day; zero the newest that are known.
	Day time.Time
	// Secret is the secret access key that tokens have to be signed with. When
	// it is empty signatures are not checked.
	Secret string
	// Limits bound transactions and connections. Defaults to Aurora DSQL's own.
	Limits Limits
	// Faults are what goes wrong; nil lets everything pass. It may be changed
	// while the cluster is in use.
	Faults *Faults
	// Conflicts says how far OC001 goes. Defaults to ConflictsTouching.
	Conflicts SchemaConflicts
	// JobDelay keeps asynchronous jobs in flight that much longer, from the
	// first on; Faults.JobDelay, which can be changed later, is added to it.
	JobDelay time.Duration
	// Logger hears of trouble that is not a client's error. Defaults to none.
	Logger *slog.Logger
	// Find says where to look for PostgreSQL. Version 16 is preferred over all
	// others, whatever Find says, unless there are data of another one.
	Find engine.FindOptions
}

// Server is a PostgreSQL with Aurora DSQL's rules in it, ready to have
// clusters. Its methods may be called from several goroutines.
type Server struct {
	cfg       Config
	engine    *engine.Server
	shared    bool // the engine is not this Server's to stop
	policy    *policy.Policy
	profile   dsql.Profile
	authority *authority

	mu       sync.Mutex
	clusters map[*Cluster]struct{}
	closed   bool
}

// errClosed is returned by methods of a closed Server.
var errClosed = errors.New("the local DSQL server is closed")

// Open starts, or joins, the PostgreSQL of cfg and prepares it. Nothing
// listens yet. Errors are those of engine.Start, or about cfg.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	cfg, profile, err := cfg.complete()
	if err != nil {
		return nil, fmt.Errorf("open local DSQL: %w", err)
	}
	e, err := startEngine(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s, err := newServer(ctx, cfg, profile, e)
	if err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
		defer cancel()
		return nil, errors.Join(err, e.Stop(stop))
	}
	return s, nil
}

// stopPatience bounds a stop after a start that failed.
const stopPatience = 10 * time.Second

// newServer prepares an engine that runs.
func newServer(ctx context.Context, cfg Config, profile dsql.Profile, e *engine.Server) (*Server, error) {
	if err := backend.Prepare(ctx, e); err != nil {
		return nil, fmt.Errorf("open local DSQL: %w", err)
	}
	authority, err := loadAuthority(filepath.Dir(e.DataDir()))
	if err != nil {
		return nil, fmt.Errorf("open local DSQL: %w", err)
	}
	return &Server{
		cfg: cfg, engine: e, profile: profile, authority: authority,
		policy: policy.New(profile), clusters: map[*Cluster]struct{}{},
	}, nil
}

// Check says what is wrong with a Config, as far as that can be seen without
// starting anything.
func (cfg Config) Check() error {
	_, _, err := cfg.complete()
	return err
}

// regionName is what AWS Regions and their partitions' test regions look like.
var regionName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// complete checks a Config and fills in what it leaves out.
func (cfg Config) complete() (Config, dsql.Profile, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Faults == nil {
		cfg.Faults = &Faults{}
	}
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1:0"
	}
	if cfg.Dir == "" && !cfg.Throwaway {
		return cfg, dsql.Profile{}, errors.New("Config names no Dir for the data, and does not say Throwaway")
	}
	if err := checkLoopback(cfg.Address); err != nil {
		return cfg, dsql.Profile{}, err
	}
	if cfg.Region != "" && !regionName.MatchString(cfg.Region) {
		return cfg, dsql.Profile{}, fmt.Errorf("%q is not the name of an AWS Region", cfg.Region)
	}
	switch cfg.Conflicts {
	case "":
		cfg.Conflicts = ConflictsTouching
	case ConflictsTouching, ConflictsStrict, ConflictsOff:
	default:
		return cfg, dsql.Profile{}, fmt.Errorf("unknown kind of schema conflicts %q", cfg.Conflicts)
	}
	profile, err := dsql.Latest()
	if !cfg.Day.IsZero() {
		profile, err = dsql.ProfileAt(cfg.Day)
	}
	return cfg, profile, err
}

// checkLoopback refuses an address that other machines can reach.
func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("the address %q: want HOST:PORT", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("the address %s can be reached by others: local DSQL listens on loopback addresses only", address)
	}
	return nil
}

// The versions of PostgreSQL that can stand behind a cluster.
const (
	wantMajor = 16 // what Aurora DSQL is based on
	minMajor  = 15 // older ones lack NULLS NOT DISTINCT and SET NULL (columns)
)

// startEngine starts PostgreSQL: version 16 if there is one or one may be
// fetched, else another.
func startEngine(ctx context.Context, cfg Config) (*engine.Server, error) {
	c := engine.Config{
		Dir: cfg.Dir, Throwaway: cfg.Throwaway, Find: cfg.Find, Logger: cfg.Logger,
		CacheDir: cfg.Find.CacheDir,
		Settings: backend.Settings(),
	}
	c.Find.Major, c.Find.MinMajor = wantMajor, minMajor
	e, err := engine.Start(ctx, c)
	missing := (*engine.NotFoundError)(nil)
	if errors.As(err, &missing) {
		c.Find.Major = cfg.Find.Major
		e, err = engine.Start(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	if major := e.Install().Major; major < minMajor {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("the data in %s are of PostgreSQL %d, and local DSQL needs %d or later: name another directory", e.DataDir(), major, minMajor), e.Stop(stop))
	}
	if text := versionWarning(e.Install()); text != "" {
		cfg.Logger.WarnContext(ctx, text)
	}
	return e, nil
}

// versionWarning says what a version other than 16 gets wrong.
func versionWarning(install engine.Install) string {
	const begin = "local DSQL runs on PostgreSQL %s and Aurora DSQL is based on 16: "
	const end = "; install PostgreSQL 16, or let it be fetched with " + engine.EnvFetch + "=1"
	switch {
	case install.Major == wantMajor:
		return ""
	case install.Major < wantMajor:
		return fmt.Sprintf(begin+"it refuses STORAGE in CREATE TABLE and ADD COLUMN, CREATE STATISTICS without a name, JSON constructors and IS JSON"+end, install.Version)
	}
	return fmt.Sprintf(begin+"it accepts some SQL that only later versions have"+end, install.Version)
}

// syntaxHint is what to tell a client whose statement the PostgreSQL at hand
// cannot parse though Aurora DSQL might; empty for version 16.
func syntaxHint(install engine.Install) string {
	if install.Major >= wantMajor {
		return ""
	}
	return fmt.Sprintf("This local DSQL runs on PostgreSQL %s. Aurora DSQL is based on 16 and may accept the statement.", install.Version)
}

// Day returns the day whose rules are in force.
func (s *Server) Day() string { return s.profile.Date() }

// Install returns the PostgreSQL behind the server.
func (s *Server) Install() engine.Install { return s.engine.Install() }

// Close closes all clusters and gives the PostgreSQL back, which stops when
// nobody else uses it. Calling it again does nothing.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	clusters := make([]*Cluster, 0, len(s.clusters))
	for c := range s.clusters {
		clusters = append(clusters, c)
	}
	s.mu.Unlock()
	var errs []error
	for _, c := range clusters {
		errs = append(errs, c.Close(ctx))
	}
	if !s.shared {
		errs = append(errs, s.engine.Stop(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close local DSQL: %w", err)
	}
	return nil
}

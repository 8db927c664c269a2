package localdsql

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aurora-migrate/aurora/localdsql/engine"
	"github.com/aurora-migrate/aurora/localdsql/internal/backend"
)

// TB is what [Start] needs of a *testing.T, *testing.B or *testing.F.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// The PostgreSQL of this process's tests. It is started by the first test that
// needs one and is never stopped: it ends with the process, however that ends
// (see engine.Config.Throwaway).
var (
	testOnce   sync.Once
	testEngine *engine.Server
	testErr    error
	testCount  atomic.Int64
)

// testPatience bounds what a test waits for, so that it does not hang: the first
// start of PostgreSQL takes about a second, everything else less, and much more
// where a machine is busy.
const testPatience = 5 * time.Minute

// Start returns the URL of a new, empty cluster, for the role admin. It has the
// newest rules and its own data, and is dropped when the test ends. Tests may
// call it in parallel and as often as they like: the first call starts a
// PostgreSQL for the test binary, the others copy a database.
//
// A test without PostgreSQL fails; the message says how to install one, or have
// it fetched.
func Start(t TB) string {
	t.Helper()
	return StartCluster(t, Config{}).URL()
}

// StartCluster is [Start] with a Config, whose Dir is not used, and whose Find
// counts in the first call only. Throwaway gives the cluster a PostgreSQL of its
// own, for tests that create roles, whose names clusters of one PostgreSQL
// share.
func StartCluster(t TB, cfg Config) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	defer cancel()
	s, err := openForTest(ctx, cfg)
	if err != nil {
		t.Fatalf("start local DSQL: %v", err)
	}
	if text := versionWarning(s.engine.Install()); text != "" {
		t.Logf("%s", text)
	}
	c, err := s.Cluster(ctx, fmt.Sprintf("test_%d_%d", os.Getpid(), testCount.Add(1)))
	if err != nil {
		t.Fatalf("start local DSQL: %v", errors.Join(err, s.Close(ctx)))
	}
	t.Cleanup(func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), testPatience)
		defer cancel()
		err := c.Close(ctx)
		if s.shared {
			err = errors.Join(err, backend.DropDatabase(ctx, s.engine, c.database))
		}
		if err := errors.Join(err, s.Close(ctx)); err != nil {
			t.Errorf("stop local DSQL: %v", err)
		}
	})
	return c
}

// openForTest opens a server on the tests' PostgreSQL or one of its own.
func openForTest(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Throwaway {
		return Open(ctx, cfg)
	}
	cfg.Throwaway = true
	cfg, profile, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	testOnce.Do(func() { testEngine, testErr = startEngine(ctx, cfg) })
	if testErr != nil {
		return nil, testErr
	}
	s, err := newServer(ctx, cfg, profile, testEngine)
	if err != nil {
		return nil, err
	}
	s.shared = true
	return s, nil
}

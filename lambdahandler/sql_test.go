package lambdahandler_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/lambdahandler"
	"github.com/aurora-migrate/aurora/localdsql"
	"github.com/aurora-migrate/aurora/postgres"
)

// newSQL is a fake function whose migrations and history are in PostgreSQL,
// and whose time is real.
func newSQL(t *testing.T, limit, margin time.Duration, migrations ...aurora.Migration) *fake {
	t.Helper()
	f := newFake(t, migrations...)
	f.limit, f.cfg.Margin = limit, margin
	url := pgtest.URL(t)
	f.cfg.Open = func(ctx context.Context) (*lambdahandler.Project, error) {
		db, err := postgres.Open(ctx, postgres.Config{URL: url})
		if err != nil {
			return nil, err
		}
		closeAtEnd(t, db.Close)
		return &lambdahandler.Project{Runner: aurora.Runner{Store: db, Database: db, Migrations: migrations}}, nil
	}
	return f
}

func closeAtEnd(t *testing.T, closer func(context.Context) error) {
	t.Cleanup(func() {
		if err := closer(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// A store that runs stretches of migrations by itself pauses between them.
func TestSQLGoesOn(t *testing.T) {
	patiently(t, func(t *testing.T, n time.Duration) error {
		var migrations []aurora.Migration
		for i := range 8 {
			sleep := fmt.Sprintf("SELECT pg_sleep(%f)", (n * 400 * time.Millisecond).Seconds())
			migrations = append(migrations, pgtest.Migration(fmt.Sprint(i+1), "m", fmt.Sprintf("CREATE TABLE t%d (id int)", i), sleep))
		}
		f := newSQL(t, n*2*time.Second, n*time.Second, migrations...)
		res, err := f.chain(f.deliver("r", `{"executionId":"x"}`))
		if err != nil {
			return tooLate(t, err)
		}
		if len(res.Revisions) != 8 || res.State != aurora.Completed || res.Hop < 2 {
			t.Errorf("%s after %d hops: %v", res.State, res.Hop+1, states(res.Execution))
		}
		// The same event again does nothing.
		if res, err = f.deliver("r", `{"executionId":"x"}`); err != nil || res.State != aurora.Completed {
			t.Errorf("%+v, %v", res, err)
		}
		return nil
	})
}

// tooLate returns an error that a machine which is too slow brings about, and
// fails the test for all others.
func tooLate(t *testing.T, err error) error {
	t.Helper()
	var stuck *lambdahandler.StuckError
	if !errors.As(err, &stuck) && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	return err
}

// A statement that takes longer than an invocation never ends there.
func TestSQLStatementThatCannotFit(t *testing.T) {
	patiently(t, func(t *testing.T, n time.Duration) error {
		f := newSQL(t, n*1500*time.Millisecond, n*700*time.Millisecond,
			pgtest.Migration("1", "quick", "CREATE TABLE a (id int)"), pgtest.Migration("2", "slow", "CREATE TABLE b (id int)", "SELECT pg_sleep(600)"))
		res, err := f.chain(f.deliver("r", `{"executionId":"x"}`))
		var stuck *lambdahandler.StuckError
		if err == nil {
			t.Fatalf("%+v", res)
		}
		if !errors.As(err, &stuck) || stuck.Migration != "2_slow" {
			return tooLate(t, err)
		}
		if !strings.Contains(err.Error(), "aurora task run") {
			t.Error(err)
		}
		e := history(t, f, "x")
		wantStates(t, e, "1_quick up completed", "2_slow up failed")
		if got := e.Revisions[1].Error; got != err.Error() {
			t.Errorf("the history says %q", got)
		}
		return nil
	})
}

// Aurora DSQL builds an index for longer than an invocation lasts, three times
// over. Each invocation waits for it, which is not being stuck.
func TestDSQLJobOutlivesInvocations(t *testing.T) {
	patiently(t, jobOutlivesInvocations)
}

func jobOutlivesInvocations(t *testing.T, n time.Duration) error {
	cluster := localdsql.StartCluster(t, localdsql.Config{})
	cluster.Faults().JobDelay(n * 7 * time.Second)
	migrations := []aurora.Migration{
		pgtest.Migration("1", "index", "CREATE TABLE a (id int)", "CREATE INDEX ASYNC i ON a (id)"), pgtest.Migration("2", "after", "CREATE TABLE b (id int)"),
	}
	f := newFake(t, migrations...)
	f.limit, f.cfg.Margin = n*2*time.Second, n*900*time.Millisecond
	f.cfg.Open = func(ctx context.Context) (*lambdahandler.Project, error) {
		db, err := dsql.Open(ctx, dsql.Config{URL: cluster.URL()})
		if err != nil {
			return nil, err
		}
		closeAtEnd(t, db.Close)
		return &lambdahandler.Project{Runner: aurora.Runner{Store: db, Database: db, Migrations: migrations}}, nil
	}
	res, err := f.chain(f.deliver("r", `{"executionId":"x"}`))
	if err != nil {
		return tooLate(t, err)
	}
	if res.State != aurora.Completed || res.Hop < 3 || len(res.Revisions) != 2 {
		t.Errorf("%s after %d hops: %v", res.State, res.Hop+1, states(res.Execution))
	}
	return nil
}

// history returns an execution as a new process sees it.
func history(t *testing.T, f *fake, id string) aurora.Execution {
	t.Helper()
	p, err := f.cfg.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Runner.Store.(aurora.History).Execution(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

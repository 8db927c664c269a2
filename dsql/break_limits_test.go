package dsql

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// A token that never comes ends in an error that says so, which is not the
// caller's time running out.
func TestTokenThatNeverComes(t *testing.T) {
	c, err := newConnector("dsql://localhost:1", func(ctx context.Context, _, _, _ string) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	c.limit = 20 * time.Millisecond
	_, err = c.connect(t.Context(), pgconn.ConnectConfig)
	var login *LoginError
	if !errors.As(err, &login) || !errors.Is(err, errTokenTime) || !strings.Contains(err.Error(), "no token: whoever makes it did not answer in time") {
		t.Errorf("got %v", err)
	}
}

// Nothing is sent after the end of the lease by this process's own clock,
// whether or not anybody said that it is lost.
func TestLeaseIsOver(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	db := openPlain(t, url)
	lease, err := db.Acquire(t.Context(), aurora.Holder{}, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	m := pgtest.Migration("1", "a", "CREATE TABLE a (id int)")
	u, err := db.newUnit(aurora.Item{Migration: m, Direction: aurora.Up, Revision: aurora.Revision{ExecutionID: "e", Version: "1", Direction: aurora.Up, State: aurora.Running, Kind: aurora.Applied, Steps: 1}})
	if err != nil {
		t.Fatal(err)
	}
	r := newTestStream(t, db, lease, u)
	for !r.lease.IsOver() {
		time.Sleep(time.Millisecond)
	}
	if err := r.apart(t.Context(), u.steps[0]); !errors.Is(err, aurora.ErrLeaseLost) {
		t.Errorf("%v, want ErrLeaseLost", err)
	}
	if n := pgtest.One(t, url, "SELECT count(*) FROM pg_class WHERE relname = 'a'"); n != "0" {
		t.Error("the table was made")
	}
}

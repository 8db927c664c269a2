package postgres_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// Round trips are the cost that counts, so the budget is a test.
func TestRoundTrips(t *testing.T) {
	tests := []struct {
		name       string
		migrations []aurora.Migration
		prepare    bool // apply first, then count
		want       int
	}{
		{"100 fresh", pgtest.Tables(100, 1), false, 8},
		{"1000 fresh", pgtest.Tables(1000, 1), false, 8},
		{"20 files of 10 statements", pgtest.Tables(20, 10), false, 8},
		{"nothing to do, 1000 applied", pgtest.Tables(1000, 1), true, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pgtest.TripsAtMost(t, tt.want, func(through func(string) *pgtest.Proxy) *pgtest.Proxy {
				url := pgtest.URL(t)
				if tt.prepare {
					pgtest.MustRun(t, open(t, url), tt.migrations, aurora.Request{})
				}
				proxy := through(url)
				e := pgtest.MustRun(t, open(t, proxy.URL), tt.migrations, aurora.Request{})
				if !tt.prepare && len(e.Revisions) != len(tt.migrations) {
					t.Errorf("applied %d of %d", len(e.Revisions), len(tt.migrations))
				}
				return proxy
			})
		})
	}
}

func TestStatusIsOneRoundTrip(t *testing.T) {
	url := pgtest.URL(t)
	migrations := pgtest.Tables(200, 1)
	pgtest.MustRun(t, open(t, url), migrations[:100], aurora.Request{})
	proxy := pgtest.NewProxy(t, url)
	latest, err := open(t, proxy.URL).Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status, err := aurora.NewStatus(migrations, latest, ""); err != nil || len(status.Pending) != 100 {
		t.Errorf("%d pending, %v", len(status.Pending), err)
	}
	if proxy.Trips() != 1 {
		t.Errorf("%d round trips, want 1", proxy.Trips())
	}
}

// The counter itself must be able to count.
func TestProxyCountsTrips(t *testing.T) {
	proxy := pgtest.NewProxy(t, pgtest.URL(t))
	conn, err := pgconn.Connect(t.Context(), proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for range 7 {
		if _, err := conn.Exec(t.Context(), "SELECT 1").ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	if proxy.Trips() != 7 {
		t.Errorf("%d round trips, want 7", proxy.Trips())
	}
}

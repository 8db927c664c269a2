package dsql

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgstore"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// openPlain opens the store on a plain PostgreSQL, for what does not need
// DSQL's rules: its transactions see what DSQL's would.
func openPlain(t testing.TB, url string) *DB { return openProject(t, url, "") }

func openProject(t testing.TB, url, project string) *DB {
	t.Helper()
	db, err := tryOpenPlain(context.Background(), url, project)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close(context.Background()) })
	return db
}

func tryOpenPlain(ctx context.Context, url, project string, maxAge ...time.Duration) (*DB, error) {
	conn, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	conn.RuntimeParams["default_transaction_isolation"] = "repeatable read"
	profile, err := Latest()
	if err != nil {
		return nil, err
	}
	on := pgstore.Config{Conn: conn}
	if len(maxAge) > 0 {
		on.Dialect.MaxAge = maxAge[0]
	}
	return open(ctx, Config{Project: project, Profile: &profile, Retry: DefaultRetry}, on)
}

// Round trips are the cost that counts, so the budget is a test: one for each
// statement, and eight.
func TestRoundTrips(t *testing.T) {
	rows := pgtest.Migration("1", "rows", "CREATE TABLE r (id int PRIMARY KEY)", "INSERT INTO r VALUES (1)", "INSERT INTO r VALUES (2)", "CREATE VIEW v AS SELECT * FROM r",
		"BEGIN", "INSERT INTO r VALUES (3)", "UPDATE r SET id = 4 WHERE id = 3", "COMMIT", "SET application_name = 'x'", "DROP VIEW v")
	for _, tt := range []struct {
		name       string
		migrations []aurora.Migration
		prepare    bool // apply first, then count
		want       int
	}{
		{"100 files", pgtest.Tables(100, 1), false, 100 + 8},
		{"10 files of 10 statements", pgtest.Tables(10, 10), false, 100 + 8},
		{"rows between definitions", []aurora.Migration{rows}, false, len(rows.Up) + 8},
		{"nothing to do", pgtest.Tables(100, 1), true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var url string
			pgtest.TripsAtMost(t, tt.want, func(through func(string) *pgtest.Proxy) *pgtest.Proxy {
				url = pgtest.URL(t)
				if tt.prepare {
					pgtest.MustRun(t, openPlain(t, url), tt.migrations, aurora.Request{})
				}
				proxy := through(url)
				e := pgtest.MustRun(t, openPlain(t, proxy.URL), tt.migrations, aurora.Request{})
				if !tt.prepare && len(e.Revisions) != len(tt.migrations) {
					t.Errorf("applied %d of %d", len(e.Revisions), len(tt.migrations))
				}
				if !slices.IsSortedFunc(e.Revisions, aurora.Revision.Compare) {
					t.Error("the revisions are not in order")
				}
				return proxy
			})
			db := openPlain(t, url)
			latest, err := db.Latest(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range latest {
				if r.State != aurora.Completed || r.Done != r.Steps {
					t.Errorf("%s is %s, %d of %d", r.ID(), r.State, r.Done, r.Steps)
				}
			}
			if len(latest) != len(tt.migrations) {
				t.Errorf("%d revisions of %d", len(latest), len(tt.migrations))
			}
		})
	}
}

package dsql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgstore"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

var (
	_ aurora.Store    = (*DB)(nil)
	_ aurora.Streamer = (*DB)(nil)
	_ aurora.History  = (*DB)(nil)
	_ aurora.Locker   = (*DB)(nil)
	_ aurora.Database = (*DB)(nil)
	_ aurora.Reviewer = (*DB)(nil)

	_ aurora.SessionDatabase = (*DB)(nil)
)

// A Config says which cluster and whose history in it.
type Config struct {
	// URL is a dsql:// or postgres:// URL.
	URL string
	// Schema holds the tables aurora_revisions and aurora_leases. Defaults to
	// "aurora".
	Schema string
	// Project separates several histories in one cluster. Defaults to
	// "default".
	Project string
	// Profile is what statements are checked against before any of them runs.
	// Defaults to [Latest].
	Profile *Profile
	// AWSProfile names the profile of the AWS configuration that Token's
	// default uses. Defaults to what the SDK takes.
	AWSProfile string
	// Token makes the password of each new connection. Defaults to the password
	// in the URL, else to the AWS SDK's generator.
	Token TokenFunc
	// Retry bounds how often what lost against another transaction is tried
	// again. Fields that are zero are those of [DefaultRetry].
	Retry Retry
	// Logger hears of rewritten statements, retries and the server's warnings.
	// Defaults to none.
	Logger *slog.Logger
}

// A Retry bounds how often a statement, or a query of the history, is sent
// again: after a conflict (SQLSTATE 40001), or when the connection was lost and
// it is known that nothing happened.
type Retry struct {
	First  time.Duration // the longest wait after the first try; it doubles from there
	Cap    time.Duration // the longest wait of all
	Tries  int           // with the first
	Budget time.Duration // from the first try on
}

// complete fills in what is zero.
func (r Retry) complete() Retry {
	return Retry{
		First: cmp.Or(r.First, DefaultRetry.First), Cap: cmp.Or(r.Cap, DefaultRetry.Cap),
		Tries: cmp.Or(r.Tries, DefaultRetry.Tries), Budget: cmp.Or(r.Budget, DefaultRetry.Budget),
	}
}

// DefaultRetry outlasts the conflicts of a busy cluster: a schema conflict
// (OC001) is over at the second try, and a data conflict (OC000) as soon as the
// others are through.
var DefaultRetry = Retry{First: 20 * time.Millisecond, Cap: 2 * time.Second, Tries: 50, Budget: time.Minute}

// maxAge is well below the 60 minutes after which Aurora DSQL ends a
// connection, https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
const maxAge = 50 * time.Minute

// A DB is one project on one Aurora DSQL cluster. It is an [aurora.Store],
// [aurora.Streamer], [aurora.History], [aurora.Locker], [aurora.Database] and
// [aurora.Reviewer]. Statements and history share one connection; a second one
// renews the lease when a run takes long enough.
type DB struct {
	store   *pgstore.Store
	profile Profile
	backoff pgstore.Backoff
	log     *slog.Logger
	// used says that statements outside of a stream have changed settings.
	used atomic.Bool
}

// Open connects to the cluster and logs in. The error never contains the token
// or password.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	cfg.Retry = cfg.Retry.complete()
	if cfg.Profile == nil {
		profile, err := Latest()
		if err != nil {
			return nil, err
		}
		cfg.Profile = &profile
	}
	c, err := newConnector(cfg.URL, cfg.Token, cfg.AWSProfile)
	if err != nil {
		return nil, err
	}
	return open(ctx, cfg, pgstore.Config{Conn: c.config, Connect: c.connect, Dialect: pgstore.Dialect{MaxAge: maxAge}})
}

func open(ctx context.Context, cfg Config, on pgstore.Config) (*DB, error) {
	backoff := pgstore.Backoff(cfg.Retry)
	// The lease does not wait: it has to be renewed before it ends.
	conflicts := backoff
	conflicts.Cap = min(backoff.Cap, 250*time.Millisecond)
	on.Schema, on.Project, on.Logger = cfg.Schema, cfg.Project, cfg.Logger
	on.Dialect.SeparateDDL, on.Dialect.Conflicts = true, conflicts
	store, err := pgstore.Open(ctx, on)
	if err != nil {
		return nil, err
	}
	return &DB{store: store, profile: *cfg.Profile, backoff: backoff, log: store.Log}, nil
}

// Close ends the connections.
func (db *DB) Close(ctx context.Context) error { return db.store.Close(ctx) }

// Latest returns the newest revision of every migration in one round trip. In a
// cluster that has no history of this project, it looks for one that Atlas or
// the earlier aurora left; those revisions have Foreign set. Where a revision
// waited for jobs when it ended, its Activity says what became of them, which
// takes another round trip.
func (db *DB) Latest(ctx context.Context) ([]aurora.Revision, error) {
	revisions, err := db.store.Latest(ctx)
	if err == nil {
		db.addActivity(ctx, revisions)
	}
	return revisions, err
}

// Acquire takes the project's lease, creating the tables on first use.
func (db *DB) Acquire(ctx context.Context, holder aurora.Holder, ttl time.Duration) (aurora.Lease, error) {
	return db.store.Acquire(ctx, holder, ttl)
}

// Revision returns one attempt at a migration, whole.
func (db *DB) Revision(ctx context.Context, execution, version string) (aurora.Revision, error) {
	return db.store.Revision(ctx, execution, version)
}

// Revisions returns a page of the attempts at one migration, newest first,
// without descriptions and output, and a cursor for the next page.
func (db *DB) Revisions(ctx context.Context, version, cursor string, limit int) ([]aurora.Revision, string, error) {
	return db.store.Revisions(ctx, version, cursor, limit)
}

// Execution returns one run with its revisions, without descriptions and output.
func (db *DB) Execution(ctx context.Context, id string) (aurora.Execution, error) {
	return db.store.Execution(ctx, id)
}

// Executions returns runs, newest first, and a cursor for the next page.
func (db *DB) Executions(ctx context.Context, cursor string, limit int) ([]aurora.Execution, string, error) {
	return db.store.Executions(ctx, cursor, limit)
}

// Locked returns who holds the lease, or nil.
func (db *DB) Locked(ctx context.Context) (*aurora.LockedError, error) { return db.store.Locked(ctx) }

// Break ends the lease with that token.
func (db *DB) Break(ctx context.Context, token int64) error { return db.store.Break(ctx, token) }

// Review returns what is sent instead of statements that Aurora DSQL would
// refuse as they stand, and every reason why it would refuse what cannot be
// rewritten: of one statement there may be several.
func (db *DB) Review(m aurora.Migration, d aurora.Direction) []aurora.Review {
	refused := make(map[int][]error)
	for _, f := range CheckMigration(db.profile, m, d) {
		if !f.Rewritten {
			refused[f.Statement] = append(refused[f.Statement], f.StepError(m, d))
		}
	}
	var reviews []aurora.Review
	for i, step := range m.Steps(d) {
		s, ok := step.(aurora.Statement)
		if !ok {
			continue
		}
		r := aurora.Review{Statement: i}
		if len(refused[i]) > 0 {
			r.Err = refused[i][0]
		}
		text, changes, err := Rewrite(s.SQL, db.profile)
		switch {
		case err != nil:
			r.Err = errors.Join(r.Err, err)
		case len(changes) > 0:
			r.SQL = text
			for _, c := range changes {
				r.Changes = append(r.Changes, c.String())
			}
		}
		if r.Err != nil || r.SQL != "" {
			reviews = append(reviews, r)
		}
		for _, err := range refused[i][min(1, len(refused[i])):] {
			reviews = append(reviews, aurora.Review{Statement: i, Err: err})
		}
	}
	return reviews
}

// Exec runs one statement and waits for its job, if it makes one, for runners
// whose history is elsewhere.
func (db *DB) Exec(ctx context.Context, s aurora.Statement) error {
	m := aurora.Migration{Source: s.File, Up: []aurora.Step{s}}
	u, err := db.newUnit(aurora.Item{Migration: m, Direction: aurora.Up})
	if err != nil {
		return err
	}
	if u.settles {
		db.used.Store(true)
	}
	if _, err := db.store.Main.Lend(ctx); err != nil {
		return err
	}
	defer db.store.Main.GiveBack(true)
	r := &stream{db: db, report: func(aurora.Revision) {}}
	r.begin(u)
	for _, st := range u.steps {
		if err := r.apart(ctx, st); err != nil {
			var unsure *aurora.UnsureError
			if errors.As(err, &unsure) || errors.Is(err, pgstore.ErrConnection) {
				return fmt.Errorf("%w: %w", aurora.ErrOutcomeUnknown, err)
			}
			return err
		}
	}
	return r.wait(ctx, func(job) bool { return true })
}

// BeginMigration brings the session to where every migration starts, and repeats
// what the finished statements of one that goes on had set.
func (db *DB) BeginMigration(ctx context.Context, finished []aurora.Statement) error {
	db.freshen()
	for _, s := range finished {
		if !isSetting(s.SQL, sqllex.Classify(s.SQL)) {
			continue
		}
		if err := db.Exec(ctx, s); err != nil {
			return fmt.Errorf("set again what %s set: %w", s.Pos(), err)
		}
	}
	return nil
}

// freshen gives up a connection whose settings statements by Exec have changed.
func (db *DB) freshen() {
	if db.used.Swap(false) {
		db.store.Main.Drop()
	}
}

// Connect opens a connection beside those of the run, for a step of Go code: the
// same role, with a token of its own, and the same search_path. The step closes
// it. Aurora DSQL ends it after 60 minutes. What is done over it is not bound to
// the lease: see package backfill for work that is. Steps ask for it with
// Connect of package postgres.
//
// The error wraps a [*LoginError].
func (db *DB) Connect(ctx context.Context) (*pgx.Conn, error) { return db.store.Dial(ctx) }

// Check returns an error unless the check holds.
func (db *DB) Check(ctx context.Context, c aurora.Check) error {
	r := &stream{db: db}
	return r.check(ctx, aurora.Migration{Checks: []aurora.Check{c}}, pgstore.CheckQueries(c))
}

// isLimit reports that a transaction changed more rows or bytes than Aurora DSQL
// lets it, for which there is nothing but the words to go by:
// https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
func isLimit(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "54000" && (strings.Contains(pgErr.Message, "row limit") || strings.Contains(pgErr.Message, "size limit"))
}

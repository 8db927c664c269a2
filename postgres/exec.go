package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgstore"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// Exec runs one statement by itself, for runners whose history is elsewhere and
// for steps of Go code. It refuses BEGIN, COMMIT and ROLLBACK: the history would
// say of the statements in between that they are done, also when a kill has
// rolled them back.
func (db *DB) Exec(ctx context.Context, s aurora.Statement) error {
	s.SQL = pgstore.ForPostgreSQL(s.SQL).Text
	info := sqllex.Classify(s.SQL)
	switch info.Kind {
	case sqllex.Begin, sqllex.Commit, sqllex.Rollback:
		return fmt.Errorf("%s: this migration runs statement by statement, each in a transaction of its own; remove it", firstWord(s.SQL))
	}
	if !info.IsDDL() || changesSettings(s.SQL, info) || hasTemporary(s.SQL) {
		db.used.Store(true)
	}
	answers, err := db.store.Main.Run(ctx, pgstore.Apart(pgstore.StatementQuery(s)))
	if err != nil {
		return fmt.Errorf("%w: %w", aurora.ErrOutcomeUnknown, err)
	}
	var pgErr *pgconn.PgError
	if err := answers[0].Err; errors.As(err, &pgErr) {
		return err
	}
	return nil
}

// Check returns an error unless the check holds.
func (db *DB) Check(ctx context.Context, c aurora.Check) error {
	db.used.Store(true) // it may call set_config, as any query
	u := unit{item: aurora.Item{Migration: aurora.Migration{Checks: []aurora.Check{c}}}}
	answers, err := db.store.Main.Run(ctx, pgstore.Apart(pgstore.CheckQueries(c)...))
	if err != nil {
		return err
	}
	for i, a := range answers {
		if a.Err != nil {
			return u.checkError(i, a.Err)
		}
	}
	return nil
}

// BeginMigration brings the session to where every migration starts, and repeats
// what the finished statements of one that goes on had set.
func (db *DB) BeginMigration(ctx context.Context, finished []aurora.Statement) error {
	if err := db.freshen(ctx); err != nil {
		return err
	}
	infos := make([]sqllex.Info, len(finished))
	for i, s := range finished {
		infos[i] = sqllex.Classify(s.SQL)
	}
	for _, i := range settingsAmong(finished, infos) {
		if err := db.Exec(ctx, finished[i]); err != nil {
			return fmt.Errorf("set again what %s set: %w", finished[i].Pos(), err)
		}
	}
	return nil
}

// freshen takes back what statements by Exec may have set for the session.
func (db *DB) freshen(ctx context.Context) error {
	if !db.used.Load() {
		return nil
	}
	qs := db.resetQueries(&unit{resets: true, temporary: true})
	if err := pgstore.First(db.store.Main.Run(ctx, pgstore.Apart(qs...))); err != nil {
		return fmt.Errorf("take back the settings of the migration before: %w", err)
	}
	db.used.Store(false)
	return nil
}

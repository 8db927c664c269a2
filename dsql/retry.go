package dsql

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/internal/pgstore"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A series is what is tried again until it works, within a budget.
type series struct {
	db      *DB
	started time.Time
	try     int
	// lost says that the connection was lost while one of the tries was in
	// flight, which may still happen after a later one.
	lost bool
}

func (db *DB) newSeries() *series { return &series{db: db, started: time.Now()} }

// again waits before the next try and reports whether there is to be one.
func (s *series) again(ctx context.Context, err error) bool {
	if !isConflict(err) && !errors.Is(err, pgstore.ErrConnection) {
		return false
	}
	s.lost = s.lost || errors.Is(err, pgstore.ErrConnection)
	if !s.db.backoff.Wait(ctx, s.try, s.started) {
		return false
	}
	s.try++
	s.db.log.Debug("trying again", "try", s.try+1, "after", err)
	return true
}

// isConflict reports that a transaction lost against another, and did nothing:
// SQLSTATE 40001, data (OC000) as well as schema (OC001). See
// https://docs.aws.amazon.com/aurora-dsql/latest/userguide/working-with-concurrency-control.html
func isConflict(err error) bool { return pgstore.HasCode(err, "40001") }

// ask is the [asker] of the migration's session: it repeats queries, which must
// be harmless to repeat, after conflicts and on a new connection.
func (r *stream) ask(ctx context.Context, sql string, args ...string) ([][][]byte, error) {
	values := make([]any, len(args))
	for i, a := range args {
		values[i] = a
	}
	answers, err := r.insist(ctx, pgstore.Apart(pgstore.NewQuery(sql, values...)))
	if err != nil {
		return nil, err
	}
	return answers[0].Rows, nil
}

// insist sends queries that may be repeated until none of them fails for a
// conflict or the connection. It returns the first error of another sort.
func (r *stream) insist(ctx context.Context, groups [][]pgstore.Query) ([]pgstore.Answer, error) {
	s := r.db.newSeries()
	for {
		answers, err := r.exchange(ctx, groups)
		failed := pgstore.First(answers, err)
		if failed == nil || !s.again(ctx, failed) {
			return answers, failed
		}
	}
}

// exchange sends groups of queries on the migration's connection, which is
// replaced before where it has to be, and asks the server to cancel when ctx
// ends.
func (r *stream) exchange(ctx context.Context, groups [][]pgstore.Query) ([]pgstore.Answer, error) {
	if err := r.refresh(ctx); err != nil {
		return nil, err
	}
	conn := r.db.store.Main.Conn()
	if conn == nil {
		return nil, pgstore.ErrConnection
	}
	stop := pgstore.CancelOnDone(ctx, conn)
	defer stop()
	longer, cancel := pgstore.Outlive(ctx, pgstore.Grace)
	defer cancel()
	answers, err := r.db.store.Main.Run(longer, groups)
	if err == nil && r.db.store.Main.InTransaction() {
		// Nothing is left open on purpose: a transaction failed.
		_, err := r.db.store.Main.Run(longer, pgstore.Apart(pgstore.NewQuery("ROLLBACK")))
		if err != nil || r.db.store.Main.InTransaction() {
			r.db.store.Main.Drop()
		}
	}
	return answers, err
}

// refresh replaces the connection where it is lost or old, and brings back what
// the statements so far have set.
func (r *stream) refresh(ctx context.Context) error {
	renewed, err := r.db.store.Main.Renew(ctx)
	if isBusy(err) || isUnreachable(err) {
		// In the middle of a run that is worth more patience than at its begin.
		return fmt.Errorf("%w: %w", pgstore.ErrConnection, err)
	}
	if err != nil || !renewed {
		return err
	}
	if err := r.replay(ctx); err != nil {
		r.db.store.Main.Drop()
		return err
	}
	return nil
}

// replay sends again what statements before the present one set for the
// session: they are done, but their session is gone.
func (r *stream) replay(ctx context.Context) error {
	if r.unit == nil || !r.unit.settles {
		return nil
	}
	for _, st := range r.unit.steps {
		if r.unit.infos[st.end-1].Kind == sqllex.Rollback {
			continue
		}
		for j := st.first; j < min(st.end, r.at); j++ {
			if !isSetting(r.unit.sent[j], r.unit.infos[j]) {
				continue
			}
			answers, err := r.db.store.Main.Run(ctx, pgstore.Apart(pgstore.Query{SQL: r.unit.sent[j], Discard: true}))
			if err := pgstore.First(answers, err); isConflict(err) {
				return errors.Join(pgstore.ErrConnection, err) // all of it again
			} else if err != nil {
				return r.unit.stepError(j, err)
			}
		}
	}
	return nil
}

// atSource turns the position in a server's error into that of the statement
// as it stands in the file.
func (u *unit) atSource(j int, err error) error {
	pgErr, ok := err.(*pgconn.PgError)
	if !ok || pgErr.Position <= 0 || len(u.changes[j]) == 0 {
		return err
	}
	sent, source := u.sent[j], u.statements[j].SQL
	offset := byteOf(sent, int(pgErr.Position)-1)
	at := *pgErr
	at.Position = int32(utf8.RuneCountInString(source[:min(SourceOffset(u.changes[j], offset), len(source))])) + 1
	return &at
}

// byteOf gives where the n-th character begins, from 0.
func byteOf(s string, n int) int {
	for i := range s {
		if n--; n < 0 {
			return i
		}
	}
	return len(s)
}

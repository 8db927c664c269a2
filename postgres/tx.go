package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgstore"
)

// A TxFunc is a step of Go code in one transaction of PostgreSQL, which commits
// together with the history's word that the step is done. Its effect therefore
// happens exactly once, whatever is killed and whenever, and not at all once the
// lease is lost. The history must be in the same database.
//
//	postgres.TxFunc{Name: "book the openings", Do: func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error {
//		_, err := tx.Exec(ctx, "INSERT INTO bookings SELECT …")
//		return err
//	}}
//
// The transaction is READ COMMITTED unless its first statement is SET
// TRANSACTION. Within Do, env.Database is the transaction too. A checkpoint is
// stored only when Do then returns [aurora.ErrPaused], as it does near the
// deadline: what was done so far commits together with it, and the next run
// calls Do again. Do does not end the transaction; savepoints (tx.Begin) are
// fine. What it does elsewhere has to bear to be done again.
type TxFunc struct {
	// Name describes the step in a line, and must stay as it is while a
	// migration is half applied.
	Name string
	Do   func(ctx context.Context, tx pgx.Tx, env *aurora.Env) error
}

var _ aurora.Step = TxFunc{}

// String returns the name.
func (f TxFunc) String() string { return f.Name }

// Run calls the function in a transaction and commits it. It fails before
// anything is done where the environment's database is not PostgreSQL or does
// not hold the history. The error wraps [aurora.ErrLeaseLost] when the lease was
// lost meanwhile; nothing is committed then. It wraps [aurora.ErrOutcomeUnknown]
// when the connection broke at the commit and the server does not tell what
// became of it; the run ends then, and the next one sees.
func (f TxFunc) Run(ctx context.Context, env *aurora.Env) error {
	if f.Do == nil {
		return errors.New("the step has nothing to do: Do is not set")
	}
	if env.Database == nil {
		return errors.New("the environment has no database for the transaction; give it a url")
	}
	db, ok := env.Database.(*DB)
	if !ok {
		return fmt.Errorf("a transaction together with the history needs a PostgreSQL database, and the environment's is a %T: use aurora.Func and make it bear to run again, or package backfill", env.Database)
	}
	lease := db.store.Holds(env.Token())
	if lease == nil {
		return errors.New("the history is not in the environment's database, so that no transaction can commit in both: leave out the history's url, or use aurora.Func and make it bear to run again")
	}
	conn, err := db.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), pgstore.Grace)
		defer cancel()
		_ = conn.Close(clean) // rolls back what is open
	}()
	t := &sharedTx{db: db, lease: lease, conn: conn}
	if t.tx, err = conn.Begin(ctx); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	return env.Atomically(func(env *aurora.Env) error {
		env.Database = txDatabase{conn.PgConn()}
		return f.Do(ctx, lentTx{t.tx}, env)
	}, func(rev aurora.Revision) error { return t.commit(ctx, rev) })
}

// A lentTx cannot be ended by whom it is lent to.
type lentTx struct{ pgx.Tx }

var errLentTx = errors.New("the step's transaction ends with the step: return nil to commit, or an error to roll back")

func (lentTx) Commit(context.Context) error   { return errLentTx }
func (lentTx) Rollback(context.Context) error { return errLentTx }

// A txDatabase runs statements in a transaction.
type txDatabase struct{ conn *pgconn.PgConn }

func (d txDatabase) Exec(ctx context.Context, s aurora.Statement) error {
	_, err := d.conn.ExecParams(ctx, pgstore.ForPostgreSQL(s.SQL).Text, nil, nil, nil, nil).Close()
	return err
}

func (d txDatabase) Check(ctx context.Context, c aurora.Check) error {
	for i, q := range pgstore.CheckQueries(c) {
		if err := d.conn.ExecParams(ctx, q.SQL, nil, nil, nil, nil).Read().Err; err != nil {
			return pgstore.CheckError(aurora.Migration{Checks: []aurora.Check{c}}, i, err)
		}
	}
	return nil
}

// A sharedTx is a transaction that commits with a revision.
type sharedTx struct {
	db    *DB
	lease *pgstore.Lease
	conn  *pgx.Conn
	tx    pgx.Tx
}

// commit stores the revision in the transaction and commits both. It goes on for
// a while after ctx has ended, so that its outcome is known.
func (t *sharedTx) commit(ctx context.Context, rev aurora.Revision) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	switch t.conn.PgConn().TxStatus() {
	case 'I':
		return errors.New("the step has ended its transaction itself, so that its work is not recorded with it; leave BEGIN, COMMIT and ROLLBACK out")
	case 'E':
		return errors.New("the step returned no error although a statement failed, which spoils the whole transaction; return the error, or use tx.Begin for a savepoint")
	}
	longer, cancel := pgstore.Outlive(ctx, pgstore.Grace)
	defer cancel()
	// The number by which the server knows the transaction, also later on.
	var id string
	if err := t.tx.QueryRow(longer, "SELECT pg_catalog.txid_current()::text").Scan(&id); err != nil {
		return fmt.Errorf("before the commit: %w", err)
	}
	save := t.db.store.SaveQuery(t.lease.Token(), rev, false)
	// The transaction may be one with a snapshot, which sees the lease as it was.
	save.SQL = t.db.store.SQL.SaveBare
	err := t.exchange(longer,
		// Whatever role the step has taken on, history is ours to write.
		pgstore.NewQuery("SET LOCAL SESSION AUTHORIZATION DEFAULT"), save, pgstore.NewQuery("COMMIT"))
	var pgErr *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case pgstore.IsLeaseLost(err):
		return aurora.ErrLeaseLost
	case errors.As(err, &pgErr) && !pgstore.IsFatal(pgErr):
		return fmt.Errorf("commit: %w", err)
	}
	return t.outcome(ctx, id, err)
}

// exchange sends queries in one round trip; what follows one that failed does
// not happen.
func (t *sharedTx) exchange(ctx context.Context, queries ...pgstore.Query) error {
	pl := t.conn.PgConn().StartPipeline(ctx)
	for _, q := range queries {
		pl.SendQueryParams(q.SQL, q.Args, nil, nil, nil)
	}
	pl.SendPipelineSync()
	err := pl.Flush()
	var last pgstore.Answer
	for range queries {
		if err != nil {
			break
		}
		last = pgstore.ReadAnswer(pl, false)
		err = last.Err
	}
	if cerr := pl.Close(); err == nil {
		err = cerr
	}
	if err == nil && last.Tag != "COMMIT" {
		err = fmt.Errorf("the server answered %q", last.Tag)
	}
	return err
}

// askEvery is how often the server is asked about a transaction at work.
const askEvery = 100 * time.Millisecond

// outcome asks what became of a transaction whose commit was not answered.
func (t *sharedTx) outcome(ctx context.Context, id string, lost error) error {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), pgstore.Grace)
	defer cancel()
	for {
		answers, err := t.db.store.History(clean, pgstore.Apart(pgstore.NewQuery("SELECT pg_catalog.txid_status($1::bigint)", id)))
		if err := pgstore.First(answers, err); err != nil {
			return fmt.Errorf("commit: %w: %w (and asking for it: %w)", aurora.ErrOutcomeUnknown, lost, err)
		}
		status := ""
		if rows := answers[0].Rows; len(rows) == 1 {
			status = string(rows[0][0])
		}
		switch status {
		case "committed":
			return nil
		case "aborted":
			return fmt.Errorf("commit: rolled back, as the connection broke: %w", lost)
		case "in progress":
			select {
			case <-clean.Done():
			case <-time.After(askEvery):
				continue
			}
		}
		return fmt.Errorf("commit: %w: %w", aurora.ErrOutcomeUnknown, lost)
	}
}

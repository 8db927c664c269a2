package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/aurora-migrate/aurora"
)

// Connect opens a connection to the environment's database, PostgreSQL or Aurora
// DSQL, for a step of Go code, which closes it:
//
//	conn, err := postgres.Connect(ctx, env)
//	if err != nil {
//		return err
//	}
//	defer conn.Close(ctx)
//
// It has the login, search_path and settings of the connection on which the
// environment's statements run, and its own session. A statement ends with its
// context. When another run takes over the lease, PostgreSQL ends the session,
// unless the URL sets an application_name of its own; on Aurora DSQL nothing
// does. What is done over it is not in a transaction with the history, so such a
// step must bear to run again: [TxFunc] and package backfill make sure of more.
//
// It fails when the environment has no such database.
func Connect(ctx context.Context, env *aurora.Env) (*pgx.Conn, error) {
	if env.Database == nil {
		return nil, errors.New("the environment has no database to connect to; give it a url")
	}
	db, ok := env.Database.(interface {
		Connect(context.Context) (*pgx.Conn, error)
	})
	if !ok {
		return nil, fmt.Errorf("the environment's database is a %T, which does not give connections to PostgreSQL or Aurora DSQL", env.Database)
	}
	return db.Connect(ctx)
}

// Connect opens a connection beside those of the run, for a step of Go code: the
// same login, search_path and settings, in a session of its own. The step closes
// it. The function [Connect] finds it in the step's environment and says what
// holds for it. The error never contains the password.
func (db *DB) Connect(ctx context.Context) (*pgx.Conn, error) { return db.store.Dial(ctx) }

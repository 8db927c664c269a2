package backfill

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/aurora-migrate/aurora"
)

type connectFunc = func(context.Context) (*pgx.Conn, error)

// connectOf returns how to connect to the environment's database, nil where it
// is not one of PostgreSQL's kind.
func connectOf(env *aurora.Env) connectFunc {
	if db, ok := env.Database.(interface {
		Connect(context.Context) (*pgx.Conn, error)
	}); ok {
		return db.Connect
	}
	return nil
}

// connectKey is the key of a throttle's context for the backfill's connectFunc.
type connectKey struct{}

// Query makes an [Options.Throttle] of a SQL query that returns one number, or a
// boolean: 1 or true for full speed, 0 or false for a halt. It keeps a connection
// of its own and closes it when asking fails or the backfill ends. Without a way
// to connect it uses that of the rows, or of the environment.
//
//	backfill.Query(nil, "SELECT coalesce(max(replay_lag), '0') < '10 s' FROM pg_stat_replication")
func Query(connect func(context.Context) (*pgx.Conn, error), sql string) func(context.Context) (float64, error) {
	var mu sync.Mutex
	var during context.Context // the same at every call of one backfill
	s := new(session)
	return func(ctx context.Context) (float64, error) {
		mu.Lock()
		defer mu.Unlock()
		if ctx != during {
			during = ctx
			s.close() // an earlier backfill may have had another database
			if s.connect = connect; connect == nil {
				s.connect, _ = ctx.Value(connectKey{}).(connectFunc)
			}
			context.AfterFunc(ctx, func() {
				mu.Lock()
				defer mu.Unlock()
				s.close()
			})
		}
		if s.connect == nil {
			return 0, errors.New("no database to ask: neither the query nor the backfill has a way to connect")
		}
		rows, err := s.ask(ctx, nil, sql)
		if err != nil {
			return 0, err
		}
		if len(rows) != 1 || len(rows[0]) != 1 {
			return 0, fmt.Errorf("%d rows came, want one value", len(rows))
		}
		switch v := rows[0][0]; v {
		case "t":
			return 1, nil
		case "f":
			return 0, nil
		default:
			return strconv.ParseFloat(v, 64)
		}
	}
}

package backfill

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Query makes an [Options.Throttle] of a SQL query that returns one number, or a
// boolean: 1 or true for full speed, 0 or false for a halt. It keeps a connection
// of its own and closes it when asking fails or the backfill ends.
//
//	backfill.Query(connect, "SELECT coalesce(max(replay_lag), '0') < '10 s' FROM pg_stat_replication")
func Query(connect func(context.Context) (*pgx.Conn, error), sql string) func(context.Context) (float64, error) {
	var mu sync.Mutex
	s := &session{connect: connect}
	return func(ctx context.Context) (float64, error) {
		mu.Lock()
		defer mu.Unlock()
		context.AfterFunc(ctx, func() {
			mu.Lock()
			defer mu.Unlock()
			s.close()
		})
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

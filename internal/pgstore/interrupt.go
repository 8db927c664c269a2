package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Grace is how long an exchange that was interrupted may still take before the
// connection is closed under it.
const Grace = 4 * time.Second

// cancelEvery is how often an interrupted exchange asks the server to cancel,
// until it stops: a request that arrives between two statements has no effect.
const cancelEvery = 50 * time.Millisecond

// Outlive returns a context that ends some time after ctx has.
func Outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-longer.Done():
		case <-time.After(by):
			cancel()
		}
	})
	return longer, func() { stop(); cancel() }
}

// CancelOnDone asks the server to cancel from the moment ctx ends until stop.
func CancelOnDone(ctx context.Context, conn *pgconn.PgConn) (stop func()) {
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		tick := time.NewTicker(cancelEvery)
		defer tick.Stop()
		for {
			asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_ = conn.CancelRequest(asking) // asked again until the stream ends
			cancel()
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() { close(done); <-stopped }
}

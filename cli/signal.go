package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// sameSignal is how close together two signals count as one: timeout(1), for
// one, signals its child and then the child's whole process group.
const sameSignal = 500 * time.Millisecond

// withSignals returns a context that the first SIGINT, SIGTERM or SIGHUP
// cancels; the second ends the process.
//
// It also takes SIGPIPE, so that writing to a closed pipe is an error value
// and not the end of a run that holds the lock. Taking it rather than ignoring
// it keeps the default for child processes, which inherit ignored signals.
func withSignals(ctx context.Context, stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	stop := make(chan os.Signal, 2)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-stop:
		}
		first := time.Now()
		if _, ok := terminalFile(stderr); ok {
			fmt.Fprint(stderr, "\r\x1b[K") // the live line, and the ^C in it
		}
		fmt.Fprintln(stderr, "interrupted, stopping in good order (once more to stop at once)")
		cancel()
		for {
			select {
			case <-done:
				return
			case <-stop:
				if time.Since(first) > sameSignal {
					os.Exit(ExitInterrupted)
				}
			}
		}
	}()
	return ctx, func() {
		close(done)
		signal.Stop(stop)
		signal.Stop(pipe)
		cancel()
	}
}

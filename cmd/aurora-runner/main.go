// The program aurora-runner fetches a bundle, checks that it is the one that
// was asked for, and becomes it: same process, same environment, same signals.
// Its arguments are the bundle's; without any they are "migrate apply".
//
//	AURORA_BUNDLE_URL, MIGRATION_BUNDLE_URL        s3://BUCKET/KEY or https://…
//	AURORA_BUNDLE_SHA256, MIGRATION_BUNDLE_SHA256  its digest, 64 hexadecimal digits
//	AURORA_BUNDLE_MAX_SIZE                         limit in bytes, default 256 MiB
//	AURORA_BUNDLE_TIMEOUT                          limit of the whole, default 5m
//	TMPDIR                                         where it is put, default /tmp
//
// It exits with a code of its own where the bundle does not run:
//
//	64   a variable is missing or wrong, or the bucket is in another region
//	66   there is no such object
//	69   the server cannot be reached, or fails
//	73   the temporary directory does not take the file
//	74   the connection ended before the object did
//	75   a time limit was reached
//	76   the server redirects to where nothing protects the way
//	77   access was denied, or there are no credentials
//	78   the digest is another one
//	79   the object is larger than the limit
//	80   it is no program for this machine
//	81   the system does not start it
//	130, 143  SIGINT or SIGTERM came before the bundle was there
//
// All other codes are the bundle's.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/aurora-migrate/aurora/bundle"
)

// The exit codes, which are a promise to whoever started the task. Below 64 and
// 128 they are the bundle's.
const (
	exitRequest     = 64
	exitNotFound    = 66
	exitUnavailable = 69
	exitDisk        = 73
	exitTruncated   = 74
	exitTimeout     = 75
	exitRedirect    = 76
	exitDenied      = 77
	exitDigest      = 78
	exitTooLarge    = 79
	exitPlatform    = 80
	exitExec        = 81
)

var codes = []struct {
	err  error
	code int
}{
	{bundle.ErrRequest, exitRequest},
	{bundle.ErrNotFound, exitNotFound},
	{bundle.ErrUnavailable, exitUnavailable},
	{bundle.ErrDisk, exitDisk},
	{bundle.ErrTruncated, exitTruncated},
	{bundle.ErrTimeout, exitTimeout},
	{bundle.ErrRedirect, exitRedirect},
	{bundle.ErrDenied, exitDenied},
	{bundle.ErrDigest, exitDigest},
	{bundle.ErrTooLarge, exitTooLarge},
	{bundle.ErrPlatform, exitPlatform},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "aurora-runner: %v\n", err)
		os.Exit(exitCode(err))
	}
}

// A signalError is a signal that came before the bundle was there.
type signalError struct{ signal syscall.Signal }

func (e *signalError) Error() string { return e.signal.String() }

// An execError is why the system did not start the bundle.
type execError struct{ err error }

func (e *execError) Error() string { return "start the bundle: " + e.err.Error() }
func (e *execError) Unwrap() error { return e.err }

func exitCode(err error) int {
	var (
		sig   *signalError
		start *execError
	)
	if errors.As(err, &sig) {
		return 128 + int(sig.signal)
	}
	if errors.As(err, &start) {
		return exitExec
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return exitUnavailable
}

// run only returns when the bundle does not run.
func run(args []string) error {
	o, err := options(os.Getenv)
	if err != nil {
		return err
	}
	path, err := fetch(o)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"migrate", "apply"}
	}
	err = syscall.Exec(path, append([]string{"aurora"}, args...), os.Environ())
	return errors.Join(&execError{err}, os.RemoveAll(filepath.Dir(path)))
}

// fetch takes the signals that would leave a file behind, or as the first
// process of a container would do nothing at all.
func fetch(o bundle.FetchOptions) (string, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		if s, ok := (<-signals).(syscall.Signal); ok {
			cancel(&signalError{s})
		}
	}()
	path, err := bundle.Fetch(ctx, o)
	if err == nil && ctx.Err() != nil {
		return "", errors.Join(context.Cause(ctx), os.RemoveAll(filepath.Dir(path)))
	}
	return path, err
}

// options reads the variables.
func options(getenv func(string) string) (bundle.FetchOptions, error) {
	o := bundle.FetchOptions{
		URL:    cmp.Or(getenv("AURORA_BUNDLE_URL"), getenv("MIGRATION_BUNDLE_URL")),
		SHA256: cmp.Or(getenv("AURORA_BUNDLE_SHA256"), getenv("MIGRATION_BUNDLE_SHA256")),
	}
	switch {
	case o.URL == "":
		return o, fmt.Errorf("%w: AURORA_BUNDLE_URL is not set (nor is MIGRATION_BUNDLE_URL)", bundle.ErrRequest)
	case o.SHA256 == "":
		return o, fmt.Errorf("%w: AURORA_BUNDLE_SHA256 is not set (nor is MIGRATION_BUNDLE_SHA256), and nothing runs that was not asked for by its digest", bundle.ErrRequest)
	}
	if s := getenv("AURORA_BUNDLE_MAX_SIZE"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n <= 0 {
			return o, fmt.Errorf("%w: AURORA_BUNDLE_MAX_SIZE is not a number of bytes", bundle.ErrRequest)
		}
		o.MaxSize = n
	}
	if s := getenv("AURORA_BUNDLE_TIMEOUT"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return o, fmt.Errorf("%w: AURORA_BUNDLE_TIMEOUT is not a duration such as 90s", bundle.ErrRequest)
		}
		o.Timeout = d
	}
	return o, nil
}

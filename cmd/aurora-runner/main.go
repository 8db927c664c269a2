// The program aurora-runner fetches a bundle, checks that it is the one that
// was asked for, and becomes it: same process, same signals, same environment
// but for the URL and the digest, as a URL may hold a signature. Its arguments
// are the bundle's; without any they are "migrate apply".
//
//	AURORA_BUNDLE_URL, MIGRATION_BUNDLE_URL        s3://BUCKET/KEY or https://…
//	AURORA_BUNDLE_SHA256, MIGRATION_BUNDLE_SHA256  its digest, 64 hexadecimal digits
//	AURORA_BUNDLE_MAX_SIZE                         limit in bytes, default 256 MiB
//	AURORA_BUNDLE_TIMEOUT                          limit of the whole, default 5m
//	TMPDIR                                         where it is put, default /tmp
//
// URL and digest are of one pair of names. Both pairs must say the same where
// both are there: nobody knows which of two different bundles was meant.
//
// It exits with a code of its own where the bundle does not run:
//
//	64   a variable is missing or wrong, the two pairs differ, or the bucket is in
//	     another region
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
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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

// newSignalError takes what signal.Notify sends, of which all are of this type.
func newSignalError(s os.Signal) error {
	sig, _ := s.(syscall.Signal)
	return &signalError{sig}
}

// An execError is why the system did not start the bundle.
type execError struct{ err error }

func (e *execError) Error() string {
	text := "start the bundle: " + e.err.Error()
	switch {
	case errors.Is(e.err, syscall.ENOENT):
		// The file is there. The kernel says this of the loader that it names.
		return text + "; it needs a dynamic loader that is not here: link it statically, as with CGO_ENABLED=0"
	case errors.Is(e.err, syscall.EACCES):
		return text + "; files in the temporary directory must be allowed to run: set TMPDIR to one that is not mounted noexec"
	}
	return text
}

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
	// They would leave a file behind, or as those of the first process of a
	// container do nothing at all. They are taken until the bundle takes them.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	path, err := fetch(o, signals)
	if err != nil {
		return err
	}
	return become(path, args, signals)
}

// become turns this process into the bundle, unless a signal is there.
func become(path string, args []string, signals <-chan os.Signal) error {
	if len(args) == 0 {
		args = []string{"migrate", "apply"}
	}
	argv, env := append([]string{"aurora"}, args...), environment(os.Environ())
	var err error
	select {
	case s := <-signals:
		err = newSignalError(s)
	default:
		err = &execError{syscall.Exec(path, argv, env)}
	}
	return errors.Join(err, os.RemoveAll(filepath.Dir(path)))
}

// environment leaves out which bundle this is.
func environment(vars []string) []string {
	return slices.DeleteFunc(vars, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.ContainsFunc(pairs, func(p pair) bool { return name == p.url || name == p.digest })
	})
}

// fetch ends early when a signal comes.
func fetch(o bundle.FetchOptions, signals <-chan os.Signal) (string, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	fetched, listened := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(listened)
		select {
		case s := <-signals:
			cancel(newSignalError(s))
		case <-fetched:
		}
	}()
	path, err := bundle.Fetch(ctx, o)
	close(fetched)
	<-listened
	if err == nil && ctx.Err() != nil {
		return "", errors.Join(context.Cause(ctx), os.RemoveAll(filepath.Dir(path)))
	}
	return path, err
}

// A pair is two variables that belong together.
type pair struct{ url, digest string }

var pairs = []pair{{"AURORA_BUNDLE_URL", "AURORA_BUNDLE_SHA256"}, {"MIGRATION_BUNDLE_URL", "MIGRATION_BUNDLE_SHA256"}}

// object reads the pair that is set.
func object(getenv func(string) string) (url, digest string, err error) {
	used := -1
	for i, p := range pairs {
		u, d := getenv(p.url), getenv(p.digest)
		switch {
		case u == "" && d == "":
		case used < 0:
			used, url, digest = i, u, d
		case u != url || d != digest:
			return "", "", fmt.Errorf("%w: %s with %s and %s with %s do not name the same bundle; set one pair only", bundle.ErrRequest, pairs[used].url, pairs[used].digest, p.url, p.digest)
		}
	}
	switch p := pairs[max(used, 0)]; {
	case used < 0:
		return "", "", fmt.Errorf("%w: AURORA_BUNDLE_URL is not set (nor is MIGRATION_BUNDLE_URL)", bundle.ErrRequest)
	case url == "":
		return "", "", fmt.Errorf("%w: %s is not set, and %s is", bundle.ErrRequest, p.url, p.digest)
	case digest == "":
		return "", "", fmt.Errorf("%w: %s is not set, and nothing runs that was not asked for by its digest", bundle.ErrRequest, p.digest)
	}
	return url, digest, nil
}

// options reads the variables.
func options(getenv func(string) string) (o bundle.FetchOptions, err error) {
	if o.URL, o.SHA256, err = object(getenv); err != nil {
		return o, err
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

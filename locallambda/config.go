// Package locallambda runs a program on this machine as AWS Lambda would: it
// offers the Runtime API, which a program built for provided.al2023 polls, and
// in front of it the part of Lambda's own API that invokes functions.
//
//	s, err := locallambda.Start(locallambda.Config{Command: []string{"./bootstrap"}})
//	...
//	defer s.Close()
//	result, err := s.Invoke(ctx, []byte(`{"command":"status"}`))
//
// What goes wrong in Lambda now and then can be made to go wrong here as often
// as one likes: an event delivered twice, a process killed, an invoke
// throttled, a chain of invocations taken for a loop.
//
// It listens on this machine only, lets no web page in, and checks no
// signatures. What it does is
// what the Lambda developer guide says in "Using the Lambda runtime API",
// "Invoking a function asynchronously", "Lambda quotas" and "Use Lambda
// recursive loop detection".
package locallambda

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

// Limits of AWS Lambda, in bytes.
const (
	SyncLimit  = 6 << 20 // of a payload and of an answer
	AsyncLimit = 1 << 20 // of an event's payload
)

// Other defaults of AWS Lambda.
const (
	DefaultTimeout     = 3 * time.Second
	DefaultConcurrency = 10 // AWS has 1,000 for an account
	DefaultMemoryMB    = 128
	// LoopLimit is about how often one chain of requests may invoke a function.
	LoopLimit = 16
	// initTimeout is how long a program may take to ask for its first event.
	initTimeout = 10 * time.Second
)

// retryDelays are how long Lambda waits before it delivers a failed event
// again.
var retryDelays = []time.Duration{time.Minute, 2 * time.Minute}

// Config says what to run and how. Only Command must be set.
type Config struct {
	// Command is the program and its arguments.
	Command []string
	// Dir is its working directory. Defaults to that of this process.
	Dir string
	// Env is added to this process's environment, as name=value, and to what
	// Lambda sets.
	Env []string
	// Name is the function's. Defaults to "function".
	Name string
	// Version is the one that runs. Defaults to $LATEST. Aliases are names that
	// lead to it.
	Version string
	Aliases []string
	// Timeout is how long an invocation may take. Defaults to [DefaultTimeout].
	Timeout time.Duration
	// Concurrency is how many invocations may run at the same time. Defaults to
	// [DefaultConcurrency].
	Concurrency int
	// MemoryMB is only told to the program. Defaults to [DefaultMemoryMB].
	MemoryMB int
	// Retries are the delays before an event that failed is delivered again.
	// Defaults to a minute and two minutes; an empty slice means never.
	Retries []time.Duration
	// Deliveries is how often each event is delivered: 2 for always twice.
	// Defaults to 1. Gap is between them.
	Deliveries int
	Gap        time.Duration
	// Kill is asked about every invocation when its event is handed over. It
	// returns after how long to kill the process, or 0 for not at all.
	Kill func(Invocation) time.Duration
	// Throttle is asked about every invoke, and true answers 429.
	Throttle func() bool
	// StopLoops stops chains of more than [LoopLimit] invocations, as Lambda
	// does with functions whose recursive loop detection is on, its default.
	StopLoops bool
	// Addr is where to listen. Defaults to a free port of 127.0.0.1, and must be
	// on this machine.
	Addr string
	// Output gets what the processes write, one write at a time. Defaults to
	// none.
	Output io.Writer
	// Logger hears of invocations. Defaults to none.
	Logger *slog.Logger
}

// functionName is what Lambda allows, without account and version.
var functionName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

func (c Config) withDefaults() (Config, error) {
	if len(c.Command) == 0 {
		return c, errors.New("there is no program to run")
	}
	if c.Dir == "" || filepath.IsAbs(c.Command[0]) {
		if _, err := exec.LookPath(c.Command[0]); err != nil {
			return c, fmt.Errorf("the program: %w", err)
		}
	}
	c.Name = cmp.Or(c.Name, "function")
	if !functionName.MatchString(c.Name) {
		return c, fmt.Errorf("%q is no name for a function: want 1 to 64 letters, digits, - and _", c.Name)
	}
	if c.Timeout < 0 || c.Concurrency < 0 || c.Deliveries < 0 || c.Gap < 0 {
		return c, errors.New("timeout, concurrency, deliveries and gap must not be negative")
	}
	c.Version = cmp.Or(c.Version, "$LATEST")
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.Concurrency = cmp.Or(c.Concurrency, DefaultConcurrency)
	c.MemoryMB = cmp.Or(c.MemoryMB, DefaultMemoryMB)
	c.Deliveries = cmp.Or(c.Deliveries, 1)
	c.Addr = cmp.Or(c.Addr, "127.0.0.1:0")
	if c.Retries == nil {
		c.Retries = retryDelays
	}
	if c.Output == nil {
		c.Output = io.Discard
	}
	c.Output = &lockedWriter{w: c.Output}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// region is what the program's environment says, or a default.
func region() string {
	return cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), "us-east-1")
}

// arn is the function's, with the version or alias that it was invoked by.
func (c Config) arn(qualifier string) string {
	arn := "arn:aws:lambda:" + region() + ":000000000000:function:" + c.Name
	if qualifier != "" {
		arn += ":" + qualifier
	}
	return arn
}

// A lockedWriter takes the output of several processes.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

package lambdahandler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/dynamo"
	"github.com/aurora-migrate/aurora/filestore"
	"github.com/aurora-migrate/aurora/internal/dynamotest"
	"github.com/aurora-migrate/aurora/internal/pgtest"
	"github.com/aurora-migrate/aurora/lambdahandler"
	"github.com/aurora-migrate/aurora/locallambda"
)

// The stand-in for DynamoDB ends with this process.
func TestMain(m *testing.M) { pgtest.Main(m) }

// A scale is how long the invocations of a chain are. AURORA_LAMBDA_CHAIN=full
// has them as long as a function's default timeout.
type scale struct {
	limit, margin, batch, ttl time.Duration
	hops                      int
}

// quickScale is that of a chain of as many invocations in a few seconds.
var quickScale = scale{limit: 500 * time.Millisecond, margin: 250 * time.Millisecond, batch: 10 * time.Millisecond, ttl: 600 * time.Millisecond, hops: 40}

func chainScale() scale {
	if os.Getenv("AURORA_LAMBDA_CHAIN") == "full" {
		// The margin is the default one: a third.
		return scale{limit: 3 * time.Second, batch: 45 * time.Millisecond, ttl: time.Second, hops: 40}
	}
	// Who waits for the lease of one that was killed has to outlast it in a slice.
	return scale{limit: 2 * time.Second, margin: time.Second, batch: 30 * time.Millisecond, ttl: 600 * time.Millisecond, hops: 6}
}

// times is the scale for a machine on which all takes n times as long.
func (s scale) times(n time.Duration) scale {
	s.limit, s.margin, s.batch, s.ttl = s.limit*n, s.margin*n, s.batch*n, s.ttl*n
	return s
}

// slice is the time of an invocation in which batches run.
func (s scale) slice() time.Duration {
	if s.margin == 0 {
		return s.limit - s.limit/3
	}
	return s.limit - s.margin
}

// buildChain builds the program of testdata/chain once.
var buildChain = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "aurora-chain")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "bootstrap")
	out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", path, "./testdata/chain").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// patiently runs a test that needs a machine which gets something done within
// an invocation. What the test returns is that it did not: then it has another
// try with twice the time, and fails only when nothing helps.
func patiently(t *testing.T, test func(t *testing.T, n time.Duration) error) {
	t.Helper()
	for n := time.Duration(1); ; n *= 2 {
		err := test(t, n)
		if err == nil || t.Failed() {
			return
		}
		if n == 16 {
			t.Fatalf("with %d times the time: %v", n, err)
		}
		t.Logf("with %d times the time: %v", n, err)
	}
}

// A chain is a function with a migration of many batches.
type chain struct {
	scale   scale
	store   aurora.History
	results string
	batches int
	cfg     locallambda.Config
	output  *lockedBuffer
	send    func(*testing.T, *locallambda.Server) // the first event
	server  *locallambda.Server                   // once it runs
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newChain prepares a chain of about s.hops invocations.
func newChain(t *testing.T, s scale, inFile bool) *chain {
	t.Helper()
	binary, err := buildChain()
	if err != nil {
		t.Fatal(err)
	}
	c := &chain{scale: s, results: t.TempDir(), output: &lockedBuffer{}}
	// A batch takes a little longer than it waits, so these are more than enough.
	c.batches = s.hops * int(s.slice()/s.batch)
	env := []string{
		"RESULTS=" + c.results, "TTL=" + s.ttl.String(), "MARGIN=" + s.margin.String(), "BATCH=" + s.batch.String(), "BATCHES=" + strconv.Itoa(c.batches),
		"MAX_HOPS=900", // however slow the batches are
	}
	if inFile {
		path := filepath.Join(t.TempDir(), "history.db")
		store, err := filestore.Open(filestore.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		c.store, env = store, append(env, "FILE="+path)
	} else {
		endpoint := dynamotest.Endpoint(t)
		table := dynamotest.Table(t)
		store, err := dynamo.Open(t.Context(), dynamo.Config{Table: table, Client: dynamotest.Client(endpoint)})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.CreateTable(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.store, env = store, append(env, "TABLE="+table, "AWS_ENDPOINT_URL_DYNAMODB="+endpoint)
	}
	c.cfg = locallambda.Config{
		Command: []string{binary}, Env: env, Name: "migrate", Timeout: s.limit, Output: c.output,
		Retries: []time.Duration{s.ttl * 2, s.ttl * 4},
	}
	c.send = func(_ *testing.T, s *locallambda.Server) { s.Send([]byte(`{"executionId":"the-chain"}`)) }
	return c
}

// run invokes the function, waits until the chain has ended, and returns what
// the history has of it.
func (c *chain) run(t *testing.T) aurora.Execution {
	t.Helper()
	s, err := locallambda.Start(c.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the function wrote:\n%s", c.output.String())
		}
	})
	c.server = s
	began := time.Now()
	c.send(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	if err := s.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	e, err := c.store.Execution(t.Context(), "the-chain")
	if err != nil && !errors.Is(err, aurora.ErrNotFound) {
		t.Fatal(err)
	}
	hops, killed, failed, skipped, worked := c.count(t)
	t.Logf("%d batches, %d hops in %s: %d invocations, %d of them killed, %d with errors, %d that had nothing to do",
		c.batches, hops, time.Since(began).Round(time.Second/10), killed+failed+skipped+worked, killed, failed, skipped)
	return e
}

// count counts the invocations by how they ended.
func (c *chain) count(t *testing.T) (hops, killed, failed, skipped, worked int) {
	t.Helper()
	for _, inv := range c.server.Invocations() {
		hops = max(hops, hopOf(t, inv.Payload)+1)
		switch {
		case inv.Killed:
			killed++
		case inv.Result.FunctionError != "":
			failed++
		case strings.Contains(string(inv.Result.Payload), `"skipped"`):
			skipped++
		default:
			worked++
		}
	}
	return hops, killed, failed, skipped, worked
}

func hopOf(t *testing.T, payload []byte) int {
	t.Helper()
	var e lambdahandler.Event
	if err := json.Unmarshal(payload, &e); err != nil {
		t.Fatal(err)
	}
	return e.Hop
}

// hurried returns what shows that the machine was too slow for the invocations:
// those that failed although nobody had them fail, and batches that were cut
// off by the end of an invocation.
func (c *chain) hurried(t *testing.T) (signs []string) {
	t.Helper()
	for _, inv := range c.server.Invocations() {
		if inv.Result.FunctionError != "" && !inv.Killed && !strings.Contains(string(inv.Result.Payload), diesWith) {
			signs = append(signs, fmt.Sprintf("hop %d, attempt %d: %s", hopOf(t, inv.Payload), inv.Attempt, inv.Result.Payload))
		}
	}
	for _, a := range c.attempts(t) {
		if a == "late" {
			signs = append(signs, "a batch was cut off")
		}
	}
	return signs
}

// diesWith is how the program of testdata/chain dies where a test has it die.
const diesWith = "exit status 3"

// attempts returns what the batches wrote.
func (c *chain) attempts(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.results, "attempts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Fields(string(b))
}

// blame fails the test for what is wrong, or returns it where the machine may
// have been too slow.
func (c *chain) blame(t *testing.T, wrong ...error) error {
	t.Helper()
	err := errors.Join(wrong...)
	signs := c.hurried(t)
	if err == nil || len(signs) == 0 {
		if err != nil {
			t.Error(err)
		}
		return nil
	}
	return fmt.Errorf("%w\nin too little time: %s", err, strings.Join(signs, "\n"))
}

// check fails, or blames the machine, unless every batch was applied, and
// attempted once, apart from the given number of repetitions; and all in order.
func (c *chain) check(t *testing.T, e aurora.Execution, repeats int) error {
	t.Helper()
	var wrong []error
	errorf := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if e.State != aurora.Completed || len(e.Revisions) != 2 && !c.cfg.StopLoops {
		errorf("the execution is %s with %d revisions, want completed with 2", e.State, len(e.Revisions))
	}
	if _, killed, failed, _, worked := c.count(t); worked+killed+failed < c.scale.hops {
		errorf("%d invocations were at work, want at least %d", worked+killed+failed, c.scale.hops)
	}
	attempts := slices.DeleteFunc(c.attempts(t), func(a string) bool { return a == "late" })
	if i := slices.Index(attempts, "last"); i < 0 || i != len(attempts)-1 {
		errorf("the second migration did not run once and last")
	}
	var repeated []string
	next := 0
	for _, a := range attempts {
		n, err := strconv.Atoi(a)
		switch {
		case a == "last":
		case err != nil:
			t.Fatal(err)
		case n == next:
			next++
		case n == next-1:
			repeated = append(repeated, a)
		case c.lostLease():
			errorf("batch %d was attempted after batch %d by one that had lost its lease", n, next-1)
		default:
			t.Fatalf("batch %d was attempted after batch %d: two invocations ran at the same time", n, next-1)
		}
	}
	if next != c.batches {
		errorf("%d batches were attempted, want %d", next, c.batches)
	}
	if len(repeated) > repeats {
		errorf("the batches %v were attempted again, more than the %d that may", repeated, repeats)
	}
	applied, err := filepath.Glob(filepath.Join(c.results, "batch-*"))
	if err != nil || len(applied) != c.batches {
		errorf("%d batches were applied (%v), want %d", len(applied), err, c.batches)
	}
	return c.blame(t, wrong...)
}

// lostLease reports whether an invocation stood still for so long that its
// lease went to another.
func (c *chain) lostLease() bool {
	return slices.ContainsFunc(c.server.Invocations(), func(inv locallambda.Invocation) bool {
		return strings.Contains(string(inv.Result.Payload), aurora.ErrLeaseLost.Error())
	})
}

// isKilled reports whether Config.Kill ended an invocation.
func isKilled(inv locallambda.Invocation) bool { return inv.Killed }

// died counts the invocations that could not save what they had just done.
func (c *chain) died() int {
	n := 0
	for _, inv := range c.server.Invocations() {
		if inv.Killed || inv.Result.FunctionError != "" {
			n++
		}
	}
	return n
}

func TestChain(t *testing.T) {
	t.Parallel()
	patiently(t, func(t *testing.T, n time.Duration) error {
		c := newChain(t, chainScale().times(n), false)
		err := c.check(t, c.run(t), 0)
		if n := c.died(); n > 0 {
			err = errors.Join(err, c.blame(t, fmt.Errorf("%d invocations failed", n)))
		}
		return err
	})
}

func TestChainInFile(t *testing.T) {
	t.Parallel()
	patiently(t, func(t *testing.T, n time.Duration) error {
		c := newChain(t, chainScale().times(n), true)
		return c.check(t, c.run(t), 0)
	})
}

// As many invocations as are promised, whatever the scale of the other chains.
func TestChainOfForty(t *testing.T) {
	t.Parallel()
	patiently(t, func(t *testing.T, n time.Duration) error {
		c := newChain(t, quickScale.times(n), true)
		e := c.run(t)
		return c.check(t, e, c.died())
	})
}

func TestChainEveryEventTwice(t *testing.T) {
	t.Parallel()
	for _, slices := range []time.Duration{0, 1, 2} {
		t.Run(fmt.Sprint("after ", int(slices)), func(t *testing.T) {
			t.Parallel()
			patiently(t, func(t *testing.T, n time.Duration) error {
				c := newChain(t, chainScale().times(n), false)
				c.cfg.Deliveries, c.cfg.Gap = 2, slices*c.scale.slice()
				if err := c.check(t, c.run(t), 0); err != nil {
					return err
				}
				// A second chain would double the invocations that run batches. So would
				// batches that take much longer than they wait.
				ran := 0
				for _, inv := range c.server.Invocations() {
					if strings.Contains(string(inv.Result.Payload), `"continued":true`) {
						ran++
					}
				}
				if most := c.scale.hops * 3 / 2; ran > most {
					return fmt.Errorf("%d invocations ran batches and went on, want at most %d", ran, most)
				}
				return nil
			})
		})
	}
}

func TestChainKilled(t *testing.T) {
	t.Parallel()
	patiently(t, func(t *testing.T, n time.Duration) error {
		c := newChain(t, chainScale().times(n), false)
		var mu sync.Mutex
		random := rand.New(rand.NewPCG(1, 2))
		c.cfg.Kill = func(inv locallambda.Invocation) time.Duration {
			mu.Lock()
			defer mu.Unlock()
			if hopOf(t, inv.Payload) == 1 && inv.Attempt == 1 {
				return c.scale.slice() / 2 // one for certain, at work
			}
			if inv.Attempt > 2 || random.IntN(4) > 0 {
				return 0 // a third failure is the end of an event
			}
			return time.Millisecond + rand.N(c.scale.limit)
		}
		e := c.run(t)
		err := c.check(t, e, c.died())
		if err == nil && !slices.ContainsFunc(c.server.Invocations(), isKilled) {
			t.Error("nothing was killed")
		}
		return err
	})
}

// The function dies between saving and invoking, and right after invoking.
func TestChainDiesAroundInvoke(t *testing.T) {
	t.Parallel()
	patiently(t, func(t *testing.T, n time.Duration) error {
		c := newChain(t, chainScale().times(n), false)
		c.cfg.Env = append(c.cfg.Env, "DIES=yes")
		// All was saved before.
		err := c.check(t, c.run(t), 0)
		if n := c.died(); err == nil && n < 2 {
			t.Errorf("%d invocations died, want some", n)
		}
		return err
	})
}

func TestChainThrottled(t *testing.T) {
	t.Parallel()
	patiently(t, func(t *testing.T, n time.Duration) error {
		c := newChain(t, chainScale().times(n), false)
		var mu sync.Mutex
		random, throttled := rand.New(rand.NewPCG(3, 4)), 0
		c.cfg.Throttle = func() bool {
			mu.Lock()
			defer mu.Unlock()
			// The first for certain, then one in ten.
			if throttled == 0 || random.IntN(10) == 0 {
				throttled++
				return true
			}
			return false
		}
		e := c.run(t)
		err := c.check(t, e, c.died())
		mu.Lock()
		defer mu.Unlock()
		if err == nil && throttled == 0 {
			t.Error("nothing was throttled")
		}
		return err
	})
}

// Invoked by an alias, the chain stays with it.
func TestChainKeepsItsAlias(t *testing.T) {
	t.Parallel()
	patiently(t, func(t *testing.T, n time.Duration) error {
		c := newChain(t, chainScale().times(n), false)
		c.cfg.Aliases = []string{"live"}
		c.send = func(t *testing.T, s *locallambda.Server) {
			client := awslambda.New(awslambda.Options{
				Region: "us-east-1", BaseEndpoint: aws.String(s.URL()), Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
			})
			if err := lambdahandler.Invoker(client, "migrate:live")(t.Context(), aurora.Request{ExecutionID: "the-chain"}); err != nil {
				t.Fatal(err)
			}
		}
		err := c.check(t, c.run(t), 0)
		for _, inv := range c.server.Invocations() {
			if inv.Qualifier != "live" {
				t.Errorf("an invocation by %q", inv.Qualifier)
			}
		}
		return err
	})
}

// Where Lambda takes the chain for a loop, it ends after 16 invocations, and
// the history says that it is paused. A new execution goes on.
func TestChainTakenForALoop(t *testing.T) {
	t.Parallel()
	patiently(t, func(t *testing.T, n time.Duration) error {
		s := scale{limit: 800 * time.Millisecond, margin: 400 * time.Millisecond, batch: 30 * time.Millisecond, ttl: 600 * time.Millisecond, hops: locallambda.LoopLimit + 2}
		c := newChain(t, s.times(n), false)
		c.scale.hops = locallambda.LoopLimit
		c.cfg.StopLoops = true
		e := c.run(t)
		got := c.server.Invocations()
		dropped := slices.ContainsFunc(got, func(inv locallambda.Invocation) bool { return inv.Dropped })
		if e.State != aurora.Paused || !dropped || len(got) != locallambda.LoopLimit+1 {
			return c.blame(t, fmt.Errorf("the execution is %s after %d events, one of them dropped: %t", e.State, len(got), dropped))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		// A slow machine does less in an invocation, and needs another chain.
		for n := 0; e.State == aurora.Paused && n < 20; n++ {
			id := fmt.Sprint("another-", n)
			c.server.Send([]byte(fmt.Sprintf(`{"executionId":%q}`, id)))
			if err := c.server.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			var err error
			if e, err = c.store.Execution(t.Context(), id); err != nil {
				return c.blame(t, err)
			}
		}
		return c.check(t, e, 0)
	})
}

// Everything at once: the chain still ends, and nothing is applied twice.
func TestChainWithEverything(t *testing.T) {
	t.Parallel()
	patiently(t, func(t *testing.T, n time.Duration) error {
		c := newChain(t, chainScale().times(n), false)
		c.cfg.Deliveries, c.cfg.Gap = 2, 50*time.Millisecond*n
		c.cfg.Kill = func(inv locallambda.Invocation) time.Duration {
			if hopOf(t, inv.Payload)%3 != 1 || inv.Copy > 1 || inv.Attempt > 1 {
				return 0
			}
			if hopOf(t, inv.Payload) == 1 {
				return time.Nanosecond // one for certain
			}
			return time.Millisecond + rand.N(c.scale.limit*3/4)
		}
		var throttled atomic.Int64
		c.cfg.Throttle = func() bool {
			if throttled.Load() > 0 && rand.IntN(10) > 0 {
				return false
			}
			throttled.Add(1)
			return true
		}
		e := c.run(t)
		err := c.check(t, e, c.died())
		if err == nil && !slices.ContainsFunc(c.server.Invocations(), isKilled) {
			t.Error("nothing was killed")
		}
		if err == nil && throttled.Load() == 0 {
			t.Error("nothing was throttled")
		}
		return err
	})
}

// A step that heeds nothing does not take the process along without a word.
func TestChainDeafStep(t *testing.T) {
	t.Parallel()
	patiently(t, func(t *testing.T, n time.Duration) error {
		c := newChain(t, scale{limit: 3 * time.Second, margin: 1500 * time.Millisecond, batch: time.Second, ttl: time.Second, hops: 2}.times(n), true)
		c.cfg.Env = append(c.cfg.Env, "DEAF=yes")
		e := c.run(t)
		var saw []string
		silent := false
		for _, inv := range c.server.Invocations() {
			got := string(inv.Result.Payload)
			saw = append(saw, fmt.Sprintf("hop %d, attempt %d: timed out: %t, answer: %s", hopOf(t, inv.Payload), inv.Attempt, inv.TimedOut, got))
			if inv.TimedOut || !strings.Contains(got, `"StuckError"`) && !strings.Contains(got, `"FailedError"`) && !strings.Contains(got, `"skipped"`) {
				silent = true
			}
		}
		if silent || len(saw) < c.scale.hops || e.State != aurora.Failed || len(e.Revisions) == 0 || !strings.Contains(e.Revisions[0].Error, "Fargate") {
			return fmt.Errorf("the execution is %s: %+v\n%s", e.State, e.Revisions, strings.Join(saw, "\n"))
		}
		return nil
	})
}

package lambdahandler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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
var quickScale = scale{limit: 400 * time.Millisecond, margin: 200 * time.Millisecond, batch: 10 * time.Millisecond, ttl: 600 * time.Millisecond, hops: 40}

func chainScale() scale {
	if os.Getenv("AURORA_LAMBDA_CHAIN") == "full" {
		// The margin is the default one: a third.
		return scale{limit: 3 * time.Second, batch: 45 * time.Millisecond, ttl: time.Second, hops: 40}
	}
	return scale{limit: 1500 * time.Millisecond, margin: 600 * time.Millisecond, batch: 30 * time.Millisecond, ttl: 600 * time.Millisecond, hops: 6}
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

// A chain is a function with a migration of many batches.
type chain struct {
	scale   scale
	store   aurora.History
	results string
	batches int
	cfg     locallambda.Config
	output  *lockedBuffer
	send    func(*testing.T, *locallambda.Server) // the first event
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

// newChain prepares a chain of about as many invocations as chainScale says.
func newChain(t *testing.T, inFile bool) *chain {
	t.Helper()
	return newChainOf(t, chainScale(), inFile)
}

// newChainOf prepares a chain of about s.hops invocations.
func newChainOf(t *testing.T, s scale, inFile bool) *chain {
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

// run invokes the function and waits until the chain has ended.
func (c *chain) run(t *testing.T) (*locallambda.Server, aurora.Execution) {
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
	began := time.Now()
	c.send(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	if err := s.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	e, err := c.store.Execution(t.Context(), "the-chain")
	if err != nil {
		t.Fatal(err)
	}
	invocations := s.Invocations()
	hops, killed, failed, skipped, worked := 0, 0, 0, 0, 0
	for _, inv := range invocations {
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
	t.Logf("%d batches, %d hops in %s: %d invocations, %d of them killed, %d with errors, %d that had nothing to do",
		c.batches, hops, time.Since(began).Round(time.Second/10), len(invocations), killed, failed, skipped)
	if worked+killed+failed < c.scale.hops {
		t.Errorf("%d invocations were at work, want at least %d", worked+killed+failed, c.scale.hops)
	}
	return s, e
}

func hopOf(t *testing.T, payload []byte) int {
	t.Helper()
	var e lambdahandler.Event
	if err := json.Unmarshal(payload, &e); err != nil {
		t.Fatal(err)
	}
	return e.Hop
}

// check fails unless every batch was applied, and attempted once, apart from
// the given number of repetitions; and all in order.
func (c *chain) check(t *testing.T, e aurora.Execution, repeats int) {
	t.Helper()
	if e.State != aurora.Completed || len(e.Revisions) != 2 {
		t.Errorf("the execution is %s with %d revisions, want completed with 2", e.State, len(e.Revisions))
	}
	b, err := os.ReadFile(filepath.Join(c.results, "attempts"))
	if err != nil {
		t.Fatal(err)
	}
	attempts := strings.Fields(string(b))
	if last := attempts[len(attempts)-1]; last != "last" || slices.Index(attempts, "last") != len(attempts)-1 {
		t.Errorf("the second migration did not run once and last")
	}
	var repeated []string
	next := 0
	for _, a := range attempts[:len(attempts)-1] {
		n, err := strconv.Atoi(a)
		switch {
		case err != nil:
			t.Fatal(err)
		case n == next:
			next++
		case n == next-1:
			repeated = append(repeated, a)
		default:
			t.Fatalf("batch %d was attempted after batch %d: two invocations ran at the same time", n, next-1)
		}
	}
	if next != c.batches {
		t.Errorf("%d batches were attempted, want %d", next, c.batches)
	}
	if len(repeated) > repeats {
		t.Errorf("the batches %v were attempted again, more than the %d that may", repeated, repeats)
	}
	applied, err := filepath.Glob(filepath.Join(c.results, "batch-*"))
	if err != nil || len(applied) != c.batches {
		t.Errorf("%d batches were applied (%v), want %d", len(applied), err, c.batches)
	}
}

// isKilled reports whether Config.Kill ended an invocation.
func isKilled(inv locallambda.Invocation) bool { return inv.Killed }

// died counts the invocations that could not save what they had just done.
func died(s *locallambda.Server) int {
	n := 0
	for _, inv := range s.Invocations() {
		if inv.Killed || inv.Result.FunctionError != "" {
			n++
		}
	}
	return n
}

func TestChain(t *testing.T) {
	t.Parallel()
	c := newChain(t, false)
	s, e := c.run(t)
	c.check(t, e, 0)
	if n := died(s); n > 0 {
		t.Errorf("%d invocations failed", n)
	}
}

func TestChainInFile(t *testing.T) {
	t.Parallel()
	c := newChain(t, true)
	_, e := c.run(t)
	c.check(t, e, 0)
}

// As many invocations as are promised, whatever the scale of the other chains.
func TestChainOfForty(t *testing.T) {
	t.Parallel()
	c := newChainOf(t, quickScale, true)
	s, e := c.run(t)
	c.check(t, e, died(s))
}

func TestChainEveryEventTwice(t *testing.T) {
	t.Parallel()
	for _, gap := range []time.Duration{0, chainScale().slice(), chainScale().slice() * 2} {
		t.Run(gap.String(), func(t *testing.T) {
			t.Parallel()
			c := newChain(t, false)
			c.cfg.Deliveries, c.cfg.Gap = 2, gap
			s, e := c.run(t)
			c.check(t, e, 0)
			// A second chain would double the invocations that run batches.
			ran := 0
			for _, inv := range s.Invocations() {
				if strings.Contains(string(inv.Result.Payload), `"continued":true`) {
					ran++
				}
			}
			if most := c.scale.hops * 3 / 2; ran > most {
				t.Errorf("%d invocations ran batches and went on, want at most %d", ran, most)
			}
		})
	}
}

func TestChainKilled(t *testing.T) {
	t.Parallel()
	c := newChain(t, false)
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
	s, e := c.run(t)
	c.check(t, e, died(s))
	if !slices.ContainsFunc(s.Invocations(), isKilled) {
		t.Error("nothing was killed")
	}
}

// The function dies between saving and invoking, and right after invoking.
func TestChainDiesAroundInvoke(t *testing.T) {
	t.Parallel()
	c := newChain(t, false)
	c.cfg.Env = append(c.cfg.Env, "DIES=yes")
	s, e := c.run(t)
	// All was saved before.
	c.check(t, e, 0)
	if n := died(s); n < 2 {
		t.Errorf("%d invocations died, want some", n)
	}
}

func TestChainThrottled(t *testing.T) {
	t.Parallel()
	c := newChain(t, false)
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
	s, e := c.run(t)
	c.check(t, e, died(s))
	mu.Lock()
	defer mu.Unlock()
	if throttled == 0 {
		t.Error("nothing was throttled")
	}
}

// Invoked by an alias, the chain stays with it.
func TestChainKeepsItsAlias(t *testing.T) {
	t.Parallel()
	c := newChain(t, false)
	c.cfg.Aliases = []string{"live"}
	c.send = func(t *testing.T, s *locallambda.Server) {
		client := awslambda.New(awslambda.Options{
			Region: "us-east-1", BaseEndpoint: aws.String(s.URL()), Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
		})
		if err := lambdahandler.Invoker(client, "migrate:live")(t.Context(), aurora.Request{ExecutionID: "the-chain"}); err != nil {
			t.Fatal(err)
		}
	}
	s, e := c.run(t)
	c.check(t, e, 0)
	for _, inv := range s.Invocations() {
		if inv.Qualifier != "live" {
			t.Errorf("an invocation by %q", inv.Qualifier)
		}
	}
}

// Where Lambda takes the chain for a loop, it ends after 16 invocations, and
// the history says that it is paused. A new execution goes on.
func TestChainTakenForALoop(t *testing.T) {
	t.Parallel()
	c := newChain(t, false)
	c.cfg.Timeout, c.cfg.StopLoops = 600*time.Millisecond, true
	c.cfg.Env = append(c.cfg.Env, "MARGIN=300ms")
	c.cfg.Env = append(c.cfg.Env, fmt.Sprint("BATCHES=", 18*10))
	c.batches, c.scale.hops = 18*10, locallambda.LoopLimit
	s, e := c.run(t)
	if e.State != aurora.Paused {
		t.Fatalf("the execution is %s", e.State)
	}
	got := s.Invocations()
	dropped := slices.ContainsFunc(got, func(inv locallambda.Invocation) bool { return inv.Dropped })
	if !dropped || len(got) != locallambda.LoopLimit+1 {
		t.Errorf("%d events, one of them dropped: %t", len(got), dropped)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	// A slow machine does less in an invocation, and needs another chain.
	for n := 0; e.State == aurora.Paused && n < 20; n++ {
		id := fmt.Sprint("another-", n)
		s.Send([]byte(fmt.Sprintf(`{"executionId":%q}`, id)))
		if err := s.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		var err error
		if e, err = c.store.Execution(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	c.check(t, e, 0)
}

// Everything at once: the chain still ends, and nothing is applied twice.
func TestChainWithEverything(t *testing.T) {
	t.Parallel()
	c := newChain(t, false)
	c.cfg.Deliveries, c.cfg.Gap = 2, 50*time.Millisecond
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
	s, e := c.run(t)
	c.check(t, e, died(s))
	if !slices.ContainsFunc(s.Invocations(), isKilled) {
		t.Error("nothing was killed")
	}
	if throttled.Load() == 0 {
		t.Error("nothing was throttled")
	}
}

// A step that heeds nothing does not take the process along without a word.
func TestChainDeafStep(t *testing.T) {
	t.Parallel()
	c := newChain(t, true)
	c.scale.hops, c.cfg.Env = 2, append(c.cfg.Env, "DEAF=yes")
	s, e := c.run(t)
	if e.State != aurora.Failed || !strings.Contains(e.Revisions[0].Error, "Fargate") {
		t.Errorf("the execution is %s: %+v", e.State, e.Revisions)
	}
	for _, inv := range s.Invocations() {
		got := string(inv.Result.Payload)
		if inv.TimedOut || !strings.Contains(got, `"StuckError"`) && !strings.Contains(got, `"FailedError"`) && !strings.Contains(got, `"skipped"`) {
			t.Errorf("timed out: %t, answer: %s", inv.TimedOut, got)
		}
	}
}

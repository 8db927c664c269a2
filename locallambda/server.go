package locallambda

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Result is what an invocation returned.
type Result struct {
	// FunctionError is empty, or "Unhandled" when the function returned an
	// error, died, or ran out of time. Payload then says which.
	FunctionError string
	Payload       []byte
}

// An Invocation is one delivery of one event to the program.
type Invocation struct {
	RequestID string // that of the event, however often it is delivered
	Payload   []byte
	Qualifier string // the version or alias that was named, or empty
	Async     bool
	// Attempt counts the deliveries of the event, from 1, without duplicates.
	Attempt int
	// Copy counts the duplicates, from 1.
	Copy int
	// Chain is how many invocations led to this one, with it.
	Chain int

	StartedAt, EndedAt time.Time
	Cold               bool // the process was started for it
	Killed, TimedOut   bool
	// Dropped says that the event was not delivered, as its chain is a loop.
	Dropped bool
	Result  Result
}

// logLimit is how many invocations are kept, with their payloads.
const logLimit = 1000

// A Server is one function that runs here.
type Server struct {
	cfg    Config
	url    string
	server *http.Server
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{} // one for each invocation at a time

	mu      sync.Mutex
	idle    []*worker
	all     map[*worker]bool
	log     []Invocation
	pending int           // events that are queued or under way
	quiet   chan struct{} // closed when pending falls to 0
	closed  bool
}

// Start makes the function ready. The program starts with the first event.
func Start(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("local lambda: %w", err)
	}
	if err := checkLoopback(cfg.Addr); err != nil {
		return nil, fmt.Errorf("local lambda: %w", err)
	}
	listener, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("local lambda: %w", err)
	}
	s := &Server{
		cfg: cfg, url: "http://" + listener.Addr().String(), slots: make(chan struct{}, cfg.Concurrency),
		all: make(map[*worker]bool), quiet: make(chan struct{}),
	}
	close(s.quiet)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.server = &http.Server{Handler: localOnly(s.routes()), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.server.Serve(listener) }()
	return s, nil
}

// checkLoopback refuses to let others in: whoever can invoke can run code.
func checkLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("the address %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("the address %q is not on this machine: use 127.0.0.1", addr)
	}
	return nil
}

// URL is where the function can be invoked, for AWS_ENDPOINT_URL_LAMBDA.
func (s *Server) URL() string { return s.url }

// ARN is the function's.
func (s *Server) ARN() string { return s.cfg.arn("") }

// Close ends everything. Events that were not delivered are lost.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	workers := make([]*worker, 0, len(s.all))
	for w := range s.all {
		workers = append(workers, w)
	}
	s.mu.Unlock()
	s.cancel()
	err := s.server.Close()
	for _, w := range workers {
		w.kill()
	}
	return err
}

// Invocations returns what was invoked so far, in the order in which it ended,
// of the newest 1,000.
func (s *Server) Invocations() []Invocation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Kill ends all processes, as if the machines under them failed.
func (s *Server) Kill() {
	s.mu.Lock()
	workers := make([]*worker, 0, len(s.all))
	for w := range s.all {
		workers = append(workers, w)
	}
	s.mu.Unlock()
	for _, w := range workers {
		w.kill()
	}
}

// Wait returns when no event is queued or under way.
func (s *Server) Wait(ctx context.Context) error {
	for {
		s.mu.Lock()
		quiet, pending := s.quiet, s.pending
		s.mu.Unlock()
		if pending == 0 {
			return nil
		}
		select {
		case <-quiet:
		case <-ctx.Done():
			return fmt.Errorf("local lambda: %d events are still under way: %w", pending, context.Cause(ctx))
		}
	}
}

// errBusy says that all of the function's concurrency is in use.
var errBusy = errors.New("rate exceeded")

// Invoke runs the function and waits for its answer.
func (s *Server) Invoke(ctx context.Context, payload []byte) (Result, error) {
	inv := &Invocation{RequestID: requestID(), Payload: payload, Attempt: 1, Copy: 1, Chain: 1}
	return s.invoke(ctx, inv, "", trace(s.cfg, nil), false)
}

// Send queues an event and does not wait.
func (s *Server) Send(payload []byte) { s.enqueue(payload, "", trace(s.cfg, nil)) }

// invoke runs one invocation. It waits for a free place or returns errBusy.
func (s *Server) invoke(ctx context.Context, inv *Invocation, qualifier string, t lineage, wait bool) (Result, error) {
	if wait {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return Result{}, context.Cause(ctx)
		}
	} else {
		select {
		case s.slots <- struct{}{}:
		default:
			return Result{}, errBusy
		}
	}
	defer func() { <-s.slots }()
	w, take, cold, err := s.take()
	if err != nil {
		return Result{}, err
	}
	inv.Cold, inv.Chain, inv.Qualifier = cold, t.count, qualifier
	inv.StartedAt = time.Now()
	if take == nil {
		inv.Result = w.died(inv)
	} else {
		a := &assignment{
			invocation: inv, payload: inv.Payload, arn: s.cfg.arn(qualifier), trace: t.String(),
			deadline: inv.StartedAt.Add(s.cfg.Timeout), answered: make(chan struct{}),
		}
		var alive bool
		if inv.Result, alive = w.run(take, a); alive {
			s.mu.Lock()
			s.idle = append(s.idle, w)
			s.mu.Unlock()
		}
	}
	inv.EndedAt = time.Now()
	s.record(*inv)
	return inv.Result, nil
}

func (s *Server) record(inv Invocation) {
	s.mu.Lock()
	if len(s.log) >= logLimit {
		s.log = slices.Delete(s.log, 0, len(s.log)-logLimit+1)
	}
	s.log = append(s.log, inv)
	s.mu.Unlock()
	s.cfg.Logger.Info("invocation", "requestId", inv.RequestID, "async", inv.Async, "attempt", inv.Attempt, "copy", inv.Copy, "cold", inv.Cold,
		"chain", inv.Chain, "took", inv.EndedAt.Sub(inv.StartedAt).String(), "error", inv.Result.FunctionError,
		"killed", inv.Killed, "timedOut", inv.TimedOut, "dropped", inv.Dropped)
}

// take returns a worker that asks for an event, an idle one if there is one. A
// new one that dies before it asks comes without a channel.
func (s *Server) take() (w *worker, take chan *assignment, cold bool, err error) {
	for {
		w := s.takeIdle()
		if w == nil {
			break
		}
		if take, ok := w.await(); ok {
			return w, take, false, nil
		}
	}
	if w, err = s.start(); err != nil {
		return nil, nil, true, err
	}
	take, _ = w.await()
	return w, take, true, nil
}

func (s *Server) takeIdle() *worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.idle)
	if n == 0 {
		return nil
	}
	w := s.idle[n-1]
	s.idle = s.idle[:n-1]
	return w
}

// start starts a worker, under the lock, so that Close misses none.
func (s *Server) start() (*worker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("local lambda: closed")
	}
	w, err := startWorker(s.cfg, s.url)
	if err != nil {
		return nil, err
	}
	s.all[w] = true
	go func() {
		<-w.exited
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, w)
	}()
	return w, nil
}

// enqueue delivers an event as often as configured, and again when it fails.
func (s *Server) enqueue(payload []byte, qualifier string, t lineage) string {
	id := requestID()
	if s.cfg.StopLoops && t.count > LoopLimit {
		s.record(Invocation{RequestID: id, Payload: payload, Async: true, Attempt: 1, Copy: 1, Chain: t.count, Dropped: true})
		return id
	}
	for copies := range s.cfg.Deliveries {
		s.begin()
		go func() {
			defer s.end()
			if copies > 0 && !s.sleep(time.Duration(copies)*s.cfg.Gap) {
				return
			}
			s.deliver(id, payload, qualifier, t, copies+1)
		}()
	}
	return id
}

// deliver delivers one copy of an event until it succeeds or there are no more
// retries.
func (s *Server) deliver(id string, payload []byte, qualifier string, t lineage, copies int) {
	for attempt := 1; ; attempt++ {
		inv := &Invocation{RequestID: id, Payload: payload, Async: true, Attempt: attempt, Copy: copies}
		result, err := s.invoke(s.ctx, inv, qualifier, t, true)
		switch {
		case s.ctx.Err() != nil:
			return
		case err != nil:
			s.cfg.Logger.Error("cannot run the function", "err", err)
		case result.FunctionError == "":
			return
		}
		if attempt > len(s.cfg.Retries) || !s.sleep(s.cfg.Retries[attempt-1]) {
			return
		}
	}
}

// sleep returns false when the server was closed meanwhile.
func (s *Server) sleep(d time.Duration) bool {
	select {
	case <-s.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (s *Server) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == 0 {
		s.quiet = make(chan struct{})
	}
	s.pending++
}

func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending--; s.pending == 0 {
		close(s.quiet)
	}
}

// routes is the part of Lambda's API that invokes and lists.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", s.handleInvoke)
	mux.HandleFunc("GET /2015-03-31/functions/{$}", func(rw http.ResponseWriter, _ *http.Request) {
		writeJSON(rw, http.StatusOK, map[string]any{"Functions": []any{s.describe("")}})
	})
	mux.HandleFunc("GET /2015-03-31/functions/{name}/configuration", func(rw http.ResponseWriter, r *http.Request) {
		if qualifier, ok := s.find(rw, r); ok {
			writeJSON(rw, http.StatusOK, s.describe(qualifier))
		}
	})
	mux.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) {
		writeError(rw, http.StatusNotFound, "ResourceNotFoundException", "the local Lambda has no "+r.Method+" "+r.URL.Path)
	})
	return mux
}

func (s *Server) describe(qualifier string) map[string]any {
	return map[string]any{
		"FunctionName": s.cfg.Name, "FunctionArn": s.cfg.arn(qualifier), "Version": s.cfg.Version, "Runtime": "provided.al2023",
		"Handler": "bootstrap", "Timeout": int(s.cfg.Timeout.Seconds()), "MemorySize": s.cfg.MemoryMB, "State": "Active",
	}
}

// find resolves the function that a request names: by name, name:qualifier,
// partial or whole ARN.
func (s *Server) find(rw http.ResponseWriter, r *http.Request) (qualifier string, ok bool) {
	given := r.PathValue("name")
	name := given
	if i := strings.LastIndex(given, "function:"); i >= 0 {
		name = given[i+len("function:"):]
	}
	name, qualifier, _ = strings.Cut(name, ":")
	qualifier = cmp.Or(qualifier, r.URL.Query().Get("Qualifier"))
	known := qualifier == "" || qualifier == "$LATEST" || qualifier == s.cfg.Version || slices.Contains(s.cfg.Aliases, qualifier)
	if name != s.cfg.Name || !known {
		writeError(rw, http.StatusNotFound, "ResourceNotFoundException", "Function not found: "+given)
		return "", false
	}
	return qualifier, true
}

func (s *Server) handleInvoke(rw http.ResponseWriter, r *http.Request) {
	qualifier, ok := s.find(rw, r)
	if !ok {
		return
	}
	kind := cmp.Or(r.Header.Get("X-Amz-Invocation-Type"), "RequestResponse")
	limit := SyncLimit
	if kind == "Event" {
		limit = AsyncLimit
	}
	payload, err := io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
	switch {
	case err != nil:
		writeError(rw, http.StatusBadRequest, "InvalidRequestContentException", "could not read the payload")
		return
	case len(payload) > limit:
		writeError(rw, http.StatusRequestEntityTooLarge, "RequestTooLargeException", fmt.Sprintf("%d byte payload is too large for the %s invocation type (limit %d bytes)", len(payload), kind, limit))
		return
	}
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	switch {
	case !json.Valid(payload):
		writeError(rw, http.StatusBadRequest, "InvalidRequestContentException", "Could not parse request body into json")
		return
	case s.cfg.Throttle != nil && kind != "DryRun" && s.cfg.Throttle():
		tooMany(rw)
		return
	}
	t := trace(s.cfg, r.Header)
	switch kind {
	case "DryRun":
		rw.WriteHeader(http.StatusNoContent)
	case "Event":
		id := s.enqueue(payload, qualifier, t)
		rw.Header().Set("X-Amzn-Requestid", id)
		rw.WriteHeader(http.StatusAccepted)
	case "RequestResponse":
		s.invokeNow(rw, r, payload, qualifier, t)
	default:
		writeError(rw, http.StatusBadRequest, "InvalidParameterValueException", "unknown invocation type "+kind)
	}
}

func (s *Server) invokeNow(rw http.ResponseWriter, r *http.Request, payload []byte, qualifier string, t lineage) {
	if s.cfg.StopLoops && t.count > LoopLimit {
		writeError(rw, http.StatusBadRequest, "RecursiveInvocationException", "The function is in a recursive loop, and was stopped")
		return
	}
	inv := &Invocation{RequestID: requestID(), Payload: payload, Attempt: 1, Copy: 1}
	result, err := s.invoke(r.Context(), inv, qualifier, t, false)
	switch {
	case errors.Is(err, errBusy):
		tooMany(rw)
		return
	case err != nil:
		writeError(rw, http.StatusInternalServerError, "ServiceException", err.Error())
		return
	}
	rw.Header().Set("X-Amzn-Requestid", inv.RequestID)
	rw.Header().Set("X-Amz-Executed-Version", s.cfg.Version)
	if result.FunctionError != "" {
		rw.Header().Set("X-Amz-Function-Error", result.FunctionError)
	}
	rw.Header().Set("Content-Type", "application/json")
	_, _ = rw.Write(result.Payload)
}

func tooMany(rw http.ResponseWriter) {
	rw.Header().Set("Retry-After", "1")
	writeError(rw, http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded.")
}

// requestID returns a new UUID of version 4.
func requestID() string {
	h := hexadecimal(16)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

// hexadecimal returns n random bytes.
func hexadecimal(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

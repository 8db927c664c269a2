package locallambda

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// shutdownTime is how long a process has between SIGTERM and SIGKILL, where it
// registered for the former.
const shutdownTime = 500 * time.Millisecond

// unhandled is what Lambda says of every error of a function.
const unhandled = "Unhandled"

// A worker is one process and the Runtime API that it talks to. It takes one
// event at a time.
type worker struct {
	cfg    Config
	server *http.Server
	cmd    *exec.Cmd
	exited chan struct{}
	status string // how it exited

	asks chan chan *assignment // it asks for its next event

	mu         sync.Mutex
	current    *assignment
	initError  []byte
	extensions bool
}

// An assignment is an event in the hands of a worker.
type assignment struct {
	invocation *Invocation
	payload    []byte
	arn, trace string
	deadline   time.Time
	answered   chan struct{} // closed once result is set
	result     Result
}

// startWorker runs the program.
func startWorker(cfg Config, endpoint string) (*worker, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the program: %w", err)
	}
	w := &worker{cfg: cfg, exited: make(chan struct{}), asks: make(chan chan *assignment)}
	w.server = &http.Server{Handler: localOnly(w.routes()), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = w.server.Serve(listener) }()
	w.cmd = exec.Command(cfg.Command[0], cfg.Command[1:]...)
	w.cmd.Dir, w.cmd.Stdout, w.cmd.Stderr = cfg.Dir, cfg.Output, cfg.Output
	w.cmd.Env = environment(cfg, endpoint, listener.Addr().String())
	w.cmd.WaitDelay = time.Second
	if err := w.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the program: %w", err), w.server.Close())
	}
	go func() {
		err := w.cmd.Wait()
		w.status = "exit status 0"
		if err != nil {
			w.status = err.Error()
		}
		close(w.exited)
		_ = w.server.Close()
	}()
	return w, nil
}

// environment is what Lambda sets, between what this process has and what the
// configuration adds.
func environment(cfg Config, endpoint, api string) []string {
	env := os.Environ()
	if os.Getenv("AWS_ACCESS_KEY_ID") == "" && os.Getenv("AWS_PROFILE") == "" {
		env = append(env, "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local")
	}
	dir := cmp.Or(cfg.Dir, ".")
	env = append(env,
		"AWS_LAMBDA_RUNTIME_API="+api,
		"AWS_LAMBDA_FUNCTION_NAME="+cfg.Name,
		"AWS_LAMBDA_FUNCTION_VERSION="+cfg.Version,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE="+strconv.Itoa(cfg.MemoryMB),
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/"+cfg.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME="+time.Now().UTC().Format("2006/01/02/")+"["+cfg.Version+"]"+hexadecimal(16),
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_EXECUTION_ENV=AWS_Lambda_provided.al2023",
		"AWS_REGION="+region(), "AWS_DEFAULT_REGION="+region(),
		"AWS_ENDPOINT_URL_LAMBDA="+endpoint,
		"AWS_EC2_METADATA_DISABLED=true",
		"LAMBDA_TASK_ROOT="+dir, "_HANDLER=bootstrap", "TZ=:UTC",
	)
	return append(env, cfg.Env...)
}

// routes is the Runtime API, with as much of the Extensions API as a runtime
// needs that wants to hear of its end.
func (w *worker) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", w.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", func(rw http.ResponseWriter, r *http.Request) { w.answer(rw, r, "") })
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", func(rw http.ResponseWriter, r *http.Request) { w.answer(rw, r, unhandled) })
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, SyncLimit))
		w.mu.Lock()
		w.initError = body
		w.mu.Unlock()
		rw.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("POST /2020-01-01/extension/register", func(rw http.ResponseWriter, _ *http.Request) {
		w.mu.Lock()
		w.extensions = true
		w.mu.Unlock()
		rw.Header().Set("Lambda-Extension-Identifier", hexadecimal(16))
		writeJSON(rw, http.StatusOK, map[string]string{"functionName": w.cfg.Name, "functionVersion": w.cfg.Version, "handler": "bootstrap"})
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, r *http.Request) {
		select { // nothing but the end, which is a signal
		case <-r.Context().Done():
		case <-w.exited:
		}
	})
	return mux
}

// next hands the program its next event.
func (w *worker) next(rw http.ResponseWriter, r *http.Request) {
	take := make(chan *assignment)
	select {
	case w.asks <- take:
	case <-r.Context().Done():
		return
	}
	var a *assignment
	select {
	case a = <-take:
	case <-r.Context().Done():
		return
	}
	h := rw.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Lambda-Runtime-Aws-Request-Id", a.invocation.RequestID)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(a.deadline.UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", a.arn)
	h.Set("Lambda-Runtime-Trace-Id", a.trace)
	_, _ = rw.Write(a.payload)
}

// answer takes the program's answer to its event.
func (w *worker) answer(rw http.ResponseWriter, r *http.Request, failed string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, SyncLimit+1))
	w.mu.Lock()
	a := w.current
	if err != nil || a == nil || a.invocation.RequestID != r.PathValue("id") {
		w.mu.Unlock()
		writeError(rw, http.StatusBadRequest, "InvalidRequestID", "no such invocation is under way")
		return
	}
	w.current = nil
	w.mu.Unlock()
	if len(body) > SyncLimit {
		failed = unhandled
		body = failure("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (6291556 bytes).")
	}
	a.result = Result{FunctionError: failed, Payload: body}
	close(a.answered)
	writeJSON(rw, http.StatusAccepted, map[string]string{"status": "OK"})
}

// await waits until the program asks for an event. It returns false when the
// program is gone instead: one that reports a panic exits right after.
func (w *worker) await() (chan *assignment, bool) {
	starting := time.NewTimer(initTimeout)
	defer starting.Stop()
	select {
	case take := <-w.asks:
		return take, true
	case <-w.exited:
	case <-starting.C:
		w.kill()
	}
	return nil, false
}

// run hands over an event and waits for what comes of it. alive says whether
// the worker can be given another.
func (w *worker) run(take chan *assignment, a *assignment) (result Result, alive bool) {
	inv := a.invocation
	w.mu.Lock()
	w.current = a
	w.mu.Unlock()
	var killed <-chan time.Time
	if w.cfg.Kill != nil {
		if after := w.cfg.Kill(*inv); after > 0 {
			timer := time.NewTimer(after)
			defer timer.Stop()
			killed = timer.C
		}
	}
	deadline := time.NewTimer(time.Until(a.deadline))
	defer deadline.Stop()
	select {
	case take <- a:
	case <-w.exited:
		return w.died(inv), false
	}
	select {
	case <-a.answered:
		return a.result, true
	case <-w.exited:
		select {
		case <-a.answered: // it said so, and then exited
			return a.result, false
		default:
			return w.died(inv), false
		}
	case <-killed:
		w.kill()
		inv.Killed = true
		return w.died(inv), false
	case <-deadline.C:
		w.shutDown()
		inv.TimedOut = true
		text := fmt.Sprintf("%s %s Task timed out after %.2f seconds", time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), inv.RequestID, w.cfg.Timeout.Seconds())
		return Result{FunctionError: unhandled, Payload: failure("Sandbox.Timedout", text)}, false
	}
}

// died is the result of an invocation whose process is gone.
func (w *worker) died(inv *Invocation) Result {
	<-w.exited
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.initError) > 0 {
		return Result{FunctionError: unhandled, Payload: w.initError}
	}
	return Result{FunctionError: unhandled, Payload: failure("Runtime.ExitError", fmt.Sprintf("RequestId: %s Error: Runtime exited with error: %s", inv.RequestID, w.status))}
}

// kill ends the process without a word.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill()
	<-w.exited
}

// shutDown ends the process as Lambda does: with a signal first, if it wants to
// hear of it.
func (w *worker) shutDown() {
	w.mu.Lock()
	told := w.extensions
	w.mu.Unlock()
	if told && w.cmd.Process.Signal(syscall.SIGTERM) == nil {
		select {
		case <-w.exited:
			return
		case <-time.After(shutdownTime):
		}
	}
	w.kill()
}

// failure is how Lambda words an error of the function's.
func failure(kind, text string) []byte {
	b, _ := json.Marshal(map[string]string{"errorType": kind, "errorMessage": text})
	return b
}

func writeJSON(rw http.ResponseWriter, status int, v any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(v)
}

// writeError answers as AWS services with JSON do.
func writeError(rw http.ResponseWriter, status int, kind, text string) {
	rw.Header().Set("X-Amzn-Errortype", kind)
	writeJSON(rw, status, map[string]string{"Type": "User", "Message": text, "message": text, "errorType": kind, "errorMessage": text})
}

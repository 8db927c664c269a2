//go:build linux

package ecstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

// User is the user and group that the image's program runs as.
const User = 65532

// Account and Region are in the ARNs.
const (
	Account = "123456789012"
	Region  = "eu-central-1"
)

// A Definition is a task definition with one container.
type Definition struct {
	Family    string
	Container string
	// Root is the directory of the unpacked image.
	Root string
	// Entrypoint is the image's: an absolute path in it, and first arguments.
	Entrypoint []string
	Command    []string // where RunTask does not override it
	Env        map[string]string
	// StopTimeout is how long a process has between SIGTERM and SIGKILL.
	StopTimeout time.Duration
	// LogGroup and LogPrefix are options of the log driver awslogs; without a
	// group there is no log.
	LogGroup, LogPrefix string
	// TaskRole makes the container's credentials available, as ECS does.
	TaskRole string
	// StartFailure makes tasks stop before they run, for this reason.
	StartFailure string
}

// A Server is ECS and CloudWatch Logs.
type Server struct {
	// URL serves both, and the credentials of task roles.
	URL string

	// Lag is how often DescribeTasks does not know a new task yet.
	Lag int
	// LogDelay is how long a line needs to get into the log.
	LogDelay time.Duration
	// PageSize is how many events GetLogEvents returns at once.
	PageSize int

	t        testing.TB
	mu       sync.Mutex
	defs     map[string]Definition
	tasks    map[string]*task
	tokens   map[string]*task
	bodies   map[string]string // RunTask requests, by client token
	logs     map[string][]event
	calls    []string
	failures []string
	faults   map[string][]Fault
	running  sync.WaitGroup
}

// A Fault is an API error that one call of an action ends with.
type Fault struct {
	Status        int
	Type, Message string
	Resources     []string
}

// Start starts a server for the time of a test.
func Start(t testing.TB, defs ...Definition) *Server {
	t.Helper()
	s := &Server{
		t: t, PageSize: 100,
		defs: map[string]Definition{}, tasks: map[string]*task{}, tokens: map[string]*task{},
		bodies: map[string]string{}, logs: map[string][]event{}, faults: map[string][]Fault{},
	}
	for _, d := range defs {
		s.defs[d.Family] = d
	}
	h := httptest.NewServer(s)
	s.URL = h.URL
	t.Cleanup(func() {
		s.mu.Lock()
		for _, task := range s.tasks {
			task.kill()
		}
		s.mu.Unlock()
		s.running.Wait()
		h.Close()
	})
	return s
}

// Config is the SDK's configuration for this server. It does not repeat calls.
func (s *Server) Config() aws.Config {
	return aws.Config{
		Region: Region, BaseEndpoint: &s.URL,
		Credentials: aws.CredentialsProviderFunc(credentials),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	}
}

// ECS returns a client.
func (s *Server) ECS() *ecs.Client { return ecs.NewFromConfig(s.Config()) }

// Logs returns a client.
func (s *Server) Logs() *cloudwatchlogs.Client { return cloudwatchlogs.NewFromConfig(s.Config()) }

// FailNext makes the next call of an action end with a fault. Several queue up.
func (s *Server) FailNext(action string, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[action] = append(s.faults[action], faults...)
}

// RefuseNext makes the next RunTask succeed with a failure and no task.
func (s *Server) RefuseNext(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, reason)
}

// Calls returns the actions that were called, in order.
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.calls...)
}

// Tasks returns how many tasks were ever started.
func (s *Server) Tasks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tasks)
}

// Request returns the RunTask request that came with a client token, as JSON.
func (s *Server) Request(token string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bodies[token]
}

// Log returns the lines of all streams whose name has a part.
func (s *Server) Log(part string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for name, events := range s.logs {
		if !strings.Contains(name, part) {
			continue
		}
		for _, e := range events {
			b.WriteString(e.message + "\n")
		}
	}
	return b.String()
}

// ServeHTTP answers the protocol awsJson1.1.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && r.URL.Path == "/credentials" {
		s.serveCredentials(w, r)
		return
	}
	service, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var in json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, action)
	if queue := s.faults[action]; len(queue) > 0 {
		s.faults[action] = queue[1:]
		writeFault(w, queue[0])
		return
	}
	actions := map[string]func(json.RawMessage) (any, *Fault){
		"AmazonEC2ContainerServiceV20141113.RunTask":                s.runTask,
		"AmazonEC2ContainerServiceV20141113.DescribeTasks":          s.describeTasks,
		"AmazonEC2ContainerServiceV20141113.DescribeTaskDefinition": s.describeDefinition,
		"AmazonEC2ContainerServiceV20141113.StopTask":               s.stopTask,
		"Logs_20140328.GetLogEvents":                                s.getLogEvents,
	}
	do, ok := actions[service+"."+action]
	if !ok {
		writeFault(w, Fault{Type: "UnknownOperationException", Message: service + "." + action})
		return
	}
	out, fault := do(in)
	if fault != nil {
		writeFault(w, *fault)
		return
	}
	write(w, http.StatusOK, out)
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func writeFault(w http.ResponseWriter, f Fault) {
	if f.Status == 0 {
		f.Status = http.StatusBadRequest
	}
	body := map[string]any{"__type": f.Type, "message": f.Message}
	if f.Resources != nil {
		body["resourceIds"] = f.Resources
	}
	write(w, f.Status, body)
}

func invalid(format string, args ...any) *Fault {
	return &Fault{Type: "InvalidParameterException", Message: fmt.Sprintf(format, args...)}
}

// isRoot decides how tasks run.
func isRoot() bool { return os.Geteuid() == 0 }

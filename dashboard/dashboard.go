package dashboard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/ui"
)

// Config says what a dashboard shows, and who may see it. Store and Auth must
// be set.
type Config struct {
	// Store is where the history is. Attempts and executions are shown where
	// it is also an [aurora.History], the lock where it is an [aurora.Locker].
	Store aurora.Store
	// Reviewer tells how statements are sent. Defaults to the store, if it can.
	Reviewer aurora.Reviewer
	// Migrations returns the migrations of the directory. It is asked every few
	// seconds while somebody looks. Nil means that they are not known: then
	// only those that ever ran are shown.
	Migrations func(context.Context) ([]aurora.Migration, error)
	// Defaults are what runs that apply migrations are asked for with: TxMode,
	// ExecOrder and Baseline count. Where runs are elsewhere, the program there
	// may have its own.
	Defaults aurora.Request
	// Start starts runs. Nil makes the dashboard read-only, as ReadOnly does
	// with a reason to show. Local, if set, takes its place.
	Start    aurora.Starter
	Local    *Local
	ReadOnly string

	// Project and Env are names to show; Target is what is migrated, without
	// secrets. StoreKind is one of postgres, dsql, dynamodb and file, Runtime
	// where Start runs: local, lambda or fargate.
	Project, Env, Target, StoreKind, Runtime string
	// Protected makes rollbacks ask for a name and a reason.
	Protected bool
	// Version is the program's, to show.
	Version string

	// User is who a caller is taken for that has proved no name, as with a
	// token: it is recorded with the runs that such a caller asks for.
	User string
	// Auth says who may come in. There is no way to leave it open.
	Auth Auth
	// Hosts are the values of the Host header that are answered, with the port
	// unless it is the default one. Pages of these hosts may ask, also where a
	// proxy puts its own Host into requests. Empty means all, which [Auth.Once]
	// does not allow.
	Hosts []string
	// Polling says that answers cannot be streamed, as behind a Lambda: pages
	// ask again instead.
	Polling bool
	// Hide removes secrets from texts that were recorded or made by errors.
	// Passwords in URLs are always removed.
	Hide func(string) string
	// Files are the pages, with an index.html. Nil means those of package ui.
	Files fs.FS
	// Logger hears of refused requests and of trouble with the store. Defaults
	// to none.
	Logger *slog.Logger
}

// A server is the handler's state.
type server struct {
	cfg     Config
	log     *slog.Logger
	history aurora.History
	locker  aurora.Locker
	review  aurora.Reviewer
	keys    keys
	hub     *hub

	// loading has one token: whoever has it reads the history.
	loading chan struct{}
	mu      sync.Mutex
	cached  *snapshot
	// stale is set when a run was started: what is cached is no longer so.
	stale bool

	// starting has one token: whoever has it checks and starts a run.
	starting chan struct{}
	started  *started // guarded by mu

	files fileCache
}

// New returns the handler of a dashboard. It reads nothing before the first
// request. It refuses a configuration that lets in anybody.
func New(cfg Config) (http.Handler, error) {
	if cfg.Store == nil {
		return nil, errors.New("a dashboard needs a store")
	}
	keys, err := cfg.Auth.keys(cfg.Hosts)
	if err != nil {
		return nil, fmt.Errorf("authentication of the dashboard: %w", err)
	}
	if cfg.Local != nil {
		cfg.Start = cfg.Local.Start
		cfg.Runtime = cmp.Or(cfg.Runtime, "local")
	}
	s := &server{
		cfg: cfg, log: cfg.Logger, keys: keys,
		loading: make(chan struct{}, 1), starting: make(chan struct{}, 1),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.history, _ = cfg.Store.(aurora.History)
	s.locker, _ = cfg.Store.(aurora.Locker)
	if s.review = cfg.Reviewer; s.review == nil {
		s.review, _ = cfg.Store.(aurora.Reviewer)
	}
	if s.cfg.Files == nil {
		s.cfg.Files = ui.Files()
	}
	s.hub = &hub{server: s}
	if cfg.Local != nil {
		cfg.Local.watch(func() {
			if !cfg.Local.Running() {
				s.forget()
			}
			s.hub.wake()
		})
	}
	return s.routes(), nil
}

// readOnly returns why nothing can be started here, or nothing.
func (s *server) readOnly() string {
	switch {
	case s.cfg.ReadOnly != "":
		return s.cfg.ReadOnly
	case s.cfg.Start == nil:
		return "This dashboard has nothing that could run migrations: it only shows them."
	}
	return ""
}

// A handle answers a request of the API or returns why not.
type handle func(w http.ResponseWriter, r *http.Request) error

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	api := func(path string, methods map[string]handle) {
		mux.HandleFunc("/api/"+path, func(w http.ResponseWriter, r *http.Request) {
			h := methods[r.Method]
			if h == nil && r.Method == http.MethodHead {
				h = methods[http.MethodGet]
			}
			if path != eventsPath {
				ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
				defer cancel()
				r = r.WithContext(ctx)
			}
			s.fail(w, r, s.call(w, r, path, methods, h))
		})
	}
	get := func(path string, h handle) { api(path, map[string]handle{http.MethodGet: h}) }
	post := func(path string, h handle) { api(path, map[string]handle{http.MethodPost: h}) }
	api(sessionPath, map[string]handle{http.MethodGet: s.getSession, http.MethodPost: s.postSession, http.MethodDelete: s.deleteSession})
	get("migrations", s.getMigrations)
	get("migrations/summary", s.getSummary)
	get("migrations/{id}", s.getMigration)
	get("migrations/{id}/attempts/{execution}", s.getAttempt)
	get("executions", s.getExecutions)
	get("executions/{id}", s.getExecution)
	get("lock", s.getLock)
	get("plan", s.getPlan)
	get(eventsPath, s.getEvents)
	post("rollback", s.postRollback)
	post("up", s.postUp)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, s.call(w, r, "", nil, nothingHere))
	})
	mux.HandleFunc("/", s.serveFile)
	return s.outer(mux)
}

// call checks a request and hands it on.
func (s *server) call(w http.ResponseWriter, r *http.Request, path string, methods map[string]handle, h handle) error {
	if h == nil {
		return problemMethod(w, methods)
	}
	if err := s.guard(r, path); err != nil {
		return err
	}
	return h(w, r)
}

func nothingHere(_ http.ResponseWriter, r *http.Request) error {
	return problemf(http.StatusNotFound, "not_found", "There is nothing at %s.", clip(r.URL.Path, 200))
}

// requestTimeout bounds what a request asks of the store, and of the starter;
// answerTimeout the whole of it.
const (
	requestTimeout = 25 * time.Second
	answerTimeout  = time.Minute
)

// outer does what every answer needs: headers, the check of the host, and a
// limit of time. It answers bad paths itself, which the mux would redirect.
func (s *server) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header())
		// Streams of events move them on; servers that cannot do this have limits of
		// their own. What is left of a refused body is read after the answer, and
		// nobody else bounds that.
		conn, end := http.NewResponseController(w), time.Now().Add(answerTimeout)
		_, _ = conn.SetWriteDeadline(end), conn.SetReadDeadline(end)
		if !s.knowsHost(r.Host) {
			s.log.Warn("refused a request for another host: a page may try to reach this machine", "host", clip(r.Host, 200))
			s.fail(w, r, problemf(http.StatusForbidden, "bad_host",
				"This dashboard does not answer to the host name of the request. Open the address that it printed."))
			return
		}
		if isOddPath(r.URL.Path) {
			s.fail(w, r, problemf(http.StatusNotFound, "not_found", "There is nothing at this path."))
			return
		}
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // it is that value
				s.log.Error("a request failed", "path", clip(r.URL.Path, 200), "panic", fmt.Sprint(v))
				s.fail(w, r, problemf(http.StatusInternalServerError, "internal", "The dashboard made a mistake; its log has more."))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// setHeaders sets what holds for all answers. The policy allows nothing but
// what the handler itself serves.
func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "+
		"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

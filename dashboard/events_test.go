package dashboard_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/dashboard"
)

// A slowStore takes its time to answer, or to fail, and heeds the context.
type slowStore struct {
	*auroratest.Memory
	takes  atomic.Int64 // a time.Duration
	fails  atomic.Bool
	latest atomic.Int64 // calls
}

func (s *slowStore) Latest(ctx context.Context) ([]aurora.Revision, error) {
	s.latest.Add(1)
	select {
	case <-time.After(time.Duration(s.takes.Load())):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if s.fails.Load() {
		return nil, errors.New("the store is away")
	}
	return s.Memory.Latest(ctx)
}

// watch opens a stream of events, which ends with the test.
func watch(t *testing.T, cfg dashboard.Config) *httptest.ResponseRecorder {
	t.Helper()
	cfg.Auth, cfg.Files = dashboard.Auth{Token: onceToken}, pages
	handler, err := dashboard.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/events", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+onceToken)
	w := httptest.NewRecorder()
	ended := make(chan struct{})
	go func() { handler.ServeHTTP(w, r); close(ended) }()
	t.Cleanup(func() { leave(); <-ended })
	return w
}

// A store that answers slowly is asked seldom, but it is asked; one that fails
// slowly is asked again soon.
func TestPollingASlowStore(t *testing.T) {
	for name, tt := range map[string]struct {
		takes       time.Duration
		fails       bool
		least, most int64 // readings in ten minutes
	}{
		"fast":          {0, false, 290, 310},
		"slow":          {time.Second, false, 27, 31},      // a twentieth of the time
		"very slow":     {10 * time.Second, false, 13, 16}, // every 30 s
		"slow failure":  {10 * time.Second, true, 27, 31},
		"never answers": {time.Hour, true, 15, 18}, // 25 s and then 10 s
	} {
		synctest.Test(t, func(t *testing.T) {
			store := &slowStore{Memory: new(auroratest.Memory)}
			watch(t, dashboard.Config{Store: store})
			time.Sleep(3 * time.Second)
			store.takes.Store(int64(tt.takes))
			store.fails.Store(tt.fails)
			before := store.latest.Load()
			time.Sleep(10 * time.Minute)
			if n := store.latest.Load() - before; n < tt.least || n > tt.most {
				t.Errorf("%s: read %d times, want %d to %d", name, n, tt.least, tt.most)
			}
		})
	}
}

// The first reading for a stream has an end as all others do: nobody else can
// read as long.
func TestStreamGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{Memory: new(auroratest.Memory)}
		store.takes.Store(int64(time.Hour))
		w := watch(t, dashboard.Config{Store: store})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "store_unavailable") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// Pages that are open hear that the lock was renewed: until when it is held is
// what they show.
func TestRenewalShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(auroratest.Memory)
		lease, err := store.Acquire(t.Context(), aurora.Holder{}, aurora.DefaultTTL)
		if err != nil {
			t.Fatal(err)
		}
		w := watch(t, dashboard.Config{Store: store})
		for range 3 {
			time.Sleep(aurora.DefaultTTL / 3)
			if err := lease.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
			ends := time.Now().Add(aurora.DefaultTTL).UTC().Format(time.RFC3339)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if said := w.Body.String(); !strings.Contains(said, ends[:len(ends)-1]) {
				t.Fatalf("nobody was told that it ends at %s: %s", ends, said)
			}
		}
	})
}

// A pipeListener accepts connections in memory, whose time is that of the test.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { close(l.done); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// Who is not known cannot hold a connection by sending a body slowly, and who
// watches keeps his.
func TestConnectionsEnd(t *testing.T) {
	const head = " HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: "
	for name, tt := range map[string]struct {
		request string
		ends    bool
	}{
		"refused before its body": {"POST /api/up" + head + "100\r\n\r\n{", true},
		"a page with a body":      {"GET /" + head + "100\r\n\r\n{", true},
		"a slow sign-in":          {"POST /api/session" + head + "100\r\nX-Aurora-CSRF: x\r\n\r\n{", true},
		"events":                  {"GET /api/events" + head + "0\r\nAuthorization: Bearer " + onceToken + "\r\n\r\n", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			handler, err := dashboard.New(dashboard.Config{Store: new(auroratest.Memory), Files: pages, Auth: dashboard.Auth{Token: onceToken}})
			if err != nil {
				t.Fatal(err)
			}
			listener := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
			server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
			served := make(chan error, 1)
			go func() { served <- server.Serve(listener) }()
			client, conn := net.Pipe()
			listener.conns <- conn
			ended := make(chan struct{})
			go func() {
				_, _ = io.Copy(io.Discard, bufio.NewReader(client)) // until the server hangs up
				close(ended)
			}()
			if _, err := io.WriteString(client, tt.request); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			select {
			case <-ended:
				if !tt.ends {
					t.Errorf("%s: the connection ended", name)
				}
			default:
				if tt.ends {
					t.Errorf("%s: the connection is still open after five minutes", name)
				}
			}
			_ = client.Close()
			if err := server.Close(); err != nil {
				t.Error(err)
			}
			<-served
			<-ended
		})
	}
}

package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	eventsPath = "events"
	// pollEvery is how often the history is read while somebody watches,
	// pollBusy while a run goes on. Reading takes at most a twentieth of the
	// time, so that a large history is not read all the time, but every pollMost
	// at least.
	pollEvery  = 2 * time.Second
	pollBusy   = time.Second
	pollShare  = 20
	pollMost   = 30 * time.Second
	beatEvery  = 15 * time.Second
	sayEvery   = 250 * time.Millisecond // progress
	maxClients = 64
	maxChanged = 100 // IDs in an event
	writeLimit = 10 * time.Second
)

// A hub reads the history for all who watch, with one reader.
type hub struct {
	server *server

	mu      sync.Mutex
	clients map[*client]struct{}
	stop    context.CancelFunc // of the reader
	wakeup  chan struct{}
	rates   map[string]*sample // of runs elsewhere
}

// A client is one page that watches.
type client struct {
	send chan []byte
	lost chan struct{} // closed when it is too slow
}

type stateJSON struct {
	ETag       string      `json:"etag"`
	Head       string      `json:"head"`
	Summary    summaryJSON `json:"summary"`
	Migrations []string    `json:"migrations"`
	Executions []string    `json:"executions"`
	Many       bool        `json:"many,omitempty"`
	Now        time.Time   `json:"now"`
}

// state describes a snapshot; old is the one that pages know, or nil.
func (s *server) state(snap, old *snapshot) stateJSON {
	st := stateJSON{Head: snap.head, Summary: s.summaryOf(snap), Migrations: []string{}, Executions: []string{}, Now: time.Now().UTC()}
	if old != nil {
		m, e := snap.changes(old)
		st.Many = len(m) > maxChanged || len(e) > maxChanged
		st.Migrations, st.Executions = list(m[:min(len(m), maxChanged)]), list(e[:min(len(e), maxChanged)])
	}
	st.ETag = snap.etag
	if run := st.Summary.Run; run != nil {
		h := fnv.New64a()
		_, _ = fmt.Fprint(h, run.ExecutionID, run.State, run.Completed, run.Error) // a hash never fails
		st.ETag += "-" + strconv.FormatUint(h.Sum64(), 36)
	}
	return st
}

func (s *server) getEvents(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Polling || r.URL.Query().Get("poll") != "" {
		snap, err := s.look(r.Context(), historyAge)
		if err != nil {
			return err
		}
		st := s.state(snap, nil)
		st.Many = true // what changed only a page that stays connected can be told
		return replyMatched(w, r, st.ETag, st)
	}
	c, err := s.hub.join()
	if err != nil {
		return err
	}
	defer s.hub.leave(c)
	return s.stream(w, r, c)
}

func (s *server) stream(w http.ResponseWriter, r *http.Request, c *client) error {
	snap, err := s.look(r.Context(), pollEvery)
	if err != nil {
		return err
	}
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // as the server's own, it would end the stream
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no") // nginx would keep events back
	w.WriteHeader(http.StatusOK)
	write := func(message []byte) bool {
		// Not every server can do this; those that cannot have limits of their own.
		_ = out.SetWriteDeadline(time.Now().Add(writeLimit))
		_, err := w.Write(message)
		return err == nil && out.Flush() == nil
	}
	if !write([]byte("retry: 3000\n\n")) || !write(stateMessage(s.state(snap, nil))) {
		return nil
	}
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-c.lost:
			return nil
		case message := <-c.send:
			if !write(message) {
				return nil
			}
		case <-beat.C:
			// A session ends while it is watched, too.
			if _, err := s.caller(r); err != nil || !write([]byte(": still here\n\n")) {
				return nil
			}
		}
	}
}

func stateMessage(st stateJSON) []byte {
	return message("state", st.ETag, st)
}

// message writes an event. JSON has no line ends in it.
func message(event, id string, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		return []byte(": an event could not be written\n\n")
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	return fmt.Appendf(nil, "%sevent: %s\ndata: %s\n\n", id, event, data)
}

func (h *hub) join() (*client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.clients) >= maxClients {
		return nil, problemf(http.StatusServiceUnavailable, "too_many", "%d pages are watching already.", maxClients)
	}
	if h.clients == nil {
		h.clients = make(map[*client]struct{})
	}
	c := &client{send: make(chan []byte, 16), lost: make(chan struct{})}
	h.clients[c] = struct{}{}
	if h.stop == nil {
		ctx, stop := context.WithCancel(context.Background())
		h.stop, h.wakeup = stop, make(chan struct{}, 1)
		go h.poll(ctx, h.wakeup)
	}
	return c, nil
}

// leave forgets a client. With the last one the reader ends.
func (h *hub) leave(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, c)
	if len(h.clients) == 0 && h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

// wake makes the reader look now.
func (h *hub) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wakeup != nil {
		select {
		case h.wakeup <- struct{}{}:
		default: // it is awake already
		}
	}
}

// send hands a message to all clients, and gives up those that do not read.
func (h *hub) send(message []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.clients {
		select {
		case c.send <- message:
		default:
			delete(h.clients, c)
			close(c.lost)
		}
	}
}

// poll reads the history until nobody watches any more.
func (h *hub) poll(ctx context.Context, wakeup <-chan struct{}) {
	s := h.server
	var old *snapshot
	said := ""       // the last state
	progressed := "" // the last progress
	next := time.Time{}
	for {
		if run := s.localProgress(); run != nil {
			if text := string(message("progress", "", run)); text != progressed {
				progressed = text
				h.send([]byte(text))
			}
		}
		if now := time.Now(); !now.Before(next) {
			snap, err := s.look(ctx, historyAge/2)
			took := time.Since(now)
			wait := pollEvery
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				s.log.Warn("could not look for changes, will try again", "err", s.hide(err.Error()))
				wait, took = 5*pollEvery, 0
			default:
				if st := s.state(snap, old); st.ETag != said || old == nil {
					// What changed since a page was told first is not known yet.
					st.Many = st.Many || old == nil
					said = st.ETag
					h.send(stateMessage(st))
				}
				old = snap
				if snap.lock != nil {
					wait = pollBusy
				}
			}
			next = time.Now().Add(min(max(wait, pollShare*took), pollMost))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		case <-wakeup:
			// What is said of a run in this process needs no reading; its end does.
			if run := s.localProgress(); run == nil || !run.isGoing() {
				next = time.Time{}
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(sayEvery):
			}
		}
	}
}

// look is snapshot with a limit of time, for requests that have none.
func (s *server) look(ctx context.Context, age time.Duration) (*snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return s.snapshot(ctx, age)
}

// forget makes the next look read anew.
func (s *server) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = true
}

// localProgress is the run in this process, or nil.
func (s *server) localProgress() *runJSON {
	if s.cfg.Local == nil {
		return nil
	}
	return s.localRun()
}

// rate adds to what a run elsewhere saved how fast it goes, by comparing it
// with what was saved before.
func (h *hub) rate(key string, p *progressJSON) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	sm := h.rates[key]
	if sm == nil || p.Done < sm.done {
		if h.rates == nil || len(h.rates) > 1000 {
			h.rates = make(map[string]*sample)
		}
		sm = &sample{first: now, began: p.Done}
		h.rates[key] = sm
	}
	if p.Done != sm.done {
		sm.at, sm.done = now, p.Done
	}
	p.estimate(sm.began, sm.at.Sub(sm.first))
}

// timing returns when a step ran, where that is known.
func (s *server) timing(execution, version string, i int) (stepTime, bool) {
	if s.cfg.Local == nil {
		return stepTime{}, false
	}
	t, ok := s.cfg.Local.timings(execution, version)[i]
	return t, ok
}

// replyTagged is reply with an ETag made of the answer itself.
func replyTagged(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return problemf(http.StatusInternalServerError, "internal", "The answer could not be written: %v", err)
	}
	h := fnv.New64a()
	_, _ = h.Write(body) // a hash never fails
	return replyMatched(w, r, strconv.FormatUint(h.Sum64(), 36), json.RawMessage(body))
}

// replyMatched answers 304 to those who have it already.
func replyMatched(w http.ResponseWriter, r *http.Request, etag string, v any) error {
	tag := `"` + etag + `"`
	w.Header().Set("ETag", tag)
	for known := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if strings.TrimPrefix(strings.TrimSpace(known), "W/") == tag {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	return reply(w, http.StatusOK, v)
}

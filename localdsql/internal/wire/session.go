package wire

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

// errEnded says that the session is over. Why is known elsewhere.
var errEnded = errors.New("the session has ended")

// A session is one client and its backend. Two goroutines serve it: one reads
// what the client says, the other what the backend answers.
type session struct {
	proxy   *Proxy
	hooks   Hooks
	client  net.Conn
	backend net.Conn
	config  *pgconn.Config // of the backend, for cancel requests
	out     *frameWriter   // to the client; the reader of answers has it
	answers *frameReader

	// seen is the version of the schema that the session has seen.
	seen atomic.Int64

	// turn is held while a message of the client is dealt with, and by who rolls
	// back an idle transaction. It guards the following.
	turn     sync.Mutex
	in       *frameReader // from the client
	up       *frameWriter // to the backend
	tx       transaction
	boundary bool // nothing was sent since the last Sync or Query
	unsure   bool // the next ReadyForQuery must tell whether a block is open
	copying  bool // the client is sending rows
	dropping bool // the connection ends when everything is answered
	checked  map[string]int64

	// mu guards what both goroutines change. cond is signalled when somebody may
	// wait for what has changed.
	mu         sync.Mutex
	cond       sync.Cond
	queue      queue
	statements names
	portals    names
	skipping   bool // the backend skips what it gets until the next Sync
	failed     bool // the transaction has failed
	lost       bool // it was rolled back without the client's knowledge
	status     byte // of the last ReadyForQuery
	dead       bool
	last       *policy.Refusal // what the client is told at the end
	done       chan struct{}   // closed with dead

	// The reader of answers has these for itself.
	cur      entry // the oldest entry, if known
	curOK    bool
	inRow    bool   // the client has the beginning of a row only
	erred    bool   // the backend has reported an error for cur
	heldRows []byte // the description of rows that may not come
	held     []byte // the completion of a measured statement
	heldLast []byte // the completion that waits for the end of a Query
}

func (p *Proxy) newSession(g *greeting) *session {
	client, up := g.conn, g.up
	s := &session{
		proxy: p, hooks: up.hooks, client: client, backend: up.conn, config: up.config,
		statements: newNames(), portals: newNames(), status: 'I', boundary: true, done: make(chan struct{}),
		out: newFrameWriter(&records{client, g.carrier}), answers: newFrameReader(up.conn, -1),
		in: newFrameReader(client, p.limits.Message), up: newFrameWriter(up.conn),
	}
	s.cond.L = &s.mu
	s.seen.Store(p.schema.current())
	s.answers.before, s.answers.deadline = s.out.flush, up.conn.SetReadDeadline
	s.in.before = s.beforeInput
	s.in.after = s.turn.Lock
	return s
}

// run serves until one side ends the connection.
func (s *session) run() error {
	if limit := s.proxy.limits.Connection; limit > 0 {
		timer := time.AfterFunc(limit, func() { s.end(&lifeOver) })
		defer timer.Stop()
	}
	answered := make(chan error, 1)
	go func() { answered <- s.readAnswers() }()
	s.turn.Lock()
	err := s.readClient()
	s.turn.Unlock()
	s.end(nil)
	if berr := <-answered; err == nil || errors.Is(err, errEnded) || errors.Is(err, net.ErrClosed) {
		err = berr
	}
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, errEnded) {
		return nil
	}
	return err
}

// end ends the session, and tells the client why unless the reason is nil. The
// reader of answers does it, as only it knows where a message ends.
func (s *session) end(reason *policy.Refusal) {
	s.mu.Lock()
	if s.last == nil && !s.dead {
		s.last = reason
	}
	s.mu.Unlock()
	_ = s.client.SetWriteDeadline(time.Now().Add(farewell)) // one who does not read must not hold it up
	s.backend.Close()
}

// farewell is how long a client may take to read what it is told at the end.
const farewell = 2 * time.Second

// abort ends the session as a broken network does.
func (s *session) abort() error {
	s.client.Close()
	s.backend.Close()
	return errEnded
}

// over is called when no answer will come any more.
func (s *session) over() {
	s.mu.Lock()
	last := s.last
	s.dead = true
	s.mu.Unlock()
	close(s.done)
	s.cond.Broadcast()
	_ = s.client.SetWriteDeadline(time.Now().Add(farewell))
	if last != nil && !s.inRow {
		s.out.message(response("FATAL", last, 0))
	}
	_ = s.out.flush()
	s.client.Close()
}

// beforeInput is called before the client is waited for.
func (s *session) beforeInput() error {
	if s.dropping && !s.copying {
		if err := s.settle(); err != nil {
			return err
		}
		return s.abort()
	}
	err := s.up.flush()
	s.turn.Unlock()
	if err != nil {
		s.turn.Lock()
	}
	return err
}

// push adds an entry for a message and reports whether the message is to be
// sent: not if the backend would skip it.
func (s *session) push(e entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.kind == 'S' {
		s.skipping = false
	} else if s.skipping {
		if e.wait != nil {
			e.wait.outcome = skipped
		}
		return false
	}
	number := s.queue.push(e)
	switch {
	case e.hidden:
	case e.kind == 'P':
		s.statements.ask(e.name, target{dec: e.dec}, number)
	case e.kind == 'B':
		s.portals.ask(e.name, target{e.dec, e.bytes}, number)
	}
	return true
}

// forward sends a message as it is, with its entry.
func (s *session) forward(e entry, frame []byte) {
	if s.push(e) {
		s.up.write(frame)
	}
}

// send sends a message of the proxy's own making, with its entry.
func (s *session) send(e entry, m encoder) {
	if s.push(e) {
		s.up.message(m)
	}
}

// await sends what is to be sent and waits until w has an outcome, or until the
// backend waits for rows.
func (s *session) await(w *wait) error {
	if err := s.up.flush(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for w.outcome == pending && !w.copying && !s.dead {
		s.cond.Wait()
	}
	if s.dead && w.outcome == pending {
		return errEnded
	}
	return nil
}

// awaitFlushed is await behind a message of the extended protocol, which the
// backend does not answer before it must.
func (s *session) awaitFlushed(w *wait) error {
	s.up.message(&pgproto3.Flush{})
	return s.await(w)
}

// settle waits until everything that was sent is answered.
func (s *session) settle() error {
	s.mu.Lock()
	empty := s.queue.empty()
	s.mu.Unlock()
	if empty {
		return nil
	}
	s.up.message(&pgproto3.Flush{})
	if err := s.up.flush(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.queue.empty() && !s.dead {
		s.cond.Wait()
	}
	if s.dead {
		return errEnded
	}
	return nil
}

// state reads what the reader of answers has found out.
func (s *session) state() (skipping, failed, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.skipping, s.failed, s.lost
}

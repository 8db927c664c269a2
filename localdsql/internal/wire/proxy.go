package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
)

// A Proxy serves the connections to one cluster. Make one with [New].
type Proxy struct {
	cfg    Config
	limits Limits
	tls    *tls.Config
	schema schema

	mu       sync.Mutex
	sessions map[*session]struct{}
	byKey    map[cancelKey]*session

	cascade cascade
}

// A cancelKey is what a client cancels with: the backend's own.
type cancelKey struct{ pid, secret uint32 }

// New makes a Proxy.
func New(cfg Config) (*Proxy, error) {
	switch {
	case cfg.TLS == nil:
		return nil, errors.New("no TLS configuration")
	case cfg.Auth == nil:
		return nil, errors.New("nobody to ask about logins")
	case cfg.Policy == nil:
		return nil, errors.New("no policy")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	secure := cfg.TLS.Clone()
	if len(secure.NextProtos) == 0 {
		secure.NextProtos = []string{alpn}
	}
	// Small records at the beginning help browsers, not rows.
	secure.DynamicRecordSizingDisabled = true
	return &Proxy{
		cfg: cfg, tls: secure, limits: cfg.Limits.filled(),
		sessions: map[*session]struct{}{}, byKey: map[cancelKey]*session{},
	}, nil
}

// Serve serves one connection until it ends, or soon after ctx has ended, and
// closes it. It may be called for many connections at once. The error is for a
// log: clients were told what concerns them.
func (p *Proxy) Serve(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	g, err := p.login(ctx, conn)
	if err != nil || g == nil {
		return err
	}
	defer g.conn.Close()
	defer g.up.conn.Close()
	s := p.newSession(g)
	p.add(s, g.up.key)
	defer p.remove(s, g.up.key)
	stop := context.AfterFunc(ctx, func() { s.end(&shutdown) })
	defer stop()
	return s.run()
}

// Sessions gives the number of clients that are logged in.
func (p *Proxy) Sessions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sessions)
}

// Changed tells the sessions that these objects were changed by somebody who is
// not one of them, such as the worker that runs jobs. No names means everything.
func (p *Proxy) Changed(names ...string) {
	if len(names) == 0 {
		p.schema.changeAll()
	} else {
		p.schema.change(names)
	}
}

// RollBackIdle rolls back the transactions of clients that are idle in one and
// have used one of the named objects, or anything if there are no names. The
// clients learn of it by OC001.
func (p *Proxy) RollBackIdle(names ...string) { p.rollBackIdle(nil, names) }

func (p *Proxy) add(s *session, key cancelKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions[s] = struct{}{}
	p.byKey[key] = s
}

func (p *Proxy) remove(s *session, key cancelKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions, s)
	if p.byKey[key] == s {
		delete(p.byKey, key)
	}
}

// rollBackIdle rolls back idle transactions of all sessions but one.
func (p *Proxy) rollBackIdle(but *session, names []string) {
	p.mu.Lock()
	others := make([]*session, 0, len(p.sessions))
	for s := range p.sessions {
		if s != but {
			others = append(others, s)
		}
	}
	p.mu.Unlock()
	for _, s := range others {
		s.rollBack(names)
	}
}

// committed is called when a transaction with DDL has committed, before its
// client knows.
func (p *Proxy) committed(s *session, c *commit) {
	s.seen.Store(p.schema.change(c.names))
	if p.cfg.Changed != nil {
		p.cfg.Changed()
	}
}

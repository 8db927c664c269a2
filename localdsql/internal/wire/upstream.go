package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

// serverVersion is what DSQL says it is (dsql-facts, server identity).
const serverVersion = "16.15"

// settings are those of the backend that make it behave like DSQL. A writer
// that would have to wait fails soon instead: DSQL never waits.
var settings = map[string]string{
	"default_transaction_isolation": "repeatable read",
	"lock_timeout":                  "100ms",
}

// An upstream is a connection to the backend that is ready for a session.
type upstream struct {
	conn       net.Conn
	config     *pgconn.Config
	hooks      Hooks
	key        cancelKey
	parameters map[string]string
}

// connect logs in to the backend.
func (p *Proxy) connect(ctx context.Context, b Backend, l Login) (*upstream, *policy.Refusal) {
	cfg := b.Config.Copy()
	params := map[string]string{"timezone": "UTC"}
	for name, value := range l.Parameters {
		if !isOwn(name) {
			params[policy.BackendParameter(name)] = value
		}
	}
	maps.Copy(params, b.Config.RuntimeParams)
	maps.Copy(params, settings)
	cfg.RuntimeParams = params
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		p.cfg.Logger.Debug("log in to the backend", "user", l.User, "err", err)
		return nil, loginRefusal(err)
	}
	if err := settle(ctx, conn); err != nil {
		return nil, loginRefusal(err)
	}
	h, err := conn.Hijack()
	if err != nil {
		return nil, loginRefusal(err)
	}
	if len(h.SecretKey) != 4 {
		h.Conn.Close()
		return nil, loginRefusal(fmt.Errorf("the backend's cancel key has %d bytes, not 4", len(h.SecretKey)))
	}
	u := &upstream{
		conn: newSocket(h.Conn), config: cfg, hooks: b.Hooks, parameters: h.ParameterStatuses,
		key: cancelKey{h.PID, binary.BigEndian.Uint32(h.SecretKey)},
	}
	if u.hooks == nil {
		u.hooks = p.cfg.Hooks
	}
	return u, nil
}

// settle makes a connection one that nothing reads from. A login with a slow
// write leaves something in the background that does, and would take the first
// answer. SyncConn ends it with a write that is not slow; it tries ten times,
// which is not enough where a machine is busy.
func settle(ctx context.Context, conn *pgconn.PgConn) error {
	for {
		err := conn.SyncConn(ctx)
		if err == nil || conn.IsClosed() || ctx.Err() != nil {
			return err
		}
	}
}

// loginRefusal makes an error of a login one that the client can be told.
func loginRefusal(err error) *policy.Refusal {
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) {
		return &policy.Refusal{Code: pg.Code, Message: pg.Message, Detail: pg.Detail, Hint: pg.Hint}
	}
	return &policy.Refusal{Code: "08006", Message: "unable to accept connection, the backend cannot be reached", Detail: err.Error()}
}

// welcome tells the client that it is logged in.
func (u *upstream) welcome(w *frameWriter) error {
	w.message(&pgproto3.AuthenticationOk{})
	for _, name := range slices.Sorted(maps.Keys(u.parameters)) {
		value := u.parameters[name]
		if name == "server_version" {
			value = serverVersion
		}
		w.message(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	w.message(&pgproto3.BackendKeyData{ProcessID: u.key.pid, SecretKey: binary.BigEndian.AppendUint32(nil, u.key.secret)})
	w.message(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	return w.flush()
}

// cancel passes on a request to cancel what a session is doing.
func (p *Proxy) cancel(ctx context.Context, key cancelKey) error {
	p.mu.Lock()
	s := p.byKey[key]
	p.mu.Unlock()
	if s == nil {
		return nil
	}
	network, address := pgconn.NetworkAddress(s.config.Host, s.config.Port)
	conn, err := s.config.DialFunc(ctx, network, address)
	if err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	b, err := (&pgproto3.CancelRequest{ProcessID: key.pid, SecretKey: binary.BigEndian.AppendUint32(nil, key.secret)}).Encode(nil)
	if err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	if _, err := conn.Write(b); err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	// The backend closes when it has passed the request on.
	_, _ = conn.Read(make([]byte, 1))
	return nil
}

package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

// loginTimeout bounds a login, as authentication_timeout of PostgreSQL does.
const loginTimeout = time.Minute

// What the first packet of a connection can be, besides the major version 3.
const (
	cancelRequest = 80877102
	sslRequest    = 80877103
	gssRequest    = 80877104
)

// The longest start packet is PostgreSQL's; a token of 1 KB or more has room in
// a password.
const (
	maxStart    = 10000
	maxPassword = 64 << 10
)

// errStart says that a client does not begin as the protocol wants it.
var errStart = errors.New("invalid startup packet")

// A greeting is a connection on which a client logs in.
type greeting struct {
	conn       net.Conn
	carrier    *carrier // below conn
	secure     bool
	serverName string
	params     [][2]string
	minor      uint32 // of the protocol's version that the client wants
	up         *upstream
}

// login takes a client to where its session begins. It returns nil for a
// connection that is to end without one.
func (p *Proxy) login(ctx context.Context, conn net.Conn) (*greeting, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	g := &greeting{conn: newSocket(conn)}
	if err := p.greet(ctx, g); err != nil || g.params == nil {
		return nil, err
	}
	refusal, err := p.authenticate(ctx, g)
	if err != nil {
		return nil, ignoreEOF(err)
	}
	if refusal != nil {
		return nil, g.refuse(refusal)
	}
	if err := g.up.welcome(newFrameWriter(g.conn)); err != nil {
		g.up.conn.Close()
		return nil, fmt.Errorf("end of the login: %w", err)
	}
	return g, nil
}

// refuse ends a login.
func (g *greeting) refuse(r *policy.Refusal) error {
	w := newFrameWriter(g.conn)
	w.message(response("FATAL", r, 0))
	if err := w.flush(); err != nil {
		return fmt.Errorf("refuse a login: %w", err)
	}
	if r := g.conn; g.secure {
		return r.Close() // with TLS's own farewell
	}
	return nil
}

// greet deals with what comes before the password: encryption, a request to
// cancel, the start parameters.
func (p *Proxy) greet(ctx context.Context, g *greeting) error {
	var first [1]byte
	if _, err := io.ReadFull(g.conn, first[:]); err != nil {
		return ignoreEOF(err)
	}
	g.carrier = &carrier{Conn: g.conn, prefix: first[:]}
	g.conn = g.carrier
	if first[0] == 0x16 { // a TLS handshake
		if err := p.encrypt(ctx, g); err != nil {
			return err
		}
		if g.conn.(*tls.Conn).ConnectionState().NegotiatedProtocol != alpn {
			return g.refuse(&noALPN)
		}
	}
	for requests := 0; ; requests++ {
		code, body, err := readStart(g.conn)
		if err != nil {
			return ignoreEOF(err)
		}
		switch {
		case code == cancelRequest:
			if len(body) != 8 {
				return errStart
			}
			return p.cancel(ctx, cancelKey{binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])})
		case code == gssRequest && requests < 2:
			if _, err := g.conn.Write([]byte{'N'}); err != nil {
				return err
			}
		case code == sslRequest && requests < 2 && !g.secure:
			if _, err := g.conn.Write([]byte{'S'}); err != nil {
				return err
			}
			if err := p.encrypt(ctx, g); err != nil {
				return err
			}
		case code>>16 == 3:
			g.minor = code & 0xffff
			if g.params, err = startParameters(body); err != nil {
				return err
			}
			if !g.secure {
				g.params = nil
				return g.refuse(&noTLS)
			}
			return nil
		default:
			return errStart
		}
	}
}

// alpn is the protocol's name within TLS.
const alpn = "postgresql"

// encrypt does the TLS handshake.
func (p *Proxy) encrypt(ctx context.Context, g *greeting) error {
	conn := tls.Server(g.conn, p.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	g.conn, g.secure, g.serverName = conn, true, conn.ConnectionState().ServerName
	return nil
}

// readStart reads a packet without type: its length, a code, and the rest.
func readStart(r io.Reader) (code uint32, body []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 8 || n > maxStart {
		return 0, nil, errStart
	}
	body = make([]byte, n-8)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, err
	}
	return binary.BigEndian.Uint32(head[4:]), body, nil
}

// startParameters reads pairs of strings, up to an empty name.
func startParameters(b []byte) ([][2]string, error) {
	params := [][2]string{}
	for {
		name, rest, ok := cutString(b)
		if !ok {
			return nil, errStart
		}
		if len(name) == 0 {
			return params, nil
		}
		value, rest, ok := cutString(rest)
		if !ok {
			return nil, errStart
		}
		params = append(params, [2]string{string(name), string(value)})
		b = rest
	}
}

// authenticate asks for the password, lets Auth judge and connects the backend.
func (p *Proxy) authenticate(ctx context.Context, g *greeting) (*policy.Refusal, error) {
	l := Login{ServerName: g.serverName, Parameters: map[string]string{}}
	var unknown []string
	var order []string
	add := func(name, value string) {
		name = strings.ToLower(name)
		l.Parameters[name] = value
		order = append(order, name)
	}
	for _, kv := range g.params {
		switch name, value := kv[0], kv[1]; {
		case name == "user":
			l.User = value
		case name == "database":
			l.Database = value
		case name == "options":
			options, ok := policy.ParseOptions(value)
			if !ok {
				return &policy.Refusal{Code: "0A000", Message: "unsupported startup options"}, nil
			}
			for _, o := range options {
				add(o[0], o[1])
			}
		case strings.HasPrefix(name, "_pq_."):
			unknown = append(unknown, name)
		default:
			add(name, value)
		}
	}
	if l.User == "" {
		return &policy.Refusal{Code: "28000", Message: "no PostgreSQL user name specified in startup packet"}, nil
	}
	if l.Database == "" {
		l.Database = l.User
	}
	var err error
	if l.Password, err = askPassword(g, unknown); err != nil {
		return nil, err
	}
	backend, refusal := p.cfg.Auth(ctx, l)
	if refusal != nil {
		return refusal, nil
	}
	for _, name := range order {
		if isOwn(name) {
			continue
		}
		if refusal := p.cfg.Policy.CheckParameter(name, l.Parameters[name]); refusal != nil {
			return refusal, nil
		}
	}
	g.up, refusal = p.connect(ctx, backend, l)
	return refusal, nil
}

// isOwn reports whether a start parameter is for local DSQL itself.
func isOwn(name string) bool { return strings.HasPrefix(name, "aurora.") }

// askPassword asks for the password in clear, and before that for an older
// protocol if the client knows a newer one.
func askPassword(g *greeting, unknown []string) (string, error) {
	w := newFrameWriter(g.conn)
	if g.minor > 0 || len(unknown) > 0 {
		w.message(&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: 0, UnrecognizedOptions: unknown})
	}
	w.message(&pgproto3.AuthenticationCleartextPassword{})
	if err := w.flush(); err != nil {
		return "", err
	}
	var head [5]byte
	if _, err := io.ReadFull(g.conn, head[:]); err != nil {
		return "", err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if head[0] != 'p' || n < 5 || n > maxPassword {
		return "", errStart
	}
	body := make([]byte, n-4)
	if _, err := io.ReadFull(g.conn, body); err != nil {
		return "", err
	}
	password, _, ok := bytes.Cut(body, []byte{0})
	if !ok {
		return "", errStart
	}
	return string(password), nil
}

// ignoreEOF makes nothing of a client that left, such as one that only wanted to
// see whether somebody listens.
func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

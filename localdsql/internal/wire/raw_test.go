package wire

import (
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// A rawClient sends messages and reads answers one by one.
type rawClient struct {
	t    testing.TB
	conn net.Conn
	f    *pgproto3.Frontend
}

// raw connects for raw messages.
func (c *cluster) raw(t testing.TB) *rawClient {
	t.Helper()
	conn := hijack(t, c.url)
	if err := conn.SetDeadline(time.Now().Add(testPatience)); err != nil {
		t.Fatal(err)
	}
	return &rawClient{t: t, conn: conn, f: pgproto3.NewFrontend(conn, conn)}
}

func (r *rawClient) send(ms ...pgproto3.FrontendMessage) {
	r.t.Helper()
	for _, m := range ms {
		r.f.Send(m)
	}
	if err := r.f.Flush(); err != nil {
		r.t.Fatal(err)
	}
}

// answers are what came up to a ReadyForQuery.
type answers struct {
	text   []string // without ParameterStatus
	err    error    // the first
	status byte
}

func (r *rawClient) untilReady() answers {
	r.t.Helper()
	var a answers
	for {
		m, err := r.f.Receive()
		if err != nil {
			r.t.Fatalf("after %q: %v", a.text, err)
		}
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			if a.err == nil {
				a.err = pgconn.ErrorResponseToPgError(m)
			}
			a.text = append(a.text, "error "+m.Code)
		case *pgproto3.CommandComplete:
			a.text = append(a.text, string(m.CommandTag))
		case *pgproto3.PortalSuspended:
			a.text = append(a.text, "suspended")
		case *pgproto3.CopyInResponse:
			a.text = append(a.text, "copy in")
		case *pgproto3.ReadyForQuery:
			a.status = m.TxStatus
			return a
		}
	}
}

func parse(name, sql string) pgproto3.FrontendMessage {
	return &pgproto3.Parse{Name: name, Query: sql}
}

func bindTo(portal, statement string) pgproto3.FrontendMessage {
	return &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: statement}
}

func execute(portal string, rows uint32) pgproto3.FrontendMessage {
	return &pgproto3.Execute{Portal: portal, MaxRows: rows}
}

func syncNow() pgproto3.FrontendMessage { return &pgproto3.Sync{} }

// statement is the messages for one statement without parameters.
func statement(sql string) []pgproto3.FrontendMessage {
	return []pgproto3.FrontendMessage{parse("", sql), bindTo("", ""), execute("", 0)}
}

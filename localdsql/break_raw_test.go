package localdsql_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/aurora-migrate/aurora/localdsql"
)

// patience bounds what a test waits for. It is only there so that nothing
// hangs, and so long that a slow machine never reaches it.
const patience = 10 * time.Minute

// A rawClient is logged in, and then says what it is told to.
type rawClient struct {
	t    testing.TB
	conn net.Conn
	f    *pgproto3.Frontend
	key  *pgproto3.CancelRequest
}

func dialRaw(t testing.TB, url string) *rawClient {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	for { // it tries ten times, which may be too few on a busy machine
		err := conn.SyncConn(t.Context())
		if err == nil {
			break
		}
		if conn.IsClosed() || t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	h, err := conn.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Conn.Close() })
	if err := h.Conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &rawClient{t, h.Conn, pgproto3.NewFrontend(h.Conn, h.Conn), &pgproto3.CancelRequest{ProcessID: h.PID, SecretKey: h.SecretKey}}
}

func (c *rawClient) send(ms ...pgproto3.FrontendMessage) {
	c.t.Helper()
	for _, m := range ms {
		c.f.Send(m)
	}
	if err := c.f.Flush(); err != nil {
		c.t.Fatal(err)
	}
}

// ready gives what comes until so many ReadyForQuery, in short: the tags, the
// first column of rows, the codes of errors, and the states.
func (c *rawClient) ready(n int) string {
	c.t.Helper()
	var got []string
	for n > 0 {
		m, err := c.f.Receive()
		if err != nil {
			c.t.Fatalf("after %q: %v", got, err)
		}
		if text := brief(m); text != "" {
			got = append(got, text)
		}
		if _, ok := m.(*pgproto3.ReadyForQuery); ok {
			n--
		}
	}
	return strings.Join(got, " ")
}

func brief(m pgproto3.BackendMessage) string {
	switch m := m.(type) {
	case *pgproto3.CommandComplete:
		return "[" + string(m.CommandTag) + "]"
	case *pgproto3.DataRow:
		if len(m.Values) == 0 {
			return "()"
		}
		return "(" + string(m.Values[0][:min(len(m.Values[0]), 40)]) + ")"
	case *pgproto3.ErrorResponse:
		return "!" + m.Code
	case *pgproto3.ReadyForQuery:
		return string(m.TxStatus)
	case *pgproto3.PortalSuspended:
		return "suspended"
	case *pgproto3.EmptyQueryResponse:
		return "empty"
	case *pgproto3.CopyInResponse:
		return "copy-in"
	case *pgproto3.CopyOutResponse:
		return "copy-out"
	case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus, *pgproto3.ParseComplete, *pgproto3.BindComplete,
		*pgproto3.CloseComplete, *pgproto3.NoData, *pgproto3.RowDescription, *pgproto3.ParameterDescription:
		return ""
	}
	return fmt.Sprintf("%T", m)
}

// simple sends one Query and gives the answer.
func (c *rawClient) simple(sql string) string {
	c.t.Helper()
	c.send(&pgproto3.Query{String: sql})
	return c.ready(1)
}

// again is simple, until the answer is not a conflict: another session or a job
// may have changed the schema, or have had a lock for too long on a busy machine.
func (c *rawClient) again(sql string) string {
	c.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		got := c.simple(sql)
		if got != "!40001 I" || time.Now().After(deadline) {
			return got
		}
	}
}

// extended is one statement in the extended protocol, without Sync.
func extended(sql string) []pgproto3.FrontendMessage {
	return []pgproto3.FrontendMessage{&pgproto3.Parse{Query: sql}, &pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// header is what a message of any type and length begins with.
func header(typ byte, length uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{typ}, length)
}

// ask runs SQL on a connection of its own, until it meets no conflict, and gives
// the value of the last row.
func ask(t testing.TB, c *localdsql.Cluster, sql string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgconn.Connect(ctx, c.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, sql).ReadAll()
	for ctx.Err() == nil && strings.HasPrefix(code(err), "40001 ") {
		results, err = conn.Exec(ctx, sql).ReadAll()
	}
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	last := results[len(results)-1]
	if len(last.Rows) == 0 || len(last.Rows[0]) == 0 {
		return ""
	}
	return string(last.Rows[len(last.Rows)-1][0])
}

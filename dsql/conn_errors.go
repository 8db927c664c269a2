package dsql

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/internal/pgstore"
)

// A LoginError says that no connection to a cluster could be opened.
type LoginError struct {
	Host, Role string
	// Advice is what to do about it, where that is known.
	Advice string
	Err    error

	password string
}

// Error says what failed and why. It holds no password or token.
func (e *LoginError) Error() string {
	text := e.Err.Error()
	var pgErr *pgconn.PgError
	if errors.As(e.Err, &pgErr) {
		text = pgErr.Error()
		if pgErr.Hint != "" {
			text += ": " + pgErr.Hint
		}
	}
	if e.password != "" {
		text = strings.ReplaceAll(text, e.password, "xxxxx")
	}
	return fmt.Sprintf("log in to Aurora DSQL at %s as %s: %s", e.Host, e.Role, text)
}

// Hint says what to do, where that is known.
func (e *LoginError) Hint() string { return e.Advice }

// Unwrap returns the reason.
func (e *LoginError) Unwrap() error { return e.Err }

// A tokenError says that there is no token to log in with.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "no token: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

// How often a connection is tried that nobody answers, and the longest wait
// between tries.
const (
	dialTries = 4
	longest   = 5 * time.Second
)

// wait says how long to wait before the next try, if there is to be one.
func (c *connector) wait(try int, since time.Duration, err error) (time.Duration, bool) {
	switch {
	case isBusy(err):
		if since >= c.limit {
			return 0, false
		}
	case isUnreachable(err):
		if try+1 >= dialTries {
			return 0, false
		}
	default:
		return 0, false
	}
	d := min(c.first<<min(try, 10), longest)
	return d/2 + rand.N(d/2+1), true
}

// isBusy reports whether the cluster asks to come back later. The codes are
// those of too many connections and too many of them in a second:
// https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
func isBusy(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return false
	}
	// 57P03 is cannot_connect_now. What a cluster that wakes up sends is known
	// by its text only.
	return pgErr.Code == "53300" || pgErr.Code == "53400" || pgErr.Code == "57P03" || strings.Contains(pgErr.Message, "waking up")
}

// isUnreachable reports whether nobody answered, or stopped in the middle of it.
func isUnreachable(err error) bool {
	var (
		pgErr  *pgconn.PgError
		dnsErr *net.DNSError
		netErr net.Error
		token  *tokenError
	)
	switch {
	case errors.As(err, &pgErr), errors.As(err, &token), errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &dnsErr):
		return dnsErr.IsTimeout || dnsErr.IsTemporary
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return true
	}
	return errors.As(err, &netErr) && netErr.Timeout() || pgconn.Timeout(err)
}

// explain makes the error that the caller gets.
func (c *connector) explain(err error, password string) error {
	return &LoginError{Host: c.host, Role: c.config.User, Advice: c.advice(err), Err: pgstore.Redact(password, err), password: password}
}

// advice says what to do about an error. The server's texts are those of
// https://docs.aws.amazon.com/aurora-dsql/latest/userguide/troubleshooting.html
func (c *connector) advice(err error) string {
	var (
		pgErr     *pgconn.PgError
		token     *tokenError
		dnsErr    *net.DNSError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
	)
	switch {
	case errors.As(err, &pgErr):
		return c.serverAdvice(pgErr)
	case errors.Is(err, errNoRegion), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ""
	case errors.As(err, &token):
		return "log in to AWS, or choose other credentials with AWS_PROFILE or ?profile=… in the url"
	case errors.As(err, &dnsErr) && c.endpoint:
		return "is the cluster's id or region in the host name wrong?"
	case errors.As(err, &authority) && c.endpoint:
		return "the system's certificates lack Amazon Root CA 1: name a file that has it with sslrootcert=…"
	case errors.As(err, &authority):
		return "name the file with the server's root certificate with sslrootcert=…"
	case errors.As(err, &name):
		return "connect by the host name that the server's certificate has"
	}
	return ""
}

func (c *connector) serverAdvice(e *pgconn.PgError) string {
	says := func(text string) bool {
		return strings.Contains(strings.ToLower(e.Message+" "+e.Detail+" "+e.Hint), text)
	}
	role := c.config.User
	switch {
	case says("sni was not received"):
		return "connect by the cluster's host name, not by an address"
	case says("iam authentication failed"):
		return fmt.Sprintf("as admin, let the role in with: CREATE ROLE %s WITH LOGIN; AWS IAM GRANT %s TO '<the ARN of your IAM role or user>'", quoted("", role), quoted("", role))
	case says("signature expired"), says("not yet current"):
		if c.token == nil {
			return "the token in the url has ended; leave it out to have a new one for each connection"
		}
		return "set this computer's clock: a token says when it was made"
	case says("access denied") && role == adminRole:
		return "the AWS credentials need the permission dsql:DbConnectAdmin on this cluster; are they of the right account and profile?"
	case says("access denied"):
		return "the AWS credentials need the permission dsql:DbConnect on this cluster, and the role AWS IAM GRANT … for their ARN; are they of the right account and profile?"
	case isBusy(e):
		return "it stayed so for all the time there was to wait"
	}
	return ""
}

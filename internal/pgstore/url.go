package pgstore

import (
	"errors"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrURL says that the database URL cannot be read.
var ErrURL = errors.New("the database url cannot be read (and is not shown, as it may hold a password); " +
	"percent-encode the characters @ : / ? # % in its password, as urlescape() does")

// ParseURL reads the URL. What cannot be read may be a password with
// characters that end it too soon, so nothing of it is ever quoted.
func ParseURL(raw string) (*pgconn.Config, error) {
	if _, rest, ok := strings.Cut(raw, "://"); ok {
		authority, _, _ := strings.Cut(rest, "/")
		if u, err := url.Parse(raw); err != nil || strings.Count(authority, "@") > 1 || strings.Count(rest, "@") > strings.Count(authority, "@")+strings.Count(u.RawQuery, "@") {
			return nil, ErrURL
		}
	}
	conn, err := pgconn.ParseConfig(raw)
	if err != nil {
		return nil, ErrURL
	}
	return conn, nil
}

// Redact makes sure that a password is not in an error's text.
func Redact(password string, err error) error {
	text := err.Error()
	if password == "" || !strings.Contains(text, password) {
		return err
	}
	return redactedError{strings.ReplaceAll(text, password, "xxxxx"), err}
}

type redactedError struct {
	text string
	err  error
}

func (e redactedError) Error() string { return e.text }
func (e redactedError) Unwrap() error { return e.err }

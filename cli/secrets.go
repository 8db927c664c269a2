package cli

import (
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/aurora-migrate/aurora/internal/config"
)

// secrets are what must not appear in any message. Packages below keep
// passwords out of their errors; this is the second line.
type secrets struct {
	mu     sync.Mutex
	values []string
}

const hidden = "xxxxx"

// add remembers the secrets of a connection string.
func (s *secrets) add(connection string) {
	u, err := url.Parse(connection)
	if err != nil || u.User == nil {
		return
	}
	password, _ := u.User.Password()
	for _, key := range []string{"password", "sslpassword"} {
		s.addValue(u.Query().Get(key), u)
	}
	s.addValue(password, u)
}

// addValue leaves out words that any message may hold, such as the password
// "postgres" of the user postgres: hiding them would spoil messages and reveal
// the password. As part of a URL they are hidden all the same.
func (s *secrets) addValue(value string, u *url.URL) {
	if len(value) < 6 || value == u.User.Username() || value == strings.TrimPrefix(u.Path, "/") ||
		slices.Contains([]string{"postgres", "password"}, value) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range []string{value, url.QueryEscape(value), url.PathEscape(value)} {
		if !slices.Contains(s.values, v) {
			s.values = append(s.values, v)
		}
	}
}

// hide returns the text without secrets.
func (s *secrets) hide(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.values {
		text = strings.ReplaceAll(text, v, hidden)
	}
	if !strings.Contains(text, "://") {
		return text
	}
	words := strings.Split(text, " ")
	for i, w := range words {
		if strings.Contains(w, "://") {
			words[i] = config.Redact(w)
		}
	}
	return strings.Join(words, " ")
}

// A secretWriter hides secrets. A message must be one Write.
type secretWriter struct {
	w       io.Writer
	secrets *secrets
}

func (s *secretWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(s.w, s.secrets.hide(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/cli/internal/report"
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
			words[i] = redactWord(w)
		}
	}
	return strings.Join(words, " ")
}

// redactWord is config.Redact for a word that a shell's quotes may stand
// around: they and what follows them are not part of the URL.
func redactWord(w string) string {
	inner, opened := strings.CutPrefix(w, "'")
	if !opened {
		return config.Redact(w)
	}
	end := strings.LastIndexByte(inner, '\'')
	if end < 0 || strings.Trim(inner[end+1:], ".,:;)") != "" {
		end = len(inner)
	}
	return "'" + config.Redact(inner[:end]) + inner[end:]
}

// hideHolder returns a holder without secrets in what people wrote of it.
func (s *secrets) hideHolder(h aurora.Holder) aurora.Holder {
	for _, text := range []*string{&h.Host, &h.User, &h.Link, &h.By, &h.Reason} {
		*text = s.hide(*text)
	}
	return h
}

// hideRevision returns a revision without secrets in what people and migrations
// wrote of it.
func (s *secrets) hideRevision(r aurora.Revision) aurora.Revision {
	for _, text := range []*string{&r.Description, &r.Error, &r.ErrorStep, &r.ErrorPos, &r.Operator, &r.Output} {
		*text = s.hide(*text)
	}
	r.Holder, r.Checkpoint = s.hideHolder(r.Holder), s.hideJSON(r.Checkpoint)
	return r
}

// hideFiles takes the secrets out of statements.
func (s *secrets) hideFiles(files []*report.AppliedFile) {
	for _, f := range files {
		for i := range f.Applied {
			f.Applied[i] = s.hide(f.Applied[i])
		}
		for _, w := range f.Rewrites {
			w.Stmt, w.Sent = s.hide(w.Stmt), s.hide(w.Sent)
		}
		for _, r := range f.Refused {
			r.Stmt = s.hide(r.Stmt)
		}
		if f.Error != nil {
			f.Error.Stmt = s.hide(f.Error.Stmt)
		}
	}
}

// hideJSON returns JSON without secrets: itself, if it has none. What is no JSON
// is hidden as text.
func (s *secrets) hideJSON(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return raw
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // they may have more digits than a float64
	var v any
	if err := d.Decode(&v); err != nil {
		return json.RawMessage(s.hide(string(raw)))
	}
	found := false
	v = s.hideValue(v, &found)
	if !found {
		return raw
	}
	clean, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(`"` + hidden + `"`)
	}
	return clean
}

// hideValue hides secrets in a decoded value, and says in found that there were.
func (s *secrets) hideValue(v any, found *bool) any {
	text := func(t string) string {
		clean := s.hide(t)
		*found = *found || clean != t
		return clean
	}
	switch v := v.(type) {
	case string:
		return text(v)
	case json.Number:
		if clean := text(v.String()); clean != v.String() {
			return clean
		}
	case []any:
		for i := range v {
			v[i] = s.hideValue(v[i], found)
		}
	case map[string]any:
		clean := make(map[string]any, len(v))
		for k, e := range v {
			clean[text(k)] = s.hideValue(e, found)
		}
		return clean
	}
	return v
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

package dashboard

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/aurora-migrate/aurora"
)

// passwords finds those of URLs in running text.
var passwords = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/@"'<>]*):[^\s/@"'<>]+@`)

// keywords finds those of connection strings and of query parameters.
var keywords = regexp.MustCompile(`(?i)\b(password|passwd|sslpassword|X-Amz-Signature|X-Amz-Security-Token)=('[^']*'|[^\s&'"]+)`)

// hide removes secrets from a text that may hold them.
func (s *server) hide(text string) string {
	if strings.Contains(text, "=") {
		text = keywords.ReplaceAllString(text, "$1=xxxxx")
	}
	return s.hideInSource(text)
}

// hideInSource is hide for what people wrote to be read, in which a word such
// as password= is no connection string: statements and descriptions.
func (s *server) hideInSource(text string) string {
	if strings.Contains(text, "://") {
		text = passwords.ReplaceAllString(text, "$1:xxxxx@")
	}
	if s.cfg.Hide != nil {
		text = s.cfg.Hide(text)
	}
	return text
}

// clip cuts a text at a number of bytes, between characters.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit] + "…"
}

func (s *server) holderOf(h aurora.Holder) holderJSON {
	// A page makes a link of it, and another scheme could be a script.
	if u, err := url.Parse(h.Link); err != nil || u.Scheme != "https" && u.Scheme != "http" {
		h.Link = ""
	}
	h.Link, h.Reason = s.hide(h.Link), s.hide(h.Reason)
	return holderJSON{Holder: h, Text: h.String()}
}

func (s *server) lockOf(e *aurora.LockedError) lockJSON {
	if e == nil {
		return lockJSON{}
	}
	h := s.holderOf(e.Holder)
	return lockJSON{Held: true, Holder: &h, Token: e.Token, ExpiresAt: e.ExpiresAt}
}

// isOddPath reports a path that is not in its plain form. Everything served
// here has one form only.
func isOddPath(path string) bool {
	return !strings.HasPrefix(path, "/") || strings.Contains(path, "//") || strings.ContainsAny(path, "\\\x00") ||
		strings.Contains(path+"/", "/../") || strings.Contains(path+"/", "/./")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

package dashboard

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aurora-migrate/aurora"
)

// passwords finds those of URLs in running text. One with an @ in it goes on to
// the last @ of what can be user and host.
var passwords = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/"'<>]*):[^\s/"'<>]+@`)

// named finds what is named as a secret: in variables, connection strings and
// query parameters after =, in JSON, YAML and headers after a colon. The groups
// are the name and its separator, and the value.
var named = regexp.MustCompile(`(?i)((?:password|passwd|passphrase|secret(?:[_-]?access)?(?:[_-]?key)?|token|api[_-]?key|X-Amz-Signature)\\?["']?\s*)` +
	`(=\s*(?:` + quoted + `|[^\s&'"]+)|:\s*(?:` + quoted + `|[^\s&,}'"]+))`)

// quoted is a string to its end, or to that of the text.
const quoted = `\\"[^"]*"?|"(?:[^"\\]|\\.)*"?|'[^']*'?`

// headers finds credentials of requests, with or without the header's name.
var headers = regexp.MustCompile(`(?i)(\bauthorization\\?["']?\s*[:=]\s*\\?["']?)[^"'\\\r\n]+|(\bbearer\s+)[^\s"',\\]+`)

// hide removes secrets from a text that may hold them. What looks like one is
// taken for one.
func (s *server) hide(text string) string {
	lower := strings.ToLower(text)
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(lower, w) })
	}
	if has("authorization", "bearer") {
		text = headers.ReplaceAllString(text, "$1${2}xxxxx")
	}
	if has("pass", "secret", "token", "api", "x-amz-") {
		text = named.ReplaceAllStringFunc(text, hideValue)
	}
	return s.hideInSource(text)
}

// hideValue leaves separator and quotes as they are, so that JSON stays JSON.
func hideValue(match string) string {
	groups := named.FindStringSubmatch(match)
	name, value := groups[1], groups[2]
	start := len(value) - len(strings.TrimLeft(value, "=: \t\r\n"))
	value, sep := value[start:], value[:start]
	for _, quote := range []string{`\"`, `"`, `'`} {
		if strings.HasPrefix(value, quote) {
			return name + sep + quote + "xxxxx" + quote
		}
	}
	return name + sep + "xxxxx"
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
	for _, text := range []*string{&h.Link, &h.Reason, &h.By, &h.User, &h.Host} {
		*text = s.hide(*text)
	}
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

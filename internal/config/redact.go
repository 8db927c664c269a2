package config

import (
	"net/url"
	"slices"
	"strings"
)

// hidden stands where a secret was.
const hidden = "xxxxx"

// Redact returns a database URL, a libpq keyword string or a DSQL token
// without its secrets: the password and query values such as token or
// X-Amz-Signature become "xxxxx". It also understands URLs that do not parse
// because the password was not escaped; of these it hides more rather than
// less. Everything else is returned as it was.
func Redact(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return redactKeywords(redactQuery(s))
	}
	// The user part ends at the last @ there is: an unescaped password may hold
	// / ? # and @. A later @ of the path or query hides more than it needs to.
	last := strings.LastIndexByte(rest, '@')
	user, _, hasPassword := strings.Cut(rest[:max(last, 0)], ":")
	_, err := url.Parse(s)
	switch {
	case last < 0:
	case hasPassword && !strings.ContainsAny(user, "/?#@"):
		rest = user + ":" + hidden + rest[last:]
	case hasPassword || err != nil:
		rest = hidden + rest[last:]
	}
	return scheme + "://" + redactQuery(rest)
}

// secretKeys are the query parameters whose values are hidden.
var secretKeys = []string{
	"password", "sslpassword", "pwd", "token", "secret", "access_key", "secret_key", "apikey", "api_key",
	"x-amz-signature", "x-amz-credential", "x-amz-security-token",
}

func redactQuery(s string) string {
	path, query, ok := strings.Cut(s, "?")
	if !ok {
		return s
	}
	parts := strings.Split(query, "&")
	for i, p := range parts {
		if key, _, ok := strings.Cut(p, "="); ok && slices.Contains(secretKeys, strings.ToLower(key)) {
			parts[i] = key + "=" + hidden
		}
	}
	return path + "?" + strings.Join(parts, "&")
}

// redactKeywords hides the password in a libpq keyword string. Values are
// quoted with ' and escaped with \, as in
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING.
func redactKeywords(s string) string {
	const key = "password"
	i := strings.Index(strings.ToLower(s), key)
	if i < 0 {
		return s
	}
	i += len(key)
	value := strings.TrimLeft(s[i:], " ")
	if !strings.HasPrefix(value, "=") {
		return s[:i] + redactKeywords(s[i:])
	}
	value = strings.TrimLeft(value[1:], " ")
	begin := len(s) - len(value)
	return s[:begin] + hidden + redactKeywords(value[valueEnd(value):])
}

// valueEnd returns where the first value of a keyword string ends.
func valueEnd(s string) int {
	quoted := strings.HasPrefix(s, "'")
	i := 0
	if quoted {
		i++
	}
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case quoted && c == '\'':
			return i + 1
		case !quoted && c == ' ':
			return i
		}
	}
	return len(s)
}

// secrets remembers values and keeps them out of messages.
type secrets struct {
	source string
	sure   []string // what data sources and files gave, and passwords
	inputs []string // what the user and the environment gave
}

// minSecret keeps short values, which are words of the message too, readable.
const minSecret = 6

// add remembers a secret, and the forms it takes in URLs.
func (s *secrets) add(value string) { s.sure = remember(s.sure, value) }

// addInput remembers a value that came from outside under a name. It is a
// secret when its name says so. Otherwise it may be a host or a region, which
// messages about reaching them must show.
func (s *secrets) addInput(name, value string) {
	s.addURL(value)
	lower := strings.ToLower(name)
	for _, word := range []string{"pass", "pw", "secret", "token", "key", "cred", "auth"} {
		if strings.Contains(lower, word) {
			s.add(value)
			return
		}
	}
	s.inputs = remember(s.inputs, value)
}

func remember(values []string, value string) []string {
	for _, v := range []string{value, strings.TrimSpace(value), url.QueryEscape(value), url.PathEscape(value)} {
		if len(v) >= minSecret && !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return values
}

// addURL remembers the password of a URL.
func (s *secrets) addURL(raw string) {
	u, err := url.Parse(raw)
	if err != nil || u.User == nil {
		return
	}
	if pw, ok := u.User.Password(); ok {
		s.add(pw)
	}
}

// scrub removes secrets, and those of URLs, from a message of our own.
func (s *secrets) scrub(text string) string { return redactWords(without(text, s.sure)) }

// without replaces values, the longest first, so that no rest of one stays.
func without(text string, values []string) string {
	values = slices.Clone(values)
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	for _, v := range values {
		text = strings.ReplaceAll(text, v, hidden)
	}
	return text
}

// hide removes all that came from outside from a message of HCL: also inputs,
// and every quoted text that is not in the project file itself. HCL quotes the
// value it could not convert, and that is data, not configuration.
func (s *secrets) hide(text string) string {
	text = without(text, slices.Concat(s.sure, s.inputs))
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(text, `"`)
		out.WriteString(redactWords(before))
		if !ok {
			return out.String()
		}
		quoted, after, ok := cutQuoted(rest)
		switch {
		case !ok:
			// No end: all of the rest is the value.
			out.WriteString(`"` + hidden)
			return out.String()
		case strings.HasPrefix(after, " parameter"), strings.HasSuffix(before, "Did you mean "), strings.Contains(s.source, quoted):
			out.WriteString(`"` + Redact(quoted) + `"`)
		default:
			out.WriteString(`"` + hidden + `"`)
		}
		text = after
	}
}

// cutQuoted splits what follows an opening quote at the closing one.
func cutQuoted(s string) (quoted, after string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// redactWords applies Redact to every word that is a URL.
func redactWords(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	words := strings.Split(s, " ")
	for i, w := range words {
		if strings.Contains(w, "://") {
			words[i] = Redact(w)
		}
	}
	return strings.Join(words, " ")
}

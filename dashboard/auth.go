package dashboard

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Auth says how those who ask prove who they are. At least one field must be
// set; who meets any of them is let in.
type Auth struct {
	// Once is a token for one browser: the first request for ?token=ONCE gets a
	// session, and from then on it is worth nothing. It is for a dashboard on
	// this machine, and needs [Config.Hosts], all of them loopback. [NewToken]
	// makes one.
	Once string
	// Token is a fixed secret of at least 20 characters, sent as
	// "Authorization: Bearer TOKEN" or typed into the page.
	Token string
	// JWT verifies a token that a proxy or the identity provider sends along.
	JWT *JWT
	// Identify returns who asks, where something in front of the handler has
	// verified that already, such as IAM before a Lambda function URL. It
	// returns an error for those who are not known. It must not believe
	// headers that the client can set.
	Identify func(*http.Request) (who string, err error)
}

// NewToken returns a token of 128 random bits.
func NewToken() string { return rand.Text() }

const (
	minToken    = 20             // characters
	sessionLife = 12 * time.Hour // a working day
	sessionPath = "session"
	csrfHeader  = "X-Aurora-Csrf"
	// noCookieCSRF is the CSRF token of those who have no session cookie: the
	// header alone proves that no other site's page has sent the request, since
	// no other site is allowed to set it.
	noCookieCSRF = "header"
)

// keys are what sessions are signed with, and the state of the token that is
// good for once.
type keys struct {
	auth    Auth
	session []byte
	used    *atomic.Bool
}

func (a Auth) keys(hosts []string) (keys, error) {
	k := keys{auth: a, used: new(atomic.Bool)}
	switch {
	case a.Once == "" && a.Token == "" && a.JWT == nil && a.Identify == nil:
		return k, errors.New("none was configured, and an open dashboard is refused: set a token, a JWT, or IAM in front of it")
	case a.Token != "" && len(a.Token) < minToken:
		return k, errors.New("the token is too short: want at least 20 random characters")
	case a.Once != "" && len(a.Once) < minToken:
		return k, errors.New("the token for one browser is too short")
	case a.Once != "" && len(hosts) == 0:
		return k, errors.New("a token for one browser needs the hosts that are answered")
	}
	if a.Once != "" {
		for _, h := range hosts {
			if !IsLoopback(h) {
				return k, errors.New("a token for one browser is for this machine only, and " + h + " is not it")
			}
		}
	}
	if a.JWT != nil {
		if err := a.JWT.check(); err != nil {
			return k, err
		}
	}
	if a.Token != "" {
		// Several processes, as Lambda starts them, must know each other's
		// sessions.
		k.session = sign([]byte(a.Token), "aurora dashboard sessions v1")
	} else {
		k.session = []byte(rand.Text() + rand.Text())
	}
	return k, nil
}

// IsLoopback reports whether an address, with or without a port, is this
// machine's loopback interface.
func IsLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func sign(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func same(a, b string) bool {
	return len(a) == len(b) && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// newSession returns the value of a session cookie: when it ends, something
// random, and the signature of both.
func (k keys) newSession(now time.Time) string {
	s := strconv.FormatInt(now.Add(sessionLife).Unix(), 10) + "." + rand.Text()
	return s + "." + hex.EncodeToString(sign(k.session, s))
}

func (k keys) isSession(cookie string, now time.Time) bool {
	i := strings.LastIndexByte(cookie, '.')
	if i < 0 || !same(cookie[i+1:], hex.EncodeToString(sign(k.session, cookie[:i]))) {
		return false
	}
	end, _, _ := strings.Cut(cookie, ".")
	unix, err := strconv.ParseInt(end, 10, 64)
	return err == nil && now.Before(time.Unix(unix, 0))
}

func (k keys) csrf(cookie string) string { return hex.EncodeToString(sign(k.session, "csrf "+cookie)) }

// takeOnce reports whether token is the one that is good for once, the first
// time.
func (k keys) takeOnce(token string) bool {
	return k.auth.Once != "" && same(token, k.auth.Once) && k.used.CompareAndSwap(false, true)
}

// cookieName has the port in it: cookies do not tell ports apart, and two
// dashboards may run on one machine.
func cookieName(r *http.Request) string {
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		return "aurora_dashboard"
	}
	return "aurora_dashboard_" + port
}

func (k keys) setCookie(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName(r), Value: value, Path: "/", MaxAge: maxAge,
		// A plain http:// page on this machine cannot set a secure cookie.
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: !IsLoopback(r.Host),
	})
}

// A caller is who asks.
type caller struct {
	name string
	csrf string // what the header must say
	// explicit says that the credentials are of a kind that no browser adds by
	// itself.
	explicit bool
}

// caller says who asks, or returns a problem.
func (s *server) caller(r *http.Request) (caller, error) {
	k := s.keys
	if k.auth.Once != "" || k.auth.Token != "" {
		for _, c := range r.CookiesNamed(cookieName(r)) {
			if k.isSession(c.Value, time.Now()) {
				return caller{csrf: k.csrf(c.Value)}, nil
			}
		}
	}
	var why error
	if bearer, ok := bearerToken(r); ok && k.auth.Token != "" && same(bearer, k.auth.Token) {
		return caller{csrf: noCookieCSRF, explicit: true}, nil
	}
	if k.auth.JWT != nil {
		name, err := k.auth.JWT.verify(r)
		if err == nil {
			return caller{name: name, csrf: noCookieCSRF}, nil
		}
		why = err
	}
	if k.auth.Identify != nil {
		name, err := k.auth.Identify(r)
		if err == nil {
			return caller{name: name, csrf: noCookieCSRF}, nil
		}
		why = err
	}
	if why != nil {
		s.log.Info("refused a request without valid credentials", "err", why)
	}
	return caller{}, k.unauthorized()
}

func (k keys) unauthorized() *problem {
	p := problemf(http.StatusUnauthorized, "unauthorized", "You are not signed in.")
	switch {
	case k.auth.Token != "":
		return p.with("login", "token")
	case k.auth.Once != "":
		p.hint = "Open the address that aurora dashboard printed. It works in one browser; start the dashboard again for another."
		return p.with("login", "link")
	}
	p.hint = "Load the page again, so that you are asked to sign in."
	return p.with("login", "none")
}

func bearerToken(r *http.Request) (string, bool) {
	kind, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(kind, "Bearer")
}

func (s *server) knowsHost(host string) bool {
	if len(s.cfg.Hosts) == 0 {
		return true
	}
	for _, h := range s.cfg.Hosts {
		if strings.EqualFold(h, host) {
			return true
		}
	}
	return false
}

// guard lets a request of the API pass only from pages of this handler's own
// origin, or from no page at all, and only from those who are known. The
// session itself is where one becomes known.
func (s *server) guard(r *http.Request, path string) error {
	// https://www.w3.org/TR/fetch-metadata: none is a person who typed the
	// address. Same-site is another port of this machine.
	site := r.Header.Get("Sec-Fetch-Site")
	if site != "" && site != "same-origin" && site != "none" || !s.knowsOrigin(r) {
		s.log.Warn("refused a request from another site", "origin", clip(r.Header.Get("Origin"), 200), "site", clip(site, 20))
		return problemf(http.StatusForbidden, "cross_origin", "Requests from pages of other sites are refused.")
	}
	changes := r.Method != http.MethodGet && r.Method != http.MethodHead
	if path == sessionPath && r.Method == http.MethodPost {
		if r.Header.Get(csrfHeader) == "" {
			return problemf(http.StatusForbidden, "csrf", "The header %s is missing.", csrfHeader)
		}
		return nil
	}
	c, err := s.caller(r)
	if err != nil {
		return err
	}
	if changes && !c.explicit && !same(r.Header.Get(csrfHeader), c.csrf) {
		return problemf(http.StatusForbidden, "csrf", "The header %s is missing or not that of the session. Load the page again.", csrfHeader)
	}
	return nil
}

// knowsOrigin reports whether the Origin header, if there is one, is this
// handler's own. Proxies end TLS, so the scheme says nothing, and some of them
// replace Host: then only the configured names tell.
func (s *server) knowsOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && (strings.EqualFold(u.Host, r.Host) || len(s.cfg.Hosts) > 0 && s.knowsHost(u.Host))
}

func (s *server) getSession(w http.ResponseWriter, r *http.Request) error {
	c, err := s.caller(r)
	if err != nil {
		return err
	}
	events := "sse"
	if s.cfg.Polling {
		events = "poll"
	}
	reason := s.readOnly()
	return reply(w, http.StatusOK, sessionJSON{
		Project: s.cfg.Project, Env: s.cfg.Env, Protected: s.cfg.Protected, ReadOnly: reason != "", ReadOnlyReason: reason,
		Store: s.cfg.StoreKind, Target: s.hide(s.cfg.Target), User: s.hide(cmp.Or(c.name, s.cfg.User)), CSRF: c.csrf, Events: events,
		KnowsFiles: s.cfg.Migrations != nil, Runtime: s.cfg.Runtime, Version: s.cfg.Version, Now: time.Now().UTC(),
	})
}

func (s *server) postSession(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Token string `json:"token"`
	}
	if err := decode(w, r, &in); err != nil {
		return err
	}
	token := strings.TrimSpace(in.Token)
	if (s.cfg.Auth.Token == "" || !same(token, s.cfg.Auth.Token)) && !s.keys.takeOnce(token) {
		s.log.Warn("refused a wrong token", "from", r.RemoteAddr)
		return s.keys.unauthorized()
	}
	s.keys.setCookie(w, r, s.keys.newSession(time.Now()), int(sessionLife/time.Second))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) deleteSession(w http.ResponseWriter, r *http.Request) error {
	s.keys.setCookie(w, r, "", -1)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

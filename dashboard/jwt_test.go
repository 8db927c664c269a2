package dashboard_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/dashboard"
)

// An issuer is an identity provider.
type issuer struct {
	*httptest.Server
	rsa     *rsa.PrivateKey
	ec      *ecdsa.PrivateKey
	fetches atomic.Int64
}

func encoded(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	is := &issuer{}
	var err error
	if is.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if is.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		reply(t, w, map[string]string{"issuer": is.URL, "jwks_uri": is.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		is.fetches.Add(1)
		x, y := is.ec.X.FillBytes(make([]byte, 32)), is.ec.Y.FillBytes(make([]byte, 32)) //nolint:staticcheck // as RFC 7518 writes keys
		reply(t, w, map[string]any{"keys": []map[string]string{
			{"kty": "RSA", "kid": "r", "n": encoded(is.rsa.N.Bytes()), "e": encoded(big.NewInt(int64(is.rsa.E)).Bytes())},
			{"kty": "EC", "kid": "e", "crv": "P-256", "x": encoded(x), "y": encoded(y), "use": "sig"},
			{"kty": "oct", "kid": "o", "k": encoded([]byte("shared"))},
			{"kty": "EC", "kid": "off", "crv": "P-256", "x": encoded(x), "y": encoded(make([]byte, 32))},
		}})
	})
	is.Server = httptest.NewServer(mux)
	t.Cleanup(is.Close)
	return is
}

func reply(t *testing.T, w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		t.Error(err)
	}
}

func (is *issuer) token(t *testing.T, alg, kid string, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return encoded(b)
	}
	signed := part(map[string]string{"alg": alg, "kid": kid}) + "." + part(claims)
	sum := sha256.Sum256([]byte(signed))
	var signature []byte
	var err error
	switch alg {
	case "RS256":
		signature, err = rsa.SignPKCS1v15(rand.Reader, is.rsa, crypto.SHA256, sum[:])
	case "ES256":
		r, s, serr := ecdsa.Sign(rand.Reader, is.ec, sum[:])
		err = serr
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case "HS256": // signed with the public key, which everybody has
		mac := hmac.New(sha256.New, is.rsa.N.Bytes())
		mac.Write([]byte(signed))
		signature = mac.Sum(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encoded(signature)
}

func TestJWT(t *testing.T) {
	is := newIssuer(t)
	s := serve(t, dashboard.Config{Store: new(auroratest.Memory), Hosts: []string{}, Auth: dashboard.Auth{JWT: &dashboard.JWT{Issuer: is.URL, Audience: "aurora", Header: "X-Amzn-Oidc-Accesstoken"}}})
	good := map[string]any{"iss": is.URL, "aud": []string{"x", "aurora"}, "sub": "1", "email": "ada@example.com", "exp": time.Now().Add(time.Minute).Unix()}
	with := func(changes map[string]any) map[string]any {
		c := maps.Clone(good)
		for k, v := range changes {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		return c
	}
	valid := is.token(t, "RS256", "r", good)
	for name, tt := range map[string]struct {
		token string
		ok    bool
	}{
		"rsa":             {valid, true},
		"ec":              {is.token(t, "ES256", "e", good), true},
		"one audience":    {is.token(t, "ES256", "e", with(map[string]any{"aud": "aurora"})), true},
		"cognito access":  {is.token(t, "ES256", "e", with(map[string]any{"aud": nil, "client_id": "aurora"})), true},
		"nothing":         {"", false},
		"garbage":         {"a.b.c", false},
		"none":            {is.token(t, "none", "r", good), false},
		"HMAC of the key": {is.token(t, "HS256", "r", good), false},
		"symmetric key":   {is.token(t, "HS256", "o", good), false},
		"other key":       {is.token(t, "RS256", "e", good), false},
		"unknown key":     {is.token(t, "RS256", "z", good), false},
		"off the curve":   {is.token(t, "ES256", "off", good), false},
		"changed":         {valid[:len(valid)-4] + "AAAA", false},
		"other claims":    {is.token(t, "none", "r", with(map[string]any{"email": "eve"})) + valid[len(valid)-342:], false},
		"other issuer":    {is.token(t, "RS256", "r", with(map[string]any{"iss": "https://evil.example"})), false},
		"other audience":  {is.token(t, "RS256", "r", with(map[string]any{"aud": "shop"})), false},
		"other client":    {is.token(t, "RS256", "r", with(map[string]any{"aud": "shop", "client_id": "aurora"})), false},
		"no audience":     {is.token(t, "RS256", "r", with(map[string]any{"aud": nil})), false},
		"expired":         {is.token(t, "RS256", "r", with(map[string]any{"exp": time.Now().Add(-2 * time.Minute).Unix()})), false},
		"without end":     {is.token(t, "RS256", "r", with(map[string]any{"exp": nil})), false},
		"too early":       {is.token(t, "RS256", "r", with(map[string]any{"nbf": time.Now().Add(2 * time.Minute).Unix()})), false},
	} {
		req := s.request("GET", "/api/session", "")
		req.Header.Set("X-Amzn-Oidc-Accesstoken", tt.token)
		resp, body := s.do(req)
		if resp.StatusCode == http.StatusOK != tt.ok || tt.ok && !contains(body, `"user":"ada@example.com"`) {
			t.Errorf("%s: %s %s", name, resp.Status, body)
		}
	}
	// Nobody makes the dashboard ask the issuer again and again.
	if n := is.fetches.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

// A proxy adds its token to whatever a browser sends, so that the header of the
// page must be there too.
func TestJWTIsNoProofAgainstOtherSites(t *testing.T) {
	is := newIssuer(t)
	s := serve(t, dashboard.Config{Store: new(auroratest.Memory), Hosts: []string{}, Auth: dashboard.Auth{JWT: &dashboard.JWT{Issuer: is.URL, Audience: "aurora"}}})
	token := is.token(t, "RS256", "r", map[string]any{"iss": is.URL, "aud": "aurora", "sub": "1", "exp": time.Now().Add(time.Minute).Unix()})
	req := s.post("/api/up", map[string]string{})
	req.Header.Set("Authorization", "Bearer "+token)
	s.refused(req, http.StatusForbidden, "csrf")
	s.csrf = "header"
	req = s.post("/api/up", map[string]string{})
	req.Header.Set("Authorization", "Bearer "+token)
	s.refused(req, http.StatusConflict, "read_only")
}

func TestIdentify(t *testing.T) {
	s := serve(t, dashboard.Config{Store: new(auroratest.Memory), Hosts: []string{}, Auth: dashboard.Auth{Identify: func(r *http.Request) (string, error) {
		if r.Header.Get("Test-Known") == "" {
			return "", errors.New("nobody")
		}
		return "arn:aws:iam::1:user/ada", nil
	}}})
	if p := s.refused(s.request("GET", "/api/session", ""), http.StatusUnauthorized, "unauthorized"); p.Login != "none" {
		t.Error(p)
	}
	req := s.request("GET", "/api/session", "")
	req.Header.Set("Test-Known", "1")
	if resp, body := s.do(req); resp.StatusCode != http.StatusOK || !contains(body, "user/ada") {
		t.Errorf("%s %s", resp.Status, body)
	}
}

// Nobody keeps others out by hanging up while keys are fetched, or by asking
// while the issuer is away.
func TestJWTKeysComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		is := &issuer{ec: key}
		const name = "https://idp.example.com"
		fetches, away := 0, true
		client := &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			fetches++
			if err := r.Context().Err(); err != nil {
				return nil, err
			}
			w := httptest.NewRecorder()
			if away {
				w.WriteHeader(http.StatusBadGateway)
			} else {
				x, y := is.ec.X.FillBytes(make([]byte, 32)), is.ec.Y.FillBytes(make([]byte, 32)) //nolint:staticcheck // as RFC 7518 writes keys
				reply(t, w, map[string]any{"keys": []map[string]string{{"kty": "EC", "kid": "e", "crv": "P-256", "x": encoded(x), "y": encoded(y)}}})
			}
			return w.Result(), nil
		})}
		handler, err := dashboard.New(dashboard.Config{
			Store: new(auroratest.Memory), Files: pages,
			Auth: dashboard.Auth{JWT: &dashboard.JWT{Issuer: name, Audience: "aurora", KeysURL: name + "/keys", Client: client}},
		})
		if err != nil {
			t.Fatal(err)
		}
		ask := func(ctx context.Context, kid string) int {
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/session", http.NoBody)
			claims := map[string]any{"iss": name, "aud": "aurora", "sub": "1", "exp": time.Now().Add(time.Minute).Unix()}
			r.Header.Set("Authorization", "Bearer "+is.token(t, "ES256", kid, claims))
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			return w.Code
		}
		gone, hangUp := context.WithCancel(t.Context())
		hangUp()
		for i, step := range []struct {
			ctx     context.Context
			kid     string
			away    bool
			pause   time.Duration // before it
			fetches int           // from the start
			code    int
		}{
			{t.Context(), "e", true, 0, 1, http.StatusUnauthorized},
			{t.Context(), "e", false, time.Second, 1, http.StatusUnauthorized}, // too early to ask again
			{gone, "other", false, 4 * time.Second, 2, http.StatusUnauthorized},
			{t.Context(), "e", false, 0, 2, http.StatusOK},
			{t.Context(), "other", true, 30 * time.Second, 2, http.StatusUnauthorized},
			{t.Context(), "other", true, 30 * time.Second, 3, http.StatusUnauthorized},
			{t.Context(), "e", true, 0, 3, http.StatusOK},                   // known from before
			{t.Context(), "e", true, time.Hour, 4, http.StatusUnauthorized}, // those are too old by now
			{t.Context(), "e", true, time.Second, 4, http.StatusUnauthorized},
			{t.Context(), "e", false, 4 * time.Second, 5, http.StatusOK},
		} {
			time.Sleep(step.pause)
			away = step.away
			if code := ask(step.ctx, step.kid); code != step.code || fetches != step.fetches {
				t.Errorf("step %d: %d after %d fetches, want %d after %d", i, code, fetches, step.code, step.fetches)
			}
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Keys come from where the issuer says, and from nowhere that this leads to.
func TestJWTKeysFollowNoRedirect(t *testing.T) {
	is := newIssuer(t)
	from := httptest.NewServer(http.RedirectHandler(is.URL+"/keys", http.StatusFound))
	t.Cleanup(from.Close)
	for _, client := range []*http.Client{nil, {}} {
		jwt := &dashboard.JWT{Issuer: is.URL, Audience: "aurora", KeysURL: from.URL, Client: client}
		s := serve(t, dashboard.Config{Store: new(auroratest.Memory), Hosts: []string{}, Auth: dashboard.Auth{JWT: jwt}})
		req := s.request("GET", "/api/session", "")
		claims := map[string]any{"iss": is.URL, "aud": "aurora", "sub": "1", "exp": time.Now().Add(time.Minute).Unix()}
		req.Header.Set("Authorization", "Bearer "+is.token(t, "RS256", "r", claims))
		s.refused(req, http.StatusUnauthorized, "unauthorized")
	}
	if n := is.fetches.Load(); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

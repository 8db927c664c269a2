package dashboard

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// A JWT says which JSON Web Tokens are believed (RFC 7519). The signature is
// verified with the issuer's keys, and so are the issuer, the audience and the
// times. Only RS256 and ES256 count. Claims that something in front has
// verified need no JWT but [Auth.Identify].
type JWT struct {
	// Issuer is what the claim iss must be.
	Issuer string
	// Audience is what the claim aud must have among its values. A token
	// without aud, as Amazon Cognito makes for access, must have it as
	// client_id.
	Audience string
	// KeysURL is where the issuer's keys are (RFC 7517). It must be https,
	// except on this machine. Defaults to what the issuer's
	// /.well-known/openid-configuration says.
	KeysURL string
	// Header is the request's header that has the token. Defaults to
	// Authorization, after the word Bearer.
	Header string
	// Client fetches the keys. Defaults to one that gives up after 5 seconds. It
	// follows no redirect, which could lead away from https.
	Client *http.Client

	fetching sync.Mutex // whoever has it may ask the issuer

	mu      sync.Mutex
	keys    map[string]crypto.PublicKey
	fetched time.Time // when they were
	tried   time.Time // the last try
	failed  error     // of the last try
}

const (
	keysLife   = time.Hour   // then keys are fetched again
	keysPause  = time.Minute // between two fetches because of an unknown key
	keysRetry  = 5 * time.Second
	keysWait   = 10 * time.Second // for the issuer
	clockSkew  = time.Minute
	maxJWT     = 16 << 10
	maxKeySet  = 1 << 20
	minRSABits = 2048 // RFC 7518, section 3.3
)

func (j *JWT) check() error {
	if j.Issuer == "" || j.Audience == "" {
		return errors.New("a JWT needs an issuer and an audience")
	}
	if j.KeysURL == "" {
		return checkKeysURL(j.Issuer)
	}
	return checkKeysURL(j.KeysURL)
}

func checkKeysURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !IsLoopback(u.Host)) {
		return fmt.Errorf("the keys of the issuer must come by https://, not from %q", raw)
	}
	return nil
}

type jwtHeader struct {
	Alg  string          `json:"alg"`
	Kid  string          `json:"kid"`
	Crit json.RawMessage `json:"crit"`
}

type jwtClaims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	ClientID  string   `json:"client_id"`
	Expires   *float64 `json:"exp"`
	NotBefore *float64 `json:"nbf"`
	Email     string   `json:"email"`
	User      string   `json:"preferred_username"`
}

// An audience is one string or several.
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// verify returns who the token of a request is about.
func (j *JWT) verify(r *http.Request) (string, error) {
	token := r.Header.Get(j.Header)
	if j.Header == "" || strings.EqualFold(j.Header, "Authorization") {
		token, _ = bearerToken(r)
	}
	if token == "" {
		return "", errors.New("there is no token")
	}
	claims, err := j.parse(r.Context(), token)
	if err != nil {
		return "", fmt.Errorf("the token: %w", err)
	}
	return firstOf(claims.Email, claims.User, claims.Subject), nil
}

func (j *JWT) parse(ctx context.Context, token string) (jwtClaims, error) {
	var header jwtHeader
	var claims jwtClaims
	parts := strings.Split(token, ".")
	if len(token) > maxJWT || len(parts) != 3 {
		return claims, errors.New("not a signed JWT")
	}
	if err := decodePart(parts[0], &header); err != nil {
		return claims, fmt.Errorf("its header: %w", err)
	}
	if header.Crit != nil {
		return claims, errors.New("it has critical extensions, which are not known here")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return claims, fmt.Errorf("its signature: %w", err)
	}
	key, err := j.key(ctx, header.Kid)
	if err != nil {
		return claims, err
	}
	if err := checkSignature(header.Alg, key, parts[0]+"."+parts[1], signature); err != nil {
		return claims, err
	}
	if err := decodePart(parts[1], &claims); err != nil {
		return claims, fmt.Errorf("its claims: %w", err)
	}
	return claims, j.accept(claims, time.Now())
}

func (j *JWT) accept(c jwtClaims, now time.Time) error {
	seconds := func(f float64) time.Time { return time.Unix(int64(f), 0) }
	switch {
	case c.Issuer != j.Issuer:
		return fmt.Errorf("it is of the issuer %q", clip(c.Issuer, 200))
	case !slices.Contains(c.Audience, j.Audience) && (len(c.Audience) > 0 || c.ClientID != j.Audience):
		return errors.New("it is for somebody else")
	case c.Expires == nil:
		return errors.New("it has no end")
	case now.After(seconds(*c.Expires).Add(clockSkew)):
		return errors.New("it has expired")
	case c.NotBefore != nil && now.Before(seconds(*c.NotBefore).Add(-clockSkew)):
		return errors.New("it is not valid yet")
	}
	return nil
}

func decodePart(part string, v any) error {
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// checkSignature lets the key's type decide, so that no token can choose how
// it is verified.
func checkSignature(alg string, key crypto.PublicKey, signed string, signature []byte) error {
	sum := sha256.Sum256([]byte(signed))
	bad := errors.New("its signature is wrong")
	switch key := key.(type) {
	case *rsa.PublicKey:
		if alg != "RS256" || rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) != nil {
			return bad
		}
	case *ecdsa.PublicKey:
		if alg != "ES256" || len(signature) != 64 ||
			!ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
			return bad
		}
	default:
		return bad
	}
	return nil
}

// key returns a key of the issuer, fetching all of them when they are old or
// this one is not among them.
func (j *JWT) key(ctx context.Context, kid string) (crypto.PublicKey, error) {
	if key, _, _ := j.known(kid); key != nil {
		return key, nil
	}
	// Tokens with known keys do not wait for those without.
	j.fetching.Lock()
	defer j.fetching.Unlock()
	key, mayTry, err := j.known(kid)
	if key != nil || !mayTry {
		return key, err
	}
	// Whoever sent the token may hang up, but others need the keys, too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysWait)
	defer cancel()
	keys, err := j.fetch(ctx)
	j.keep(keys, err)
	key, _, err = j.known(kid)
	return key, err
}

// known returns a key that was fetched, or why there is none and whether the
// issuer may be asked again.
func (j *JWT) known(kid string) (key crypto.PublicKey, mayTry bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	key, ok := j.keys[kid]
	if ok && time.Since(j.fetched) < keysLife {
		return key, false, nil
	}
	pause := keysPause
	err = fmt.Errorf("the issuer has no key %q", clip(kid, 100))
	if j.failed != nil {
		pause, err = keysRetry, fmt.Errorf("fetch the issuer's keys: %w", j.failed)
	}
	return nil, j.tried.IsZero() || time.Since(j.tried) >= pause, err
}

func (j *JWT) keep(keys map[string]crypto.PublicKey, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tried, j.failed = time.Now(), err
	if err == nil {
		j.keys, j.fetched = keys, j.tried
	}
}

type jwk struct {
	Kty string `json:"kty"`
	Kid string `json:"kid"`
	Use string `json:"use"`
	N   string `json:"n"`
	E   string `json:"e"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y"`
}

func (j *JWT) fetch(ctx context.Context) (map[string]crypto.PublicKey, error) {
	from := j.KeysURL
	if from == "" {
		var about struct {
			Issuer  string `json:"issuer"`
			KeysURL string `json:"jwks_uri"`
		}
		if err := j.get(ctx, strings.TrimSuffix(j.Issuer, "/")+"/.well-known/openid-configuration", &about); err != nil {
			return nil, err
		}
		if about.Issuer != j.Issuer {
			return nil, fmt.Errorf("it says that it is %q", clip(about.Issuer, 200))
		}
		if err := checkKeysURL(about.KeysURL); err != nil {
			return nil, err
		}
		from = about.KeysURL
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := j.get(ctx, from, &set); err != nil {
		return nil, err
	}
	keys := make(map[string]crypto.PublicKey)
	for _, k := range set.Keys {
		if k.Use != "" && k.Use != "sig" {
			continue
		}
		// Keys of other kinds are of no concern here.
		if key := k.public(); key != nil {
			keys[k.Kid] = key
		}
	}
	return keys, nil
}

func (j *JWT) get(ctx context.Context, from string, v any) error {
	client := http.Client{Timeout: 5 * time.Second}
	if j.Client != nil {
		client = *j.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", from, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet))
	if err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}

// public returns the key, or nil for one that is not used here.
func (k jwk) public() crypto.PublicKey {
	number := func(s string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			return new(big.Int)
		}
		return new(big.Int).SetBytes(b)
	}
	switch {
	case k.Kty == "RSA":
		n, e := number(k.N), number(k.E)
		if n.BitLen() < minRSABits || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 {
			return nil
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}
	case k.Kty == "EC" && k.Crv == "P-256":
		x, errX := base64.RawURLEncoding.DecodeString(k.X)
		y, errY := base64.RawURLEncoding.DecodeString(k.Y)
		if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
			return nil
		}
		// It refuses what is not a point of the curve.
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		if err != nil {
			return nil
		}
		return key
	}
	return nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

package proposer

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
)

const (
	// maxToken is the most bytes of an access token; identity providers stay
	// far below it.
	maxToken = 8 << 10
	// tokenSkew is how far the issuer's clock may be off.
	tokenSkew = 30 * time.Second
	// minRSA is the least length of an RSA key, in bits.
	minRSA = 2048
	// cachedTokens is how many verified tokens are remembered, by hash, so
	// that one signature check serves many requests.
	cachedTokens = 4096
)

// Errors that say why a token was refused. They go to the log, not to the
// caller, who learns only that the token was not acceptable.
var (
	errTokenForm      = errors.New("token is not a compact JWS in canonical form")
	errTokenHeader    = errors.New("token header is not acceptable")
	errTokenKey       = errors.New("token key is not in the key set")
	errTokenAlgorithm = errors.New("token algorithm is not that of its key")
	errTokenSignature = errors.New("token signature does not verify")
	errTokenClaims    = errors.New("token claims are malformed")
	errTokenIssuer    = errors.New("token is of another issuer")
	errTokenAudience  = errors.New("token is for another audience")
	errTokenExpired   = errors.New("token has expired")
	errTokenNotYet    = errors.New("token is not yet valid")
)

// tokenHeader is all that a token's header may say. A header that brings its
// own key (jwk, jku, x5u, x5c) or an extension (crit, zip, b64) is refused as
// a whole.
type tokenHeader struct {
	Alg     string `json:"alg"`
	Kid     string `json:"kid"`
	Typ     string `json:"typ,omitempty"`
	X5t     string `json:"x5t,omitempty"`
	X5tS256 string `json:"x5t#S256,omitempty"`
}

// claims are what the proposer reads of a token; others are not looked at.
type claims struct {
	Issuer    string        `json:"iss"`
	Subject   string        `json:"sub"`
	Audience  audience      `json:"aud"`
	Expires   float64       `json:"exp"`
	NotBefore float64       `json:"nbf,omitempty"`
	Issued    float64       `json:"iat,omitempty"`
	Confirm   *confirmation `json:"cnf,omitempty"`
}

// confirmation binds a token to a client certificate (RFC 8705 section 3.1).
// Another way of binding is not known here, and what is not known is refused.
type confirmation struct {
	Thumbprint string `json:"x5t#S256"`
}

// audience is the "aud" claim: a string or a list of strings.
type audience []string

// UnmarshalJSON reads either form.
func (a *audience) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*a = make(audience, 1)
		return json.Unmarshal(b, &(*a)[0])
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// tokens verifies access tokens (RFC 9068, RFC 8725) against a fixed key set.
// It is safe for concurrent use.
type tokens struct {
	issuer   string
	audience string
	keys     map[string]tokenKey

	mu    sync.Mutex
	known map[[sha256.Size]byte]claims
}

type tokenKey struct {
	alg jose.SignatureAlgorithm
	key any
}

// newTokens reads a JWKS (RFC 7517). Keys that cannot verify a token are left
// out; a private or symmetric key has no place in the file and is an error.
func newTokens(jwks []byte, issuer, aud string) (*tokens, error) {
	var set jose.JSONWebKeySet
	if err := stdjson.Unmarshal(jwks, &set); err != nil {
		return nil, fmt.Errorf("reading key set: %w", err)
	}
	t := &tokens{issuer: issuer, audience: aud, keys: map[string]tokenKey{}, known: map[[sha256.Size]byte]claims{}}
	for i, k := range set.Keys {
		if !k.Valid() || !k.IsPublic() {
			return nil, fmt.Errorf("key set: key %d (%q) is not a valid public key", i, k.KeyID)
		}
		alg := algorithmOf(k.Key)
		if alg == "" || k.Use == "enc" || (k.Algorithm != "" && k.Algorithm != string(alg)) {
			continue
		}
		if _, twice := t.keys[k.KeyID]; twice || k.KeyID == "" {
			return nil, fmt.Errorf("key set: key %d: kid %q is missing or stands twice", i, k.KeyID)
		}
		t.keys[k.KeyID] = tokenKey{alg, k.Key}
	}
	if len(t.keys) == 0 {
		return nil, errors.New("key set holds no EdDSA, ES256 or RS256 key")
	}
	return t, nil
}

// algorithmOf is the pinned list: one algorithm for each type of key, "" for a
// key that is not accepted.
func algorithmOf(key any) jose.SignatureAlgorithm {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return jose.EdDSA
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return jose.ES256
		}
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSA {
			return jose.RS256
		}
	}
	return ""
}

// verify returns the claims of a token that is good at now.
func (t *tokens) verify(token string, now time.Time) (claims, error) {
	if len(token) > maxToken {
		return claims{}, errTokenForm
	}
	sum := sha256.Sum256([]byte(token))
	t.mu.Lock()
	c, ok := t.known[sum]
	t.mu.Unlock()
	if !ok {
		var err error
		if c, err = t.open(token); err != nil {
			return claims{}, err
		}
		t.remember(sum, c)
	}
	return c, t.check(c, now)
}

// remember keeps the claims of a token whose signature was verified. When the
// table is full it starts afresh, which costs one more check for each token.
func (t *tokens) remember(sum [sha256.Size]byte, c claims) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= cachedTokens {
		clear(t.known)
	}
	t.known[sum] = c
}

// open verifies form, header and signature.
func (t *tokens) open(token string) (claims, error) {
	var c claims
	header, err := tokenHeaderOf(token)
	if err != nil {
		return c, err
	}
	key, ok := t.keys[header.Kid]
	if !ok {
		return c, errTokenKey
	}
	if header.Alg != string(key.alg) {
		return c, errTokenAlgorithm
	}
	object, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{key.alg})
	if err != nil {
		return c, errTokenForm
	}
	payload, err := object.Verify(key.key)
	if err != nil {
		return c, errTokenSignature
	}
	if again, err := object.CompactSerialize(); err != nil || again != token {
		return c, errTokenForm
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return c, errTokenClaims
	}
	if c.Confirm != nil && !confirmationIsKnown(payload) {
		return c, errTokenClaims
	}
	return c, nil
}

// confirmationIsKnown says whether "cnf" has x5t#S256 and nothing else: what
// cannot be checked must not be passed over.
func confirmationIsKnown(payload []byte) bool {
	var c struct {
		Confirm map[string]string `json:"cnf"`
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return false
	}
	return len(c.Confirm) == 1 && c.Confirm["x5t#S256"] != ""
}

func tokenHeaderOf(token string) (tokenHeader, error) {
	var h tokenHeader
	encoded, rest, ok := strings.Cut(token, ".")
	if !ok || strings.Count(rest, ".") != 1 || strings.ContainsAny(token, "\r\n") {
		return h, errTokenForm
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return h, errTokenForm
	}
	if err := json.Unmarshal(b, &h, json.RejectUnknownMembers(true)); err != nil {
		return h, errTokenHeader
	}
	if h.Typ != "" && !strings.EqualFold(h.Typ, "JWT") && !strings.EqualFold(h.Typ, "at+jwt") {
		return h, errTokenHeader
	}
	return h, nil
}

// latestDate bounds numeric dates (the year 5138), so that a conversion cannot
// overflow into the past.
const latestDate = 1e11

// check holds the claims against issuer, audience and clock.
func (t *tokens) check(c claims, now time.Time) error {
	for _, date := range []float64{c.Expires, c.NotBefore, c.Issued} {
		if date < 0 || date > latestDate {
			return errTokenClaims
		}
	}
	seconds := float64(now.UnixNano()) / 1e9
	switch {
	case c.Issuer != t.issuer:
		return errTokenIssuer
	case !slices.Contains(c.Audience, t.audience):
		return errTokenAudience
	case c.Subject == "" || c.Expires == 0:
		return errTokenClaims
	case seconds >= c.Expires+tokenSkew.Seconds():
		return errTokenExpired
	case seconds < c.NotBefore-tokenSkew.Seconds() || seconds < c.Issued-tokenSkew.Seconds():
		return errTokenNotYet
	}
	return nil
}

// Package token verifies the access tokens (RFC 7519, 8725, 9068) with which
// users come in, against their issuers' public keys: from a file, or from the
// issuer itself by OpenID Connect Discovery.
//
// It trusts the configuration, and an issuer for its own tokens only: a key of
// one issuer verifies no token that names another. It trusts no token before
// its signature has verified; the one thing that it reads before is whose keys
// to use. It opens connections to the configured issuers and never to an
// address that a token brings. It keeps no token, only the SHA-256 of those
// that it has verified, and logs none.
package token

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
)

const (
	// maxToken is the most bytes of an access token; identity providers stay
	// far below it.
	maxToken = 8 << 10
	// skew is how far the issuer's clock may be off.
	skew = 30 * time.Second
)

// ErrKeysUnavailable says that a token can be neither accepted nor refused now:
// the keys that could verify it cannot be had from its issuer. It may be tried
// again.
var ErrKeysUnavailable = errors.New("the keys of the token's issuer cannot be had now")

// Errors that say why a token was refused. They are for the log, not for the
// caller, who learns only that the token was not acceptable.
var (
	errForm      = errors.New("token is not a compact JWS in canonical form")
	errHeader    = errors.New("token header is not acceptable")
	errKey       = errors.New("token key is not in the issuer's key set")
	errAlgorithm = errors.New("token algorithm is not that of its key")
	errSignature = errors.New("token signature does not verify")
	errClaims    = errors.New("token claims are malformed")
	errIssuer    = errors.New("token is of an issuer that is not accepted")
	errAudience  = errors.New("token is for another audience")
	errExpired   = errors.New("token has expired")
	errNotYet    = errors.New("token is not yet valid")
)

// Claims are what a good token says of its holder.
type Claims struct {
	Issuer, Subject string
	// Certificate is the client certificate that the token is bound to, as its
	// thumbprint x5t#S256 (RFC 8705 section 3.1); "": the token is not bound.
	Certificate string
}

// header is all that a token's header may say. A header that brings its own key
// (jwk, jku, x5u, x5c) or an extension (crit, zip, b64) is refused as a whole.
type header struct {
	Alg     string `json:"alg"`
	Kid     string `json:"kid"`
	Typ     string `json:"typ,omitempty"`
	X5t     string `json:"x5t,omitempty"`
	X5tS256 string `json:"x5t#S256,omitempty"`
}

// claims are what is read of a token; others are not looked at.
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

// Verify returns the claims of a token that is good at now. It waits only for
// a token whose key is not known while its issuer is asked, and not for long
// (Timing.Wait). ErrKeysUnavailable is temporary; any other error is a refusal.
func (v *Verifier) Verify(ctx context.Context, token string, now time.Time) (Claims, error) {
	if len(token) > maxToken {
		return Claims{}, errForm
	}
	sum := sha256.Sum256([]byte(token))
	known, ok := v.memory.recall(sum)
	if !ok {
		var err error
		if known, err = v.open(ctx, token); err != nil {
			return Claims{}, err
		}
		v.memory.remember(sum, known)
	}
	if err := known.by.check(known.claims, now); err != nil {
		return Claims{}, err
	}
	out := Claims{Issuer: known.claims.Issuer, Subject: known.claims.Subject}
	if known.claims.Confirm != nil {
		out.Certificate = known.claims.Confirm.Thumbprint
	}
	return out, nil
}

// open verifies form, header and signature.
func (v *Verifier) open(ctx context.Context, token string) (verified, error) {
	header, unverified, err := split(token)
	if err != nil {
		return verified{}, err
	}
	by, ok := v.issuers[unverified.Issuer]
	if !ok {
		return verified{}, errIssuer
	}
	set, key, err := by.key(ctx, header.Kid)
	if err != nil {
		return verified{}, err
	}
	if header.Alg != string(key.alg) {
		return verified{}, errAlgorithm
	}
	payload, err := key.open(token)
	if err != nil {
		return verified{}, err
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return verified{}, errClaims
	}
	if c.Confirm != nil && !confirmationIsKnown(payload) {
		return verified{}, errClaims
	}
	return verified{claims: c, by: by, keys: set}, nil
}

// open verifies the signature and that there is no other spelling of the token.
func (k verifyKey) open(token string) ([]byte, error) {
	object, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{k.alg})
	if err != nil {
		return nil, errForm
	}
	payload, err := object.Verify(k.public)
	if err != nil {
		return nil, errSignature
	}
	if again, err := object.CompactSerialize(); err != nil || again != token {
		return nil, errForm
	}
	return payload, nil
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

// named is what is read of a token before its signature has verified: whose
// keys to try. The verified claims are held against it again.
type named struct {
	Issuer string `json:"iss"`
}

// types are the media types of a token: none, that of any JWT (RFC 7519 section
// 5.1), and that of access tokens in both spellings (RFC 9068 section 4).
var types = []string{"", "jwt", "at+jwt", "application/at+jwt"}

func split(token string) (h header, n named, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || strings.ContainsAny(token, "\r\n") {
		return h, n, errForm
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(parts[0])
	if err != nil {
		return h, n, errForm
	}
	if err := json.Unmarshal(b, &h, json.RejectUnknownMembers(true)); err != nil {
		return h, n, errHeader
	}
	if !slices.Contains(types, strings.ToLower(h.Typ)) {
		return h, n, errHeader
	}
	if b, err = base64.RawURLEncoding.Strict().DecodeString(parts[1]); err != nil {
		return h, n, errForm
	}
	if err := json.Unmarshal(b, &n); err != nil {
		return h, n, errClaims
	}
	return h, n, nil
}

// latestDate bounds numeric dates (the year 5138), so that a conversion cannot
// overflow into the past.
const latestDate = 1e11

// check holds the claims against issuer, audience and clock.
func (i *issuer) check(c claims, now time.Time) error {
	for _, date := range []float64{c.Expires, c.NotBefore, c.Issued} {
		if date < 0 || date > latestDate {
			return errClaims
		}
	}
	seconds := float64(now.UnixNano()) / 1e9
	mine := func(name string) bool { return slices.Contains(i.audiences, name) }
	switch {
	case c.Issuer != i.url:
		return errIssuer
	case !slices.ContainsFunc(c.Audience, mine):
		return errAudience
	case c.Subject == "" || c.Expires == 0:
		return errClaims
	case seconds >= c.Expires+skew.Seconds():
		return errExpired
	case seconds < c.NotBefore-skew.Seconds() || seconds < c.Issued-skew.Seconds():
		return errNotYet
	}
	return nil
}

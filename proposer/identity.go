package proposer

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/proposer/token"
)

var (
	errNoCredential = errors.New("neither token nor client certificate")
	errManyTokens   = errors.New("more than one authorization header, or not a bearer token")
	errNoTokens     = errors.New("access tokens are not accepted here")
	errUnknownUser  = errors.New("credential is not in the policy document")
	errTwoUsers     = errors.New("token and client certificate are of two users")
	errCertificate  = errors.New("client certificate is not valid now")
	errBoundToken   = errors.New("token is bound to another client certificate")
)

// doorkeeper finds out which user of the active policy document a call comes
// from. Whatever credential is shown must be good: a bad token is not made up
// for by a good certificate, nor the other way round.
type doorkeeper struct {
	policy Policy
	tokens Tokens // nil: no tokens
	now    func() time.Time
	// certificates says that users may come in by client certificate alone.
	certificates bool
}

// user returns the id of the calling user. The error is one of this file's and
// package token's, or a *problemError.
func (d *doorkeeper) user(r *http.Request) (string, error) {
	active := d.policy.Active()
	if active == nil {
		return "", problem(CodeNotReady, "no policy document is active: none yet, or it has expired")
	}
	certificate, err := d.certificate(r)
	if err != nil {
		return "", err
	}
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return holder(active, certificate)
	}
	c, err := d.token(r.Context(), values)
	if err != nil {
		return "", err
	}
	user, ok := active.UserByToken(c.Issuer, c.Subject)
	if !ok {
		return "", errUnknownUser
	}
	return user.ID, agree(active, user.ID, c, certificate)
}

// holder is the user of a certificate that comes alone.
func holder(active *document.Active, certificate *x509.Certificate) (string, error) {
	if certificate == nil {
		return "", errNoCredential
	}
	user, ok := active.UserByCertificate(fingerprint(certificate))
	if !ok {
		return "", errUnknownUser
	}
	return user.ID, nil
}

// agree holds a token's user against the certificate beside it: a bound token
// wants exactly its certificate (RFC 8705 section 3), an unbound one no
// certificate or one of the same user.
func agree(active *document.Active, id string, c token.Claims, certificate *x509.Certificate) error {
	if c.Certificate != "" {
		if certificate == nil || c.Certificate != thumbprint(certificate) {
			return errBoundToken
		}
		return nil
	}
	if certificate == nil {
		return nil
	}
	if other, err := holder(active, certificate); err != nil || other != id {
		return errTwoUsers
	}
	return nil
}

func (d *doorkeeper) token(ctx context.Context, values []string) (token.Claims, error) {
	if len(values) != 1 {
		return token.Claims{}, errManyTokens
	}
	scheme, value, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return token.Claims{}, errManyTokens
	}
	if d.tokens == nil {
		return token.Claims{}, errNoTokens
	}
	return d.tokens.Verify(ctx, value, d.now())
}

// ready returns nil if there is a way in.
func (d *doorkeeper) ready() error {
	if d.certificates {
		return nil
	}
	return d.tokens.Ready()
}

// certificate returns the verified client certificate, nil where none was
// shown. Its times are checked again on every call, because a connection may
// outlive it.
func (d *doorkeeper) certificate(r *http.Request) (*x509.Certificate, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, nil
	}
	leaf := r.TLS.PeerCertificates[0]
	now := d.now()
	if len(r.TLS.VerifiedChains) == 0 || now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return nil, errCertificate
	}
	return leaf, nil
}

// fingerprint is how the policy document names a certificate: SHA-256 of its
// DER form in lower-case hex.
func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

func thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

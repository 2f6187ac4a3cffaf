// Package httpsig makes and verifies HTTP message signatures (RFC 9421) with
// Ed25519 and P-256 keys, in the two narrow forms that Countersign uses: a
// user's signature over a statement and an approver's over a reading request.
//
// A signature is verified against a Profile, which says exactly what must be
// covered; the message is rebuilt from what the verifier holds itself, and the
// digest of the body is computed from the body, never read from a header. The
// package trusts nothing but the keys that the caller's lookup returns: the
// algorithm follows from the key and not from the message. It never negotiates,
// never ignores what it does not know, and accepts one encoding only.
package httpsig

import (
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/internal/message"
)

// Errors that callers tell apart. Each is final for the signature but
// ErrTime, which a later moment may mend where the signature is from the
// future.
var (
	// ErrMalformed says that the message or its signature fields are not well
	// formed, or not in the one encoding of RFC 9651.
	ErrMalformed = errors.New("malformed http message signature")
	// ErrCoverage says that components or parameters are not those that the
	// profile asks for.
	ErrCoverage = errors.New("http message signature does not cover what it must")
	// ErrTime says that the signature is too old or from the future.
	ErrTime = errors.New("http message signature is not of this time")
	// ErrSignature says that the signature is not by the named key over this
	// message.
	ErrSignature = errors.New("http message signature does not verify")
)

// Names of components (RFC 9421 section 2).
const (
	componentMethod      = "@method"
	componentAuthority   = "@authority"
	componentPath        = "@path"
	componentDigest      = "content-digest"
	componentContentType = "content-type"
)

// components are all that a message can give.
var components = []string{componentMethod, componentAuthority, componentPath, componentDigest, componentContentType}

// Message is the part of an HTTP request that can be covered. Path is the
// absolute path as sent (percent-encoding kept, no query); Authority is the
// Host field as sent; Body is the exact content.
type Message struct {
	Method      string
	Authority   string
	Path        string
	ContentType string
	Body        []byte
}

// Signed holds the values of the three fields that a signer adds to a
// request.
type Signed struct {
	ContentDigest  string
	SignatureInput string
	Signature      string
}

// Verified is what a good signature says: which key made it, and when its
// maker says so.
type Verified struct {
	KeyID   string
	Created time.Time
}

// Profile says what a signature must be like. The covered components are all
// of Required and any of Optional, each once, without component parameters and
// in any order. The parameters are created, keyid and tag, and optionally alg,
// in any order; no others.
type Profile struct {
	Tag      string
	Required []string
	Optional []string
	// MaxAge is the greatest age of a signature; 0 means that something else
	// ends it, as a statement's expiry does.
	MaxAge time.Duration
	// Skew is how far "created" may lie in the verifier's future.
	Skew time.Duration
}

// clockSkew is how much the clocks of users and services may differ.
const clockSkew = 30 * time.Second

// readMaxAge bounds how long a recorded reading request can be replayed. It
// is an approver's program that signs it at once, so a minute is ample.
const readMaxAge = 60 * time.Second

// StatementProfile is a user's signature over a statement. The authority need
// not be covered: the statement names its deployment itself.
var StatementProfile = Profile{
	Tag:      message.TagStatement,
	Required: []string{componentMethod, componentPath, componentDigest, componentContentType},
	Optional: []string{componentAuthority},
	Skew:     clockSkew,
}

// ReadProfile is an approver's signature over a request that reads.
var ReadProfile = Profile{
	Tag:      message.TagApprover,
	Required: []string{componentMethod, componentAuthority, componentPath},
	MaxAge:   readMaxAge,
	Skew:     clockSkew,
}

// Sign signs the message as the profile asks, covering the required
// components in their order. The key is an Ed25519 or a P-256 key; what is
// signed outside of this process is verified before it is returned.
func Sign(m Message, p Profile, key crypto.Signer, keyID string, created time.Time) (Signed, error) {
	if params := usualParams(p, keyID, created.Unix()); params != "" {
		return signUsual(m, p, key, params)
	}
	return signAny(m, p, key, keyID, created)
}

// signAny is Sign for key ids that the usual form has no place for.
func signAny(m Message, p Profile, key crypto.Signer, keyID string, created time.Time) (Signed, error) {
	values, err := m.values()
	if err != nil {
		return Signed{}, err
	}
	params := newParams(p, keyID, created)
	if _, err := p.check(params); err != nil {
		return Signed{}, err
	}
	base, err := Base(params, values)
	if err != nil {
		return Signed{}, err
	}
	signature, err := SignBase(key, base)
	if err != nil {
		return Signed{}, err
	}
	input, field, err := encodeFields(params, signature)
	if err != nil {
		return Signed{}, err
	}
	return Signed{ContentDigest: values[componentDigest], SignatureInput: input, Signature: field}, nil
}

// Verify verifies the values of the Signature-Input and Signature fields
// against a message that the caller holds. The lookup is asked once, for the
// key that the signature names; its errors come back wrapped. Nothing is
// believed before the signature has verified.
func Verify(m Message, p Profile, input, signature string, now time.Time,
	key func(keyID string) (crypto.PublicKey, error),
) (Verified, error) {
	if u, ok := p.usualOf(input, signature); ok {
		return u.verify(m, p, now, key)
	}
	return verifyAny(m, p, input, signature, now, key)
}

// verifyAny is Verify for a signature of any form.
func verifyAny(m Message, p Profile, input, signature string, now time.Time,
	key func(keyID string) (crypto.PublicKey, error),
) (Verified, error) {
	params, raw, err := decodeFields(input, signature)
	if err != nil {
		return Verified{}, err
	}
	claim, err := p.check(params)
	if err != nil {
		return Verified{}, err
	}
	if err := p.checkTime(claim.Created, now); err != nil {
		return Verified{}, err
	}
	values, err := m.values()
	if err != nil {
		return Verified{}, err
	}
	base, err := Base(params, values)
	if err != nil {
		return Verified{}, err
	}
	public, err := key(claim.KeyID)
	if err != nil {
		return Verified{}, fmt.Errorf("looking up the signature's key: %w", err)
	}
	if err := checkAlgorithm(params, public); err != nil {
		return Verified{}, err
	}
	if err := VerifyBase(public, base, raw); err != nil {
		return Verified{}, err
	}
	return claim, nil
}

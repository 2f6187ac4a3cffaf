package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxDocument is the most bytes of a key set or a discovery document; real
	// ones stay below 64 KiB.
	maxDocument = 512 << 10
	// minRSA is the least length of an RSA key, in bits.
	minRSA = 2048
)

// keySet is the usable keys of one issuer at one time, by kid. It is never
// changed: other keys are another set.
type keySet struct {
	keys map[string]verifyKey
}

// verifyKey is a public key and the one algorithm that it is used with.
type verifyKey struct {
	alg    jose.SignatureAlgorithm
	public publicKey
}

// publicKey is what all public keys of the standard library are.
type publicKey interface {
	Equal(crypto.PublicKey) bool
}

// key returns the key with an id; a set that is nil has none.
func (s *keySet) key(kid string) (verifyKey, bool) {
	if s == nil {
		return verifyKey{}, false
	}
	k, ok := s.keys[kid]
	return k, ok
}

func (s *keySet) len() int {
	if s == nil {
		return 0
	}
	return len(s.keys)
}

// same says whether two sets hold the same keys, however they were written.
func (s *keySet) same(other *keySet) bool {
	return s != nil && other != nil && maps.EqualFunc(s.keys, other.keys, func(a, b verifyKey) bool {
		return a.alg == b.alg && a.public.Equal(b.public)
	})
}

var (
	errNoKeySet  = errors.New("not a JSON Web Key Set with a list of keys")
	errNotPublic = errors.New("not a valid public key")
	errNoKid     = errors.New("kid is missing")
	errKidTwice  = errors.New("kid stands twice: neither key is used")
)

// parseKeySet reads a JWKS (RFC 7517). Keys that are not for verifying tokens
// here are passed over, as section 5 asks: other types, curves, algorithms and
// uses. Keys that nobody should have put there are left out as well, and wrong
// says which: private and symmetric ones, malformed ones, those without a kid
// and those with the same.
func parseKeySet(b []byte) (set *keySet, wrong, err error) {
	var doc struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(b, &doc); err != nil || doc.Keys == nil {
		return nil, nil, errNoKeySet
	}
	set = &keySet{keys: map[string]verifyKey{}}
	seen := map[string]bool{}
	for i, raw := range doc.Keys {
		kid, key, err := parseKey(raw)
		if err == nil && key.public == nil {
			continue // of no use here
		}
		if err == nil && seen[kid] {
			err = errKidTwice
		}
		seen[kid] = true
		if err != nil {
			delete(set.keys, kid)
			wrong = errors.Join(wrong, fmt.Errorf("key %d (kid %.64q): %w", i, kid, err))
			continue
		}
		set.keys[kid] = key
	}
	return set, wrong, nil
}

// usable are the types and curves of keys that verify tokens here; oct is
// looked at because a secret must not stand in a key set.
var usable = []string{"RSA ", "EC P-256", "OKP Ed25519", "oct "}

// parseKey returns a key without an error and without a public key where it is
// of no use here.
func parseKey(raw []byte) (kid string, key verifyKey, err error) {
	var is struct {
		Kty string `json:"kty"`
		Crv string `json:"crv"`
		Kid string `json:"kid"`
	}
	if err := json.Unmarshal(raw, &is); err != nil {
		return "", key, errNotPublic
	}
	if !slices.Contains(usable, is.Kty+" "+is.Crv) {
		return is.Kid, key, nil
	}
	var k jose.JSONWebKey
	// The library's error may repeat what the key holds.
	if err := k.UnmarshalJSON(raw); err != nil || !k.IsPublic() || !k.Valid() {
		return is.Kid, key, errNotPublic
	}
	alg, public := algorithmOf(k.Key)
	if alg == "" || k.Use == "enc" || (k.Algorithm != "" && k.Algorithm != string(alg)) {
		return is.Kid, key, nil
	}
	if is.Kid == "" {
		return "", key, errNoKid
	}
	return is.Kid, verifyKey{alg: alg, public: public}, nil
}

// algorithmOf is the pinned list: one algorithm for each type of key, "" for a
// key that is not accepted.
func algorithmOf(key any) (jose.SignatureAlgorithm, publicKey) {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return jose.EdDSA, k
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return jose.ES256, k
		}
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSA {
			return jose.RS256, k
		}
	}
	return "", nil
}

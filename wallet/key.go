package wallet

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/scratch"
	"github.com/countersign/countersign/secrets"
)

// Seed is an opened seed. It prints as "[redacted]". It may be used by
// several goroutines at once, but not while it is wiped.
type Seed struct{ secret *secrets.Secret }

// Derive returns the account key at a path such as "m/44'/60'/0'/0/0": by
// BIP-32 on secp256k1, by SLIP-10 on ed25519. The caller wipes it.
func (s *Seed) Derive(curve, path string) (*Key, error) {
	indices, err := parsePath(curve, path)
	if err != nil {
		return nil, fmt.Errorf("deriving account key: %w", err)
	}
	if s == nil {
		return nil, errors.New("deriving account key: no seed")
	}
	n, err := derive(s.secret, curve, indices)
	if err != nil {
		return nil, fmt.Errorf("deriving account key: %w", err)
	}
	defer n.wipe()
	return newKey(curve, secrets.NewSecret(n.key))
}

// Wipe overwrites the seed; nothing derives afterwards. It is safe to call
// twice and on nil.
func (s *Seed) Wipe() {
	if s != nil {
		s.secret.Wipe()
	}
}

// Key is an account key, derived or opened. It prints as "[redacted]". It may
// be used by several goroutines at once, but not while it is wiped.
type Key struct {
	curve  string
	secret *secrets.Secret // 32 bytes; of ed25519 the RFC 8032 seed
	public []byte
	// claimed says that public is a descriptor's word: see openKey.
	claimed bool
}

// newKey takes the secret over: it is wiped with the key, or at once where it
// is none.
func newKey(curve string, secret *secrets.Secret) (*Key, error) {
	if secret.Len() != KeySize {
		secret.Wipe()
		return nil, fmt.Errorf("account key: %w", secrets.ErrSize)
	}
	public, err := publicOf(curve, secret)
	if err != nil {
		secret.Wipe()
		return nil, fmt.Errorf("account key: %w", err)
	}
	return &Key{curve: curve, secret: secret, public: public}, nil
}

func publicOf(curve string, secret *secrets.Secret) ([]byte, error) {
	switch curve {
	case CurveSecp256k1:
		return publicSecp256k1(secret.Bytes())
	case CurveEd25519:
		return publicEd25519(secret.Bytes()), nil
	}
	return nil, fmt.Errorf("curve %q is not known", curve)
}

// openKey takes an opened secret over as the key of a descriptor. On
// secp256k1 the public key is not computed from it: the seal names the
// descriptor, and a signature that verifies under the descriptor's public key,
// without which none leaves, proves more than the computation, which costs as
// much as the signature. On ed25519 it is computed, because signing under
// another public key than the secret's own tells the secret.
func openKey(curve string, secret *secrets.Secret, public []byte) (*Key, error) {
	if curve != CurveSecp256k1 {
		k, err := newKey(curve, secret)
		if err == nil && !same(k.public, public) {
			err = errOtherKey
		}
		return k, err
	}
	if len(public) != publicSizeSecp256k1 || !inRange(secret.Bytes()) {
		return nil, errInvalidKey
	}
	return &Key{curve: curve, secret: secret, public: public, claimed: true}, nil
}

const publicSizeSecp256k1 = 33

// errOtherKey says that a key is not the one that its descriptor names.
var errOtherKey = errors.New("key is not the descriptor's")

// Check computes the public key where it was a descriptor's word so far, and
// returns ErrSealed if it is another one. It tells, of a signature that does not
// verify, a wrong key from a fault of the machine.
func (k *Key) Check() error {
	if !k.claimed {
		return nil
	}
	if public, err := publicOf(k.curve, k.secret); err != nil || !same(public, k.public) {
		return fmt.Errorf("account key: %w", errors.Join(ErrSealed, errOtherKey, err))
	}
	return nil
}

// Curve returns the key's curve, "secp256k1" or "ed25519".
func (k *Key) Curve() string { return k.curve }

// PublicKey returns 33 bytes, compressed, on secp256k1 and 32 on ed25519. Of an
// opened key on secp256k1 it is what the descriptor says: see Sign.
func (k *Key) PublicKey() []byte { return append([]byte(nil), k.public...) }

// Sign signs one digest by the algorithm that it names, which must be that of
// the key's curve. It returns on secp256k1 the 65 bytes r || s || recovery id
// (0 or 1), with low s and the nonce of RFC 6979; on ed25519 the 64 bytes of
// RFC 8032. The same digest gives the same bytes.
//
// On ed25519 the signature was verified. On secp256k1 the caller must verify
// it under the descriptor's public key before it goes anywhere, as
// transaction.Chain's Assemble does: a faulty signature may tell the key, and
// this is also what proves that the key is the descriptor's.
func (k *Key) Sign(d message.Digest) ([]byte, error) {
	if k.secret.Len() != KeySize {
		return nil, errors.New("signing: account key was wiped")
	}
	switch {
	case d.Algorithm == message.AlgorithmSecp256k1 && k.curve == CurveSecp256k1:
		return k.signSecp256k1(d.Value)
	case d.Algorithm == message.AlgorithmEd25519 && k.curve == CurveEd25519:
		return k.signEd25519(d.Value)
	}
	return nil, fmt.Errorf("signing: algorithm %q with a key on %s", d.Algorithm, k.curve)
}

func (k *Key) signSecp256k1(digest []byte) ([]byte, error) {
	if len(digest) != crypto.DigestLength {
		return nil, fmt.Errorf("signing: digest has %d bytes, want %d", len(digest), crypto.DigestLength)
	}
	// The form that go-ethereum takes. crypto.ToECDSA would compute the public
	// key once more; openKey and newKey have checked the range.
	d := newInt(k.secret.Bytes())
	defer wipeInt(d)
	priv := &ecdsa.PrivateKey{PublicKey: ecdsa.PublicKey{Curve: crypto.S256()}, D: d} //nolint:staticcheck // go-ethereum reads the deprecated field
	sig, err := crypto.Sign(digest, priv)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return sig, nil
}

// errBadSignature means a fault of the machine: such a signature must not
// leave, for it may tell the key.
var errBadSignature = errors.New("signing: the signature does not verify")

func (k *Key) signEd25519(msg []byte) ([]byte, error) {
	priv := scratch.Hold(ed25519.NewKeyFromSeed(k.secret.Bytes()))
	defer clear(priv)
	sig := ed25519.Sign(priv, msg)
	if !ed25519.Verify(k.public, msg, sig) {
		return nil, errBadSignature
	}
	return sig, nil
}

// Seal seals the key for scope account: see Seal of the package. The
// descriptor must carry the key's curve and public key.
func (k *Key) Seal(s Sealing, own *secrets.Secret, shares Shares, descriptor []byte) ([]byte, error) {
	var d message.AccountDescriptor
	if err := message.Decode(descriptor, &d); err != nil {
		return nil, fmt.Errorf("sealing account %s: %w", s.ID, err)
	}
	if err := k.Check(); err != nil {
		return nil, fmt.Errorf("sealing account %s: %w", s.ID, err)
	}
	if s.Scope != message.ScopeAccount || d.Curve != k.curve || !same(d.PublicKey, k.public) {
		return nil, fmt.Errorf("sealing account %s: descriptor is not this key's", s.ID)
	}
	return Seal(s, own, shares, descriptor, k.secret)
}

// Wipe overwrites the key; nothing is signed or sealed afterwards. It is safe
// to call twice and on nil.
func (k *Key) Wipe() {
	if k != nil {
		k.secret.Wipe()
	}
}

const redacted = "[redacted]"

// Format writes "[redacted]" whatever the verb.
func (*Seed) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns "[redacted]" (log/slog).
func (*Seed) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (*Seed) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format writes "[redacted]" whatever the verb.
func (*Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns "[redacted]" (log/slog).
func (*Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (*Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

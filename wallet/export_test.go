package wallet

import "github.com/countersign/countersign/secrets"

// The derivation's inside, for the official vectors, whose seeds have other
// lengths than ours and whose paths include the root.

// Node is the extended key at a path.
type Node struct{ Key, Chain []byte }

// DeriveNode derives from any seed along indices.
func DeriveNode(seed []byte, curve string, path []uint32) (Node, error) {
	s := secrets.NewSecret(seed)
	defer s.Wipe()
	n, err := derive(s, curve, path)
	return Node{n.key, n.chain}, err
}

// NewSeedForTest opens nothing: it wraps a known seed.
func NewSeedForTest(seed []byte) *Seed { return &Seed{secrets.NewSecret(seed)} }

// NewKeyForTest wraps a known account key.
func NewKeyForTest(curve string, key []byte) (*Key, error) {
	return newKey(curve, secrets.NewSecret(key))
}

// Exported for tests.
var (
	ParsePath  = parsePath
	CheckChild = func(parent, child Node, index uint32) error {
		return checkChild(node{parent.Key, parent.Chain}, node{child.Key, child.Chain}, index)
	}
	InRange         = inRange
	ErrInvalidKey   = errInvalidKey
	ErrMismatch     = errMismatch
	PublicSecp256k1 = publicSecp256k1
	PublicEd25519   = publicEd25519
)

// FaultySigner is a key on ed25519 whose signatures do not verify: by a fault of
// the machine its public key is another one's.
func FaultySigner(k *Key) *Key {
	public := append([]byte(nil), k.public...)
	public[0] ^= 1
	return &Key{curve: k.curve, secret: k.secret, public: public}
}

// ErrBadSignature is what it says.
var ErrBadSignature = errBadSignature

package wallet

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/tyler-smith/go-bip32"

	"github.com/countersign/countersign/internal/scratch"
	"github.com/countersign/countersign/secrets"
)

// A node is an extended private key: 32 bytes of key, 32 of chain code.
type node struct{ key, chain []byte }

func newNode(key, chain []byte) node { return node{scratch.Hold(key), scratch.Hold(chain)} }

func (n node) wipe() {
	clear(n.key)
	clear(n.chain)
}

// The seeds that BIP-32 allows: 128 to 512 bits.
const (
	minSeed = 16
	maxSeed = 64
)

// derive walks from a seed to the account key at a path.
func derive(seed *secrets.Secret, curve string, path []uint32) (node, error) {
	if seed.Len() < minSeed || seed.Len() > maxSeed {
		return node{}, fmt.Errorf("seed has %d bytes, want %d to %d", seed.Len(), minSeed, maxSeed)
	}
	switch curve {
	case CurveSecp256k1:
		return deriveSecp256k1(seed.Bytes(), path)
	case CurveEd25519:
		return deriveEd25519(seed.Bytes(), path)
	}
	return node{}, fmt.Errorf("curve %q is not known", curve)
}

// deriveSecp256k1 is BIP-32's private derivation by go-bip32, used within its
// traps (docs/decisions/bip32.md): from a seed only, never from a serialised
// or a public key; each derivation on keys of its own, in one goroutine; and
// every key that it returns is computed a second time.
func deriveSecp256k1(seed []byte, path []uint32) (node, error) {
	key, err := bip32.NewMasterKey(seed)
	if err != nil {
		return node{}, fmt.Errorf("master key: %w", err)
	}
	levels := []node{newNode(key.Key, key.ChainCode)}
	defer func() {
		for _, level := range levels {
			level.wipe()
		}
	}()
	if err := checkMaster(seed, levels[0]); err != nil {
		return node{}, err
	}
	for depth, index := range path {
		if key, err = key.NewChildKey(index); err != nil {
			return node{}, fmt.Errorf("child key at level %d: %w", depth+1, err)
		}
		levels = append(levels, newNode(key.Key, key.ChainCode))
		if err := checkChild(levels[depth], levels[depth+1], index); err != nil {
			return node{}, fmt.Errorf("child key at level %d: %w", depth+1, err)
		}
	}
	last := levels[len(path)]
	levels = levels[:len(path)] // the last one is the caller's
	return last, nil
}

var (
	// errInvalidKey is BIP-32's "the resulting key is invalid" (probability
	// below 2^-127): the caller must choose another path.
	errInvalidKey = errors.New("path leads to an invalid key")
	// errMismatch says that the library and the second computation differ.
	errMismatch = errors.New("derivation gave two different keys")
)

func checkMaster(seed []byte, got node) error {
	want := hmac512([]byte("Bitcoin seed"), seed)
	defer clear(want)
	if !inRange(got.key) {
		return errInvalidKey
	}
	if !same(want[:32], got.key) || !same(want[32:], got.chain) {
		return errMismatch
	}
	return nil
}

// checkChild computes CKDpriv of BIP-32 once more, with go-ethereum's
// secp256k1 in place of the library's own, and refuses a left half that is not
// below the order, which the library reduces.
func checkChild(parent, got node, index uint32) error {
	data := make([]byte, 0, 37)
	scratch.Hold(data[:cap(data)])
	if index >= hardened {
		data = append(append(data, 0), parent.key...)
	} else {
		public, err := publicSecp256k1(parent.key)
		if err != nil {
			return err
		}
		data = append(data, public...)
	}
	data = binary.BigEndian.AppendUint32(data, index)
	defer clear(data)
	i := hmac512(parent.chain, data)
	defer clear(i)
	if !inRangeOrZero(i[:32]) || !inRange(got.key) {
		return errInvalidKey
	}
	sum := addModOrder(i[:32], parent.key)
	defer clear(sum)
	if !same(sum, got.key) || !same(i[32:], got.chain) {
		return errMismatch
	}
	return nil
}

// deriveEd25519 is SLIP-10 for ed25519: hardened children alone, and every
// 32-byte string is a key.
func deriveEd25519(seed []byte, path []uint32) (node, error) {
	i := hmac512([]byte("ed25519 seed"), seed)
	for _, index := range path {
		if index < hardened {
			clear(i)
			return node{}, fmt.Errorf("%w: every level must be hardened on ed25519", ErrPath)
		}
		data := make([]byte, 1, 37)
		scratch.Hold(data[:cap(data)])
		data = binary.BigEndian.AppendUint32(append(data, i[:32]...), index)
		next := hmac512(i[32:], data)
		clear(data)
		clear(i)
		i = next
	}
	return newNode(i[:32:32], i[32:]), nil
}

func hmac512(key, data []byte) []byte {
	h := hmac.New(sha512.New, key)
	h.Write(data)
	return scratch.Hold(h.Sum(nil))
}

func same(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// inRange reports whether b is a private key of secp256k1: 32 bytes, 1 to
// n-1.
func inRange(b []byte) bool {
	return inRangeOrZero(b) && subtle.ConstantTimeCompare(b, make([]byte, KeySize)) == 0
}

func inRangeOrZero(b []byte) bool {
	k := newInt(b)
	defer wipeInt(k)
	return len(b) == KeySize && k.Cmp(crypto.S256().Params().N) < 0
}

// addModOrder returns a + b modulo the order of secp256k1, 32 bytes. math/big
// is not constant-time, and neither is the library's own sum: both run once in
// an account's life.
func addModOrder(a, b []byte) []byte {
	x, y := newInt(a), newInt(b)
	defer wipeInt(x)
	defer wipeInt(y)
	x.Add(x, y).Mod(x, crypto.S256().Params().N)
	return scratch.Hold(x.FillBytes(make([]byte, KeySize)))
}

func newInt(b []byte) *big.Int { return holdInt(new(big.Int).SetBytes(b)) }

func holdInt(k *big.Int) *big.Int {
	bits := k.Bits()
	scratch.Hold(bits[:cap(bits)])
	return k
}

// wipeInt also clears what a longer value left behind the present one.
func wipeInt(k *big.Int) {
	bits := k.Bits()
	clear(bits[:cap(bits)])
}

// publicSecp256k1 returns the compressed public key, 33 bytes.
func publicSecp256k1(key []byte) ([]byte, error) {
	priv, err := crypto.ToECDSA(key)
	if err != nil {
		return nil, errInvalidKey
	}
	holdInt(priv.D)       //nolint:staticcheck // the field is deprecated for arithmetic; this is none
	defer wipeInt(priv.D) //nolint:staticcheck // the field is deprecated for arithmetic; this clears it
	return crypto.CompressPubkey(&priv.PublicKey), nil
}

// publicEd25519 returns the public key, 32 bytes.
func publicEd25519(key []byte) []byte {
	priv := scratch.Hold(ed25519.NewKeyFromSeed(key))
	defer clear(priv)
	return append([]byte(nil), priv[32:]...)
}

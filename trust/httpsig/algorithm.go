package httpsig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"math/big"
)

// The algorithms that we know (RFC 9421 section 3.3).
const (
	AlgorithmEd25519 = "ed25519"
	AlgorithmP256    = "ecdsa-p256-sha256"
)

// scalarSize is the length of r and of s in a P-256 signature, in bytes.
const scalarSize = 32

// Algorithm returns the one algorithm that a key is used with: an
// ed25519.PublicKey or a P-256 *ecdsa.PublicKey.
func Algorithm(key crypto.PublicKey) (string, error) {
	switch k := key.(type) {
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return AlgorithmEd25519, nil
		}
	case *ecdsa.PublicKey:
		if k != nil && k.Curve == elliptic.P256() {
			return AlgorithmP256, nil
		}
	}
	return "", fmt.Errorf("%w: key is neither ed25519 nor P-256", ErrSignature)
}

// SignBase signs a signature base: 64 bytes of Ed25519, or r||s of ECDSA with
// SHA-256 on P-256. What a key that is not in this process signs is verified
// before it is returned: it may be another key than it says, or a faulty one.
func SignBase(key crypto.Signer, base []byte) ([]byte, error) {
	algorithm, err := Algorithm(key.Public())
	if err != nil {
		return nil, err
	}
	var signature []byte
	if algorithm == AlgorithmEd25519 {
		signature, err = key.Sign(rand.Reader, base, crypto.Hash(0))
	} else {
		signature, err = signP256(key, base)
	}
	if err != nil {
		return nil, fmt.Errorf("signing http message: %w", err)
	}
	if inProcess(key) {
		return signature, nil
	}
	if err := VerifyBase(key.Public(), base, signature); err != nil {
		return nil, fmt.Errorf("checking own signature: %w", err)
	}
	return signature, nil
}

// inProcess says whether the key is one of the standard library's, which sign
// as they should for the public key that they hold.
func inProcess(key crypto.Signer) bool {
	switch key.(type) {
	case ed25519.PrivateKey, *ecdsa.PrivateKey:
		return true
	}
	return false
}

// signP256 turns the DER form that every crypto.Signer gives into r||s.
func signP256(key crypto.Signer, base []byte) ([]byte, error) {
	digest := sha256.Sum256(base)
	der, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var scalars struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &scalars)
	if err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("signer gave no DER signature: %w", err)
	}
	for _, n := range []*big.Int{scalars.R, scalars.S} {
		if n.Sign() <= 0 || n.Cmp(elliptic.P256().Params().N) >= 0 {
			return nil, fmt.Errorf("%w: scalar out of range", ErrSignature)
		}
	}
	out := make([]byte, 2*scalarSize)
	scalars.R.FillBytes(out[:scalarSize])
	scalars.S.FillBytes(out[scalarSize:])
	return out, nil
}

// VerifyBase verifies a signature over a signature base. Of P-256 both values
// of s are accepted, as RFC 9421 and the browsers' keys have it: nothing of
// ours depends on a signature being the only one.
func VerifyBase(key crypto.PublicKey, base, signature []byte) error {
	algorithm, err := Algorithm(key)
	if err != nil {
		return err
	}
	if len(signature) != 2*scalarSize {
		return fmt.Errorf("%w: %d bytes, want %d", ErrSignature, len(signature), 2*scalarSize)
	}
	good := false
	if algorithm == AlgorithmEd25519 {
		good = ed25519.Verify(key.(ed25519.PublicKey), base, signature)
	} else {
		digest := sha256.Sum256(base)
		r := new(big.Int).SetBytes(signature[:scalarSize])
		s := new(big.Int).SetBytes(signature[scalarSize:])
		good = ecdsa.Verify(key.(*ecdsa.PublicKey), digest[:], r, s)
	}
	if !good {
		return ErrSignature
	}
	return nil
}

package message

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// JWK is a public key in the form of RFC 7517 with the required members only,
// in the order of RFC 7638 section 3.2, so that its encoding is also the
// input of its thumbprint. Ed25519 (RFC 8037) and P-256 are known.
type JWK struct {
	Crv string `json:"crv"          yaml:"crv"`
	Kty string `json:"kty"          yaml:"kty"`
	X   Bytes  `json:"x"            yaml:"x"`
	Y   Bytes  `json:"y,omitempty"  yaml:"y,omitempty"`
}

// NewJWK returns the JWK of an ed25519.PublicKey or a P-256
// *ecdsa.PublicKey.
func NewJWK(pub crypto.PublicKey) (JWK, error) {
	switch k := pub.(type) {
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return JWK{}, errors.New("ed25519 public key has a wrong length")
		}
		j := JWK{Crv: "Ed25519", Kty: "OKP", X: Bytes(k)}
		_, err := j.PublicKey()
		return j, err
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return JWK{}, errors.New("only P-256 is known of the EC keys")
		}
		point, err := k.Bytes()
		if err != nil {
			return JWK{}, fmt.Errorf("encoding P-256 key: %w", err)
		}
		return JWK{Crv: "P-256", Kty: "EC", X: point[1:33], Y: point[33:65]}, nil
	}
	return JWK{}, fmt.Errorf("no JWK form for %T", pub)
}

// PublicKey returns the ed25519.PublicKey or *ecdsa.PublicKey, after checking
// lengths and that a point is on its curve.
func (j JWK) PublicKey() (crypto.PublicKey, error) {
	switch {
	case j.Kty == "OKP" && j.Crv == "Ed25519" && len(j.X) == 32 && len(j.Y) == 0:
		if isSmallOrder(j.X) {
			return nil, errors.New("the Ed25519 key is of small order: anybody could sign for it")
		}
		return ed25519.PublicKey(j.X), nil
	case j.Kty == "EC" && j.Crv == "P-256" && len(j.X) == 32 && len(j.Y) == 32:
		point := append(append([]byte{4}, j.X...), j.Y...)
		if _, err := ecdh.P256().NewPublicKey(point); err != nil {
			return nil, fmt.Errorf("P-256 key: %w", err)
		}
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	}
	return nil, fmt.Errorf("unknown key: kty %q, crv %q, %d and %d bytes", j.Kty, j.Crv, len(j.X), len(j.Y))
}

// smallOrder are the y coordinates, little-endian, of the points of order 1,
// 2, 4 and 8 on edwards25519, and the encodings that are not reduced (p and
// p+1). Under such a public key one signature verifies for many messages.
var smallOrder = [...]string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// isSmallOrder looks at y alone: the sign bit of x stands above it.
func isSmallOrder(key []byte) bool {
	y := bytes.Clone(key)
	y[31] &= 0x7f
	return slices.Contains(smallOrder[:], hex.EncodeToString(y))
}

// Ed25519 returns the key if it is an Ed25519 key.
func (j JWK) Ed25519() (ed25519.PublicKey, error) {
	pub, err := j.PublicKey()
	if err != nil {
		return nil, err
	}
	k, ok := pub.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("key is %s, want Ed25519", j.Crv)
	}
	return k, nil
}

// Thumbprint returns the RFC 7638 SHA-256 thumbprint in unpadded base64url:
// 43 characters. It is the "kid" wherever Countersign names a public key.
func (j JWK) Thumbprint() string {
	b, err := Encode(j)
	if err != nil {
		return "" // Encode of four strings cannot fail.
	}
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

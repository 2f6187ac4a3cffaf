package message

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// MACKeySize is the length of every HMAC key, in bytes.
const MACKeySize = 32

// Errors of the JWS layer; both are final for the message.
var (
	ErrHeader    = errors.New("protected header is not the expected one")
	ErrSignature = errors.New("signature or MAC does not verify")
)

// header is the whole protected header of every JWS of ours, in the order in
// which it is written.
type header struct {
	Alg string `json:"alg"`
	Kid string `json:"kid"`
	Typ Typ    `json:"typ"`
}

// SignMAC returns the compact JWS (RFC 7515) of v under HS256.
func SignMAC(typ Typ, kid string, key []byte, v any) ([]byte, error) {
	if len(key) != MACKeySize {
		return nil, fmt.Errorf("signing %s: key has %d bytes, want %d", typ, len(key), MACKeySize)
	}
	return sign(jose.SigningKey{Algorithm: jose.HS256, Key: key}, typ, kid, v)
}

// SignEd25519 returns the compact JWS of v under EdDSA with Ed25519 (RFC
// 8037).
func SignEd25519(typ Typ, kid string, key ed25519.PrivateKey, v any) ([]byte, error) {
	return sign(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, typ, kid, v)
}

func sign(key jose.SigningKey, typ Typ, kid string, v any) ([]byte, error) {
	payload, err := Encode(v)
	if err != nil {
		return nil, err
	}
	options := (&jose.SignerOptions{}).WithType(jose.ContentType(typ)).WithHeader("kid", kid)
	signer, err := jose.NewSigner(key, options)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", typ, err)
	}
	object, err := signer.Sign(payload)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", typ, err)
	}
	compact, err := object.CompactSerialize()
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", typ, err)
	}
	if len(compact) > MaxSize {
		return nil, fmt.Errorf("signing %s: %d bytes exceed %d", typ, len(compact), MaxSize)
	}
	return []byte(compact), nil
}

// VerifyMAC verifies a compact JWS under HS256 and decodes its payload into
// v, which is left undefined after an error.
func VerifyMAC(typ Typ, kid string, key, compact []byte, v any) error {
	if len(key) != MACKeySize {
		return fmt.Errorf("verifying %s: key has %d bytes, want %d", typ, len(key), MACKeySize)
	}
	return verify(header{Alg: string(jose.HS256), Kid: kid, Typ: typ}, key, compact, v)
}

// VerifyEd25519 verifies a compact JWS under EdDSA with Ed25519 and decodes
// its payload into v, which is left undefined after an error.
func VerifyEd25519(typ Typ, kid string, key ed25519.PublicKey, compact []byte, v any) error {
	if len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("verifying %s: key has %d bytes", typ, len(key))
	}
	return verify(header{Alg: string(jose.EdDSA), Kid: kid, Typ: typ}, key, compact, v)
}

// verify accepts exactly the bytes that sign would have written: go-jose by
// itself lets line breaks, spare base64 bits and further headers pass.
func verify(want header, key any, compact []byte, v any) error {
	if len(compact) > MaxSize {
		return fmt.Errorf("verifying %s: %d bytes exceed %d", want.Typ, len(compact), MaxSize)
	}
	protected, err := Encode(want)
	if err != nil {
		return err
	}
	prefix := base64.RawURLEncoding.EncodeToString(protected) + "."
	if !bytes.HasPrefix(compact, []byte(prefix)) {
		return fmt.Errorf("verifying %s: %w", want.Typ, ErrHeader)
	}
	text := string(compact)
	object, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(want.Alg)})
	if err != nil {
		return fmt.Errorf("verifying %s: %w", want.Typ, err)
	}
	payload, err := object.Verify(key)
	if err != nil {
		return fmt.Errorf("verifying %s: %w", want.Typ, ErrSignature)
	}
	again, err := object.CompactSerialize()
	if err != nil || again != text {
		return fmt.Errorf("verifying %s: %w", want.Typ, ErrNotCanonical)
	}
	return Decode(payload, v)
}

// KeyID returns the "kid" of a compact JWS of the given kind, so that a
// verifier can look the key up. Nothing of it is verified but its form.
func KeyID(typ Typ, compact []byte) (string, error) {
	end := bytes.IndexByte(compact, '.')
	if end < 0 || end > 1024 {
		return "", fmt.Errorf("reading header of %s: %w", typ, ErrHeader)
	}
	protected, err := base64.RawURLEncoding.Strict().DecodeString(string(compact[:end]))
	if err != nil {
		return "", fmt.Errorf("reading header of %s: %w", typ, ErrHeader)
	}
	var h header
	if err := Decode(protected, &h); err != nil || h.Typ != typ {
		return "", fmt.Errorf("reading header of %s: %w", typ, ErrHeader)
	}
	return h.Kid, nil
}

// Peek decodes the payload of a compact JWS without verifying anything. It is
// for display and for choosing a key; nothing may be decided from it.
func Peek(compact []byte, v any) error {
	if len(compact) > MaxSize || bytes.Count(compact, []byte{'.'}) != 2 {
		return errors.New("not a compact JWS")
	}
	parts := bytes.Split(compact, []byte{'.'})
	payload, err := base64.RawURLEncoding.Strict().DecodeString(string(parts[1]))
	if err != nil {
		return fmt.Errorf("decoding JWS payload: %w", err)
	}
	return Decode(payload, v)
}

package message

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MACKeySize is the length of every HMAC key, in bytes.
const MACKeySize = 32

// Errors of the JWS layer; both are final for the message.
var (
	ErrHeader    = errors.New("protected header is not the expected one")
	ErrSignature = errors.New("signature or MAC does not verify")
)

// The algorithms (RFC 7518 section 3.1, RFC 8037 section 3.1).
const (
	algHS256 = "HS256"
	algEdDSA = "EdDSA"
)

// maxSignature is the length of the dot and the encoded signature or MAC, 64
// bytes at most.
const maxSignature = 1 + (64*8+5)/6

// header is the whole protected header of every JWS of ours, in the order in
// which it is written.
type header struct {
	Alg string `json:"alg"`
	Kid string `json:"kid"`
	Typ Typ    `json:"typ"`
}

// encode returns what Encode gives for the header, without the cost where
// nothing in it is to be escaped: headers are made and read several times for
// each request.
func (h header) encode() ([]byte, error) {
	if !plain(h.Alg) || !plain(h.Kid) || !plain(string(h.Typ)) {
		return Encode(h)
	}
	b := make([]byte, 0, 160)
	b = append(append(b, headerAlg...), h.Alg...)
	b = append(append(b, headerKid...), h.Kid...)
	b = append(append(b, headerTyp...), h.Typ...)
	return append(b, headerEnd...), nil
}

// The parts of an encoded header around its three values.
const (
	headerAlg = `{"alg":"`
	headerKid = `","kid":"`
	headerTyp = `","typ":"`
	headerEnd = `"}`
)

// plain reports whether JSON writes s as it is: printable ASCII without a
// quotation mark or a backslash.
func plain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// prefix returns the first part of a compact JWS with this header: the encoded
// header and the dot behind it.
func (h header) prefix() ([]byte, error) {
	b, err := h.encode()
	if err != nil {
		return nil, err
	}
	return append(base64.RawURLEncoding.AppendEncode(make([]byte, 0, 256), b), '.'), nil
}

// SignMAC returns the compact JWS (RFC 7515) of v under HS256.
func SignMAC(typ Typ, kid string, key []byte, v any) ([]byte, error) {
	if len(key) != MACKeySize {
		return nil, fmt.Errorf("signing %s: key has %d bytes, want %d", typ, len(key), MACKeySize)
	}
	return sign(header{Alg: algHS256, Kid: kid, Typ: typ}, v, func(input []byte) []byte {
		return mac(key, input)
	})
}

// SignEd25519 returns the compact JWS of v under EdDSA with Ed25519 (RFC
// 8037).
func SignEd25519(typ Typ, kid string, key ed25519.PrivateKey, v any) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("signing %s: key has %d bytes, want %d", typ, len(key), ed25519.PrivateKeySize)
	}
	return sign(header{Alg: algEdDSA, Kid: kid, Typ: typ}, v, func(input []byte) []byte {
		return ed25519.Sign(key, input)
	})
}

func sign(h header, v any, signature func(input []byte) []byte) ([]byte, error) {
	payload, err := Encode(v)
	if err != nil {
		return nil, err
	}
	prefix, err := h.prefix()
	if err != nil {
		return nil, err
	}
	prefix = slices.Grow(prefix, base64.RawURLEncoding.EncodedLen(len(payload))+maxSignature)
	compact := base64.RawURLEncoding.AppendEncode(prefix, payload)
	value := signature(compact)
	compact = base64.RawURLEncoding.AppendEncode(append(compact, '.'), value)
	if len(compact) > MaxSize {
		return nil, fmt.Errorf("signing %s: %d bytes exceed %d", h.Typ, len(compact), MaxSize)
	}
	return compact, nil
}

// VerifyMAC verifies a compact JWS under HS256, in constant time, and decodes
// its payload into v, which is left undefined after an error.
func VerifyMAC(typ Typ, kid string, key, compact []byte, v any) error {
	if len(key) != MACKeySize {
		return fmt.Errorf("verifying %s: key has %d bytes, want %d", typ, len(key), MACKeySize)
	}
	return verify(header{Alg: algHS256, Kid: kid, Typ: typ}, compact, v, func(input, value []byte) bool {
		return hmac.Equal(mac(key, input), value)
	})
}

// VerifyEd25519 verifies a compact JWS under EdDSA with Ed25519 and decodes
// its payload into v, which is left undefined after an error.
func VerifyEd25519(typ Typ, kid string, key ed25519.PublicKey, compact []byte, v any) error {
	if len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("verifying %s: key has %d bytes", typ, len(key))
	}
	return verify(header{Alg: algEdDSA, Kid: kid, Typ: typ}, compact, v, func(input, value []byte) bool {
		return ed25519.Verify(key, input, value)
	})
}

// verify accepts exactly the bytes that sign would have written. The header is
// compared, never parsed, so that nothing in it can choose an algorithm or a
// key; the payload is decoded only after the signature has verified.
func verify(h header, compact []byte, v any, valid func(input, value []byte) bool) error {
	if len(compact) > MaxSize {
		return fmt.Errorf("verifying %s: %d bytes exceed %d", h.Typ, len(compact), MaxSize)
	}
	prefix, err := h.prefix()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(compact, prefix) {
		return fmt.Errorf("verifying %s: %w", h.Typ, ErrHeader)
	}
	end := bytes.LastIndexByte(compact, '.')
	if end < len(prefix) {
		return fmt.Errorf("verifying %s: %w", h.Typ, ErrNotCanonical)
	}
	var payload, value Bytes
	if err := errors.Join(payload.UnmarshalText(compact[len(prefix):end]), value.UnmarshalText(compact[end+1:])); err != nil {
		return fmt.Errorf("verifying %s: %w", h.Typ, ErrNotCanonical)
	}
	if !valid(compact[:end], value) {
		return fmt.Errorf("verifying %s: %w", h.Typ, ErrSignature)
	}
	return Decode(payload, v)
}

func mac(key, input []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(input) // never returns an error (package hash)
	return m.Sum(nil)
}

// KeyID returns the "kid" of a compact JWS of the given kind, so that a
// verifier can look the key up. Nothing of it is verified but its form.
func KeyID(typ Typ, compact []byte) (string, error) {
	end := bytes.IndexByte(compact, '.')
	if end < 0 || end > 1024 {
		return "", fmt.Errorf("reading header of %s: %w", typ, ErrHeader)
	}
	var protected Bytes
	if err := protected.UnmarshalText(compact[:end]); err != nil {
		return "", fmt.Errorf("reading header of %s: %w", typ, ErrHeader)
	}
	h, err := parseHeader(string(protected))
	if err != nil || h.Typ != typ {
		return "", fmt.Errorf("reading header of %s: %w", typ, ErrHeader)
	}
	return h.Kid, nil
}

// parseHeader reads the one encoding of a header whose values are plain, as
// all of ours are. A quotation mark in a value is not, so that the parts between
// them can be cut at.
func parseHeader(s string) (h header, err error) {
	rest, ok1 := strings.CutPrefix(s, headerAlg)
	alg, rest, ok2 := strings.Cut(rest, headerKid)
	kid, rest, ok3 := strings.Cut(rest, headerTyp)
	typ, ok4 := strings.CutSuffix(rest, headerEnd)
	if !ok1 || !ok2 || !ok3 || !ok4 || !plain(alg) || !plain(kid) || !plain(typ) {
		return header{}, ErrHeader
	}
	return header{Alg: alg, Kid: kid, Typ: Typ(typ)}, nil
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

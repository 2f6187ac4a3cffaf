package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/scratch"
)

// PEM types of key files (RFC 7468): PKCS #8 private and PKIX public keys, as
// openssl writes them.
const (
	pemPrivate = "PRIVATE KEY"
	pemPublic  = "PUBLIC KEY"
)

// Key types.
const (
	keyEd25519 = "ed25519"
	keyP256    = "p256"
)

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case keyEd25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case keyP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, advise(fmt.Errorf("key type %q is neither %s nor %s", kind, keyEd25519, keyP256), "give --type %s or --type %s", keyEd25519, keyP256)
}

// maxPEM is more than the longest key file of ours has: 241 bytes.
const maxPEM = 1024

// writeKey writes a private key to a new file with mode 0600.
func writeKey(path string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding key: %w", err)
	}
	scratch.Hold(der)
	defer clear(der)
	text := make([]byte, 0, maxPEM) // so that the buffer leaves no smaller one behind
	scratch.Hold(text[:maxPEM])
	defer clear(text[:maxPEM])
	buffer := bytes.NewBuffer(text)
	if err := pem.Encode(buffer, &pem.Block{Type: pemPrivate, Bytes: der}); err != nil {
		return fmt.Errorf("encoding key: %w", err)
	}
	return writeNew(path, buffer.Bytes(), 0o600)
}

// writeNew never overwrites.
func writeNew(path string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// readKey reads a private key, which nobody else may be able to read.
func readKey(path string) (crypto.Signer, error) {
	if path == "" {
		return nil, advise(errors.New("no key file is given"), "name one with --key FILE; countersign key new makes one")
	}
	var loose error
	if err := config.CheckPrivate(path); err != nil {
		if !errors.Is(err, config.ErrPermissions) {
			return nil, adviseKey(err)
		}
		loose = advise(err, "run: chmod 600 %s", path)
	}
	block, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	defer clear(block.Bytes)
	switch {
	case block.Type != pemPrivate: // first, for only a key is to be shut
		return nil, adviseKey(fmt.Errorf("%s holds a %q, want a %q", path, block.Type, pemPrivate))
	case loose != nil:
		return nil, loose
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil { // what the parser says is of use to nobody
		return nil, adviseKey(fmt.Errorf("%s holds no private key in PKCS #8", path))
	}
	signer, ok := key.(crypto.Signer)
	if !ok || !usable(signer) {
		return nil, adviseKey(fmt.Errorf("%s is neither an Ed25519 nor a P-256 key", path))
	}
	return signer, nil
}

func usable(key crypto.Signer) bool {
	_, err := message.NewJWK(key.Public())
	return err == nil
}

// adviseKey says how a key file comes about.
func adviseKey(err error) error {
	return advise(err, "name a key file, or make one with: countersign key new --out FILE")
}

// readEd25519 reads a private key that must be an Ed25519 key, as those of
// approvers and policy admins are.
func readEd25519(path string) (ed25519.PrivateKey, error) {
	key, err := readKey(path)
	if err != nil {
		return nil, err
	}
	k, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, advise(fmt.Errorf("%s is not an Ed25519 key", path), "run: countersign key new --out FILE")
	}
	return k, nil
}

// readPEM returns a block that the caller clears: it may be a private key.
func readPEM(path string) (*pem.Block, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	scratch.Hold(b)
	defer clear(b)
	return parsePEM(path, b)
}

func parsePEM(path string, b []byte) (*pem.Block, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, adviseKey(fmt.Errorf("%s is not a PEM file", path))
	}
	scratch.Hold(block.Bytes)
	return block, nil
}

// readPublic reads the public key of a key file: a JWK, a PEM public key, or
// the public half of a PEM private key.
func readPublic(path string) (message.JWK, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return message.JWK{}, adviseKey(err)
	}
	scratch.Hold(b)
	defer clear(b)
	if len(b) > 0 && b[0] == '{' {
		return parseJWK(path, b)
	}
	block, err := parsePEM(path, b)
	if err != nil {
		return message.JWK{}, err
	}
	defer clear(block.Bytes)
	if block.Type == pemPrivate {
		key, err := readKey(path)
		if err != nil {
			return message.JWK{}, err
		}
		return message.NewJWK(key.Public())
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return message.JWK{}, adviseKey(fmt.Errorf("%s holds no public key", path))
	}
	key, err := message.NewJWK(public)
	if err != nil {
		return key, adviseKey(fmt.Errorf("%s is neither an Ed25519 nor a P-256 key", path))
	}
	return key, nil
}

func parseJWK(path string, b []byte) (message.JWK, error) {
	var key message.JWK
	if err := message.DecodeStrict(b, &key); err != nil {
		return key, adviseJWK(fmt.Errorf("%s: %w", path, err))
	}
	if _, err := key.PublicKey(); err != nil {
		return key, adviseJWK(fmt.Errorf("%s: %w", path, err))
	}
	return key, nil
}

func adviseJWK(err error) error {
	return advise(err, "write the JWK with: countersign key show --jwk FILE")
}

package wallet

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/internal/scratch"
	"github.com/countersign/countersign/secrets"
)

// Lengths in bytes: of a seed of type "raw", of an account key, and of what
// sealing adds, a random 12-byte nonce in front and a 16-byte tag behind.
const (
	SeedSize = 64
	KeySize  = 32
	Overhead = 12 + 16
)

// NewShare returns the share that the holder of a key has of one record's
// sealing key: see secrets.NewShare, which policy services call.
func NewShare(key *secrets.Secret, scope message.Scope, id string) (*secrets.Secret, error) {
	return secrets.NewShare(key, scope, id)
}

// Seal seals a seed (scope seed, SeedSize bytes) or an account key (scope
// account, KeySize bytes) under a fresh random nonce. own is the signing
// service's share, shares are exactly one per role of s. The descriptor's exact
// bytes become the additional data; they must say what s says. The caller
// keeps and wipes all secrets.
func Seal(s Sealing, own *secrets.Secret, shares Shares, descriptor []byte, plaintext *secrets.Secret) ([]byte, error) {
	if err := s.checkDescriptor(descriptor); err != nil {
		return nil, fmt.Errorf("sealing %s %s: %w", s.Scope, s.ID, err)
	}
	if plaintext.Len() != s.plaintextSize() {
		return nil, fmt.Errorf("sealing %s %s: %d bytes, want %d", s.Scope, s.ID, plaintext.Len(), s.plaintextSize())
	}
	aead, err := s.aead(own, shares)
	if err != nil {
		return nil, fmt.Errorf("sealing %s %s: %w", s.Scope, s.ID, err)
	}
	return aead.Seal(nil, nil, plaintext.Bytes(), descriptor), nil
}

// OpenSeed opens a wallet's seed. Everything that does not fit is ErrSealed.
// The caller wipes the seed, and keeps and wipes the shares.
func OpenSeed(s Sealing, own *secrets.Secret, shares Shares, descriptor, ciphertext []byte) (*Seed, error) {
	if s.Scope != message.ScopeSeed {
		return nil, fmt.Errorf("opening seed: scope is %q", s.Scope)
	}
	if err := s.checkDescriptor(descriptor); err != nil {
		return nil, fmt.Errorf("opening seed %s: %w", s.ID, err)
	}
	plaintext, err := open(s, own, shares, descriptor, ciphertext)
	if err != nil {
		return nil, err
	}
	return &Seed{secret: plaintext}, nil
}

// OpenKey opens an account's key. descriptor are the exact stored bytes of
// desc; the seal is bound to them. That the key is the key of desc.PublicKey is
// proven by (*Key).Check or by a signature that verifies: see (*Key).Sign.
// Everything that does not fit is ErrSealed. The caller wipes the key, and keeps
// and wipes the shares.
func OpenKey(s Sealing, own *secrets.Secret, shares Shares, desc message.AccountDescriptor, descriptor, ciphertext []byte) (*Key, error) {
	if s.Scope != message.ScopeAccount {
		return nil, fmt.Errorf("opening account key: scope is %q", s.Scope)
	}
	again, err := message.Encode(desc)
	if err != nil || !bytes.Equal(again, descriptor) {
		return nil, fmt.Errorf("opening account %s: descriptor's bytes are others than its text: %w", s.ID, ErrSealed)
	}
	if err := s.checkSame(desc.Deployment, desc.ID, desc.Generation, desc.Roles); err != nil {
		return nil, fmt.Errorf("opening account %s: %w", s.ID, err)
	}
	plaintext, err := open(s, own, shares, descriptor, ciphertext)
	if err != nil {
		return nil, err
	}
	key, err := openKey(desc.Curve, plaintext, desc.PublicKey)
	if err != nil {
		plaintext.Wipe()
		return nil, fmt.Errorf("opening account %s: %w", s.ID, errors.Join(ErrSealed, err))
	}
	return key, nil
}

// open opens what stands under a descriptor that was checked.
func open(s Sealing, own *secrets.Secret, shares Shares, descriptor, ciphertext []byte) (*secrets.Secret, error) {
	if len(ciphertext) != s.plaintextSize()+Overhead {
		return nil, fmt.Errorf("opening %s %s: ciphertext has %d bytes: %w", s.Scope, s.ID, len(ciphertext), ErrSealed)
	}
	aead, err := s.aead(own, shares)
	if err != nil {
		return nil, fmt.Errorf("opening %s %s: %w", s.Scope, s.ID, err)
	}
	b, err := aead.Open(nil, nil, ciphertext, descriptor)
	if err != nil {
		return nil, fmt.Errorf("opening %s %s: %w", s.Scope, s.ID, ErrSealed)
	}
	scratch.Hold(b)
	defer clear(b)
	return secrets.NewSecret(b), nil
}

func (s Sealing) plaintextSize() int {
	if s.Scope == message.ScopeSeed {
		return SeedSize
	}
	return KeySize
}

// aead returns AES-256-GCM, with a random nonce of 96 bits, under
//
//	HKDF-SHA256(own || share of each role in genesis order,
//	    salt = deployment id,
//	    info = Context(LabelSealing, scope, id, generation, role, role, ...))
//
// Every share is exactly 32 bytes, so that no two lists of shares are one
// input.
func (s Sealing) aead(own *secrets.Secret, shares Shares) (cipher.AEAD, error) {
	info, err := s.info()
	if err != nil {
		return nil, err
	}
	input, err := s.input(own, shares)
	if err != nil {
		return nil, err
	}
	defer input.Wipe()
	key, err := secrets.Derive(input, s.Deployment[:], info)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	block, err := aes.NewCipher(key.Bytes())
	if err != nil {
		return nil, err
	}
	// The nonce is drawn inside, once per Seal: no caller can repeat one. Two
	// signing instances that create one wallet at once draw two.
	return cipher.NewGCMWithRandomNonce(block)
}

// input lays the shares one behind the other. A missing, additional or
// wrongly long share is ErrSealed.
func (s Sealing) input(own *secrets.Secret, shares Shares) (*secrets.Secret, error) {
	if len(shares) != len(s.Roles) {
		return nil, fmt.Errorf("%d shares for %d roles: %w", len(shares), len(s.Roles), ErrSealed)
	}
	if own.Len() != secrets.Size {
		return nil, fmt.Errorf("share of %s is missing: %w", message.RoleSigning, ErrSealed)
	}
	b := make([]byte, 0, (1+len(s.Roles))*secrets.Size)
	scratch.Hold(b[:cap(b)])
	defer func() { clear(b[:cap(b)]) }()
	b = append(b, own.Bytes()...)
	for _, role := range s.Roles {
		share := shares[role]
		if share.Len() != secrets.Size {
			return nil, fmt.Errorf("share of %s is missing: %w", role, ErrSealed)
		}
		b = append(b, share.Bytes()...)
	}
	return secrets.NewSecret(b), nil
}

func (s Sealing) info() ([]byte, error) {
	if s.Deployment.IsZero() || s.Generation < 1 || len(s.Roles) == 0 {
		return nil, errors.New("sealing: deployment, generation or roles are missing")
	}
	if s.Scope != message.ScopeSeed && s.Scope != message.ScopeAccount {
		return nil, fmt.Errorf("sealing: scope %q is not known", s.Scope)
	}
	if _, err := message.ParseHash(s.ID); err != nil {
		return nil, fmt.Errorf("sealing: id: %w", err)
	}
	fields := [][]byte{[]byte(s.Scope), []byte(s.ID), message.Uint64(uint64(s.Generation))}
	for i, role := range s.Roles {
		if slices.Contains(s.Roles[:i], role) {
			return nil, fmt.Errorf("sealing: role %q stands twice", role)
		}
		fields = append(fields, []byte(role))
	}
	return message.Context(message.LabelSealing, fields...), nil
}

// checkDescriptor makes sure that the descriptor says what the sealing key
// depends on, so that no row can be sealed that would never open, and none is
// tried whose text promises something else.
func (s Sealing) checkDescriptor(descriptor []byte) error {
	switch s.Scope {
	case message.ScopeSeed:
		var d message.WalletDescriptor
		if err := message.Decode(descriptor, &d); err != nil {
			return errors.Join(ErrSealed, err)
		}
		return s.checkSame(d.Deployment, d.ID, d.Generation, d.Roles)
	case message.ScopeAccount:
		var d message.AccountDescriptor
		if err := message.Decode(descriptor, &d); err != nil {
			return errors.Join(ErrSealed, err)
		}
		return s.checkSame(d.Deployment, d.ID, d.Generation, d.Roles)
	}
	return fmt.Errorf("scope %q is not known", s.Scope)
}

func (s Sealing) checkSame(deployment message.Hash, id string, generation int, roles []string) error {
	if deployment != s.Deployment || id != s.ID || generation != s.Generation || !slices.Equal(roles, s.Roles) {
		return fmt.Errorf("descriptor is of another record: %w", ErrSealed)
	}
	return nil
}

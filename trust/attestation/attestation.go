// Package attestation proves what program runs on what machine, and checks
// such proofs. Hellos and announcements each carry a statement that is bound
// to the message's own keys by a nonce.
//
// It trusts the attestation roots of the genesis document and nothing else. A
// genesis that names no roots asks for no attestation: then statements are
// empty, and a statement that is not empty is refused, so that nobody mistakes
// an unchecked one for a proof. It never lets a deployment that names roots
// run without checking them.
package attestation

import (
	"context"
	"errors"
	"fmt"
)

// NonceSize is the length of every nonce, in bytes: a SHA-256 value.
const NonceSize = 32

// Errors of the package. Each is final for the statement concerned.
var (
	// ErrUnsupported says that the genesis names attestation roots that this
	// version cannot check.
	ErrUnsupported = errors.New("attestation roots are not supported by this version")
	// ErrStatement says that an attestation statement does not verify.
	ErrStatement = errors.New("attestation statement does not verify")
	// ErrNonce says that a nonce is not NonceSize bytes.
	ErrNonce = errors.New("attestation nonce is not 32 bytes")
)

// Attester makes and checks attestation statements. Implementations are safe
// for concurrent use.
type Attester interface {
	// Attest returns a statement about the running program, bound to a nonce
	// of NonceSize bytes. An empty statement is returned only where the
	// genesis names no roots.
	Attest(ctx context.Context, nonce []byte) ([]byte, error)
	// Verify returns nil if the statement is by an expected program on an
	// expected machine and is bound to the nonce.
	Verify(ctx context.Context, statement, nonce []byte) error
}

// New returns the attester for a genesis document's attestation roots. With
// roots it fails with ErrUnsupported: to go on without the check that the
// genesis asks for would be a silent loss of protection.
func New(roots []string) (Attester, error) {
	if len(roots) > 0 {
		return nil, fmt.Errorf("%w: the genesis names %d", ErrUnsupported, len(roots))
	}
	return none{}, nil
}

// none is the attester of a deployment without roots.
type none struct{}

func (none) Attest(_ context.Context, nonce []byte) ([]byte, error) {
	if len(nonce) != NonceSize {
		return nil, ErrNonce
	}
	return nil, nil
}

func (none) Verify(_ context.Context, statement, nonce []byte) error {
	if len(nonce) != NonceSize {
		return ErrNonce
	}
	if len(statement) != 0 {
		return fmt.Errorf("%w: %d bytes where the genesis names no roots", ErrStatement, len(statement))
	}
	return nil
}

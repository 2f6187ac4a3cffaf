// Package wallet makes, seals, opens and uses the keys of wallets and
// accounts. A seed or an account key at rest is sealed under a key that is
// derived from the signing service's own share and one share of every required
// role: without a share from every role it does not open.
//
// The package trusts its caller to have verified a request before it hands in
// the roles' shares; it has no way to get at them itself. It never returns a
// seed or a private key: an opened key signs digests and is wiped.
package wallet

import (
	"context"
	"database/sql"
	"errors"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/secrets"
)

// Errors of the package.
var (
	// ErrSealed says that a record did not open: a share is missing or wrong,
	// or the descriptor or ciphertext is not the one that was sealed.
	ErrSealed = errors.New("record does not open with these shares")
	// ErrExists says that the record's id is taken.
	ErrExists = errors.New("record exists")
)

// SeedSource makes the seed of a new wallet. The caller wipes it. Other
// sources (PKCS#11, GREP11) implement the same interface.
type SeedSource interface {
	// NewSeed returns 64 bytes for seed type "raw".
	NewSeed(ctx context.Context, seedType string) (*secrets.Secret, error)
}

// Record is a sealed seed or account key as it is stored: the exact bytes of
// its descriptor, which are the additional data of the seal, and the
// ciphertext: a random 12-byte nonce, then AES-256-GCM output.
type Record struct {
	ID         string
	Wallet     string // of an account record: its wallet's id
	Descriptor []byte
	Ciphertext []byte
}

// Store keeps records. Descriptor reads satisfy transaction.Descriptors.
// Implementations are safe for concurrent use and are not trusted: a record
// that was changed does not open.
type Store interface {
	// Wallet and Account return a record; transaction.ErrNoRecord if there is
	// none.
	Wallet(ctx context.Context, id string) (Record, error)
	Account(ctx context.Context, id string) (Record, error)
	// InsertWallet and InsertAccount write a new record inside tx; ErrExists
	// if the id is taken. Nothing is ever updated.
	InsertWallet(ctx context.Context, tx *sql.Tx, r Record) error
	InsertAccount(ctx context.Context, tx *sql.Tx, r Record) error
}

// Shares are one share per required role for one scope and id.
type Shares map[string]*secrets.Secret

// Sealing is everything that the sealing key depends on.
type Sealing struct {
	Deployment message.Hash
	Roles      []string // the required roles, in genesis order
	Scope      message.Scope
	ID         string
	Generation int
}

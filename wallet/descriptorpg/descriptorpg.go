// Package descriptorpg reads the public part of wallets and accounts, their
// descriptors, from PostgreSQL: one, or lists of them.
//
// It trusts the database with nothing: whoever decides by a descriptor holds it
// against what was approved, and a list is for display. It knows no sealed
// record, so that the services that read descriptors have no code that opens one.
package descriptorpg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/countersign/countersign/internal/database"
	"github.com/countersign/countersign/transaction"
)

// Reader is a transaction.Descriptors, and lists wallets and accounts. It is safe
// for concurrent use.
type Reader struct {
	db *sql.DB

	wallet, account *database.Statement
}

var _ transaction.Descriptors = (*Reader)(nil)

// New returns the reader of a database.
func New(db *sql.DB) *Reader {
	return &Reader{
		db:      db,
		wallet:  database.NewStatement("SELECT descriptor FROM countersign.wallet WHERE id = $1"),
		account: database.NewStatement("SELECT descriptor FROM countersign.account WHERE id = $1"),
	}
}

// WalletDescriptor implements transaction.Descriptors.
func (r *Reader) WalletDescriptor(ctx context.Context, id string) ([]byte, error) {
	return r.descriptor(ctx, r.wallet, id)
}

// AccountDescriptor implements transaction.Descriptors.
func (r *Reader) AccountDescriptor(ctx context.Context, id string) ([]byte, error) {
	return r.descriptor(ctx, r.account, id)
}

func (r *Reader) descriptor(ctx context.Context, query *database.Statement, id string) ([]byte, error) {
	stmt, err := query.On(ctx, r.db, nil)
	if err != nil {
		return nil, fmt.Errorf("reading descriptor: %w", err)
	}
	var b []byte
	err = stmt.QueryRowContext(ctx, id).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, transaction.ErrNoRecord
	}
	if err != nil {
		return nil, fmt.Errorf("reading descriptor: %w", err)
	}
	return b, nil
}
